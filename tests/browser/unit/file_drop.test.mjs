import assert from 'node:assert/strict';
import test from 'node:test';
import { FileDrop, PIECE_BYTES, tidyFileName } from '../../../web/file_drop.js';
import { IN_MEMORY_BYTES, openSink, sinkKind } from '../../../web/file_sink.js';
import { random } from './random.mjs';

/** Two channel ends; what one sends waits in a bounded buffer until flow() carries it over. */
class Wire {
  constructor() {
    this.ends = [0, 1].map(() => ({ readyState: 'open', bufferedAmount: 0, highest: 0, queue: [], onmessage: null, onbufferedamountlow: null }));
    this.ends.forEach((end) => {
      end.send = (data) => {
        end.queue.push(data);
        end.bufferedAmount += data.byteLength ?? data.length;
        end.highest = Math.max(end.highest, end.bufferedAmount);
      };
    });
  }

  /** One message from `end` to the other; false when nothing waits. */
  carry(from) {
    const [end, other] = [this.ends[from], this.ends[1 - from]];
    if (!end.queue.length) return false;
    const data = end.queue.shift();
    const before = end.bufferedAmount;
    end.bufferedAmount -= data.byteLength ?? data.length;
    if (before > end.bufferedAmountLowThreshold && end.bufferedAmount <= end.bufferedAmountLowThreshold) end.onbufferedamountlow();
    other.onmessage({ data });
    return true;
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A file that makes its bytes when asked: nobody can hold what is nowhere. */
function file(name, size, type = '') {
  return { name, size, type, slice: (from, to) => ({ arrayBuffer: async () => Uint8Array.from({ length: Math.min(to, size) - from }, (_, i) => (from + i) % 251).buffer }) };
}

class Sink {
  bytes = 0;
  right = true;
  state = 'open';
  waiting = [];
  slow = false;

  async write(data) {
    if (this.slow) await new Promise((resolve) => this.waiting.push(resolve));
    const view = new Uint8Array(data);
    for (let i = 0; i < view.length; i += 997) if (view[i] !== (this.bytes + i) % 251) this.right = false;
    this.bytes += data.byteLength;
  }

  async close() { this.state = 'closed'; }
  async abort() { this.state = 'aborted'; }
}

function pair({ open = null } = {}) {
  const wire = new Wire();
  const sinks = [];
  const seen = [];
  const make = (end) => new FileDrop({ channel: wire.ends[end], changed: (transfer) => seen.push([end, transfer.state]), openSink: open ?? (async () => {
    sinks.push(new Sink());
    return sinks.at(-1);
  }) });
  return { wire, sinks, seen, ann: make(0), bob: make(1) };
}

async function flow(wire, until = () => false, rounds = 20000) {
  for (let i = 0; i < rounds; i++) {
    const moved = wire.carry(0) | wire.carry(1);
    await settle();
    if (until()) return;
    if (!moved && !wire.ends.some((end) => end.queue.length)) {
      await settle();
      if (!wire.ends.some((end) => end.queue.length)) return;
    }
  }
}

test('a file arrives whole, in pieces of 64 KiB, with little of it under way at any time', async () => {
  const { wire, sinks, ann, bob } = pair();
  const size = 30 * 1024 * 1024 + 123;
  const sent = ann.offer(file('big.bin', size));
  await flow(wire);
  const [got] = bob.transfers;
  assert.deepEqual([got.name, got.size, got.state], ['big.bin', size, 'offered']);
  await bob.take(got);
  await flow(wire);
  assert.equal(sinks[0].bytes, size);
  assert.ok(sinks[0].right);
  assert.deepEqual([sent.state, got.state, sinks[0].state, sent.moved], ['done', 'done', 'closed', size]);
  console.log(`  measured: ${(wire.ends[0].highest / 1024).toFixed(0)} KiB at most in the channel of a file of ${(size / 1e6).toFixed(0)} MB`);
  assert.ok(wire.ends[0].highest <= 1024 * 1024 + 2 * PIECE_BYTES);
});

test('a disk that stalls stops the sender at eight megabytes', async () => {
  const { wire, ann, bob } = pair({ open: async () => Object.assign(new Sink(), { slow: true }) });
  const sent = ann.offer(file('big.bin', 100 * 1024 * 1024));
  await flow(wire);
  await bob.take(bob.transfers[0]);
  await flow(wire);
  assert.equal(sent.moved, 0);
  assert.ok(bob.transfers[0].received <= 8 * 1024 * 1024 + 2 * PIECE_BYTES, `${bob.transfers[0].received}`);
  assert.ok(bob.transfers[0].received >= 8 * 1024 * 1024);
});

test('a browser that reads into a buffer of ours is given the same one again and again', async () => {
  const { wire, sinks, ann, bob } = pair();
  const bytes = Uint8Array.from({ length: 300000 }, (_, i) => i % 251);
  const buffers = new Set();
  let at = 0;
  const reader = { cancel: async () => {}, read: async (view) => {
    buffers.add(view.buffer);
    const piece = bytes.subarray(at, at + Math.min(view.length, 50000));
    at += piece.length;
    view.set(piece);
    return { value: new Uint8Array(view.buffer, 0, piece.length) };
  } };
  // a data channel copies what it is given
  const { send } = wire.ends[0];
  wire.ends[0].send = (data) => send(typeof data === 'string' ? data : data.slice().buffer);
  ann.offer({ name: 'x', size: bytes.length, type: '', stream: () => ({ getReader: () => reader }) });
  await flow(wire);
  await bob.take(bob.transfers[0]);
  await flow(wire);
  assert.equal(bob.transfers[0].state, 'done');
  assert.ok(sinks[0].right && sinks[0].bytes === bytes.length);
  assert.equal(buffers.size, 1);
});

test('an empty file arrives too', async () => {
  const { wire, sinks, ann, bob } = pair();
  const sent = ann.offer(file('empty', 0));
  await flow(wire);
  await bob.take(bob.transfers[0]);
  await flow(wire);
  assert.deepEqual([sent.state, bob.transfers[0].state, sinks[0].state], ['done', 'done', 'closed']);
});

test('files queue up and both directions work at once', async () => {
  const { wire, sinks, ann, bob } = pair();
  for (const size of [100000, 1, 300000]) ann.offer(file(`a${size}`, size));
  bob.offer(file('back', 500000));
  await flow(wire);
  for (const one of bob.transfers.filter(({ from_us }) => !from_us)) await bob.take(one);
  for (const one of ann.transfers.filter(({ from_us }) => !from_us)) await ann.take(one);
  await flow(wire);
  assert.ok([...ann.transfers, ...bob.transfers].every(({ state }) => state === 'done'));
  assert.deepEqual(sinks.map(({ bytes }) => bytes), [100000, 1, 300000, 500000]);
  assert.ok(sinks.every(({ right }) => right));
});

test('either side may cancel in the middle: nothing is kept, and the next file is not harmed', async () => {
  for (const side of ['ann', 'bob']) {
    const both = pair();
    const { wire, sinks, ann, bob } = both;
    ann.offer(file('first', 5000000));
    await flow(wire);
    await bob.take(bob.transfers[0]);
    await flow(wire, () => bob.transfers[0].moved > 1000000);
    both[side].cancel(both[side].transfers[0]);
    await flow(wire);
    assert.deepEqual([ann.transfers[0].state, bob.transfers[0].state], ['cancelled', 'cancelled'], side);
    assert.equal(sinks[0].state, 'aborted');
    assert.ok(sinks[0].bytes < 5000000);
    ann.offer(file('second', 200000));
    await flow(wire);
    await bob.take(bob.transfers[1]);
    await flow(wire);
    assert.equal(bob.transfers[1].state, 'done', side);
    assert.ok(sinks[1].right && sinks[1].bytes === 200000);
  }
});

test('an unwanted file is not sent', async () => {
  const { wire, ann, bob } = pair();
  ann.offer(file('no', 10));
  await flow(wire);
  bob.refuse(bob.transfers[0]);
  await flow(wire);
  assert.equal(ann.transfers[0].state, 'refused');
});

test('a file that shrinks, grows or cannot be read fails on both sides', async () => {
  const shrunk = { name: 's', size: 200000, type: '', slice: (from, to) => ({ arrayBuffer: async () => new ArrayBuffer(Math.max(0, Math.min(to, 100000) - from)) }) };
  const unreadable = { name: 'u', size: 10, type: '', slice: () => ({ arrayBuffer: async () => { throw new Error('gone'); } }) };
  for (const bad of [shrunk, unreadable]) {
    const { wire, sinks, ann, bob } = pair();
    ann.offer(bad);
    await flow(wire);
    await bob.take(bob.transfers[0]);
    await flow(wire);
    assert.deepEqual([ann.transfers[0].state, ann.transfers[0].why], ['failed', 'read']);
    assert.equal(bob.transfers[0].state, 'cancelled');
    assert.equal(sinks[0].state, 'aborted');
  }
});

test('more bytes than promised, or fewer, are thrown away', async () => {
  for (const extra of [1, -1]) {
    const { wire, sinks, bob } = pair();
    const say = (words) => wire.ends[1].onmessage({ data: JSON.stringify(words) });
    say({ do: 'offer', id: 1, name: 'x', size: 100 });
    await bob.take(bob.transfers[0]);
    say({ do: 'start', id: 1 });
    wire.ends[1].onmessage({ data: new ArrayBuffer(100 + extra) });
    say({ do: 'done', id: 1 });
    await settle();
    assert.deepEqual([bob.transfers[0].state, bob.transfers[0].why], ['failed', 'size'], `${extra}`);
    await settle();
    assert.equal(sinks[0].state, 'aborted');
  }
});

test('a sender that does not wait for what is stored is broken off before it fills the memory', async () => {
  const { wire, sinks, bob } = pair();
  const hear = (data) => wire.ends[1].onmessage({ data });
  hear(JSON.stringify({ do: 'offer', id: 1, name: 'x', size: 1e12 }));
  await bob.take(bob.transfers[0]);
  sinks[0].slow = true;
  hear(JSON.stringify({ do: 'start', id: 1 }));
  let held = 0;
  while (bob.transfers[0].state === 'moving' && held < 100e6) {
    hear(new ArrayBuffer(PIECE_BYTES));
    held += PIECE_BYTES;
  }
  assert.deepEqual([bob.transfers[0].state, bob.transfers[0].why], ['failed', 'disk']);
  assert.ok(held <= 17 * 1024 * 1024, `${held} bytes`);
  assert.match(String(wire.ends[1].queue.at(-1)), /cancel/);
});

test('a full disk fails on both sides, and no place to store is told to the sender', async () => {
  const full = pair({ open: async () => Object.assign(new Sink(), { write: async () => { throw new Error('full'); } }) });
  full.ann.offer(file('x', 100));
  await flow(full.wire);
  await full.bob.take(full.bob.transfers[0]);
  await flow(full.wire);
  assert.deepEqual([full.bob.transfers[0].state, full.bob.transfers[0].why, full.ann.transfers[0].state], ['failed', 'disk', 'cancelled']);

  const none = pair({ open: async () => { throw Object.assign(new Error(''), { why: 'no-disk' }); } });
  none.ann.offer(file('x', 100));
  await flow(none.wire);
  await none.bob.take(none.bob.transfers[0]);
  await flow(none.wire);
  assert.deepEqual([none.bob.transfers[0].why, none.ann.transfers[0].state, none.ann.transfers[0].why], ['no-disk', 'refused', 'no-disk']);

  const undecided = pair({ open: async () => { throw Object.assign(new Error(''), { why: 'not-chosen' }); } });
  undecided.ann.offer(file('x', 100));
  await flow(undecided.wire);
  await undecided.bob.take(undecided.bob.transfers[0]);
  assert.equal(undecided.bob.transfers[0].state, 'offered');
});

test('a link that ends fails what was under way and leaves what was done', async () => {
  const { wire, sinks, ann, bob } = pair();
  ann.offer(file('done', 10));
  ann.offer(file('half', 3000000));
  await flow(wire);
  await bob.take(bob.transfers[0]);
  await flow(wire);
  await bob.take(bob.transfers[1]);
  await flow(wire, () => bob.transfers[1].moved > 1000000);
  ann.close();
  bob.close();
  await settle();
  assert.deepEqual(ann.transfers.map(({ state, why }) => `${state} ${why}`), ['done ', 'failed link']);
  assert.equal(sinks[1].state, 'aborted');
});

test('hostile words on the channel do nothing', async () => {
  const { wire, bob } = pair();
  const say = (data) => wire.ends[1].onmessage({ data });
  for (const text of ['', '{', 'null', '[]', '7', '{"do":"take","id":1}', '{"do":"offer","id":1}', '{"do":"offer","id":1,"size":-1}', '{"do":"offer","id":1,"size":1e99}', '{"do":"done","id":null}', '{"do":"constructor","id":1}']) say(text);
  say(new ArrayBuffer(1000));
  assert.equal(bob.transfers.length, 0);
  for (let id = 1; id <= 50; id++) say(JSON.stringify({ do: 'offer', id, name: 'x', size: 1 }));
  assert.equal(bob.transfers.length, 20);
  say(JSON.stringify({ do: 'offer', id: 1, name: 'again', size: 1 }));
  say(JSON.stringify({ do: 'start', id: 1 }));
  say(new ArrayBuffer(1));
  assert.ok(bob.transfers.every(({ state }) => state === 'offered'));
  say(JSON.stringify({ do: 'cancel', id: 1, mine: true }));
  assert.equal(bob.transfers[0].state, 'cancelled');
});

test('200 random schedules with cancels: each file arrives whole or not at all, and nothing hangs', async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const chance = random(seed);
    const both = pair();
    const { wire, sinks, ann, bob } = both;
    for (let i = 0; i < 4; i++) (chance() < 0.5 ? ann : bob).offer(file(`f${i}`, Math.floor(chance() * 400000)));
    for (let i = 0; i < 60; i++) {
      const [side, what] = [chance() < 0.5 ? ann : bob, chance()];
      const one = side.transfers[Math.floor(chance() * side.transfers.length)];
      if (what < 0.3 && one) side.take(one);
      else if (what < 0.34 && one) side.cancel(one);
      else wire.carry(chance() < 0.5 ? 0 : 1);
      if (chance() < 0.4) await settle();
    }
    for (const side of [ann, bob]) for (const one of side.transfers) if (one.state === 'offered' && !one.from_us) await side.take(one);
    await flow(wire);
    for (const side of [ann, bob]) for (const one of side.transfers) assert.ok(['done', 'cancelled'].includes(one.state), `seed ${seed}: ${one.state} ${one.why}`);
    for (const sink of sinks) assert.ok(sink.right && ['closed', 'aborted'].includes(sink.state), `seed ${seed}: ${sink.state}`);
    const done = bob.transfers.concat(ann.transfers).filter(({ state, from_us }) => state === 'done' && !from_us);
    assert.deepEqual(sinks.filter(({ state }) => state === 'closed').map(({ bytes }) => bytes).sort(), done.map(({ size }) => size).sort(), `seed ${seed}`);
  }
});

test('file names have no folders, no tricks, and keep their ending', () => {
  assert.equal(tidyFileName('../../etc/passwd'), '_.._etc_passwd');
  assert.equal(tidyFileName('C:\\boot.ini'), 'C__boot.ini');
  assert.equal(tidyFileName('photo\u202egpj.exe'), 'photogpj.exe');
  assert.equal(tidyFileName(''), 'file');
  assert.equal(tidyFileName('...'), 'file');
  assert.ok(tidyFileName(`${'😀'.repeat(300)}.png`).endsWith('😀.png'));
  assert.equal([...tidyFileName('x'.repeat(500))].length, 120);
});

test('a browser with neither picker nor disk takes small files only, and says why', async () => {
  assert.equal(sinkKind({}), 'memory');
  assert.equal(sinkKind({ showSaveFilePicker() {} }), 'picker');
  class Handle { createWritable() {} }
  assert.equal(sinkKind({ navigator: { storage: { getDirectory() {} } }, FileSystemFileHandle: Handle }), 'disk');
  await assert.rejects(openSink({ name: 'x', size: IN_MEMORY_BYTES + 1 }, {}), (error) => error.why === 'no-disk');
  assert.ok(await openSink({ name: 'x', size: IN_MEMORY_BYTES }, {}));
  const cancelled = { showSaveFilePicker: async () => { throw Object.assign(new Error(), { name: 'AbortError' }); } };
  await assert.rejects(openSink({ name: 'x', size: 1 }, cancelled), (error) => error.why === 'not-chosen');
});
