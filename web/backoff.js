// How long to wait before the next attempt. Pure: randomness is handed in. Must never keep time itself.

const FIRST_MS = 500;
const LONGEST_MS = 4000;

export class Backoff {
  #failures = 0;
  #random;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** Each wait lies between half of its step and the whole step: viewers of one board must not return in one beat. */
  next() {
    const step = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 16);
    return Math.round(step * (0.5 + 0.5 * this.#random()));
  }

  reset() {
    this.#failures = 0;
  }
}
