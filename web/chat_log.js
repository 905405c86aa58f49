// The lines of a conversation, newest last. Text is text: nothing in it is ever read as markup.

import { button, element } from './dom.js';

const NEAR_END_PX = 60;
const TOGETHER_MS = 120000;

export class ChatLog {
  #words;
  #language;
  #again;
  #rows = new Map();
  root;

  /** `again(key)`: the user wants to send a lost line once more. */
  constructor({ id, label, empty, words, language, again = () => {} }) {
    this.#words = words;
    this.#language = language;
    this.#again = again;
    this.root = element('ol', { id, className: 'chat-log', role: 'log', 'aria-live': 'polite', 'aria-label': label, tabIndex: 0 });
    this.root.dataset.empty = empty;
  }

  /** `lines`: { key, from, name, text, at_ms, state? }; `me`: the id whose lines stand on the other side. */
  show(lines, me) {
    const atEnd = this.root.scrollHeight - this.root.scrollTop - this.root.clientHeight < NEAR_END_PX;
    const keys = new Set(lines.map((line) => line.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let before = null;
    lines.forEach((line, index) => {
      const row = this.#row(line, me);
      const together = before && before.from === line.from && (line.at_ms ?? Infinity) - before.at_ms < TOGETHER_MS;
      row.classList.toggle('together', Boolean(together));
      if (this.root.children[index] !== row) this.root.insertBefore(row, this.root.children[index] ?? null);
      before = line.at_ms === null ? { ...line, at_ms: Infinity } : line;
    });
    if (atEnd) this.root.scrollTop = this.root.scrollHeight;
  }

  toEnd() {
    this.root.scrollTop = this.root.scrollHeight;
  }

  #row(line, me) {
    let row = this.#rows.get(line.key);
    if (!row) {
      row = element('li', { className: 'line' }, this.#head(line), element('p', { className: 'line-text', dir: 'auto' }, line.text));
      row.classList.toggle('mine', line.from === me);
      this.#rows.set(line.key, row);
    }
    if (row.dataset.state !== (line.state ?? '')) {
      row.dataset.state = line.state ?? '';
      row.querySelector('time').textContent = this.#clock(line.at_ms);
      row.querySelector('.again')?.remove();
      if (line.state === 'lost') row.append(button(this.#words('chat_again'), () => this.#sayAgain(line.key), 'again'));
    }
    return row;
  }

  #head({ name }) {
    return element('p', { className: 'line-head' }, element('bdi', { className: 'line-name' }, name), ' ', element('time'));
  }

  /** Nothing for a line on its way. */
  #clock(at_ms) {
    const at = new Date(at_ms ?? NaN);
    return Number.isFinite(at.getTime()) ? at.toLocaleTimeString(this.#language, { hour: '2-digit', minute: '2-digit' }) : '';
  }

  /** The button goes with its line: the focus stays near. */
  #sayAgain(key) {
    this.root.focus();
    this.#again(key);
  }
}
