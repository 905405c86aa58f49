// Keeps one viewer and its seat: decides when to open the socket, when to offer, when to heal the old connection and when
// to make a new one, how long to wait, and which state the page is in. Owns no socket and no element: both are handed in,
// so tests drive it with fakes.
//
// Rules: one attempt at a time and one offer unanswered at a time; a lost socket does not touch a flowing picture; a
// connection that falls silent is healed (ICE restart) before it is replaced; the server's retry_after_s is obeyed.

import { Backoff } from './backoff.js';
import { Transports } from './transports.js';

const PROTOCOL_VERSION = 1;
/** After this long in good order the next trouble counts as the first. */
const STEADY_MS = 5000;
const ANSWER_WITHIN_MS = 6000;
/** A restart that helps does so within this. */
const HEAL_WITHIN_MS = 6000;
/** The board keeps seat and viewer this long without any word from us. */
const SEAT_KEPT_MS = 30000;
/** No picture over the straight way within this: try the relays as well. */
const STRAIGHT_WITHIN_MS = 1000;
const RETRY_AFTER_S = { full: 5, closed: 10 };
/** Errors that end the viewer but not the socket. */
const VIEWER_IS_OVER = ['full', 'not-ready', 'bad-offer', 'connect-timeout', 'lost', 'failed'];
/** Farewells after which nobody should knock again unasked. */
export const FOR_GOOD = ['kicked', 'revoked'];

export class Session {
  #make;
  #changed;
  #heard;
  #shutOut;
  #time;
  #language;
  #memory;
  #backoff;
  #transports;
  #socket = null;
  #welcomed = false;
  #viewer = null;
  /** The board's id of the viewer, from its answer, and the socket that brought it. */
  #viewerId = null;
  #answeredOn = null;
  #offered = false;
  /** The offer that has no answer yet: { viewer, restart, timer }. */
  #unanswered = null;
  #ill = null;
  #straight = null;
  #restartWorks = true;
  #iceServers = [];
  #retry = null;
  /** The board asked for no offer before this, and for no knock at its door. */
  #notBefore = 0;
  #knockAfter = 0;
  #goodSince = null;
  #playing = false;
  #blocked = false;
  #everPlayed = false;
  #refusal = null;
  #gathered = [];
  #stopped = null;
  #camera = { camera: 'live' };

  /**
   * `make`: { socket(on), viewer(on, iceServers) }; `changed(view)` is called on every change of state, `heard(message)`
   * with every message that is not about the picture alone, `reach(open)` when the last way to the board closes or the
   * first one opens, `shutOut()` when a socket would not open (`gone(false)`); `memory`: { name, resume };
   * `time`: { now(), setTimeout, clearTimeout }.
   */
  constructor({ make, changed, heard = () => {}, reach = () => {}, shutOut = () => {}, memory = {}, language, time, backoff = new Backoff() }) {
    this.#make = make;
    this.#changed = changed;
    this.#heard = heard;
    this.#shutOut = shutOut;
    this.#memory = memory;
    this.#language = language;
    this.#time = time;
    this.#backoff = backoff;
    this.#transports = new Transports({ heard: (message) => this.#receive(message), changed: reach, flows: () => this.#playing });
  }

  start() {
    this.#attempt();
  }

  /** The user, the network or the screen came back: do not sit out the rest of a wait of our own. */
  hurry() {
    if (this.#retry && this.#time.now() >= this.#earliest()) this.#attempt();
  }

  /** After sleep or a change of network both ways are doubtful: ask, and heal what does not answer. */
  wake() {
    this.hurry();
    this.#socket?.probe?.();
    if (this.#viewer && this.#playing && !(this.#viewer.flows && this.#viewer.connected)) this.#viewerUnwell();
  }

  /** A tap: play what the browser refused to play unasked. */
  play() {
    this.#viewer?.play();
  }

  /** One message to the board over the way meant for it; false when there is none. */
  send(message) {
    const sent = this.#transports.send(message);
    this.#socket?.doubt?.();
    return sent;
  }

  /** What the board said got lost on the way: say hello again, which brings everything. Not while an offer waits: its answer
   *  would be lost as well. */
  refresh() {
    if (!this.#socket?.isOpen || !this.#welcomed || this.#unanswered) return;
    this.#dropSocket();
    this.#attempt();
  }

  /** The page goes, but may come back (a reload, a phone's switch of apps): the seat is kept for a while. */
  pause() {
    this.#end('left');
  }

  /** The user leaves for good: the seat is free at once. */
  leave() {
    this.send({ type: 'bye', reason: 'left' });
    this.#memory.resume = '';
    this.#end('left');
  }

  /** Nothing to hope for (a key of words.js says why). */
  give_up(why) {
    this.#end(why);
    this.#tell();
  }

  /** Somebody asks to try again after all. */
  comeBack() {
    if (!this.#stopped) return this.hurry();
    this.#stopped = null;
    this.#attempt();
  }

  get viewer() {
    return this.#viewer;
  }

  get reachable() {
    return this.#transports.open;
  }

  get iceServers() {
    return this.#iceServers;
  }

  get view() {
    return { state: this.#state(), camera: this.#camera, why: this.#stopped, refusal: this.#refusal, gathered: this.#gathered,
      retryAt: this.#retry?.at ?? null, everPlayed: this.#everPlayed };
  }

  #state() {
    if (FOR_GOOD.includes(this.#stopped)) return 'out';
    if (this.#stopped) return 'unsupported';
    if (this.#blocked) return 'blocked';
    if (this.#playing) return this.#camera.camera === 'live' ? 'live' : this.#camera.camera;
    if (this.#refusal) return ['full', 'closed'].includes(this.#refusal.code) ? this.#refusal.code : 'reconnecting';
    if (this.#retry || this.#everPlayed) return 'reconnecting';
    return 'connecting';
  }

  #tell() {
    this.#transports.look();
    this.#changed(this.view);
  }

  #end(why) {
    this.#stopped = why;
    this.#clearRetry();
    this.#dropViewer();
    this.#dropSocket();
  }

  #attempt() {
    if (this.#stopped) return;
    this.#clearRetry();
    const now = this.#time.now();
    // Both at once: the offer is ready by the time the socket is. People may meet before the picture may be asked for.
    if (now >= this.#notBefore) this.#viewer ??= this.#newViewer();
    this.#socket ??= this.#newSocket();
    if (this.#socket.isOpen) this.#offer();
    if (!this.#viewer) this.#wait(this.#notBefore - now);
    this.#tell();
  }

  #earliest() {
    return this.#socket ? this.#notBefore : this.#knockAfter;
  }

  #schedule(least_ms = 0) {
    if (this.#stopped) return;
    if (this.#goodSince !== null && this.#time.now() - this.#goodSince > STEADY_MS) this.#backoff.reset();
    this.#goodSince = null;
    const now = this.#time.now();
    this.#notBefore = Math.max(this.#notBefore, now + least_ms);
    const earliest = this.#earliest();
    if (!this.#retry) this.#wait(Math.max(this.#backoff.next(), earliest - now));
    else if (this.#retry.at < earliest) this.#wait(earliest - now);
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
    this.#welcomed = false;
    const mine = () => socket === this.#socket;
    const socket = this.#make.socket({
      open: () => mine() && this.#opened(),
      message: (message) => mine() && this.#transports.receive(message),
      gone: (wasOpen) => mine() && this.#socketGone(wasOpen),
    });
    return socket;
  }

  #newViewer() {
    this.#offered = false;
    const mine = () => viewer === this.#viewer;
    const viewer = this.#make.viewer({
      firstFrame: () => mine() && this.#nowPlaying(),
      blocked: (blocked) => mine() && this.#nowBlocked(blocked),
      unwell: () => mine() && this.#viewerUnwell(),
      well: () => mine() && this.#viewerWell(),
      lost: (reason) => mine() && this.#viewerLost(reason),
      channel: (way) => mine() && this.#transports.useChannel(way),
      message: (message) => mine() && this.#transports.receive(message),
    }, this.#refusal || this.#everPlayed ? this.#iceServers : []);
    return viewer;
  }

  #opened() {
    this.#transports.useSocket(this.#socket);
    const { name, resume } = this.#memory;
    this.#socket.send({ type: 'hello', version: PROTOCOL_VERSION, language: this.#language, ...(name && { name }), ...(resume && { resume }) });
    if (this.#playing) this.#goodSince ??= this.#time.now();
    this.#offer();
  }

  async #offer() {
    const [socket, viewer] = [this.#socket, this.#viewer];
    // The answer to the one before comes first; what is then still to be offered is.
    if (!viewer || !socket?.isOpen || this.#offered || this.#unanswered) return;
    this.#offered = true;
    this.#awaitAnswer(viewer, false);
    const sdp = await viewer.offer((candidate) => socket.send({ type: 'candidate', candidate })).catch(() => null);
    if (sdp !== null && viewer === this.#viewer && socket === this.#socket) socket.send({ type: 'offer', sdp });
    else if (this.#unanswered?.viewer === viewer) this.#answered();
  }

  /** Offers new paths for the connection that is there. False when that cannot be. */
  #restart(iceServers) {
    const [socket, viewer] = [this.#socket, this.#viewer];
    if (!this.#restartWorks || !this.#welcomed || this.#viewerId === null || this.#unanswered || !socket?.isOpen) return false;
    this.#awaitAnswer(viewer, true);
    viewer.restart((candidate) => socket.send({ type: 'candidate', candidate }), iceServers).then(
      (sdp) => viewer === this.#viewer && socket === this.#socket && socket.send({ type: 'offer', sdp, restart: true }),
      () => viewer === this.#viewer && this.#viewerLost('restart'),
    );
    return true;
  }

  #awaitAnswer(viewer, restart) {
    const timer = this.#time.setTimeout(() => this.#noAnswer(), ANSWER_WITHIN_MS);
    this.#unanswered = { viewer, restart, timer };
  }

  #answered() {
    const asked = this.#unanswered;
    if (asked) this.#time.clearTimeout(asked.timer);
    this.#unanswered = null;
    return asked;
  }

  /** Makes the socket as doubtful as the viewer. */
  #noAnswer() {
    this.#answered();
    this.#dropSocket();
    this.#socketGone();
  }

  #receive(message) {
    switch (message.type) {
      case 'answer':
        return this.#takeAnswer(message);
      case 'welcome':
        this.#welcome(message);
        break;
      case 'status':
        this.#camera = message;
        this.#tell();
        break;
      case 'error':
        this.#refused(message);
        break;
      case 'bye':
        this.#farewell(message);
        break;
    }
    this.#heard(message);
  }

  #takeAnswer({ sdp, viewer: id = null }) {
    const asked = this.#answered();
    if (!asked || asked.viewer !== this.#viewer) return this.#offer();
    if (asked.restart && id !== this.#viewerId) {
      // The board made a new viewer of it: only a new connection of ours fits that one.
      this.#restartWorks = false;
      return this.#replaceViewer();
    }
    this.#viewerId = id;
    this.#answeredOn = this.#socket;
    this.#viewer.answer(sdp);
    if (!asked.restart) this.#watchStraight();
  }

  #welcome(message) {
    this.#camera = message;
    this.#welcomed = true;
    this.#iceServers = message.ice_servers ?? [];
    this.#memory.resume = message.resume ?? '';
    if (this.#refusal?.code === 'closed') this.#refusal = null;
    if (this.#viewerId !== null && this.#answeredOn !== this.#socket) this.#meetAgain(message.viewer ?? null);
    else this.#watchStraight();
    this.#tell();
  }

  /** A new socket beside the viewer of an old one: the board may still have it. */
  #meetAgain(id) {
    this.#viewer?.trust?.();
    if (id !== this.#viewerId) this.#replaceViewer();
    else if (this.#ill && this.#restart(this.#iceServers)) this.#awaitHealing(HEAL_WITHIN_MS);
  }

  #replaceViewer() {
    this.#dropViewer();
    this.#viewer = this.#newViewer();
    this.#offer();
    this.#tell();
  }

  /** The straight way gets a head start; then the relays are offered as well, once. */
  #watchStraight() {
    if (this.#straight || !this.#iceServers.length || this.#viewerId === null || this.#everPlayed || this.#refusal) return;
    this.#straight = this.#time.setTimeout(() => this.#playing || this.#restart(this.#iceServers), STRAIGHT_WITHIN_MS);
  }

  #refused(error) {
    if (error.code === 'no-h264') return this.give_up('unsupported_h264');
    if (error.code === 'closed') {
      this.#refusal = error;
      this.#knockAfter = this.#time.now() + 1000 * (error.retry_after_s ?? RETRY_AFTER_S.closed);
      return this.#dropViewer();
    }
    if (!VIEWER_IS_OVER.includes(error.code)) return;
    this.#answered();
    this.#refusal = error;
    this.#gathered = this.#viewer?.gathered ?? this.#gathered;
    this.#dropViewer();
    this.#schedule(1000 * (error.retry_after_s ?? RETRY_AFTER_S[error.code] ?? 0));
  }

  #farewell({ reason }) {
    if (FOR_GOOD.includes(reason)) {
      this.#memory.resume = '';
      return this.give_up(reason);
    }
    // Another tab came with our ticket (a duplicated one has it): take a seat of our own instead of that one back.
    if (reason === 'left') this.#memory.resume = '';
    // A server that stops takes the picture along.
    if (reason === 'shutdown') this.#dropViewer();
    this.#dropSocket();
    this.#socketGone();
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

  #viewerUnwell() {
    if (this.#ill) return;
    this.#playing = false;
    this.#viewer.keepStill?.();
    if (!this.#welcomed) {
      this.#awaitHealing(SEAT_KEPT_MS);
      this.#tell();
    } else if (this.#viewer.connected || !this.#restart(this.#iceServers)) {
      // Connected and yet without pictures: no new path helps that.
      this.#viewerLost('no frames');
    } else {
      this.#awaitHealing(HEAL_WITHIN_MS);
      this.#tell();
    }
  }

  #viewerWell() {
    this.#stopHealing();
    this.#nowPlaying();
  }

  #awaitHealing(ms) {
    this.#stopHealing();
    this.#ill = this.#time.setTimeout(() => this.#viewerLost('not healed'), ms);
  }

  #stopHealing() {
    if (this.#ill) this.#time.clearTimeout(this.#ill);
    this.#ill = null;
  }

  #viewerLost() {
    this.#refusal = null;
    this.#dropViewer();
    this.#schedule();
  }

  #socketGone(wasOpen = true) {
    if (!wasOpen) this.#shutOut();
    this.#dropSocket();
    if (!['closed', 'connect-timeout'].includes(this.#refusal?.code)) this.#refusal = null;
    if (this.#playing || this.#ill) this.#keepViewer();
    else this.#dropViewer();
    this.#clearRetry();
    this.#schedule();
  }

  /** Its picture flows without the socket, or it waits for the socket to be healed. */
  #keepViewer() {
    if (this.#ill) this.#awaitHealing(SEAT_KEPT_MS);
    else this.#viewer.suspect();
  }

  #dropViewer() {
    this.#stopHealing();
    if (this.#straight) this.#time.clearTimeout(this.#straight);
    const viewer = this.#viewer;
    this.#viewer = this.#viewerId = this.#straight = null;
    this.#playing = this.#blocked = false;
    viewer?.close();
    this.#transports.useChannel(null);
  }

  #dropSocket() {
    this.#answered();
    this.#welcomed = false;
    const socket = this.#socket;
    this.#socket = null;
    this.#transports.useSocket(null);
    socket?.close();
  }
}
