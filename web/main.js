// The viewer page: puts session, picture, bar and panels together and writes every state in words.

import { Dock } from './dock.js';
import { LatencyMeter } from './latency.js';
import { load } from './loading.js';
import { Memory } from './memory.js';
import { explainNoPath } from './no_path.js';
import { Panel } from './panel.js';
import { Session } from './session.js';
import { SignallingSocket, loginIsOver, signallingUrl } from './signalling.js';
import { digest } from './stats.js';
import { wearTheme } from './theme.js';
import { Viewer, missingAbility } from './viewer.js';
import { chooseLanguage, learn, say } from './words.js';

const LATENCY_EVERY_MS = 500;
const COUNTDOWN_EVERY_MS = 250;
const IDLE_AFTER_MS = 3500;
const EARLY_MOST = 500;

const memory = new Memory();
wearTheme(memory.theme);
const language = chooseLanguage(new URLSearchParams(location.search).get('lang'), [memory.language, ...navigator.languages]);
const words = (key, values) => say(language, key, values);
const $ = (id) => document.getElementById(id);
const [stage, video] = [$('stage'), $('video')];

let idleTimer;
let roomPage = null;
/** What the board said before the room's part of the page was there. */
const early = [];
const meter = new LatencyMeter();
const time = { now: () => performance.now(), setTimeout: setTimeout.bind(globalThis), clearTimeout: clearTimeout.bind(globalThis) };
const session = new Session({
  make: {
    socket: (on) => new SignallingSocket(signallingUrl(location), on),
    viewer: (on, iceServers) => new Viewer(video, $('still'), meter, on, iceServers),
  },
  changed: show,
  heard: (message) => (roomPage ? roomPage.hear(message) : keep(message)),
  reach: () => roomPage?.show(),
  shutOut: async () => (await loginIsOver(location.href)) && location.reload(),
  memory,
  language,
  time,
});
const readStats = async () => (await session.viewer?.stats()) ?? null;
const panel = new Panel($('panel'), { words, readStats, meter });
const dock = new Dock(stage);
dock.add('stats', { root: $('panel'), button: $('stats'), opened: () => panel.start(), closed: () => panel.stop() });

const missing = missingAbility();
if (missing) session.give_up(missing);
else session.start();

translate();
listen();
openRoom();
setInterval(showLatency, LATENCY_EVERY_MS);
setInterval(() => session.view.retryAt !== null && showWords(session.view), COUNTDOWN_EVERY_MS);

globalThis.rtcam = Object.freeze({
  get state() { return session.view.state; },
  get latency() { return meter.figures(performance.now()).total; },
  get room() { return roomPage?.room ?? null; },
  get values() { return roomPage?.values ?? {}; },
  async stats() {
    const reading = await readStats();
    return reading && { ...digest(reading), latency: meter.figures(performance.now()) };
  },
});

/** Behind the picture: its modules are asked for when everything the picture needs is under way. */
async function openRoom() {
  const { RoomPage } = await load((n) => (n ? import(`./again/${n}/room_page.js`) : import('./room_page.js')), time);
  roomPage = new RoomPage({ session, words, learn, dock, meter, memory, readStats, language });
  for (const message of early.splice(0)) roomPage.hear(message);
}

/** A welcome brings everything: what was said before it does not count, and where too much was said another one is asked for. */
function keep(message) {
  if (message.type === 'welcome') early.length = 0;
  if (early.push(message) > EARLY_MOST) session.refresh();
}

function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : language;
  for (const element of document.querySelectorAll('[data-word]')) element.textContent = words(element.dataset.word);
  for (const element of document.querySelectorAll('[data-label]')) label(element, element.dataset.label);
}

function label(element, key) {
  element.setAttribute('aria-label', words(key));
  if (element.localName === 'button') element.title = words(key) + (element.dataset.key ? ` (${element.dataset.key})` : '');
}

function show(view) {
  stage.dataset.state = view.state;
  $('snapshot').disabled = !['live', 'away', 'opening'].includes(view.state);
  showWords(view);
  showWhy(view);
  showLatency();
  // The reader of the screen hears each state once, not every second of a countdown.
  const said = [sentence(view, null), view.why && words(view.why)].filter(Boolean).join(' – ');
  if ($('live').textContent !== said) $('live').textContent = said;
}

function showWords(view) {
  const seconds = view.retryAt === null ? null : Math.max(0, Math.ceil((view.retryAt - performance.now()) / 1000));
  const text = sentence(view, seconds);
  $('words').textContent = text;
  $('words').title = view.state === 'away' ? (view.camera.detail ?? '') : '';
  $('card-title').textContent = view.state === 'blocked' ? '' : text;
  $('card-detail').textContent = detail(view, seconds);
  document.title = `${text} – ${words('title')}`;
  const button = $('card-button');
  // It stays while an attempt runs: who pressed it by key keeps the focus.
  button.hidden = !['blocked', 'reconnecting', 'out'].includes(view.state);
  button.textContent = words(view.state === 'blocked' ? 'play' : 'retry');
}

/** No path: what was tried, and what to open. */
function showWhy({ refusal, gathered }) {
  const lines = refusal?.code === 'connect-timeout' ? explainNoPath(refusal.tried, gathered, words) : [];
  const list = $('card-list');
  list.hidden = !lines.length;
  if (list.textContent !== lines.join('')) list.replaceChildren(...lines.map((line) => Object.assign(document.createElement('li'), { textContent: line })));
}

function sentence({ state, camera }, seconds) {
  if (state === 'reconnecting' && seconds) return words('reconnecting_in', { n: seconds });
  if (state === 'away' && camera.reason) return words('away_because', { reason: words(camera.reason) });
  return words(state);
}

function detail({ state, why, refusal }, seconds) {
  if (['unsupported', 'out'].includes(state)) return words(why);
  if (['full', 'closed'].includes(state)) return seconds ? words(`${state}_hint`, { n: seconds }) : words('connecting');
  if (refusal) return words(refusal.tried ? 'no_path' : `refused_${refusal.code}`);
  return '';
}

function showLatency() {
  // A labelled picture in place of the camera's has no glass.
  const total = session.view.state === 'live' ? meter.figures(performance.now()).total : null;
  $('latency').hidden = total === null;
  if (total !== null) $('latency-number').textContent = Math.round(total);
  panel.note(total);
}

function listen() {
  addEventListener('online', () => session.wake());
  document.addEventListener('visibilitychange', () => document.hidden || session.wake());
  addEventListener('pagehide', () => session.pause());
  addEventListener('pageshow', (event) => event.persisted && location.reload());
  $('card-button').addEventListener('click', () => (session.view.state === 'blocked' ? session.play() : session.comeBack()));
  $('panel-close').addEventListener('click', () => dock.close());
  $('snapshot').addEventListener('click', savePicture);
  $('fullscreen').addEventListener('click', toggleFullscreen);
  video.addEventListener('dblclick', toggleFullscreen);
  video.addEventListener('resize', () => video.videoWidth && stage.style.setProperty('--aspect', String(video.videoHeight / video.videoWidth)));
  document.addEventListener('fullscreenchange', () => label($('fullscreen'), document.fullscreenElement ? 'fullscreen_off' : 'fullscreen'));
  document.addEventListener('keydown', onKey);
  guardTools();
  for (const event of ['dragover', 'drop']) addEventListener(event, (dropped) => dropped.preventDefault());
  for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin']) addEventListener(event, awake, { passive: true });
  awake();
}

/** A tap where the tools are out of sight only brings them back. */
function guardTools() {
  const tools = $('fullscreen').parentElement;
  let unseen = false;
  tools.addEventListener('pointerdown', ({ pointerType }) => {
    unseen = pointerType === 'touch' && [tools, $('bar')].some((one) => getComputedStyle(one).opacity < 0.5);
  });
  tools.addEventListener('click', (event) => {
    if (unseen) event.stopPropagation();
    unseen = false;
  }, true);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
  if (event.key === 'Escape') return dock.close();
  if (!memory.keys || event.target.closest?.('input, textarea, select')) return;
  const key = event.key.toLowerCase();
  const act = { f: toggleFullscreen, s: () => dock.toggle('stats'), p: savePicture }[key];
  if (act) act();
  else if (!roomPage?.shortcut(key)) return;
  // The letter must not land in the field that now has the focus.
  event.preventDefault();
}

function awake() {
  stage.classList.remove('idle');
  clearTimeout(idleTimer);
  idleTimer = setTimeout(() => stage.classList.add('idle'), IDLE_AFTER_MS);
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (stage.requestFullscreen) stage.requestFullscreen().catch(() => {});
  else video.webkitEnterFullscreen?.();
}

function savePicture() {
  if ($('snapshot').disabled || !video.videoWidth) return;
  const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    if (!blob) return;
    const href = URL.createObjectURL(blob);
    const stamp = new Date(Date.now() - 60000 * new Date().getTimezoneOffset()).toISOString().replace(/[:T]/g, '-').slice(0, 19);
    Object.assign(document.createElement('a'), { href, download: `rtcam-${stamp}.jpg` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10000);
  }, 'image/jpeg', 0.92);
}
