// From the camera's glass to the viewer's eye, frame by frame. Pure: fed with what the sync channel says about one
// picture per second and with what the browser says about every frame it shows.

import { ClockSync } from './clock_sync.js';

const WINDOW_MS = 2000;
const ABSURD_MS = 60000;

/** a - b for 32-bit RTP timestamps that may have wrapped once: -2^31 .. 2^31-1. */
export function rtpDifference(a, b) {
  return (a - b) | 0;
}

/** The value below which `share` (0..1) of the values lie; null when there is none. */
export function percentile(values, share) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
}

/** One tick of a 60 Hz display. */
const DISPLAY_TICK_MS = 1000 / 60;

/** When the eye sees the frame: at the display tick after it was handed over. Browsers predict that tick, but Chromium's
 *  prediction is one *frame* later, 200 ms at 5 fps, and may also be a stale one from before the handing over. */
export function shownAt({ expectedDisplayTime, presentationTime }) {
  if (!Number.isFinite(presentationTime)) return expectedDisplayTime;
  return Math.min(Math.max(expectedDisplayTime, presentationTime), presentationTime + DISPLAY_TICK_MS);
}

export class LatencyMeter {
  clock = new ClockSync();
  #picture = null;
  #frames = [];

  /** A new connection: nothing known about the old one counts any more. */
  reset() {
    this.clock.reset();
    this.#picture = null;
    this.#frames = [];
  }

  /** The server's word on one picture: its RTP timestamp and its stamps on the server's clock. */
  picture(message) {
    if (Number.isFinite(message.rtp) && Number.isFinite(message.captured_us)) this.#picture = message;
  }

  /** One shown frame (metadata of requestVideoFrameCallback). Returns its latency in milliseconds, or null. */
  frame(metadata) {
    const shown = shownAt(metadata);
    const captured = this.#capturedAt(metadata.rtpTimestamp, shown);
    if (captured === null) return null;
    const total = shown - captured;
    if (!(total > -ABSURD_MS && total < ABSURD_MS)) return null;
    this.#frames.push({ at: shown, total, ...this.#split(metadata, captured) });
    while (this.#frames[0].at < shown - WINDOW_MS) this.#frames.shift();
    return total;
  }

  /** Medians over the last two seconds; null where a browser does not tell. */
  figures(now) {
    const recent = this.#frames.filter((frame) => frame.at > now - WINDOW_MS);
    const median = (name) => percentile(recent.map((frame) => frame[name]), 0.5);
    return {
      total: median('total'),
      worst: percentile(recent.map((frame) => frame.total), 0.95),
      uncertainty: this.clock.uncertainty(now),
      parts: { board: median('board'), network: median('network'), decode: median('decode'), display: median('display') },
    };
  }

  #capturedAt(rtp, now) {
    if (!this.#picture || !Number.isFinite(rtp) || !Number.isFinite(now)) return null;
    const server_ms = this.#picture.captured_us / 1000 + rtpDifference(rtp, this.#picture.rtp) / 90;
    return this.clock.toPage(server_ms, now);
  }

  #split(metadata, captured) {
    const { receiveTime, presentationTime } = metadata;
    const board = (this.#picture.encoded_us - this.#picture.captured_us) / 1000;
    return {
      board,
      network: receiveTime - captured - board,
      decode: presentationTime - receiveTime,
      display: shownAt(metadata) - presentationTime,
    };
  }
}
