// browser.mjs STARTS SECONDS
// What Chromium sees of the moving pattern (tests/browser/latency.mjs), and the server's memory meanwhile. JSON on stdout.
// env: RTCAM_BIN, CHROMIUM

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { Server } from '../../tests/browser/harness.mjs';

const [starts, seconds] = process.argv.slice(2);
const server = await Server.start({ settings: ['encoder.bitrate_kbps=1500'] });
try {
  const latency = new URL('../../tests/browser/latency.mjs', import.meta.url).pathname;
  const args = [latency, '--url', server.url, '--starts', starts, '--seconds', seconds];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (part) => { text += part; });
  let most_kb = 0;
  const meter = setInterval(() => { most_kb = Math.max(most_kb, rssKb(server.child.pid)); }, 500);
  await new Promise((resolve) => child.on('close', resolve));
  clearInterval(meter);
  const seen = JSON.parse(text);
  if (seen.error) throw new Error(seen.error);
  console.log(JSON.stringify({ ...seen, server_rss_kb: most_kb }));
} finally {
  await server.stop();
}

function rssKb(pid) {
  return Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m)?.[1] ?? NaN);
}
