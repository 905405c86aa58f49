// The session's attempts: offers, answers, waits, and the state it says it is in.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Page, settle } from './session_page.mjs';

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
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 4000, 4000]);
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
