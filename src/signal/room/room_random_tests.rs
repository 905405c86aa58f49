//! Ten thousand random schedules of a room: whatever people do, in whatever order, what everybody was promised holds.

use super::tests::{Bench, camera, rules};
use super::*;
use crate::dice::Dice;
use crate::output::ViewerId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What somebody outside can know; every promise is checked there.
#[derive(Default)]
struct World {
    /// Token of each seat that is here.
    here: BTreeMap<SeatId, String>,
    kicked: Vec<String>,
    asked: BTreeSet<(SeatId, SeatId)>,
    agreed: BTreeSet<(SeatId, SeatId)>,
    version: u64,
}

impl World {
    fn check(&mut self, out: &[Action], by: Option<SeatId>) {
        assert!(out.len() <= 64, "{out:?}");
        for action in out {
            match action {
                Action::End { seat, reason } => {
                    let token = self.here.remove(seat).expect("ended once");
                    if *reason == ByeReason::Kicked {
                        self.kicked.push(token);
                    }
                    self.asked.retain(|(a, b)| a != seat && b != seat);
                    self.agreed.retain(|(a, b)| a != seat && b != seat);
                }
                Action::Tell { to, told } => self.check_told(*to, told),
                Action::TellAll { told: Told::Control(control), .. } => {
                    let known = control.holder.iter().chain(&control.asking);
                    assert!(known.clone().all(|id| self.here.contains_key(id)), "control of a ghost: {control:?}");
                    assert!(!control.asking.iter().any(|id| control.holder == Some(*id)));
                }
                Action::TellAll { told, .. } => self.check_version(told),
                Action::Adjust { seat, .. } => assert_eq!(Some(*seat), by, "a change nobody asked for"),
                Action::Links { .. } => {}
            }
        }
    }

    fn check_told(&mut self, to: SeatId, told: &Told) {
        assert!(self.here.contains_key(&to), "told somebody who is not here: {told:?}");
        match told {
            Told::Call { from, .. } => drop(self.asked.insert((*from, to))),
            Told::Accept { from } => {
                assert!(self.asked.remove(&(to, *from)), "accepted what nobody asked");
                self.agreed.insert((to.min(*from), to.max(*from)));
            }
            Told::Decline { from } | Told::Hangup { from, .. } => {
                self.asked.remove(&(*from, to));
                self.asked.remove(&(to, *from));
                self.agreed.remove(&(to.min(*from), to.max(*from)));
            }
            Told::Relay { from, .. } => {
                assert!(self.agreed.contains(&(to.min(*from), to.max(*from))), "relayed without agreement");
            }
            told => self.check_version(told),
        }
    }

    fn check_version(&mut self, told: &Told) {
        if let Told::State { version, .. } | Told::Patch { version, .. } = told {
            assert!(*version >= self.version, "version {version} after {}", self.version);
            self.version = *version;
        }
    }
}

const TEXTS: [&str; 26] = [
    r#"{"type":"request"}"#,
    r#"{"type":"request","withdraw":true}"#,
    r#"{"type":"grant","to":TO}"#,
    r#"{"type":"release"}"#,
    r#"{"type":"revoke"}"#,
    r#"{"type":"role","to":TO,"role":"host"}"#,
    r#"{"type":"role","to":TO,"role":"viewer"}"#,
    r#"{"type":"kick","to":TO}"#,
    r#"{"type":"room","closed":true}"#,
    r#"{"type":"room","closed":false,"muted":true}"#,
    r#"{"type":"chat","text":"hello"}"#,
    r#"{"type":"chat","text":""}"#,
    r#"{"type":"set","base":1,"values":{"control.brightness":TO}}"#,
    r#"{"type":"set","base":99999,"values":{"control.brightness":TO,"reset":true}}"#,
    r#"{"type":"set","base":0,"values":{"layer.0.text":[[]]}}"#,
    r#"{"type":"call","to":TO}"#,
    r#"{"type":"accept","to":TO}"#,
    r#"{"type":"accept","to":TO}"#,
    r#"{"type":"decline","to":TO}"#,
    r#"{"type":"hangup","to":TO}"#,
    r#"{"type":"relay","to":TO,"body":"candidate"}"#,
    r#"{"type":"relay","to":TO,"body":"candidate"}"#,
    r#"{"type":"unlink","id":"l1"}"#,
    r#"{"type":"report","fps":1e308,"freezes":-1}"#,
    r#"{"type":"watch","on":true}"#,
    r#"{"type":"hangup","to":18446744073709551615}"#,
];

#[test]
fn random_schedules_break_no_promise() {
    for seed in 1..=10_000u64 {
        let mut dice = Dice::new(seed);
        let mut bench = Bench::with(rules(match dice.roll(3) {
            0 => HostLeaves::Keep,
            1 => HostLeaves::Release,
            _ => HostLeaves::Close,
        }));
        let mut world = World::default();
        let mut tokens: Vec<String> = Vec::new();
        for _ in 0..60 {
            bench.now = bench.now + Duration::from_micros(dice.roll(600_000));
            step(&mut bench, &mut world, &mut tokens, &mut dice);
            assert!(bench.room.len() <= 8 && bench.room.chat.lines().len() <= 50);
            let here: Vec<SeatId> = bench.room.people().map(|seat| seat.id).collect();
            assert!(here.iter().eq(world.here.keys()), "seed {seed}: {here:?}");
        }
        bench.now = bench.now + Duration::from_secs(60);
        let seats: Vec<SeatId> = world.here.keys().copied().collect();
        for seat in seats {
            bench.input(Input::Socket { seat, open: false });
            bench.input(Input::Viewer { seat, viewer: None });
        }
        let out = bench.wait(Duration::from_secs(30));
        world.check(&out, None);
        assert!(world.here.is_empty() && bench.room.is_empty(), "seed {seed}: somebody stays for ever");
        assert_eq!((bench.room.control.holder, bench.room.control.asking.len()), (None, 0), "seed {seed}");
    }
}

fn step(bench: &mut Bench, world: &mut World, tokens: &mut Vec<String>, dice: &mut Dice) {
    let ids: Vec<SeatId> = world.here.keys().copied().collect();
    let pick = |dice: &mut Dice| ids.get(dice.place(ids.len().max(1))).copied();
    match (dice.roll(20), pick(dice)) {
        (0..=2, _) | (_, None) => {
            let role = [Role::Viewer, Role::Operator, Role::Host][dice.place(3)];
            let resume = (dice.roll(2) == 0 && !tokens.is_empty()).then(|| tokens[dice.place(tokens.len())].clone());
            let name = ["Ann", "Bob", "Cat", ""][dice.place(4)];
            let joined = bench.arrive(name, role, resume.as_deref());
            let out = std::mem::take(&mut bench.out);
            if let Ok(seated) = joined {
                assert!(!(seated.resumed && world.kicked.contains(&seated.resume)), "the kicked resumed");
                world.here.insert(seated.seat.id, seated.resume.clone());
                tokens.push(seated.resume);
            }
            world.check(&out, None);
        }
        (3, Some(seat)) => {
            let out = bench.input(Input::Leaves { seat });
            world.check(&out, None);
        }
        (4, Some(seat)) => {
            let open = dice.roll(2) == 0;
            let out = bench.input(Input::Socket { seat, open });
            world.check(&out, None);
        }
        (5, Some(seat)) => {
            let viewer = (dice.roll(2) == 0).then(|| ViewerId(dice.roll(100)));
            let out = bench.input(Input::Viewer { seat, viewer });
            world.check(&out, None);
            let out = bench.input(Input::Watching { seat });
            world.check(&out, None);
        }
        (6, _) => {
            let out = bench.input(Input::Adjustable(&camera(dice.roll(256) as i64)));
            world.check(&out, None);
        }
        (7, _) => {
            let out = bench.wait(Duration::from_secs(dice.roll(40)));
            world.check(&out, None);
        }
        (_, Some(seat)) => {
            let to = pick(dice).expect("somebody is here").0;
            let text = TEXTS[dice.place(TEXTS.len())].replace("TO", &to.to_string());
            let out = bench.say(seat, &text);
            world.check(&out, Some(seat));
        }
    }
}
