// The room's part of the page against a fake board: people, chat, controls, host tools, calls with files between two
// tabs, languages, looks, phone and keyboard. No camera and no server is needed.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { FakeBoard, withBoard } from './fake_board.mjs';
import { keepPicture, launchWithProfile, openViewer, sleep, tell, temporaryFolder } from './harness.mjs';
import { chatLines, enter, eventually, openPanel, peopleShown, say } from './people.mjs';

const PHONE = { width: 360, height: 740 };

function noFaults(...pages) {
  for (const page of pages) assert.deepEqual(page.faults.filter((fault) => !/WebSocket/.test(fault)), []);
}

const hasText = (page, text) => eventually(() => page.textContent('body'), (all) => all.includes(text), `no "${text}"`);

test('people come and go, and ask for, get, hand over and lose control', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    const bob = await enter(browser, board.url, 'Bob');
    const other = await enter(browser, board.url, 'Bob');
    await openPanel(ann, 'people');
    await eventually(() => peopleShown(ann), (rows) => rows.length === 3, 'three people');
    assert.deepEqual((await peopleShown(ann)).map(([name, role]) => `${name}: ${role}`), ['Ann: Host', 'Bob: Viewer', 'Bob 2: Viewer']);

    await openPanel(bob, 'people');
    await bob.click('#control-request');
    await eventually(() => ann.textContent('#notices'), (text) => text.includes('Bob asks for control'), 'the request');
    await ann.click('#notices .primary');
    await eventually(() => bob.textContent('#people .steering'), (text) => text.includes('You are in control'), 'control');
    await ann.click('#more-3');
    await ann.click('#give-3');
    await eventually(() => bob.textContent('#people .steering'), (text) => text.includes('Bob 2 is in control'), 'handing over');
    await openPanel(other, 'people');
    await other.click('#control-release');
    await eventually(() => ann.textContent('#people .steering'), (text) => text.includes('Nobody'), 'release');

    await ann.selectOption('#role-3', 'operator');
    await eventually(() => peopleShown(bob), (rows) => rows.some(([name, role]) => name === 'Bob 2' && role === 'Operator'), 'the new role');
    await ann.click('#kick-3');
    assert.equal(await ann.textContent('#kick-3'), 'Really remove?');
    await ann.click('#kick-3');
    await eventually(() => other.textContent('#card-detail'), (text) => text === 'A host removed you from the room.', 'the farewell');
    await eventually(() => peopleShown(bob), (rows) => rows.length === 2, 'two left');
    for (const id of ['people', 'chat', 'controls']) assert.ok(!(await other.isVisible(`#${id}-button`)) && !(await other.isVisible(`#${id}`)), id);
    await keepPicture(other, 'room-removed.png');
    noFaults(ann, bob);
  });
});

test('chat: markup stays text, characters of four bytes survive, hosts can mute, lost lines are said again', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    const bob = await enter(browser, board.url, '<b>Bob</b>');
    const hostile = '<script>globalThis.hurt = 1</script><img src=x onerror="globalThis.hurt = 1">';
    await bob.keyboard.press('c');
    assert.equal(await bob.evaluate(() => document.activeElement.id), 'chat-text');
    await say(bob, hostile);
    await say(bob, '👩‍🚀 😀 𠜎');
    await eventually(() => ann.textContent('#chat-button .badge'), (text) => text === '2', 'unread lines');
    assert.match(await ann.textContent('#news'), /😀/);
    await openPanel(ann, 'chat');
    assert.deepEqual(await chatLines(ann), [hostile, '👩‍🚀 😀 𠜎']);
    assert.equal(await ann.textContent('#chat-log .line-name'), '<b>Bob</b>');
    for (const page of [ann, bob]) {
      assert.equal(await page.evaluate(() => globalThis.hurt), undefined);
      assert.equal(await page.locator('#chat-log img, #chat-log script, #chat-log b').count(), 0);
    }
    await bob.fill('#chat-text', '😀'.repeat(501));
    assert.ok(await bob.isDisabled('#chat .composer .icon-button'), 'too long to send');
    await bob.fill('#chat-text', '');

    await openPanel(ann, 'people');
    await ann.click('#room-muted');
    await eventually(() => bob.isDisabled('#chat-text'), Boolean, 'muted');
    await ann.click('#room-muted');
    await eventually(() => bob.isEnabled('#chat-text'), Boolean, 'no longer muted');

    // typing a letter that is a shortcut elsewhere must not leave the field
    await bob.focus('#chat-text');
    await bob.keyboard.type('facts');
    assert.equal(await bob.inputValue('#chat-text'), 'facts');
    assert.ok(await bob.isVisible('#chat'));
    noFaults(ann, bob);
  });
});

test('controls and overlay: ranges, read-only and inactive, reset; a change by one is seen by all', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    const bob = await enter(browser, board.url, 'Bob');
    for (const page of [ann, bob]) await openPanel(page, 'controls');
    const read = (page, id) => page.inputValue(`#set-${id}`);
    assert.deepEqual(await ann.$eval('#set-control-brightness', (slider) => [slider.min, slider.max, slider.step]), ['-64', '64', '1']);
    assert.ok(await ann.isDisabled('#set-control-white_balance_temperature'), 'inactive');
    assert.ok(await ann.isDisabled('#set-control-lens_position'), 'read-only');
    assert.ok(await bob.isDisabled('#set-control-brightness'), 'Bob has no control');
    assert.match(await bob.textContent('#controls .steering'), /You need control/);

    const seen = [];
    for (const value of ['20', '-30', '64']) {
      const asked = Date.now();
      await ann.$eval('#set-control-brightness', (slider, to) => {
        slider.value = to;
        slider.dispatchEvent(new Event('input', { bubbles: true }));
      }, value);
      await bob.waitForFunction((to) => document.querySelector('#set-control-brightness').value === to, value, { polling: 5 });
      seen.push(Date.now() - asked);
    }
    tell(`a change is seen on the other page after ${seen.join(', ')} ms, the test's own questions included`);

    await ann.selectOption('#set-control-power_line_frequency', '2');
    await ann.click('#set-control-white_balance_automatic');
    await ann.selectOption('#set-layer-0-corner', 'bottom-right');
    await ann.fill('#set-layer-1-text', 'front 🚪 <i>door</i>');
    await ann.press('#set-layer-1-text', 'Enter');
    await eventually(() => read(bob, 'layer-1-text'), (text) => text === 'front 🚪 <i>door</i>', 'the text');
    await eventually(() => read(bob, 'layer-0-corner'), (corner) => corner === 'bottom-right', 'the corner');
    await eventually(() => read(bob, 'control-power_line_frequency'), (value) => value === '2', 'the menu');
    await eventually(() => bob.isChecked('#set-control-white_balance_automatic'), (on) => !on, 'the switch');

    // the driver moves a value by itself
    board.change({ 'control.contrast': 77 });
    for (const page of [ann, bob]) await eventually(() => read(page, 'control-contrast'), (value) => value === '77', 'the driver\'s own change');
    await ann.click('[data-key="control.contrast"] .undo');
    await eventually(() => read(bob, 'control-contrast'), (value) => value === '50', 'back to default');
    await ann.click('.presets >> text=night');
    await eventually(() => read(bob, 'control-brightness'), (value) => value === '40', 'the preset');
    await ann.click('#set-reset');
    await eventually(() => read(bob, 'control-brightness'), (value) => value === '0', 'the reset');

    // dragging: few messages, the last value wins
    const before = board.log.filter(([, { type }]) => type === 'set').length;
    const box = await ann.locator('#set-control-brightness').boundingBox();
    await ann.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await ann.mouse.down();
    const began = Date.now();
    for (let i = 1; i <= 60; i++) {
      await ann.mouse.move(box.x + box.width / 2 + i, box.y + box.height / 2);
      await sleep(8);
    }
    await ann.mouse.up();
    const last = await read(ann, 'control-brightness');
    await eventually(() => read(bob, 'control-brightness'), (value) => value === last, 'the end of the drag');
    const messages = board.log.filter(([, { type }]) => type === 'set').length - before;
    tell(`60 steps of a slider became ${messages} messages in ${Date.now() - began} ms`);
    assert.ok(messages <= 3 + (Date.now() - began) / 80, `${messages}`);
    noFaults(ann, bob);
  });
});

test('a stale change is refused, told, and the true value shown', { timeout: 240_000 }, async () => {
  await withBoard({ roleOf: () => 'host' }, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    await openPanel(ann, 'controls');
    board.lastBy['control.brightness'] = { version: 99, by: 42 };
    board.values['control.brightness'] = 33;
    await ann.fill('[data-key="control.brightness"] .number', '5');
    await ann.press('[data-key="control.brightness"] .number', 'Tab');
    await hasText(ann, 'Somebody else was faster');
    await eventually(() => ann.inputValue('#set-control-brightness'), (value) => value === '33', 'the true value');
  });
});

test('host tools: who is watching, links, closing the room; others see none of it', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    const bob = await enter(browser, board.url, 'Bob');
    await openPanel(ann, 'people');
    await openPanel(bob, 'people');
    assert.ok(!(await bob.isVisible('.host')));
    await ann.click('#fold-who-watches > summary');
    await eventually(() => ann.textContent('.watching'), (text) => text.includes('203.0.113.x') && text.includes('48 MB') && text.includes('1:02:05'), 'the table');
    await ann.click('#fold-links > summary');
    await ann.fill('#link-name', 'Carol');
    await ann.selectOption('#link-role', 'operator');
    await ann.click('#link-make');
    const url = await eventually(() => ann.inputValue('.made input').catch(() => ''), Boolean, 'the link');
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/\?link=token-L1$/);
    await eventually(() => ann.textContent('.links'), (text) => text.includes('Carol') && text.includes('Operator'), 'the list');
    await keepPicture(ann, 'room-host.png');
    await ann.click('.links .icon-button');
    await eventually(() => ann.textContent('.links'), (text) => text.includes('No links are valid'), 'the list without it');
    await ann.keyboard.press('Escape');
    await eventually(() => board.log.filter(([, { type }]) => type === 'watch').map(([, { on }]) => on), (watched) => watched.join() === 'true,false', 'the end of watching');
    await openPanel(ann, 'people');
    await ann.click('#room-closed');
    await hasText(bob, 'Nobody else is let in.');
    noFaults(ann, bob);
  });
});

async function connectedPair(browser, board, options = {}) {
  const ann = await enter(browser, board.url, 'Ann', options);
  const bob = await enter(browser, board.url, 'Bob', options);
  await openPanel(ann, 'people');
  await ann.click('#call-2');
  await bob.click('#notices >> text=Answer');
  for (const [page, name] of [[ann, 'Bob'], [bob, 'Ann']]) await eventually(() => page.textContent('.call-state'), (text) => text === `Connected with ${name}`, 'the call');
  await openPanel(bob, 'call');
  return { ann, bob };
}

test('a call goes from browser to browser: private lines, files, cancel, hang-up; the board relays words only', { timeout: 900_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const { ann, bob } = await connectedPair(browser, board);
    await say(ann, 'only you <b>read</b> this', '#call-text');
    await eventually(() => chatLines(bob, '#call-log'), (lines) => lines[0] === 'only you <b>read</b> this', 'the private line');

    const content = Buffer.from(Array.from({ length: 700001 }, (_, i) => (i * 7) % 256));
    await ann.setInputFiles('#call-files', [{ name: 'photo 😀.bin', mimeType: 'application/octet-stream', buffer: content }, { name: 'note.txt', mimeType: 'text/plain', buffer: Buffer.from('zwei Zeilen\nÄ 中') }]);
    for (const [name, expected] of [['photo 😀.bin', content], ['note.txt', Buffer.from('zwei Zeilen\nÄ 中')]]) {
      const row = bob.locator('.file', { hasText: name });
      const saved = bob.waitForEvent('download');
      await row.locator('.primary').click();
      const download = await saved;
      assert.equal(download.suggestedFilename(), name);
      assert.deepEqual(fs.readFileSync(await download.path()), expected, name);
      await eventually(() => row.textContent(), (text) => text.includes('saved'), 'saved');
      await eventually(() => ann.locator('.file', { hasText: name }).textContent(), (text) => text.includes('arrived'), 'arrived');
    }
    await bob.setInputFiles('#call-files', { name: 'unwanted', mimeType: '', buffer: Buffer.from('x') });
    await ann.locator('.file', { hasText: 'unwanted' }).locator('text=No').click();
    await eventually(() => bob.locator('.file', { hasText: 'unwanted' }).textContent(), (text) => text.includes('not wanted'), 'refused');
    await keepPicture(bob, 'room-call.png');

    const relayed = board.log.filter(([, { type }]) => type === 'relay');
    const bytes = relayed.reduce((sum, [, { body }]) => sum + body.length, 0);
    tell(`${relayed.length} messages of ${bytes} bytes in all over the board, none of the 700 kB`);
    assert.ok(bytes < 20000 && relayed.length < 20);
    assert.ok(!JSON.stringify(board.log).includes('only you'));

    await bob.click('#call-end');
    await eventually(() => ann.textContent('.call-state'), (text) => text === 'The call with Bob is over.', 'the end');
    noFaults(ann, bob);
  });
});

test('a call can be declined, and one who is busy is not disturbed', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    const bob = await enter(browser, board.url, 'Bob');
    await openPanel(ann, 'people');
    await ann.click('#call-2');
    assert.equal(await bob.getAttribute('#notices .notice:has(button)', 'role'), 'alert');
    await keepPicture(bob, 'room-called.png');
    await bob.click('#notices >> text=Decline');
    await hasText(ann, 'Bob does not want to talk now.');
    assert.ok(await ann.isEnabled('#call-2'));
    noFaults(ann, bob);
  });
});

/** Memory of the whole browser in MB: what its processes hold for themselves, as the kernel counts it. */
async function memoryMb(context) {
  const session = await context.browser().newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const kb = processInfo.map(({ id }) => {
    const status = fs.readFileSync(`/proc/${id}/status`, 'utf8');
    return Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0);
  });
  return kb.reduce((sum, one) => sum + one, 0) / 1024;
}

test('200 MB go through a call without being held in memory, and a cancel stops them at once', { timeout: 600_000 }, async () => {
  const folder = temporaryFolder();
  const board = await new FakeBoard().start();
  const context = await launchWithProfile(path.join(folder, 'profile'));
  try {
    const { ann, bob } = await connectedPair(null, board, { context });
    const big = path.join(folder, 'big.bin');
    fs.writeFileSync(big, '');
    fs.truncateSync(big, 200e6);
    const before = await memoryMb(context);
    let most = before;

    await ann.setInputFiles('#call-files', big);
    const row = bob.locator('.file', { hasText: 'big.bin' }).first();
    await row.locator('.primary').click();
    await eventually(() => row.textContent(), (text) => /[1-9]\d MB of 200 MB/.test(text), 'some progress');
    await row.locator('.icon-button').click();
    await eventually(() => ann.locator('.file').first().textContent(), (text) => text.includes('The other side cancelled'), 'the cancel');

    await ann.setInputFiles('#call-files', big);
    const again = bob.locator('.file', { hasText: 'big.bin' }).first();
    await eventually(() => again.textContent(), (text) => text.includes('Save'), 'the second offer');
    const saved = bob.waitForEvent('download', { timeout: 500_000 });
    const began = Date.now();
    await again.locator('.primary').click();
    let done = false;
    saved.then(() => { done = true; }, () => { done = true; });
    while (!done) {
      most = Math.max(most, await memoryMb(context));
      await sleep(200);
    }
    const file = await (await saved).path();
    const seconds = (Date.now() - began) / 1000;
    assert.equal(fs.statSync(file).size, 200e6);
    tell(`200 MB in ${seconds.toFixed(1)} s (${(200 / seconds).toFixed(0)} MB/s); the browser with both tabs grew by ${(most - before).toFixed(0)} MB at most`);
    assert.ok(most - before < 120, `${most - before} MB`);
    noFaults(ann, bob);
  } finally {
    await context.close();
    await board.stop();
  }
});

test('a page that comes back keeps its seat, over a lost socket and over a reload', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    const bob = await enter(browser, board.url, 'Bob');
    board.seatOf('Bob').role = 'operator';
    await openPanel(bob, 'chat');
    await say(bob, 'before');
    board.cut();
    await eventually(() => bob.evaluate(() => globalThis.rtcam.room.me.role), (role) => role === 'operator', 'the same seat');
    await bob.reload();
    await bob.waitForFunction(() => globalThis.rtcam?.room?.present);
    assert.deepEqual(await bob.evaluate(() => [globalThis.rtcam.room.me.id, globalThis.rtcam.room.me.name, globalThis.rtcam.room.me.role]), [2, 'Bob', 'operator']);
    await openPanel(bob, 'chat');
    assert.deepEqual(await chatLines(bob), ['before']);
    await openPanel(ann, 'people');
    assert.equal((await peopleShown(ann)).length, 2);
  });
});

test('a new name is taken at once and kept', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const ann = await enter(browser, board.url, 'Ann');
    const context = await browser.newContext();
    const guest = await context.newPage();
    await guest.goto(board.url);
    await guest.waitForFunction(() => globalThis.rtcam?.room?.present);
    await openPanel(guest, 'people');
    await guest.click('#name-edit');
    assert.equal(await guest.evaluate(() => document.activeElement.id), 'own-name');
    await guest.fill('#own-name', '  Zoë   😀 ');
    await guest.press('#own-name', 'Enter');
    await eventually(() => guest.evaluate(() => globalThis.rtcam?.room?.me?.name).catch(() => ''), (name) => name === 'Zoë 😀', 'the name');
    await openPanel(ann, 'people');
    await eventually(() => peopleShown(ann), (rows) => rows.length === 2 && rows[1][0] === 'Zoë 😀', 'the name on another page');
  });
});

test('a server without rooms: the picture\'s tools stay, the room\'s are not there', { timeout: 240_000 }, async () => {
  await withBoard({ room: false }, async (board, browser) => {
    const page = await openViewer(browser, board.url);
    await page.waitForSelector('#settings-button:not([hidden])');
    await sleep(300);
    for (const id of ['controls', 'people', 'chat', 'call']) assert.ok(!(await page.isVisible(`#${id}-button`)), id);
    await page.keyboard.press('c');
    assert.ok(!(await page.isVisible('#chat')));
    noFaults(page);
  });
});

test('light and dark, as the system says and as chosen; Chinese to the last word', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const page = await enter(browser, board.url, '李雷', { locale: 'zh-CN', colorScheme: 'light' });
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    await openPanel(page, 'settings');
    await page.selectOption('#theme', 'dark');
    assert.notEqual(await ground(), light);
    await page.reload();
    await page.waitForFunction(() => globalThis.rtcam?.room?.present, null, { polling: 50 });
    assert.notEqual(await ground(), light, 'the choice is kept');
    const english = [];
    for (const name of ['people', 'chat', 'controls', 'settings']) {
      await openPanel(page, name);
      const texts = await page.$$eval(`#${name} :is(h2, h3, button, label, .field-name, dt, dd, option, p), #${name} [aria-label]`, (all) => all.flatMap((one) => [one.childElementCount ? '' : one.textContent, one.getAttribute('aria-label') ?? '', one.title]));
      english.push(...texts.filter((text) => /[a-z]{4,}/.test(text)));
    }
    // the driver's own words, names of presets and the placeholders of a text layer stay as they are
    assert.deepEqual([...new Set(english)].filter((text) => !['night', 'Disabled', 'Lens Position', 'One-push focus', 'English', 'Lens Position：恢复默认'].includes(text)), []);
    assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
    await page.selectOption('#language', 'en').catch(() => {});
    await page.waitForFunction(() => document.documentElement.lang === 'en');
  });
});

test('on a phone of 360 pixels every panel is in view, nothing scrolls sideways, everything can be hit', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    await enter(browser, board.url, 'Ann');
    for (const locale of ['en-US', 'zh-CN']) {
      const page = await enter(browser, board.url, 'Bartholomew-Maximilian the Third', { locale, viewport: PHONE, hasTouch: true });
      for (const name of ['controls', 'people', 'chat', 'settings']) {
        await openPanel(page, name);
        await sleep(250);
        const box = await page.locator(`#${name}`).boundingBox();
        assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.width <= PHONE.width && box.y + box.height <= PHONE.height, `${locale} ${name} ${JSON.stringify(box)}`);
        const wide = await page.$$eval(`html, #${name}, #${name} .panel-body`, (all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => `${one.localName} ${one.className}: ${one.scrollWidth} > ${one.clientWidth}`));
        assert.deepEqual(wide, [], `${locale} ${name}`);
        const small = await page.$$eval(`#${name} :is(button, input, select, textarea), .tools button`, (all) => all.filter((one) => one.offsetParent && !one.matches('.unseen, .switch, .number')).map((one) => [one.id || one.className, one.offsetWidth, one.offsetHeight]).filter(([, width, height]) => width < 40 || height < 40));
        assert.deepEqual(small, [], `${locale} ${name}`);
        await keepPicture(page, `room-phone-${name}-${locale}.png`);
      }
      await page.context().close();
    }
  });
});

test('keyboard: every panel opens by its key, closes by Escape, and gives the focus back', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const page = await enter(browser, board.url, 'Ann');
    for (const [key, name] of [['a', 'controls'], ['u', 'people'], ['c', 'chat'], ['o', 'settings']]) {
      await page.focus(`#${name}-button`);
      await page.keyboard.press('Enter');
      assert.ok(await page.isVisible(`#${name}`), name);
      assert.ok(await page.evaluate((id) => document.getElementById(id).contains(document.activeElement), name), `${name} has the focus`);
      assert.equal(await page.getAttribute(`#${name}-button`, 'aria-expanded'), 'true');
      await page.keyboard.press('Escape');
      assert.ok(!(await page.isVisible(`#${name}`)), name);
      assert.ok(await page.$eval(`#${name}`, (panel) => panel.inert), `${name} is inert`);
      assert.equal(await page.evaluate(() => document.activeElement.id), `${name}-button`);
      await page.keyboard.press(key);
      assert.ok(await page.isVisible(`#${name}`), `key ${key}`);
      await page.keyboard.press('Escape');
    }
    const nameless = [];
    for (const name of ['controls', 'people', 'settings']) {
      await openPanel(page, name);
      nameless.push(...await page.$$eval(`#${name} :is(button, input, select, textarea)`, (all) => all.filter((one) => !(one.getAttribute('aria-label') || one.labels?.length || one.textContent.trim())).map((one) => one.outerHTML)));
      const stops = await page.$$eval(`#${name} :is(button, input, select, summary)`, (all) => all.filter((one) => one.offsetParent && !one.disabled && one.tabIndex < 0 && !one.matches('.unseen')).map((one) => one.outerHTML));
      assert.deepEqual(stops, [], 'out of reach');
    }
    assert.deepEqual(nameless, []);
    // a slider by keys alone
    await openPanel(page, 'controls');
    await page.focus('#set-control-brightness');
    for (let i = 0; i < 5; i++) await page.keyboard.press('ArrowRight');
    await eventually(() => board.values['control.brightness'], (value) => value === 5, 'the slider');
    noFaults(page);
  });
});

test('no path: the page says what was tried and what to open', { timeout: 240_000 }, async () => {
  const refuseOffer = { code: 'connect-timeout', message: 'no path', retry_after_s: 600, tried: { ours: ['host udp 4'], theirs: [], checks_received: 0, nat: 'symmetric', udp_port: 8189, advice: 'open-udp' } };
  await withBoard({ refuseOffer, refuseAfter_ms: 1000 }, async (board, browser) => {
    const page = await enter(browser, board.url, 'Ann');
    const text = await eventually(() => page.textContent('#card'), (all) => all.includes('let UDP port 8189'), 'the advice');
    assert.match(text, /The board offered: own address udp 4/);
    assert.match(text, /This browser offered: own address/);
    assert.match(text, /symmetric/);
    await keepPicture(page, 'room-no-path.png');
    noFaults(page);
  });
});

test('the first paint does not wait for the socket, nor for the room', { timeout: 240_000 }, async () => {
  await withBoard({}, async (board, browser) => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.routeWebSocket('**/ws', () => {});
    await page.route('**/room_page.js', () => {});
    await page.goto(board.url, { waitUntil: 'commit' });
    const paint = await eventually(() => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0), Boolean, 'the first paint');
    tell(`first contentful paint after ${paint.toFixed(0)} ms, with a socket that never answers`);
    await hasText(page, 'Connecting');
  });
});
