// A call between two people of the room: who called whom, and the link once both agreed. Pure but for the link it is
// handed: messages of the board come in, messages and states go out.
//
// One call at a time. If both call each other at once, the one with the lower id stays the caller.

const ANSWER_WITHIN_MS = 45000;

export class Call {
  #send;
  #link;
  #changed;
  #time;
  #me;
  #state = 'idle';
  #peer = null;
  #open = null;
  #early = [];
  #timer = null;

  /**
   * `send(message)`: to the board, false when it cannot. `link({ polite, send, on })` makes a PeerLink. `changed(view)`:
   * `{ state: idle|calling|ringing|connecting|talking, peer: {id, name}|null, channels?, why? }`. `me()`: this seat's id.
   */
  constructor({ send, link, changed, me, time }) {
    this.#send = send;
    this.#link = link;
    this.#changed = changed;
    this.#me = me;
    this.#time = time;
  }

  get state() { return this.#state; }
  get peer() { return this.#peer; }

  call(peer) {
    if (this.#state !== 'idle' || !this.#send({ type: 'call', to: peer.id })) return false;
    this.#become('calling', peer);
    this.#expire('no-answer');
    return true;
  }

  accept() {
    if (this.#state !== 'ringing') return;
    this.#send({ type: 'accept', to: this.#peer.id });
    this.#connect(true);
  }

  decline() {
    if (this.#state !== 'ringing') return;
    this.#send({ type: 'decline', to: this.#peer.id });
    this.#end('');
  }

  hangUp() {
    if (this.#state === 'idle') return;
    if (this.#state === 'ringing') return this.decline();
    this.#send({ type: 'hangup', to: this.#peer.id });
    this.#end('');
  }

  hear(message) {
    const { type, from } = message;
    if (type === 'call') return this.#called(from, message.name);
    // The seat is another one: whoever we talked to does not know it.
    if (type === 'welcome' && !message.resumed && this.#state !== 'idle') return this.#end('lost');
    if (type === 'peers' && message.left !== undefined && message.left === this.#peer?.id) return this.#end('left');
    if (type === 'error' && ['not-agreed', 'unknown-seat'].includes(message.code) && ['calling', 'connecting'].includes(this.#state)) return this.#end('gone');
    if (this.#peer === null || from !== this.#peer.id) return;
    if (type === 'accept' && this.#state === 'calling') this.#connect(false);
    else if (type === 'decline' && this.#state === 'calling') this.#end('declined');
    else if (type === 'hangup') this.#end(this.#state === 'ringing' ? 'missed' : 'hung-up');
    else if (type === 'relay') this.#relayed(String(message.body));
  }

  #called(from, name) {
    if (this.#state === 'calling' && from === this.#peer.id) {
      if (this.#me() < from) return;
      this.#send({ type: 'accept', to: from });
      return this.#connect(true);
    }
    if (this.#state !== 'idle') {
      if (from !== this.#peer.id) this.#send({ type: 'decline', to: from });
      return;
    }
    this.#become('ringing', { id: from, name: String(name ?? '') });
    this.#expire('missed');
  }

  /** The polite side is the one that was called. */
  #connect(polite) {
    this.#clear();
    this.#become('connecting', this.#peer);
    const to = this.#peer.id;
    this.#open = this.#link({
      polite,
      send: (body) => this.#send({ type: 'relay', to, body }),
      on: {
        open: (channels) => this.#become('talking', this.#peer, { channels }),
        lost: (reason) => {
          this.#send({ type: 'hangup', to });
          this.#end(reason);
        },
      },
    });
    for (const body of this.#early.splice(0)) this.#open.heard(body);
  }

  /** The other side may be faster than our own user interface. */
  #relayed(body) {
    if (this.#open) this.#open.heard(body);
    else if (this.#early.length < 50) this.#early.push(body);
  }

  #expire(why) {
    this.#clear();
    this.#timer = this.#time.setTimeout(() => {
      const [peer, ringing] = [this.#peer, this.#state === 'ringing'];
      this.#send({ type: ringing ? 'decline' : 'hangup', to: peer.id });
      this.#end(why);
    }, ANSWER_WITHIN_MS);
  }

  #clear() {
    if (this.#timer) this.#time.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #end(why) {
    this.#clear();
    const peer = this.#peer;
    this.#open?.close();
    this.#open = null;
    this.#early = [];
    this.#state = 'idle';
    this.#peer = null;
    this.#changed({ state: 'idle', peer, why });
  }

  #become(state, peer, more = {}) {
    this.#state = state;
    this.#peer = peer;
    this.#changed({ state, peer, ...more });
  }
}
