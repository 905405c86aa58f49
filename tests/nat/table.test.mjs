// Who connects, by which kind of candidate: every kind of box on either side, with a real coturn. What TURN can save
// must connect. Chromium does the cells that need TURN, and those of viewers without UDP; the headless viewer the rest.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import test from 'node:test';
import { KINDS, SECRET, TURN, TURN_TOO, build, buildIpv6, start, startTurn } from './network.mjs';
import { HASH, PASSWORD, chromiumIn, startRtcam, stop } from './programs.mjs';
import { openViewer, sleep, untilState } from '../browser/harness.mjs';

const RECEIVER = process.env.RECEIVER_BIN;
const [PAGE, ICE_TCP] = [8080, 8190];

// rows: what is in front of the board; columns, in the order of KINDS: in front of the viewer
const WANTED = {
  //          none      full      address   port      symmetric blocked
  none: '     direct    direct    direct    direct    direct    tcp/relay',
  full: '     direct    direct    direct    direct    direct    relay',
  address: '  direct    direct    direct    direct    direct    relay',
  port: '     direct    direct    direct    direct    relay     relay',
  symmetric: 'direct    direct    direct    relay     relay     relay',
  // no UDP gets out: TURN cannot help, a forwarded TCP port does
  blocked: '  tcp       tcp       tcp       tcp       tcp       tcp',
};

const NAT = { none: 'no-nat', full: 'cone', address: 'cone', port: 'cone', symmetric: 'symmetric', blocked: 'unknown' };

function config({ name, extra = '', servers = true }) {
  return `
    [camera]
    source = "pattern"
    width = 160
    height = 120
    fps = 10
    [http]
    listen = "0.0.0.0:${PAGE}"
    names = ["${name}:${PAGE}"]
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
async function headless(space, address, host, { turn = true, seconds = 40, bracket = false } = {}) {
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
  return path.includes(' tcp') ? 'tcp' : 'direct';
}

/** Where two ways are good, the faster handshake wins. */
function isWanted(cell, wanted) {
  return wanted.split('/').includes(kindOf(cell));
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
  for (let i = 0; i < 400 && !(seen.frames && seen.path); i++) {
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

const pad = (words) => words.map((word, at) => String(word).padEnd(at === 0 ? 10 : 22)).join(' ').trimEnd();

test('every pair of boxes that can connect does, and by the path it should', { timeout: 900_000 }, async () => {
  const { boards, viewers } = build([PAGE, ICE_TCP]);
  const turn = startTurn();
  const running = [turn];
  try {
    for (const board of Object.values(boards)) {
      // the port is forwarded everywhere; only where nothing else helps do we say so
      const extra = board.kind === 'blocked' ? `"${board.wan}"` : '';
      board.rtcam = await startRtcam(board.machine, config({ name: board.door, extra }));
      running.push(board.rtcam);
    }
    const browsers = {};
    for (const kind of ['port', 'symmetric', 'blocked']) browsers[kind] = await chromiumIn(viewers[kind].machine);
    const [seen, nats] = [{}, {}];
    for (const board of Object.values(boards)) {
      const wanted = WANTED[board.kind].trim().split(/\s+/);
      const tryOne = (kind, at) => (kind === 'blocked' || wanted[at] === 'relay'
        ? inChromium(browsers[kind], board.door)
        : headless(viewers[kind].machine, viewers[kind].host, board.door));
      const cells = await Promise.all(KINDS.map(tryOne));
      // on a busy machine the better way may be the later one: once more, and alone
      for (const [at, kind] of KINDS.entries()) if (!isWanted(cells[at], wanted[at])) cells[at] = await tryOne(kind, at);
      seen[board.kind] = cells;
      nats[board.kind] = (await statusOf(board.machine, board.host)).network.nat;
    }
    await Promise.all(Object.values(browsers).map((browser) => browser.close()));
    console.log(pad(['board', ...KINDS.map((kind) => `viewer ${kind}`)]));
    for (const board of KINDS) console.log(pad([board, ...seen[board].map((cell) => cell.path ?? '-')]));
    for (const board of KINDS) {
      const wanted = WANTED[board].trim().split(/\s+/);
      const isRight = (cell, at) => isWanted(cell, wanted[at]);
      const logs = seen[board].map((cell, at) => (isRight(cell, at) ? '' : `${board} x ${KINDS[at]}: ${cell.log}`)).filter(Boolean);
      assert.ok(seen[board].every(isRight), `in front of the board: ${board}: ${seen[board].map(kindOf)} instead of ${wanted}\n${logs.join('\n')}\n${boards[board].rtcam.log}\n${process.env.NAT_DEBUG ? turn.out : ''}`);
    }
    assert.deepEqual(nats, NAT, 'what rtcam thinks of the box in front of it');
    assert.ok(KINDS.every((board) => seen[board].at(-1).servers === 3), 'the Link headers name all servers');
  } finally {
    await stop(...running);
  }
});

test('the page itself comes in by TURN with the servers of its welcome', { timeout: 240_000 }, async () => {
  // the namespaces of the first test are still there
  const text = config({ name: '203.0.113.24' }).replace(/password_hash = .*/, 'mode = "open"\nopen_role = "host"');
  const running = [startTurn(), await startRtcam('b-symmetric', text)];
  const browser = await chromiumIn('v-symmetric');
  try {
    const page = await openViewer(browser, `http://203.0.113.24:${PAGE}/`);
    await untilState(page, 'live');
    // a viewer that has just connected has no figures for a moment
    let before;
    for (let i = 0; i < 300 && !before?.path; i++, await sleep(100)) [before] = (await statusOf('b-symmetric', '10.1.4.2')).viewers;
    assert.equal(before?.path?.remote, 'relay', JSON.stringify(before));
  } finally {
    await browser.close();
    await stop(...running);
  }
});

test('where nothing connects, the log says what was tried and what to do', { timeout: 240_000 }, async () => {
  // the namespaces of the first test are still there
  const rtcam = await startRtcam('b-symmetric', config({ name: '203.0.113.24', servers: false }));
  try {
    const seen = await headless('v-address', '10.2.2.2', '203.0.113.24', { turn: false, seconds: 12 });
    assert.equal(kindOf(seen), '-', seen.path);
    const told = () => rtcam.log.includes('no path: ');
    for (let i = 0; i < 300 && !told(); i++) await sleep(100);
    assert.match(rtcam.log, /no path: tried from here: host tcp 4, host udp 4; from there: .*; nothing of the viewer's arrived; open UDP port 8189/);
  } finally {
    await stop(rtcam);
  }
});

test('IPv6 alone is enough', { timeout: 240_000 }, async () => {
  buildIpv6();
  const rtcam = await startRtcam('six-board', config({ name: '[2001:db8::1]', servers: false }).replace('0.0.0.0', '[::]'));
  try {
    const seen = await headless('six-viewer', '2001:db8::2', '[2001:db8::1]', { turn: false, bracket: true });
    assert.equal(kindOf(seen), 'direct', seen.log);
  } finally {
    await stop(rtcam);
  }
});
