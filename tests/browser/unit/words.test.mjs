import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { WORDS, chooseLanguage, learn, say } from '../../../web/words.js';
import { ROOM_WORDS } from '../../../web/words_room.js';

const WEB = new URL('../../../web/', import.meta.url);

test('the panels\' texts say nothing twice and speak the same languages as the rest', () => {
  assert.deepEqual(Object.keys(ROOM_WORDS), Object.keys(WORDS));
  for (const key of Object.keys(ROOM_WORDS.en)) assert.ok(!Object.hasOwn(WORDS.en, key), key);
  learn(ROOM_WORDS);
});

test('every language has every text, none empty, with the same names to fill in', () => {
  const names = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
  for (const [language, table] of Object.entries(WORDS)) {
    assert.deepEqual(Object.keys(table), Object.keys(WORDS.en), language);
    for (const [key, text] of Object.entries(table)) {
      assert.ok(text.trim(), `${language} ${key}`);
      assert.deepEqual(names(text), names(WORDS.en[key]), `${language} ${key}`);
    }
  }
});

test('every text the page names exists', () => {
  const html = fs.readFileSync(new URL('index.html', WEB), 'utf8');
  const scripts = fs.readdirSync(WEB).filter((name) => name.endsWith('.js')).map((name) => fs.readFileSync(new URL(name, WEB), 'utf8'));
  const named = [
    ...[...html.matchAll(/data-(?:word|label)="([\w-]+)"/g)].map((match) => match[1]),
    ...scripts.flatMap((script) => [...script.matchAll(/words\('([\w-]+)'/g)].map((match) => match[1])),
  ];
  assert.ok(named.length > 100);
  for (const key of named) assert.ok(Object.hasOwn(WORDS.en, key), key);
});

test('every text made of a word and what the board says exists', () => {
  const families = {
    role: ['viewer', 'operator', 'host'],
    left: ['left', 'lost', 'kicked', 'revoked'],
    call: ['calling', 'ringing', 'connecting', 'talking'],
    call_over: ['hung-up', 'declined', 'no-answer', 'missed', 'left', 'gone', 'lost', 'failed', 'no-path'],
    file_why: ['link', 'disk', 'quota', 'size', 'read', 'too-many', 'no-disk'],
    error: ['refused', 'stale', 'bad-value', 'unknown-seat', 'muted', 'too-fast', 'too-long', 'not-agreed'],
    room: ['closed', 'opened', 'muted', 'unmuted'],
    corner: ['top-left', 'top-right', 'bottom-left', 'bottom-right'],
    layer: ['shown', 'corner', 'opacity', 'text'],
    theme: ['system', 'light', 'dark'],
    watch: ['path', 'round_trip', 'latency', 'bitrate', 'lost', 'frames', 'shown', 'data', 'since'],
    refused: ['not-ready', 'bad-offer', 'connect-timeout', 'lost', 'failed'],
    candidate: ['host', 'mdns', 'srflx', 'prflx', 'relay'],
  };
  for (const [family, members] of Object.entries(families)) for (const one of members) assert.ok(Object.hasOwn(WORDS.en, `${family}_${one}`), `${family}_${one}`);
});

test('the language comes from ?lang=, then from the browser, then it is English', () => {
  assert.equal(chooseLanguage(null, ['zh-CN', 'en']), 'zh');
  assert.equal(chooseLanguage(null, ['fr-FR', 'en-GB', 'zh']), 'en');
  assert.equal(chooseLanguage('en', ['zh-CN']), 'en');
  assert.equal(chooseLanguage('ZH_tw', ['en']), 'zh');
  assert.equal(chooseLanguage('constructor', ['toString']), 'en');
  assert.equal(chooseLanguage(null, undefined), 'en');
});

test('texts are filled in; an unknown key is shown rather than hidden', () => {
  assert.equal(say('en', 'reconnecting_in', { n: 3 }), 'Reconnecting in 3 s');
  assert.equal(say('zh', 'reconnecting_in', { n: 3 }), '3 秒后重新连接');
  assert.equal(say('en', 'no-such-key'), 'no-such-key');
});
