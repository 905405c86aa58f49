// The values everybody shares (camera controls, overlay), as this page sees them: the board's snapshots and patches, with
// this page's own changes shown before the board has confirmed them. Pure: messages and `now` come in, messages go out.
//
// Messages may overtake each other (they come two ways), so each key keeps the version it was last changed at, and an
// older word about it is not believed. All pages end up with the same values however the messages were shuffled.

/** While somebody drags a slider: one message per this long, with everything that changed meanwhile. */
const SEND_EVERY_MS = 80;
/** A change the board does not confirm for this long is not shown any more. */
const CONFIRM_WITHIN_MS = 2000;
/** The board's word on a change that differs from ours (it clamps) is shown once ours had time to be the last. */
const SETTLE_MS = 400;
/** A version that is missing for this long was lost on the way. */
const GAP_WITHIN_MS = 2000;

export class SharedState {
  #version = 0;
  #describe = [];
  #describedAt = -1;
  #known = new Map();
  /** What this page asked for: key -> { value, until, unsent }. */
  #wanted = new Map();
  #lastSent = -Infinity;
  #missing = new Set();
  #gapSince = null;

  get version() { return this.#version; }
  get describe() { return this.#describe; }

  /** What to show; undefined for keys nobody told about. */
  value(key) {
    return this.#wanted.has(key) ? this.#wanted.get(key).value : this.#known.get(key)?.value;
  }

  /** True while the value shown is not the board's yet. */
  isPending(key) {
    return this.#wanted.has(key);
  }

  /** The board counts from the start again (it was restarted): nothing known before counts. */
  forget() {
    this.#version = 0;
    this.#describe = [];
    this.#describedAt = -1;
    this.#known.clear();
    this.#wanted.clear();
    this.#missing.clear();
    this.#gapSince = null;
  }

  /** The message `state`. */
  snapshot({ version, values, describe }) {
    for (const [key, value] of Object.entries(values ?? {})) this.#learn(key, value, version);
    if (version >= this.#describedAt && Array.isArray(describe)) {
      this.#describe = describe;
      this.#describedAt = version;
      this.#keepOnly(new Set([...describe.map((entry) => entry.key), ...Object.keys(values ?? {})]), version);
    }
    for (const one of this.#missing) if (one <= version) this.#missing.delete(one);
    this.#version = Math.max(this.#version, version);
    if (!this.#missing.size) this.#gapSince = null;
  }

  /** The message `patch`; `me` is the id of this page's seat. */
  patch({ version, values, by }, me, now) {
    this.#count(version, now);
    for (const [key, value] of Object.entries(values ?? {})) {
      this.#learn(key, value, version);
      const wanted = this.#wanted.get(key);
      if (!wanted) continue;
      if (isSame(wanted.value, value)) wanted.unsent || this.#wanted.delete(key);
      else if (by !== me && by !== null) this.#wanted.delete(key);
      else wanted.until = Math.min(wanted.until, now + SETTLE_MS);
    }
  }

  /** This page wants a value; it is shown at once. send() says what goes out, and when. */
  want(key, value, now) {
    this.#wanted.set(key, { value, until: now + CONFIRM_WITHIN_MS, unsent: true });
  }

  /** A button, a preset or the reset: it has no value to show, and each press counts. */
  press(key, value) {
    return { type: 'set', base: this.#version, values: { [key]: value } };
  }

  /** The message that is due now, or null. */
  send(now) {
    const unsent = [...this.#wanted].filter(([, wanted]) => wanted.unsent);
    if (!unsent.length || now - this.#lastSent < SEND_EVERY_MS) return null;
    this.#lastSent = now;
    for (const [, wanted] of unsent) wanted.unsent = false;
    return { type: 'set', base: this.#version, values: Object.fromEntries(unsent.map(([key, { value }]) => [key, value])) };
  }

  /** The board refused (stale, not allowed, out of range): what it says is true. */
  refused() {
    const had = this.#wanted.size > 0;
    this.#wanted.clear();
    return had;
  }

  /** Time passes: lets go of what was not confirmed. True when something shown has changed. */
  expire(now) {
    let changed = false;
    for (const [key, { until, unsent }] of this.#wanted) {
      if (unsent || now < until) continue;
      this.#wanted.delete(key);
      changed = true;
    }
    return changed;
  }

  /** When to call send() and expire() again; null: not before something happens. */
  dueAt() {
    const times = [...this.#wanted.values()].map(({ until, unsent }) => (unsent ? this.#lastSent + SEND_EVERY_MS : until));
    return times.length ? Math.min(...times) : null;
  }

  /** A patch was lost on a way that died: only a new snapshot helps. */
  hasGap(now) {
    return this.#gapSince !== null && now - this.#gapSince >= GAP_WITHIN_MS;
  }

  #learn(key, value, version) {
    if ((this.#known.get(key)?.version ?? -1) <= version) this.#known.set(key, { value, version });
  }

  /** What a snapshot does not name is gone, unless a later patch named it. */
  #keepOnly(keys, version) {
    for (const [key, known] of this.#known) if (!keys.has(key) && known.version <= version) this.#known.delete(key);
  }

  #count(version, now) {
    for (let lost = this.#version + 1; lost < version && this.#missing.size < 1000; lost++) this.#missing.add(lost);
    this.#missing.delete(version);
    this.#version = Math.max(this.#version, version);
    if (!this.#missing.size) this.#gapSince = null;
    else this.#gapSince ??= now;
  }
}

/** The board keeps fractions in four bytes. */
function isSame(a, b) {
  return typeof a === 'number' && typeof b === 'number' ? Math.abs(a - b) < 1e-4 : a === b;
}
