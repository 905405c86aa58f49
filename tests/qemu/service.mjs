// rtcam as a service of a Debian guest: unpacked from its tarball, installed by install.sh, run by systemd.
import assert from 'node:assert/strict';
import { Guest } from './guest.mjs';
import { BACK_WITHIN_S, Rtcam, made, passwordHash } from './rtcam.mjs';

/** The folder whose files make threads hang (RTCAM_TEST_WEDGE). */
const WEDGE = '/run/rtcam-wedge';
const CONFIG = '/etc/rtcam/rtcam.toml';

export class Service extends Rtcam {
  static async inNewGuest(name, files) {
    return new Service(await Guest.bootDebian(name, files));
  }

  /** What install.sh of this tarball says; throws when it refuses. Each tarball is unpacked once, as its user does it. */
  async install(tarball) {
    await this.guest.sh(`mkdir -p ~/${tarball} && tar -xzf /t/${tarball} --strip-components=1 -C ~/${tarball}`);
    return this.guest.sh(`cd ~/${tarball} && ./install.sh`, 120);
  }

  /** The user's own config, for a camera of this section; and the journal as a file that tests can read at any time. */
  async configure(camera) {
    const lines = Object.entries(camera).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
    this.guest.write(
      'rtcam.toml',
      `[camera]\n${lines.join('\n')}\n
[[overlay]]\ntype = "logo"\ncorner = "top-right"\nmargin = 16\n
[http]\nlisten = "0.0.0.0:8080"\n
[auth]\npassword_hash = "${passwordHash}"\n`,
    );
    // written into the file that install.sh made, so that owner and mode stay
    await this.guest.sh(`cat /t/rtcam.toml > ${CONFIG}`);
  }

  /** Lets tests make threads hang, from the next start on. */
  async armWedge() {
    const dropIn = '/etc/systemd/system/rtcam.service.d';
    await this.guest.sh(`mkdir -p ${dropIn}
      printf '[Service]\\nEnvironment=RTCAM_TEST_WEDGE=${WEDGE}\\n' > ${dropIn}/test.conf; systemctl daemon-reload`);
  }

  /** The journal of this boot goes to a file on the host, for messages of failures. */
  async followLog() {
    await this.guest.sh('journalctl -b -f -u rtcam -o short-monotonic >> /t/rtcam.log 2>&1 &');
  }

  start() {
    return this.guest.sh('systemctl start rtcam');
  }

  restart() {
    return this.guest.sh('systemctl restart rtcam');
  }

  /** Properties of the unit as systemd tells them, by name. */
  async unit(...names) {
    const lines = await this.guest.sh(`systemctl show rtcam ${names.map((name) => `-p ${name}`).join(' ')}`);
    return Object.fromEntries(lines.split('\n').map((line) => line.split(/=(.*)/s)));
  }

  /** Which process it is; another one after a restart. */
  async process() {
    const { MainPID } = await this.unit('MainPID');
    return Number(MainPID);
  }

  /** Waits until a process other than `before` says that it serves. */
  serves(what, seconds = BACK_WITHIN_S, before = 0) {
    return this.waitFor(what, seconds, async () => {
      const { MainPID, ActiveState } = await this.unit('MainPID', 'ActiveState');
      return ActiveState === 'active' && Number(MainPID) !== before;
    });
  }

  /** Does `fault` to the process; systemd must start another one, and that must show the camera. */
  async comesBackAfter(fault, seconds) {
    const before = await this.process();
    await fault();
    await this.serves('systemd starts it again', seconds, before);
    await this.live();
  }

  /** Lets a thread hang. Returns how many seconds later another process was started, and when it served, by the guest's
   *  clock. */
  async hang(thread) {
    const file = `${WEDGE}/${thread}`;
    const told = () => this.guest.read('rtcam.log').split(`the ${thread} thread hangs`).length;
    const before = told();
    let hung;
    await this.comesBackAfter(async () => {
      hung = Number(await this.guest.sh(`mkdir -p ${WEDGE}; touch ${file}; cut -d' ' -f1 /proc/uptime`));
      // it hangs for good; the next process must not
      await this.waitFor(`the ${thread} thread hangs`, BACK_WITHIN_S, () => told() > before);
      await this.guest.sh(`rm ${file}`);
    }, 3 * BACK_WITHIN_S);
    const unit = await this.unit('ExecMainStartTimestampMonotonic', 'ActiveEnterTimestampMonotonic');
    const after = (stamp) => Number(stamp) / 1e6 - hung;
    return { started: after(unit.ExecMainStartTimestampMonotonic), serves: after(unit.ActiveEnterTimestampMonotonic) };
  }

  /** SIGTERM by systemd. Returns how many seconds the process took to end. */
  async stop() {
    const before = Number(await this.guest.sh("cut -d' ' -f1 /proc/uptime; systemctl stop rtcam"));
    const unit = await this.unit('Result', 'ExecMainStatus', 'ExecMainExitTimestampMonotonic');
    assert.deepEqual([unit.Result, unit.ExecMainStatus], ['success', '0'], this.log());
    return Number(unit.ExecMainExitTimestampMonotonic) / 1e6 - before;
  }

  async end() {
    this.keepLog();
    await this.guest.stop();
  }
}
