// A board without camera: serves the page and speaks the room's part of the protocol, so that people, chat, controls,
// host tools and calls can be tried without the real server. With `upstream` (a real rtcam) it passes the picture's
// messages through, and its own people see a real picture.
//
// Deliberately simple: it trusts its testers, and knows the rules only as far as the page must react to them.

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { WebSocket, WebSocketServer } from 'ws';
import { launchChromium } from './harness.mjs';

const WEB = path.resolve(path.dirname(new URL(import.meta.url).pathname), '../../web');
const KINDS = { html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8', svg: 'image/svg+xml' };
const CSP = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";
const CHAT_KEPT = 50;

/** A webcam's controls and two layers, as a driver and a config would give them. */
export const DESCRIBE = [
  { key: 'preset', name: 'preset', kind: 'preset', items: [['day', 'day'], ['night', 'night']] },
  { key: 'control.brightness', name: 'Brightness', kind: 'integer', min: -64, max: 64, step: 1, default: 0 },
  { key: 'control.contrast', name: 'Contrast', kind: 'integer', min: 0, max: 100, step: 1, default: 50 },
  { key: 'control.white_balance_automatic', name: 'White Balance, Automatic', kind: 'boolean', default: true },
  { key: 'control.white_balance_temperature', name: 'White Balance Temperature', kind: 'integer', min: 2800, max: 6500, step: 10, default: 4600, inactive: true },
  { key: 'control.power_line_frequency', name: 'Power Line Frequency', kind: 'menu', items: [[0, 'Disabled'], [1, '50 Hz'], [2, '60 Hz']], default: 1 },
  { key: 'control.lens_position', name: 'Lens Position', kind: 'integer', min: 0, max: 1023, step: 1, read_only: true },
  { key: 'control.one_push_focus', name: 'One-push focus', kind: 'button' },
  { key: 'reset', name: 'reset', kind: 'button' },
  { key: 'layer.0.shown', name: 'logo', layer: 'logo', kind: 'boolean' },
  { key: 'layer.0.corner', name: 'logo', layer: 'logo', kind: 'corner' },
  { key: 'layer.0.opacity', name: 'logo', layer: 'logo', kind: 'opacity', min: 0, max: 1 },
  { key: 'layer.1.shown', name: 'text', layer: 'text', kind: 'boolean' },
  { key: 'layer.1.text', name: 'text', layer: 'text', kind: 'text' },
];
export const VALUES = {
  'control.brightness': 0, 'control.contrast': 50, 'control.white_balance_automatic': true, 'control.white_balance_temperature': 4600,
  'control.power_line_frequency': 1, 'control.lens_position': 512, 'layer.0.shown': true, 'layer.0.corner': 'top-left', 'layer.0.opacity': 0.8, 'layer.1.shown': true, 'layer.1.text': '%Y-%m-%d %H:%M:%S',
};

export class FakeBoard {
  #http;
  #sockets;
  #seats = new Map();
  #nextSeat = 1;
  #nextLink = 1;
  #chat = [];
  #links = [];
  #agreed = new Set();
  #watching = new Set();
  holder = null;
  asking = [];
  closed = false;
  muted = false;
  version = 1;
  values = { ...VALUES };
  lastBy = {};
  /** Every message from a page: [id, message]. */
  log = [];

  /** `room: false` plays a server without rooms; `roleOf(n)` gives the n-th newcomer's role. */
  constructor({ upstream = null, room = true, roleOf = (n) => (n === 1 ? 'host' : 'viewer'), iceServers = [], refuseOffer = { code: 'not-ready', message: 'no camera', retry_after_s: 600 }, refuseAfter_ms = 0 } = {}) {
    Object.assign(this, { upstream, hasRoom: room, roleOf, iceServers, refuseOffer, refuseAfter_ms });
  }

  async start(port = 0) {
    this.#http = http.createServer((request, reply) => this.#serve(request, reply));
    this.#sockets = new WebSocketServer({ server: this.#http, path: '/ws' });
    this.#sockets.on('connection', (socket) => this.#connected(socket));
    await new Promise((resolve) => this.#http.listen(port, '127.0.0.1', resolve));
    this.port = this.#http.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
    this.timer = setInterval(() => this.#tellWatchers(), 2000);
    return this;
  }

  async stop() {
    clearInterval(this.timer);
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#sockets.close();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  /** Cuts the WebSockets without a word, as a bad network does; seats stay. */
  cut() {
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  seatOf(name) {
    return [...this.#seats.values()].find((seat) => seat.name === name);
  }

  toAll(message) {
    for (const seat of this.#seats.values()) seat.send(message);
  }

  #serve(request, reply) {
    const name = request.url === '/' || request.url.startsWith('/?') ? 'index.html' : path.basename(new URL(request.url, 'http://x').pathname);
    const file = path.join(WEB, name);
    if (request.method === 'POST') return reply.writeHead(303, { Location: '/' }).end();
    if (!fs.existsSync(file)) return reply.writeHead(404).end();
    reply.writeHead(200, { 'Content-Type': KINDS[name.split('.').pop()], 'Content-Security-Policy': CSP, 'Cache-Control': 'no-store' }).end(fs.readFileSync(file));
  }

  #connected(socket) {
    const send = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
    const link = { send, seat: null, upstream: null };
    socket.on('message', (data) => this.#heard(link, JSON.parse(String(data)), socket));
    socket.on('close', () => {
      link.upstream?.close();
      const seat = link.seat;
      if (!seat || seat.link !== link) return;
      // half a minute, shortened
      seat.gone = setTimeout(() => this.#remove(seat, 'lost'), 10_000);
    });
  }

  #heard(link, message, socket) {
    const { seat } = link;
    if (seat) this.log.push([seat.id, message]);
    switch (message.type) {
      case 'hello': return this.#hello(link, message, socket);
      case 'ping': return link.send({ type: 'pong', t: message.t });
      case 'offer': case 'candidate':
        if (link.upstream) return link.upstream.pass(message);
        if (message.type === 'offer') setTimeout(() => link.send({ type: 'error', ...this.refuseOffer }), this.refuseAfter_ms);
        return;
      case 'bye':
        if (seat) this.#remove(seat, 'left');
        return socket.close();
    }
    if (!seat) return;
    const isHost = seat.role === 'host';
    const other = this.#seats.get(message.to);
    const refused = (code = 'refused') => seat.send({ type: 'error', code, message: code });
    const needsHost = ['grant', 'revoke', 'role', 'kick', 'room', 'link', 'links', 'unlink', 'watch'];
    if (needsHost.includes(message.type) && !isHost) return refused();
    if (message.to !== undefined && !other) return refused('unknown-seat');
    switch (message.type) {
      case 'chat': return this.muted && !isHost ? refused('muted') : this.#say(seat, message.text);
      case 'request':
        this.asking = message.withdraw ? this.asking.filter((id) => id !== seat.id) : [...new Set([...this.asking, seat.id])];
        return this.#control();
      case 'grant':
        this.holder = message.to;
        this.asking = this.asking.filter((id) => id !== message.to);
        return this.#control();
      case 'release': case 'revoke':
        this.holder = null;
        return this.#control();
      case 'role':
        other.role = message.role;
        return this.toAll({ type: 'peers', changed: person(other) });
      case 'kick':
        other.send({ type: 'bye', reason: 'kicked' });
        return this.#remove(other, 'kicked');
      case 'room':
        this.closed = message.closed ?? this.closed;
        this.muted = message.muted ?? this.muted;
        return this.toAll({ type: 'room', closed: this.closed, muted: this.muted });
      case 'set': return this.#set(seat, message, refused);
      case 'call': return other.send({ type: 'call', from: seat.id, name: seat.name });
      case 'accept':
        this.#agreed.add(pair(seat.id, other.id));
        return other.send({ type: 'accept', from: seat.id });
      case 'decline': return other.send({ type: 'decline', from: seat.id });
      case 'hangup':
        this.#agreed.delete(pair(seat.id, other.id));
        return other.send({ type: 'hangup', from: seat.id });
      case 'relay': return this.#agreed.has(pair(seat.id, other.id)) ? other.send({ type: 'relay', from: seat.id, body: message.body }) : refused('not-agreed');
      case 'link': return this.#link(seat, message);
      case 'links': return seat.send({ type: 'links', links: this.#links });
      case 'unlink':
        this.#links = this.#links.filter((one) => one.id !== message.id);
        return seat.send({ type: 'links', links: this.#links });
      case 'watch':
        this.#watching[message.on ? 'add' : 'delete'](seat);
        return this.#tellWatchers();
      case 'report': seat.report = message;
    }
  }

  #hello(link, { name, resume }, socket) {
    if (!this.hasRoom) {
      link.send({ type: 'welcome', version: 1, server: 'old', viewer_limit: 4, camera: 'live' });
      return this.#follow(link);
    }
    let seat = [...this.#seats.values()].find((one) => one.resume === resume);
    const resumed = Boolean(seat);
    if (seat) clearTimeout(seat.gone);
    else {
      const id = this.#nextSeat++;
      seat = { id, name: this.#unique(name || `Guest ${id}`), role: this.roleOf(id), resume: `ticket-${id}-${Math.random()}`, joined: Date.now() };
    }
    Object.assign(seat, { link, send: link.send, socket });
    link.seat = seat;
    this.#seats.set(seat.id, seat);
    link.send({ type: 'welcome', version: 1, server: 'fake', viewer_limit: 4, camera: 'live', seat: { id: seat.id, name: seat.name, role: seat.role }, resume: seat.resume, resumed, ice_servers: this.iceServers,
      room: { people: [...this.#seats.values()].map(person), holder: this.holder, asking: this.asking, closed: this.closed, muted: this.muted, chat: this.#chat } });
    this.#state(seat);
    if (!resumed) for (const one of this.#seats.values()) if (one !== seat) one.send({ type: 'peers', joined: person(seat) });
    this.#follow(link);
  }

  /** The picture comes from a real rtcam, which knows nothing of our people. */
  #follow(link) {
    if (!this.upstream) return;
    const upstream = new WebSocket(`${this.upstream.replace('http', 'ws')}ws`);
    const waiting = [];
    const pass = (message) => (upstream.readyState === WebSocket.OPEN ? upstream.send(JSON.stringify(message)) : waiting.push(message));
    upstream.on('open', () => {
      upstream.send(JSON.stringify({ type: 'hello', version: 1 }));
      waiting.splice(0).forEach(pass);
    });
    upstream.on('message', (data) => {
      const message = JSON.parse(String(data));
      if (message.type === 'ping') pass({ type: 'pong', t: message.t });
      else if (!['welcome', 'pong', 'bye'].includes(message.type)) link.send(message);
    });
    upstream.on('error', () => {});
    link.upstream = { pass, close: () => upstream.close() };
  }

  #state(seat) {
    seat.send({ type: 'state', version: this.version, values: this.values, describe: DESCRIBE });
  }

  #set(seat, { base, values }, refused) {
    const may = seat.role === 'host' || this.holder === seat.id || (seat.role === 'operator' && this.holder === null);
    if (!may) return refused();
    const late = Object.keys(values).some((key) => this.lastBy[key]?.version > base && this.lastBy[key].by !== seat.id);
    if (late) {
      refused('stale');
      return this.#state(seat);
    }
    this.change(values, seat.id);
  }

  /** `by` null: the driver itself. */
  change(values, by = null) {
    let done = values;
    if (values.reset) done = Object.fromEntries(DESCRIBE.filter((entry) => entry.key.startsWith('control.') && entry.default !== undefined).map(({ key, default: value }) => [key, value]));
    if (values.preset) done = { 'control.brightness': values.preset === 'night' ? 40 : 0 };
    this.version++;
    for (const [key, value] of Object.entries(done)) {
      if (key === 'control.one_push_focus') continue;
      this.values[key] = value;
      this.lastBy[key] = { version: this.version, by };
    }
    this.toAll({ type: 'patch', version: this.version, values: done, by });
  }

  #say(seat, text) {
    const line = { from: seat.id, name: seat.name, text, at_ms: Date.now() };
    this.#chat = [...this.#chat, line].slice(-CHAT_KEPT);
    this.toAll({ type: 'chat', ...line });
  }

  #link(seat, { role, for_s, name = '' }) {
    const link = { id: `L${this.#nextLink++}`, role, name, expires_s: for_s };
    this.#links.push(link);
    seat.send({ type: 'link', link: { ...link, path: `/?link=token-${link.id}` } });
  }

  #control() {
    this.toAll({ type: 'control', holder: this.holder, asking: this.asking });
  }

  #remove(seat, reason) {
    if (!this.#seats.delete(seat.id)) return;
    this.#watching.delete(seat);
    if (this.holder === seat.id) this.holder = null;
    this.asking = this.asking.filter((id) => id !== seat.id);
    this.toAll({ type: 'peers', left: seat.id, reason });
    this.#control();
  }

  #tellWatchers() {
    const list = [...this.#seats.values()].map((seat) => ({ seat: seat.id, name: seat.name, role: seat.role, viewer: seat.id, state: 'connected', path: 'srflx, udp', address: '203.0.113.x', round_trip_ms: 23.4, loss: 0.012, kbps: 2310,
      frames_sent: 5120, frames_dropped: 3, bytes: 48123456, joined_s: Math.floor((Date.now() - seat.joined) / 1000), connected_s: 3725, report: seat.report ?? { fps: 29.9, freezes: 0, latency_ms: 84 } }));
    for (const seat of this.#watching) seat.send({ type: 'viewers', list });
  }

  #unique(name) {
    const names = [...this.#seats.values()].map((seat) => seat.name);
    if (!names.includes(name)) return name;
    for (let n = 2; ; n++) if (!names.includes(`${name} ${n}`)) return `${name} ${n}`;
  }
}

function person({ id, name, role, joined }) {
  return { id, name, role, watching: true, joined_s: Math.floor((Date.now() - joined) / 1000) };
}

function pair(a, b) {
  return [a, b].sort().join('-');
}

/** A board and a Chromium for `body(board, browser)`; both end with it. */
export async function withBoard(options, body) {
  const board = await new FakeBoard(options).start();
  const browser = await launchChromium();
  try {
    await body(board, browser);
  } finally {
    await browser.close();
    await board.stop();
  }
}
