// The distance between the board's monotonic clock and the page's performance.now(), without NTP.
//
// Pure: gets the times of question, answer and arrival. Each exchange bounds the distance to an interval: the middle
// of the round trip, plus or minus half of it. The narrowest interval wins; it widens with age, as quartz drifts.

const DRIFT = 100e-6;
const KEEP_MS = 60000;
const SLACK_MS = 1;

export class ClockSync {
  #exchanges = [];

  /** The page asked at `asked` and heard `server_us` at `heard`, both in its own milliseconds. */
  add(asked, server_us, heard) {
    const roundTrip = heard - asked;
    if (!(roundTrip >= 0) || !Number.isFinite(server_us)) return;
    const fresh = { at: heard, offset: server_us / 1000 - (asked + heard) / 2, half: roundTrip / 2, roundTrip };
    const best = this.#best(heard);
    // Both intervals must hold the truth. If they do not meet, a clock has jumped (suspend, another server).
    if (best && Math.abs(best.offset - fresh.offset) > width(best, heard) + fresh.half + SLACK_MS) this.reset();
    this.#exchanges.push(fresh);
    this.#exchanges = this.#exchanges.filter((exchange) => heard - exchange.at <= KEEP_MS);
  }

  reset() {
    this.#exchanges = [];
  }

  /** The server's milliseconds as the page's milliseconds; null before the first exchange. */
  toPage(server_ms, now) {
    const best = this.#best(now);
    return best ? server_ms - best.offset : null;
  }

  /** How wrong toPage() may be, in milliseconds either way; null before the first exchange. */
  uncertainty(now) {
    const best = this.#best(now);
    return best ? width(best, now) : null;
  }

  /** The latest round trip of the data channel in milliseconds. */
  get roundTrip() {
    return this.#exchanges.at(-1)?.roundTrip ?? null;
  }

  #best(now) {
    let best = null;
    for (const exchange of this.#exchanges) {
      if (!best || width(exchange, now) < width(best, now)) best = exchange;
    }
    return best;
  }
}

function width(exchange, now) {
  return exchange.half + Math.max(0, now - exchange.at) * DRIFT;
}
