// Keeps one viewer alive: decides when to open the socket, when to make a new offer, how long to wait, and which
// state the page is in. Owns no socket and no element: both are handed in, so tests drive it with fakes.
//
// Rules: one attempt at a time; a lost socket does not touch a flowing picture; the server's retry_after_s is obeyed.

import { Backoff } from './backoff.js';

const PROTOCOL_VERSION = 1;
/** After this long in good order the next trouble counts as the first. */
const STEADY_MS = 5000;
const FULL_RETRY_S = 5;
/** Errors that end the viewer but not the socket. */
const VIEWER_IS_OVER = ['full', 'not-ready', 'bad-offer', 'connect-timeout', 'lost', 'failed'];

export class Session {
  #make;
  #changed;
  #shutOut;
  #time;
  #language;
  #backoff;
  #socket = null;
  #viewer = null;
  #offeredOn = null;
  #retry = null;
  #notBefore = 0;
  #goodSince = null;
  #playing = false;
  #blocked = false;
  #everPlayed = false;
  #refusal = null;
  #stopped = null;
  #camera = { camera: 'live' };

  /**
   * `make`: { socket(on), viewer(on) }; `changed(view)` is called on every change of state, `shutOut()` when a socket
   * would not open (`gone(false)`);
   * `time`: { now(), setTimeout, clearTimeout }.
   */
  constructor({ make, changed, shutOut = () => {}, language, time, backoff = new Backoff() }) {
    this.#make = make;
    this.#changed = changed;
    this.#shutOut = shutOut;
    this.#language = language;
    this.#time = time;
    this.#backoff = backoff;
  }

  start() {
    this.#attempt();
  }

  /** The user, the network or the screen came back: do not sit out the rest of a wait of our own. */
  hurry() {
    if (this.#retry && this.#time.now() >= this.#notBefore) this.#attempt();
  }

  /** A tap: play what the browser refused to play unasked. */
  play() {
    this.#viewer?.play();
  }

  /** The page goes: free its place at once. */
  stop() {
    this.#socket?.send({ type: 'bye', reason: 'left' });
    this.#stopped = 'left';
    this.#clearRetry();
    this.#dropViewer();
    this.#dropSocket();
  }

  /** Nothing to hope for (a key of words.js says why). */
  give_up(why) {
    this.#stopped = why;
    this.#clearRetry();
    this.#dropViewer();
    this.#dropSocket();
    this.#tell();
  }

  get viewer() {
    return this.#viewer;
  }

  get view() {
    return { state: this.#state(), camera: this.#camera, why: this.#stopped, refusal: this.#refusal,
      retryAt: this.#retry?.at ?? null, everPlayed: this.#everPlayed };
  }

  #state() {
    if (this.#stopped) return 'unsupported';
    if (this.#blocked) return 'blocked';
    if (this.#playing) return this.#camera.camera === 'live' ? 'live' : this.#camera.camera;
    if (this.#refusal) return this.#refusal.code === 'full' ? 'full' : 'reconnecting';
    if (this.#retry || this.#everPlayed) return 'reconnecting';
    return 'connecting';
  }

  #tell() {
    this.#changed(this.view);
  }

  #attempt() {
    if (this.#stopped) return;
    this.#clearRetry();
    // Both at once: the offer is ready by the time the socket is.
    this.#viewer ??= this.#newViewer();
    this.#socket ??= this.#newSocket();
    if (this.#socket.isOpen) this.#offer();
    this.#tell();
  }

  #schedule(least_ms = 0) {
    if (this.#stopped) return;
    if (this.#goodSince !== null && this.#time.now() - this.#goodSince > STEADY_MS) this.#backoff.reset();
    this.#goodSince = null;
    const now = this.#time.now();
    this.#notBefore = Math.max(this.#notBefore, now + least_ms);
    if (!this.#retry) this.#wait(Math.max(this.#backoff.next(), this.#notBefore - now));
    else if (this.#retry.at < this.#notBefore) this.#wait(this.#notBefore - now);
    this.#tell();
  }

  #wait(ms) {
    this.#clearRetry();
    this.#retry = { at: this.#time.now() + ms, timer: this.#time.setTimeout(() => this.#attempt(), ms) };
  }

  #clearRetry() {
    if (this.#retry) this.#time.clearTimeout(this.#retry.timer);
    this.#retry = null;
  }

  #newSocket() {
    const socket = this.#make.socket({
      open: () => socket === this.#socket && this.#opened(),
      message: (message) => socket === this.#socket && this.#heard(message),
      gone: (wasOpen) => socket === this.#socket && this.#socketGone(wasOpen),
    });
    return socket;
  }

  #newViewer() {
    this.#offeredOn = null;
    const mine = () => viewer === this.#viewer;
    const viewer = this.#make.viewer({
      firstFrame: () => mine() && this.#nowPlaying(),
      blocked: (blocked) => mine() && this.#nowBlocked(blocked),
      lost: (reason) => mine() && this.#viewerLost(reason),
    });
    return viewer;
  }

  #opened() {
    this.#socket.send({ type: 'hello', version: PROTOCOL_VERSION, language: this.#language });
    if (this.#playing) this.#goodSince ??= this.#time.now();
    this.#offer();
  }

  async #offer() {
    const [socket, viewer] = [this.#socket, this.#viewer];
    if (!viewer || this.#offeredOn) return;
    this.#offeredOn = socket;
    const sdp = await viewer.offer((candidate) => socket.send({ type: 'candidate', candidate })).catch(() => null);
    if (sdp !== null && viewer === this.#viewer && socket === this.#socket) socket.send({ type: 'offer', sdp });
  }

  #heard(message) {
    switch (message.type) {
      case 'answer':
        this.#viewer?.answer(message.sdp);
        break;
      case 'welcome':
      case 'status':
        this.#camera = message;
        this.#tell();
        break;
      case 'error':
        this.#refused(message);
        break;
      case 'bye':
        // A server that stops takes the picture along. One that misses an offer got a socket without a viewer of its
        // own, re-opened beside a flowing picture.
        if (['offer-timeout', 'shutdown'].includes(message.reason)) this.#dropViewer();
        this.#dropSocket();
        this.#socketGone();
        break;
    }
  }

  #refused(error) {
    if (error.code === 'no-h264') return this.give_up('unsupported_h264');
    if (!VIEWER_IS_OVER.includes(error.code)) return;
    this.#refusal = error;
    this.#dropViewer();
    this.#schedule(1000 * (error.retry_after_s ?? (error.code === 'full' ? FULL_RETRY_S : 0)));
  }

  #nowPlaying() {
    this.#playing = this.#everPlayed = true;
    this.#refusal = null;
    this.#goodSince = this.#time.now();
    this.#tell();
  }

  #nowBlocked(blocked) {
    this.#blocked = blocked;
    this.#tell();
  }

  #viewerLost(reason) {
    this.#refusal = null;
    this.#dropViewer();
    // An answer that did not come makes the socket as doubtful as the viewer.
    if (reason === 'no answer') this.#dropSocket();
    this.#schedule();
  }

  #socketGone(wasOpen = true) {
    if (!wasOpen) this.#shutOut();
    this.#socket = null;
    this.#refusal = null;
    if (this.#viewer?.flows) this.#viewer.suspect();
    else this.#dropViewer();
    this.#schedule();
  }

  #dropViewer() {
    this.#viewer?.close();
    this.#viewer = null;
    this.#playing = this.#blocked = false;
  }

  #dropSocket() {
    this.#socket?.close();
    this.#socket = null;
  }
}
