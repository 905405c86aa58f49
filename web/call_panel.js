// A call's panel: private lines and files between two browsers. Nothing of it goes through the board.

import { ChatLog } from './chat_log.js';
import { Composer } from './composer.js';
import { button, element, icon, iconButton } from './dom.js';
import { FileDrop } from './file_drop.js';
import { IN_MEMORY_BYTES, openSink, sinkKind } from './file_sink.js';
import { bytesText } from './host_panel.js';

const TEXT_LONGEST = 4000;
const LINES_KEPT = 500;
const SHOW_EVERY_MS = 100;
const OVER = ['done', 'refused', 'cancelled', 'failed'];

export class CallPanel {
  #words;
  #me;
  #hangUp;
  #heard;
  #root;
  #said = element('p', { className: 'call-state', role: 'status' });
  #log;
  #composer;
  #files = element('ul', { className: 'files' });
  #picker;
  #lines = [];
  #count = 0;
  #drop = null;
  #talk = null;
  #peer = null;
  #rows = new Map();
  #late = new Set();
  #timer = null;

  /** `me()`: the own seat; `hangUp()`; `heard(text)`: a private line or file came while nobody may be looking. */
  constructor(body, { words, language, me, hangUp, heard }) {
    this.#words = words;
    this.#me = me;
    this.#hangUp = hangUp;
    this.#heard = heard;
    this.#root = body;
    this.#log = new ChatLog({ id: 'call-log', label: words('call_private'), empty: words('call_empty'), words, language });
    this.#composer = new Composer({ id: 'call-text', placeholder: words('call_write'), label: words('send'), longest: TEXT_LONGEST, send: (text) => this.#say(text) });
    this.#picker = element('input', { type: 'file', id: 'call-files', className: 'unseen', multiple: true, tabIndex: -1, 'aria-hidden': 'true', onchange: () => {
      this.offer(this.#picker.files);
      this.#picker.value = '';
    } });
    const clip = iconButton('clip', words('file_send'), () => this.#picker.click(), { id: 'call-attach' });
    this.#composer.root.prepend(clip);
    body.append(
      element('div', { className: 'steering' }, this.#said, button(words('call_end'), hangUp, 'danger', { id: 'call-end' })),
      this.#log.root, this.#files, this.#picker, this.#composer.root);
    if (sinkKind() === 'memory') this.#composer.root.before(element('p', { className: 'fine' }, words('file_small_only', { size: bytesText(IN_MEMORY_BYTES) })));
    this.#takeDrops();
  }

  get box() { return this.#composer.box; }

  /** The Call's view. */
  show({ state, peer, channels, why }) {
    if (peer && peer.id !== this.#peer?.id) this.#clear();
    this.#peer = peer ?? this.#peer;
    const key = state === 'idle' ? `call_over_${why || 'hung-up'}` : `call_${state}`;
    this.#said.textContent = this.#words(key, { name: this.#peer?.name ?? '' });
    this.#composer.allow(state === 'talking', this.#words(state === 'talking' ? 'call_write' : 'call_not_yet'));
    this.#root.querySelector('#call-end').hidden = state === 'idle';
    this.#root.querySelector('#call-attach').disabled = state !== 'talking';
    if (channels) this.#open(channels);
    if (state === 'idle') this.#shut();
  }

  offer(files) {
    if (!this.#drop) return;
    for (const file of files) this.#drop.offer(file);
  }

  #open({ talk, files }) {
    this.#talk = talk;
    talk.onmessage = ({ data }) => this.#heardLine(data);
    this.#drop = new FileDrop({ channel: files, openSink, changed: (transfer) => this.#changed(transfer) });
  }

  #shut() {
    this.#drop?.close();
    this.#drop = this.#talk = null;
  }

  #clear() {
    this.#lines = [];
    this.#rows.clear();
    this.#files.replaceChildren();
    this.#log.show([], null);
  }

  #say(text) {
    const tidy = text.trim();
    if (this.#talk?.readyState !== 'open') return false;
    this.#talk.send(JSON.stringify({ say: tidy }));
    this.#add(this.#me(), tidy);
    this.#log.toEnd();
    return true;
  }

  #heardLine(data) {
    let text;
    try {
      text = JSON.parse(data).say;
    } catch {
      return;
    }
    if (typeof text !== 'string') return;
    const short = [...text].slice(0, TEXT_LONGEST).join('');
    this.#add(this.#peer, short);
    this.#heard(short);
  }

  #add({ id, name }, text) {
    this.#lines = [...this.#lines, { key: `${this.#count++}`, from: id, name, text, at_ms: Date.now() }].slice(-LINES_KEPT);
    this.#log.show(this.#lines, this.#me().id);
  }

  #changed(transfer) {
    if (!transfer.from_us && transfer.state === 'offered' && !this.#rows.has(transfer)) this.#heard(this.#words('file_offered', { name: transfer.name }));
    this.#late.add(transfer);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      for (const one of this.#late) this.#row(one);
      this.#late.clear();
    }, SHOW_EVERY_MS);
  }

  #row(transfer) {
    let row = this.#rows.get(transfer);
    if (!row) {
      row = { root: element('li', { className: 'file' }), bar: element('progress', { max: 1, 'aria-label': transfer.name }), words: element('p', { className: 'fine' }), tools: element('div', { className: 'file-tools' }), state: null };
      row.root.append(icon('file'), element('div', { className: 'file-words' }, element('bdi', { className: 'file-name' }, transfer.name), row.bar, row.words), row.tools);
      this.#rows.set(transfer, row);
      this.#files.prepend(row.root);
    }
    row.root.dataset.state = transfer.state;
    row.bar.hidden = !['moving', 'waiting'].includes(transfer.state);
    row.bar.value = transfer.size ? transfer.moved / transfer.size : 0;
    row.words.textContent = this.#sentence(transfer);
    if (row.state === transfer.state) return;
    row.state = transfer.state;
    row.tools.replaceChildren(...this.#tools(transfer));
  }

  #sentence({ state, size, moved, from_us, why }) {
    const said = { size: bytesText(size), moved: bytesText(moved) };
    if (state === 'moving') return this.#words('file_moving', said);
    if (state === 'done') return this.#words(from_us ? 'file_sent' : 'file_saved', said);
    if (state === 'offered' || state === 'waiting') return this.#words(from_us || state === 'waiting' ? 'file_waiting' : 'file_size', said);
    if (state === 'refused') return this.#words(why ? `file_why_${why}` : 'file_refused', said);
    if (state === 'cancelled') return this.#words(why === 'other' ? 'file_cancelled_other' : 'file_cancelled', said);
    return this.#words(`file_why_${why}`, { ...said, limit: bytesText(IN_MEMORY_BYTES) });
  }

  #tools(transfer) {
    if (OVER.includes(transfer.state)) return [];
    if (!transfer.from_us && transfer.state === 'offered') {
      return [button(this.#words('file_take'), () => this.#drop?.take(transfer), 'primary'), button(this.#words('file_refuse'), () => this.#drop?.refuse(transfer))];
    }
    return [iconButton('close', this.#words('file_cancel', { name: transfer.name }), () => this.#drop?.cancel(transfer))];
  }

  #takeDrops() {
    const over = (on) => this.#root.classList.toggle('dropping', on && this.#drop !== null);
    this.#root.addEventListener('dragover', (event) => {
      event.preventDefault();
      over(true);
    });
    this.#root.addEventListener('dragleave', () => over(false));
    this.#root.addEventListener('drop', (event) => {
      event.preventDefault();
      over(false);
      const { files } = event.dataTransfer;
      if (files.length) this.offer(files);
      else if (this.#drop) this.#composer.add(event.dataTransfer.getData('text/plain'));
    });
  }
}
