// table.mjs FOLDER OUT.json
// Reads what bench.sh measured (stages.json, frame_path.txt, viewers.json, browser.json) and prints the one table.
// Exit 1 when a figure is missing: a target missed is only said.

import fs from 'node:fs';
import path from 'node:path';

const [folder, out] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(folder, name), 'utf8');
const stages = JSON.parse(read('stages.json'));
const viewers = JSON.parse(read('viewers.json'));
const browser = JSON.parse(read('browser.json'));
const framePath = read('frame_path.txt');

const stage = (name) => stages.figures.find((figure) => figure.name === name)?.cpu_us;
const ms = (name) => stage(name) / 1000;
const thread = (phase, name) => viewers[phase].threads[name] ?? NaN;
const mb = (kb) => kb / 1024;

const rows = [
  row('Chromium: timecode to received, p50', 'ms', browser.to_received_ms?.p50, 1, { most: 8 }),
  row('Chromium: timecode to received, p95', 'ms', browser.to_received_ms?.p95, 1),
  row('Chromium: timecode to handed to the display, p50', 'ms', browser.to_presented_ms?.p50, 1),
  row('Chromium: timecode to displayed, p50', 'ms', browser.to_displayed_ms?.p50, 1, { most: 15 }),
  row('Chromium: timecode to displayed, p95', 'ms', browser.to_displayed_ms?.p95, 1),
  row('  at the next tick of the display, p50', 'ms', browser.to_shown_ms?.p50, 1),
  row('Chromium: pictures per second', '/s', browser.fps_presented, 2, { least: 29 }),
  row('Chromium: freezes', '', browser.freezes, 0, { most: 0 }),
  row('first frame after RTCPeerConnection, p50', 'ms', browser.first_frame_ms?.p50, 0, { most: 350 }),
  row('first frame after RTCPeerConnection, p95', 'ms', browser.first_frame_ms?.p95, 0),
  row('a change on one page until all show it, p50', 'ms', browser.change_seen_ms?.p50, 0),
  row('a change on one page until all show it, p95', 'ms', browser.change_seen_ms?.p95, 0, { most: 200 }),
  row('a newcomer until all show the name, p50', 'ms', browser.join_seen_ms?.p50, 0),
  row('a newcomer until all show the name, p95', 'ms', browser.join_seen_ms?.p95, 0, { most: 100 }),
  row('logo 256x64 on 1280x720', 'ms CPU', ms('logo 256x64 at 1280x720'), 4, { most: 0.1 }),
  row('logo: 1920x1080 against 640x480', 'times', ms('logo 256x64 at 1920x1080') / ms('logo 256x64 at 640x480'), 2, { most: 1.25 }),
  row('heap allocations per picture, capture to hub', '', Number(framePath.match(/allocations per picture: ([\d.]+)/)?.[1] ?? NaN), 3, { most: 0 }),
  row('memory with one viewer (headless)', 'MB', mb(viewers.one.rss_kb), 1, { most: 25 }),
  row('memory with one viewer (Chromium, all loads)', 'MB', mb(browser.server_rss_kb), 1, { most: 25 }),
  row('memory before anybody watched', 'MB', mb(viewers.nobody.rss_kb), 1),
  row('encode thread while nobody watches', '% core', thread('nobody', 'encode') / 10, 1, { most: 0 }),
  row('whole daemon while nobody watches', '% core', viewers.nobody.cpu_ms_per_s / 10, 1),
  row('whole daemon with one viewer', 'ms CPU/s', viewers.one.cpu_ms_per_s, 1),
  ...['capture', 'encode', 'webrtc-media', 'webrtc-lobby', 'rtcam'].map((name) => (
    row(`  thread ${name}`, 'ms CPU/s', thread('one', name), 1))),
  row(`each further viewer, of ${viewers.viewers}: CPU`, 'ms CPU/s', viewers.per_viewer.cpu_ms_per_s, 2),
  row(`each further viewer, of ${viewers.viewers}: memory`, 'KB', viewers.per_viewer.rss_kb, 0),
  row(`pictures per second of each of ${viewers.viewers}`, '/s', viewers.many.pictures_per_s, 2),
  row(`memory with one viewer after ${viewers.viewers} at once and ten in turn`, 'MB', mb(viewers.again.rss_kb), 1, { most: 25 }),
  row('memory after all left', 'MB', mb(viewers.after.rss_kb), 1),
  row('encode 640x480', 'ms CPU', ms('encode 640x480'), 3),
  row('encode 1280x720', 'ms CPU', ms('encode 1280x720'), 3),
];

function row(figure, unit, measured, digits, { most, least } = {}) {
  const rounded = Number.isFinite(measured) ? Number(measured.toFixed(digits)) : null;
  const target = most !== undefined ? `<= ${most}` : least !== undefined ? `>= ${least}` : '';
  const met = target === '' || rounded === null ? null : most !== undefined ? rounded <= most : rounded >= least;
  return { figure, unit, target, measured: rounded, met };
}

const print = (...cells) => console.log(cells.map((cell, i) => [String.prototype.padEnd, String.prototype.padStart][i === 1 || i === 2 ? 1 : 0]
  .call(cell, [54, 9, 11, 10, 4][i])).join(' ').trimEnd());
print('figure', 'target', 'measured', '', 'met');
for (const { figure, unit, target, measured, met } of rows) {
  print(figure, target, measured === null ? '?' : String(measured), unit, met === null ? '' : met ? 'yes' : 'no');
}
fs.writeFileSync(out, `${JSON.stringify({ figures: rows, stages, viewers, browser }, null, 1)}\n`);
const missing = rows.filter(({ measured }) => measured === null).map(({ figure }) => figure.trim());
if (missing.length) {
  console.error(`bench: not measured: ${missing.join('; ')}`);
  process.exitCode = 1;
}
