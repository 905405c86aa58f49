import assert from 'node:assert/strict';
import test from 'node:test';
import { digest } from '../../../web/stats.js';

function reading(timestamp, grown) {
  return [
    { type: 'inbound-rtp', kind: 'video', timestamp, codecId: 'c', frameWidth: 640, frameHeight: 480, packetsReceived: 900,
      packetsLost: 3, framesReceived: 60, framesDropped: 1, freezeCount: 0, bytesReceived: 250000 * grown, framesDecoded: 60 * grown,
      totalDecodeTime: 0.03 * grown, jitterBufferDelay: 0.6 * grown, jitterBufferEmittedCount: 60 * grown },
    { type: 'transport', selectedCandidatePairId: 'p2' },
    { type: 'candidate-pair', id: 'p1', nominated: true, state: 'succeeded', currentRoundTripTime: 9 },
    { type: 'candidate-pair', id: 'p2', nominated: true, state: 'succeeded', currentRoundTripTime: 0.004, localCandidateId: 'l', remoteCandidateId: 'r' },
    { type: 'local-candidate', id: 'l', protocol: 'udp' },
    { type: 'remote-candidate', id: 'r', candidateType: 'host', address: 'fe80::1', port: 8189 },
    { type: 'codec', id: 'c', mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=1;profile-level-id=42E01F' },
  ];
}

test('rates are what grew between two readings', () => {
  const figures = digest(reading(4000, 2), reading(2000, 1));
  assert.equal(figures.fps, 30);
  assert.equal(figures.kbps, 1000);
  assert.equal(figures.decodeMs.toFixed(2), '0.50');
  assert.equal(figures.jitterBufferMs.toFixed(2), '10.00');
});

test('a new connection counts from zero: its rates are not known yet, and never below zero', () => {
  const figures = digest(reading(4000, 1), reading(2000, 2));
  assert.deepEqual([figures.fps, figures.kbps, figures.decodeMs, figures.jitterBufferMs], [null, null, null, null]);
});

test('one reading tells what needs no second one', () => {
  const figures = digest(reading(2000, 1));
  assert.equal(figures.fps, null);
  assert.equal(figures.packetsLost, 3);
  assert.equal(figures.codec, 'H264 42e01f');
  assert.equal(figures.path, 'host/UDP [fe80::1]:8189');
  assert.equal(figures.roundTripMs, 4);
});

test('no video yet is null, missing fields are null', () => {
  assert.equal(digest([]), null);
  const bare = digest([{ type: 'inbound-rtp', kind: 'video', timestamp: 1 }]);
  assert.equal(bare.codec, null);
  assert.equal(bare.path, null);
  assert.equal(bare.roundTripMs, null);
});
