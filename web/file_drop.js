// Files from one browser to another over one data channel: offered, taken or refused, then sent in pieces. Holds a few
// pieces at a time, never a file: the sender waits for the channel and for what the receiver has stored, the receiver
// hands each piece to a sink. Pure but for channel, file and sink, which are handed in.
//
// On the channel: JSON texts { do: offer|take|refuse|start|done|stored|cancel, id, ... } and, between start and done of a
// file, its bytes. Ids are of the side that sends the file.

export const PIECE_BYTES = 64 * 1024;
/** The channel holds at most about this much unsent; below the second figure it gets more. */
const CHANNEL_FULL_BYTES = 1024 * 1024;
const CHANNEL_LOW_BYTES = 256 * 1024;
/** Sent and not yet stored on the other side: a slow disk slows the sender down. */
const WINDOW_BYTES = 8 * 1024 * 1024;
const STORED_EVERY_BYTES = 1024 * 1024;
const OFFERS_AT_ONCE = 20;
/** Offered and done with: a call's list must end somewhere. */
const OFFERS_IN_ALL = 500;
const NAME_LONGEST = 120;
/** Reasons the other side may give; anything else is none. */
const REASONS = ['disk', 'quota', 'no-disk', 'too-many'];
const OVER = ['done', 'refused', 'cancelled', 'failed'];

export class FileDrop {
  #channel;
  #openSink;
  #changed;
  #transfers = [];
  #nextId = 1;
  #queue = Promise.resolve();
  #waiting = [];
  #incoming = null;

  /**
   * `openSink({ name, size, mime })` resolves to { write(ArrayBuffer), close(), abort() }, or throws; an error's `why`
   * becomes the transfer's. `changed(transfer)`: { id, from_us, name, size, moved, state: offered|waiting|moving|done|
   * refused|cancelled|failed, why }.
   */
  constructor({ channel, openSink, changed }) {
    this.#channel = channel;
    this.#openSink = openSink;
    this.#changed = changed;
    channel.bufferedAmountLowThreshold = CHANNEL_LOW_BYTES;
    channel.onbufferedamountlow = () => this.#wake();
    channel.onmessage = ({ data }) => this.#heard(data);
  }

  get transfers() { return this.#transfers; }

  /** Offers a File (or Blob with a name) to the other side. */
  offer(file) {
    const transfer = this.#add({ id: this.#nextId++, from_us: true, name: tidyFileName(file.name), size: file.size, file });
    this.#say({ do: 'offer', id: transfer.id, name: transfer.name, size: file.size, mime: file.type ?? '' });
    return transfer;
  }

  /** The user wants it. Called from a click: the browser may ask where to. */
  async take(transfer) {
    if (transfer.from_us || transfer.state !== 'offered') return;
    this.#become(transfer, 'waiting');
    try {
      transfer.sink = await this.#openSink(transfer);
    } catch (error) {
      if (transfer.state !== 'waiting') return;
      if (error.why === 'not-chosen') return this.#become(transfer, 'offered');
      this.#say({ do: 'refuse', id: transfer.id, why: error.why ?? 'disk' });
      return this.#become(transfer, 'failed', error.why ?? 'disk');
    }
    // The other side may have thought better of it while the user chose a place.
    if (transfer.state === 'waiting') this.#say({ do: 'take', id: transfer.id });
    else this.#drop(transfer);
  }

  refuse(transfer) {
    if (transfer.from_us || transfer.state !== 'offered') return;
    this.#say({ do: 'refuse', id: transfer.id });
    this.#become(transfer, 'refused');
  }

  /** Either side, at any time before the end. */
  cancel(transfer) {
    if (OVER.includes(transfer.state)) return;
    this.#say({ do: 'cancel', id: transfer.id, mine: transfer.from_us });
    this.#stop(transfer, 'cancelled', '');
  }

  /** The link is gone: nothing more comes or goes. */
  close() {
    for (const transfer of this.#transfers) if (!OVER.includes(transfer.state)) this.#stop(transfer, 'failed', 'link');
  }

  #heard(data) {
    if (data instanceof ArrayBuffer) return this.#piece(data);
    let words;
    try {
      words = JSON.parse(data);
    } catch {
      return;
    }
    if (words?.do === 'offer') return this.#offered(words);
    const ours = ['take', 'refuse', 'stored'].includes(words?.do) || (words?.do === 'cancel' && !words.mine);
    const transfer = this.#transfers.find((one) => one.id === words?.id && one.from_us === ours);
    if (!transfer || OVER.includes(transfer.state)) return;
    switch (words.do) {
      case 'take': return transfer.state === 'offered' && this.#enqueue(transfer);
      case 'refuse': return this.#stop(transfer, 'refused', REASONS.includes(words.why) ? words.why : '');
      case 'cancel': return this.#stop(transfer, 'cancelled', 'other');
      case 'stored': return this.#stored(transfer, words.bytes);
      case 'start': return this.#starts(transfer);
      case 'done': return this.#finish(transfer);
    }
  }

  // sending

  #enqueue(transfer) {
    this.#become(transfer, 'waiting');
    this.#queue = this.#queue.then(() => this.#sendAll(transfer)).catch(() => this.#breakOff(transfer, 'read'));
  }

  async #sendAll(transfer) {
    if (transfer.state !== 'waiting') return;
    this.#become(transfer, 'moving');
    this.#say({ do: 'start', id: transfer.id });
    const pieces = piecesOf(transfer.file);
    try {
      if (await this.#sendPieces(transfer, pieces)) this.#say({ do: 'done', id: transfer.id });
    } finally {
      pieces.end();
    }
  }

  /** True when all of it went out. */
  async #sendPieces(transfer, pieces) {
    let sent = 0;
    while (sent < transfer.size) {
      const piece = await pieces.next();
      while (transfer.state === 'moving' && (sent - transfer.moved > WINDOW_BYTES || this.#channel.bufferedAmount > CHANNEL_FULL_BYTES)) await this.#turn();
      if (transfer.state !== 'moving') return false;
      // A file that shrank under our hands would leave the other side waiting for ever.
      if (!piece?.byteLength) throw new Error('the file ended early');
      this.#channel.send(piece);
      sent += piece.byteLength;
    }
    return true;
  }

  #turn() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #stored(transfer, bytes) {
    if (!Number.isFinite(bytes) || bytes < transfer.moved || bytes > transfer.size) return;
    transfer.moved = bytes;
    this.#become(transfer, bytes === transfer.size ? 'done' : 'moving');
    this.#wake();
  }

  // receiving

  #offered({ id, name, size, mime }) {
    const theirs = this.#transfers.filter((one) => !one.from_us);
    const open = theirs.filter((one) => one.state === 'offered').length;
    const known = theirs.some((one) => one.id === id);
    if (known || !Number.isSafeInteger(id) || !Number.isSafeInteger(size) || size < 0) return;
    if (open >= OFFERS_AT_ONCE || theirs.length >= OFFERS_IN_ALL) return this.#say({ do: 'refuse', id, why: 'too-many' });
    this.#add({ id, from_us: false, name: tidyFileName(name), size, mime: String(mime ?? '').slice(0, 100) });
  }

  #starts(transfer) {
    if (transfer.state !== 'waiting' || !transfer.sink) return;
    Object.assign(transfer, { received: 0, told: 0, writing: Promise.resolve() });
    this.#incoming = transfer;
    this.#become(transfer, 'moving');
  }

  #piece(data) {
    const transfer = this.#incoming;
    // What was under way when a transfer ended is of no use to anybody.
    if (transfer?.state !== 'moving') return;
    transfer.received += data.byteLength;
    if (transfer.received > transfer.size) return this.#breakOff(transfer, 'size');
    // A sender that waits for nothing would fill our memory.
    if (transfer.received - transfer.moved > 2 * WINDOW_BYTES) return this.#breakOff(transfer, 'disk');
    transfer.writing = transfer.writing.then(() => this.#write(transfer, data)).catch(() => this.#breakOff(transfer, 'disk'));
  }

  async #write(transfer, data) {
    if (transfer.state !== 'moving') return;
    await transfer.sink.write(data);
    if (transfer.state !== 'moving') return;
    transfer.moved += data.byteLength;
    if (transfer.moved - transfer.told >= STORED_EVERY_BYTES && transfer.moved < transfer.size) {
      transfer.told = transfer.moved;
      this.#say({ do: 'stored', id: transfer.id, bytes: transfer.moved });
    }
    this.#changed(transfer);
  }

  #finish(transfer) {
    if (transfer !== this.#incoming || transfer.state !== 'moving') return;
    this.#incoming = null;
    transfer.writing = transfer.writing.then(() => this.#store(transfer)).catch(() => this.#breakOff(transfer, 'disk'));
  }

  async #store(transfer) {
    if (transfer.state !== 'moving') return;
    if (transfer.moved !== transfer.size) return this.#breakOff(transfer, 'size');
    const { sink } = transfer;
    await sink.close();
    transfer.sink = null;
    this.#say({ do: 'stored', id: transfer.id, bytes: transfer.moved });
    this.#become(transfer, 'done');
  }

  // both

  #breakOff(transfer, why) {
    if (OVER.includes(transfer.state)) return;
    this.#say({ do: 'cancel', id: transfer.id, mine: transfer.from_us });
    this.#stop(transfer, 'failed', why);
  }

  #stop(transfer, state, why) {
    if (this.#incoming === transfer) this.#incoming = null;
    this.#become(transfer, state, why);
    this.#drop(transfer);
    this.#wake();
  }

  /** Takes away what was stored so far. */
  #drop(transfer) {
    const { sink } = transfer;
    transfer.sink = transfer.file = null;
    if (sink) Promise.resolve(transfer.writing).then(() => sink.abort()).catch(() => {});
  }

  #say(words) {
    if (this.#channel.readyState === 'open') this.#channel.send(JSON.stringify(words));
  }

  #add(transfer) {
    Object.assign(transfer, { moved: 0, state: 'offered', why: '' });
    this.#transfers.push(transfer);
    this.#changed(transfer);
    return transfer;
  }

  #become(transfer, state, why = '') {
    Object.assign(transfer, { state, why });
    this.#changed(transfer);
  }
}

/** The file's bytes, piece by piece. Where the browser can, through one buffer over and over: garbage collection is in no
 *  hurry, and 200 MB of pieces would pile up before it comes. */
function piecesOf(file) {
  try {
    const reader = file.stream().getReader({ mode: 'byob' });
    let buffer = new ArrayBuffer(PIECE_BYTES);
    const next = async () => {
      const { value } = await reader.read(new Uint8Array(buffer, 0, PIECE_BYTES));
      if (value) buffer = value.buffer;
      return value;
    };
    return { next, end: () => reader.cancel().catch(() => {}) };
  } catch {
    let from = 0;
    return { next: () => file.slice(from, from += PIECE_BYTES).arrayBuffer(), end: () => {} };
  }
}

/** A name without a folder, without what turns text around, and not too long. */
export function tidyFileName(name) {
  const plain = String(name ?? '').replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '').replace(/[\\/:*?"<>|]/g, '_').replace(/^[.\s]+/, '').trim();
  return [...plain].slice(-NAME_LONGEST).join('') || 'file';
}
