// The whole pipeline through Rockchip's encoder interface: camera, overlay and MPP (the stand-in library of the tests, which
// encodes in software behind the same calls), WebRTC, and the picture in Chromium.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { assertMachineWasBusy, averageColours, isSmooth, measure, openViewer, tell, temporaryFolder, untilState, withServer } from './harness.mjs';
import { eventually } from './people.mjs';
import { plainPng } from './png.mjs';

const COLOUR = [30, 90, 200];
const [X, Y, WIDTH, HEIGHT] = [96, 208, 128, 64];

/** Built beside the server: `cargo build --examples`, or any `cargo test`. */
function standIn() {
  const library = path.join(path.dirname(process.env.RTCAM_BIN ?? ''), 'examples', 'libmpp_stub.so');
  assert.ok(fs.existsSync(library), `${library} is missing: run cargo build --example mpp_stub`);
  return library;
}

function configWith(library) {
  const folder = temporaryFolder();
  const logo = path.join(folder, 'logo.png');
  fs.writeFileSync(logo, plainPng(WIDTH, HEIGHT, [...COLOUR, 255]));
  const config = path.join(folder, 'rtcam.toml');
  fs.writeFileSync(config, `[encoder]\nbackend = "mpp"\nmpp_library = "${library}"\n`
    + `[[overlay]]\ntype = "logo"\nfile = "${logo}"\nx = ${X}\ny = ${Y}\n`);
  return config;
}

function distance(a, b) {
  return Math.max(...a.map((value, i) => Math.abs(value - b[i])));
}

/** A machine busy with other things may spoil a try, a stream that stutters by itself spoils all three. */
async function fullRate(page) {
  for (let tried = 1; ; tried++) {
    const seen = await measure(page, 5);
    tell(`${seen.fps.toFixed(2)} frames decoded per second over 5 s, ${seen.freezes} freezes`);
    if (isSmooth(seen)) return;
    if (tried === 3) return assertMachineWasBusy(seen);
  }
}

test('a picture that MPP encoded plays at full rate, with the logo in its place', { timeout: 900_000 }, async () => {
  await withServer({ config: configWith(standIn()) }, async ({ server, browser }) => {
    const page = await openViewer(browser, server.url);
    await untilState(page, 'live');
    const status = await (await fetch(`${server.url}api/v1/status`)).json();
    assert.equal(status.encoder?.name ?? status.encoder, 'mpp');
    const rectangles = [[X + 6, Y + 6, WIDTH - 12, HEIGHT - 12], [X + WIDTH + 8, Y, 16, HEIGHT]];
    // the first pictures are coarse
    const isThere = ([logo, beside]) => distance(logo, COLOUR) <= 16 && distance(beside, COLOUR) > 40;
    const [logo, beside] = await eventually(() => averageColours(page, rectangles), isThere, 'the logo');
    tell(`logo ${logo} (wanted ${COLOUR}), beside it ${beside}`);
    await fullRate(page);
    assert.deepEqual(page.faults, []);
  });
});
