// One WebRTC connection to the board: makes the offer, takes the answer, puts the picture into the <video>, carries the
// data channels, and watches that frames keep coming. It never reconnects: it tells when it is unwell, when it is well
// again, and once when it is lost. Whether an ICE restart may heal it is the session's decision.

import { clockAnswer, clockQuestion } from './clock_wire.js';

const CONNECT_WITHIN_MS = 12000;
const FRAME_WITHIN_MS = 5000;
/** Without its socket a connection that falls silent is believed unwell sooner: no picture comes slower than this. */
const SUSPECT_FRAME_WITHIN_MS = 1500;
const UNWELL_AFTER_MS = 2000;
const WATCH_EVERY_MS = 250;
const CLOCK_BURST = 8;
const CLOCK_BURST_GAP_MS = 50;
const CLOCK_EVERY_MS = 2000;

export class Viewer {
  #pc;
  #video;
  #still;
  #meter;
  #on;
  #sync = null;
  #telemetry = null;
  /** The board answered in bytes: it knows the channel. */
  #telemetrySpoke = false;
  #timers = [];
  #offered = null;
  #trickle = null;
  #answeredAt = null;
  #disconnectedAt = null;
  #unwell = false;
  #lastFrameAt = null;
  #lastCount = 0;
  #counting = false;
  #frameWithin_ms = FRAME_WITHIN_MS;
  #gathered = new Set();

  /**
   * `on`: { firstFrame(), blocked(blocked), unwell(), well(), lost(reason), channel(way or null), message(object) }. None
   * is called after close(). Without `iceServers` the connection is made the fastest way: straight, as on a local network.
   */
  constructor(video, still, meter, on, iceServers = []) {
    this.#pc = new RTCPeerConnection({ iceServers });
    this.#video = video;
    this.#still = still;
    this.#meter = meter;
    this.#on = on;
    meter.reset();
    const { receiver } = preferH264(this.#pc.addTransceiver('video', { direction: 'recvonly' }));
    this.#openSync();
    this.#openTelemetry();
    this.#pc.ontrack = (event) => this.#show(event.track ?? receiver.track);
    this.#pc.onicecandidate = ({ candidate }) => this.#found(candidate);
    this.#offered = this.#pc.setLocalDescription();
    this.#offered.catch(() => this.#lost('offer'));
  }

  /** True while frames arrive (or did a moment ago). */
  get flows() {
    return this.#lastFrameAt !== null && performance.now() - this.#lastFrameAt < this.#frameWithin_ms;
  }

  get connected() {
    return this.#pc.connectionState === 'connected';
  }

  /** Kinds of own candidates found so far: host, mdns, srflx, relay. */
  get gathered() {
    return [...this.#gathered];
  }

  /** The offer with the candidates found so far; `trickle` gets the later ones, then '' for the end. */
  async offer(trickle) {
    await this.#offered;
    this.#trickle = trickle;
    return this.#pc.localDescription.sdp;
  }

  /** An offer for the same connection over new paths. */
  async restart(trickle, iceServers) {
    this.#trickle = null;
    if (iceServers?.length) this.#pc.setConfiguration({ iceServers });
    this.#pc.restartIce();
    await this.#pc.setLocalDescription();
    this.#trickle = trickle;
    return this.#pc.localDescription.sdp;
  }

  async answer(sdp) {
    const first = this.#answeredAt === null;
    this.#answeredAt = performance.now();
    if (first) this.#timers.push(setInterval(() => this.#watch(), WATCH_EVERY_MS));
    try {
      await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    } catch {
      this.#lost('bad answer');
    }
  }

  /** The server may be gone: from now on a short silence is enough to call this connection unwell. */
  suspect() {
    this.#frameWithin_ms = SUSPECT_FRAME_WITHIN_MS;
  }

  /** The server is there after all. */
  trust() {
    this.#frameWithin_ms = FRAME_WITHIN_MS;
  }

  async stats() {
    return [...(await this.#pc.getStats()).values()];
  }

  close() {
    const on = this.#on;
    this.#on = null;
    this.keepStill();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#pc.ontrack = this.#pc.onicecandidate = null;
    this.#pc.close();
    on?.channel(null);
  }

  /** Browsers blank a video whose track ended; the last picture stays as a drawing. */
  keepStill() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width || this.#lastFrameAt === null) return;
    Object.assign(this.#still, { width, height });
    this.#still.getContext('2d').drawImage(this.#video, 0, 0);
  }

  #found(candidate) {
    if (candidate?.candidate) this.#gathered.add(candidateKind(candidate));
    if (candidate === null) this.#trickle?.('');
    else if (candidate.candidate) this.#trickle?.(candidate.candidate);
  }

  #show(track) {
    this.#video.srcObject = new MediaStream([track]);
    this.#countFrames();
    this.play();
  }

  /** Browsers may refuse to play unasked (power saving); then somebody must tap. */
  play() {
    this.#video.play().then(() => this.#on?.blocked(false), (error) => {
      if (error.name === 'NotAllowedError') this.#on?.blocked(true);
    });
  }

  #countFrames() {
    if (!this.#video.requestVideoFrameCallback) return;
    const shown = (_now, metadata) => {
      if (!this.#on) return;
      this.#meter.frame(metadata);
      this.#sawFrame();
      this.#video.requestVideoFrameCallback(shown);
    };
    this.#video.requestVideoFrameCallback(shown);
  }

  #sawFrame() {
    const first = this.#lastFrameAt === null;
    this.#lastFrameAt = performance.now();
    if (first) this.#on?.firstFrame();
  }

  #watch() {
    const now = performance.now();
    const state = this.#pc.connectionState;
    if (state === 'closed') return this.#lost(state);
    if (this.#lastFrameAt === null && state === 'failed') return this.#lost(state);
    if (this.#lastFrameAt === null && now - this.#answeredAt > CONNECT_WITHIN_MS) return this.#lost('no picture');
    this.#judge(now, state);
    // Hidden tabs and browsers without the frame callback show nothing countable: ask the decoder instead.
    if (this.#lastFrameAt === null || now - this.#lastFrameAt > 2 * WATCH_EVERY_MS) this.#countByStats();
  }

  #judge(now, state) {
    if (this.#lastFrameAt === null) return;
    if (state !== 'disconnected') this.#disconnectedAt = null;
    else this.#disconnectedAt ??= now;
    const apart = state === 'failed' || (this.#disconnectedAt !== null && now - this.#disconnectedAt > UNWELL_AFTER_MS);
    const unwell = apart || !this.flows;
    if (unwell === this.#unwell) return;
    this.#unwell = unwell;
    if (unwell) this.#on?.unwell();
    else this.#on?.well();
  }

  async #countByStats() {
    if (this.#counting) return;
    this.#counting = true;
    const stats = await this.stats().catch(() => []);
    this.#counting = false;
    const inbound = stats.find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video');
    const count = (document.hidden ? inbound?.framesReceived : inbound?.framesDecoded) ?? 0;
    if (this.#on && count > this.#lastCount) this.#sawFrame();
    this.#lastCount = count;
  }

  #openSync() {
    const channel = this.#sync = this.#pc.createDataChannel('sync');
    channel.onopen = () => {
      this.#askClock();
      this.#on?.channel({
        get isOpen() { return channel.readyState === 'open'; },
        send: (message) => sendText(channel, JSON.stringify(message)),
      });
    };
    channel.onclose = () => this.#on?.channel(null);
    channel.onmessage = ({ data }) => this.#heardText(data);
  }

  #openTelemetry() {
    const channel = this.#telemetry = this.#pc.createDataChannel('telemetry', { ordered: false, maxRetransmits: 0 });
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => (typeof data === 'string' ? this.#heardText(data) : this.#heardClock(data));
  }

  #askClock() {
    for (let i = 0; i < CLOCK_BURST; i++) this.#timers.push(setTimeout(() => this.#ask(), i * CLOCK_BURST_GAP_MS));
    this.#timers.push(setInterval(() => this.#ask(), CLOCK_EVERY_MS));
  }

  /** In text as well until the first answer in bytes: a board of an earlier version knows only that. */
  #ask() {
    if (this.#telemetry.readyState === 'open') this.#telemetry.send(clockQuestion(performance.now()));
    if (!this.#telemetrySpoke) sendText(this.#sync, JSON.stringify({ type: 'clock', t0: performance.now() }));
  }

  #heardClock(data) {
    const heard = performance.now();
    const answer = clockAnswer(data);
    if (!answer) return;
    this.#telemetrySpoke = true;
    this.#meter.clock.add(answer.t0, answer.server_us, heard);
  }

  #heardText(data) {
    const heard = performance.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message?.type === 'clock') this.#meter.clock.add(message.t0, message.server_us, heard);
    else if (message?.type === 'stream') this.#meter.picture(message);
    else if (message?.type) this.#on?.message(message);
  }

  #lost(reason) {
    const on = this.#on;
    this.close();
    on?.lost(reason);
  }
}

/** False when the channel does not take it: closed, or too much waits already. */
function sendText(channel, text) {
  if (channel.readyState !== 'open') return false;
  try {
    channel.send(text);
    return true;
  } catch {
    return false;
  }
}

function candidateKind({ candidate, type }) {
  const kind = type ?? / typ (\w+)/.exec(candidate)?.[1] ?? 'host';
  return kind === 'host' && /\.local /.test(candidate) ? 'mdns' : kind;
}

/** What this browser lacks, as a key of words.js; null when it can play. */
export function missingAbility() {
  if (!globalThis.RTCPeerConnection) return 'unsupported_webrtc';
  const codecs = globalThis.RTCRtpReceiver?.getCapabilities?.('video')?.codecs;
  if (codecs && !codecs.some(isH264)) return 'unsupported_h264';
  return null;
}

function preferH264(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities?.('video')?.codecs ?? [];
  const wanted = codecs.filter((codec) => isH264(codec) || codec.mimeType.toLowerCase() === 'video/rtx');
  if (wanted.length && transceiver.setCodecPreferences) transceiver.setCodecPreferences(wanted);
  return transceiver;
}

function isH264(codec) {
  return codec.mimeType.toLowerCase() === 'video/h264';
}
