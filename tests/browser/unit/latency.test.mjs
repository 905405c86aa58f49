import assert from 'node:assert/strict';
import test from 'node:test';
import { LatencyMeter, percentile, rtpDifference } from '../../../web/latency.js';

const SERVER_AHEAD_MS = 900000;

function meterWithClock() {
  const meter = new LatencyMeter();
  meter.clock.add(0, 1000 * (SERVER_AHEAD_MS + 1), 2);
  return meter;
}

/** The server's word about a picture taken at page time `at`. */
function picture(at, rtp) {
  const captured_us = 1000 * (SERVER_AHEAD_MS + at);
  return { type: 'stream', rtp, captured_us, encoded_us: captured_us + 6000 };
}

test('RTP timestamps are compared across the wrap', () => {
  assert.equal(rtpDifference(90, 0), 90);
  assert.equal(rtpDifference(10, 4294967290), 16);
  assert.equal(rtpDifference(4294967290, 10), -16);
});

test('a frame is dated by its RTP distance from the last picture the server spoke of', () => {
  const meter = meterWithClock();
  meter.picture(picture(1000, 4294967295));
  const shown = { rtpTimestamp: 90 * 33 - 1, receiveTime: 1045, presentationTime: 1050, expectedDisplayTime: 1060 };
  assert.ok(Math.abs(meter.frame(shown) - 27) < 0.1);
  const { total, parts, uncertainty } = meter.figures(1060);
  assert.ok(Math.abs(total - 27) < 0.1);
  assert.ok(Math.abs(parts.board - 6) < 0.01);
  assert.ok(Math.abs(parts.network - 6) < 0.1);
  assert.equal(parts.decode, 5);
  assert.equal(parts.display, 10);
  assert.ok(Math.abs(parts.board + parts.network + parts.decode + parts.display - total) < 0.001);
  assert.ok(uncertainty >= 1 && uncertainty < 1.2);
});

test('without a clock, a picture or the RTP timestamp there is no figure', () => {
  const shown = { rtpTimestamp: 0, receiveTime: 1, presentationTime: 2, expectedDisplayTime: 3 };
  const noClock = new LatencyMeter();
  noClock.picture(picture(0, 0));
  assert.equal(noClock.frame(shown), null);
  assert.equal(meterWithClock().frame(shown), null);
  const noTimestamp = meterWithClock();
  noTimestamp.picture(picture(0, 0));
  assert.equal(noTimestamp.frame({ presentationTime: 2, expectedDisplayTime: 3 }), null);
  assert.equal(noTimestamp.figures(3).total, null);
  noTimestamp.picture({ type: 'stream', rtp: 'x' });
  assert.notEqual(noTimestamp.frame(shown), null);
});

test('a browser that tells nothing of arrival still gets the total', () => {
  const meter = meterWithClock();
  meter.picture(picture(1000, 0));
  meter.frame({ rtpTimestamp: 0, presentationTime: 1010, expectedDisplayTime: 1020 });
  assert.equal(meter.figures(1020).total.toFixed(1), '20.0');
  assert.equal(meter.figures(1020).parts.network, null);
});

test('a frame is never shown before it was handed to the display', () => {
  const meter = meterWithClock();
  meter.picture(picture(1000, 0));
  meter.frame({ rtpTimestamp: 0, receiveTime: 1010, presentationTime: 1012, expectedDisplayTime: 995 });
  assert.equal(meter.figures(1012).total.toFixed(1), '12.0');
  assert.equal(meter.figures(1012).parts.display, 0);
});

test('a slow camera does not lengthen the way to the display: a prediction of a whole frame ahead is cut to one tick', () => {
  const meter = meterWithClock();
  meter.picture(picture(1000, 0));
  meter.frame({ rtpTimestamp: 0, receiveTime: 1002, presentationTime: 1004, expectedDisplayTime: 1204 });
  assert.equal(meter.figures(1204).total.toFixed(1), '20.7');
});

test('only the last two seconds count, and a new connection starts from nothing', () => {
  const meter = meterWithClock();
  meter.picture(picture(0, 0));
  for (let at = 0; at < 5000; at += 100) {
    meter.frame({ rtpTimestamp: at * 90, expectedDisplayTime: at + (at < 2500 ? 500 : 20) });
  }
  assert.equal(Math.round(meter.figures(5000).total), 20);
  assert.equal(meter.figures(9000).total, null);
  meter.reset();
  assert.equal(meter.figures(5000).total, null);
});

test('percentiles skip what is not a number', () => {
  assert.equal(percentile([], 0.5), null);
  assert.equal(percentile([NaN, 3, 1, 2, undefined], 0.5), 2);
  assert.equal(percentile([5, 1], 1), 5);
});
