// The logo of the config is in the picture the browser shows: right place, right colour, nowhere else.

import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { averageColours, openViewer, tell, temporaryFolder, untilState, withServer } from './harness.mjs';
import { eventually } from './people.mjs';
import { plainPng } from './png.mjs';

const COLOUR = [236, 120, 20];
const [X, Y, WIDTH, HEIGHT] = [96, 208, 128, 64];

function configWithLogo() {
  const folder = temporaryFolder();
  fs.writeFileSync(path.join(folder, 'logo.png'), plainPng(WIDTH, HEIGHT, [...COLOUR, 255]));
  const config = path.join(folder, 'rtcam.toml');
  fs.writeFileSync(config, `[[overlay]]\ntype = "logo"\nfile = "${path.join(folder, 'logo.png')}"\nx = ${X}\ny = ${Y}\n`);
  return config;
}

function distance(a, b) {
  return Math.max(...a.map((value, i) => Math.abs(value - b[i])));
}

test('the logo is seen where the config puts it and nowhere around it', { timeout: 240_000 }, async () => {
  await withServer({ config: configWithLogo() }, async ({ server, browser }) => {
    const page = await openViewer(browser, server.url);
    await untilState(page, 'live');
    const inside = [X + 6, Y + 6, WIDTH - 12, HEIGHT - 12];
    const around = [[X, Y - 24, WIDTH, 16], [X, Y + HEIGHT + 8, WIDTH, 16], [X - 24, Y, 16, HEIGHT], [X + WIDTH + 8, Y, 16, HEIGHT]];
    // the first pictures are coarse
    const isThere = ([logo, ...others]) => distance(logo, COLOUR) <= 16 && others.every((other) => distance(other, COLOUR) > 40);
    const [logo, ...others] = await eventually(() => averageColours(page, [inside, ...around]), isThere, 'the logo');
    tell(`logo ${logo} (wanted ${COLOUR}), around it ${others.join(' | ')}`);
  });
});
