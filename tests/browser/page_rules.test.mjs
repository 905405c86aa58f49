// The page is self-contained, obeys a strict content policy, and can be used by keyboard and by ear.

import assert from 'node:assert/strict';
import test from 'node:test';
import { openViewer, tell, untilState, withServer } from './harness.mjs';
import { eventually } from './people.mjs';

test('the page needs nothing from outside and runs under a strict content policy', { timeout: 240_000 }, async () => {
  await withServer({}, async ({ server, browser }) => {
    const reply = await fetch(server.url);
    const policy = reply.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'self'/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.equal(reply.headers.get('x-content-type-options'), 'nosniff');

    const page = await openViewer(browser, server.url);
    await untilState(page, 'live');
    const outside = page.requested.filter((url) => !url.startsWith(server.url) && !url.startsWith(server.url.replace('http', 'ws')));
    tell(`${page.requested.length} requests, ${outside.length} to elsewhere`);
    assert.deepEqual(outside, []);
    assert.deepEqual(page.faults, []);
  });
});

test('every control has a name, answers keys, and states are announced', { timeout: 240_000 }, async () => {
  await withServer({}, async ({ server, browser }) => {
    const page = await openViewer(browser, server.url);
    await untilState(page, 'live');
    const nameless = await page.$$eval('button', (buttons) => buttons.filter((b) => !b.hidden && !(b.getAttribute('aria-label') || b.textContent.trim())).map((b) => b.id));
    assert.deepEqual(nameless, []);
    await eventually(() => page.textContent('#live'), (text) => text === 'Live', 'the announcement');

    const reached = [];
    await page.waitForSelector('#settings-button:not([hidden])');
    for (let i = 0; i < 9 && reached.at(-1) !== 'fullscreen'; i++) {
      await page.keyboard.press('Tab');
      reached.push(await page.evaluate(() => document.activeElement.id));
    }
    const everywhere = reached.filter((id) => !['controls-button', 'people-button', 'chat-button'].includes(id));
    assert.deepEqual(everywhere, ['snapshot', 'stats', 'settings-button', 'fullscreen']);
    await page.focus('#stats');
    await page.keyboard.press('Enter');
    assert.ok(await page.isVisible('#panel'));
    assert.equal(await page.getAttribute('#stats', 'aria-expanded'), 'true');
    await page.keyboard.press('Escape');
    assert.ok(!(await page.isVisible('#panel')));
    await page.keyboard.press('f');
    await page.waitForFunction(() => document.fullscreenElement?.id === 'stage');
    const saved = page.waitForEvent('download');
    await page.keyboard.press('p');
    const name = (await saved).suggestedFilename();
    tell(`keys S, F, P work; the saved picture is ${name}`);
    assert.match(name, /^rtcam-[\d-]+\.jpg$/);
  });
});

test('where the browser refuses to play unasked, a tap starts the picture', { timeout: 240_000 }, async () => {
  const refuseUntilClicked = () => {
    const play = HTMLMediaElement.prototype.play;
    let clicked = false;
    addEventListener('click', () => { clicked = true; }, { capture: true });
    HTMLMediaElement.prototype.play = function () {
      if (clicked) return play.call(this);
      this.autoplay = false;
      this.pause();
      return Promise.reject(new DOMException('not now', 'NotAllowedError'));
    };
  };
  await withServer({}, async ({ server, browser }) => {
    const page = await openViewer(browser, server.url, { init: refuseUntilClicked });
    await untilState(page, 'blocked');
    assert.equal(await page.textContent('#card-button'), 'Tap to play');
    await page.click('#card-button');
    await untilState(page, 'live');
    tell('blocked, then live after one tap');
  });
});
