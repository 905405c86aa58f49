// The room as this page knows it: who is there, who steers, what was said. Pure: fed with the board's messages, asked by
// the panels. Must never touch the document or send anything.

const CHAT_KEPT = 200;
/** An own line the board has not repeated within this was lost. */
const ECHO_WITHIN_MS = 4000;
export const CHAT_LONGEST = 500;

export class Room {
  /** Null until a welcome with a seat. */
  #seat = null;
  #people = new Map();
  #asking = [];
  #holder = null;
  #chat = [];
  #unheard = [];
  #said = 0;
  closed = false;
  muted = false;
  loggedIn = false;

  get present() { return this.#seat !== null; }
  get me() { return this.#people.get(this.#seat?.id) ?? this.#seat; }
  get isHost() { return this.me?.role === 'host'; }
  get holder() { return this.#holder; }
  get asking() { return this.#asking; }
  /** Lines of the board, then own ones on their way: { from, name, text, at_ms, state?: 'sent'|'lost', key }. */
  get chat() { return [...this.#chat, ...this.#unheard]; }
  /** In the order they came in; I come first. */
  get people() {
    const all = [...this.#people.values()];
    return [...all.filter((person) => person.id === this.#seat?.id), ...all.filter((person) => person.id !== this.#seat?.id)];
  }

  person(id) { return this.#people.get(id) ?? null; }
  nameOf(id) { return this.#people.get(id)?.name ?? ''; }

  get maySteer() {
    if (!this.present) return false;
    return this.isHost || this.#holder === this.#seat.id || (this.#holder === null && this.me.role === 'operator');
  }

  get mayAsk() { return this.present && !this.isHost && this.#holder !== this.#seat.id; }
  get mayChat() { return this.present && (!this.muted || this.isHost); }

  /** Removed from the room: nothing of it is ours any more. */
  leave() {
    this.#seat = this.#holder = null;
    this.#people.clear();
    this.#asking = [];
  }

  /** Takes one message; returns what happened, for the panels and for the ear: [{ what, ... }]. */
  hear(message) {
    switch (message.type) {
      case 'welcome': return this.#welcome(message);
      case 'peers': return this.#peers(message);
      case 'control': return this.#control(message);
      case 'room': return this.#rules(message);
      case 'chat': return this.#line(message);
      default: return [];
    }
  }

  /** An own line, shown until the board repeats it. Null when there is nothing to say. */
  say(text, now) {
    const tidy = tidyText(text);
    if (!tidy || !this.mayChat) return null;
    this.#unheard.push({ from: this.#seat.id, name: this.me.name, text: tidy, at_ms: null, state: 'sent', at: now, key: `own-${++this.#said}` });
    return { type: 'chat', text: tidy };
  }

  /** The line could not be sent, or nothing came back: true when something changed. */
  expire(now) {
    const late = this.#unheard.filter((line) => line.state === 'sent' && now - line.at >= ECHO_WITHIN_MS);
    for (const line of late) line.state = 'lost';
    return late.length > 0;
  }

  /** The board refused the last line. */
  chatRefused() {
    const line = this.#unheard.findLast((one) => one.state === 'sent');
    if (line) line.state = 'lost';
  }

  /** Takes a lost line off the list; its text, to say it again. */
  takeBack(key) {
    const line = this.#unheard.find((one) => one.key === key);
    this.#unheard = this.#unheard.filter((one) => one.key !== key);
    return line?.text ?? '';
  }

  #welcome({ seat, room, logged_in }) {
    if (!seat || !room) return [];
    this.loggedIn = Boolean(logged_in);
    this.#seat = { id: seat.id, name: String(seat.name), role: seat.role };
    this.#people = new Map((room.people ?? []).map((person) => [person.id, tidyPerson(person)]));
    this.#holder = room.holder ?? null;
    this.#asking = room.asking ?? [];
    this.closed = Boolean(room.closed);
    this.muted = Boolean(room.muted);
    this.#chat = mergeChat(this.#chat, (room.chat ?? []).map(tidyLine));
    this.#unheard = this.#unheard.filter((own) => !this.#chat.some((line) => line.from === own.from && line.text === own.text));
    return [{ what: 'room' }];
  }

  #peers({ joined, left, reason, changed }) {
    if (joined) {
      const isNew = !this.#people.has(joined.id);
      this.#people.set(joined.id, tidyPerson(joined));
      return isNew && joined.id !== this.#seat?.id ? [{ what: 'joined', person: this.person(joined.id) }] : [{ what: 'people' }];
    }
    if (changed) {
      const before = this.person(changed.id);
      const person = tidyPerson(changed);
      this.#people.set(person.id, person);
      const happened = before && before.role !== person.role ? [{ what: 'role', person }] : [];
      if (before && before.name !== person.name) happened.push({ what: 'renamed', person, before: before.name });
      return happened.length ? happened : [{ what: 'people' }];
    }
    if (left === undefined || left === null) return [];
    const person = this.person(left);
    this.#people.delete(left);
    this.#asking = this.#asking.filter((id) => id !== left);
    return person ? [{ what: 'left', person, reason }] : [];
  }

  #control({ holder = null, asking = [] }) {
    const before = { holder: this.#holder, asking: this.#asking };
    this.#holder = holder;
    this.#asking = asking;
    const happened = asking.filter((id) => !before.asking.includes(id)).map((id) => ({ what: 'asking', person: this.person(id) }));
    if (holder !== before.holder) happened.push({ what: 'holder', person: this.person(holder), mine: holder === this.#seat?.id, was_mine: before.holder === this.#seat?.id });
    return happened.length ? happened : [{ what: 'people' }];
  }

  #rules({ closed, muted }) {
    const happened = [];
    if (closed !== undefined && closed !== this.closed) happened.push({ what: closed ? 'closed' : 'opened' });
    if (muted !== undefined && muted !== this.muted) happened.push({ what: muted ? 'muted' : 'unmuted' });
    this.closed = closed ?? this.closed;
    this.muted = muted ?? this.muted;
    return happened;
  }

  #line(message) {
    const line = tidyLine(message);
    const mine = line.from === this.#seat?.id;
    if (this.#chat.some((known) => sameLine(known, line))) return [];
    if (mine) {
      const index = this.#unheard.findIndex((own) => own.text === line.text);
      // It stays the same line to the panel: nothing is shown or read aloud twice.
      if (index >= 0) [{ key: line.key }] = this.#unheard.splice(index, 1);
    }
    // lines that were lost on the way come again behind newer ones
    this.#chat = [...this.#chat, line].sort((a, b) => a.at_ms - b.at_ms).slice(-CHAT_KEPT);
    return [{ what: 'chat', line, mine }];
  }
}

/** What may be sent: no control characters but newlines, at most 500 characters, none cut in half. */
export function tidyText(text) {
  const plain = String(text).replace(/\r\n?/g, '\n').replace(/[^\P{Cc}\n]/gu, '').trim();
  return [...plain].slice(0, CHAT_LONGEST).join('');
}

function tidyPerson({ id, name, role, watching = true, joined_s = 0 }) {
  return { id, name: String(name ?? ''), role, watching: Boolean(watching), joined_s };
}

function tidyLine({ from, name, text, at_ms }) {
  return { from, name: String(name ?? ''), text: String(text ?? ''), at_ms: Number(at_ms), key: `${from}-${at_ms}-${text}` };
}

function sameLine(a, b) {
  return a.at_ms === b.at_ms && a.from === b.from && a.text === b.text;
}

/** The board keeps the last lines only; what this page heard before them stays. */
function mergeChat(mine, theirs) {
  const first = theirs[0]?.at_ms ?? Infinity;
  const known = theirs.map((line) => mine.find((other) => sameLine(line, other)) ?? line);
  return [...mine.filter((line) => line.at_ms < first), ...known].slice(-CHAT_KEPT);
}
