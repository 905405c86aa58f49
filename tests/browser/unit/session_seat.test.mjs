// Getting a seat, keeping it and giving it up: tickets, farewells, doors that are closed.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Page, settle } from './session_page.mjs';

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

test('hello is not said again while an offer waits: its answer would never come', async () => {
  const page = new Page();
  await page.open();
  page.welcome();
  page.session.refresh();
  assert.ok(!page.sockets[0].closed);
  page.socket.on.message({ type: 'answer', sdp: 'answer', viewer: 1 });
  page.session.refresh();
  assert.ok(page.sockets[0].closed);
  await page.open();
  assert.deepEqual(page.sentTypes, ['hello']);
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
