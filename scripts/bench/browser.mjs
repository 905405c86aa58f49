// browser.mjs STARTS SECONDS
// What Chromium sees of the moving pattern (tests/browser/latency.mjs), and the server's memory meanwhile. JSON on stdout:
// medians of several rounds, each with a new server and a new browser. How the pictures fall between the ticks of the
// display is decided once per round, and moves "displayed" by up to two ticks.
// env: RTCAM_BIN, CHROMIUM

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Server, launchChromium, temporaryFolder } from '../../tests/browser/harness.mjs';
import { enter, openPanel } from '../../tests/browser/people.mjs';
import { changesSeen, joinsSeen } from '../../tests/browser/room_speed.mjs';

const ROUNDS = 4;
const [starts, seconds] = process.argv.slice(2).map(Number);
const rounds = [];
const { changes, joins } = await room();
for (let i = 0; i < ROUNDS; i++) rounds.push(await round(Math.ceil(starts / ROUNDS), Math.ceil(seconds / ROUNDS) + 1));

const spread = (name) => ({
  p50: median(rounds.map((seen) => seen[name]?.p50)), p95: median(rounds.map((seen) => seen[name]?.p95)),
  p50_of_rounds: rounds.map((seen) => seen[name]?.p50),
});
const firsts = rounds.flatMap((seen) => seen.first_frames_ms);
console.log(JSON.stringify({
  to_received_ms: spread('to_received_ms'), to_presented_ms: spread('to_presented_ms'),
  to_shown_ms: spread('to_shown_ms'), to_displayed_ms: spread('to_displayed_ms'),
  first_frame_ms: { p50: at(firsts, 0.5), p95: at(firsts, 0.95), all: firsts },
  fps_presented: median(rounds.map((seen) => seen.fps_presented)),
  freezes: rounds.reduce((sum, seen) => sum + seen.freezes, 0),
  change_seen_ms: { p50: at(changes, 0.5), p95: at(changes, 0.95), all: changes },
  join_seen_ms: { p50: at(joins, 0.5), p95: at(joins, 0.95), all: joins },
  server_rss_kb: Math.max(...rounds.map((seen) => seen.server_rss_kb)), rounds,
}));

async function round(starts, seconds) {
  const server = await Server.start({ settings: ['encoder.bitrate_kbps=1500'] });
  let most_kb = 0;
  const meter = setInterval(() => { most_kb = Math.max(most_kb, rssKb(server.child.pid)); }, 500);
  try {
    const latency = new URL('../../tests/browser/latency.mjs', import.meta.url).pathname;
    const args = [latency, '--url', server.url, '--starts', starts, '--seconds', seconds].map(String);
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (part) => { text += part; });
    await new Promise((resolve) => child.on('close', resolve));
    const seen = JSON.parse(text);
    if (seen.error) throw new Error(seen.error);
    return { ...seen, server_rss_kb: most_kb };
  } finally {
    clearInterval(meter);
    await server.stop();
  }
}

/** Three pages in one room: how soon all see what one does. */
async function room() {
  const config = path.join(temporaryFolder(), 'rtcam.toml');
  fs.writeFileSync(config, '[[overlay]]\ntype = "logo"\n');
  const server = await Server.start({ config });
  const browser = await launchChromium();
  try {
    const people = [];
    for (const name of ['Ann', 'Bob', 'Carl']) people.push(await enter(browser, server.url, name));
    const [ann, bob, carl] = people;
    for (const page of people) await openPanel(page, 'controls');
    const changes = await changesSeen(ann, [bob, carl]);
    for (const page of [ann, bob]) await openPanel(page, 'people');
    return { changes, joins: await joinsSeen(carl, [ann, bob]) };
  } finally {
    await browser.close();
    await server.stop();
  }
}

function at(values, share) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

function median(values) {
  return at(values, 0.5);
}

function rssKb(pid) {
  return Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m)?.[1] ?? NaN);
}
