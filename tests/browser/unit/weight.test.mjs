import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import zlib from 'node:zlib';

const WEB = new URL('../../../web/', import.meta.url);
const FILES = fs.readdirSync(WEB);

/** As build.rs packs them. */
function lean(name, text) {
  if (!/\.(js|css)$/.test(name)) return text;
  let inside = false;
  const kept = text.split('\n').map((line) => line.trim()).filter((line) => {
    const begins = line.startsWith('/*') && (line.endsWith('*/') || !line.includes('*/'));
    const comment = inside || begins || line.startsWith('//');
    if (inside || begins) inside = !line.endsWith('*/');
    return line && !comment;
  });
  return `${kept.join('\n')}\n`;
}

test('the whole page weighs at most 60 KB compressed, as it goes over the wire', () => {
  const weigh = (make) => FILES.reduce((sum, name) => sum + zlib.gzipSync(make(name, fs.readFileSync(new URL(name, WEB), 'utf8')), { level: 9 }).length, 0);
  const bytes = weigh(lean);
  console.log(`  measured: ${FILES.length} files, ${bytes} bytes compressed (${weigh((_, text) => text)} with comments and indentation)`);
  assert.ok(bytes <= 60 * 1024, `${bytes} bytes`);
});

test('lines may be looked at one by one: no text and no comment hides in the middle of them', () => {
  for (const name of FILES.filter((file) => file.endsWith('.js'))) {
    fs.readFileSync(new URL(name, WEB), 'utf8').split('\n').forEach((line, i) => {
      const where = `${name}:${i + 1}`;
      if (/^\s*(\/\/|\/?\*)/.test(line)) return;
      assert.equal((line.match(/`/g) ?? []).length % 2, 0, `${where}: a text over several lines`);
    });
  }
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
