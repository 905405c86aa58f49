// What every browser test needs: the real server on free ports, a Chromium, and readings of a page.
//
// RTCAM_BIN names the server's binary, CHROMIUM the browser (/usr/bin/chromium), ARTEFACTS where pictures go.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { chromium } from 'playwright-core';

const HERE = path.dirname(new URL(import.meta.url).pathname);
/** Far longer than anything takes on a busy machine; only a failure waits for it. */
export const PATIENCE_MS = 45_000;
/** Our own timers come no later than this unless the machine lets processes wait. */
const IN_TIME_MS = 100;
const ARTEFACTS = process.env.ARTEFACTS ?? path.resolve(HERE, '../../artefacts');

export const CHROMIUM_ARGS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-renderer-backgrounding', '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows', '--allow-loopback-in-peer-connection',
];

export function launchChromium(more = []) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [...CHROMIUM_ARGS, ...more],
    ignoreDefaultArgs: ['--headless', '--hide-scrollbars'],
  });
}

/** A browser with a profile on disk, as people have: what a page stores is not kept in memory as in private windows. */
export function launchWithProfile(folder) {
  return chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: CHROMIUM_ARGS,
    ignoreDefaultArgs: ['--headless', '--hide-scrollbars'],
  });
}

export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What servers leave behind, until the tests of a file are through. */
const states = [];
process.on('exit', () => states.forEach((folder) => fs.rmSync(folder, { recursive: true, force: true })));

function freshState() {
  states.push(fs.mkdtempSync(path.join(os.tmpdir(), 'rtcam-state-')));
  return states.at(-1);
}

/** A running server; `settings` are `section.key=value`. One that is given the `state` of another goes on where that ended. */
export class Server {
  #log = '';

  static async start({ settings = [], config = null, port = null, source = 'pattern', state = freshState() } = {}) {
    const server = new Server();
    server.state = state;
    server.port = port ?? (await freePort());
    server.url = `http://127.0.0.1:${server.port}/`;
    server.#spawn(['run', ...(config ? ['--config', config] : []), ...setFlags([`camera.source=${source}`, 'camera.timecode=true',
      `http.listen=127.0.0.1:${server.port}`, 'webrtc.udp_port=0', ...settings])]);
    await server.#untilItServes();
    return server;
  }

  #spawn(args) {
    if (!process.env.RTCAM_BIN) throw new Error('RTCAM_BIN must name the rtcam binary');
    // links, certificates and seats of a test are none of the machine's, nor of another test
    const env = { ...process.env, STATE_DIRECTORY: this.state };
    this.child = spawn(process.env.RTCAM_BIN, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on('data', (text) => { this.#log = (this.#log + text).slice(-8000); });
    }
    this.ended = new Promise((resolve) => this.child.on('close', resolve));
    this.child.on('error', (error) => { this.#log += error.message; });
  }

  async #untilItServes() {
    for (let i = 0; i < 150; i++) {
      if (this.child.exitCode !== null) break;
      // leads to the page where nothing is asked of people
      if (await fetch(`${this.url}login`).then((reply) => reply.ok, () => false)) return;
      await sleep(100);
    }
    await this.stop('SIGKILL');
    throw new Error(`the server did not start:\n${this.#log}`);
  }

  async stop(signal = 'SIGTERM') {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    await Promise.race([this.ended, sleep(20_000).then(() => this.child.kill('SIGKILL'))]);
    await this.ended;
  }
}

function setFlags(settings) {
  return settings.flatMap((setting) => ['--set', setting]);
}

/** Runs `body` with a server and a browser, and ends both whatever happens. */
export async function withServer(options, body) {
  const server = await Server.start(options);
  const browser = await launchChromium(options.chromium).catch(async (error) => {
    await server.stop();
    throw error;
  });
  try {
    await body({ server, browser });
  } finally {
    await browser.close();
    await server.stop();
  }
}

/** Opens the viewer page; `faults` gathers what the browser complained about. */
export async function openViewer(browser, url, { locale = 'en-US', viewport = { width: 1280, height: 720 }, colorScheme = 'dark', hasTouch = false, init = null } = {}) {
  const context = await browser.newContext({ locale, viewport, colorScheme, hasTouch });
  return openPage(context, url, init);
}

/** In a context that is there: one more tab of the same browser profile. */
export async function openPage(context, url, init = null) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.faults = [];
  page.requested = [];
  page.on('console', (message) => message.type() === 'error' && page.faults.push(message.text()));
  page.on('pageerror', (error) => page.faults.push(error.message));
  page.on('request', (request) => page.requested.push(request.url()));
  if (init) await page.addInitScript(typeof init === 'string' ? { content: init } : init);
  await page.goto(url, { waitUntil: 'commit' });
  return page;
}

export async function untilState(page, state, timeout = PATIENCE_MS) {
  await page.waitForFunction((wanted) => globalThis.rtcam?.state === wanted, state, { timeout, polling: 50 }).catch(async () => {
    const seen = await page.evaluate(() => [globalThis.rtcam?.state, document.querySelector('#words')?.textContent]);
    throw new Error(`wanted the state ${state}, the page says ${JSON.stringify(seen)}; faults: ${page.faults}`);
  });
}

/** What the page says in its bar. */
export function wordsOf(page) {
  return page.textContent('#words');
}

/** Frames decoded per second over `seconds`, how many the board made, how late our own timers were, and what else changed
 *  meanwhile. */
export async function measure(page, seconds) {
  const read = () => page.evaluate(async () => {
    // a board in a guest wants a password for it
    const status = await fetch('/api/v1/status').then((reply) => reply.json()).catch(() => null);
    return { ...(await globalThis.rtcam.stats()), encoded: status?.encoder?.encoded ?? NaN, at: performance.now() };
  });
  const held = monitorEventLoopDelay({ resolution: 10 });
  held.enable();
  const before = await read();
  await sleep(1000 * seconds);
  const after = await read();
  held.disable();
  const spent = (after.at - before.at) / 1000;
  return {
    fps: (after.framesDecoded - before.framesDecoded) / spent,
    made: (after.encoded - before.encoded) / spent,
    held_ms: held.max / 1e6,
    freezes: after.freezes - before.freezes,
    dropped: after.framesDropped - before.framesDropped,
    latency: after.latency.total,
    after,
  };
}

/** Whether it played at the camera's full rate without a freeze. */
export function isSmooth({ fps, freezes }) {
  return fps >= 29 && freezes === 0;
}

/** For the last of several tries, none of which was smooth: it is the machine's fault where our timers were late or the
 *  board made too few pictures. The page must have shown what was made all the same. */
export function assertMachineWasBusy({ fps, made, freezes, held_ms }) {
  const seen = `${fps.toFixed(1)} fps of ${made.toFixed(1)} made, ${freezes} freezes, timers up to ${held_ms.toFixed(0)} ms late`;
  tell(`not smooth: ${seen}`);
  assert.ok(held_ms > IN_TIME_MS || made < 29, `not smooth on a machine that had time: ${seen}`);
  assert.ok(fps >= 0.8 * made && fps > 5, `the page shows less than the board makes: ${seen}`);
}

/** Average colours [r, g, b] of rectangles [x, y, width, height] in the received picture's pixels. */
export function averageColours(page, rectangles) {
  return page.evaluate((list) => {
    const video = document.querySelector('video');
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    const drawing = canvas.getContext('2d', { willReadFrequently: true });
    drawing.drawImage(video, 0, 0);
    return list.map(([x, y, width, height]) => {
      const { data } = drawing.getImageData(x, y, width, height);
      const sum = [0, 0, 0];
      for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += data[i + c];
      return sum.map((value) => Math.round((4 * value) / data.length));
    });
  }, rectangles);
}

export async function keepPicture(page, name) {
  fs.mkdirSync(ARTEFACTS, { recursive: true });
  await page.screenshot({ path: path.join(ARTEFACTS, name) });
}

export function temporaryFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rtcam-browser-'));
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Every test tells what it measured, not only that it passed. */
export function tell(text) {
  console.log(`  measured: ${text}`);
}
