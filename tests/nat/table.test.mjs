// Who connects, by which kind of candidate: every kind of box on either side, with a real coturn. What TURN can save
// must connect. The headless viewer does most cells; Chromium those where the viewer has no UDP and needs TURN over TCP.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import fs from 'node:fs';
import test from 'node:test';
import { KINDS, SECRET, TURN, TURN_TOO, build, buildIpv6, inside, start, startTurn } from './network.mjs';
import { launchChromium, sleep } from '../browser/harness.mjs';

const RTCAM = process.env.RTCAM_BIN;
const RECEIVER = process.env.RECEIVER_BIN;
const [PAGE, ICE_TCP] = [8080, 8190];
const PASSWORD = 'guest-password';
const HASH = '$argon2id$v=19$m=64,t=1,p=1$5YRROarqqIvO5SWWO5yq2Q$AKl3bz/pQZCAf8n5No53t9Q/DWr1m/ErggMu5MJSBDQ';

// rows: what is in front of the board; columns, in the order of KINDS: in front of the viewer
const WANTED = {
  //          none      full      address   port      symmetric blocked
  none: '     direct    direct    direct    direct    direct    tcp',
  full: '     direct    direct    direct    direct    direct    relay',
  address: '  direct    direct    direct    direct    direct    relay',
  port: '     direct    direct    direct    direct    relay     relay',
  symmetric: 'direct    direct    direct    relay     relay     relay',
  // no UDP gets out: TURN cannot help, a forwarded TCP port does
  blocked: '  tcp       tcp       tcp       tcp       tcp       tcp',
};

const NAT = { none: 'no-nat', full: 'cone', address: 'cone', port: 'cone', symmetric: 'symmetric', blocked: 'unknown' };

function config(extra, servers = true) {
  return `
    [camera]
    source = "pattern"
    width = 160
    height = 120
    fps = 10
    [http]
    listen = "0.0.0.0:${PAGE}"
    [auth]
    password_hash = "${HASH}"
    [webrtc]
    udp_port = 8189
    tcp_port = ${ICE_TCP}
    extra_addresses = [${extra}]
    ${servers ? `[[webrtc.ice_server]]
    urls = ["stun:${TURN_TOO}", "turn:${TURN}", "turn:${TURN}?transport=tcp"]
    secret = "${SECRET}"` : ''}`;
}

/** rtcam in a namespace; resolves when it serves. */
async function startRtcam(space, text) {
  const file = `/run/${space}.toml`;
  fs.writeFileSync(file, text);
  const rtcam = start(space, RTCAM, ['run', '--config', file]);
  for (let i = 0; i < 150; i++) {
    if (rtcam.out.includes('open http://')) return rtcam;
    if (rtcam.exitCode !== null) break;
    await sleep(100);
  }
  throw new Error(`rtcam in ${space} does not start:\n${rtcam.log}`);
}

async function stop(...children) {
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(children.map((child) => Promise.race([child.ended, sleep(4000).then(() => child.kill('SIGKILL'))])));
}

async function statusOf(space, host) {
  const asked = start(space, 'curl', ['-sgm', '5', '-H', `Authorization: Bearer ${PASSWORD}`, `http://${host}:${PAGE}/api/v1/status`]);
  await asked.ended;
  return JSON.parse(asked.out);
}

/** coturn's use-auth-secret, computed here by another hand than rtcam's. */
function account() {
  const username = `${Math.floor(Date.now() / 1000) + 600}:test`;
  return [username, createHmac('sha1', SECRET).update(username).digest('base64')];
}

/** What the headless viewer gets: the selected pair, or why not. */
async function headless(space, address, host, { turn = true, seconds = 14, bracket = false } = {}) {
  const [username, credential] = account();
  const own = bracket ? `[${address}]` : address;
  const servers = turn ? ['--ice-server', `stun:${TURN_TOO}:3478`, '--ice-server', `turn:${TURN}:3478?transport=udp,${username},${credential}`] : [];
  const viewer = start(space, RECEIVER, ['--whep', `http://${host}:${PAGE}/whep`, '--password', PASSWORD, '--bind', `${own}:0`,
    '--bind-tcp', `${own}:0`, '--seconds', String(seconds), '--until-connected', ...servers]);
  await viewer.ended;
  try {
    const seen = JSON.parse(viewer.out.trim().split('\n').at(-1));
    return seen.frames > 0 ? seen : { ...seen, log: viewer.log };
  } catch {
    return { frames: 0, path: null, log: viewer.log };
  }
}

/** direct, tcp, relay, or - when there was no picture. */
function kindOf({ frames, path }) {
  if (!frames) return '-';
  if (!path) return '?';
  if (path.includes('relay')) return 'relay';
  return path.endsWith('tcp') ? 'tcp' : 'direct';
}

/** A page of rtcam's own, but with our few lines instead of its program: WHEP with the servers of its Link headers. */
async function inChromium(browser, host) {
  const context = await browser.newContext({ extraHTTPHeaders: { Authorization: `Bearer ${PASSWORD}` } });
  const page = await context.newPage();
  try {
    await page.route('**/*.js', (route) => route.abort());
    await page.goto(`http://${host}:${PAGE}/`);
    return await page.evaluate(watchByWhep);
  } catch (error) {
    return { frames: 0, path: null, log: String(error) };
  } finally {
    await context.close();
  }
}

async function watchByWhep() {
  const connection = new RTCPeerConnection();
  connection.addTransceiver('video', { direction: 'recvonly' });
  const offer = await connection.createOffer();
  const reply = await fetch('/whep', { method: 'POST', body: offer.sdp, headers: { 'content-type': 'application/sdp' } });
  if (reply.status !== 201) return { frames: 0, path: null, log: `${reply.status} ${await reply.text()}` };
  const links = [...(reply.headers.get('link') ?? '').matchAll(/<([^>]+)>; rel="ice-server"(?:; username="([^"]*)"; credential="([^"]*)")?/g)];
  const iceServers = links.map(([, urls, username, credential]) => (username ? { urls, username, credential } : { urls }));
  connection.setConfiguration({ iceServers });
  const resource = reply.headers.get('location');
  const patch = (line) => fetch(resource, { method: 'PATCH', body: `a=${line}\r\n`, headers: { 'content-type': 'application/trickle-ice-sdpfrag' } });
  const lines = [];
  connection.onicecandidate = ({ candidate }) => {
    if (candidate?.candidate) {
      lines.push(candidate.candidate);
      patch(candidate.candidate);
    }
  };
  const video = document.createElement('video');
  video.muted = true;
  connection.ontrack = ({ track }) => {
    video.srcObject = new MediaStream([track]);
    video.play();
  };
  await connection.setLocalDescription(offer);
  await connection.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
  let seen = { frames: 0, path: null };
  for (let i = 0; i < 120 && !(seen.frames && seen.path); i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const stats = await connection.getStats();
    for (const entry of stats.values()) {
      if (entry.type === 'inbound-rtp') seen.frames = entry.framesDecoded ?? 0;
      if (entry.type === 'transport' && entry.selectedCandidatePairId) {
        const pair = stats.get(entry.selectedCandidatePairId);
        const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
        seen.path = `${local.candidateType}${local.relayProtocol ? `(${local.relayProtocol})` : ''}/${remote.candidateType} ${local.protocol}`;
      }
    }
  }
  connection.close();
  fetch(resource, { method: 'DELETE' });
  return { ...seen, servers: iceServers.length, log: lines.join('\n') };
}

/** A Chromium whose every process is in the namespace. */
async function chromiumIn(space) {
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

const pad = (words) => words.map((word, at) => String(word).padEnd(at === 0 ? 10 : 24)).join(' ').trimEnd();

test('every pair of boxes that can connect does, and by the path it should', { timeout: 300_000 }, async () => {
  const { boards, viewers } = build([PAGE, ICE_TCP]);
  const turn = startTurn();
  const running = [turn];
  try {
    for (const board of Object.values(boards)) {
      // the port is forwarded everywhere; only where nothing else helps do we say so
      const extra = board.kind === 'blocked' ? `"${board.wan}"` : '';
      running.push(await startRtcam(board.machine, config(extra)));
    }
    const browser = await chromiumIn(viewers.blocked.machine);
    const seen = {};
    for (const board of Object.values(boards)) {
      const cells = KINDS.map((kind) => (kind === 'blocked'
        ? inChromium(browser, board.door)
        : headless(viewers[kind].machine, viewers[kind].host, board.door)));
      seen[board.kind] = await Promise.all(cells);
      const { network } = await statusOf(board.machine, board.host);
      assert.equal(network.nat, NAT[board.kind], `what rtcam thinks of the box in front of it: ${board.kind}`);
    }
    await browser.close();
    console.log(pad(['board', ...KINDS.map((kind) => `viewer ${kind}`)]));
    for (const board of KINDS) console.log(pad([board, ...seen[board].map((cell) => cell.path ?? '-')]));
    for (const board of KINDS) {
      const wanted = WANTED[board].trim().split(/\s+/);
      const logs = seen[board].map((cell, at) => (kindOf(cell) === wanted[at] ? '' : `${board} x ${KINDS[at]}: ${cell.log}`)).filter(Boolean);
      assert.deepEqual(seen[board].map(kindOf), wanted, `in front of the board: ${board}\n${logs.join('\n')}`);
    }
    assert.ok(KINDS.every((board) => seen[board].at(-1).servers === 3), 'the Link headers name all servers');
  } finally {
    await stop(...running);
  }
});
