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

/** The bare guest: two of its ports are reachable as ports of this machine. */
async function bare() {
  const http = `127.0.0.1:${await freeTcpPort()}`;
  const media = `127.0.0.1:${await freeUdpPort()}`;
  const forwards = `hostfwd=tcp:${http}-:8080,hostfwd=udp:${media}-:8189`;
  const network = ['-netdev', `user,id=n,${forwards}`, '-device', 'virtio-net-pci,netdev=n,romfile='];
  return { script: 'run9p.sh', network, http, viewer: ['--rewrite-candidate', media] };
}

/** The guest with systemd: a machine of its own on the wire that scripts/qemu/netns.sh made. */
const debian = async () => ({ script: 'run-systemd.sh', network: [], http: '10.99.0.2:8080', viewer: ['--bind', '10.99.0.1:0'] });

export class Guest {
  #process;
  #exited = false;
  #commands = 0;
  #queue = Promise.resolve();

  /** Boots a bare guest whose /t holds `files` (name -> path on the host). Its port 8080 is reached as
   *  `guest.http`, its UDP port 8189 by receivers that get the arguments `guest.viewer`. `environment` is for run9p.sh. */
  static boot(name, files, arch = 'arm64', environment = {}) {
    return Guest.#boot(name, files, arch, bare, environment);
  }

  /** Boots a Debian with systemd. */
  static bootDebian(name, files) {
    return Guest.#boot(name, files, 'arm64', debian, {});
  }

  static async #boot(name, files, arch, kind, environment) {
    const guest = new Guest();
    guest.name = name;
    guest.folder = mkdtempSync(join(tmpdir(), `rtcam-${name}-`));
    const { script, network, http, viewer } = await kind();
    Object.assign(guest, { http, viewer });
    copyFileSync(join(here, 'guest-agent.sh'), join(guest.folder, 'test.sh'));
    for (const [as, path] of Object.entries(files)) copyFileSync(path, join(guest.folder, as));
    const console = openSync(join(guest.folder, 'console.log'), 'w');
    guest.#process = spawn(join(root, 'scripts/qemu', script), [arch, guest.folder, ...network], {
      stdio: ['ignore', console, console],
      env: { ...process.env, TMO: '3600', ...environment },
    });
    guest.#process.on('exit', () => (guest.#exited = true));
    process.on('exit', () => guest.#process.kill());
    await until(`guest ${name} boots`, 300, () => guest.#alive() && guest.#bootId());
    return guest;
  }

  /** Of the boot whose agent listens. */
  #bootId() {
    return this.read('cmd/ready').trim();
  }

  /** Reboots as an administrator does; returns when commands are taken again. */
  async reboot() {
    const before = this.#bootId();
    await this.#queue;
    this.#post('systemctl --no-block reboot'); // nobody lives to tell how it went
    await until(`guest ${this.name} boots again`, 300, () => this.#alive() && ![before, ''].includes(this.#bootId()));
  }

  #alive() {
    if (!this.#exited) return true;
    throw new Error(`guest ${this.name} died:\n${readFileSync(join(this.folder, 'console.log'), 'utf8').slice(-2000)}`);
  }

  /** Runs shell text in the guest, waits for it and returns its output; throws when its status is not 0. */
  sh(text, seconds = 180) {
    const run = this.#queue.then(() => this.#run(text, seconds));
    this.#queue = run.catch(() => {});
    return run;
  }

  #post(text) {
    const file = join(this.folder, 'cmd', String(++this.#commands));
    writeFileSync(`${file}.new`, `${text}\n`);
    renameSync(`${file}.new`, `${file}.sh`);
    return file;
  }

  async #run(text, seconds) {
    const file = this.#post(text);
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
