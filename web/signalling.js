// One WebSocket to the board: JSON messages out and in. Tells once when it is gone and never re-opens itself:
// the session decides that. Keeps the line alive with pings and gives a dead one up.

const OPEN_WITHIN_MS = 8000;
const PING_EVERY_MS = 15000;
const DEAD_AFTER_MS = 30000;
/** Asked directly, a living board answers within this. */
const PROBE_WITHIN_MS = 3000;
/** Asked beside a message of ours; nobody waits for it, so there is time for a slow line. */
const SENT_PROBE_WITHIN_MS = 6000;
const PAGE_WITHIN_MS = 8000;

export class SignallingSocket {
  #socket;
  #on;
  #heard = performance.now();
  #timers = [];
  #wasOpen = false;
  #probe = null;
  #judgedAt = 0;

  /** `on`: { open(), message(object), gone(wasOpen) }. After close() none of them is called. */
  constructor(url, on) {
    this.#on = on;
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = (event) => this.#received(event.data);
    this.#socket.onclose = () => this.#gone();
    this.#timers.push(setTimeout(() => this.isOpen || this.#gone(), OPEN_WITHIN_MS));
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** False when it is not open. */
  send(message) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Is anybody still there? Silence now means gone, long before the pings would tell. */
  probe(within_ms = PROBE_WITHIN_MS) {
    const asked = performance.now();
    if (!this.isOpen || (asked < this.#judgedAt && this.#judgedAt <= asked + within_ms)) return;
    this.#judgedAt = asked + within_ms;
    this.send({ type: 'ping', t: Math.round(asked) });
    clearTimeout(this.#probe);
    this.#probe = setTimeout(() => this.#heard < asked && this.#gone(), within_ms);
  }

  /** Something went out; does it arrive? A network that swallows everything tells nobody. */
  doubt() {
    this.probe(SENT_PROBE_WITHIN_MS);
  }

  close() {
    this.#on = null;
    [this.#probe, ...this.#timers].forEach(clearTimeout);
    this.#socket.close();
  }

  #opened() {
    this.#wasOpen = true;
    this.#heard = performance.now();
    this.#timers.push(setInterval(() => this.#ping(), PING_EVERY_MS));
    this.#on?.open();
  }

  #ping() {
    if (performance.now() - this.#heard > DEAD_AFTER_MS) this.#gone();
    else this.send({ type: 'ping', t: Math.round(performance.now()) });
  }

  #received(text) {
    this.#heard = performance.now();
    const message = parse(text);
    if (message?.type === 'ping') this.send({ type: 'pong', t: message.t });
    else if (message && message.type !== 'pong') this.#on?.message(message);
  }

  #gone() {
    const on = this.#on;
    this.close();
    on?.gone(this.#wasOpen);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** ws: beside http:, wss: beside https:, and the same host. */
export function signallingUrl(location) {
  return `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/ws`;
}

/** True when the page itself is refused: the login is over, and only a fresh load can ask for it again. */
export async function loginIsOver(url) {
  const reply = await fetch(url, { cache: 'no-store', redirect: 'manual', signal: AbortSignal.timeout?.(PAGE_WITHIN_MS) }).catch(() => null);
  return reply !== null && (reply.type === 'opaqueredirect' || reply.status === 401);
}
