// What the session does when the socket or the picture is lost: keep, heal, take relays, replace.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Page, settle } from './session_page.mjs';

const RELAYS = [{ urls: 'turn:turn.example', username: 'u', credential: 'c' }];

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
