// rtcam inside a guest, as its user sees it: config file, HTTP, log, exit status; and a receiver on this machine.
// `Rtcam` runs the bare program; service.mjs has the one that systemd runs.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Guest, until } from './guest.mjs';

const folder = process.env.RTCAM_GUEST_FILES;
const receiver = process.env.RTCAM_RECEIVER;
const artefacts = join(new URL('.', import.meta.url).pathname, '../../artefacts');
if (!folder || !receiver) throw new Error('run scripts/qemu/test.sh, it prepares what these tests need');

/** What scripts/qemu/test.sh made for the guests: programs as NAME-ARCH, tarballs, a movie. */
export const made = (name) => join(folder, name);

// A guest is reached through forwarded ports, so rtcam listens on all addresses and therefore needs a password.
// The hash is deliberately cheap: the emulated CPU is slow, and the secret is printed right here.
export const password = 'guest-password';
export const passwordHash = '$argon2id$v=19$m=64,t=1,p=1$5YRROarqqIvO5SWWO5yq2Q$AKl3bz/pQZCAf8n5No53t9Q/DWr1m/ErggMu5MJSBDQ';

// Emulation is 10 to 50 times slower than a board and shares two cores with everything else: what rtcam promises in
// 3 s of a board's time gets this many seconds here. Promises that are about order, not about time, are not stretched.
export const BACK_WITHIN_S = 45;

/** Shell text for a guest: somebody else streams from its first camera, and then does no longer. */
export const HOLD_CAMERA = `v4l2-ctl -d0 --stream-mmap=3 --stream-count=100000 > /dev/null 2>&1 & echo $! > /tmp/holder
  until v4l2-ctl -d0 --set-fmt-video=width=640,height=360 2>&1 | grep -qi busy; do sleep 0.2; done`;
export const FREE_CAMERA = 'kill $(cat /tmp/holder); while kill -0 $(cat /tmp/holder) 2> /dev/null; do sleep 0.1; done';

export class Rtcam {
  constructor(guest) {
    this.guest = guest;
    this.base = `http://${guest.http}`;
  }

  static async inNewGuest(name, files = {}, arch = 'arm64', environment = {}) {
    return new Rtcam(await Guest.boot(name, { ...files, rtcam: made(`rtcam-${arch}`) }, arch, environment));
  }

  /** Starts `rtcam run` with this [camera] section, and `more` after it, and waits until it answers. */
  async start(camera, more = '') {
    const lines = Object.entries(camera).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
    this.guest.write(
      'rtcam.toml',
      `[camera]\n${lines.join('\n')}\n${more}\n
[[overlay]]\ntype = "logo"\ncorner = "top-right"\nmargin = 16\n
[http]\nlisten = "0.0.0.0:8080"\nnames = ["${this.guest.http}"]\n
[auth]\npassword_hash = "${passwordHash}"\n
[webrtc]\nudp_port = 8189\n
[log]\nlevel = "info"\n`,
    );
    this.guest.write('rtcam.exit', '');
    // the status goes to a file: nobody waits for the shell that started it
    await this.guest.sh(`chmod +x /t/rtcam; (/t/rtcam run --config /t/rtcam.toml > /t/rtcam.log 2>&1 & p=$!
      echo $p > /tmp/rtcam.pid; wait $p; echo $? > /t/rtcam.exit) > /dev/null 2>&1 &`);
    await until('rtcam answers', 90, () => this.status().catch(() => this.#stillRuns()));
  }

  #stillRuns() {
    const exit = this.guest.read('rtcam.exit').trim();
    if (exit) throw new Error(`rtcam ended with status ${exit}:\n${this.log()}`);
    return undefined;
  }

  /** SIGTERM: ends by itself with status 0, in time. */
  async stop() {
    await this.guest.sh('kill $(cat /tmp/rtcam.pid)');
    await until('rtcam ends after SIGTERM', BACK_WITHIN_S, () => this.guest.read('rtcam.exit').trim());
    this.keepLog();
    assert.equal(this.guest.read('rtcam.exit').trim(), '0', this.log());
  }

  /** For whoever looks into a failure: the log of every run, one after the other. */
  keepLog() {
    mkdirSync(artefacts, { recursive: true });
    appendFileSync(join(artefacts, `qemu-${this.guest.name}.log`), `${this.guest.read('rtcam.log')}\n`);
  }

  /** Ends the guest, whatever runs in it. */
  async end() {
    if (!this.guest.read('rtcam.exit').trim()) this.keepLog();
    await this.guest.stop();
  }

  log() {
    return this.guest.read('rtcam.log').slice(-4000);
  }

  async #get(path) {
    const headers = { authorization: `Bearer ${password}`, connection: 'close' };
    return fetch(this.base + path, { headers, signal: AbortSignal.timeout(30_000) });
  }

  async status() {
    const answer = await this.#get('/api/v1/status');
    assert.equal(answer.status, 200);
    return answer.json();
  }

  async healthy() {
    return (await this.#get('/healthz')).status === 200;
  }

  /** Waits until `test` gives something true; the error of a vain wait has the log. */
  waitFor(what, seconds, test) {
    return until(what, seconds, test, 200).catch((error) => {
      throw new Error(`${error.message}\n${this.log()}`);
    });
  }

  /** Waits until the status passes `test`, and returns it. */
  async statusWhere(what, test, seconds = BACK_WITHIN_S) {
    let last;
    const ask = async () => {
      last = await this.status();
      return test(last) && last;
    };
    return until(what, seconds, ask, 200).catch((error) => {
      throw new Error(`${error.message}\nlast status: ${JSON.stringify(last)}\n${this.log()}`);
    });
  }

  live() {
    return this.statusWhere('the camera is live', (s) => s.camera.camera === 'live');
  }

  /** Does `fault` to the camera; it must be opened anew and live again. */
  async recoversFrom(fault) {
    const { camera } = await this.live();
    await fault();
    const back = (s) => s.camera.opens > camera.opens && s.camera.camera === 'live' && s.camera.captured > camera.captured;
    return this.statusWhere('the camera is opened again and live', back);
  }

  /** A viewer of this machine that watches until it is stopped. */
  async join() {
    const known = (await this.status()).viewers.map((v) => v.viewer);
    const watching = this.watch(500);
    const joined = (s) => s.viewers.find((v) => !known.includes(v.viewer) && v.connected_s != null);
    const { viewer } = joined(await this.statusWhere('the viewer is connected', joined, 90));
    return { viewer, stop: watching.stop };
  }

  /** This viewer is still there and gets pictures, whatever the camera does. */
  async picturesGoOn({ viewer }) {
    const sent = (s) => s.viewers.find((v) => v.viewer === viewer)?.pictures_sent ?? NaN;
    const before = sent(await this.status());
    await this.statusWhere(`viewer ${viewer} gets pictures`, (s) => sent(s) > before + 2);
  }

  async openFiles() {
    return Number(await this.guest.sh('ls /proc/$(cat /tmp/rtcam.pid)/fd | wc -l'));
  }

  /** A viewer of this machine gets so many pictures within so many seconds; a busy machine may spoil a try or two. */
  async shows(frames, seconds, ...checks) {
    for (let tried = 1; ; tried++) {
      try {
        const seen = await this.watch(seconds, ...checks).result;
        assert.ok(seen.frames >= frames, JSON.stringify(seen));
        return;
      } catch (error) {
        if (tried === 3) throw error;
        console.log(`  once more after: ${error.message.split('\n')[0]}`);
      }
    }
  }

  /** A viewer on this machine. `result` settles when it has watched for `seconds`; throws when a check of its own failed. */
  watch(seconds, ...checks) {
    const target = ['--whep', `${this.base}/whep`, '--password', password, ...this.guest.viewer];
    const viewer = { child: undefined, stopped: false };
    const play = () =>
      new Promise((done, fail) => {
        viewer.child = spawn(receiver, [...target, '--seconds', String(seconds), '--json', ...checks]);
        let out = '';
        let err = '';
        viewer.child.stdout.on('data', (data) => (out += data));
        viewer.child.stderr.on('data', (data) => (err += data));
        viewer.child.on('error', fail);
        viewer.child.on('close', (code) => done({ code, out, err }));
      });
    const result = (async () => {
      for (let attempt = 1; ; attempt++) {
        const { code, out, err } = await play();
        if (code === 0) return JSON.parse(out.trim().split('\n').pop());
        // the emulated CPU may need seconds to open the encoder; 503 asks the viewer to come again
        if (viewer.stopped || attempt === 5 || !err.includes('503')) {
          throw new Error(`receiver: status ${code}\n${err}\n${out}\n${this.log()}`);
        }
        await sleep(1000);
      }
    })();
    result.catch(() => {}); // it may fail before anybody waits for it
    const stop = () => {
      viewer.stopped = true;
      viewer.child.kill();
    };
    return { result, stop };
  }
}
