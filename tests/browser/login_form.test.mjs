// The login form: light or dark as the system says, like the page behind it, readable in both, and the way in.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { keepPicture, openViewer, tell, untilState, withServer } from './harness.mjs';

const PASSWORD = 'open sesame 芝麻';

/** Of two colours as `getComputedStyle` writes them: 1 to 21, WCAG 2. */
function contrast(...colours) {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [most, least] = colours.map(light).sort((a, b) => b - a);
  return (most + 0.05) / (least + 0.05);
}

/** Ground of the page, and text on ground for all that is read. */
function colours(page) {
  return page.evaluate(() => {
    const of = (name, part) => getComputedStyle(document.querySelector(name))[part];
    const ground = of('body', 'backgroundColor');
    return { ground, texts: { words: [of('label', 'color'), ground], field: [of('input', 'color'), of('input', 'backgroundColor')],
      button: [of('button', 'color'), of('button', 'backgroundColor')], message: [of('p', 'color'), ground] } };
  });
}

test('the login form follows light and dark, is readable in both, and lets people in', { timeout: 240_000 }, async () => {
  const hash = /"(.+)"/.exec(execFileSync(process.env.RTCAM_BIN, ['password'], { input: `${PASSWORD}\n` }).toString())[1];
  await withServer({ settings: [`auth.password_hash=${hash}`] }, async ({ server, browser }) => {
    for (const colorScheme of ['light', 'dark']) {
      const form = await openViewer(browser, server.url, { colorScheme, locale: colorScheme === 'light' ? 'zh-CN' : 'en-US' });
      await form.waitForSelector('#password');
      const { ground, texts } = await colours(form);
      const figures = Object.entries(texts).map(([name, pair]) => [name, contrast(...pair)]);
      tell(`${colorScheme}: ground ${ground}, contrasts ${figures.map(([name, figure]) => `${name} ${figure.toFixed(1)}`).join(', ')}`);
      for (const [name, figure] of figures) assert.ok(figure >= 4.5, `${colorScheme} ${name}: ${figure}`);
      await keepPicture(form, `login-${colorScheme}.png`);
      await form.fill('#password', PASSWORD);
      await form.press('#password', 'Enter');
      await untilState(form, 'live');
      assert.equal(await form.evaluate(() => getComputedStyle(document.body).backgroundColor), ground, 'the page has the same ground');
      assert.deepEqual(form.faults.filter((fault) => !/ 401 /.test(fault)), []);
      await form.context().close();
    }
  });
});
