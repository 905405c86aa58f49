import assert from 'node:assert/strict';
import test from 'node:test';
import { SharedState } from '../../../web/shared_state.js';
import { random } from './random.mjs';

const DESCRIBE = [{ key: 'a', kind: 'integer' }, { key: 'b', kind: 'integer' }, { key: 'c', kind: 'text' }];

function snapshot(version, values) {
  return { type: 'state', version, values, describe: DESCRIBE };
}

function page() {
  const state = new SharedState();
  state.snapshot(snapshot(1, { a: 0, b: 0, c: '' }));
  return state;
}

test('an own change is shown at once, sent with the version it rests on, and confirmed by the patch', () => {
  const state = page();
  state.want('a', 5, 0);
  assert.equal(state.value('a'), 5);
  assert.ok(state.isPending('a'));
  assert.deepEqual(state.send(0), { type: 'set', base: 1, values: { a: 5 } });
  state.patch({ version: 2, values: { a: 5 }, by: 7 }, 7, 20);
  assert.ok(!state.isPending('a'));
  assert.equal(state.value('a'), 5);
});

test('a dragged slider sends one message per 80 ms, with the latest of every key, and does not jump back', () => {
  const state = page();
  const sent = [];
  for (let now = 0; now <= 800; now += 10) {
    state.want('a', now, now);
    if (now % 50 === 0) state.want('b', -now, now);
    const message = state.send(now);
    if (message) sent.push(message);
    // the board's echo of what was sent 30 ms ago: older than what the finger shows
    if (now >= 30) state.patch({ version: 2 + sent.length, values: { a: sent.at(-1).values.a }, by: 7 }, 7, now);
    assert.equal(state.value('a'), now);
  }
  assert.equal(sent.length, 11);
  assert.deepEqual(sent[1].values, { a: 80, b: -50 });
});

test('what the board makes of a value (it clamps) is shown when the finger rests', () => {
  const state = page();
  state.want('a', 500, 0);
  state.send(0);
  state.patch({ version: 2, values: { a: 255 }, by: 7 }, 7, 30);
  assert.equal(state.value('a'), 500);
  assert.ok(state.expire(500));
  assert.equal(state.value('a'), 255);
});

test('a refused or stale change falls back to the board\'s word', () => {
  const state = page();
  state.want('a', 5, 0);
  state.send(0);
  assert.ok(state.refused());
  assert.equal(state.value('a'), 0);
  state.snapshot(snapshot(9, { a: 3, b: 0, c: '' }));
  assert.equal(state.value('a'), 3);
  assert.equal(state.version, 9);
});

test('a change nobody confirms is let go after two seconds', () => {
  const state = page();
  state.want('a', 5, 0);
  state.send(0);
  assert.equal(state.dueAt(), 2000);
  assert.ok(!state.expire(1999));
  assert.ok(state.expire(2000));
  assert.equal(state.value('a'), 0);
  assert.equal(state.dueAt(), null);
});

test('somebody else\'s change ends mine: what is shown is true', () => {
  const state = page();
  state.want('a', 5, 0);
  state.send(0);
  state.patch({ version: 2, values: { a: 9 }, by: 8 }, 7, 10);
  assert.equal(state.value('a'), 9);
});

test('fractions that went through four bytes are still mine', () => {
  const state = page();
  state.want('a', 0.8, 0);
  state.send(0);
  state.patch({ version: 2, values: { a: Math.fround(0.8) }, by: 7 }, 7, 10);
  assert.ok(!state.isPending('a'));
});

test('a lost patch is noticed after two seconds and healed by a snapshot; a late one heals itself', () => {
  const state = page();
  state.patch({ version: 3, values: { a: 3 }, by: 8 }, 7, 0);
  assert.ok(!state.hasGap(1999));
  assert.ok(state.hasGap(2000));
  state.patch({ version: 2, values: { a: 2, b: 2 }, by: 8 }, 7, 2100);
  assert.ok(!state.hasGap(99999));
  assert.equal(state.value('a'), 3);
  assert.equal(state.value('b'), 2);
  state.patch({ version: 6, values: { a: 6 }, by: 8 }, 7, 3000);
  state.snapshot(snapshot(6, { a: 6, b: 5, c: 'x' }));
  assert.ok(!state.hasGap(99999));
});

test('a camera that went takes its controls along; a restarted board counts from the start', () => {
  const state = page();
  state.snapshot({ version: 2, values: { c: 'x' }, describe: [DESCRIBE[2]] });
  assert.equal(state.value('a'), undefined);
  state.snapshot(snapshot(50, { a: 1, b: 1, c: 'x' }));
  state.forget();
  state.snapshot(snapshot(1, { a: 7, b: 0, c: '' }));
  assert.equal(state.value('a'), 7);
});

/** A board that keeps the rules of the contract. */
class Board {
  version = 1;
  values = { a: 0, b: 0, c: 0 };
  last = {};

  set(from, { base, values }) {
    const late = Object.keys(values).some((key) => this.last[key]?.version > base && this.last[key].by !== from);
    if (late) return { to: from, messages: [{ type: 'error', code: 'stale' }, { ...snapshot(this.version, { ...this.values }) }] };
    this.version++;
    for (const [key, value] of Object.entries(values)) {
      this.values[key] = value;
      this.last[key] = { version: this.version, by: from };
    }
    return { to: 'all', messages: [{ type: 'patch', version: this.version, values, by: from }] };
  }
}

test('3000 random schedules over two ways each: every page ends with the board\'s values', () => {
  for (let seed = 1; seed <= 3000; seed++) schedule(random(seed), seed);
});

function schedule(chance, seed) {
  const board = new Board();
  const pages = [1, 2, 3].map((id) => ({ id, state: new SharedState(), out: [], ways: [[], []] }));
  const deliver = (one, message) => one.ways[chance() < 0.5 ? 0 : 1].push(message);
  for (const one of pages) deliver(one, snapshot(1, { ...board.values }));
  let now = 0;
  const step = (mayWant) => {
    now += Math.floor(chance() * 60);
    const one = pages[Math.floor(chance() * 3)];
    const what = chance();
    if (what < 0.3 && mayWant) one.state.want(['a', 'b', 'c'][Math.floor(chance() * 3)], Math.floor(chance() * 9), now);
    else if (what < 0.5) {
      const message = one.state.send(now);
      if (message) one.out.push(message);
    } else if (what < 0.65 && one.out.length) {
      const { to, messages } = board.set(one.id, one.out.shift());
      for (const other of pages) if (to === 'all' || to === other.id) for (const message of messages) deliver(other, message);
    } else {
      const way = one.ways[chance() < 0.5 ? 0 : 1];
      const message = way.shift();
      if (message?.type === 'state') one.state.snapshot(message);
      else if (message?.type === 'patch') one.state.patch(message, one.id, now);
      else if (message) one.state.refused();
    }
    one.state.expire(now);
  };
  for (let i = 0; i < 120; i++) step(true);
  for (let i = 0; pages.some((one) => one.out.length || one.ways.flat().length || one.state.dueAt() !== null) && i < 20000; i++) step(false);
  for (const one of pages) {
    for (const key of ['a', 'b', 'c']) assert.equal(one.state.value(key), board.values[key], `seed ${seed}, page ${one.id}, ${key}`);
    assert.equal(one.state.version, board.version, `seed ${seed}`);
    assert.ok(!one.state.hasGap(Infinity), `seed ${seed}`);
  }
}
