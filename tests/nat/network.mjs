// A small internet of network namespaces: a bridge as its middle, coturn on two public addresses, and boxes with one
// machine behind each that translate as home routers, carriers and offices do.
//
// Everything lives in the namespaces that run.sh makes and dies with them.

import { spawn, execFileSync } from 'node:child_process';

export const TURN = '203.0.113.2';
export const TURN_TOO = '203.0.113.3';
export const SECRET = 'north';

/** The kinds of boxes, as RFC 3489 called them, and a firewall that lets no UDP through. */
export const KINDS = ['none', 'full', 'address', 'port', 'symmetric', 'blocked'];

const run = (program, args, input) => execFileSync(program, args, { input, stdio: ['pipe', 'pipe', 'inherit'] }).toString();
export const inside = (space, ...command) => ['netns', 'exec', space, ...command];

/** Starts a program in a namespace; its output is kept for messages. */
export function start(space, program, args, options = {}) {
  const child = spawn('ip', inside(space, program, ...args), { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  child.log = '';
  child.out = '';
  child.stdout.on('data', (text) => { child.out += text; child.log = (child.log + text).slice(-6000); });
  child.stderr.on('data', (text) => { child.log = (child.log + text).slice(-6000); });
  child.ended = new Promise((resolve) => child.on('close', resolve));
  return child;
}

/** The rules of a box: `out` faces the internet with the address `wan`, `host` is the machine behind. */
function rules(kind, wan, host, forwarded) {
  const forwards = forwarded.map((port) => `iifname "out" tcp dport ${port} dnat to ${host}`).join('\n');
  const everything = ['full', 'address'].includes(kind) ? `iifname "out" meta l4proto udp dnat to ${host}` : '';
  const source = {
    none: '',
    full: `oifname "out" snat to ${wan}`,
    address: `oifname "out" snat to ${wan}`,
    port: 'oifname "out" masquerade',
    symmetric: 'oifname "out" masquerade random,fully-random',
    blocked: 'oifname "out" masquerade',
  }[kind];
  const filter = {
    none: 'accept',
    full: 'iifname "in" accept\nct status dnat accept',
    // whom the inside has sent to may send back from any port
    address: `iifname "in" meta l4proto udp add @spoken_to { ip daddr timeout 60s } accept
      iifname "in" accept
      iifname "out" meta l4proto udp ip saddr != @spoken_to drop
      ct status dnat accept`,
    port: 'iifname "in" accept\nct status dnat accept',
    symmetric: 'iifname "in" accept\nct status dnat accept',
    blocked: 'meta l4proto udp drop\niifname "in" accept\nct status dnat accept',
  }[kind];
  return `
    table ip nat {
      chain before { type nat hook prerouting priority -100; ${kind === 'none' ? '' : `${forwards}\n${everything}`}
      }
      chain after { type nat hook postrouting priority 100; ${source}
      }
    }
    table ip filter {
      set spoken_to { type ipv4_addr; flags dynamic,timeout; timeout 60s; }
      # a stray datagram that were taken in would be remembered as a connection, and take the port from the one inside
      chain box { type filter hook input priority 0; iifname "out" meta l4proto udp drop; }
      chain through { type filter hook forward priority 0; policy drop;
        ${filter}
        ct state established,related accept
      }
    }`;
}

/** One machine behind one box. `side`: b for the board, v for the viewer. */
function household(side, number, kind, forwarded) {
  const [box, machine] = [`${side}box-${kind}`, `${side}-${kind}`];
  const wan = `203.0.113.${(side === 'b' ? 20 : 40) + number}`;
  const isOpen = kind === 'none';
  const net = isOpen ? `198.51.100.${side === 'b' ? 0 : 128}` : `10.${side === 'b' ? 1 : 2}.${number}.0`;
  const at = (last) => net.replace(/\d+$/, (base) => Number(base) + last);
  const mask = isOpen ? 25 : 24;
  return {
    side, kind, box, machine, wan, host: at(2), isOpen, net: `${net}/${mask}`,
    // where others reach its forwarded ports
    door: isOpen ? at(2) : wan,
    commands: `
      netns add ${box}
      netns add ${machine}
      link add name ${side}w${number} type veth peer name out netns ${box}
      link set ${side}w${number} master middle up
      -n ${box} link add name in type veth peer name eth0 netns ${machine}
      -n ${box} link set lo up
      -n ${box} link set out up
      -n ${box} link set in up
      -n ${box} addr add ${wan}/24 dev out
      -n ${box} addr add ${at(1)}/${mask} dev in
      -n ${machine} link set lo up
      -n ${machine} link set eth0 up
      -n ${machine} addr add ${at(2)}/${mask} dev eth0
      -n ${machine} route add default via ${at(1)}`,
    rules: rules(kind, wan, at(2), forwarded),
  };
}

/** `ip` commands, one a line; `-n NAME` before those for another namespace, which are run after all others. */
function batch(commands) {
  const spaces = new Map([['', []]]);
  for (const line of commands.split('\n').map((words) => words.trim()).filter(Boolean)) {
    const [, space = '', command] = line.match(/^(?:-n (\S+) )?(.*)$/);
    if (!spaces.has(space)) spaces.set(space, []);
    spaces.get(space).push(command);
  }
  for (const [space, lines] of spaces) {
    if (lines.length) run('ip', [...(space ? ['-n', space] : []), '-batch', '-'], `${lines.join('\n')}\n`);
  }
}

/** The internet has a way for every packet, be it into the void. Where a machine has none, coturn's send to a viewer's or
 *  board's private address fails (udp send: Network is unreachable), and coturn 4.6 ends the whole TURN session for that
 *  (closed, reason: general), within the first second, if the private address is tried before the good path is found. */
const VOID = `
    -n turn link add name void type veth peer name void-end
    -n turn link set void arp off up
    -n turn link set void-end up
    -n turn route add default dev void`;

/** Makes all of it. `forwarded`: TCP ports that every box of a board forwards to it. */
export function build(forwarded) {
  const households = ['b', 'v'].flatMap((side) => KINDS.map((kind, number) => household(side, number, kind, side === 'b' ? forwarded : [])));
  batch(`
    link set lo up
    link add name middle type bridge
    link set middle up
    netns add turn
    link add name turnw type veth peer name eth0 netns turn
    link set turnw master middle up
    -n turn link set lo up
    -n turn link set eth0 up
    -n turn addr add ${TURN}/24 dev eth0
    -n turn addr add ${TURN_TOO}/24 dev eth0
    ${VOID}
    ${households.map((one) => one.commands).join('\n')}`);
  const open = households.filter((one) => one.isOpen);
  const routers = ['turn', ...households.map((one) => one.box)];
  batch(open.flatMap((one) => routers.filter((name) => name !== one.box).map((name) => `-n ${name} route add ${one.net} via ${one.wan}`)).join('\n'));
  for (const one of households) {
    run('ip', inside(one.box, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'));
    run('ip', inside(one.box, 'nft', '-f', '-'), one.rules);
  }
  const find = (side) => Object.fromEntries(households.filter((one) => one.side === side).map((one) => [one.kind, one]));
  return { boards: find('b'), viewers: find('v') };
}

/** Two machines on one wire with IPv6 and nothing else. */
export function buildIpv6() {
  batch(`
    netns add six-board
    netns add six-viewer
    -n six-board link add name eth0 type veth peer name eth0 netns six-viewer
    ${['six-board 2001:db8::1', 'six-viewer 2001:db8::2'].map((both) => {
      const [space, address] = both.split(' ');
      return `-n ${space} link set lo up
        -n ${space} link set eth0 up
        -n ${space} addr add ${address}/64 dev eth0 nodad`;
    }).join('\n')}`);
}

/** One wire with three machines: the board, somebody at home, and somebody who goes about. The board is the router of two
 *  networks on it. */
export function buildWire() {
  // an IPv6 address that comes up a second later is a change of network: Chromium gives up what it is loading just then
  const machine = (name, address) => `
    netns add wire-${name}
    link add name wire-${name} type veth peer name eth0 netns wire-${name}
    link set wire-${name} master wire up
    -n wire-${name} link set lo up
    -n wire-${name} link set eth0 addrgenmode none
    -n wire-${name} link set eth0 up
    -n wire-${name} addr add ${address}/24 dev eth0`;
  batch(`
    link set lo up
    link add name wire type bridge
    link set wire up
    ${machine('board', '10.9.0.1')}
    -n wire-board addr add 10.9.1.1/24 dev eth0
    ${machine('home', '10.9.0.2')}
    -n wire-home route add default via 10.9.0.1
    ${machine('away', '10.9.0.3')}
    -n wire-away route add default via 10.9.0.1`);
  run('ip', inside('wire-board', 'sysctl', '-qw', 'net.ipv4.ip_forward=1'));
}

/** `ip` inside a namespace, line by line. */
export function ipInside(space, ...lines) {
  run('ip', ['-n', space, '-batch', '-'], `${lines.join('\n')}\n`);
}

/** Firewall rules of a namespace from now on; '' takes them away. */
export function setFirewall(space, text) {
  run('ip', inside(space, 'nft', '-f', '-'), `flush ruleset\n${text}\n`);
}

/** coturn with time-limited credentials, on both addresses, UDP and TCP. */
export function startTurn() {
  return start('turn', 'turnserver', ['-n', '--listening-ip', TURN, '--listening-ip', TURN_TOO, '--relay-ip', TURN,
    '--realm', 'rtcam.test', '--use-auth-secret', '--static-auth-secret', SECRET, '--no-tls', '--no-dtls', '--no-cli',
    '--log-file', 'stdout', '--simple-log', '--pidfile', '/run/turnserver.pid', '--userdb', '/run/turndb', '--min-port', '50000', '--max-port', '51000', ...(process.env.NAT_DEBUG ? ['-v'] : [])]);
}
