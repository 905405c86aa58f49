import assert from 'node:assert/strict';
import test from 'node:test';
import { Memory, tidyName } from '../../../web/memory.js';
import { Room, tidyText } from '../../../web/room.js';

const ANN = { id: 1, name: 'Ann', role: 'host', watching: true, joined_s: 9 };
const BOB = { id: 2, name: 'Bob', role: 'viewer', watching: true, joined_s: 3 };
const OP = { id: 3, name: 'Olga', role: 'operator', watching: false, joined_s: 1 };

function room(me, more = {}) {
  const made = new Room();
  made.hear({ type: 'welcome', seat: { id: me.id, name: me.name, role: me.role }, resumed: false, room: { people: [ANN, BOB, OP], holder: null, asking: [], closed: false, muted: false, chat: [], ...more } });
  return made;
}

const whats = (events) => events.map((event) => event.what);

test('a welcome without a room leaves the room empty', () => {
  const made = new Room();
  assert.deepEqual(made.hear({ type: 'welcome', version: 1, camera: 'live' }), []);
  assert.ok(!made.present && !made.maySteer && !made.mayChat && !made.mayAsk);
});

test('I stand first; people come, change and go', () => {
  const made = room(BOB);
  assert.deepEqual(made.people.map(({ id }) => id), [2, 1, 3]);
  assert.deepEqual(whats(made.hear({ type: 'peers', joined: { ...BOB, id: 4, name: 'Carl' } })), ['joined']);
  assert.deepEqual(whats(made.hear({ type: 'peers', changed: { ...BOB, id: 4, name: 'Carla', role: 'operator' } })), ['role', 'renamed']);
  const [left] = made.hear({ type: 'peers', left: 4, reason: 'kicked' });
  assert.equal(left.person.name, 'Carla');
  assert.equal(left.reason, 'kicked');
  assert.deepEqual(made.hear({ type: 'peers', left: 99, reason: 'left' }), []);
  made.hear({ type: 'peers', changed: { ...BOB, role: 'host' } });
  assert.ok(made.isHost);
});

test('who may steer: hosts, the holder, operators while nobody holds', () => {
  const [ann, bob, olga] = [ANN, BOB, OP].map((me) => room(me));
  assert.deepEqual([ann.maySteer, bob.maySteer, olga.maySteer], [true, false, true]);
  for (const one of [ann, bob, olga]) one.hear({ type: 'control', holder: 2, asking: [] });
  assert.deepEqual([ann.maySteer, bob.maySteer, olga.maySteer], [true, true, false]);
  assert.deepEqual([ann.mayAsk, bob.mayAsk, olga.mayAsk], [false, false, true]);
});

test('asking and getting control are told once each', () => {
  const made = room(ANN);
  assert.deepEqual(whats(made.hear({ type: 'control', holder: null, asking: [2] })), ['asking']);
  assert.deepEqual(whats(made.hear({ type: 'control', holder: null, asking: [2, 3] })), ['asking']);
  const [holder] = made.hear({ type: 'control', holder: 2, asking: [3] });
  assert.equal(holder.what, 'holder');
  assert.equal(holder.person.name, 'Bob');
  const mine = room(BOB).hear({ type: 'control', holder: 2, asking: [] });
  assert.ok(mine[0].mine);
});

test('an own line stands until the board repeats it, is lost after four seconds, and can be taken back', () => {
  const made = room(BOB);
  assert.deepEqual(made.say('  hello \n', 0), { type: 'chat', text: 'hello' });
  assert.equal(made.chat[0].state, 'sent');
  assert.deepEqual(whats(made.hear({ type: 'chat', from: 2, name: 'Bob', text: 'hello', at_ms: 1000 })), ['chat']);
  assert.equal(made.chat.length, 1);
  assert.equal(made.chat[0].state, undefined);
  made.say('nobody hears', 100);
  assert.ok(!made.expire(4099));
  assert.ok(made.expire(4100));
  assert.equal(made.takeBack(made.chat[1].key), 'nobody hears');
  assert.equal(made.chat.length, 1);
});

test('an own line is the same line to a panel from the moment it is written, also after a welcome', () => {
  const made = room(BOB);
  made.say('hello', 0);
  const [{ key }] = made.chat;
  const line = { from: 2, name: 'Bob', text: 'hello', at_ms: 1000 };
  made.hear({ type: 'chat', ...line });
  assert.deepEqual(made.chat.map((one) => [one.key, one.at_ms, one.state]), [[key, 1000, undefined]]);
  made.hear({ type: 'welcome', seat: BOB, resumed: true, room: { people: [BOB], holder: null, asking: [], chat: [line] } });
  assert.deepEqual(made.chat.map((one) => one.key), [key]);
});

test('two equal lines in a row are two lines, and each own one is answered by one', () => {
  const made = room(BOB);
  made.say('ok', 0);
  made.say('ok', 1);
  made.hear({ type: 'chat', from: 2, name: 'Bob', text: 'ok', at_ms: 1 });
  assert.equal(made.chat.length, 2);
  made.hear({ type: 'chat', from: 2, name: 'Bob', text: 'ok', at_ms: 2 });
  assert.equal(made.chat.length, 2);
  assert.ok(made.chat.every((line) => !line.state));
});

test('a line that comes over both ways is one line; a later welcome keeps what the board has forgotten', () => {
  const made = room(BOB);
  for (let i = 0; i < 2; i++) made.hear({ type: 'chat', from: 1, name: 'Ann', text: 'one', at_ms: 10 });
  assert.equal(made.chat.length, 1);
  const chat = [{ from: 1, name: 'Ann', text: 'two', at_ms: 20 }, { from: 3, name: 'Olga', text: 'three', at_ms: 30 }];
  made.hear({ type: 'welcome', seat: BOB, resumed: true, room: { people: [BOB], holder: null, asking: [], chat } });
  assert.deepEqual(made.chat.map(({ text }) => text), ['one', 'two', 'three']);
});

test('the chat is bounded', () => {
  const made = room(BOB);
  for (let i = 0; i < 500; i++) made.hear({ type: 'chat', from: 1, name: 'Ann', text: `${i}`, at_ms: i });
  assert.equal(made.chat.length, 200);
  assert.equal(made.chat.at(-1).text, '499');
});

test('muted: only hosts chat', () => {
  const [ann, bob] = [room(ANN), room(BOB)];
  for (const one of [ann, bob]) assert.deepEqual(whats(one.hear({ type: 'room', closed: false, muted: true })), ['muted']);
  assert.equal(bob.say('psst', 0), null);
  assert.ok(ann.say('silence please', 0));
});

test('texts keep what people write, markup and characters of four bytes included, and lose control characters', () => {
  const hostile = '<script>alert(1)</script>"\'><img src=x onerror=alert(1)>&amp;';
  assert.equal(tidyText(hostile), hostile);
  assert.equal(tidyText('a\u0000b\u001b[31mc\u0085d'), 'ab[31mcd');
  assert.equal(tidyText('one\r\ntwo\rthree'), 'one\ntwo\nthree');
  const faces = '😀'.repeat(600);
  assert.equal([...tidyText(faces)].length, 500);
  assert.ok(tidyText(faces).endsWith('😀'));
  assert.equal(tidyText('👩‍🚀'), '👩‍🚀');
});

test('names: one line, at most 32 whole characters, nothing that turns text around', () => {
  assert.equal(tidyName('  Ann \n Smith\t'), 'Ann Smith');
  assert.equal([...tidyName('😀'.repeat(40))].length, 32);
  assert.equal(tidyName('a\u202egnp.exe'), 'a gnp.exe');
});

test('the page forgets quietly where the browser refuses a store', () => {
  const refusing = new Memory(() => { throw new Error('no'); }, () => { throw new Error('no'); });
  refusing.name = 'Ann';
  assert.equal(refusing.name, '');
  const kept = new Map();
  const store = () => ({ getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) });
  const memory = new Memory(store, store);
  memory.name = ' Ann ';
  memory.theme = 'light';
  memory.resume = 'ticket';
  assert.deepEqual([memory.name, memory.theme, memory.resume], ['Ann', 'light', 'ticket']);
  memory.resume = '';
  assert.ok(!kept.has('rtcam-resume'));
  kept.set('rtcam-theme', 'purple');
  assert.equal(memory.theme, '');
});
