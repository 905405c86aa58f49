// The page is self-contained, obeys a strict content policy, and can be used by keyboard and by ear.

import assert from 'node:assert/strict';
import test from 'node:test';
import { FakeBoard } from './fake_board.mjs';
import { launchChromium, openViewer, tell, untilState, withServer } from './harness.mjs';
import { enter, eventually, openPanel } from './people.mjs';

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

test('on a touch screen the tools stay in sight; in full screen, where they do not, a tap only brings them back', { timeout: 240_000 }, async () => {
  await withServer({}, async ({ server, browser }) => {
    const page = await openViewer(browser, server.url, { hasTouch: true });
    await untilState(page, 'live');
    const seen = (right) => page.waitForFunction((text) => {
      const opacity = ['.bar', '.tools'].reduce((all, name) => all * getComputedStyle(document.querySelector(name)).opacity, 1);
      return document.querySelector('#stage.idle') ? text === 'idle' && opacity > 0.5 : text === 'awake' && opacity === 1;
    }, right);
    const tap = async () => {
      const { x, y, width, height } = await page.locator('#stats').boundingBox();
      await page.touchscreen.tap(x + width / 2, y + height / 2);
    };
    await seen('idle');
    await tap();
    assert.ok(await page.isVisible('#panel'), 'what is seen acts');
    await page.keyboard.press('s');
    await page.evaluate(() => document.activeElement.blur());
    await page.touchscreen.tap(400, 200);

    await page.keyboard.press('f');
    await page.waitForFunction(() => document.fullscreenElement && getComputedStyle(document.querySelector('.bar')).opacity === '0');
    await tap();
    assert.ok(!(await page.isVisible('#panel')), 'nothing was to be seen there');
    await seen('awake');
    await tap();
    assert.ok(await page.isVisible('#panel'));
  });
});

test('letters act only for those who want it, and a call can be answered however many ask for control', { timeout: 240_000 }, async () => {
  const board = await new FakeBoard().start();
  const browser = await launchChromium();
  try {
    const page = await enter(browser, board.url, 'Ann');
    await page.keyboard.press('o');
    await page.click('#keys-use');
    await page.keyboard.press('Escape');
    await page.focus('#stats');
    await page.keyboard.press('c');
    assert.ok(!(await page.isVisible('#chat')));
    await page.reload();
    await page.waitForFunction(() => globalThis.rtcam?.room?.present);
    await page.focus('#stats');
    await page.keyboard.press('c');
    assert.ok(!(await page.isVisible('#chat')), 'also after a reload');

    const crowd = [50, 51, 52, 53, 54];
    for (const id of crowd) board.toAll({ type: 'peers', joined: { id, name: `P${id}`, role: 'viewer' } });
    board.toAll({ type: 'call', from: 50, name: 'P50' });
    for (const [i] of crowd.entries()) board.toAll({ type: 'control', holder: null, asking: crowd.slice(0, i + 1) });
    await eventually(() => page.textContent('#notices'), (text) => text.includes('P54 asks'), 'the last one');
    assert.match(await page.textContent('#notices'), /P50 is calling you/);
    assert.equal(await page.locator('.notice').count(), 4);
    assert.deepEqual(page.faults, []);
  } finally {
    await browser.close();
    await board.stop();
  }
});

test('a link is copied also where the browser gives the page no clipboard, and text dropped on a call is not sent unasked', { timeout: 240_000 }, async () => {
  const board = await new FakeBoard().start();
  const browser = await launchChromium();
  try {
    const page = await enter(browser, board.url, 'Ann');
    await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }));
    await page.keyboard.press('u');
    await page.click('#fold-links > summary');
    await page.click('#link-make');
    await page.click('.made .icon-button');
    await eventually(() => page.textContent('.made'), (text) => text.includes('Copied'), 'the word');
    const url = await page.inputValue('.made input');
    await openPanel(page, 'chat');
    await page.focus('#chat-text');
    await page.keyboard.press('Control+V');
    assert.equal(await page.inputValue('#chat-text'), url);

    const bob = await enter(browser, board.url, 'Bob');
    await openPanel(page, 'people');
    await page.click('#call-2');
    await bob.click('#notices >> text=Answer');
    await eventually(() => page.textContent('.call-state'), (text) => text === 'Connected with Bob', 'the call', 15000);
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.setData('text/plain', 'x'.repeat(500000));
      document.querySelector('.call-body').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    });
    assert.equal((await page.inputValue('#call-text')).length, 500000);
    assert.equal(await page.locator('#call-log .line').count(), 0);
    assert.ok(await page.isDisabled('#call .composer .icon-button:last-child'), 'too long to send');
    assert.deepEqual([...page.faults, ...bob.faults], []);
  } finally {
    await browser.close();
    await board.stop();
  }
});
