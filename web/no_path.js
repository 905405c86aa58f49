// Why no path to the board works, in words: what it tried, what this browser had to offer, what to open. Pure.

const KINDS = ['host', 'mdns', 'srflx', 'prflx', 'relay'];
const ADVICE = ['open-udp', 'add-turn', 'add-extra-address'];
const NATS = ['no-nat', 'nat', 'cone', 'symmetric', 'unknown'];

/**
 * `tried`: of the error connect-timeout: { ours, theirs, checks_received, nat, udp_port, advice }, each may be missing; `gathered`:
 * kinds of this browser's candidates; `words(key, values)`. Returns lines of text; the last one is the advice.
 */
export function explainNoPath(tried, gathered, words) {
  if (!tried || typeof tried !== 'object') return [];
  const lines = [
    words('path_ours', { list: kindsOf(tried.ours, words) }),
    words('path_theirs', { list: kindsOf(gathered?.length ? gathered : tried.theirs, words) }),
  ];
  if (Number.isFinite(tried.checks_received)) {
    lines.push(tried.checks_received > 0 ? words('path_checks', { n: tried.checks_received }) : words('path_no_checks'));
  }
  if (tried.nat) lines.push(NATS.includes(tried.nat) ? words(`nat_${tried.nat}`) : words('nat_other', { nat: String(tried.nat).slice(0, 60) }));
  if (gathered?.length && gathered.every((kind) => kind === 'mdns')) lines.push(words('path_only_mdns'));
  if (tried.advice) lines.push(ADVICE.includes(tried.advice) ? words(`advice_${tried.advice}`, { port: tried.udp_port ?? '' }) : words('advice_other', { advice: String(tried.advice).slice(0, 80) }));
  return lines;
}

/** Entries are kinds ("host", "srflx udp 6"), or whatever else the board writes. */
function kindsOf(list, words) {
  const entries = (Array.isArray(list) ? list : []).map((entry) => describe(String(entry), words));
  return entries.length ? [...new Set(entries)].slice(0, 8).join(', ') : words('path_none');
}

function describe(entry, words) {
  const [kind, ...more] = entry.split(' ');
  return [KINDS.includes(kind) ? words(`candidate_${kind}`) : kind, ...more].join(' ').slice(0, 80);
}
