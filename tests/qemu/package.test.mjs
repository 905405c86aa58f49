// rtcam from its .deb on a Debian for aarch64: install, `rtcam doctor` with a real driver, upgrade, off stays off, remove, purge.
// Runs in the network namespace of scripts/qemu/netns.sh.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { FREE_CAMERA, HOLD_CAMERA, made } from './rtcam.mjs';
import { Service } from './service.mjs';

const NAME = 'vivid-000-vid-cap';
const CAMERA = { source: 'v4l2', device: `name:${NAME}`, width: 640, height: 360, fps: 30 };
const CONFIG = '/etc/rtcam/rtcam.toml';

let rtcam;
let guest;
const tell = (text) => console.log(`  measured: ${text}`);
const there = (path) => guest.sh(`[ -e ${path} ] && echo yes || echo no`).then((answer) => answer === 'yes');

before(async () => {
  const files = Object.fromEntries(['rtcam.deb', 'newer.deb'].map((name) => [name, made(name)]));
  rtcam = await Service.inNewGuest('package', files);
  guest = rtcam.guest;
});
after(() => rtcam?.end());

/** What doctor found: exit code, verdict, and all findings of a group as lines `level: what`. */
async function doctor(...sets) {
  const options = sets.map((set) => `--set '${set}'`).join(' ');
  const out = await guest.sh(`rtcam doctor --json --config ${CONFIG} ${options} 2> /dev/null; echo "exit $?"`);
  const [, json, exit] = /^(.*)\nexit (\d+)$/s.exec(out);
  const { can_stream, findings } = JSON.parse(json);
  const group = (name) => findings.filter((f) => f.group === name).map((f) => `${f.level}: ${f.what}`).join('\n');
  return { exit: Number(exit), can_stream, group };
}

/** Reading speeds of a buffer of the camera and of ordinary memory, and for which picture. */
function readSpeed(found) {
  const line = /^\w+: reading a buffer \((.*)\): (\d+) MB\/s, ordinary memory (\d+) MB\/s/m.exec(found.group('buffers'));
  assert.ok(line, found.group('buffers'));
  tell(line[0]);
  return { picture: line[1], buffer: Number(line[2]), ordinary: Number(line[3]) };
}

describe('dpkg -i', () => {
  it('installs, makes the user, and the service runs at once', async () => {
    await guest.sh('dpkg -i /t/rtcam.deb', 180);
    assert.match(await guest.sh('dpkg -s rtcam'), /^Status: install ok installed$/m);
    const unit = await rtcam.unit('ActiveState', 'UnitFileState', 'User');
    assert.deepEqual(unit, { ActiveState: 'active', UnitFileState: 'enabled', User: 'rtcam' });
    assert.match(await guest.sh('rtcam --version'), /^rtcam \d+\.\d+\.\d+$/);
    assert.equal(await guest.sh(`stat -c '%a %U:%G' ${CONFIG}`), '640 root:rtcam');
  });
});

describe('rtcam doctor', () => {
  before(async () => {
    await rtcam.configure(CAMERA);
    // who holds the camera would be told instead of what it is like
    await guest.sh('systemctl stop rtcam');
  });

  it('finds camera by name, formats, encoder and memory, measures a buffer, and says that rtcam can stream', async () => {
    const found = await doctor();
    const camera = found.group('camera');
    assert.match(camera, new RegExp(`^ok: /dev/video\\d+, the one rtcam takes \\(${NAME}\\): .*\\bNV12\\b.*\\bYUYV\\b|\\bYUYV\\b.*\\bNV12\\b`, 'm'));
    const { picture, buffer, ordinary } = readSpeed(found);
    assert.match(picture, /^NV12 640x360$/);
    assert.ok(buffer > 0 && ordinary > 0);
    assert.match(found.group('buffers'), /^ok: the camera's buffers can be exported \(dmabuf\)$/m);
    assert.match(found.group('encoder'), /^ok: openh264 opens for 640x360$/m);
    assert.match(found.group('memory'), /^ok: \d+ MiB free$/m);
    assert.deepEqual([found.exit, found.can_stream], [0, true], camera);
  });

  it('measures the buffers of a multi-planar camera', async () => {
    await guest.sh('modprobe -r vivid && modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0 multiplanar=2');
    const found = await doctor('camera.format=NM12');
    const { picture, buffer } = readSpeed(found);
    assert.match(picture, /^NM12 640x360$/);
    assert.ok(buffer > 0);
    assert.equal(found.exit, 0);
  });

  it('names the program that holds the camera, and then says that rtcam cannot stream', async () => {
    await guest.sh(HOLD_CAMERA);
    const found = await doctor();
    await guest.sh(FREE_CAMERA);
    assert.match(found.group('camera'), /^bad: .*the one rtcam takes.*: held by v4l2-ctl \(pid \d+\)$/m);
    assert.match(found.group('buffers'), /not measured: held by v4l2-ctl/);
    assert.deepEqual([found.exit, found.can_stream], [1, false]);
  });

  it('says that rtcam cannot stream without the driver', async () => {
    await guest.sh('modprobe -r vivid');
    const found = await doctor();
    assert.match(found.group('camera'), /^bad: .*no picture$/m);
    assert.deepEqual([found.exit, found.can_stream], [1, false]);
    await guest.sh('modprobe vivid');
  });
});

describe('dpkg', () => {
  it('upgrades, and keeps the config of its user', async () => {
    await guest.sh('systemctl start rtcam');
    await rtcam.serves('the service runs');
    const { server } = await rtcam.status();
    const next = server.replace(/\d+$/, (patch) => Number(patch) + 1);
    const before = await rtcam.process();
    // as an unattended upgrade does it; the newer package has another example
    await guest.sh('dpkg --force-confdef --force-confold -i /t/newer.deb', 180);
    await rtcam.serves('systemd starts the new one', undefined, before);
    assert.equal((await rtcam.status()).server, next);
    assert.match(await guest.sh('dpkg -s rtcam'), new RegExp(`^Version: ${next.replace(/\D*/, '')}$`, 'm'));
    assert.match(await guest.sh(`cat ${CONFIG}`), new RegExp(`device = "name:${NAME}"`));
    assert.equal(await guest.sh(`stat -c '%a %U:%G' ${CONFIG}`), '640 root:rtcam');
    assert.match(await guest.sh(`tail -n 1 ${CONFIG}.dpkg-dist`), /newer/);
  });

  it('leaves the service off when its user has switched it off', async () => {
    await guest.sh('systemctl disable --now rtcam');
    await guest.sh('dpkg --force-confdef --force-confold -i /t/newer.deb', 180);
    const unit = await rtcam.unit('ActiveState', 'UnitFileState');
    assert.deepEqual(unit, { ActiveState: 'inactive', UnitFileState: 'disabled' });
    await guest.sh('systemctl enable --now rtcam');
  });

  it('-r takes away all but config and state', async () => {
    await guest.sh('dpkg -r rtcam', 120);
    const { ActiveState, LoadState } = await rtcam.unit('ActiveState', 'LoadState');
    // what Debian does to a removed service, so that nothing starts it
    assert.deepEqual([ActiveState, LoadState], ['inactive', 'masked']);
    assert.deepEqual(await Promise.all([CONFIG, '/var/lib/rtcam', '/usr/bin/rtcam'].map(there)), [true, true, false]);
  });

  it('-P leaves nothing', async () => {
    await guest.sh('dpkg -P rtcam', 120);
    assert.equal(await guest.sh("find / -xdev -path /t -prune -o -path '*rtcam*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/log/*' -print"), '');
    await assert.rejects(guest.sh('dpkg -s rtcam'));
  });
});
