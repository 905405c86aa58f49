// People of a room in browser tests: opens pages by name and reads what they show.

import { PATIENCE_MS, openPage, openViewer } from './harness.mjs';

/** Opens the page as `name`. The save dialogue cannot be driven: without it the page stores files on the browser's
 *  disk. `context`: another tab of that profile. */
export async function enter(browser, url, name, options = {}) {
  const init = `localStorage.setItem('rtcam-name', ${JSON.stringify(name)}); delete globalThis.showSaveFilePicker;`;
  const page = options.context ? await openPage(options.context, url, init) : await openViewer(browser, url, { ...options, init });
  await page.waitForFunction(() => globalThis.rtcam?.room?.present, null, { timeout: PATIENCE_MS, polling: 50 });
  return page;
}

/** By its button in the bar. */
export async function openPanel(page, name) {
  if (!(await page.isVisible(`#${name}`))) await page.click(`#${name}-button`);
  await page.waitForSelector(`#${name}:not([hidden])`);
}

export function chatLines(page, log = '#chat-log') {
  return page.$$eval(`${log} .line-text`, (lines) => lines.map((line) => line.textContent));
}

export function peopleShown(page) {
  return page.$$eval('.person', (rows) => rows.map((row) => [row.querySelector('bdi').textContent, row.querySelector('.person-words > .fine').textContent.trim()]));
}

export async function say(page, text, box = '#chat-text') {
  await page.fill(box, text);
  await page.press(box, 'Enter');
}

/** Waits until `read()` gives something for which `right` holds; says what was there instead. */
export async function eventually(read, right, what, within_ms = PATIENCE_MS) {
  const end = Date.now() + within_ms;
  let seen;
  do {
    seen = await read();
    if (right(seen)) return seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
  } while (Date.now() < end);
  throw new Error(`${what}: ${JSON.stringify(seen)}`);
}
