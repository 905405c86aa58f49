// On the narrowest phone nothing is cut off: no sideways scrolling, picture and bar in view.

import assert from 'node:assert/strict';
import test from 'node:test';
import { keepPicture, openViewer, sleep, tell, untilState, withServer } from './harness.mjs';
import { eventually } from './people.mjs';

const PHONE = { width: 360, height: 740 };

function inside(box, outer) {
  return box.x >= 0 && box.y >= 0 && box.x + box.width <= outer.width && box.y + box.height <= outer.height;
}

test('at 360 pixels the picture, the state and the tools are all in view', { timeout: 240_000 }, async () => {
  await withServer({}, async ({ server, browser }) => {
    for (const locale of ['zh-CN', 'en-US']) {
      const page = await openViewer(browser, server.url, { locale, viewport: PHONE });
      await untilState(page, 'live');
      // it needs answers about the board's clock
      await page.waitForSelector('#latency:not([hidden])');
      await sleep(1000);
      await page.mouse.move(100, 100);
      const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
      assert.equal(wide, PHONE.width, `${locale}: the page is ${wide} px wide`);
      const boxes = {};
      for (const part of ['video', '.status', '.tools', '#fullscreen', '#words', '#latency']) {
        boxes[part] = await page.locator(part).boundingBox();
        assert.ok(boxes[part] && inside(boxes[part], PHONE), `${locale}: ${part} at ${JSON.stringify(boxes[part])}`);
      }
      assert.ok(boxes['.status'].y + boxes['.status'].height <= boxes['.tools'].y, `${locale}: state and tools overlap`);
      const cut = await page.$$eval('#words, #latency', (texts) => texts.filter((t) => t.scrollWidth > t.clientWidth + 1).map((t) => t.id));
      assert.deepEqual(cut, [], `${locale}: cut off`);
      tell(`${locale}: picture ${boxes.video.width} px wide, state ${Math.round(boxes['.status'].width)} px, tools ${boxes['.tools'].width} px`);
      if (locale === 'zh-CN') await keepPicture(page, 'page-phone-zh.png');
      await page.keyboard.press('s');
      await eventually(() => page.locator('#panel').boundingBox(), (panel) => panel && inside(panel, PHONE), `${locale}: the panel`);
      assert.equal(await page.evaluate(() => document.scrollingElement.scrollWidth), PHONE.width);
      await page.context().close();
    }
  });
});
