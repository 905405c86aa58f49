import assert from 'node:assert/strict';
import test from 'node:test';
import { Transports } from '../../../web/transports.js';
import { random } from './random.mjs';

function way(name, sent) {
  const made = { isOpen: true, takes: true, send: (message) => made.takes && Boolean(sent.push([name, message.type])) };
  return made;
}

test('chat and values go over the data channel, all else over the socket, and each over the other when it must', () => {
  const sent = [];
  const [socket, channel] = [way('socket', sent), way('channel', sent)];
  const transports = new Transports({ heard: () => {} });
  assert.equal(transports.send({ type: 'chat' }), false);
  transports.useSocket(socket);
  assert.ok(transports.send({ type: 'chat' }));
  transports.useChannel(channel);
  for (const type of ['chat', 'set', 'request', 'relay']) assert.ok(transports.send({ type }));
  socket.isOpen = false;
  assert.ok(transports.send({ type: 'request' }));
  socket.isOpen = true;
  channel.takes = false;
  assert.ok(transports.send({ type: 'chat' }));
  assert.deepEqual(sent, [['socket', 'chat'], ['channel', 'chat'], ['channel', 'set'], ['socket', 'request'], ['socket', 'relay'], ['channel', 'request'], ['socket', 'chat']]);
});

test('while the channel\'s connection is not well, everything goes over the socket as long as there is one', () => {
  const sent = [];
  let well = false;
  const transports = new Transports({ heard: () => {}, flows: () => well });
  const [socket, channel] = [way('socket', sent), way('channel', sent)];
  transports.useSocket(socket);
  transports.useChannel(channel);
  transports.send({ type: 'chat' });
  socket.isOpen = false;
  transports.send({ type: 'set' });
  socket.isOpen = well = true;
  transports.send({ type: 'chat' });
  assert.deepEqual(sent, [['socket', 'chat'], ['channel', 'set'], ['channel', 'chat']]);
});

test('a channel whose connection is not well is no way to anybody', () => {
  const changes = [];
  let well = true;
  const transports = new Transports({ heard: () => {}, changed: (open) => changes.push(open), flows: () => well });
  transports.useChannel(way('channel', []));
  well = false;
  transports.look();
  well = true;
  transports.look();
  assert.deepEqual(changes, [true, false, true]);
});

test('reach is told once per change, and only when the last way goes or the first one comes', () => {
  const changes = [];
  const transports = new Transports({ heard: () => {}, changed: (open) => changes.push(open) });
  const [socket, channel] = [way('socket', []), way('channel', [])];
  transports.useSocket(socket);
  transports.useChannel(channel);
  transports.useSocket(null);
  transports.useChannel(null);
  transports.useChannel(channel);
  assert.deepEqual(changes, [true, false, true]);
});

test('1000 random schedules: a message is taken exactly when a way is open, once, and never by a closed one', () => {
  for (let seed = 1; seed <= 1000; seed++) {
    const chance = random(seed);
    const sent = [];
    const heard = [];
    const transports = new Transports({ heard: (message) => heard.push(message) });
    let [socket, channel] = [null, null];
    for (let i = 0; i < 40; i++) {
      const what = chance();
      if (what < 0.15) transports.useSocket(socket = chance() < 0.4 ? null : way('socket', sent));
      else if (what < 0.3) transports.useChannel(channel = chance() < 0.4 ? null : way('channel', sent));
      else if (what < 0.4 && socket) socket.isOpen = !socket.isOpen;
      else if (what < 0.5 && channel) channel.isOpen = !channel.isOpen;
      else if (what < 0.6) transports.receive({ n: i });
      else {
        const type = chance() < 0.5 ? 'chat' : 'grant';
        const before = sent.length;
        const open = [socket, channel].filter((one) => one?.isOpen);
        assert.equal(transports.send({ type }), open.length > 0, `seed ${seed}`);
        assert.equal(sent.length - before, open.length ? 1 : 0, `seed ${seed}`);
        if (open.length === 2) assert.equal(sent.at(-1)[0], type === 'chat' ? 'channel' : 'socket', `seed ${seed}`);
      }
      assert.equal(transports.open, Boolean(socket?.isOpen || channel?.isOpen));
    }
    assert.deepEqual(heard.map(({ n }) => n), [...heard.map(({ n }) => n)].sort((a, b) => a - b));
  }
});
