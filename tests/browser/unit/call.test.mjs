import assert from 'node:assert/strict';
import test from 'node:test';
import { Call } from '../../../web/call.js';
import { PeerLink } from '../../../web/peer_link.js';

/** Two people and a board between them that relays as the contract says. */
function meeting() {
  const time = { now: 0, timers: [], setTimeout: (run, ms) => time.timers.push({ run, at: time.now + ms, live: true }), clearTimeout: (id) => { if (time.timers[id - 1]) time.timers[id - 1].live = false; }, pass: (ms) => {
    time.now += ms;
    for (const timer of time.timers.filter((one) => one.live && one.at <= time.now)) {
      timer.live = false;
      timer.run();
    }
  } };
  const people = {};
  const wire = [];
  for (const [id, name] of [[1, 'Ann'], [2, 'Bob'], [3, 'Carl']]) {
    const person = people[id] = { id, name, views: [], links: [], sent: [] };
    person.call = new Call({
      me: () => id, time,
      changed: (view) => person.views.push(view.state + (view.why ? ` ${view.why}` : '')),
      link: (options) => {
        const link = { ...options, heardBodies: [], heard: (body) => link.heardBodies.push(body), close: () => { link.closed = true; } };
        person.links.push(link);
        return link;
      },
      send: (message) => {
        person.sent.push(message.type);
        wire.push([message.to, message.type === 'call' ? { type: 'call', from: id, name } : { ...message, from: id, to: undefined }]);
        return true;
      },
    });
  }
  const carry = () => { while (wire.length) { const [to, message] = wire.shift(); people[to].call.hear(message); } };
  return { ann: people[1], bob: people[2], carl: people[3], time, wire, carry };
}

const BOB = { id: 2, name: 'Bob' };

test('call, ring, accept, talk, hang up', () => {
  const { ann, bob, carry } = meeting();
  assert.ok(ann.call.call(BOB));
  carry();
  assert.equal(bob.call.state, 'ringing');
  assert.equal(bob.call.peer.name, 'Ann');
  bob.call.accept();
  carry();
  assert.equal(ann.links[0].polite, false);
  assert.equal(bob.links[0].polite, true);
  ann.links[0].send('offer');
  carry();
  assert.deepEqual(bob.links[0].heardBodies, ['offer']);
  for (const one of [ann, bob]) one.links[0].on.open({});
  assert.deepEqual([ann.call.state, bob.call.state], ['talking', 'talking']);
  bob.call.hangUp();
  carry();
  assert.deepEqual(ann.views, ['calling', 'connecting', 'talking', 'idle hung-up']);
  assert.ok(ann.links[0].closed && bob.links[0].closed);
});

test('a declined, an unanswered and a withdrawn call end in words on both sides', () => {
  const { ann, bob, carry, time } = meeting();
  ann.call.call(BOB);
  carry();
  bob.call.decline();
  carry();
  assert.equal(ann.views.at(-1), 'idle declined');
  ann.call.call(BOB);
  carry();
  time.pass(45000);
  carry();
  assert.equal(ann.views.at(-1), 'idle no-answer');
  assert.equal(bob.views.at(-1), 'idle missed');
  ann.call.call(BOB);
  carry();
  ann.call.hangUp();
  carry();
  assert.equal(bob.views.at(-1), 'idle missed');
});

test('who is busy declines a second caller and keeps the first', () => {
  const { ann, bob, carl, carry } = meeting();
  ann.call.call(BOB);
  carry();
  carl.call.call(BOB);
  carry();
  assert.equal(carl.views.at(-1), 'idle declined');
  assert.equal(bob.call.peer.name, 'Ann');
  assert.ok(!bob.call.call({ id: 3, name: 'Carl' }));
});

test('two who call each other at the same moment talk at once, with one caller', () => {
  const { ann, bob, carry } = meeting();
  ann.call.call(BOB);
  bob.call.call({ id: 1, name: 'Ann' });
  carry();
  assert.deepEqual([ann.call.state, bob.call.state], ['connecting', 'connecting']);
  assert.deepEqual([ann.links[0].polite, bob.links[0].polite], [false, true]);
  assert.deepEqual([ann.links.length, bob.links.length], [1, 1]);
});

test('words of strangers are not heard', () => {
  const { ann, carl, carry } = meeting();
  ann.call.call(BOB);
  for (const type of ['accept', 'decline', 'hangup', 'relay']) ann.call.hear({ type, from: 3, body: 'x' });
  assert.equal(ann.call.state, 'calling');
  assert.equal(ann.links.length, 0);
  carl.call.hear({ type: 'relay', from: 1, body: 'x' });
  assert.equal(carl.call.state, 'idle');
  carry();
});

test('who leaves, or loses his seat, ends the call', () => {
  for (const message of [{ type: 'peers', left: 2, reason: 'lost' }, { type: 'welcome', resumed: false }]) {
    const { ann, bob, carry } = meeting();
    ann.call.call(BOB);
    carry();
    bob.call.accept();
    carry();
    ann.call.hear(message);
    assert.equal(ann.call.state, 'idle');
    assert.ok(ann.links[0].closed);
  }
  const { ann, bob, carry } = meeting();
  ann.call.call(BOB);
  carry();
  bob.call.accept();
  carry();
  ann.call.hear({ type: 'welcome', resumed: true });
  assert.equal(ann.call.state, 'connecting', 'the same seat: the call goes on');
});

test('a link that finds no path hangs up and says so', () => {
  const { ann, bob, carry } = meeting();
  ann.call.call(BOB);
  carry();
  bob.call.accept();
  carry();
  ann.links[0].on.lost('no-path');
  carry();
  assert.equal(ann.views.at(-1), 'idle no-path');
  assert.equal(bob.views.at(-1), 'idle hung-up');
});

/** As much of an RTCPeerConnection as negotiation needs: signalling states, rollback, glare. */
class Connection {
  signalingState = 'stable';
  connectionState = 'new';
  localDescription = null;
  log = [];
  channels = [];

  createDataChannel(label) {
    const channel = { label, readyState: 'connecting' };
    this.channels.push(channel);
    return channel;
  }

  async setLocalDescription() {
    const type = this.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    this.signalingState = type === 'offer' ? 'have-local-offer' : 'stable';
    this.localDescription = { type, sdp: `${type}${this.log.length}` };
    this.log.push(`local ${type}`);
  }

  async setRemoteDescription({ type }) {
    if (type === 'answer' && this.signalingState !== 'have-local-offer') throw new Error('unexpected answer');
    if (type === 'offer' && this.signalingState === 'have-local-offer') this.log.push('rollback');
    this.signalingState = type === 'offer' ? 'have-remote-offer' : 'stable';
    this.log.push(`remote ${type}`);
  }

  async addIceCandidate(candidate) { this.log.push(`candidate ${candidate.candidate}`); }
  restartIce() { this.log.push('restart'); this.onnegotiationneeded?.(); }
  close() { this.signalingState = 'closed'; }
}

function linked() {
  const time = { timers: [], setTimeout: (run, ms) => time.timers.push({ run, ms }), clearTimeout: (id) => { if (time.timers[id - 1]) time.timers[id - 1].run = () => {}; } };
  const ends = [new Connection(), new Connection()];
  const wire = [];
  const lost = [];
  const links = ends.map((pc, i) => new PeerLink(pc, { polite: i === 1, time, send: (body) => wire.push([1 - i, body]), on: { open: () => {}, lost: (why) => lost.push([i, why]) } }));
  const carry = async () => { for (let i = 0; i < 50; i++) { await new Promise((resolve) => setImmediate(resolve)); const next = wire.shift(); if (next) await links[next[0]].heard(next[1]); } };
  return { ends, links, wire, carry, time, lost };
}

test('two offers at once: the polite side gives way and both end stable', async () => {
  const { ends, carry, wire } = linked();
  ends[0].onnegotiationneeded();
  ends[1].onnegotiationneeded();
  await carry();
  assert.deepEqual(ends.map((pc) => pc.signalingState), ['stable', 'stable']);
  assert.deepEqual(ends[0].log, ['local offer', 'remote answer']);
  assert.deepEqual(ends[1].log, ['local offer', 'rollback', 'remote offer', 'local answer']);
  assert.equal(wire.length, 0);
});

test('candidates travel together, and the impolite side makes both channels', async () => {
  const { ends, wire, time, carry } = linked();
  assert.deepEqual(ends[0].channels.map(({ label }) => label), ['talk', 'files']);
  assert.deepEqual(ends[1].channels, []);
  for (let i = 0; i < 8; i++) ends[0].onicecandidate({ candidate: { candidate: `c${i}` } });
  ends[0].onicecandidate({ candidate: null });
  assert.equal(wire.length, 0);
  time.timers.find(({ ms }) => ms === 100).run();
  assert.equal(wire.length, 1);
  await carry();
  assert.equal(ends[1].log.length, 8);
});

test('garbage over the relay does not end a link', async () => {
  const { links, ends, lost } = linked();
  for (const body of ['', '{', 'null', '{"description":7}', '{"candidates":[1]}', '[]']) await links[1].heard(body);
  assert.deepEqual(lost, []);
  assert.notEqual(ends[1].signalingState, 'closed');
});

test('a link without a path ends after twenty seconds; one that breaks restarts its paths first', () => {
  const { ends, time, lost } = linked();
  time.timers.find(({ ms }) => ms === 20000).run();
  assert.deepEqual(lost, [[0, 'no-path']]);
  const second = linked();
  second.ends[0].connectionState = 'disconnected';
  second.ends[0].onconnectionstatechange();
  second.time.timers.find(({ ms }) => ms === 2000).run();
  assert.ok(second.ends[0].log.includes('restart'));
});
