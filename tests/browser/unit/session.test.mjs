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

  constructor() {
    this.session = new Session({
      make: { socket: (on) => this.#socket(on), viewer: (on) => this.#viewer(on) },
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
    const socket = { on, isOpen: false, closed: false, sent: [], send: (message) => socket.sent.push(message), close: () => { socket.closed = true; } };
    this.sockets.push(socket);
    return socket;
  }

  #viewer(on) {
    const viewer = { on, flows: false, closed: false, offer: async () => 'sdp', answer: (sdp) => { viewer.answered = sdp; },
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

  async play() {
    await this.open();
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

test('a server that demands an offer beside an orphaned picture gets one', async () => {
  const page = new Page();
  await page.play();
  page.socket.on.gone();
  await page.pass(500);
  await page.open();
  page.socket.on.message({ type: 'bye', reason: 'offer-timeout' });
  await page.pass(1000);
  await page.open();
  assert.equal(page.viewers.length, 2);
  assert.deepEqual(page.sentTypes, ['hello', 'offer']);
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

test('a page that leaves says so and frees its place', async () => {
  const page = new Page();
  await page.play();
  page.session.stop();
  assert.equal(page.sentTypes.at(-1), 'bye');
  assert.ok(page.viewer.closed && page.socket.closed);
  await page.pass(60000);
  assert.equal(page.sockets.length, 1);
});
