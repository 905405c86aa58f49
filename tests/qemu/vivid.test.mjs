// rtcam against the kernel's virtual camera: formats of both queue kinds, every fault it can inject, a busy camera.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { until } from './guest.mjs';
import { BACK_WITHIN_S, FREE_CAMERA, HOLD_CAMERA, Rtcam, password } from './rtcam.mjs';
import { RoomClient } from '../browser/room_client.mjs';

// Two cameras: /dev/video0 with the single-planar API, /dev/video1 with the multi-planar one (as Rockchip's ISP nodes).
// 320x180 is the smallest size: under emulation the encoder manages a few pictures per second at 640x480.
const SAID_WITHIN_MS = 1000 * BACK_WITHIN_S;
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
      await rtcam.shows(5, 5, '--expect-logo');
      assert.ok(await rtcam.healthy());
      await rtcam.stop();
    });
  }
});

describe('a camera somebody else streams from', () => {
  it('is named with the process that holds it, and taken when it is free', async () => {
    await guest.sh(HOLD_CAMERA);
    await rtcam.start({ ...single, format: 'NV12' });
    const { camera } = await rtcam.statusWhere('the camera is busy', (s) => s.camera.reason === 'busy');
    assert.match(camera.detail, /v4l2-ctl/);
    assert.ok(!(await rtcam.healthy()));
    await guest.sh(FREE_CAMERA);
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

describe("the camera's own controls, set by people of the room", () => {
  let ann;
  let bob;
  const onCamera = (control, value) => until(`the driver has ${control} at ${value}`, BACK_WITHIN_S, async () => (
    parseInt((await guest.sh(`v4l2-ctl -d0 -C ${control}`)).split(':')[1], 10) === value));
  const described = (name) => ann.describe.find(({ key }) => key === `control.${name}`);
  /** Both are told that it has this value now; returns who did it. */
  const bothHear = async (name, value, from) => {
    const tells = ({ values }) => values[`control.${name}`] === value;
    const [by] = await Promise.all([ann, bob].map((one, i) => one.until('patch', tells, SAID_WITHIN_MS, from[i]))).catch((error) => {
      throw new Error(`${error.message}\n${rtcam.log()}`);
    });
    return by.by;
  };
  /** The same when much changes at once, also which controls can be set: the whole state is told then, of nobody. */
  const bothSee = (name, value, from) => {
    const tells = ({ values }) => values[`control.${name}`] === value;
    const sees = (one, i) => Promise.any(['patch', 'state'].map((type) => one.until(type, tells, SAID_WITHIN_MS, from[i])));
    return Promise.all([ann, bob].map(sees)).catch((error) => {
      throw new Error(`${error.errors?.[0].message ?? error.message}\n${rtcam.log()}`);
    });
  };
  const soFar = () => [ann, bob].map(({ heard }) => heard.length);

  before(async () => {
    // of a test above that failed or was left out
    await guest.sh('kill $(cat /tmp/rtcam.pid) && sleep 3 || true');
    await guest.sh('v4l2-ctl -d0 -c brightness=128,gain_automatic=0,contrast=128,menu=3,horizontal_flip=0');
    await rtcam.start({ ...single, format: 'NV12' }, '[[camera.preset]]\nname = "night"\ncontrols = { brightness = 7, contrast = 200, horizontal_flip = true }');
    await rtcam.live();
    [ann, bob] = [await RoomClient.enter(rtcam.base, 'Ann', password), await RoomClient.enter(rtcam.base, 'Bob', password)];
  });
  after(async () => {
    ann?.leave();
    bob?.leave();
    await rtcam.stop();
  });

  it('are listed with the ranges of the driver', () => {
    const of = (name) => ({ ...described(name), key: undefined, name: undefined });
    const wanted = {
      brightness: { kind: 'integer', min: 0, max: 255, step: 1, default: 128 },
      hue: { kind: 'integer', min: -128, max: 128, step: 1, default: 0 },
      horizontal_flip: { kind: 'boolean', default: false },
      // the driver leaves out the second item
      menu: { kind: 'menu', default: 3, items: [[1, 'Menu Item 1'], [3, 'Menu Item 3'], [4, 'Menu Item 4']] },
      button: { kind: 'button' },
      read_only_integer_32_bits: { kind: 'integer', min: 0, max: 255, step: 1, default: 0, read_only: true },
    };
    for (const [name, fields] of Object.entries(wanted)) assert.deepEqual(of(name), { key: undefined, name: undefined, ...fields }, name);
    assert.equal(described('horizontal_flip').name, 'Horizontal Flip');
    assert.ok(!ann.describe.some(({ key }) => /bitmask|array|string|area/.test(key)), 'what is no single value is not offered');
    assert.deepEqual([ann.values['control.brightness'], ann.values['control.menu'], ann.values['control.horizontal_flip']], [128, 3, false]);
  });

  it('a change by one is heard by the other and arrives in the driver', async () => {
    const from = soFar();
    ann.set({ 'control.brightness': 40 });
    assert.equal(await bothHear('brightness', 40, from), ann.seat.id);
    await onCamera('brightness', 40);
  });

  it('a menu, a switch and a button as well', async () => {
    const from = soFar();
    bob.set({ 'control.menu': 4, 'control.vertical_flip': true });
    assert.equal(await bothHear('menu', 4, from), bob.seat.id);
    for (const [control, value] of [['menu', 4], ['vertical_flip', 1]]) await onCamera(control, value);
    bob.set({ 'control.vertical_flip': false });
    await onCamera('vertical_flip', 0);
    // it has no value that anybody could read: taken is what is not refused before the next change
    const pressed = soFar();
    ann.set({ 'control.button': true });
    ann.set({ 'control.hue': 9 });
    await bothHear('hue', 9, pressed);
    assert.deepEqual(ann.heard.slice(pressed[0]).filter(({ type }) => type === 'error'), []);
  });

  it('a change by another program is heard by both', async () => {
    const from = soFar();
    await guest.sh('v4l2-ctl -d0 -c contrast=99');
    assert.equal(await bothHear('contrast', 99, from), null);
  });

  it('what has no effect now says so, and no longer when it has', async () => {
    bob.set({ 'control.gain_automatic': true });
    await until('the gain is inactive', BACK_WITHIN_S, () => described('gain').inactive === true);
    bob.set({ 'control.gain_automatic': false });
    await until('the gain counts again', BACK_WITHIN_S, () => !described('gain').inactive);
  });

  it('a value out of range and one that can only be read are refused', async () => {
    for (const values of [{ 'control.brightness': 100_000 }, { 'control.enable_capture_scaler': false }]) {
      const from = soFar();
      ann.set(values);
      await ann.until('error', ({ code }) => code === 'bad-value', SAID_WITHIN_MS, from[0]);
    }
    await onCamera('brightness', 40);
  });

  it('a preset of the config sets what it names', async () => {
    const from = soFar();
    bob.set({ preset: 'night' });
    assert.equal(await bothHear('brightness', 7, from), bob.seat.id);
    for (const [control, value] of [['brightness', 7], ['contrast', 200], ['horizontal_flip', 1]]) await onCamera(control, value);
  });

  it('reset brings the defaults back', async () => {
    const from = soFar();
    ann.set({ reset: true });
    await bothSee('brightness', described('brightness').default, from);
    for (const [control, value] of [['brightness', 128], ['contrast', 128], ['horizontal_flip', 0], ['menu', 3]]) await onCamera(control, value);
  });
});
