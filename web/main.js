// The viewer page: puts session, picture, bar and panel together and writes every state in words.

import { LatencyMeter } from './latency.js';
import { Panel } from './panel.js';
import { Session } from './session.js';
import { SignallingSocket, loginIsOver, signallingUrl } from './signalling.js';
import { digest } from './stats.js';
import { Viewer, missingAbility } from './viewer.js';
import { chooseLanguage, say } from './words.js';

const LATENCY_EVERY_MS = 500;
const COUNTDOWN_EVERY_MS = 250;
const IDLE_AFTER_MS = 3500;

const language = chooseLanguage(new URLSearchParams(location.search).get('lang'), navigator.languages);
const words = (key, values) => say(language, key, values);
const $ = (id) => document.getElementById(id);
const [stage, video] = [$('stage'), $('video')];

let idleTimer;
const meter = new LatencyMeter();
const time = { now: () => performance.now(), setTimeout: setTimeout.bind(globalThis), clearTimeout: clearTimeout.bind(globalThis) };
const session = new Session({
  make: {
    socket: (on) => new SignallingSocket(signallingUrl(location), on),
    viewer: (on) => new Viewer(video, $('still'), meter, on),
  },
  changed: show,
  shutOut: async () => (await loginIsOver(location.href)) && location.reload(),
  language,
  time,
});
const readStats = async () => (await session.viewer?.stats()) ?? null;
const panel = new Panel($('panel'), { words, readStats, meter });

const missing = missingAbility();
if (missing) session.give_up(missing);
else session.start();

translate();
listen();
setInterval(showLatency, LATENCY_EVERY_MS);
setInterval(() => session.view.retryAt !== null && showWords(session.view), COUNTDOWN_EVERY_MS);

globalThis.rtcam = Object.freeze({
  get state() { return session.view.state; },
  get latency() { return meter.figures(performance.now()).total; },
  async stats() {
    const reading = await readStats();
    return reading && { ...digest(reading), latency: meter.figures(performance.now()) };
  },
});

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
  const before = stage.dataset.state;
  stage.dataset.state = view.state;
  $('snapshot').disabled = !['live', 'away', 'opening'].includes(view.state);
  showWords(view);
  showLatency();
  // The reader of the screen hears each state once, not every second of a countdown.
  if (before !== view.state || view.state === 'away') $('live').textContent = sentence(view, null);
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
  button.hidden = !['blocked', 'reconnecting'].includes(view.state) || (view.state === 'reconnecting' && !seconds);
  button.textContent = words(view.state === 'blocked' ? 'play' : 'retry');
}

function sentence({ state, camera }, seconds) {
  if (state === 'reconnecting' && seconds) return words('reconnecting_in', { n: seconds });
  if (state === 'away' && camera.reason) return words('away_because', { reason: words(camera.reason) });
  return words(state);
}

function detail({ state, why, refusal }, seconds) {
  if (state === 'unsupported') return words(why);
  if (state === 'full') return seconds ? words('full_hint', { n: seconds }) : words('connecting');
  if (refusal) return words(`refused_${refusal.code}`);
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
  addEventListener('online', () => session.hurry());
  document.addEventListener('visibilitychange', () => document.hidden || session.hurry());
  addEventListener('pagehide', () => session.stop());
  addEventListener('pageshow', (event) => event.persisted && location.reload());
  $('card-button').addEventListener('click', () => (session.view.state === 'blocked' ? session.play() : session.hurry()));
  $('stats').addEventListener('click', () => togglePanel());
  $('panel-close').addEventListener('click', () => togglePanel(false));
  $('snapshot').addEventListener('click', savePicture);
  $('fullscreen').addEventListener('click', toggleFullscreen);
  video.addEventListener('dblclick', toggleFullscreen);
  document.addEventListener('fullscreenchange', () => label($('fullscreen'), document.fullscreenElement ? 'fullscreen_off' : 'fullscreen'));
  document.addEventListener('keydown', onKey);
  for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin']) addEventListener(event, awake, { passive: true });
  awake();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const act = { f: toggleFullscreen, s: () => togglePanel(), p: savePicture, escape: () => togglePanel(false) }[event.key.toLowerCase()];
  act?.();
}

function awake() {
  stage.classList.remove('idle');
  clearTimeout(idleTimer);
  idleTimer = setTimeout(() => stage.classList.add('idle'), IDLE_AFTER_MS);
}

function togglePanel(open = !panel.isOpen) {
  if (open === panel.isOpen) return;
  const within = $('panel').contains(document.activeElement);
  panel.toggle(open);
  stage.classList.toggle('with-panel', open);
  $('stats').setAttribute('aria-expanded', String(open));
  if (!open && within) $('stats').focus();
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
    const href = URL.createObjectURL(blob);
    const stamp = new Date().toISOString().replace(/[:T]/g, '-').slice(0, 19);
    Object.assign(document.createElement('a'), { href, download: `rtcam-${stamp}.jpg` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10000);
  }, 'image/jpeg', 0.92);
}
