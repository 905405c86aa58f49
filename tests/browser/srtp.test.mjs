// Packets are encrypted with what is cheapest on this machine, whatever the browser would rather have.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { openViewer, sleep, tell, untilState, withServer } from './harness.mjs';

function keepConnection() {
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = new Proxy(Native, {
    construct(Target, args) {
      globalThis.__connection = new Target(...args);
      return globalThis.__connection;
    },
  });
}

/** Of two costs as doctor shows them; null where they are too close to tell. */
function cheaper() {
  let text;
  try {
    text = execFileSync(process.env.RTCAM_BIN, ['doctor'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch (error) {
    text = error.stdout;
  }
  const [, cm, gcm] = text.match(/AES-CM ([\d.]+) us, AES-GCM ([\d.]+) us/).map(Number);
  tell(`AES-CM ${cm} us, AES-GCM ${gcm} us`);
  if (Math.max(cm, gcm) < 1.3 * Math.min(cm, gcm)) return null;
  return gcm < cm ? 'AEAD_AES_128_GCM' : 'AES_CM_128_HMAC_SHA1_80';
}

test('Chromium gets the profile that is cheapest here', { timeout: 240_000 }, async () => {
  const wanted = cheaper();
  await withServer({}, async ({ server, browser }) => {
    const page = await openViewer(browser, server.url, { init: keepConnection });
    await untilState(page, 'live');
    const cipher = await page.evaluate(async () => {
      const stats = [...(await globalThis.__connection.getStats()).values()];
      return stats.find((entry) => entry.type === 'transport').srtpCipher;
    });
    tell(`the browser says ${cipher}`);
    if (wanted) assert.equal(cipher, wanted);
    let told;
    for (let i = 0; i < 100 && !told; i++) {
      if (i > 0) await sleep(100);
      const status = await fetch(new URL('api/v1/status', server.url)).then((reply) => reply.json());
      told = status.viewers[0]?.srtp;
    }
    assert.equal(told, cipher, 'the status tells what is so');
    assert.deepEqual(page.faults, []);
  });
});
