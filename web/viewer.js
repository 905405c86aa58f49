// One WebRTC connection: makes the offer, takes the answer, puts the picture into the <video>, speaks the sync
// channel, and watches that frames keep coming. It never reconnects: it tells once that it is lost, and why.

const ANSWER_WITHIN_MS = 6000;
const CONNECT_WITHIN_MS = 12000;
const FRAME_WITHIN_MS = 5000;
/** Without its socket a connection that falls silent is believed dead sooner: no picture comes slower than this. */
const SUSPECT_FRAME_WITHIN_MS = 1500;
const RECOVER_WITHIN_MS = 3000;
const WATCH_EVERY_MS = 250;
const CLOCK_BURST = 8;
const CLOCK_BURST_GAP_MS = 50;
const CLOCK_EVERY_MS = 2000;

export class Viewer {
  #pc = new RTCPeerConnection();
  #video;
  #still;
  #meter;
  #on;
  #sync = null;
  #timers = [];
  #offered = null;
  #answeredAt = null;
  #unwellSince = null;
  #lastFrameAt = null;
  #lastCount = 0;
  #counting = false;
  #frameWithin_ms = FRAME_WITHIN_MS;

  /** `on`: { firstFrame(), blocked(blocked), lost(reason) }. None is called after close(). */
  constructor(video, still, meter, on) {
    this.#video = video;
    this.#still = still;
    this.#meter = meter;
    this.#on = on;
    meter.reset();
    const { receiver } = preferH264(this.#pc.addTransceiver('video', { direction: 'recvonly' }));
    this.#openSync();
    this.#pc.ontrack = (event) => this.#show(event.track ?? receiver.track);
    this.#offered = this.#pc.setLocalDescription();
    this.#offered.catch(() => this.#lost('offer'));
  }

  /** True while frames arrive (or did a moment ago). */
  get flows() {
    return this.#lastFrameAt !== null && performance.now() - this.#lastFrameAt < this.#frameWithin_ms;
  }

  /** The offer with the candidates found so far; `trickle` gets the later ones, then '' for the end. */
  async offer(trickle) {
    await this.#offered;
    this.#pc.onicecandidate = ({ candidate }) => {
      if (candidate === null) trickle('');
      else if (candidate.candidate) trickle(candidate.candidate);
    };
    this.#timers.push(setTimeout(() => this.#answeredAt ?? this.#lost('no answer'), ANSWER_WITHIN_MS));
    return this.#pc.localDescription.sdp;
  }

  async answer(sdp) {
    this.#answeredAt = performance.now();
    this.#timers.push(setInterval(() => this.#watch(), WATCH_EVERY_MS));
    try {
      await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    } catch {
      this.#lost('bad answer');
    }
  }

  /** The server may be gone: from now on a short silence is enough to call this connection lost. */
  suspect() {
    this.#frameWithin_ms = SUSPECT_FRAME_WITHIN_MS;
  }

  async stats() {
    return [...(await this.#pc.getStats()).values()];
  }

  close() {
    this.#on = null;
    if (this.#lastFrameAt !== null) this.#keepStill();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#pc.ontrack = this.#pc.onicecandidate = null;
    this.#pc.close();
  }

  /** Browsers blank a video whose track ended; the last picture stays as a drawing. */
  #keepStill() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width) return;
    Object.assign(this.#still, { width, height });
    this.#still.getContext('2d').drawImage(this.#video, 0, 0);
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
    if (state === 'failed' || state === 'closed') return this.#lost(state);
    if (state !== 'disconnected') this.#unwellSince = null;
    else if (now - (this.#unwellSince ??= now) > RECOVER_WITHIN_MS) return this.#lost(state);
    if (this.#lastFrameAt === null && now - this.#answeredAt > CONNECT_WITHIN_MS) return this.#lost('no picture');
    if (this.#lastFrameAt !== null && now - this.#lastFrameAt > this.#frameWithin_ms) return this.#lost('no frames');
    // Hidden tabs and browsers without the frame callback show nothing countable: ask the decoder instead.
    if (this.#lastFrameAt === null || now - this.#lastFrameAt > 2 * WATCH_EVERY_MS) this.#countByStats();
  }

  async #countByStats() {
    if (this.#counting) return;
    this.#counting = true;
    const stats = await this.stats();
    this.#counting = false;
    const inbound = stats.find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video');
    const count = (document.hidden ? inbound?.framesReceived : inbound?.framesDecoded) ?? 0;
    if (this.#on && count > this.#lastCount) this.#sawFrame();
    this.#lastCount = count;
  }

  #openSync() {
    this.#sync = this.#pc.createDataChannel('sync');
    this.#sync.onopen = () => this.#askClock();
    this.#sync.onmessage = ({ data }) => this.#synced(data);
  }

  #askClock() {
    const ask = () => {
      if (this.#sync.readyState === 'open') this.#sync.send(JSON.stringify({ type: 'clock', t0: performance.now() }));
    };
    for (let i = 0; i < CLOCK_BURST; i++) this.#timers.push(setTimeout(ask, i * CLOCK_BURST_GAP_MS));
    this.#timers.push(setInterval(ask, CLOCK_EVERY_MS));
  }

  #synced(data) {
    const heard = performance.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message?.type === 'clock') this.#meter.clock.add(message.t0, message.server_us, heard);
    if (message?.type === 'stream') this.#meter.picture(message);
  }

  #lost(reason) {
    const on = this.#on;
    this.close();
    on?.lost(reason);
  }
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
