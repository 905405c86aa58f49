// rtcam as a service on a Debian for aarch64, from the tarball to the picture in Chromium, and what must not take it away.
// Runs in the network namespace of scripts/qemu/netns.sh: the guest is a machine of its own on the wire.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { keepPicture, logoError, measure, playsOn, playsOnAfterRestart, watchPage } from './page.mjs';
import { BACK_WITHIN_S, made } from './rtcam.mjs';
import { Service } from './service.mjs';
import { USB_ID, Webcam, webcamFiles } from './webcam.mjs';

const CAMERA = { source: 'v4l2', device: '/dev/video0', format: 'NV12', width: 320, height: 180, fps: 30 };
const TARBALLS = ['rtcam.tar.gz', 'newer.tar.gz', 'armv7.tar.gz'];

let rtcam;
let guest;
const tell = (text) => console.log(`  measured: ${text}`);

before(async () => {
  const tarballs = Object.fromEntries(TARBALLS.map((name) => [name, made(name)]));
  rtcam = await Service.inNewGuest('systemd', { ...tarballs, ...webcamFiles('arm64') });
  guest = rtcam.guest;
});
after(() => rtcam?.end());

describe('on a fresh Debian', () => {
  /** Everything an installation could leave behind. */
  const traces = () => guest.sh('find /etc /usr/local /usr/lib/sysusers.d /usr/lib/tmpfiles.d /var/lib | sort; cat /etc/passwd /etc/group');

  it('install.sh refuses the tarball of another architecture and leaves nothing', async () => {
    const before = await traces();
    await assert.rejects(rtcam.install('armv7.tar.gz'), /this rtcam is for armv7, and this machine is aarch64: get the tarball for aarch64\nrtcam: nothing was changed/);
    assert.equal(await traces(), before);
  });

  it('install.sh installs the right one, and the service runs at once', async () => {
    assert.match(await rtcam.install('rtcam.tar.gz'), /rtcam: runs/);
    const unit = await rtcam.unit('ActiveState', 'UnitFileState', 'User');
    assert.deepEqual(unit, { ActiveState: 'active', UnitFileState: 'enabled', User: 'rtcam' });
  });

  it('its sandbox is worth at most 2.0', async () => {
    const verdict = await guest.sh('systemd-analyze security --no-pager rtcam.service | tail -n 1');
    tell(verdict);
    assert.ok(Number(/([\d.]+) /.exec(verdict)[1]) <= 2, verdict);
  });

  it('it starts by itself after a reboot, with the config of its user', async () => {
    await rtcam.configure(CAMERA);
    await rtcam.armWedge();
    await guest.reboot();
    await rtcam.followLog();
    await rtcam.serves('the service starts by itself', 60);
    await guest.sh('v4l2-ctl -d0 -c osd_text_mode=2');
    const { camera } = await rtcam.live();
    assert.equal(camera.wire_format, 'NV12');
    assert.deepEqual(camera.size, { width: 320, height: 180 });
    assert.ok(await rtcam.healthy());
  });
});

describe('the page in Chromium', () => {
  let page;
  let close;

  before(async () => {
    ({ page, close } = await watchPage(`${rtcam.base}/`));
  });
  after(() => close?.());

  it('plays at 10 fps or more, with the logo', async () => {
    // a machine busy with other things may spoil a try
    let seen;
    for (let tried = 1; tried <= 3; tried++) {
      seen = await measure(page, 5);
      tell(`${seen.fps.toFixed(1)} frames per second at ${seen.after.width}x${seen.after.height}, ${seen.freezes} freezes in 5 s`);
      if (seen.fps >= 10) break;
    }
    const error = await logoError(page);
    tell(`the logo differs by ${error.toFixed(1)} of 255`);
    await keepPicture(page, 'page-guest.png');
    // where the host lets the guest make fewer, the page shows those
    const isAsGood = seen.fps >= 10 || (seen.made < 12 && seen.fps >= 0.8 * seen.made && seen.fps > 3);
    assert.ok(isAsGood, `${seen.fps} fps of ${seen.made} made`);
    assert.ok(error <= 12, `the logo is not where it should be: ${error}`);
  });

  describe('plays on', () => {
    /** Neither the fault nor the test may have cost the process. */
    async function inTheSameProcess(fault) {
      const before = await rtcam.process();
      await fault();
      await playsOn(page);
      assert.equal(await rtcam.process(), before, `rtcam was started again:\n${rtcam.log()}`);
    }

    it('when the camera disconnects but its node stays', () =>
      inTheSameProcess(() => rtcam.recoversFrom(() => guest.sh('v4l2-ctl -d0 -c disconnect=1'))));

    it('when the driver is unbound and bound again', () =>
      inTheSameProcess(() =>
        rtcam.recoversFrom(async () => {
          await guest.sh('echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind');
          await rtcam.statusWhere('the camera is away', (s) => s.camera.camera === 'away');
          await guest.sh('echo vivid.0 > /sys/bus/platform/drivers/vivid/bind');
        })));

    it('when the clock jumps ten years ahead, and back to ten years ago', () =>
      inTheSameProcess(async () => {
        for (const step of ['+10 years', '-20 years']) {
          await guest.sh(`date -s '${step}' > /dev/null`);
          await playsOn(page);
          // and for whoever comes now
          assert.ok((await rtcam.watch(4).result).frames > 0);
        }
        await guest.sh("date -s '+10 years' > /dev/null");
      }));

    it('when the disk is full, and a restart needs no room on it either', async () => {
      const room = () => guest.sh('df --output=avail -k /var | tail -n 1').then(Number);
      await guest.sh(`fallocate -l ${(await room()) - 2048}K /var/filler; cat /dev/zero > /var/filler.end 2> /dev/null || true`);
      try {
        assert.ok((await room()) < 64);
        await inTheSameProcess(() => guest.sh('echo no room for this | systemd-cat; sync'));
        await rtcam.comesBackAfter(() => rtcam.restart(), BACK_WITHIN_S);
        await playsOnAfterRestart(page);
        assert.ok(await rtcam.healthy());
        tell(`${await room()} KiB were free after the restart`);
      } finally {
        await guest.sh('rm /var/filler /var/filler.end');
      }
    });
  });

  describe('comes back by itself', () => {
    it('after kill -9', async () => {
      await rtcam.comesBackAfter(async () => guest.sh(`kill -9 ${await rtcam.process()}`), BACK_WITHIN_S);
      await playsOnAfterRestart(page);
    });

    for (const thread of ['capture', 'encode']) {
      it(`within 10 s of a hanging ${thread} thread`, async () => {
        let started = Infinity;
        // a busy host may spoil a try; how long the start itself takes says something about the emulation only
        for (let tried = 1; tried <= 3 && started > 10; tried++) {
          const hung = await rtcam.hang(thread);
          ({ started } = hung);
          tell(`a hanging ${thread} thread: ${started.toFixed(1)} s later the next process starts, after ${hung.serves.toFixed(1)} s it serves`);
          await playsOnAfterRestart(page);
        }
        assert.ok(started <= 10, `${started} s`);
      });
    }

    it('after an upgrade to a newer tarball, and then it is the newer one', async () => {
      const { server } = await rtcam.status();
      await rtcam.comesBackAfter(() => rtcam.install('newer.tar.gz'), BACK_WITHIN_S);
      await playsOnAfterRestart(page);
      const upgraded = (await rtcam.status()).server;
      tell(`${server} became ${upgraded}`);
      assert.equal(upgraded, server.replace(/\d+$/, (patch) => Number(patch) + 1));
      assert.match(await guest.sh('cat /etc/rtcam/rtcam.toml'), /width = 320/, 'the config is the one of its user');
    });
  });
});

describe('a USB webcam', () => {
  let webcam;

  it('is opened through udev and the sandbox, at whatever number', async () => {
    webcam = new Webcam(guest);
    await webcam.load();
    await webcam.plug();
    await rtcam.configure({ ...CAMERA, device: USB_ID, format: 'MJPG', width: 640, height: 480 });
    await rtcam.restart();
    const { camera } = await rtcam.live();
    assert.equal(camera.wire_format, 'MJPG');
    await rtcam.recoversFrom(async () => {
      await webcam.unplug();
      await rtcam.statusWhere('the camera is away', (s) => s.camera.camera === 'away');
      await guest.sh('rmmod vivid');
      await webcam.plug();
    });
    assert.notEqual((await rtcam.status()).camera.source, camera.source);
    assert.ok((await rtcam.watch(6).result).frames > 0);
  });
});

describe('at the end', () => {
  it('systemctl stop takes at most 3 s while somebody watches', async () => {
    let seconds = Infinity;
    // a busy host may spoil a try
    for (let tried = 1; tried <= 3 && seconds > 3; tried++) {
      if (tried > 1) await rtcam.start();
      const viewer = await rtcam.join();
      seconds = await rtcam.stop();
      viewer.stop();
      tell(`stopped in ${seconds.toFixed(2)} s`);
    }
    assert.ok(seconds <= 3, `${seconds} s`);
  });

  it('an upgrade leaves it off when its user has switched it off', async () => {
    await guest.sh('systemctl disable --now rtcam');
    assert.match(await rtcam.install('newer.tar.gz'), /stays so; on again with: systemctl enable --now rtcam/);
    const unit = await rtcam.unit('ActiveState', 'UnitFileState');
    assert.deepEqual(unit, { ActiveState: 'inactive', UnitFileState: 'disabled' });
  });
});
