// The viewer page of a guest in a Chromium of this machine.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keepPicture, launchChromium, measure, openViewer, sleep, untilState } from '../browser/harness.mjs';
import { password } from './rtcam.mjs';

export { keepPicture, measure };

const logo = readFileSync(join(new URL('.', import.meta.url).pathname, '../../assets/rtcam-logo.png')).toString('base64');
/** Emulation is slow: what a page does by itself within seconds gets this many milliseconds here. */
const LIVE_WITHIN_MS = 180_000;

/** Opens the page, logs in, and waits until it is live. `close` ends the browser. */
export async function watchPage(url) {
  const browser = await launchChromium();
  try {
    const page = await openViewer(browser, url);
    await logIn(page);
    await untilState(page, 'live', LIVE_WITHIN_MS);
    return { page, close: () => browser.close() };
  } catch (error) {
    await browser.close();
    throw error;
  }
}

async function logIn(page) {
  await page.fill('#password', password);
  await page.click('form button');
}

/** As `playsOn`. Logins end with the process that gave them: once the page has noticed, it asks for the password. */
export async function playsOnAfterRestart(page) {
  await playsOn(page, async () => {
    await page.waitForFunction(() => globalThis.rtcam?.state === 'live' || document.querySelector('#password'), null, { timeout: LIVE_WITHIN_MS });
    if (await page.$('#password')) await logIn(page);
  });
}

/** The page is live, or comes back to it by itself, and then shows new pictures. `first` comes before each look. */
export async function playsOn(page, first = async () => {}) {
  // between two pages there is none
  const frames = async () => (await page.evaluate(() => globalThis.rtcam?.stats()).catch(() => null))?.framesDecoded ?? 0;
  const end = Date.now() + LIVE_WITHIN_MS;
  for (;;) {
    await first();
    await untilState(page, 'live', LIVE_WITHIN_MS);
    const before = await frames();
    await sleep(1000);
    if (before > 0 && (await frames()) > before + 1) return;
    if (Date.now() > end) throw new Error(`the page shows no new pictures: ${before} frames`);
  }
}

/** Mean difference of brightness between the picture and the opaque pixels of the logo in its top right corner. */
export function logoError(page) {
  return page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const pixels = (source, x, y) => {
      const drawing = new OffscreenCanvas(image.width, image.height).getContext('2d');
      drawing.drawImage(source, x, y);
      return drawing.getImageData(0, 0, image.width, image.height).data;
    };
    const video = document.querySelector('video');
    const margin = 16;
    const wanted = pixels(image, 0, 0);
    const seen = pixels(video, -(video.videoWidth - margin - image.width), -margin);
    const brightness = (data, i) => 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
    let [sum, count] = [0, 0];
    for (let i = 0; i < wanted.length; i += 4) {
      if (wanted[i + 3] !== 255) continue;
      sum += Math.abs(brightness(wanted, i) - brightness(seen, i));
      count += 1;
    }
    return sum / count;
  }, logo);
}
