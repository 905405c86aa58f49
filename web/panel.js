// The statistics panel: reads the figures once per second while it is open, and not at all while it is closed.

import { digest } from './stats.js';

const EVERY_MS = 1000;
const CHART_POINTS = 120;
const PARTS = ['board', 'network', 'decode', 'display'];

export class Panel {
  #root;
  #words;
  #readStats;
  #meter;
  #timer = null;
  #earlier = null;
  #history = [];
  #rows = new Map();

  /** `readStats()` resolves to an array of stats objects, or null while there is no connection. */
  constructor(root, { words, readStats, meter }) {
    this.#root = root;
    this.#words = words;
    this.#readStats = readStats;
    this.#meter = meter;
  }

  start() {
    this.#refresh();
    this.#timer = setInterval(() => this.#refresh(), EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#earlier = null;
  }

  /** One more latency figure for the chart, twice per second, open or not; null: no picture. */
  note(total) {
    if (total === null && !this.#history.length) return;
    this.#history.push(total ?? 0);
    if (this.#history.length > CHART_POINTS) this.#history.shift();
  }

  async #refresh() {
    const reading = await this.#readStats().catch(() => null);
    const latency = this.#meter.figures(performance.now());
    this.#showLatency(latency);
    this.#showFigures(reading ? digest(reading, this.#earlier) : null);
    this.#earlier = reading;
  }

  #showLatency({ total, worst, uncertainty, parts }) {
    this.#at('latency').textContent = total === null ? this.#words('unknown') : Math.round(total);
    this.#at('worst').textContent = total === null ? '' : this.#words('worst', { n: Math.round(worst), e: round(uncertainty, 1) });
    this.#drawChart();
    this.#drawSplit(parts);
  }

  #drawChart() {
    if (!this.#history.length) return;
    const top = Math.max(50, ...this.#history) * 1.15;
    const x = (i) => round(120 - ((this.#history.length - 1 - i) * 120) / (CHART_POINTS - 1), 2);
    const line = this.#history.map((value, i) => `${x(i)} ${round(31 - (30 * value) / top, 2)}`).join('L');
    this.#at('line').setAttribute('d', `M${line}`);
    this.#at('area').setAttribute('d', `M${x(0)} 32L${line}L120 32Z`);
  }

  #drawSplit(parts) {
    const bar = this.#at('split');
    if (!bar.childElementCount) bar.append(...PARTS.map((part) => Object.assign(document.createElement('i'), { className: `part-${part}` })));
    const known = PARTS.map((part) => notBelowZero(parts[part]) ?? 0);
    known.forEach((ms, i) => { bar.children[i].style.flexGrow = ms; });
    bar.hidden = !known.some(Boolean);
    for (const part of PARTS) this.#row('parts', `part_${part}`, withUnit(notBelowZero(parts[part]), 'ms', 1), `part-${part}`);
  }

  #showFigures(figures) {
    const f = figures ?? {};
    const rows = {
      fps: withUnit(f.fps, 'fps', 1),
      bitrate: withUnit(f.kbps, 'kbit/s'),
      size: f.width ? `${f.width} × ${f.height}` : null,
      codec: f.codec,
      round_trip: withUnit(f.roundTripMs, 'ms', 1),
      jitter_buffer: withUnit(f.jitterBufferMs, 'ms', 1),
      decode: withUnit(f.decodeMs, 'ms', 1),
      lost: share(f.packetsLost, f.packetsReceived),
      dropped: f.framesDropped,
      freezes: f.freezes,
      path: f.path,
    };
    for (const [key, text] of Object.entries(rows)) this.#row('list', key, text);
  }

  #row(list, key, text, mark = '') {
    let row = this.#rows.get(key);
    if (!row) {
      row = document.createElement('div');
      row.className = mark;
      row.append(Object.assign(document.createElement('dt'), { textContent: this.#words(key) }), document.createElement('dd'));
      this.#at(list).append(row);
      this.#rows.set(key, row);
    }
    row.lastChild.textContent = text ?? this.#words('unknown');
  }

  #at(name) {
    return this.#root.querySelector(`#panel-${name}`);
  }
}

function round(value, digits = 0) {
  return Number((value ?? 0).toFixed(digits));
}

/** Clock error can make a very short stage look negative. */
function notBelowZero(value) {
  return value === null ? null : Math.max(0, value);
}

function withUnit(value, unit, digits = 0) {
  return Number.isFinite(value) ? `${value.toFixed(digits)} ${unit}` : null;
}

function share(lost, received) {
  if (!Number.isFinite(lost)) return null;
  const all = lost + received;
  return `${lost} (${(all > 0 ? (100 * lost) / all : 0).toFixed(1)} %)`;
}
