// Camera controls and overlay layers, drawn from the board's description of them. Built anew only when the description
// changes; values are put in place, so that nobody's slider jumps under the finger.

import { button, element, iconButton, refill, select } from './dom.js';

const CORNERS = ['top-left', 'top-right', 'bottom-left', 'bottom-right'];
/** Of any script within the board's 512 bytes. */
const TEXT_LONGEST = 170;

export class StatePanel {
  #state;
  #words;
  #set;
  #press;
  #drawn = '';
  #entries = [];
  #who = element('div', { className: 'steering' });
  #groups = element('div', {});
  #enabled = true;

  /** `set(key, value)` wants a value, `press(key, value)` is a button; `state`: the SharedState to show. */
  constructor(body, { state, words, set, press }) {
    this.#state = state;
    this.#words = words;
    this.#set = set;
    this.#press = press;
    body.append(this.#who, this.#groups);
    // A field that somebody was in shows what others have changed meanwhile.
    this.#groups.addEventListener('focusout', () => this.show(this.#enabled));
  }

  get steeringBox() { return this.#who; }

  /** `enabled`: this page may change things now. */
  show(enabled) {
    this.#enabled = enabled;
    this.#draw();
    for (const entry of this.#entries) this.#update(entry);
  }

  #draw() {
    const { describe } = this.#state;
    const drawn = JSON.stringify(describe);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#entries = [];
    const groups = groupsOf(describe).map(({ title, list }) => this.#group(title, list));
    refill(this.#groups, groups.length ? groups : element('p', { className: 'fine empty' }, this.#words('controls_none')));
  }

  #group({ key, name, n }, list) {
    const title = key === 'layer' ? this.#words('layer_n', { n, name: this.#words(`layer_kind_${['logo', 'text'].includes(name) ? name : 'other'}`) }) : this.#words(key);
    return element('section', { className: 'group' }, element('h3', {}, title), list.map((described) => this.#entry(described)));
  }

  #entry(described) {
    const make = { integer: integer, boolean: boolean, menu: menu, button: pusher, corner: corner, opacity: opacity, text: text, preset: presets }[described.kind];
    const label = controlWords(described, this.#words);
    const entry = { described, ...(make ?? unknown)(described, label, this.#words, (value) => this.#change(described, value)) };
    const toDefault = described.default === undefined || !entry.input ? null
      : iconButton('undo', this.#words('to_default', { name: label }), () => {
        this.#change(described, defaultOf(described));
        // the button is gone with what it undid
        entry.input.focus();
      }, { className: 'icon-button undo' });
    entry.undo = toDefault;
    entry.box = element('div', { className: `control control-${described.kind}` }, entry.head ?? element('label', { className: 'control-name', for: entry.input?.id }, label), toDefault, entry.body);
    entry.box.dataset.key = described.key;
    this.#entries.push(entry);
    return entry.box;
  }

  #change(described, value) {
    if (['button', 'preset'].includes(described.kind)) this.#press(described.key, value);
    else this.#set(described.key, value);
  }

  #update({ described, box, undo, inputs, show }) {
    const fixed = !this.#enabled || described.read_only || described.inactive;
    for (const input of inputs) input.disabled = Boolean(fixed);
    box.classList.toggle('fixed', Boolean(described.read_only || described.inactive));
    box.title = described.read_only ? this.#words('read_only') : described.inactive ? this.#words('inactive') : '';
    const value = this.#state.value(described.key);
    box.classList.toggle('pending', this.#state.isPending(described.key));
    if (undo) undo.hidden = Boolean(fixed) || value === undefined || value === defaultOf(described);
    if (value !== undefined) show?.(value);
  }
}

/** In the board's order: presets, the camera's controls with the reset, then each layer. Pure. */
export function groupsOf(describe) {
  const camera = describe.filter(({ key }) => key.startsWith('control.'));
  const presetsAndReset = describe.filter(({ key }) => ['preset', 'reset'].includes(key));
  const layers = new Map();
  for (const entry of describe) {
    const n = /^layer\.(\d+)\./.exec(entry.key)?.[1];
    if (n === undefined) continue;
    if (!layers.has(n)) layers.set(n, []);
    layers.get(n).push(entry);
  }
  const groups = [];
  const first = [...presetsAndReset.filter(({ key }) => key === 'preset'), ...camera, ...presetsAndReset.filter(({ key }) => key === 'reset')];
  if (first.length) groups.push({ title: { key: 'camera_controls' }, list: first });
  for (const [n, list] of layers) groups.push({ title: { key: 'layer', n: Number(n) + 1, name: list[0].layer }, list });
  return groups;
}

/** The driver's words, translated where they are well known. Pure. */
export function controlWords({ key, name, kind }, words) {
  const known = key.startsWith('control.') ? `v4l2_${key.slice(8)}` : key.startsWith('layer.') ? `layer_${key.split('.')[2]}` : key;
  const said = words(known);
  return said === known ? String(name ?? kind) : said;
}

/** Drivers count switches as 0 and 1. */
function defaultOf({ kind, default: value }) {
  return kind === 'boolean' ? Boolean(value) : value;
}

function idOf(key) {
  return `set-${key.replace(/[^\w-]/g, '-')}`;
}

function integer(described, label, words, change) {
  const { key, min = 0, max = 100, step = 1 } = described;
  if ([min, max].some((end) => typeof end === 'string')) return text(described, label, words, (digits) => wholeOf(digits) !== null && change(wholeOf(digits)));
  const range = { min: String(min), max: String(max), step: String(step) };
  const slider = element('input', { type: 'range', id: idOf(key), ...range, oninput: () => change(Number(slider.value)) });
  const number = element('input', { type: 'number', className: 'number', 'aria-label': label, ...range, inputMode: min < 0 ? 'text' : 'numeric', onchange: () => {
    const value = Number(number.value);
    if (number.value === '' || !Number.isFinite(value)) return;
    change(clamp(value, min, max, step));
  } });
  return { input: slider, inputs: [slider, number], body: element('div', { className: 'slider' }, slider, number), show: (value) => {
    slider.value = String(value);
    if (document.activeElement !== number) number.value = String(value);
    fill(slider, min, max, value);
  } };
}

/** What was typed, as the board takes it: a number, or the digits of one that numbers here would round. Null: none. Pure. */
export function wholeOf(digits) {
  if (!/^\s*-?\d{1,19}\s*$/.test(digits)) return null;
  return Number.isSafeInteger(Number(digits)) ? Number(digits) : String(BigInt(digits));
}

/** The nearest value the driver knows. Pure. */
export function clamp(value, min, max, step) {
  const inside = Math.min(max, Math.max(min, value));
  return Math.min(max, min + Math.round((inside - min) / (step || 1)) * (step || 1));
}

function fill(slider, min, max, value) {
  slider.style.setProperty('--part', max > min ? String((value - min) / (max - min)) : '0');
}

function opacity({ key }, label, _words, change) {
  const slider = element('input', { type: 'range', id: idOf(key), min: '0', max: '100', step: '1', oninput: () => change(Number(slider.value) / 100) });
  const said = element('output', { className: 'number' });
  return { input: slider, inputs: [slider], body: element('div', { className: 'slider' }, slider, said), show: (value) => {
    const percent = Math.round(100 * value);
    slider.value = String(percent);
    slider.setAttribute('aria-valuetext', `${percent} %`);
    said.textContent = `${percent} %`;
    fill(slider, 0, 100, percent);
  } };
}

function boolean({ key }, _label, _words, change) {
  const box = element('input', { type: 'checkbox', role: 'switch', className: 'switch', id: idOf(key), onchange: () => change(box.checked) });
  return { input: box, inputs: [box], body: box, show: (value) => { box.checked = Boolean(value); } };
}

function menu({ key, items = [] }, _label, _words, change) {
  const box = select(items.map(([value, words]) => [value, words]), '', (value) => change(Number(value)), { id: idOf(key) });
  return { input: box, inputs: [box], body: box, show: (value) => { box.value = String(value); } };
}

function corner({ key }, _label, words, change) {
  const box = select(CORNERS.map((one) => [one, words(`corner_${one}`)]), '', change, { id: idOf(key) });
  return { input: box, inputs: [box], body: box, show: (value) => { box.value = String(value); } };
}

function text({ key }, _label, _words, change) {
  const box = element('input', { type: 'text', id: idOf(key), maxLength: TEXT_LONGEST, autocomplete: 'off', dir: 'auto', onchange: () => change(box.value) });
  return { input: box, inputs: [box], body: box, show: (value) => { if (document.activeElement !== box) box.value = String(value); } };
}

function pusher({ key }, label, _words, change) {
  const push = button(label, () => change(true), '', { id: idOf(key) });
  return { inputs: [push], head: '', body: push };
}

function presets({ items = [] }, label, _words, change) {
  const pushes = items.map(([value, words]) => button(String(words ?? value), () => change(value)));
  return { inputs: pushes, head: element('span', { className: 'control-name' }, label), body: element('div', { className: 'presets', role: 'group', 'aria-label': label }, pushes) };
}

function unknown(_described, label) {
  return { inputs: [], body: element('span', { className: 'fine' }, label) };
}
