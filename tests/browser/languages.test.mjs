// Each viewer reads the page in the browser's language; ?lang= overrides it until somebody chooses another one.

import assert from 'node:assert/strict';
import test from 'node:test';
import { openViewer, tell, untilState, withServer, wordsOf } from './harness.mjs';

async function read(browser, url, locale) {
  const page = await openViewer(browser, url, { locale });
  await untilState(page, 'live');
  const seen = {
    words: await wordsOf(page),
    lang: await page.getAttribute('html', 'lang'),
    stats: await page.getAttribute('#stats', 'aria-label'),
    title: await page.title(),
  };
  await page.context().close();
  return seen;
}

test('English and Chinese browsers read the page in their language', { timeout: 240_000 }, async () => {
  await withServer({}, async ({ server, browser }) => {
    const english = await read(browser, server.url, 'en-US');
    const chinese = await read(browser, server.url, 'zh-CN');
    const asked = await read(browser, `${server.url}?lang=zh`, 'en-US');
    tell(`${english.words} / ${chinese.words}`);
    assert.deepEqual(english, { words: 'Live', lang: 'en', stats: 'Statistics', title: 'Live – rtcam' });
    assert.deepEqual(chinese, { words: '直播中', lang: 'zh-CN', stats: '统计信息', title: '直播中 – rtcam' });
    assert.deepEqual(asked, chinese);
  });
});

test('a language chosen in the settings counts also where the address names another one', { timeout: 240_000 }, async () => {
  await withServer({}, async ({ server, browser }) => {
    const page = await openViewer(browser, `${server.url}?lang=zh`);
    await page.click('#settings-button');
    await page.selectOption('#language', 'en');
    await page.waitForFunction(() => document.documentElement.lang === 'en');
    assert.equal(page.url(), server.url);
    await page.click('#settings-button');
    assert.equal(await page.inputValue('#language'), 'en');
  });
});
