// Loads a module that the page can do without for a while: tries until it is there. Pure but for what it is handed.
//
// A browser remembers a module that failed to load, also one that only another imports, and does not ask for it again
// under the same address: each try needs addresses of its own.

import { Backoff } from './backoff.js';

/** A network that swallows everything fails nothing. A try that is late may still be the first to come. */
const WITHIN_MS = 30000;

/** What comes first of `bring(0)`, `bring(1)` and so on: the next try begins when one has failed or takes too long. */
export function load(bring, time, backoff = new Backoff()) {
  return new Promise((resolve) => {
    let tries = 0;
    let timer = null;
    let isThere = false;
    const later = (ms) => {
      time.clearTimeout(timer);
      timer = isThere ? null : time.setTimeout(attempt, ms);
    };
    const attempt = () => {
      later(WITHIN_MS);
      bring(tries++).then((module) => {
        isThere = true;
        later(0);
        resolve(module);
      }, () => later(backoff.next()));
    };
    attempt();
  });
}
