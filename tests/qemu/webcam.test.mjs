// rtcam against the stock uvcvideo driver and an emulated USB webcam, on aarch64: unplug, another node number, a camera
// that hangs, in both of its formats.
import { after, before, describe } from 'node:test';
import { Rtcam } from './rtcam.mjs';
import { Webcam, describeWebcam, webcamFiles } from './webcam.mjs';

let rtcam;
let webcam;

before(async () => {
  rtcam = await Rtcam.inNewGuest('webcam', webcamFiles('arm64'));
  webcam = new Webcam(rtcam.guest);
  await webcam.load();
  await webcam.plug();
});
after(() => rtcam?.end());

for (const format of ['MJPG', 'YUYV']) {
  describe(`a USB webcam that gives ${format}`, () => describeWebcam(() => ({ rtcam, webcam }), format));
}
