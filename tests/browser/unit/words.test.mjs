import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { WORDS, chooseLanguage, say } from '../../../web/words.js';

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
  const web = new URL('../../../web/', import.meta.url);
  const html = fs.readFileSync(new URL('index.html', web), 'utf8');
  const script = fs.readFileSync(new URL('main.js', web), 'utf8');
  const named = [
    ...[...html.matchAll(/data-(?:word|label)="([\w-]+)"/g)].map((match) => match[1]),
    ...[...script.matchAll(/words\('([\w-]+)'/g)].map((match) => match[1]),
  ];
  assert.ok(named.length > 10);
  for (const key of named) assert.ok(Object.hasOwn(WORDS.en, key), key);
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
