import assert from 'node:assert/strict';
import test from 'node:test';
import { Backoff } from '../../../web/backoff.js';
import { Session } from '../../../web/session.js';

/** A page without a browser: time stands still until told, sockets and viewers only record. */
class Page {
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

const settle = () => new Promise((resolve) => setImmediate(resolve));

test('offer and socket start together; hello goes first, the offer right behind it', async () => {
  const page = new Page();
  assert.equal(page.viewers.length, 1);
  assert.equal(page.sockets.length, 1);
  assert.equal(page.state, 'connecting');
  await page.open();
  assert.deepEqual(page.socket.sent, [{ type: 'hello', version: 1, language: 'zh' }, { type: 'offer', sdp: 'sdp' }]);
  page.socket.on.message({ type: 'answer', sdp: 'answer', viewer: 1 });
  assert.equal(page.viewer.answered, 'answer');
  page.viewer.on.firstFrame();
  assert.equal(page.state, 'live');
});

test('the camera state of welcome and status decides between live and no camera', async () => {
  const page = new Page();
  await page.play();
  page.socket.on.message({ type: 'welcome', version: 1, camera: 'away', reason: 'busy' });
  assert.equal(page.state, 'away');
  assert.equal(page.session.view.camera.reason, 'busy');
  page.socket.on.message({ type: 'status', camera: 'live' });
  assert.equal(page.state, 'live');
});

test('a lost socket leaves a flowing picture alone and only the socket is opened again', async () => {
  const page = new Page();
  await page.play();
  page.socket.on.gone();
  assert.equal(page.state, 'live');
  assert.ok(page.viewer.suspected, 'a crash looks the same at first');
  await page.pass(500);
  assert.equal(page.sockets.length, 2);
  await page.open();
  assert.equal(page.viewers.length, 1);
  assert.deepEqual(page.sentTypes, ['hello']);
});

test('a lost picture is asked for again over the socket that is there', async () => {
  const page = new Page();
  await page.play();
  page.viewer.on.lost('no frames');
  assert.equal(page.state, 'reconnecting');
  await page.pass(500);
  assert.equal(page.sockets.length, 1);
  assert.equal(page.viewers.length, 2);
  assert.deepEqual(page.sentTypes, ['hello', 'offer', 'offer']);
});

test('a server that has no viewer of ours any more gets an offer, not a wait for its patience to end', async () => {
  const page = new Page();
  await page.play();
  page.socket.on.gone();
  await page.pass(500);
  await page.open();
  assert.deepEqual(page.sentTypes, ['hello']);
  page.welcome();
  await settle();
  assert.equal(page.viewers.length, 2);
  assert.deepEqual(page.sentTypes, ['hello', 'offer']);
});

test('a page that comes back shows its ticket, and the board\'s viewer is kept', async () => {
  const page = new Page({ name: 'Ann', resume: '' });
  await page.play({});
  assert.deepEqual(page.socket.sent[0], { type: 'hello', version: 1, language: 'zh', name: 'Ann' });
  assert.equal(page.memory.resume, 'ticket');
  page.socket.on.gone();
  await page.pass(500);
  await page.open();
  assert.equal(page.socket.sent[0].resume, 'ticket');
  page.welcome({ resumed: true, viewer: 1, resume: 'next' });
  await page.pass(20000);
  assert.deepEqual(page.sentTypes, ['hello']);
  assert.equal(page.viewers.length, 1);
  assert.equal(page.viewer.suspected, false);
  assert.equal(page.memory.resume, 'next');
  assert.equal(page.state, 'live');
});

test('a connection that falls apart beside an open socket is healed, not replaced', async () => {
  const page = new Page();
  await page.play({});
  Object.assign(page.viewer, { flows: false, connected: false });
  page.viewer.on.unwell();
  await settle();
  assert.equal(page.state, 'reconnecting');
  assert.deepEqual(page.socket.sent.at(-1), { type: 'offer', sdp: 'restart', restart: true });
  page.socket.on.message({ type: 'answer', sdp: 'again', viewer: 1 });
  assert.equal(page.viewer.answered, 'again');
  page.viewer.on.well();
  assert.equal(page.state, 'live');
  await page.pass(60000);
  assert.equal(page.viewers.length, 1);
});

test('a restart that heals nothing ends in a fresh connection', async () => {
  const page = new Page();
  await page.play({});
  page.viewer.connected = false;
  page.viewer.on.unwell();
  await settle();
  page.socket.on.message({ type: 'answer', sdp: 'again', viewer: 1 });
  await page.pass(6000);
  assert.ok(page.viewers[0].closed);
  await page.pass(500);
  assert.equal(page.viewers.length, 2);
  assert.deepEqual(page.sentTypes, ['hello', 'offer', 'offer', 'offer']);
});

test('a board that makes a new viewer of a restart gets a fresh connection, and no restart ever after', async () => {
  const page = new Page();
  await page.play({});
  page.viewer.connected = false;
  page.viewer.on.unwell();
  await settle();
  page.socket.on.message({ type: 'answer', sdp: 'for a new one', viewer: 2 });
  await settle();
  assert.equal(page.viewers.length, 2);
  assert.equal(page.viewers[0].answered, 'answer');
  assert.deepEqual(page.socket.sent.at(-1), { type: 'offer', sdp: 'sdp' });
  page.socket.on.message({ type: 'answer', sdp: 'third', viewer: 3 });
  assert.equal(page.viewer.answered, 'third');
  page.viewer.on.firstFrame();
  page.viewer.connected = false;
  page.viewer.on.unwell();
  await page.pass(500);
  assert.equal(page.viewers.length, 3);
  assert.ok(!page.socket.sent.some((message, i) => i > 3 && message.restart));
});

test('a phone that slept finds socket and picture dead, and heals the picture over the new socket', async () => {
  const page = new Page();
  await page.play({});
  Object.assign(page.viewer, { flows: false, connected: false });
  page.socket.on.gone();
  page.viewer.on.unwell();
  assert.equal(page.state, 'reconnecting');
  assert.ok(!page.viewer.closed, 'the board keeps it for half a minute');
  await page.pass(500);
  await page.open();
  page.welcome({ resumed: true, viewer: 1 });
  await settle();
  assert.deepEqual(page.sentTypes, ['hello', 'offer']);
  assert.equal(page.socket.sent.at(-1).restart, true);
  page.socket.on.message({ type: 'answer', sdp: 'again', viewer: 1 });
  page.viewer.on.well();
  assert.equal(page.state, 'live');
  assert.equal(page.viewers.length, 1);
});

test('after half a minute without socket a silent connection is given up', async () => {
  const page = new Page();
  await page.play({});
  Object.assign(page.viewer, { flows: false, connected: false });
  page.socket.on.gone();
  page.viewer.on.unwell();
  await page.pass(29000);
  assert.ok(!page.viewers[0].closed);
  await page.pass(1000);
  assert.ok(page.viewers[0].closed);
});

test('frames that stop on a standing connection are no matter of paths: a fresh one at once', async () => {
  const page = new Page();
  await page.play({});
  page.viewer.flows = false;
  page.viewer.on.unwell();
  assert.ok(page.viewers[0].closed);
  await page.pass(500);
  assert.equal(page.viewers.length, 2);
});

test('waking up asks the socket, and heals what does not flow', async () => {
  const page = new Page();
  await page.play({});
  page.session.wake();
  assert.ok(page.socket.probed);
  assert.deepEqual(page.sentTypes, ['hello', 'offer']);
  Object.assign(page.viewer, { flows: false, connected: false });
  page.session.wake();
  await settle();
  assert.equal(page.socket.sent.at(-1).restart, true);
});

const RELAYS = [{ urls: 'turn:turn.example', username: 'u', credential: 'c' }];

test('the straight way has a second before relays are offered as well, once', async () => {
  const page = new Page();
  await page.open();
  page.welcome({ ice_servers: RELAYS });
  page.socket.on.message({ type: 'answer', sdp: 'answer', viewer: 1 });
  assert.deepEqual(page.viewer.iceServers, []);
  await page.pass(900);
  assert.equal(page.viewer.restartedWith, undefined);
  await page.pass(100);
  assert.deepEqual(page.viewer.restartedWith, RELAYS);
  assert.equal(page.socket.sent.at(-1).restart, true);
  page.socket.on.message({ type: 'answer', sdp: 'again', viewer: 1 });
  await page.pass(5000);
  assert.deepEqual(page.sentTypes, ['hello', 'offer', 'offer']);
});

test('a picture that stands within the second needs no relay', async () => {
  const page = new Page();
  await page.play({ ice_servers: RELAYS });
  await page.pass(5000);
  assert.deepEqual(page.sentTypes, ['hello', 'offer']);
});

test('after a failure the next connection tries the relays from the start', async () => {
  const page = new Page();
  await page.open();
  page.welcome({ ice_servers: RELAYS });
  page.socket.on.message({ type: 'error', code: 'connect-timeout', message: '', tried: { advice: 'add-turn' } });
  assert.equal(page.session.view.refusal.tried.advice, 'add-turn');
  await page.pass(1000);
  assert.deepEqual(page.viewer.iceServers, RELAYS);
});

test('never two offers without an answer', async () => {
  const page = new Page();
  await page.open();
  page.viewer.on.lost('failed');
  await page.pass(500);
  assert.deepEqual(page.sentTypes, ['hello', 'offer']);
  page.socket.on.message({ type: 'answer', sdp: 'for the first', viewer: 1 });
  await settle();
  assert.equal(page.viewer.answered, undefined);
  assert.deepEqual(page.sentTypes, ['hello', 'offer', 'offer']);
  page.socket.on.message({ type: 'answer', sdp: 'for the second', viewer: 2 });
  assert.equal(page.viewer.answered, 'for the second');
});

test('an offer without an answer makes the socket doubtful', async () => {
  const page = new Page();
  await page.open();
  await page.pass(6000);
  assert.ok(page.sockets[0].closed);
  await page.pass(500);
  assert.equal(page.sockets.length, 2);
});

test('chat and values go over the data channel while the socket is away', async () => {
  const page = new Page();
  await page.play({});
  const sent = [];
  page.viewer.on.channel({ isOpen: true, send: (message) => Boolean(sent.push(message)) });
  page.socket.on.gone();
  assert.ok(page.session.reachable);
  assert.ok(page.session.send({ type: 'request' }));
  page.viewer.on.message({ type: 'chat', from: 1, text: 'still here' });
  assert.deepEqual(sent, [{ type: 'request' }]);
  assert.equal(page.heard.at(-1), 'chat');
});

test('who was removed stays out until he asks, and without his ticket', async () => {
  const page = new Page({ resume: '' });
  await page.play({});
  page.socket.on.message({ type: 'bye', reason: 'kicked' });
  assert.equal(page.state, 'out');
  assert.equal(page.session.view.why, 'kicked');
  assert.equal(page.memory.resume, '');
  await page.pass(60000);
  assert.equal(page.sockets.length, 1);
  page.session.comeBack();
  assert.equal(page.sockets.length, 2);
});

test('a closed room is said in words and knocked at again later', async () => {
  const page = new Page();
  await page.open();
  page.socket.on.message({ type: 'error', code: 'closed', message: 'closed' });
  page.socket.on.message({ type: 'bye', reason: 'closed' });
  assert.equal(page.state, 'closed');
  await page.pass(9000);
  assert.equal(page.sockets.length, 1);
  await page.pass(1000);
  assert.equal(page.sockets.length, 2);
  await page.play({});
  assert.equal(page.state, 'live');
});

test('a server that says it stops is not believed to be live for another moment', async () => {
  const page = new Page();
  await page.play();
  page.socket.on.message({ type: 'bye', reason: 'shutdown' });
  assert.equal(page.state, 'reconnecting');
  assert.ok(page.viewer.closed);
});

test('waits grow while nothing works and start over after five good seconds', async () => {
  const page = new Page();
  const waits = [];
  for (let i = 0; i < 6; i++) {
    page.socket.on.gone();
    waits.push(page.session.view.retryAt - page.now);
    await page.pass(waits.at(-1));
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 8000]);
  await page.play();
  await page.pass(6000);
  page.viewer.flows = false;
  page.socket.on.gone();
  assert.equal(page.session.view.retryAt - page.now, 500);
});

test('never two attempts at once, however often the page is told to hurry', async () => {
  const page = new Page();
  for (let i = 0; i < 5; i++) page.session.hurry();
  assert.equal(page.sockets.length, 1);
  page.socket.on.gone();
  for (let i = 0; i < 5; i++) page.session.hurry();
  assert.equal(page.sockets.length, 2);
  assert.equal(page.viewers.length, 2);
  await page.pass(60000);
  assert.equal(page.sockets.length, 2);
});

test('a full server is left alone for as long as it asks, and nobody can hurry that', async () => {
  const page = new Page();
  await page.open();
  page.socket.on.message({ type: 'error', code: 'full', message: 'all places are taken', retry_after_s: 5 });
  assert.equal(page.state, 'full');
  assert.ok(page.viewer.closed);
  await page.pass(4900);
  page.session.hurry();
  assert.equal(page.viewers.length, 1);
  await page.pass(100);
  assert.equal(page.viewers.length, 2);
  assert.equal(page.state, 'full');
  assert.deepEqual(page.sentTypes, ['hello', 'offer', 'offer']);
  page.viewer.on.firstFrame();
  assert.equal(page.state, 'live');
});

test('a retry already waiting is put off when the server asks for more time', async () => {
  const page = new Page();
  await page.play();
  page.viewer.on.lost('disconnected');
  page.socket.on.message({ type: 'error', code: 'lost', message: 'lost', retry_after_s: 3 });
  await page.pass(2900);
  assert.equal(page.viewers.length, 1);
  await page.pass(100);
  assert.equal(page.viewers.length, 2);
});

test('a complaint about one message does not end the picture', async () => {
  const page = new Page();
  await page.play();
  page.socket.on.message({ type: 'error', code: 'too-fast', message: 'slow down', retry_after_s: 1 });
  assert.equal(page.state, 'live');
  assert.ok(!page.viewer.closed);
});

test('a browser the server has no codec for is told once and not tried again', async () => {
  const page = new Page();
  await page.open();
  page.socket.on.message({ type: 'error', code: 'no-h264', message: 'H.264 only' });
  assert.equal(page.state, 'unsupported');
  await page.pass(60000);
  page.session.hurry();
  assert.equal(page.sockets.length, 1);
});

test('what an old socket or viewer still says is not heard', async () => {
  const page = new Page();
  const [socket, viewer] = [page.socket, page.viewer];
  socket.on.gone();
  await page.pass(500);
  await page.open();
  viewer.on.lost('late');
  socket.on.gone();
  socket.on.message({ type: 'error', code: 'no-h264', message: '' });
  assert.equal(page.state, 'connecting');
  assert.equal(page.sockets.length, 2);
});

test('a refused autoplay waits for a tap', async () => {
  const page = new Page();
  await page.open();
  page.viewer.on.blocked(true);
  page.viewer.on.firstFrame();
  assert.equal(page.state, 'blocked', 'frames that are decoded but not shown do not count');
  page.session.play();
  assert.ok(page.viewer.played);
  page.viewer.on.blocked(false);
  assert.equal(page.state, 'live');
});

test('a page that is put away keeps its seat: no farewell, no timers, nothing open', async () => {
  const page = new Page({ resume: '' });
  await page.play({});
  page.session.pause();
  assert.deepEqual(page.sentTypes, ['hello', 'offer']);
  assert.ok(page.viewer.closed && page.socket.closed);
  assert.equal(page.memory.resume, 'ticket');
  await page.pass(60000);
  assert.equal(page.sockets.length, 1);
});

test('who leaves for good says so and forgets his ticket', async () => {
  const page = new Page({ resume: '' });
  await page.play({});
  page.session.leave();
  assert.equal(page.sentTypes.at(-1), 'bye');
  assert.equal(page.memory.resume, '');
});

test('people meet before the picture may be asked for: a refused offer does not keep the socket away', async () => {
  const page = new Page();
  await page.open();
  page.welcome();
  page.socket.on.message({ type: 'error', code: 'not-ready', message: 'no camera', retry_after_s: 60 });
  page.socket.on.gone();
  await page.pass(1000);
  assert.equal(page.sockets.length, 2);
  await page.open();
  assert.deepEqual(page.sentTypes, ['hello']);
  await page.pass(58000);
  assert.equal(page.viewers.length, 1);
  await page.pass(1000);
  assert.deepEqual(page.sentTypes, ['hello', 'offer']);
});

test('a duplicated tab takes the ticket along: the first one gets a seat of its own, and they do not fight', async () => {
  const page = new Page({ resume: '' });
  await page.play({});
  page.socket.on.message({ type: 'bye', reason: 'left' });
  await page.pass(500);
  await page.open();
  assert.equal(page.socket.sent[0].resume, undefined);
});
