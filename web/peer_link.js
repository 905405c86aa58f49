// A connection from this browser to another one, negotiated over a relay that forwards our words unread: "perfect
// negotiation", so both sides may start at any time. Carries two data channels, "talk" and "files". No media and no data
// of it ever goes to the board.

/** The relay takes 20 messages a second: candidates travel together. */
const GATHER_FOR_MS = 100;
const HEAL_AFTER_MS = 2000;
const HEAL_WITHIN_MS = 15000;
const CONNECT_WITHIN_MS = 20000;

export class PeerLink {
  #pc;
  #polite;
  #send;
  #on;
  #time;
  #channels = {};
  #offering = false;
  #ignoring = false;
  #heardChain = Promise.resolve();
  #candidates = [];
  #batch = null;
  #timers = [];
  #wasOpen = false;

  /**
   * `pc`: a fresh RTCPeerConnection; the polite side gives way when both offer at once, the other one makes the channels.
   * `send(body)`: a text for the other side's heard(). `on`: { open(channels), lost(reason) }; none is called after close().
   */
  constructor(pc, { polite, send, on, time }) {
    this.#pc = pc;
    this.#polite = polite;
    this.#send = send;
    this.#on = on;
    this.#time = time;
    pc.onnegotiationneeded = () => this.#offer();
    pc.onicecandidate = ({ candidate }) => candidate && this.#found(candidate);
    pc.onconnectionstatechange = () => this.#stateChanged();
    pc.ondatachannel = ({ channel }) => this.#take(channel);
    this.#after(CONNECT_WITHIN_MS, () => this.#wasOpen || this.#lost('no-path'));
    if (polite) return;
    this.#take(pc.createDataChannel('talk'));
    this.#take(pc.createDataChannel('files'));
  }

  /** What the other side sent. One after the other: each step waits for the one before. */
  heard(body) {
    this.#heardChain = this.#heardChain.then(() => this.#apply(body)).catch(() => {});
    return this.#heardChain;
  }

  close() {
    this.#on = null;
    for (const timer of this.#timers) this.#time.clearTimeout(timer);
    this.#pc.onnegotiationneeded = this.#pc.onicecandidate = this.#pc.onconnectionstatechange = this.#pc.ondatachannel = null;
    this.#pc.close();
  }

  async #offer() {
    this.#offering = true;
    try {
      await this.#pc.setLocalDescription();
      this.#tell({ description: this.#pc.localDescription });
    } catch {
      this.#lost('failed');
    } finally {
      this.#offering = false;
    }
  }

  async #apply(body) {
    if (!this.#on) return;
    const { description, candidates = [] } = JSON.parse(body);
    if (description) await this.#describe(description);
    for (const candidate of candidates) await this.#pc.addIceCandidate(candidate).catch(() => {});
  }

  async #describe(description) {
    const collision = description.type === 'offer' && (this.#offering || this.#pc.signalingState !== 'stable');
    this.#ignoring = !this.#polite && collision;
    if (this.#ignoring) return;
    await this.#pc.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    await this.#pc.setLocalDescription();
    this.#tell({ description: this.#pc.localDescription });
  }

  #tell(words) {
    if (this.#on) this.#send(JSON.stringify(words));
  }

  #found(candidate) {
    this.#candidates.push(candidate);
    this.#batch ??= this.#after(GATHER_FOR_MS, () => {
      this.#batch = null;
      this.#tell({ candidates: this.#candidates.splice(0) });
    });
  }

  #take(channel) {
    if (!['talk', 'files'].includes(channel.label)) return;
    channel.binaryType = 'arraybuffer';
    this.#channels[channel.label] = channel;
    channel.onopen = () => this.#opened();
    channel.onclose = () => this.#lost('hung-up');
    this.#opened();
  }

  #opened() {
    const { talk, files } = this.#channels;
    if (this.#wasOpen || talk?.readyState !== 'open' || files?.readyState !== 'open') return;
    this.#wasOpen = true;
    this.#on?.open({ talk, files });
  }

  #stateChanged() {
    const state = this.#pc.connectionState;
    if (state === 'closed') this.#lost('hung-up');
    else if (state === 'failed' && !this.#wasOpen) this.#lost('no-path');
    else if (['disconnected', 'failed'].includes(state)) this.#heal(state === 'failed' ? 0 : HEAL_AFTER_MS);
  }

  /** Other paths may be there: a Wi-Fi that changed, a phone that slept. */
  #heal(after_ms) {
    const unwell = () => this.#on && !['connected', 'connecting', 'new'].includes(this.#pc.connectionState);
    this.#after(after_ms, () => unwell() && this.#pc.restartIce());
    this.#after(after_ms + HEAL_WITHIN_MS, () => unwell() && this.#lost('lost'));
  }

  #after(ms, run) {
    const timer = this.#time.setTimeout(run, ms);
    this.#timers.push(timer);
    return timer;
  }

  #lost(reason) {
    const on = this.#on;
    if (!on) return;
    this.close();
    on.lost(reason);
  }
}
