// A QEMU guest under the control of a test: boots it, runs commands in it through the shared folder, ends it.
// Owns the guest process and its folder. Must never outlive the test. Needs what scripts/qemu/test.sh prepares.
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createSocket } from 'node:dgram';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const here = new URL('.', import.meta.url).pathname;
const root = join(here, '../..');

const freeTcpPort = () =>
  new Promise((done) => {
    const s = createServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => done(port));
    });
  });

const freeUdpPort = () =>
  new Promise((done) => {
    const s = createSocket('udp4').bind(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => done(port));
    });
  });

/** Waits until `test` gives something true, and returns it; throws with `what` after `seconds`. */
export async function until(what, seconds, test, every_ms = 50) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const got = await test();
    if (got) return got;
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain: ${what}`);
    await sleep(every_ms);
  }
}

export class Guest {
  #process;
  #exited = false;
  #commands = 0;
  #queue = Promise.resolve();

  /** Boots a guest whose /t holds `files` (name -> path on the host). Guest ports 8080 (TCP) and 8189 (UDP) are reachable. */
  static async boot(name, files) {
    const guest = new Guest();
    guest.name = name;
    guest.folder = mkdtempSync(join(tmpdir(), `rtcam-${name}-`));
    guest.httpPort = await freeTcpPort();
    guest.udpPort = await freeUdpPort();
    copyFileSync(join(here, 'guest-agent.sh'), join(guest.folder, 'test.sh'));
    for (const [as, path] of Object.entries(files)) copyFileSync(path, join(guest.folder, as));
    const forwards = `hostfwd=tcp:127.0.0.1:${guest.httpPort}-:8080,hostfwd=udp:127.0.0.1:${guest.udpPort}-:8189`;
    const console = openSync(join(guest.folder, 'console.log'), 'w');
    guest.#process = spawn(
      join(root, 'scripts/qemu/run9p.sh'),
      ['arm64', guest.folder, '-netdev', `user,id=n,${forwards}`, '-device', 'virtio-net-pci,netdev=n,romfile='],
      { stdio: ['ignore', console, console], env: { ...process.env, TMO: '600' } },
    );
    guest.#process.on('exit', () => (guest.#exited = true));
    process.on('exit', () => guest.#process.kill());
    await until(`guest ${name} boots`, 90, () => guest.#alive() && existsSync(join(guest.folder, 'cmd/ready')));
    return guest;
  }

  #alive() {
    if (!this.#exited) return true;
    throw new Error(`guest ${this.name} died:\n${readFileSync(join(this.folder, 'console.log'), 'utf8').slice(-2000)}`);
  }

  /** Runs shell text in the guest, waits for it and returns its output; throws when its status is not 0. */
  sh(text, seconds = 60) {
    const run = this.#queue.then(() => this.#run(text, seconds));
    this.#queue = run.catch(() => {});
    return run;
  }

  async #run(text, seconds) {
    const file = join(this.folder, 'cmd', String(++this.#commands));
    writeFileSync(`${file}.new`, `${text}\n`);
    renameSync(`${file}.new`, `${file}.sh`);
    await until(`the guest runs: ${text}`, seconds, () => this.#alive() && existsSync(`${file}.rc`));
    const out = readFileSync(`${file}.out`, 'utf8');
    const status = Number(readFileSync(`${file}.rc`, 'utf8'));
    if (status !== 0) throw new Error(`guest: status ${status}: ${text}\n${out}`);
    return out.trim();
  }

  /** A file of the guest's /t, as it is now. */
  read(name) {
    const path = join(this.folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  write(name, text) {
    writeFileSync(join(this.folder, name), text);
  }

  async stop() {
    mkdirSync(join(this.folder, 'cmd'), { recursive: true });
    this.write('cmd/stop', '');
    const end = Date.now() + 15_000;
    while (!this.#exited && Date.now() < end) await sleep(50);
    if (!this.#exited) this.#process.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
