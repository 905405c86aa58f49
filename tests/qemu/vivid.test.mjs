// rtcam against the kernel's virtual camera: formats of both queue kinds, every fault it can inject, a busy camera.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Rtcam } from './rtcam.mjs';

// Two cameras: /dev/video0 with the single-planar API, /dev/video1 with the multi-planar one (as Rockchip's ISP nodes).
// 320x180 is the smallest size: under emulation the encoder manages a few pictures per second at 640x480.
const SIZE = { width: 320, height: 180, fps: 30 };
const single = { source: 'v4l2', device: '/dev/video0', ...SIZE };
const multi = { source: 'v4l2', device: '/dev/video1', ...SIZE };

let rtcam;
let guest;
const press = (control, value = 1) => guest.sh(`v4l2-ctl -d0 -c ${control}=${value}`);

before(async () => {
  rtcam = await Rtcam.inNewGuest('vivid');
  guest = rtcam.guest;
  await guest.sh(`modprobe vivid n_devs=2 node_types=0x1,0x1 multiplanar=1,2 num_inputs=1,1 input_types=0,0
    for d in 0 1; do v4l2-ctl -d$d -c osd_text_mode=2; done`);
});
after(() => rtcam?.end());

describe('a receiver gets the picture with the logo', () => {
  for (const [format, camera] of [['NV12', single], ['YUYV', single], ['NM12', multi]]) {
    it(`from a camera that gives ${format}`, async () => {
      await rtcam.start({ ...camera, format });
      const { camera: found } = await rtcam.live();
      assert.equal(found.wire_format, format);
      assert.deepEqual(found.size, { width: 320, height: 180 });
      const seen = await rtcam.watch(5, '--expect-logo').result;
      assert.ok(seen.frames >= 5, JSON.stringify(seen));
      assert.ok(await rtcam.healthy());
      await rtcam.stop();
    });
  }
});

describe('a camera somebody else streams from', () => {
  it('is named with the process that holds it, and taken when it is free', async () => {
    await guest.sh('v4l2-ctl -d0 --stream-mmap=3 --stream-count=100000 > /dev/null 2>&1 & echo $! > /tmp/holder; sleep 2');
    await rtcam.start({ ...single, format: 'NV12' });
    const { camera } = await rtcam.statusWhere('the camera is busy', (s) => s.camera.reason === 'busy');
    assert.match(camera.detail, /v4l2-ctl/);
    assert.ok(!(await rtcam.healthy()));
    await guest.sh('kill $(cat /tmp/holder)');
    await rtcam.live();
  });

  it('is not taken away from rtcam by a second opener', async () => {
    await rtcam.live();
    await assert.rejects(guest.sh('v4l2-ctl -d0 --set-fmt-video=width=640,height=360 2>&1 && timeout 5 v4l2-ctl -d0 --stream-mmap=3 --stream-count=1 2>&1'), /busy/i);
    await rtcam.live();
    await rtcam.stop();
  });
});

describe('a viewer stays and gets pictures through the same track', () => {
  let viewer;
  let opens;
  let files;

  before(async () => {
    await rtcam.start({ ...single, format: 'NV12' });
    await rtcam.live();
    viewer = await rtcam.join();
    opens = (await rtcam.live()).camera.opens;
    files = await rtcam.openFiles();
  });
  after(() => viewer?.stop());

  const stays = () => rtcam.picturesGoOn(viewer);

  it('when half of the buffers are dropped', async () => {
    await press('percentage_of_dropped_buffers', 50);
    await stays();
    await press('percentage_of_dropped_buffers', 0);
    const { camera } = await rtcam.live();
    assert.equal(camera.opens, opens);
  });

  it('when a buffer carries the error flag: the camera is kept', async () => {
    await press('inject_v4l2_buf_flag_error');
    await stays();
    const { camera } = await rtcam.live();
    assert.equal(camera.opens, opens);
  });

  it('when streaming fails for good', async () => {
    await rtcam.recoversFrom(() => press('inject_fatal_streaming_error'));
    await stays();
  });

  it('when queueing a buffer fails', async () => {
    await rtcam.recoversFrom(() => press('inject_vidioc_qbuf_error'));
    await stays();
  });

  for (const control of ['inject_vidioc_reqbufs_error', 'inject_vidioc_streamon_error']) {
    it(`when the camera also refuses to start again (${control})`, async () => {
      await rtcam.recoversFrom(async () => {
        await press(control);
        await press('inject_fatal_streaming_error');
      });
      await stays();
    });
  }

  it('when the camera disconnects but its node stays', async () => {
    await rtcam.recoversFrom(() => press('disconnect'));
    await stays();
  });

  it('when the driver is unbound, with a labelled picture until it is bound again', async () => {
    await rtcam.recoversFrom(async () => {
      await guest.sh('echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind; [ ! -e /dev/video0 ]');
      const { camera } = await rtcam.statusWhere('the camera is away', (s) => s.camera.camera === 'away');
      assert.match(camera.reason, /^(unplugged|missing)$/);
      assert.ok(!(await rtcam.healthy()));
      await stays();
      await guest.sh('echo vivid.0 > /sys/bus/platform/drivers/vivid/bind');
    });
    await stays();
    assert.ok(await rtcam.healthy());
  });

  it('and no file is left open after all of that', async () => {
    const { viewers } = await rtcam.live();
    assert.equal(viewers.length, 1);
    assert.ok((await rtcam.openFiles()) <= files, 'open files grew');
    viewer.stop();
    await rtcam.stop();
  });
});
