// The controls' panel with what webcams rarely have, and with what people's hands do: controls of 64 bits, fields that are
// emptied, a keyboard while the panel is drawn anew.

import assert from 'node:assert/strict';
import test from 'node:test';
import { DESCRIBE, FakeBoard, VALUES } from './fake_board.mjs';
import { launchChromium } from './harness.mjs';
import { enter, eventually, openPanel } from './people.mjs';

const [LEAST, MOST] = ['-9223372036854775808', '9223372036854775807'];
const TICKS = { key: 'control.ticks', name: 'Ticks', kind: 'integer', min: LEAST, max: MOST, step: 1, default: 0 };

/** Ann, a host, with the panel open. */
async function withControls(body) {
  const board = await new FakeBoard().start();
  const browser = await launchChromium();
  try {
    const ann = await enter(browser, board.url, 'Ann');
    await openPanel(ann, 'controls');
    await ann.waitForSelector('#set-control-brightness');
    await body(board, ann);
    assert.deepEqual(ann.faults, []);
  } finally {
    await browser.close();
    await board.stop();
  }
}

const lastSet = (board) => board.log.findLast(([, { type }]) => type === 'set')?.[1].values;
const focused = (page) => page.evaluate(() => document.activeElement.id);

function describeAnew(board, describe) {
  board.version++;
  board.toAll({ type: 'state', version: board.version, values: board.values, describe });
}

test('a control of 64 bits is shown to its last digit and set to its last digit', { timeout: 240_000 }, async () => {
  await withControls(async (board, ann) => {
    board.values = { ...VALUES, 'control.ticks': '9007199254740993' };
    describeAnew(board, [...DESCRIBE, TICKS]);
    await ann.waitForSelector('#set-control-ticks');
    assert.equal(await ann.inputValue('#set-control-ticks'), '9007199254740993');
    assert.equal(await ann.locator('[data-key="control.ticks"] input').count(), 1, 'no slider');
    for (const [typed, sent] of [[MOST, MOST], ['-5', -5], [' 9007199254740991 ', 9007199254740991]]) {
      await ann.fill('#set-control-ticks', typed);
      await ann.press('#set-control-ticks', 'Enter');
      await eventually(() => lastSet(board)?.['control.ticks'], (value) => value === sent, `${typed} on the wire`);
    }
    await ann.fill('#set-control-ticks', 'many');
    await ann.press('#set-control-ticks', 'Tab');
    await eventually(() => ann.inputValue('#set-control-ticks'), (text) => text === '9007199254740991', 'what is no number is not kept');
    await ann.click('[data-key="control.ticks"] .undo');
    await eventually(() => lastSet(board)?.['control.ticks'], (value) => value === 0, 'the default');
    assert.equal(await focused(ann), 'set-control-ticks', 'the focus stays where the button was');
  });
});

test('who uses the panel by keys stays where they are when controls come and go', { timeout: 240_000 }, async () => {
  await withControls(async (board, ann) => {
    await ann.focus('#set-control-white_balance_automatic');
    describeAnew(board, DESCRIBE.map((entry) => ({ ...entry, inactive: false })));
    await eventually(() => ann.isEnabled('#set-control-white_balance_temperature'), Boolean, 'drawn anew');
    assert.equal(await focused(ann), 'set-control-white_balance_automatic');

    // the same once more: what is being written stays
    await ann.fill('#set-layer-1-text', 'half a');
    describeAnew(board, DESCRIBE.map((entry) => ({ ...entry, inactive: false })));
    board.change({ 'control.contrast': 61 });
    await eventually(() => ann.inputValue('#set-control-contrast'), (value) => value === '61', 'a later change');
    assert.equal(await ann.inputValue('#set-layer-1-text'), 'half a');
  });
});

test('a field that was emptied to type a number stays empty while others change things', { timeout: 240_000 }, async () => {
  await withControls(async (board, ann) => {
    const number = '[data-key="control.brightness"] .number';
    await ann.fill(number, '');
    board.change({ 'control.contrast': 62 });
    await eventually(() => ann.inputValue('#set-control-contrast'), (value) => value === '62', 'a change by another');
    assert.equal(await ann.inputValue(number), '');
    await ann.keyboard.type('17');
    await ann.keyboard.press('Enter');
    await eventually(() => board.values['control.brightness'], (value) => value === 17, 'the number');
  });
});
