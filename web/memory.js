// What the page remembers: name, look, language and keys for good, the ticket back to its seat while the tab lives. Browsers may
// refuse either store (private windows); then it forgets. Pure: the stores are handed in.

const PREFIX = 'rtcam-';
export const NAME_LONGEST = 32;

export class Memory {
  #lasting;
  #passing;

  /** Functions, because even asking for a store may throw. */
  constructor(lasting = () => globalThis.localStorage, passing = () => globalThis.sessionStorage) {
    this.#lasting = lasting;
    this.#passing = passing;
  }

  get name() { return tidyName(this.#read(this.#lasting, 'name') ?? ''); }
  set name(name) { this.#write(this.#lasting, 'name', tidyName(name)); }

  /** '' as the system says, else 'light' or 'dark'. */
  get theme() { return oneOf(this.#read(this.#lasting, 'theme'), ['light', 'dark']); }
  set theme(theme) { this.#write(this.#lasting, 'theme', theme); }

  /** '' as the browser says. */
  get language() { return this.#read(this.#lasting, 'language') ?? ''; }
  set language(language) { this.#write(this.#lasting, 'language', language); }

  /** Whether single letters act; who speaks to the machine instead of typing may not want that. */
  get keys() { return this.#read(this.#lasting, 'keys') !== 'off'; }
  set keys(on) { this.#write(this.#lasting, 'keys', on ? '' : 'off'); }

  get resume() { return this.#read(this.#passing, 'resume') ?? ''; }
  set resume(ticket) { this.#write(this.#passing, 'resume', ticket ?? ''); }

  #read(store, key) {
    try {
      return store().getItem(PREFIX + key);
    } catch {
      return null;
    }
  }

  #write(store, key, value) {
    try {
      if (value) store().setItem(PREFIX + key, value);
      else store().removeItem(PREFIX + key);
    } catch {
      // forgotten
    }
  }
}

/** One line, no spaces around it, at most 32 characters: whole ones, also those of four bytes. */
export function tidyName(name) {
  return [...String(name).replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069\s]+/gu, ' ').trim()].slice(0, NAME_LONGEST).join('').trim();
}

function oneOf(value, words) {
  return words.includes(value) ? value : '';
}
