// rtcam for armv7 on a Cortex-A7: a multi-planar camera (as Rockchip's), memory, the way to the first picture, USB webcams.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Rtcam } from './rtcam.mjs';
import { Webcam, describeWebcam, webcamFiles } from './webcam.mjs';

const camera = { source: 'v4l2', device: '/dev/video0', format: 'NM12', fps: 25 };

let rtcam;
let guest;

const plugCamera = (guest) =>
  guest.sh(`modprobe vivid n_devs=1 node_types=0x1 multiplanar=2 num_inputs=1 input_types=0
    v4l2-ctl -d0 -c osd_text_mode=2`);

before(async () => {
  rtcam = await Rtcam.inNewGuest('armhf', webcamFiles('armhf'), 'armhf');
  guest = rtcam.guest;
  await plugCamera(guest);
});
after(() => rtcam?.end());

describe('a multi-planar camera on armv7', () => {
  it('is shown with the logo', async () => {
    await rtcam.start({ ...camera, width: 320, height: 180 });
    const { camera: found } = await rtcam.live();
    assert.equal(found.wire_format, 'NM12');
    await rtcam.shows(5, 6, '--expect-logo');
    await rtcam.stop();
  });
});

describe('at 640x480 on armv7', () => {
  const MB = 1e6;
  let viewers = [];

  after(() => viewers.forEach((viewer) => viewer.stop()));

  /** Resident memory in MB, and what it is made of. */
  async function memory() {
    const lines = await guest.sh('grep -E "^(VmRSS|RssAnon|RssFile)" /proc/$(cat /tmp/rtcam.pid)/status');
    const of = (name) => (Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(lines)[1]) * 1024) / MB;
    return { all: of('VmRSS'), own: of('RssAnon'), files: of('RssFile') };
  }

  async function memoryWith(count, limit) {
    while (viewers.length < count) viewers.push(await rtcam.join());
    for (const viewer of viewers) await rtcam.picturesGoOn(viewer);
    // what a handshake needed for a moment goes back
    let now = await memory();
    for (let looked = 1; now.all > limit && looked < 20; looked++) {
      await sleep(500);
      now = await memory();
    }
    const { all, own, files } = now;
    console.log(`  measured: ${count} viewers: ${all.toFixed(1)} MB resident (${own.toFixed(1)} its own, ${files.toFixed(1)} of files)`);
    assert.ok(all <= limit, `${all} MB with ${count} viewers, at most ${limit} are promised`);
  }

  it('it starts', () => rtcam.start({ ...camera, width: 640, height: 480 }));

  it('one viewer costs at most 25 MB of memory', () => memoryWith(1, 25));

  it('eight viewers cost at most 30 MB of memory', () => memoryWith(8, 30));

  it('and the viewers are let go', async () => {
    viewers.forEach((viewer) => viewer.stop());
    viewers = [];
    await rtcam.stop();
  });
});

describe('a USB webcam on armv7', () => {
  let webcam;

  before(async () => {
    await guest.sh('rmmod vivid');
    webcam = new Webcam(guest);
    await webcam.load();
    await webcam.plug();
  });

  for (const format of ['MJPG', 'YUYV']) {
    describe(`that gives ${format}`, () => describeWebcam(() => ({ rtcam, webcam }), format));
  }
});

describe('on a processor of 500 million instructions a second', () => {
  let counted;

  before(async () => {
    await rtcam.end(); // one guest at a time
    counted = await Rtcam.inNewGuest('armhf-counted', {}, 'armhf', { COUNTED: 'yes' });
    await plugCamera(counted.guest);
  });
  after(() => counted?.end());

  it('the first picture is encoded after at most one second of its time', async () => {
    await counted.start({ ...camera, width: 640, height: 480 });
    const viewer = await counted.join();
    await counted.statusWhere('a picture is encoded', (s) => s.encoder.encoded > 0);
    // utime and stime of all threads, in hundredths; the handshake with the viewer is in it, and some pictures more
    const ticks = await counted.guest.sh("cut -d' ' -f14,15 /proc/$(cat /tmp/rtcam.pid)/stat");
    const seconds = ticks.split(' ').reduce((sum, n) => sum + Number(n) / 100, 0);
    viewer.stop();
    console.log(`  measured: ${seconds.toFixed(2)} s of processor time from the start until pictures are encoded`);
    assert.ok(seconds <= 1, `${seconds} s`);
    await counted.stop();
  });
});
