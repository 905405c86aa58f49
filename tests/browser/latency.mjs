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
import { launchChromium } from './harness.mjs';

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

/** Runs in the page before its own scripts: notes peer connections and reads every presented frame. */
function probe() {
  const BLOCK = 16;
  const BLOCKS = 40;
  const seen = { connections: [], madeAt: null, firstAt: null, size: null, samples: [], unreadable: 0 };
  globalThis.__probe = seen;
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = new Proxy(Native, {
    construct(Target, args) {
      const connection = new Target(...args);
      seen.connections.push(connection);
      seen.madeAt ??= performance.now();
      return connection;
    },
  });

  const canvas = new OffscreenCanvas(BLOCKS * BLOCK, BLOCK);
  const drawing = canvas.getContext('2d', { willReadFrequently: true, alpha: false });

  /** The middle 8x8 pixels of each block, green above 127 is 1. */
  function bitsOf(video) {
    drawing.drawImage(video, 0, 0, BLOCKS * BLOCK, BLOCK, 0, 0, BLOCKS * BLOCK, BLOCK);
    const { data } = drawing.getImageData(0, BLOCK / 4, BLOCKS * BLOCK, BLOCK / 2);
    return Array.from({ length: BLOCKS }, (_, block) => {
      let sum = 0;
      for (let y = 0; y < BLOCK / 2; y++) {
        for (let x = block * BLOCK + BLOCK / 4; x < (block + 1) * BLOCK - BLOCK / 4; x++) sum += data[4 * (y * BLOCKS * BLOCK + x) + 1];
      }
      return sum / (BLOCK / 2) ** 2 > 127 ? 1 : 0;
    });
  }

  /** Unix milliseconds modulo 2^32; null when the row is not there or damaged. */
  function timecode(video) {
    const bits = bitsOf(video);
    if (bits[0] !== 1 || bits[1] !== 0 || bits[38] !== 0 || bits[39] !== 1) return null;
    const value = bits.slice(2, 34).reduce((sum, bit) => sum * 2 + bit, 0);
    let check = 0;
    for (let nibble = 0; nibble < 8; nibble++) check ^= Math.floor(value / 16 ** nibble) & 15;
    return check === bits.slice(34, 38).reduce((sum, bit) => sum * 2 + bit, 0) ? value : null;
  }

  function since(code, pageTime) {
    const now = performance.timeOrigin + pageTime;
    const difference = (Math.floor(now) % 2 ** 32) - code;
    return (difference < -(2 ** 31) ? difference + 2 ** 32 : difference) + (now % 1);
  }

  function watch(video) {
    const presented = (now, frame) => {
      const code = timecode(video);
      if (seen.firstAt === null) {
        seen.firstAt = performance.now();
        seen.size = [video.videoWidth, video.videoHeight];
      }
      if (code === null) seen.unreadable++;
      else {
        seen.samples.push({
          at: now, number: frame.presentedFrames, code,
          received: frame.receiveTime === undefined ? null : since(code, frame.receiveTime),
          presented: since(code, frame.presentationTime), displayed: since(code, frame.expectedDisplayTime),
        });
      }
      video.requestVideoFrameCallback(presented);
    };
    video.requestVideoFrameCallback(presented);
  }

  const watched = new WeakSet();
  const scan = () => {
    for (const video of document.querySelectorAll('video')) {
      if (!watched.has(video)) {
        watched.add(video);
        watch(video);
      }
    }
  };
  new MutationObserver(scan).observe(document, { childList: true, subtree: true });
  document.addEventListener('DOMContentLoaded', scan);

  seen.read = async () => {
    const inbound = [];
    for (const connection of seen.connections) {
      inbound.push(...[...(await connection.getStats()).values()].filter((stat) => stat.type === 'inbound-rtp').map((stat) => ({ ...stat })));
    }
    return { at: performance.now(), inbound: inbound.at(-1) ?? {} };
  };
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
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
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
  await page.waitForTimeout(1000 * options.seconds);
  const after = await page.evaluate(async () => ({ ...(await __probe.read()), samples: __probe.samples, unreadable: __probe.unreadable,
    claimed: (await globalThis.rtcam?.stats())?.latency ?? null }));
  if (options.shot) await page.screenshot({ path: options.shot });
  return report(before, after);
}

function report(before, after) {
  const seconds = (after.at - before.at) / 1000;
  const { samples } = after;
  const grown = (name) => (after.inbound[name] ?? NaN) - (before.inbound[name] ?? NaN);
  const gaps = samples.slice(1).map((sample, i) => sample.at - samples[i].at);
  return {
    seconds: round(seconds), presented: samples.length + after.unreadable, unreadable: after.unreadable,
    fps_presented: round((samples.length + after.unreadable) / seconds, 2), fps_decoded: round(grown('framesDecoded') / seconds, 2),
    to_received_ms: percentiles(samples.map((sample) => sample.received)),
    to_presented_ms: percentiles(samples.map((sample) => sample.presented)),
    to_displayed_ms: percentiles(samples.map((sample) => sample.displayed)),
    page_says_ms: after.claimed && { total: round(after.claimed.total), uncertainty: round(after.claimed.uncertainty, 2) },
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
