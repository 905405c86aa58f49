// One viewer too many is told so in words, and gets in by itself once a place is free.

import assert from 'node:assert/strict';
import test from 'node:test';
import { openViewer, tell, untilState, withServer, wordsOf } from './harness.mjs';
import { eventually } from './people.mjs';

test('a full server is said in words and a freed place is taken', { timeout: 240_000 }, async () => {
  await withServer({ settings: ['webrtc.max_viewers=1'] }, async ({ server, browser }) => {
    const first = await openViewer(browser, server.url);
    await untilState(first, 'live');
    const second = await openViewer(browser, server.url, { locale: 'zh-CN' });
    await untilState(second, 'full');
    assert.equal(await wordsOf(second), '观看人数已满');
    await eventually(() => second.textContent('#card-detail'), (text) => /\d 秒后自动重试/.test(text), 'when it tries again');
    assert.equal(await first.evaluate(() => globalThis.rtcam.state), 'live');

    await first.context().close();
    const freed = Date.now();
    await untilState(second, 'live');
    tell(`the second viewer got in ${Date.now() - freed} ms after the first had left`);
  });
});
