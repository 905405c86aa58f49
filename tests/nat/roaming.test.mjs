// What happens to people when a network fails under them: the link, the address, one of the two ways, the server itself.
// Three people in one room, each with a login: Ann, the host, at home; Bob, the operator who holds control, and Carl, a
// viewer, on a machine that goes about. Nobody may reload, log in again or lose the seat.

import assert from 'node:assert/strict';
import test, { after, afterEach, before } from 'node:test';
import { buildWire, ipInside, setFirewall } from './network.mjs';
import { HASH, PASSWORD, chromiumIn, startRtcam, stop } from './programs.mjs';
import { PATIENCE_MS, openPage, sleep, tell, wordsOf } from '../browser/harness.mjs';
import { chatLines, enter, eventually, openPanel, say } from '../browser/people.mjs';

const [PAGE, MEDIA] = [8080, 8189];
const URL = `http://10.9.0.1:${PAGE}/`;
const LINK_DOWN_MS = 20_000;
/** A picture that stops no longer than this, on a machine that may stand still itself, has gone on. */
const NO_GAP_MS = 5000;
const BACK_WITHIN_MS = PATIENCE_MS;
/** What was sent into a connection that is dead comes again when the board or the page knows. */
const MISSED_WITHIN_MS = PATIENCE_MS;

const config = (state) => `
  state_dir = "/run/${state}"
  [camera]
  source = "pattern"
  width = 320
  height = 240
  fps = 15
  [http]
  listen = "0.0.0.0:${PAGE}"
  [webrtc]
  udp_port = ${MEDIA}
  [[overlay]]
  type = "text"
  text = "door"
  corner = "bottom-left"
  [auth]`;
const USERS = [['Ann', 'host'], ['Bob', 'operator'], ['Carl', 'viewer']]
  .map(([name, role]) => `[[auth.user]]\nname = "${name}"\nrole = "${role}"\npassword_hash = "${HASH}"`).join('\n');

const [WITH_LOGINS, OPEN] = [`${config('wire-logins')}\n${USERS}`, `${config('wire-open')}\nmode = "open"\nopen_role = "host"`];

let rtcam;
let browsers = {};
let ann, bob, carl;

before(async () => {
  buildWire();
  rtcam = await startRtcam('wire-board', WITH_LOGINS);
  browsers = { home: await chromiumIn('wire-home'), away: await chromiumIn('wire-away') };
  [ann, bob, carl] = [await logIn(browsers.home, 'Ann'), await logIn(browsers.away, 'Bob'), await logIn(browsers.away, 'Carl')];
  const bobsId = await bob.evaluate(() => globalThis.rtcam.room.me.id);
  await openPanel(ann, 'people');
  if (!(await ann.isVisible(`#give-${bobsId}`))) await ann.click(`#more-${bobsId}`);
  await ann.click(`#give-${bobsId}`);
  for (const page of [ann, bob, carl]) {
    await eventually(() => page.evaluate(() => globalThis.rtcam.room.holder), (holder) => holder === bobsId, 'Bob holds control');
  }
}, { timeout: 240_000 });

after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  if (rtcam) await stop(rtcam);
});

afterEach(() => setFirewall('wire-board', ''));

/** Counts what a page opens, and keeps the moments at which it showed a picture. Runs before the page's own scripts. */
function keepBooks() {
  const books = globalThis.books = { connections: 0, sockets: 0, welcomes: [], pictures: [], born: Date.now() };
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...all) {
      super(...all);
      books.connections++;
    }
  };
  globalThis.WebSocket = class extends WebSocket {
    constructor(...all) {
      super(...all);
      books.sockets++;
      this.addEventListener('message', ({ data }) => data.includes('"type":"welcome"') && books.welcomes.push({ at: Date.now(), resumed: JSON.parse(data).resumed }));
    }
  };
  // each connection of the page asks for its own pictures' callbacks
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (shown) {
    return ask.call(this, (...all) => {
      books.pictures.push(Date.now());
      shown(...all);
    });
  };
}

/** By the form, as people do. */
async function logIn(browser, name) {
  const context = await browser.newContext({ locale: 'en-US' });
  const page = await openPage(context, URL, keepBooks);
  await page.fill('#name', name);
  await page.fill('#password', PASSWORD);
  await page.press('#password', 'Enter');
  await untilSeated(page);
  return page;
}

async function untilSeated(page) {
  await page.waitForFunction(() => globalThis.rtcam?.room?.present && globalThis.rtcam.state === 'live', null, { timeout: PATIENCE_MS, polling: 50 }).catch(async () => {
    throw new Error(`not seated: the page at ${page.url()} says ${await page.textContent('body')}; ${page.faults}; rtcam: ${rtcam.log.slice(-1500)}`);
  });
}

function seatOf(page) {
  return page.evaluate(() => {
    const { me, holder } = globalThis.rtcam.room;
    return { id: me.id, name: me.name, role: me.role, holder };
  });
}

function bornAt(page) {
  return page.evaluate(() => globalThis.books.born);
}

function booksOf(page) {
  return page.evaluate(() => ({ ...globalThis.books, state: globalThis.rtcam.state }));
}

/** Waits until the page is as before: signalled again since `start`, with the picture after that. In ms after `start`. */
async function backAfter(page, start, { signalled = true } = {}) {
  const socketAt = ({ welcomes }) => (signalled ? welcomes.find(({ at }) => at > start)?.at ?? Infinity : start);
  const books = await eventually(() => booksOf(page), (seen) => seen.state === 'live' && seen.pictures.at(-1) > socketAt(seen), 'the way back', BACK_WITHIN_MS)
    .catch(async () => {
      const { state, pictures, welcomes } = await booksOf(page);
      throw new Error(`not back: the page says ${await wordsOf(page)}, ${JSON.stringify({ state, start, picture: pictures.at(-1), welcomes })}; rtcam: ${rtcam.log.slice(-1500)}`);
    });
  return { picture: books.pictures.find((at) => at > start) - start, socket: socketAt(books) - start };
}

async function samePeople(body) {
  const pages = [ann, bob, carl];
  const seats = await Promise.all(pages.map(seatOf));
  const born = await Promise.all(pages.map(bornAt));
  await body();
  assert.deepEqual(await Promise.all(pages.map(seatOf)), seats, 'seats, names, roles and control');
  assert.deepEqual(await Promise.all(pages.map(bornAt)), born, 'no reload and no login');
  for (const page of pages) {
    const read = () => page.evaluate(() => globalThis.rtcam.room.people.map(({ id, watching }) => `${id} ${watching}`).sort());
    await eventually(read, (people) => people.join() === seats.map(({ id }) => `${id} true`).sort().join(), 'everybody sees everybody watch');
  }
}

/** The longest that no picture came from `start` to now. */
async function longestGap(page, start) {
  const { pictures } = await booksOf(page);
  const moments = [start, ...pictures.filter((at) => at > start), Date.now()];
  return Math.max(...moments.slice(1).map((at, i) => at - moments[i]));
}

test('the link is down for 20 s', { timeout: 240_000 }, () => samePeople(async () => {
  for (const space of ['wire-home', 'wire-away']) ipInside(space, 'link set eth0 down');
  await sleep(LINK_DOWN_MS);
  for (const page of [ann, bob, carl]) assert.notEqual((await booksOf(page)).state, 'live');
  const up = Date.now();
  for (const space of ['wire-home', 'wire-away']) ipInside(space, 'link set eth0 up', 'route add default via 10.9.0.1');
  for (const [name, page] of Object.entries({ ann, bob, carl })) {
    const { picture, socket } = await backAfter(page, up);
    tell(`after the link was up: ${name}'s picture ${picture} ms, socket ${socket} ms`);
  }
}));

for (const [what, address, gateway] of [['in the same network', '10.9.0.7', '10.9.0.1'], ['to another network', '10.9.1.7', '10.9.1.1']]) {
  test(`the address changes ${what}`, { timeout: 240_000 }, () => samePeople(async () => {
    const connections = await Promise.all([bob, carl].map(async (page) => (await booksOf(page)).connections));
    const changed = Date.now();
    ipInside('wire-away', 'addr flush dev eth0', `addr add ${address}/24 dev eth0`, `route add default via ${gateway}`);
    for (const [name, page] of Object.entries({ bob, carl })) {
      const { socket } = await backAfter(page, changed);
      tell(`after the change ${what}: ${name} without a picture for ${await longestGap(page, changed)} ms, signalled again after ${socket} ms`);
    }
    assert.deepEqual(await Promise.all([bob, carl].map(async (page) => (await booksOf(page)).connections)), connections, 'the same connections: healed, not made anew');
  }));
}

test('only the socket is lost: the picture and the room go on', { timeout: 900_000 }, () => samePeople(async () => {
  const begun = Date.now();
  const sockets = () => Promise.all([bob, carl].map(async (page) => (await booksOf(page)).sockets));
  const connections = () => Promise.all([bob, carl].map(async (page) => (await booksOf(page)).connections));
  const [before, sameConnections] = [await sockets(), await connections()];
  // nobody is told: to the page the socket looks open until it doubts it
  setFirewall('wire-board', `table ip fault {
    chain in { type filter hook input priority 0; tcp dport ${PAGE} ip saddr != 10.9.0.2 drop
    }
    chain out { type filter hook output priority 0; tcp sport ${PAGE} ip daddr != 10.9.0.2 drop
    }
  }`);
  await changeText(ann, 'through the channel, the socket hangs', [bob, carl]);
  await eventually(sockets, (now) => now.every((n, i) => n > before[i]), 'the pages doubt their sockets');
  tell(`a socket that hangs is given up within ${Date.now() - begun} ms`);
  await changeText(ann, 'through the channel, the socket is gone', [bob, carl]);
  await changeText(bob, 'both ways through the channel', [ann, carl]);
  for (const page of [bob, carl]) assert.equal((await booksOf(page)).state, 'live');
  const open = Date.now();
  setFirewall('wire-board', '');
  for (const [name, page] of Object.entries({ bob, carl })) {
    const { socket } = await backAfter(page, open);
    const gap = await longestGap(page, begun);
    tell(`without a socket: ${name}'s longest gap ${gap} ms; signalled again ${socket} ms after it could be`);
    assert.ok(gap < NO_GAP_MS, `${name}'s picture stopped for ${gap} ms`);
    assert.ok((await booksOf(page)).welcomes.at(-1).resumed, 'the same seat');
  }
  assert.deepEqual(await connections(), sameConnections, 'no new peer connection');
}));

/** Somebody changes the text in the picture; the others' pages say so. */
async function changeText(from, text, others, within_ms = PATIENCE_MS) {
  await openPanel(from, 'controls');
  await from.fill('#set-layer-0-text', text);
  await from.press('#set-layer-0-text', 'Enter');
  for (const page of others) await eventually(() => page.evaluate(() => globalThis.rtcam.values['layer.0.text']), (now) => now === text, text, within_ms);
}

test('only media is lost: the room lives on, the page says so, the picture returns', { timeout: 240_000 }, () => samePeople(async () => {
  const begun = Date.now();
  setFirewall('wire-board', `table ip fault {
    chain in { type filter hook input priority 0; udp dport ${MEDIA} ip saddr != 10.9.0.2 drop
    }
    chain out { type filter hook output priority 0; udp sport ${MEDIA} ip daddr != 10.9.0.2 drop
    }
  }`);
  for (const page of [bob, carl]) await eventually(() => booksOf(page), ({ state }) => state === 'reconnecting', 'the page says so');
  tell(`without media: the pages say so after ${Date.now() - begun} ms: ${await wordsOf(bob)}`);
  for (const page of [ann, carl]) await openPanel(page, 'chat');
  await say(carl, 'no picture here');
  await eventually(() => chatLines(ann), (lines) => lines.includes('no picture here'), 'a line from there');
  await say(ann, 'hold on');
  for (const page of [bob, carl]) {
    await openPanel(page, 'chat');
    await eventually(() => chatLines(page), (lines) => lines.includes('hold on'), 'a line to there', MISSED_WITHIN_MS);
  }
  await changeText(ann, 'media is away', [bob, carl], MISSED_WITHIN_MS);
  const open = Date.now();
  setFirewall('wire-board', '');
  for (const [name, page] of Object.entries({ bob, carl })) {
    const { picture } = await backAfter(page, open, { signalled: false });
    tell(`after media could pass again: ${name}'s picture ${picture} ms`);
  }
}));

/** SIGKILL, and after a while of nobody there the same program once more. The time since it serves. */
async function killAndStart(pages, text) {
  rtcam.kill('SIGKILL');
  await rtcam.ended;
  for (const page of pages) await eventually(() => page.evaluate(() => globalThis.rtcam.state), (state) => state === 'reconnecting', 'noticed');
  rtcam = await startRtcam('wire-board', text);
  return Date.now();
}

async function liveAfter(people, started) {
  for (const [name, page] of Object.entries(people)) {
    await eventually(() => page.evaluate(() => globalThis.rtcam.state), (state) => state === 'live', 'live again', BACK_WITHIN_MS);
    tell(`after the restart: ${name} live ${Date.now() - started} ms`);
  }
}

test('the server is killed and started again: nobody logs in again, seats and control are as before', { timeout: 240_000 }, async () => {
  const people = { ann, bob, carl };
  const pages = Object.values(people);
  const [seats, born] = [await Promise.all(pages.map(seatOf)), await Promise.all(pages.map(bornAt))];
  await liveAfter(people, await killAndStart(pages, WITH_LOGINS));
  assert.deepEqual(await Promise.all(pages.map(bornAt)), born, 'no reload and no login');
  assert.deepEqual(await Promise.all(pages.map(seatOf)), seats, 'seats, names, roles and control');
  await changeText(ann, 'after the restart', [bob, carl]);
});

test('without logins everybody comes back by name as well', { timeout: 240_000 }, async () => {
  for (const browser of Object.values(browsers)) await Promise.all(browser.contexts().map((context) => context.close()));
  await stop(rtcam);
  rtcam = await startRtcam('wire-board', OPEN);
  const people = { ann: await enter(browsers.home, URL, 'Ann'), bob: await enter(browsers.away, URL, 'Bob'), carl: await enter(browsers.away, URL, 'Carl') };
  const pages = Object.values(people);
  for (const page of pages) await untilSeated(page);
  await liveAfter(people, await killAndStart(pages, OPEN));
  for (const page of pages) {
    await eventually(() => page.evaluate(() => globalThis.rtcam.room.people.map(({ name }) => name).sort()), (names) => names.join() === 'Ann,Bob,Carl', 'all by name');
  }
});
