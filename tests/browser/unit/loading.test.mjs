// A module that does not come: tried again, each time anew, and taken once.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Backoff } from '../../../web/backoff.js';
import { load } from '../../../web/loading.js';

/** Time stands still until told; each try waits to be decided. */
function bench() {
  const timers = new Map();
  const tries = [];
  let [now, next] = [0, 1];
  const time = {
    setTimeout: (run, ms) => {
      timers.set(next, { run, at: now + ms });
      return next++;
    },
    clearTimeout: (id) => timers.delete(id),
  };
  const bring = (n) => new Promise((resolve, reject) => { tries[n] = { resolve, reject: () => reject(new TypeError('network')) }; });
  const pass = async (ms) => {
    now += ms;
    for (const [id, timer] of timers) if (timer.at <= now && timers.delete(id)) timer.run();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { tries, timers, pass, loaded: load(bring, time, new Backoff(() => 1)) };
}

test('a module that fails is tried again after waits that grow, each time as another try', async () => {
  const { tries, timers, pass, loaded } = bench();
  for (const [n, wait] of [500, 1000, 2000, 4000, 4000, 4000].entries()) {
    tries[n].reject();
    await pass(0);
    await pass(wait - 1);
    assert.equal(tries.length, n + 1);
    await pass(1);
    assert.equal(tries.length, n + 2);
  }
  tries[6].resolve('there');
  assert.equal(await loaded, 'there');
  assert.equal(timers.size, 0);
});

test('a try that hangs is overtaken after half a minute, and still counts when it comes first', async () => {
  const { tries, timers, pass, loaded } = bench();
  await pass(29999);
  assert.equal(tries.length, 1);
  await pass(1);
  assert.equal(tries.length, 2);
  tries[0].resolve('late');
  assert.equal(await loaded, 'late');
  tries[1].reject();
  await pass(60000);
  assert.equal(tries.length, 2, 'nothing is asked for any more');
  assert.equal(timers.size, 0);
});
