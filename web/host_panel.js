// What only a host sees: the room's rules, links that let others in, and who is watching over which path.

import { button, element, field, iconButton, refill, select, toggle } from './dom.js';

const ROLES = ['viewer', 'operator', 'host'];
const STATES = ['connecting', 'connected', 'away'];
const FOR_S = [3600, 86400, 604800, 2592000];
const FOR_WORDS = ['for_hour', 'for_day', 'for_week', 'for_month'];

export class HostPanel {
  #room;
  #words;
  #act;
  #root = element('section', { className: 'host', hidden: true });
  #rules;
  #links = element('ul', { className: 'links' });
  #made = element('div', { className: 'made', role: 'status' });
  #watching = element('div', { className: 'watching' });
  #watchBox;
  #linkBox;

  /** `act`: { rules({closed?, muted?}), link({role, for_s, name}), links(), unlink(id), watch(on), copy(text, box) }. */
  constructor(body, { room, words, act }) {
    this.#room = room;
    this.#words = words;
    this.#act = act;
    this.#rules = [['closed', 'room_close'], ['muted', 'room_mute']].map(([key, text]) => toggle(words(text), false, (on) => act.rules({ [key]: on }), { id: `room-${key}` }));
    this.#linkBox = this.#fold('links', this.#linkForm(), this.#made, this.#links);
    this.#linkBox.addEventListener('toggle', () => this.#linkBox.open && act.links());
    this.#watchBox = this.#fold('who_watches', this.#watching);
    this.#watchBox.addEventListener('toggle', () => this.look(true));
    this.#root.append(element('h3', {}, words('host_tools')), ...this.#rules, this.#watchBox, this.#linkBox);
    body.append(this.#root);
    this.viewers([]);
  }

  show() {
    this.#root.hidden = !this.#room.isHost;
    const { closed, muted } = this.#room;
    [closed, muted].forEach((on, i) => { this.#rules[i].control.checked = on; });
  }

  /** The board tells about viewers only while somebody looks. */
  look(panelOpen) {
    this.#act.watch(panelOpen && this.#watchBox.open && this.#room.isHost);
  }

  /** The answer to link(). */
  madeLink({ path }) {
    const url = new URL(path, location.href).href;
    const box = element('input', { readOnly: true, value: url, 'aria-label': this.#words('link'), onfocus: () => box.select() });
    const copied = element('span', { className: 'fine' });
    this.#made.replaceChildren(element('div', { className: 'row' }, box, iconButton('copy', this.#words('copy'), async () => {
      if (await this.#act.copy(url, box)) copied.textContent = this.#words('copied');
    })), copied);
    this.#act.links();
  }

  showLinks(list) {
    refill(this.#links, list.length ? list.map((link) => element('li', { className: 'row' },
      element('span', {}, element('bdi', {}, link.name || this.#words('link_nameless')), element('span', { className: 'fine' }, ` ${this.#words(`role_${link.role}`)}, ${this.#left(link.expires_s)}`)),
      iconButton('bin', this.#words('unlink_name', { name: link.name || link.id }), () => this.#act.unlink(link.id), { id: `unlink-${link.id}` }))) : element('li', { className: 'fine' }, this.#words('links_none')));
  }

  viewers(list) {
    const rows = list.map((viewer) => this.#viewer(viewer));
    this.#watching.replaceChildren(...(rows.length ? rows : [element('p', { className: 'fine' }, this.#words('watching_none'))]));
  }

  #viewer(viewer) {
    const words = this.#words;
    // Somebody in the room without a picture has no figures.
    const figures = viewer.viewer === null ? {} : {
      path: [viewer.path, viewer.address].filter(Boolean).join(' · '),
      round_trip: unit(viewer.round_trip_ms, 'ms'),
      latency: unit(viewer.report?.latency_ms, 'ms'),
      bitrate: unit(viewer.kbps, 'kbit/s'),
      lost: Number.isFinite(viewer.loss) ? `${(100 * viewer.loss).toFixed(1)} %` : null,
      frames: Number.isFinite(viewer.frames_sent) ? words('frames_sent', { n: viewer.frames_sent, d: viewer.frames_dropped ?? 0 }) : null,
      shown: Number.isFinite(viewer.report?.fps) ? `${viewer.report.fps} fps, ${words('n_freezes', { n: viewer.report.freezes ?? 0 })}` : null,
      data: Number.isFinite(viewer.bytes) ? bytesText(viewer.bytes) : null,
      since: Number.isFinite(viewer.connected_s ?? viewer.joined_s) ? duration(viewer.connected_s ?? viewer.joined_s) : null,
    };
    return element('article', { className: 'watcher' },
      element('h4', {}, element('bdi', {}, viewer.name ?? ''), element('span', { className: 'fine' }, ` ${words(`role_${viewer.role ?? 'viewer'}`)} · ${STATES.includes(viewer.state) ? words(`state_${viewer.state}`) : viewer.state ?? ''}`)),
      element('dl', { className: 'list' }, Object.entries(figures).filter(([, text]) => text).map(([key, text]) => element('div', {}, element('dt', {}, words(`watch_${key}`)), element('dd', {}, text)))));
  }

  #linkForm() {
    const words = this.#words;
    const role = select(ROLES.map((one) => [one, words(`role_${one}`)]), 'viewer', () => {}, { id: 'link-role' });
    const time = select(FOR_S.map((seconds, i) => [seconds, words(FOR_WORDS[i])]), FOR_S[1], () => {}, { id: 'link-for' });
    const name = element('input', { id: 'link-name', maxLength: 32, autocomplete: 'off', placeholder: words('link_name_hint') });
    return element('div', { className: 'link-form' }, field(words('link_name'), name), field(words('role'), role), field(words('link_for'), time),
      button(words('link_make'), () => this.#act.link({ role: role.value, for_s: Number(time.value), ...(name.value.trim() && { name: name.value.trim() }) }), 'primary', { id: 'link-make' }));
  }

  #fold(key, ...content) {
    return element('details', { id: `fold-${key.replace('_', '-')}` }, element('summary', {}, this.#words(key)), content);
  }

  #left(seconds) {
    return this.#words('expires_in', { time: duration(seconds) });
  }
}

function unit(value, name) {
  return Number.isFinite(value) ? `${value < 10 ? value.toFixed(1) : Math.round(value)} ${name}` : null;
}

export function bytesText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const step = Math.min(3, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** step;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${['B', 'kB', 'MB', 'GB'][step]}`;
}

/** 2 d 3 h, 1:05:09, 0:42. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s >= 86400) return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  const two = (n) => String(n).padStart(2, '0');
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}
