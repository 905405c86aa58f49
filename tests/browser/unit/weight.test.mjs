import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import zlib from 'node:zlib';

const WEB = new URL('../../../web/', import.meta.url);
const FILES = fs.readdirSync(WEB);

test('the whole page weighs at most 60 KB compressed', () => {
  const bytes = FILES.reduce((sum, name) => sum + zlib.gzipSync(fs.readFileSync(new URL(name, WEB)), { level: 9 }).length, 0);
  console.log(`  measured: ${FILES.length} files, ${bytes} bytes compressed`);
  assert.ok(bytes <= 60 * 1024, `${bytes} bytes`);
});

test('nothing is inline, nothing comes from outside, every file named exists', () => {
  const html = fs.readFileSync(new URL('index.html', WEB), 'utf8');
  assert.doesNotMatch(html, /<style|style=|\son\w+=|<script(?![^>]*src=)/);
  const named = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map((match) => match[1]);
  for (const name of FILES.filter((file) => file.endsWith('.js'))) {
    const script = fs.readFileSync(new URL(name, WEB), 'utf8');
    named.push(...[...script.matchAll(/(?:from |import\()'\.\/([^']+)'/g)].map((match) => match[1]));
    assert.doesNotMatch(script, /https?:\/\/|innerHTML|eval\(/, name);
  }
  for (const name of named) assert.ok(FILES.includes(name), name);
  for (const name of FILES) assert.ok(name === 'index.html' || named.includes(name), `${name} is not used`);
});
