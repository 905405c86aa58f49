// A network that breaks off while the page loads or while somebody writes: nothing stays half, nothing written is lost.

import assert from 'node:assert/strict';
import test from 'node:test';
import { FakeBoard, withBoard } from './fake_board.mjs';
import { openPage, tell } from './harness.mjs';
import { chatLines, enter, eventually, openPanel, say } from './people.mjs';

/** A page of which the first request for each of `files` fails, under whatever address. */
async function openBroken(browser, url, files) {
  const context = await browser.newContext({ locale: 'zh-CN' });
  const failed = new Set();
  await context.route(({ pathname }) => files.includes(pathname.split('/').pop()), (route) => {
    const name = new URL(route.request().url()).pathname.split('/').pop();
    if (failed.has(name)) return route.continue();
    failed.add(name);
    return route.abort('connectionreset');
  });
  return openPage(context, url);
}

const isPresent = (page) => page.waitForFunction(() => globalThis.rtcam?.room?.present, null, { polling: 50 });

test('the room comes although its modules failed to load, one after the other', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const page = await openBroken(browser, board.url, ['room_page.js', 'call_panel.js', 'words_room.js']);
    await isPresent(page);
    await openPanel(page, 'chat');
    assert.equal(await page.textContent('#chat h2'), '聊天', 'the words are there');
    await say(page, '你好');
    await eventually(() => chatLines(page), (lines) => lines.join() === '你好', 'the line');
    const again = page.requested.filter((url) => url.endsWith('room_page.js')).map((url) => new URL(url).pathname);
    tell(`asked for ${again.join(', ')}`);
    assert.ok(again.length >= 2 && new Set(again).size === again.length, 'each time under another address');
    assert.deepEqual(page.faults.filter((fault) => !/ERR_CONNECTION_RESET/.test(fault)), []);
  });
});

test('a page whose picture failed to load asks for itself until it can be had, and then loads once more', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const page = await openBroken(browser, board.url, ['viewer.js']);
    let asked = 0;
    await page.route(board.url, (route) => (route.request().resourceType() === 'fetch' && ++asked === 1 ? route.abort('connectionreset') : route.continue()));
    await isPresent(page);
    assert.equal(asked, 2);
    assert.equal(page.requested.filter((url) => url === board.url).length, 2 + asked);
  });
});

test('what somebody writes while the connection is away stays, and a lost line can be sent later', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    await openPanel(ann, 'chat');
    const { port } = board;
    // it takes the line and never says it
    board.toAll = () => {};
    await say(ann, 'first');
    await ann.waitForSelector('.again');
    await ann.focus('#chat-text');
    await ann.keyboard.type('half a s');
    await board.stop();
    await eventually(() => ann.getAttribute('#chat-text', 'placeholder'), (text) => text === 'Waiting for the connection', 'the cut');
    await ann.keyboard.type('entence');
    await ann.keyboard.press('Enter');
    assert.equal(await ann.inputValue('#chat-text'), 'half a sentence');
    assert.ok(await ann.isDisabled('#chat .composer .icon-button'));
    await ann.click('.again');
    assert.deepEqual(await chatLines(ann), ['first'], 'asked again while away, the line is still there');
    assert.ok(await ann.evaluate(() => document.activeElement.id === 'chat-log'), 'the focus stays near');

    const back = await new FakeBoard({}).start(port);
    try {
      await eventually(() => ann.isEnabled('#chat .composer .icon-button'), Boolean, 'the board is back');
      await ann.click('.again');
      await eventually(() => back.log.some(([, { type, text }]) => type === 'chat' && text === 'first'), Boolean, 'the line');
      await ann.focus('#chat-text');
      await ann.keyboard.press('Enter');
      await eventually(() => chatLines(ann), (lines) => lines.join() === 'first,half a sentence', 'both lines');
    } finally {
      await back.stop();
    }
  });
});
