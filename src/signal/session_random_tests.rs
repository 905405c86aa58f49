//! Two thousand random peers of a session: none makes it panic, break a quota or leave a viewer behind.

use super::tests::{Bench, status};
use super::*;
use crate::dice::Dice;
use crate::output::CloseReason;
use crate::signal::message::Camera;

/// What the world outside knows after each step; every promise is checked there.
#[derive(Default)]
struct World {
    next_viewer: u64,
    asked: bool,
    /// What is asked is an ICE restart.
    restarting: bool,
    alive: Vec<ViewerId>,
    candidates: u32,
    socket_closed: bool,
}

impl World {
    fn check(&mut self, actions: &[Action]) {
        assert!(actions.len() <= 4 + 64, "{actions:?}");
        for action in actions {
            match action {
                Action::Send(_) => assert!(!self.socket_closed, "a word after the last"),
                Action::CloseSocket(_) => {
                    assert!(!self.socket_closed, "closed twice");
                    self.socket_closed = true;
                }
                Action::CreateAnswer { .. } => {
                    assert!(!self.asked && !self.socket_closed, "two questions at a time");
                    self.asked = true;
                    self.restarting = false;
                    self.candidates = 0;
                }
                Action::AddCandidate { viewer, .. } => {
                    assert!(self.alive.contains(viewer), "a candidate for a stranger");
                    self.candidates += 1;
                    assert!(self.candidates <= 64);
                }
                Action::RestartIce { viewer, .. } => {
                    assert!(self.alive.contains(viewer) && !self.asked, "a restart of a stranger");
                    self.asked = true;
                    self.restarting = true;
                    self.candidates = 0;
                }
                Action::Join { .. } | Action::Say(_) | Action::Leave => {}
                Action::CloseViewer(viewer) | Action::KeepViewer(viewer) => {
                    let at = self.alive.iter().position(|v| v == viewer).expect("closed a stranger");
                    self.alive.remove(at);
                }
            }
        }
        assert!(self.alive.len() <= 1, "more than one viewer: {:?}", self.alive);
    }
}

#[test]
fn random_sequences_never_panic_never_break_a_quota_and_leave_no_viewer() {
    let long = "x".repeat(70_000);
    let texts = [
        r#"{"type":"hello","version":1}"#,
        r#"{"type":"offer","sdp":"v=0"}"#,
        r#"{"type":"offer","sdp":"v=0"}"#,
        r#"{"type":"candidate","candidate":"candidate:1 1 udp 1 1.2.3.4 5 typ host"}"#,
        r#"{"type":"candidate","candidate":{"candidate":"candidate:2"}}"#,
        r#"{"type":"candidate","candidate":null}"#,
        r#"{"type":"ping","t":1e308}"#,
        r#"{"type":"pong","t":-1}"#,
        r#"{"type":"answer","sdp":"","viewer":1}"#,
        r#"{"type":"dance"}"#,
        r#"{"type":"offer","sdp":"v=0","restart":true}"#,
        r#"{"type":"chat","text":"hello"}"#,
        r#"{"type":"bye"}"#,
        "\u{0}",
        &long,
    ];
    for seed in 1..=2000u64 {
        let mut dice = Dice::new(seed);
        let transport = if dice.roll(4) == 0 { Transport::Whep } else { Transport::WebSocket };
        let mut bench = Bench::new(transport);
        let mut world = World::default();
        for _ in 0..120 {
            bench.wait(Duration::from_micros(dice.roll(200_000)));
            let out = step(&mut bench, &mut world, &mut dice, &texts);
            world.check(&out);
        }
        let out = bench.input(Input::Gone);
        world.check(&out);
        if world.asked && world.restarting {
            world.asked = false;
            let out = bench.answer(0);
            world.check(&out);
        }
        if world.asked {
            world.next_viewer += 1;
            world.alive.push(ViewerId(world.next_viewer));
            let out = bench.answer(world.next_viewer);
            world.asked = false;
            world.check(&out);
        }
        assert!(bench.session.is_finished() && world.alive.is_empty(), "seed {seed}");
    }
}

fn step(bench: &mut Bench, world: &mut World, dice: &mut Dice, texts: &[&str]) -> Vec<Action> {
    match dice.roll(20) {
        // the rarely useful ones are made rarer: a session should get somewhere
        0..=9 => {
            let pick = if dice.roll(8) == 0 { dice.place(texts.len()) } else { dice.place(6) };
            bench.say(texts[pick])
        }
        10..=13 if world.asked => {
            world.asked = false;
            if dice.roll(3) == 0 {
                return bench.input(Input::Answer(Err(OfferError::NoH264)));
            }
            if world.restarting {
                return bench.answer(world.alive.first().map_or(0, |viewer| viewer.0));
            }
            world.next_viewer += 1;
            world.alive.push(ViewerId(world.next_viewer));
            bench.answer(world.next_viewer)
        }
        14 if world.asked => {
            world.asked = false;
            bench.input(Input::NoAnswer)
        }
        15 => match world.alive.first().copied() {
            Some(viewer) => {
                world.alive.clear();
                bench.input(Input::Viewer { viewer, event: ViewerEvent::Closed(CloseReason::Lost) })
            }
            None => bench.input(Input::Control),
        },
        16 => {
            let camera = if dice.roll(2) == 0 { Camera::Live } else { Camera::Away };
            bench.input(Input::Status(status(camera)))
        }
        17 => bench.input(Input::Binary),
        18 if dice.roll(20) == 0 => bench.input(Input::Stop),
        _ => bench.input(Input::Tick),
    }
}
