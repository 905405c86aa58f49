// The small pure parts: reports, the clock's bytes, why no path works, figures as people read them.

import assert from 'node:assert/strict';
import test from 'node:test';
import { clockAnswer, clockQuestion } from '../../../web/clock_wire.js';
import { isEnter } from '../../../web/dom.js';
import { bytesText, duration } from '../../../web/host_panel.js';
import { explainNoPath } from '../../../web/no_path.js';
import { report } from '../../../web/report.js';
import { clamp, controlWords, groupsOf, wholeOf } from '../../../web/state_panel.js';
import { WORDS, learn, say } from '../../../web/words.js';
import { ROOM_WORDS } from '../../../web/words_room.js';

learn(ROOM_WORDS);
const english = (key, values) => say('en', key, values);

test('the clock\'s question is 9 bytes, its answer 17, and nothing else is taken for one', () => {
  const question = new DataView(clockQuestion(1234.5));
  assert.equal(question.byteLength, 9);
  assert.equal(question.getUint8(0), 1);
  assert.equal(question.getFloat64(1, true), 1234.5);
  const answer = new DataView(new ArrayBuffer(17));
  answer.setUint8(0, 1);
  answer.setFloat64(1, 1234.5, true);
  answer.setBigUint64(9, 987654321012n, true);
  assert.deepEqual(clockAnswer(answer.buffer), { t0: 1234.5, server_us: 987654321012 });
  answer.setUint8(0, 2);
  for (const other of [answer.buffer, new ArrayBuffer(16), new ArrayBuffer(0), 'text', null]) assert.equal(clockAnswer(other), null);
});

test('a report carries what is known and nothing else', () => {
  assert.equal(report(null, null), null);
  const figures = { fps: 29.97312, freezes: 2, roundTripMs: null, packetsLost: 0, width: 640, height: 480 };
  assert.deepEqual(report(figures, { total: 83.4567 }), { type: 'report', fps: 30, freezes: 2, latency_ms: 83.5, lost: 0, width: 640, height: 480 });
});

test('no path: what was tried, the NAT and the advice are said in words, the advice last', () => {
  const lines = explainNoPath({ ours: ['host udp 4', 'srflx udp 4'], theirs: [], checks_received: 0, nat: 'symmetric', udp_port: 8189, advice: 'add-turn' }, ['mdns'], english);
  assert.match(lines[0], /own address udp 4, public address \(STUN\) udp 4/);
  assert.match(lines[1], /own address, hidden/);
  assert.ok(lines.includes(WORDS.en.path_no_checks) && lines.includes(WORDS.en.nat_symmetric) && lines.includes(WORDS.en.path_only_mdns));
  assert.equal(lines.at(-1), WORDS.en['advice_add-turn']);
  assert.match(explainNoPath({ checks_received: 12, advice: 'plug-it-in' }, ['host', 'srflx'], english).at(-1), /plug-it-in/);
  assert.match(explainNoPath({ udp_port: 8189, advice: 'open-udp' }, [], english).at(-1), /UDP port 8189/);
  assert.deepEqual(explainNoPath(undefined, ['host'], english), []);
  for (const odd of [{}, { ours: 7, theirs: null, nat: 3 }, { ours: [null, {}] }]) assert.ok(Array.isArray(explainNoPath(odd, undefined, english)));
});

test('bytes and times are written as people read them', () => {
  assert.deepEqual([0, 999, 1000, 1500, 48123456, 200e6, 3.2e9, 5e13].map(bytesText), ['0 B', '999 B', '1.0 kB', '1.5 kB', '48 MB', '200 MB', '3.2 GB', '50000 GB']);
  assert.deepEqual([0, 42, 3725, 90000].map(duration), ['0:00', '0:42', '1:02:05', '1 d 1 h']);
});

test('controls stand in groups: presets, camera, reset, then each layer', () => {
  const describe = ['layer.1.text', 'reset', 'control.gain', 'layer.0.shown', 'preset', 'control.hue', 'layer.1.shown', 'unheard.of'].map((key) => ({ key }));
  assert.deepEqual(groupsOf(describe).map(({ title, list }) => [title.key, title.n, list.map(({ key }) => key)]), [
    ['camera_controls', undefined, ['preset', 'control.gain', 'control.hue', 'reset']],
    ['layer', 2, ['layer.1.text', 'layer.1.shown']],
    ['layer', 1, ['layer.0.shown']],
  ]);
  assert.deepEqual(groupsOf([]), []);
});

test('well-known controls are translated, others keep the driver\'s words', () => {
  assert.equal(controlWords({ key: 'control.brightness', name: 'Brightness' }, (key) => say('zh', key)), '亮度');
  assert.equal(controlWords({ key: 'control.odd_thing', name: 'Odd Thing' }, english), 'Odd Thing');
  assert.equal(controlWords({ key: 'layer.3.opacity', name: 'logo' }, english), 'Opacity');
});

test('a typed value becomes the nearest one the driver knows', () => {
  assert.deepEqual([[9999, 0, 100, 1], [-5, 0, 100, 1], [47, 0, 100, 10], [99, 5, 100, 10], [3, 0, 0, 0]].map((args) => clamp(...args)), [100, 0, 50, 95, 0]);
});

test('typed digits stay exact: a number where numbers are, else the digits themselves', () => {
  assert.deepEqual(['0', ' -12 ', '007', '9007199254740991', '-9007199254740991'].map(wholeOf), [0, -12, 7, 9007199254740991, -9007199254740991]);
  assert.deepEqual(['9007199254740993', '-0009223372036854775808', '9223372036854775807'].map(wholeOf), ['9007199254740993', null, '9223372036854775807']);
  assert.equal(wholeOf('-9223372036854775808'), '-9223372036854775808');
  for (const none of ['', ' ', '1.5', '1e3', '0x10', '--1', '12345678901234567890', 'NaN']) assert.equal(wholeOf(none), null, none);
});

test('the Enter that ends a composition sends nothing, however a browser tells of it', () => {
  assert.ok(isEnter({ key: 'Enter', keyCode: 13, isComposing: false }));
  for (const other of [{ isComposing: true }, { keyCode: 229 }, { key: 'a' }]) assert.ok(!isEnter({ key: 'Enter', keyCode: 13, isComposing: false, ...other }));
});
