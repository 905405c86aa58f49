// No camera: viewers read why, in their language, and the labelled picture keeps flowing.

import assert from 'node:assert/strict';
import test from 'node:test';
import { keepPicture, measure, openViewer, tell, untilState, withServer, wordsOf } from './harness.mjs';

test('without its camera the page says so and pictures keep coming', { timeout: 240_000 }, async () => {
  await withServer({ source: 'v4l2', settings: ['camera.device=/dev/video99'] }, async ({ server, browser }) => {
    const english = await openViewer(browser, server.url);
    await untilState(english, 'away');
    const chinese = await openViewer(browser, server.url, { locale: 'zh-CN' });
    await untilState(chinese, 'away');
    assert.equal(await wordsOf(english), 'No camera: not plugged in');
    assert.equal(await wordsOf(chinese), '没有摄像头画面：未连接');
    let fps = 0;
    // a busy machine may spoil a try
    for (let tried = 0; tried < 5 && fps < 3; tried++) ({ fps } = await measure(english, 4));
    tell(`${await wordsOf(english)} / ${await wordsOf(chinese)}, ${fps.toFixed(1)} labelled pictures per second`);
    assert.ok(fps >= 3, `${fps} fps`);
    assert.ok(!(await english.isVisible('#card')), 'the card hides the labelled picture');
    await keepPicture(english, 'page-no-camera.png');
  });
});
