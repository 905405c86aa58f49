// The two ways to the board: the WebSocket and the data channel "sync". Sends each message over the one meant for it, or
// over the other while that one is closed; what arrives on either goes to one place. Owns neither.

/** What goes over "sync" first, as the board does with its answers. */
const OVER_SYNC_FIRST = ['chat', 'set'];

export class Transports {
  #socket = null;
  #channel = null;
  #heard;
  #flows;
  #changed;
  #wasOpen = false;

  /** `heard(message)` gets everything, `changed(open)` is called when the last way closes or the first one opens. `flows()`:
   *  the channel's connection is well; one that is dying looks open for many seconds. */
  constructor({ heard, changed = () => {}, flows = () => true }) {
    this.#heard = heard;
    this.#flows = flows;
    this.#changed = changed;
  }

  /** { isOpen, send(message) } or null. */
  useSocket(socket) {
    this.#socket = socket;
    this.look();
  }

  /** { isOpen, send(message) } or null. */
  useChannel(channel) {
    this.#channel = channel;
    this.look();
  }

  /** One of the two opened or closed by itself, or the channel's connection is well or not. */
  look() {
    if (this.open === this.#wasOpen) return;
    this.#wasOpen = this.open;
    this.#changed(this.#wasOpen);
  }

  get open() {
    return Boolean(this.#socket?.isOpen || (this.#channel?.isOpen && this.#flows()));
  }

  /** False when there is no way, or the message was not taken. */
  send(message) {
    const ways = [this.#socket, this.#channel];
    if (OVER_SYNC_FIRST.includes(message.type) && this.#flows()) ways.reverse();
    for (const way of ways) if (way?.isOpen && way.send(message) !== false) return true;
    return false;
  }

  /** From either way; what an abandoned one still says counts too: the board said it. */
  receive(message) {
    this.#heard(message);
  }
}
