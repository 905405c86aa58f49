// The page plays without a click, at the camera's rate, without a freeze, and says how old the picture is.

import assert from 'node:assert/strict';
import test from 'node:test';
import { assertMachineWasBusy, isSmooth, keepPicture, measure, openViewer, tell, untilState, withServer, wordsOf } from './harness.mjs';

/** Notes when the peer connection was made and when the first frame was there. */
function timeFirstFrame() {
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = new Proxy(Native, {
    construct(Target, args) {
      globalThis.__made ??= performance.now();
      return new Target(...args);
    },
  });
  document.addEventListener('DOMContentLoaded', () => {
    document.querySelector('video').requestVideoFrameCallback(() => { globalThis.__first = performance.now(); });
  });
}

/** Twenty seconds, the second half with the panel open. A machine busy with other things may spoil one or two of the
 *  tries; a stream that stutters by itself spoils all three. */
async function watchSmoothly(page) {
  for (let tried = 1; ; tried++) {
    const ten = await measure(page, 10);
    await page.keyboard.press('s');
    const more = await measure(page, 10);
    const freezes = ten.freezes + more.freezes;
    tell(`${ten.fps.toFixed(2)} frames decoded per second over 10 s, ${ten.dropped} dropped; ${freezes} freezes in 20 s; `
      + `page says ${more.latency?.toFixed(1)} ms glass to eye`);
    if (isSmooth({ fps: ten.fps, freezes }) && more.latency < 500) return more;
    if (tried === 3) {
      assertMachineWasBusy({ ...ten, freezes, held_ms: Math.max(ten.held_ms, more.held_ms) });
      return more;
    }
    await page.keyboard.press('s');
  }
}

test('the page plays by itself, smoothly, and shows its latency', { timeout: 400_000 }, async () => {
  await withServer({}, async ({ server, browser }) => {
    const page = await openViewer(browser, server.url, { init: timeFirstFrame });
    await untilState(page, 'live');
    const first = await page.evaluate(() => ({ connection: globalThis.__first - globalThis.__made, navigation: globalThis.__first }));
    tell(`first frame ${first.connection.toFixed(0)} ms after the peer connection, ${first.navigation.toFixed(0)} ms after navigation`);
    // a stream waits 10 s for its own next key picture
    assert.ok(first.connection < 8000, `the first frame took ${first.connection} ms`);
    assert.equal(await wordsOf(page), 'Live');

    const { latency } = await watchSmoothly(page);
    assert.ok(latency > 0 && latency < 5000, `latency ${latency}`);
    assert.match(await page.textContent('#latency'), /^\d+ ms glass to eye$/);
    assert.match(await page.textContent('#panel-list'), /640 × 480/);
    await keepPicture(page, 'page-stats.png');
    await page.keyboard.press('s');
    await keepPicture(page, 'page-desktop.png');
    assert.deepEqual(page.faults, []);
  });
});
