import assert from 'node:assert/strict';
import test from 'node:test';
import { ClockSync } from '../../../web/clock_sync.js';
import { random } from './random.mjs';

/** Feeds one exchange: the page asks at `asked`, the way there and back take `there` and `back` ms. */
function exchange(sync, asked, there, back, serverAt) {
  sync.add(asked, 1000 * serverAt(asked + there), asked + there + back);
}

test('no exchange, no answer', () => {
  const sync = new ClockSync();
  assert.equal(sync.toPage(5000, 0), null);
  assert.equal(sync.uncertainty(0), null);
  assert.equal(sync.roundTrip, null);
});

test('the quickest exchange decides, however crooked the slow ones are', () => {
  const sync = new ClockSync();
  const serverAt = (page) => page + 700000;
  exchange(sync, 0, 90, 2, serverAt);
  exchange(sync, 100, 1, 1, serverAt);
  exchange(sync, 200, 1, 60, serverAt);
  assert.ok(Math.abs(sync.toPage(700150, 300) - 150) < 0.01);
  assert.equal(sync.roundTrip, 61);
});

test('the truth lies within the stated uncertainty while the clocks drift apart', () => {
  const sync = new ClockSync();
  const chance = random(7);
  const serverAt = (page) => 123456 + page * 1.00005;
  for (let now = 0; now < 300000; now += 2000) {
    exchange(sync, now, 1 + 30 * chance(), 1 + 30 * chance(), serverAt);
    const later = now + 1000;
    const error = Math.abs(sync.toPage(serverAt(later), later) - later);
    assert.ok(error <= sync.uncertainty(later) + 0.2, `${error} ms off at ${now}, said ${sync.uncertainty(later)}`);
  }
});

test('a clock that jumped (suspend, another server) is believed at once', () => {
  const sync = new ClockSync();
  for (let now = 0; now < 20000; now += 2000) exchange(sync, now, 1, 1, (page) => page + 1000);
  exchange(sync, 20000, 2, 2, (page) => page + 61000);
  assert.ok(Math.abs(sync.toPage(81500, 20500) - 20500) < 0.01);
});

test('nonsense from the other side changes nothing', () => {
  const sync = new ClockSync();
  exchange(sync, 0, 1, 1, (page) => page + 10);
  const before = sync.toPage(100, 5);
  sync.add(50, 1000, 40);
  sync.add(undefined, 1000, 60);
  sync.add(50, 'soon', 60);
  assert.equal(sync.toPage(100, 5), before);
});
