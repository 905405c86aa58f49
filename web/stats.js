// Turns two readings of RTCPeerConnection.getStats() into the figures people read. Pure.

/** `reading` and `earlier` are arrays of stats objects; rates need both. Unknown figures are null. */
export function digest(reading, earlier = null) {
  const inbound = pick(reading);
  if (!inbound) return null;
  const before = (earlier && pick(earlier)) ?? {};
  const seconds = (inbound.timestamp - before.timestamp) / 1000;
  // Less than before: another connection, which counts from zero.
  const grown = (name) => (inbound[name] >= before[name] ? inbound[name] - before[name] : NaN);
  const byId = (id) => reading.find((stat) => id !== undefined && stat.id === id);
  const pair = selectedPair(reading);
  return {
    fps: finite(grown('framesDecoded') / seconds),
    kbps: finite((grown('bytesReceived') * 8) / 1000 / seconds),
    width: inbound.frameWidth ?? null,
    height: inbound.frameHeight ?? null,
    packetsReceived: inbound.packetsReceived ?? null,
    packetsLost: inbound.packetsLost ?? null,
    framesReceived: inbound.framesReceived ?? null,
    framesDecoded: inbound.framesDecoded ?? null,
    framesDropped: inbound.framesDropped ?? null,
    freezes: inbound.freezeCount ?? null,
    jitterBufferMs: finite((1000 * grown('jitterBufferDelay')) / grown('jitterBufferEmittedCount')),
    decodeMs: finite((1000 * grown('totalDecodeTime')) / grown('framesDecoded')),
    roundTripMs: finite(1000 * pair?.currentRoundTripTime),
    codec: codecName(byId(inbound.codecId)),
    path: pathName(byId(pair?.localCandidateId), byId(pair?.remoteCandidateId)),
  };
}

function pick(reading) {
  return reading.find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video');
}

function selectedPair(reading) {
  const transport = reading.find((stat) => stat.type === 'transport');
  return reading.find((stat) => stat.type === 'candidate-pair' && stat.id === transport?.selectedCandidatePairId)
    ?? reading.find((stat) => stat.type === 'candidate-pair' && stat.nominated && stat.state === 'succeeded');
}

function codecName(codec) {
  if (!codec) return null;
  const profile = /profile-level-id=([0-9a-f]{6})/i.exec(codec.sdpFmtpLine ?? '')?.[1];
  return codec.mimeType.replace('video/', '') + (profile ? ` ${profile.toLowerCase()}` : '');
}

function pathName(local, remote) {
  if (!remote) return null;
  const place = remote.address ?? remote.ip;
  const kind = [remote.candidateType, (local?.protocol ?? remote.protocol)?.toUpperCase()].filter(Boolean).join('/');
  return place ? `${kind} ${place.includes(':') ? `[${place}]` : place}:${remote.port}` : kind;
}

function finite(value) {
  return Number.isFinite(value) ? value : null;
}
