#!/usr/bin/env node
// How old is the picture a browser shows? Opens a page in Chromium, reads the TC40 timecode out of every presented
// frame and prints JSON: first frame, fps, drops, freezes, latency percentiles, what getStats says.
//
//   node latency.mjs --url http://127.0.0.1:8080/          the viewer page (adds what the page itself claims)
//   node latency.mjs --whep http://127.0.0.1:8080/whep     a bare WHEP player
//   --starts 1   load the page that often and give percentiles of the first frame
//   --seconds 10 --settle 2 --timeout 20 --min-fps N --max-p50 MS --max-first MS --shot FILE.png --out FILE.json
//
// Exit: 0 measured, 1 a limit missed, 2 no video. The pattern must run with camera.timecode = true, on this machine:
// timecode and page share one clock.

import fs from 'node:fs';
import { launchChromium, sleep } from './harness.mjs';
import { probe } from './timecode_probe.mjs';

const options = { seconds: 10, settle: 2, timeout: 20, starts: 1, ...parseOptions(process.argv.slice(2)) };
if (!options.url && !options.whep) {
  console.error('latency.mjs: --url or --whep is needed');
  process.exit(2);
}

function parseOptions(args) {
  const found = {};
  for (let i = 0; i < args.length; i += 2) {
    const value = args[i + 1];
    found[args[i].replace(/^--/, '')] = /^\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  }
  return found;
}

const PLAYER = `<!doctype html><meta charset=utf-8><body><video muted autoplay playsinline></video><script type=module>
const pc = new RTCPeerConnection();
pc.addTransceiver('video', { direction: 'recvonly' });
pc.ontrack = (event) => { document.querySelector('video').srcObject = new MediaStream([event.track]); };
await pc.setLocalDescription();
await new Promise((resolve) => { pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve(); setTimeout(resolve, 500); });
const reply = await fetch(ENDPOINT, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp });
if (!reply.ok) throw new Error('WHEP: ' + reply.status + ' ' + await reply.text());
globalThis.__resource = new URL(reply.headers.get('Location'), reply.url).href;
await pc.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
</script>`;

function percentiles(values) {
  const sorted = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  const at = (share) => round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  return sorted.length ? { n: sorted.length, min: at(0), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) } : null;
}

function round(value, digits = 1) {
  return Number.isFinite(value) ? Number(value.toFixed(digits)) : null;
}

/** One fresh load of the page, up to its first frame. */
async function load(browser) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 760 } });
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  await page.addInitScript(probe);
  const target = options.url ?? new URL('/whep-player.html', options.whep).href;
  if (options.whep) {
    const body = PLAYER.replace('ENDPOINT', JSON.stringify(options.whep));
    await page.route(target, (route) => route.fulfill({ contentType: 'text/html', body }));
  }
  await page.goto(target, { waitUntil: 'commit', timeout: 1000 * options.timeout });
  await page.waitForFunction(() => globalThis.__probe?.firstAt !== null, null, { timeout: 1000 * options.timeout }).catch(() => {
    throw new Error(`no frame within ${options.timeout} s; ${faults.join('; ')}`);
  });
  return { page, ...(await page.evaluate(() => ({ first: __probe.firstAt, made: __probe.madeAt, size: __probe.size }))) };
}

async function leave(page) {
  await page.evaluate(async () => {
    if (globalThis.__resource) await fetch(globalThis.__resource, { method: 'DELETE' });
    for (const connection of globalThis.__probe.connections) connection.close();
  }).catch(() => {});
  await page.context().close();
}

async function measure(page) {
  await page.waitForTimeout(1000 * options.settle);
  const before = await page.evaluate(() => {
    Object.assign(__probe, { samples: [], unreadable: 0 });
    return __probe.read();
  });
  const claims = await listen(page, options.seconds);
  const after = await page.evaluate(async () => ({ ...(await __probe.read()), samples: __probe.samples, unreadable: __probe.unreadable }));
  if (options.shot) await page.screenshot({ path: options.shot });
  return report(before, after, claims);
}

/** What the page itself says its latency is, once per second. */
async function listen(page, seconds) {
  const claims = [];
  for (let i = 0; i < seconds; i++) {
    await sleep(1000);
    claims.push(await page.evaluate(() => globalThis.rtcam?.latency ?? null));
  }
  return claims;
}

function report(before, after, claims) {
  const seconds = (after.at - before.at) / 1000;
  const { samples } = after;
  const grown = (name) => (after.inbound[name] ?? NaN) - (before.inbound[name] ?? NaN);
  const gaps = samples.slice(1).map((sample, i) => sample.at - samples[i].at);
  return {
    seconds: round(seconds), presented: samples.length + after.unreadable, unreadable: after.unreadable,
    fps_presented: round((samples.length + after.unreadable) / seconds, 2), fps_decoded: round(grown('framesDecoded') / seconds, 2),
    to_received_ms: percentiles(samples.map((sample) => sample.received)),
    to_presented_ms: percentiles(samples.map((sample) => sample.presented)),
    to_shown_ms: percentiles(samples.map((sample) => sample.shown)),
    to_displayed_ms: percentiles(samples.map((sample) => sample.displayed)),
    page_says_ms: percentiles(claims),
    frame_gap_ms: percentiles(gaps), gaps_over_100_ms: gaps.filter((gap) => gap > 100).length,
    freezes: grown('freezeCount'), frames_dropped: grown('framesDropped'), packets: grown('packetsReceived'), lost: grown('packetsLost'),
    kbit_s: round((grown('bytesReceived') * 8) / seconds / 1000), key_frames: grown('keyFramesDecoded'),
    jitter_buffer_ms: round((1000 * grown('jitterBufferDelay')) / grown('jitterBufferEmittedCount')),
    decode_ms: round((1000 * grown('totalDecodeTime')) / grown('framesDecoded'), 2), decoder: after.inbound.decoderImplementation,
  };
}

/** The names of the limits that were missed. */
function missed(result) {
  const over = (limit, value) => limit !== undefined && !(value <= limit);
  return [
    over(options['max-first'], result.first_frame_ms.p50) && 'first frame',
    over(options['max-p50'], result.to_displayed_ms?.p50) && 'latency',
    options['min-fps'] !== undefined && !(result.fps_presented >= options['min-fps']) && 'fps',
  ].filter(Boolean);
}

const browser = await launchChromium(['--autoplay-policy=no-user-gesture-required', '--disable-features=WebRtcHideLocalIpsWithMdns']);
let result;
let code = 0;
try {
  const firsts = [];
  let loaded;
  for (let i = 0; i < options.starts; i++) {
    if (loaded) await leave(loaded.page);
    loaded = await load(browser);
    firsts.push(loaded);
  }
  result = {
    target: options.url ?? options.whep, chromium: browser.version(), size: loaded.size,
    first_frame_ms: percentiles(firsts.map(({ first, made }) => first - made)),
    first_frame_from_navigation_ms: percentiles(firsts.map(({ first }) => first)),
    ...(await measure(loaded.page)),
  };
  await leave(loaded.page);
  result.missed = missed(result);
  if (result.missed.length) code = 1;
} catch (error) {
  result = { target: options.url ?? options.whep, error: error.message };
  code = 2;
} finally {
  await browser.close();
}
const text = JSON.stringify(result, null, 1);
console.log(text);
if (options.out) fs.writeFileSync(options.out, `${text}\n`);
process.exitCode = code;
