// Reads the TC40 timecode row (40 blocks of 16x16 pixels: sync 10, 32 bits of unix ms, 4 check bits, sync 01) out of
// every presented frame, inside the page. Self-contained: the function is sent to the browser as text.

/** Runs in the page before its own scripts: notes peer connections and reads every presented frame. */
export function probe() {
  const BLOCK = 16;
  const BLOCKS = 40;
  const seen = { connections: [], madeAt: null, firstAt: null, size: null, samples: [], unreadable: 0 };
  globalThis.__probe = seen;
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = new Proxy(Native, {
    construct(Target, args) {
      const connection = new Target(...args);
      seen.connections.push(connection);
      seen.madeAt ??= performance.now();
      return connection;
    },
  });

  const canvas = new OffscreenCanvas(BLOCKS * BLOCK, BLOCK);
  const drawing = canvas.getContext('2d', { willReadFrequently: true, alpha: false });

  /** The middle 8x8 pixels of each block, green above 127 is 1. */
  function bitsOf(video) {
    drawing.drawImage(video, 0, 0, BLOCKS * BLOCK, BLOCK, 0, 0, BLOCKS * BLOCK, BLOCK);
    const { data } = drawing.getImageData(0, BLOCK / 4, BLOCKS * BLOCK, BLOCK / 2);
    return Array.from({ length: BLOCKS }, (_, block) => {
      let sum = 0;
      for (let y = 0; y < BLOCK / 2; y++) {
        for (let x = block * BLOCK + BLOCK / 4; x < (block + 1) * BLOCK - BLOCK / 4; x++) sum += data[4 * (y * BLOCKS * BLOCK + x) + 1];
      }
      return sum / (BLOCK / 2) ** 2 > 127 ? 1 : 0;
    });
  }

  /** Unix milliseconds modulo 2^32; null when the row is not there or damaged. */
  function timecode(video) {
    const bits = bitsOf(video);
    if (bits[0] !== 1 || bits[1] !== 0 || bits[38] !== 0 || bits[39] !== 1) return null;
    const value = bits.slice(2, 34).reduce((sum, bit) => sum * 2 + bit, 0);
    let check = 0;
    for (let nibble = 0; nibble < 8; nibble++) check ^= Math.floor(value / 16 ** nibble) & 15;
    return check === bits.slice(34, 38).reduce((sum, bit) => sum * 2 + bit, 0) ? value : null;
  }

  function since(code, pageTime) {
    const now = performance.timeOrigin + pageTime;
    const difference = (Math.floor(now) % 2 ** 32) - code;
    return (difference < -(2 ** 31) ? difference + 2 ** 32 : difference) + (now % 1);
  }

  function watch(video) {
    const presented = (now, frame) => {
      const code = timecode(video);
      if (seen.firstAt === null) {
        seen.firstAt = performance.now();
        seen.size = [video.videoWidth, video.videoHeight];
      }
      if (code === null) seen.unreadable++;
      else {
        seen.samples.push({
          at: now, number: frame.presentedFrames, code,
          received: frame.receiveTime === undefined ? null : since(code, frame.receiveTime),
          presented: since(code, frame.presentationTime),
          // a display tick before the frame was handed over is a stale prediction
          displayed: since(code, Math.max(frame.expectedDisplayTime, frame.presentationTime)),
          // as the page reckons: the next tick of a 60 Hz display (Chromium's own prediction is one frame later)
          shown: since(code, Math.min(Math.max(frame.expectedDisplayTime, frame.presentationTime), frame.presentationTime + 1000 / 60)),
        });
      }
      video.requestVideoFrameCallback(presented);
    };
    video.requestVideoFrameCallback(presented);
  }

  const watched = new WeakSet();
  const scan = () => {
    for (const video of document.querySelectorAll('video')) {
      if (!watched.has(video)) {
        watched.add(video);
        watch(video);
      }
    }
  };
  new MutationObserver(scan).observe(document, { childList: true, subtree: true });
  document.addEventListener('DOMContentLoaded', scan);

  seen.read = async () => {
    const inbound = [];
    for (const connection of seen.connections) {
      inbound.push(...[...(await connection.getStats()).values()].filter((stat) => stat.type === 'inbound-rtp').map((stat) => ({ ...stat })));
    }
    return { at: performance.now(), inbound: inbound.at(-1) ?? {} };
  };
}
