import assert from 'node:assert/strict';
import test from 'node:test';
import { Backoff } from '../../../web/backoff.js';

test('waits double from half a second to four seconds and start over after a reset', () => {
  const longest = new Backoff(() => 1);
  assert.deepEqual(Array.from({ length: 7 }, () => longest.next()), [500, 1000, 2000, 4000, 4000, 4000, 4000]);
  longest.reset();
  assert.equal(longest.next(), 500);
});

test('chance shortens a wait by half at most', () => {
  const shortest = new Backoff(() => 0);
  assert.deepEqual(Array.from({ length: 6 }, () => shortest.next()), [250, 500, 1000, 2000, 2000, 2000]);
});
