// The clock's question and answer in bytes, as they travel on the channel "telemetry". Pure.

const MARK = 0x01;
const ASK_BYTES = 9;
const ANSWER_BYTES = 17;

/** 0x01, then the page's time as a little-endian f64. */
export function clockQuestion(t0) {
  const view = new DataView(new ArrayBuffer(ASK_BYTES));
  view.setUint8(0, MARK);
  view.setFloat64(1, t0, true);
  return view.buffer;
}

/** { t0, server_us }; null for anything that is no answer. */
export function clockAnswer(buffer) {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength !== ANSWER_BYTES) return null;
  const view = new DataView(buffer);
  if (view.getUint8(0) !== MARK) return null;
  return { t0: view.getFloat64(1, true), server_us: Number(view.getBigUint64(9, true)) };
}
