// rtcam against the stock uvcvideo driver and an emulated USB webcam: MJPEG, unplug, another node number, a camera that hangs.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Rtcam } from './rtcam.mjs';

let rtcam;
let guest;
// the program is the camera: while it runs, the camera is plugged in
const plug = () => guest.sh('/t/webcam 30 /t/webcam.mjpeg > /t/webcam.log 2>&1 & echo $! > /tmp/webcam.pid');
const webcam = (signal) => guest.sh(`kill -${signal} $(cat /tmp/webcam.pid)`);

before(async () => {
  const files = { webcam: process.env.RTCAM_GUEST_WEBCAM, 'webcam.mjpeg': process.env.RTCAM_GUEST_MOVIE };
  rtcam = await Rtcam.inNewGuest('webcam', files);
  guest = rtcam.guest;
  await guest.sh('modprobe vhci-hcd; modprobe uvcvideo; chmod +x /t/webcam');
  await plug();
  await rtcam.start({ source: 'v4l2', device: 'usb:1d6b:0102', format: 'MJPG', width: 640, height: 480, fps: 30 });
});
after(() => rtcam?.end());

describe('an MJPEG webcam', () => {
  let viewer;
  let first;

  it('is found by its USB id and shown with the logo', async () => {
    const { camera } = await rtcam.live();
    assert.equal(camera.wire_format, 'MJPG');
    assert.deepEqual(camera.size, { width: 640, height: 480 });
    const seen = await rtcam.watch(8, '--expect-logo').result;
    assert.ok(seen.frames >= 5, JSON.stringify(seen));
  });

  it('may be unplugged: the viewer stays and gets a labelled picture', async () => {
    viewer = await rtcam.join();
    first = await rtcam.live();
    await webcam('KILL');
    const { camera } = await rtcam.statusWhere('the camera is away', (s) => s.camera.camera === 'away');
    assert.match(camera.reason, /^(unplugged|missing)$/);
    assert.ok(!(await rtcam.healthy()));
    await rtcam.picturesGoOn(viewer);
  });

  it('is found again under another node number', async () => {
    await guest.sh('modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0'); // takes the number that is free now
    await plug();
    const { camera } = await rtcam.live();
    assert.notEqual(camera.source, first.camera.source);
    assert.equal(camera.wire_format, 'MJPG');
    await rtcam.picturesGoOn(viewer);
  });

  it('that hangs is away after two seconds, and back when it goes on', async () => {
    await webcam('STOP');
    const { camera } = await rtcam.statusWhere('the camera is away', (s) => s.camera.camera === 'away');
    assert.equal(camera.reason, 'silent');
    await rtcam.picturesGoOn(viewer);
    await webcam('CONT');
    await rtcam.live();
    await rtcam.picturesGoOn(viewer);
  });

  it('is let go at the end', async () => {
    viewer.stop();
    await rtcam.stop();
  });
});
