// The room's chat: the log, and a line to write in.

import { ChatLog } from './chat_log.js';
import { Composer } from './composer.js';
import { CHAT_LONGEST } from './room.js';

export class ChatPanel {
  #room;
  #words;
  #log;
  #composer;

  /** `say(text)`: true when the line is on its way; `again(key)`: a lost line once more. */
  constructor(body, { room, words, language, say, again }) {
    this.#room = room;
    this.#words = words;
    this.#log = new ChatLog({ id: 'chat-log', label: words('chat'), empty: words('chat_empty'), words, language, again });
    this.#composer = new Composer({ id: 'chat-text', placeholder: words('chat_write'), label: words('send'), longest: CHAT_LONGEST, send: (text) => {
      const taken = say(text);
      if (taken) this.#log.toEnd();
      return taken;
    } });
    body.append(this.#log.root, this.#composer.root);
  }

  get box() { return this.#composer.box; }

  opened() {
    this.#log.toEnd();
  }

  show(reachable) {
    this.#log.show(this.#room.chat, this.#room.me?.id);
    const why = !reachable ? 'chat_apart' : this.#room.mayChat ? 'chat_write' : 'chat_muted';
    this.#composer.allow(why === 'chat_write', this.#words(why), this.#room.mayChat);
  }
}
