// What the tests of the session drive: a page without a browser, and the wait for what it has begun.

import { Backoff } from '../../../web/backoff.js';
import { Session } from '../../../web/session.js';

/** A page without a browser: time stands still until told, sockets and viewers only record. */
export class Page {
  now = 1000;
  timers = [];
  sockets = [];
  viewers = [];
  states = [];
  heard = [];

  constructor(memory = {}) {
    this.memory = memory;
    this.session = new Session({
      make: { socket: (on) => this.#socket(on), viewer: (on, iceServers) => this.#viewer(on, iceServers) },
      heard: (message) => this.heard.push(message.type),
      memory,
      changed: (view) => this.states.push(view.state),
      language: 'zh',
      time: {
        now: () => this.now,
        setTimeout: (run, ms) => this.timers.push({ run, at: this.now + ms, live: true }),
        clearTimeout: (id) => { this.timers[id - 1].live = false; },
      },
      backoff: new Backoff(() => 1),
    });
    this.session.start();
  }

  #socket(on) {
    const socket = { on, isOpen: false, closed: false, sent: [], send: (message) => socket.isOpen && Boolean(socket.sent.push(message)),
      probe: () => { socket.probed = true; }, close: () => { socket.closed = true; socket.isOpen = false; } };
    this.sockets.push(socket);
    return socket;
  }

  #viewer(on, iceServers) {
    const viewer = { on, iceServers, flows: false, connected: true, closed: false, offer: async () => 'sdp', answer: (sdp) => { viewer.answered = sdp; },
      restart: async (_trickle, servers) => { viewer.restartedWith = servers; return 'restart'; }, trust: () => { viewer.suspected = false; },
      suspect: () => { viewer.suspected = true; }, play: () => { viewer.played = true; }, close: () => { viewer.closed = true; } };
    this.viewers.push(viewer);
    return viewer;
  }

  get socket() { return this.sockets.at(-1); }
  get viewer() { return this.viewers.at(-1); }
  get state() { return this.session.view.state; }
  get sentTypes() { return this.socket.sent.map((message) => message.type); }

  async open() {
    this.socket.isOpen = true;
    this.socket.on.open();
    await settle();
  }

  welcome(more = {}) {
    this.socket.on.message({ type: 'welcome', version: 1, camera: 'live', seat: { id: 7, name: 'Ann', role: 'viewer' }, resume: 'ticket', resumed: false, room: {}, ice_servers: [], ...more });
  }

  async play(welcome = null) {
    await this.open();
    if (welcome) this.welcome(welcome);
    this.socket.on.message({ type: 'answer', sdp: 'answer', viewer: 1 });
    this.viewer.flows = true;
    this.viewer.on.firstFrame();
  }

  async pass(ms) {
    this.now += ms;
    for (const timer of this.timers.filter((timer) => timer.live && timer.at <= this.now)) {
      timer.live = false;
      timer.run();
    }
    await settle();
  }
}

export const settle = () => new Promise((resolve) => setImmediate(resolve));
