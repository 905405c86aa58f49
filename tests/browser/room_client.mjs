// A person of a room without a page: the WebSocket's messages, as docs/ref-room.md has them.

import { WebSocket } from 'ws';
import { PATIENCE_MS } from './harness.mjs';
import { eventually } from './people.mjs';

export class RoomClient {
  /** Everything the board said, in its order. */
  heard = [];
  #socket;

  /** `base`: http://HOST:PORT; `password`: the shared one, if there is one. Resolves when the whole state is known. */
  static async enter(base, name, password = null) {
    const client = new RoomClient();
    const headers = password ? { authorization: `Bearer ${password}` } : {};
    client.#socket = new WebSocket(`${base.replace(/^http/, 'ws').replace(/\/$/, '')}/ws`, { headers });
    client.#socket.on('message', (text) => client.#hear(JSON.parse(text)));
    client.#socket.on('error', (error) => client.heard.push({ type: 'socket', message: error.message }));
    client.#socket.on('open', () => client.say({ type: 'hello', version: 1, name }));
    await client.until('state', () => true);
    // who never offers is shown out after 10 s; who offered in vain stays without a picture
    client.say({ type: 'offer', sdp: 'none' });
    return client;
  }

  say(message) {
    this.#socket.send(JSON.stringify(message));
  }

  /** Waits for a message of this type that `fits`, heard after the first `from` ones. */
  async until(type, fits, within_ms = PATIENCE_MS, from = 0) {
    const find = () => this.heard.slice(from).find((message) => message.type === type && fits(message));
    return eventually(find, Boolean, `no such ${type}`, within_ms).catch((error) => {
      const byPeople = this.heard.filter((message) => message.by !== null);
      throw new Error(`${error.message}; heard, but for the driver's own: ${byPeople.slice(-8).map((message) => JSON.stringify(message).slice(0, 160)).join('\n')}`);
    });
  }

  get seat() { return this.heard.findLast((message) => message.type === 'welcome').seat; }
  get describe() { return this.heard.findLast((message) => message.type === 'state').describe; }

  /** As the messages so far say. */
  get values() {
    return Object.assign({}, ...this.heard.filter(({ type }) => ['state', 'patch'].includes(type)).map(({ values }) => values));
  }

  get version() {
    return Math.max(...this.heard.map(({ version }) => version ?? 0));
  }

  set(values) {
    this.say({ type: 'set', base: this.version, values });
  }

  leave() {
    this.say({ type: 'bye', reason: 'left' });
    this.#socket.close();
  }

  #hear(message) {
    if (message.type === 'ping') return this.say({ type: 'pong', t: message.t });
    this.heard.push(message);
  }
}
