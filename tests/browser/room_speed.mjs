// How soon all see what one does, on the clocks of the pages: from the moment one page takes the click to the moment the
// last of the others shows it. The clocks are the machine's wall clock in milliseconds, one for all of them.

const CHANGES = 45;
/** The board takes ten joins at once and then two a second of one person; changes much faster. */
const CHANGE_EVERY_MS = 120;
const JOINS = 40;
const KEY = 'layer.0.opacity';

/** `from` holds the slider of the first layer in its open panel; each of `others` shows the same panel. In ms, one a change. */
export async function changesSeen(from, others) {
  const selector = `#set-${KEY.replace(/\./g, '-')}`;
  for (const page of others) await page.evaluate(keepSeen, selector);
  const asked = await from.evaluate(async ({ selector, count, every }) => {
    const slider = document.querySelector(selector);
    const asked = [];
    for (let i = 0; i < count; i++) {
      slider.value = String(10 + i);
      asked.push([slider.value, Date.now()]);
      slider.dispatchEvent(new Event('input'));
      await new Promise((resolve) => setTimeout(resolve, every));
    }
    return asked;
  }, { selector, count: CHANGES, every: CHANGE_EVERY_MS });
  return lastOf(asked, others);
}

/** People come in and go; from a newcomer's hello to its name in the open lists of `others`. In ms, one a person. */
export async function joinsSeen(door, others) {
  for (const page of others) await page.evaluate(keepSeen, '.person bdi');
  const asked = await door.evaluate(async (count) => {
    const asked = [];
    for (let i = 0; i < count; i++) {
      const name = `Guest ${i}`;
      const socket = new WebSocket(`ws://${location.host}/ws`);
      await new Promise((resolve) => { socket.onopen = resolve; });
      const welcomed = new Promise((resolve) => { socket.onmessage = ({ data }) => data.includes('"welcome"') && resolve(); });
      asked.push([name, Date.now()]);
      socket.send(JSON.stringify({ type: 'hello', version: 1, name }));
      await welcomed;
      await new Promise((resolve) => setTimeout(resolve, 60));
      socket.send(JSON.stringify({ type: 'bye', reason: 'left' }));
      socket.close();
    }
    return asked;
  }, JOINS);
  return lastOf(asked, others);
}

/** In the page: when each text or value was there for the first time. A look costs less than a millisecond, and one every
 *  four is as often as browsers allow. */
function keepSeen(selector) {
  clearInterval(globalThis.looking);
  const seen = globalThis.seen = new Map();
  globalThis.looking = setInterval(() => {
    const now = Date.now();
    for (const { value, textContent } of document.querySelectorAll(selector)) {
      const word = value ?? textContent;
      if (!seen.has(word)) seen.set(word, now);
    }
  }, 1);
}

async function lastOf(asked, others) {
  const [last] = asked.at(-1);
  for (const page of others) await page.waitForFunction((word) => globalThis.seen.has(word), last, { timeout: 45_000, polling: 50 });
  const all = [];
  for (const page of others) {
    all.push(new Map(await page.evaluate(() => {
      clearInterval(globalThis.looking);
      return [...globalThis.seen];
    })));
  }
  // who sees a later one is up to date: on a busy machine a page passes some over
  const firstOf = (seen) => asked.map(([word]) => seen.get(word) ?? Infinity).reduceRight((later, at) => [Math.min(at, later[0] ?? Infinity), ...later], []);
  const firsts = all.map(firstOf);
  return asked.map(([, at], i) => Math.max(...firsts.map((first) => first[i])) - at);
}

/** The value below which `share` of them lie. */
export function percentileOf(values, share) {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))];
}
