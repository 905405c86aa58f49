// The programs that these tests run in a namespace: rtcam and Chromium.
//
// RTCAM_BIN names the server's binary, CHROMIUM the browser.

import fs from 'node:fs';
import { start } from './network.mjs';
import { launchChromium, sleep } from '../browser/harness.mjs';

const RTCAM = process.env.RTCAM_BIN;
export const PASSWORD = 'guest-password';
export const HASH = '$argon2id$v=19$m=64,t=1,p=1$5YRROarqqIvO5SWWO5yq2Q$AKl3bz/pQZCAf8n5No53t9Q/DWr1m/ErggMu5MJSBDQ';

let started = 0;

/** rtcam in a namespace, with a state folder of its own unless the text names one; resolves when it serves. */
export async function startRtcam(space, text) {
  const file = `/run/${space}.toml`;
  started += 1;
  fs.writeFileSync(file, text.includes('state_dir =') ? text : `state_dir = "/run/${space}-${started}"\n${text}`);
  const rtcam = start(space, RTCAM, ['run', '--config', file]);
  for (let i = 0; i < 450; i++) {
    if (rtcam.out.includes('open http://')) return rtcam;
    if (rtcam.exitCode !== null) break;
    await sleep(100);
  }
  throw new Error(`rtcam in ${space} does not start:\n${rtcam.log}`);
}

export async function stop(...children) {
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(children.map((child) => Promise.race([child.ended, sleep(20_000).then(() => child.kill('SIGKILL'))])));
}

/** A Chromium whose every process is in the namespace. */
export async function chromiumIn(space) {
  const file = `/run/chromium-${space}`;
  fs.writeFileSync(file, `#!/bin/sh\nexec ip netns exec ${space} ${process.env.CHROMIUM ?? '/usr/bin/chromium'} "$@"\n`, { mode: 0o755 });
  const before = process.env.CHROMIUM;
  process.env.CHROMIUM = file;
  try {
    return await launchChromium(['--disable-features=WebRtcHideLocalIpsWithMdns']);
  } finally {
    if (before === undefined) delete process.env.CHROMIUM;
    else process.env.CHROMIUM = before;
  }
}
