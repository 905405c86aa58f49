// A WHEP player that knows nothing of rtcam gets the picture, and its DELETE ends it.

import assert from 'node:assert/strict';
import test from 'node:test';
import { sleep, tell, withServer } from './harness.mjs';

const PLAYER = `<!doctype html><meta charset=utf-8><video muted autoplay playsinline></video><script type=module>
const pc = new RTCPeerConnection();
pc.addTransceiver('video', { direction: 'recvonly' });
pc.ontrack = (event) => { document.querySelector('video').srcObject = new MediaStream([event.track]); };
await pc.setLocalDescription();
await new Promise((resolve) => { pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve(); setTimeout(resolve, 1000); });
const reply = await fetch('/whep', { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp });
globalThis.reply = { status: reply.status, location: reply.headers.get('Location'), type: reply.headers.get('Content-Type') };
await pc.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
globalThis.decoded = async () => [...(await pc.getStats()).values()].find((stat) => stat.type === 'inbound-rtp')?.framesDecoded ?? 0;
</script>`;

test('a bare WHEP player gets frames and leaves with DELETE', { timeout: 240_000 }, async () => {
  await withServer({}, async ({ server, browser }) => {
    const page = await browser.newPage();
    const url = `${server.url}whep-player.html`;
    await page.route(url, (route) => route.fulfill({ contentType: 'text/html', body: PLAYER }));
    await page.goto(url);
    const decoded = () => page.evaluate(() => globalThis.decoded?.() ?? 0);
    for (let tried = 0; (await decoded()) < 30; tried++) {
      assert.ok(tried < 180, 'fewer than 30 frames in 45 s');
      await sleep(250);
    }
    const reply = await page.evaluate(() => globalThis.reply);
    assert.equal(reply.status, 201);
    assert.match(reply.type, /^application\/sdp/);
    let fps = 0;
    // a busy machine may spoil a try
    for (let tried = 0; tried < 5 && fps <= 20; tried++) {
      const before = await decoded();
      await sleep(2000);
      fps = ((await decoded()) - before) / 2;
    }
    tell(`201, ${reply.location}, ${fps.toFixed(1)} fps`);
    assert.ok(fps > 20, `${fps} fps`);

    const gone = await fetch(new URL(reply.location, server.url), { method: 'DELETE' });
    assert.ok(gone.ok, `DELETE: ${gone.status}`);
    // what is on its way may still be shown
    let more = 1;
    for (let tried = 0; more > 0; tried++) {
      assert.ok(tried < 5, 'frames go on after DELETE');
      const before = await decoded();
      await sleep(1000);
      more = (await decoded()) - before;
    }
  });
});
