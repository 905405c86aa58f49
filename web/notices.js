// Short words over the picture: who came, who asks, who calls. Those with buttons stay until they are answered.

import { button, element } from './dom.js';

const SHOWN_FOR_MS = 6000;
const AT_ONCE = 4;

export class Notices {
  #root;
  #byKey = new Map();

  constructor(root) {
    this.#root = root;
  }

  /** `choices`: [[words, act, className]]; `key`: a later notice with the same key replaces this one. */
  show(text, { choices = [], key = null, urgent = false } = {}) {
    this.remove(key);
    const buttons = choices.map(([words, act, className = '']) => button(words, () => {
      this.#take(notice);
      act();
    }, className));
    const notice = element('div', { className: 'notice', role: urgent ? 'alert' : null }, element('p', {}, text), buttons.length ? element('div', { className: 'notice-buttons' }, buttons) : null);
    if (key) this.#byKey.set(key, notice);
    this.#root.append(notice);
    // What waits for an answer is the last to go, and a call never: nowhere else can it be answered.
    while (this.#root.childElementCount > AT_ONCE) this.#take([...this.#root.children].find((one) => !one.querySelector('button')) ?? this.#root.querySelector('.notice:not([role])'));
    if (!choices.length) setTimeout(() => this.#take(notice), SHOWN_FOR_MS);
    return notice;
  }

  remove(key) {
    const notice = this.#byKey.get(key);
    this.#byKey.delete(key);
    notice?.remove();
  }

  #take(notice) {
    for (const [key, one] of this.#byKey) if (one === notice) this.#byKey.delete(key);
    notice.remove();
  }
}
