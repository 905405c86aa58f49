// A line to write in: Enter sends, Shift+Enter starts a new line, and the characters left are told near the end.

import { element, iconButton, isEnter } from './dom.js';

const TELL_LEFT = 60;

export class Composer {
  #box;
  #left;
  #button;
  #longest;
  #send;
  #allowed = true;
  root;

  /** `send(text)`: true when it was taken. */
  constructor({ id, placeholder, label, longest, send }) {
    this.#longest = longest;
    this.#send = send;
    this.#box = element('textarea', { id, rows: 1, placeholder, 'aria-label': placeholder, enterKeyHint: 'send', oninput: () => this.#look(), onkeydown: (event) => this.#key(event) });
    this.#left = element('span', { className: 'fine left', 'aria-live': 'polite' });
    this.#button = iconButton('send', label, () => this.#submit(), { disabled: true });
    this.root = element('div', { className: 'composer' }, this.#box, this.#left, this.#button);
  }

  get box() { return this.#box; }

  /** Why nothing can be said now stands in place of the placeholder. `writing`: a line may be begun until it can be sent. */
  allow(allowed, placeholder, writing = allowed) {
    this.#allowed = allowed;
    this.#box.disabled = !writing;
    this.#box.placeholder = placeholder;
    this.#box.setAttribute('aria-label', placeholder);
    this.#look();
  }

  /** Adds to what was begun; the user sends it. */
  add(text) {
    this.#box.value += text;
    this.#look();
    this.#box.focus();
  }

  #key(event) {
    if (!isEnter(event) || event.shiftKey) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    if (this.#button.disabled || !this.#send(this.#box.value)) return;
    this.#box.value = '';
    this.#look();
    this.#box.focus();
  }

  #count() {
    return this.#longest - [...this.#box.value.trim()].length;
  }

  #look() {
    const left = this.#count();
    this.#left.textContent = left <= TELL_LEFT ? String(left) : '';
    this.#left.classList.toggle('over', left < 0);
    this.#button.disabled = !this.#allowed || left < 0 || !this.#box.value.trim();
    this.#box.style.height = 'auto';
    this.#box.style.height = `${Math.min(this.#box.scrollHeight + 2, 120)}px`;
  }
}
