// The page's own figures for the board, every five seconds: what no server can know. Pure.

export const REPORT_EVERY_MS = 5000;

/** `figures`: of stats.js; `latency`: of latency.js. Null when there is nothing to report. */
export function report(figures, latency) {
  if (!figures) return null;
  const known = {
    fps: round(figures.fps, 1),
    freezes: figures.freezes,
    latency_ms: round(latency?.total, 1),
    round_trip_ms: round(figures.roundTripMs, 1),
    lost: figures.packetsLost,
    width: figures.width,
    height: figures.height,
  };
  return { type: 'report', ...Object.fromEntries(Object.entries(known).filter(([, value]) => Number.isFinite(value))) };
}

function round(value, digits) {
  return Number.isFinite(value) ? Number(value.toFixed(digits)) : null;
}
