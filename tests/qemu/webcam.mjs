// The emulated USB webcam, and what rtcam owes whoever has one: the same tests for every architecture.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { made } from './rtcam.mjs';

/** For the guest's /t. */
export const webcamFiles = (arch) => ({ webcam: made(`webcam-${arch}`), 'webcam.mjpeg': made('webcam.mjpeg') });

export const USB_ID = 'usb:1d6b:0102';

/** The webcam of a guest; the program is the camera: while it runs, the camera is plugged in. */
export class Webcam {
  constructor(guest) {
    this.guest = guest;
  }

  load() {
    return this.guest.sh('modprobe vhci-hcd; modprobe uvcvideo; chmod +x /t/webcam');
  }

  plug() {
    return this.guest.sh('/t/webcam 30 /t/webcam.mjpeg > /t/webcam.log 2>&1 & echo $! > /tmp/webcam.pid');
  }

  signal(name) {
    return this.guest.sh(`kill -${name} $(cat /tmp/webcam.pid)`);
  }

  unplug() {
    return this.signal('KILL');
  }
}

/** One camera through its life: found, unplugged while somebody watches, back under another number, hanging. `given` tells
 *  rtcam and webcam once the guest has booted; the webcam is plugged in at the start. */
export function describeWebcam(given, format) {
  let rtcam;
  let webcam;
  let viewer;
  let first;

  it('is found by its USB id and shown with the logo', async () => {
    ({ rtcam, webcam } = given());
    await rtcam.start({ source: 'v4l2', device: USB_ID, format, width: 640, height: 480, fps: 30 });
    const { camera } = await rtcam.live();
    assert.equal(camera.wire_format, format);
    assert.deepEqual(camera.size, { width: 640, height: 480 });
    await rtcam.shows(3, 5, '--expect-logo');
  });

  it('may be unplugged: the viewer stays and gets a labelled picture', async () => {
    viewer = await rtcam.join();
    first = await rtcam.live();
    await webcam.unplug();
    const { camera } = await rtcam.statusWhere('the camera is away', (s) => s.camera.camera === 'away');
    assert.match(camera.reason, /^(unplugged|missing)$/);
    assert.ok(!(await rtcam.healthy()));
    await rtcam.picturesGoOn(viewer);
  });

  it('is found again under another node number', async () => {
    // takes the number that is free now, for one it had before
    await webcam.guest.sh(`if [ -e /sys/bus/platform/drivers/vivid ]; then rmmod vivid; else
      modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0; fi`);
    await webcam.plug();
    const { camera } = await rtcam.live();
    assert.notEqual(camera.source, first.camera.source);
    assert.equal(camera.wire_format, format);
    await rtcam.picturesGoOn(viewer);
  });

  it('that hangs is away after two seconds, and back when it goes on', async () => {
    await webcam.signal('STOP');
    const { camera } = await rtcam.statusWhere('the camera is away', (s) => s.camera.camera === 'away');
    assert.equal(camera.reason, 'silent');
    await rtcam.picturesGoOn(viewer);
    await webcam.signal('CONT');
    await rtcam.live();
    await rtcam.picturesGoOn(viewer);
  });

  it('is let go at the end', async () => {
    viewer.stop();
    await rtcam.stop();
  });
}
