// The room on the page: puts room, shared values, call and their panels together, and says aloud what happens. Loaded
// behind the picture: it must never hold up the first paint or the first frame.

import { Call } from './call.js';
import { CallPanel } from './call_panel.js';
import { ChatPanel } from './chat_panel.js';
import { button, element, iconButton } from './dom.js';
import { HostPanel } from './host_panel.js';
import { Notices } from './notices.js';
import { PeerLink } from './peer_link.js';
import { PeoplePanel } from './people_panel.js';
import { REPORT_EVERY_MS, report } from './report.js';
import { Room } from './room.js';
import { FOR_GOOD } from './session.js';
import { SettingsPanel } from './settings_panel.js';
import { SharedState } from './shared_state.js';
import { StatePanel, controlWords } from './state_panel.js';
import { digest } from './stats.js';
import { wearTheme } from './theme.js';
import { ROOM_WORDS } from './words_room.js';

const TICK_MS = 250;
const REFRESH_PAUSE_MS = 10000;
const TOLD_FOR_MS = 3000;
const LANGUAGES = [['en', 'English'], ['zh', '中文']];
/** Errors that a person caused and should read. */
const TOLD_ERRORS = ['refused', 'stale', 'bad-value', 'unknown-seat', 'muted', 'too-fast', 'too-long', 'not-agreed'];

export class RoomPage {
  #session;
  #words;
  #dock;
  #meter;
  #memory;
  #readStats;
  #room = new Room();
  #state = new SharedState();
  #call;
  #notices;
  #people;
  #host;
  #chat;
  #controls;
  #callPanel;
  #settings;
  #unread = 0;
  #watching = false;
  #earlier = null;
  #sendTimer = null;
  #refreshedAt = -Infinity;
  #toldChanges = new Map();
  #time = { now: () => performance.now(), setTimeout: setTimeout.bind(globalThis), clearTimeout: clearTimeout.bind(globalThis) };

  constructor({ session, words, learn, dock, meter, memory, readStats, language }) {
    learn(ROOM_WORDS);
    this.#session = session;
    this.#words = words;
    this.#dock = dock;
    this.#meter = meter;
    this.#memory = memory;
    this.#readStats = readStats;
    this.#notices = new Notices($('notices'));
    this.#call = this.#makeCall();
    this.#makePanels(language === 'zh' ? 'zh-CN' : language);
    setInterval(() => this.#tick(), TICK_MS);
    setInterval(() => this.#report(), REPORT_EVERY_MS);
  }

  get room() { return this.#room; }
  get values() { return Object.fromEntries(this.#state.describe.map(({ key }) => [key, this.#state.value(key)])); }
  get call() { return this.#call; }

  /** Every message of the board that the session passes on. */
  hear(message) {
    // Without a viewer of ours the board may be another run of itself, which counts from the start.
    if (message.type === 'welcome' && !(message.resumed && message.viewer)) this.#state.forget();
    for (const event of this.#room.hear(message)) this.#tell(event);
    this.#call.hear(message);
    this.#hearState(message);
    if (message.type === 'link') this.#host.madeLink(message.link);
    if (message.type === 'links') this.#host.showLinks(message.links ?? []);
    if (message.type === 'viewers') this.#host.viewers(message.list ?? []);
    if (message.type === 'error') this.#error(message);
    if (message.type === 'bye' && FOR_GOOD.includes(message.reason)) this.#leave();
    if (['welcome', 'peers', 'control', 'room', 'chat'].includes(message.type)) this.show();
    if (['welcome', 'control'].includes(message.type)) this.#forgetAsks();
    if (message.type === 'welcome' || (message.changed && message.changed.id === this.#room.me?.id)) this.#watchAgain();
  }

  /** Granted, given up, or asked of another host: nothing to answer any more. */
  #forgetAsks() {
    const { people, asking } = this.#room;
    for (const { id } of people) if (!asking.includes(id)) this.#notices.remove(`ask-${id}`);
  }

  /** Not for a moment: removed. */
  #leave() {
    this.#call.hangUp();
    this.#dock.close();
    this.#room.leave();
    this.show();
  }

  /** The way to the board opened or closed. */
  show() {
    const { present } = this.#room;
    for (const id of ['people-button', 'chat-button']) $(id).hidden = !present;
    $('controls-button').hidden = !present || !this.#state.describe.length;
    this.#settings.show(present ? this.#room.me : null, this.#room.loggedIn);
    if (!present) return;
    setBadge($('people-button'), this.#room.people.length, this.#room.isHost && this.#room.asking.length > 0);
    this.#people.show(this.#call.state === 'idle');
    this.#host.show();
    this.#chat.show(this.#session.reachable);
    this.#showControls();
  }

  shortcut(key) {
    const name = { a: 'controls', u: 'people', c: 'chat', k: 'call', o: 'settings' }[key];
    if (name) this.#dock.toggle(name);
    return Boolean(name);
  }

  #makeCall() {
    return new Call({
      send: (message) => this.#session.send(message),
      link: (options) => new PeerLink(new RTCPeerConnection({ iceServers: this.#session.iceServers }), { ...options, time: this.#time }),
      changed: (view) => this.#callChanged(view),
      me: () => this.#room.me?.id,
      time: this.#time,
    });
  }

  #makePanels(language) {
    const [words, room] = [this.#words, this.#room];
    const say = (message) => this.#say(message);
    const body = (name, more) => this.#panel(name, more);
    const people = body('people', { opened: () => this.#host.look(true), closed: () => this.#host.look(false) });
    this.#people = new PeoplePanel(people, { room, words, act: {
      request: () => say({ type: 'request' }),
      withdraw: () => say({ type: 'request', withdraw: true }),
      release: () => say({ type: 'release' }),
      revoke: () => say({ type: 'revoke' }),
      grant: (to) => say({ type: 'grant', to }),
      role: (to, role) => say({ type: 'role', to, role }),
      kick: (to) => say({ type: 'kick', to }),
      call: (person) => this.#call.call(person) || this.#notices.show(words('not_connected')),
      editName: () => this.#editName(),
    } });
    this.#host = new HostPanel(people, { room, words, act: {
      rules: (rules) => say({ type: 'room', ...rules }),
      link: (link) => say({ type: 'link', ...link }),
      links: () => say({ type: 'links' }),
      unlink: (id) => say({ type: 'unlink', id }),
      watch: (on) => this.#watch(on),
      copy,
    } });
    this.#chat = new ChatPanel(body('chat', { opened: () => this.#read(), focus: () => (coarse() ? null : this.#chat.box) }), { room, words, language, say: (text) => this.#sayLine(text), again: (key) => this.#session.reachable && room.mayChat && this.#sayLine(room.takeBack(key)) });
    this.#controls = new StatePanel(body('controls'), { state: this.#state, words, set: (key, value) => this.#want(key, value), press: (key, value) => say(this.#state.press(key, value)) });
    this.#callPanel = new CallPanel(body('call', { focus: () => (coarse() || this.#call.state !== 'talking' ? null : this.#callPanel.box) }), { words, language, me: () => room.me, hangUp: () => this.#call.hangUp(), heard: (text) => this.#heardPrivately(text) });
    this.#settings = new SettingsPanel(body('settings'), { words, memory: this.#memory, languages: LANGUAGES, keys: [['A', 'controls'], ['U', 'people'], ['C', 'chat'], ['O', 'settings'], ['S', 'stats'], ['P', 'snapshot'], ['F', 'fullscreen'], ['Esc', 'key_escape']], act: {
      rename: (name) => this.#rename(name),
      theme: (theme) => {
        this.#memory.theme = theme;
        wearTheme(theme);
      },
      language: (choice) => {
        this.#memory.language = choice;
        // without ?lang=, which would go before the choice
        location.replace(location.pathname);
      },
      logOut: () => this.#logOut(),
    } });
    $('settings-button').hidden = false;
    this.#settings.show(null);
  }

  #panel(name, more = {}) {
    const root = $(name);
    const body = element('div', { className: `panel-body ${name}-body` });
    root.append(element('header', { className: 'panel-head' }, element('h2', {}, this.#words(name)), iconButton('close', this.#words('close'), () => this.#dock.close())), body);
    this.#dock.add(name, { root, button: $(`${name}-button`), ...more });
    return body;
  }

  // what the board says

  /** A new socket knows nothing of what the old one had been asked for; nor does the board once the role was another. */
  #watchAgain() {
    this.#watching = false;
    if (this.#dock.isOpen('people')) this.#host.look(true);
  }

  #hearState(message) {
    if (message.type === 'state') this.#state.snapshot(message);
    else if (message.type === 'patch') this.#patched(message);
    else return;
    if (message.type === 'state') this.show();
    this.#showControls();
  }

  #patched(message) {
    this.#state.patch(message, this.#room.me?.id, performance.now());
    const person = message.by === this.#room.me?.id ? null : this.#room.person(message.by);
    if (person) this.#tellChange(person, Object.keys(message.values ?? {}));
  }

  /** One sentence for the ear while somebody drags a slider, not one for each step. */
  #tellChange(person, keys) {
    const now = performance.now();
    const fresh = keys.filter((key) => now - (this.#toldChanges.get(key) ?? -Infinity) > TOLD_FOR_MS);
    for (const key of keys) this.#toldChanges.set(key, now);
    const names = fresh.map((key) => this.#state.describe.find((entry) => entry.key === key)).filter(Boolean).map((entry) => controlWords(entry, this.#words));
    if (names.length) hear(this.#words('changed_by', { name: person.name, what: names.join(', ') }));
  }

  #error({ code }) {
    if (['stale', 'refused', 'bad-value', 'too-fast'].includes(code) && this.#state.refused()) this.#showControls();
    if (['muted', 'too-fast', 'too-long'].includes(code)) {
      this.#room.chatRefused();
      this.show();
    }
    if (TOLD_ERRORS.includes(code)) this.#notices.show(this.#words(`error_${code}`), { key: 'error' });
  }

  #tell(event) {
    const { what, person, line } = event;
    const name = person?.name ?? '';
    const words = this.#words;
    const tell = (text) => this.#notices.show(text);
    if (what === 'joined') tell(words('joined', { name }));
    else if (what === 'left') {
      this.#notices.remove(`ask-${person.id}`);
      tell(words(`left_${['left', 'lost', 'kicked', 'revoked'].includes(event.reason) ? event.reason : 'left'}`, { name }));
    } else if (what === 'role') tell(words('role_now', { name, role: words(`role_${person.role}`) }));
    else if (what === 'renamed') tell(words('renamed', { name, before: event.before }));
    else if (what === 'holder') this.#tellHolder(event);
    else if (what === 'asking') this.#tellAsking(person);
    else if (['closed', 'opened', 'muted', 'unmuted'].includes(what)) tell(words(`room_${what}`));
    else if (what === 'chat' && !event.mine) this.#tellChat(line);
  }

  #tellHolder({ person, mine, was_mine }) {
    const key = mine ? 'holder_you' : was_mine && !person ? 'holder_gone' : person ? 'holder_other' : 'holder_none';
    this.#notices.show(this.#words(key, { name: person?.name ?? '' }), { key: 'holder' });
  }

  #tellAsking(person) {
    if (!person || person.id === this.#room.me?.id) return;
    const text = this.#words('asks_for_control', { name: person.name });
    const choices = this.#room.isHost ? [[this.#words('control_grant'), () => this.#say({ type: 'grant', to: person.id }), 'primary'], [this.#words('close'), () => {}]] : [];
    if (this.#room.isHost) this.#notices.show(text, { choices, key: `ask-${person.id}` });
  }

  /** The open log is read aloud by itself. */
  #tellChat({ name, text }) {
    if (this.#dock.isOpen('chat')) return;
    this.#unread++;
    setBadge($('chat-button'), this.#unread, true);
    hear(this.#words('chat_from', { name, text }));
  }

  #read() {
    this.#unread = 0;
    setBadge($('chat-button'), 0, false);
    this.#chat.opened();
  }

  // what the user does

  #say(message) {
    const sent = this.#session.send(message);
    if (!sent) this.#notices.show(this.#words('not_connected'), { key: 'error' });
    return sent;
  }

  #sayLine(text) {
    if (!this.#session.reachable) return false;
    const message = this.#room.say(text, performance.now());
    if (!message) return false;
    this.#session.send(message);
    this.show();
    return true;
  }

  #want(key, value) {
    this.#state.want(key, value, performance.now());
    this.#sendValues();
    this.#showControls();
  }

  #sendValues() {
    clearTimeout(this.#sendTimer);
    const now = performance.now();
    const message = this.#state.send(now);
    if (message && !this.#say(message)) this.#state.refused();
    const due = this.#state.dueAt();
    if (due !== null) this.#sendTimer = setTimeout(() => this.#due(), Math.max(1, due - now));
  }

  #due() {
    if (this.#state.expire(performance.now())) this.#showControls();
    this.#sendValues();
  }

  #showControls() {
    const { maySteer } = this.#room;
    this.#controls.show(maySteer && this.#session.reachable);
    const box = this.#controls.steeringBox;
    const asks = this.#room.asking.includes(this.#room.me?.id);
    const shown = maySteer ? 'mine' : asks ? 'asks' : 'ask';
    const held = this.#room.holder;
    if (box.dataset.shown === `${shown} ${held}`) return;
    box.dataset.shown = `${shown} ${held}`;
    box.hidden = maySteer;
    const said = held === null ? this.#words('controls_locked') : this.#words('control_held', { name: this.#room.nameOf(held) });
    box.replaceChildren(element('p', {}, said), button(this.#words(asks ? 'control_withdraw' : 'control_request'), () => this.#say(asks ? { type: 'request', withdraw: true } : { type: 'request' }), asks ? '' : 'primary'));
  }

  #watch(on) {
    if (on === this.#watching) return;
    this.#watching = on;
    this.#session.send({ type: 'watch', on });
  }

  #editName() {
    this.#dock.open('settings');
    this.#settings.nameBox.focus();
  }

  /** The board gives names at the door: out and in again. */
  #rename(name) {
    this.#memory.name = name;
    this.#session.leave();
    location.reload();
  }

  #logOut() {
    this.#session.leave();
    const form = element('form', { method: 'post', action: '/logout' });
    document.body.append(form);
    form.submit();
  }

  // calls

  #callChanged({ state, peer, channels, why }) {
    const words = this.#words;
    const name = peer?.name ?? '';
    this.#notices.remove('call');
    $('stage').classList.toggle('in-call', state !== 'idle');
    if (state === 'ringing') {
      this.#notices.show(words('call_in', { name }), { key: 'call', urgent: true, choices: [[words('call_accept'), () => this.#call.accept(), 'primary'], [words('call_decline'), () => this.#call.decline()]] });
    } else {
      this.#callPanel.show({ state, peer, channels, why });
    }
    $('call-button').hidden = !['calling', 'connecting', 'talking'].includes(state) && !this.#dock.isOpen('call');
    if (['calling', 'connecting'].includes(state)) this.#dock.open('call');
    if (state === 'idle' && why) this.#notices.show(words(`call_over_${why}`, { name }));
    if (state === 'idle' && !this.#dock.isOpen('call')) setBadge($('call-button'), 0, false);
    if (this.#room.present) this.#people.show(state === 'idle');
  }

  #heardPrivately(text) {
    if (this.#dock.isOpen('call')) return;
    setBadge($('call-button'), '•', true);
    this.#notices.show(this.#words('chat_from', { name: this.#call.peer?.name ?? '', text: [...text].slice(0, 80).join('') }), { key: 'private' });
  }

  // time passes

  #tick() {
    const now = performance.now();
    if (this.#room.expire(now)) this.show();
    if (this.#state.hasGap(now) && now - this.#refreshedAt > REFRESH_PAUSE_MS) {
      this.#refreshedAt = now;
      this.#session.refresh();
    }
    if (this.#dock.isOpen('call')) setBadge($('call-button'), 0, false);
    else if (this.#call.state === 'idle') $('call-button').hidden = true;
  }

  async #report() {
    if (!this.#room.present || !this.#session.reachable) return;
    const reading = await this.#readStats().catch(() => null);
    const message = reading && report(digest(reading, this.#earlier), this.#meter.figures(performance.now()));
    this.#earlier = reading;
    if (message) this.#session.send(message);
  }
}

const $ = (id) => document.getElementById(id);

/** For the ear only. */
function hear(text) {
  $('news').textContent = text;
}

function setBadge(button, n, strong) {
  const badge = button.querySelector('.badge');
  badge.textContent = n ? (n > 99 ? '99+' : String(n)) : '';
  badge.classList.toggle('strong', Boolean(strong));
}

/** On a touch screen the keyboard would cover what was opened. */
function coarse() {
  return matchMedia('(pointer: coarse)').matches;
}

/** Pages over plain HTTP are given no clipboard; there the older way works, from a field that shows the text. */
async function copy(text, box) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    box.select();
    return document.execCommand('copy');
  }
}
