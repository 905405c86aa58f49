//! What the daemon costs while nobody, one viewer, and many watch: memory, CPU of each thread, time to connect.
//!
//! Starts the real program on loopback with the moving pattern. The viewers are as light as they can be: ICE and DTLS
//! are real, media packets are counted and thrown away. On loopback the kernel charges part of their work to the
//! daemon. Prints one line of JSON. VIEWERS (32), SECONDS_EACH (10) and RTCAM_BIN (the program of this build) may be set in the environment.
#![allow(clippy::disallowed_methods)]

mod client;
mod daemon;

use client::Client;
use daemon::{Daemon, Reading};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Until every page is drawn, every queue as long as it gets.
const SETTLE: Duration = Duration::from_secs(3);
/// Then one viewer comes and goes so often; so long there is nobody.
const COMES_AND_GOES: usize = 10;
const EMPTY: Duration = Duration::from_millis(700);
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match measure() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("viewers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<serde_json::Value, Failure> {
    let many = from_environment("VIEWERS", 32)?;
    let span = Duration::from_secs(from_environment("SECONDS_EACH", 10)?);
    let daemon = Daemon::start(many)?;
    let mut clients = Clients::default();
    clients.play_for(SETTLE)?;
    let nobody = watch(&daemon, &mut clients, span)?;
    let connected = clients.join(1, &daemon)?;
    clients.play_for(SETTLE)?;
    let one = watch(&daemon, &mut clients, span)?;
    let connected_together = clients.join(many - 1, &daemon)?;
    clients.play_for(SETTLE)?;
    let all = watch(&daemon, &mut clients, span)?;
    clients.leave()?;
    clients.play_for(SETTLE)?;
    let left = watch(&daemon, &mut clients, span / 2)?;
    for _ in 0..COMES_AND_GOES {
        clients.join(1, &daemon)?;
        clients.leave()?;
        clients.play_for(EMPTY)?;
    }
    clients.join(1, &daemon)?;
    clients.play_for(SETTLE)?;
    let again = watch(&daemon, &mut clients, span / 2)?;
    let others = (many - 1).max(1) as f64;
    Ok(serde_json::json!({
        "nobody": nobody,
        "one": one,
        "many": all,
        "after": left,
        "again": again,
        "viewers": many,
        "connect_one_ms": connected,
        "connect_all_ms": connected_together,
        "per_viewer": {
            "cpu_ms_per_s": (all.cpu_ms_per_s - one.cpu_ms_per_s) / others,
            "rss_kb": (all.rss_kb - one.rss_kb) / others,
        },
    }))
}

fn from_environment<T: std::str::FromStr>(name: &str, default: T) -> Result<T, Failure> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}={text}: not a number").into()),
        Err(_) => Ok(default),
    }
}

/// What a phase of watching cost.
#[derive(serde::Serialize)]
struct Phase {
    rss_kb: f64,
    cpu_ms_per_s: f64,
    /// By thread, ms of CPU per second.
    threads: std::collections::BTreeMap<String, f64>,
    /// Of each viewer, on average.
    pictures_per_s: f64,
    packets_per_s: f64,
}

fn watch(daemon: &Daemon, clients: &mut Clients, span: Duration) -> Result<Phase, Failure> {
    let (before, counted, started) = (daemon.read()?, clients.counted(), Instant::now());
    clients.play_for(span)?;
    let (after, seconds) = (daemon.read()?, started.elapsed().as_secs_f64());
    let count = clients.0.len().max(1) as f64;
    let (pictures, packets) = clients.counted();
    let rate = |now: u64, then: u64| (now - then) as f64 / seconds / count;
    let phase = Phase {
        rss_kb: after.rss_kb,
        cpu_ms_per_s: (after.cpu_ms - before.cpu_ms) / seconds,
        threads: threads(&before, &after, seconds),
        pictures_per_s: rate(pictures, counted.0),
        packets_per_s: rate(packets, counted.1),
    };
    if !clients.0.is_empty() && phase.pictures_per_s < 1.0 {
        return Err("the viewers get no pictures".into());
    }
    Ok(phase)
}

fn threads(before: &Reading, after: &Reading, seconds: f64) -> std::collections::BTreeMap<String, f64> {
    let spent = |(name, now): (&String, &f64)| {
        let then = before.threads_ms.get(name).copied().unwrap_or(0.0);
        (name.clone(), (now - then) / seconds)
    };
    after.threads_ms.iter().map(spent).collect()
}

#[derive(Default)]
struct Clients(Vec<Client>);

impl Clients {
    /// Lets some more in, one offer after the other. The time from the first offer to the last one's first packet.
    fn join(&mut self, more: usize, daemon: &Daemon) -> Result<f64, Failure> {
        let started = Instant::now();
        for _ in 0..more {
            self.0.push(Client::join(&daemon.whep)?);
            self.turn(Duration::ZERO)?;
        }
        while self.0.iter().any(|client| client.packets == 0) {
            if started.elapsed() > CONNECT_WITHIN {
                let missing = self.0.iter().filter(|client| client.packets == 0).count();
                return Err(format!("{missing} of {} viewers got nothing", self.0.len()).into());
            }
            self.turn(Duration::from_millis(20))?;
        }
        Ok(started.elapsed().as_secs_f64() * 1000.0)
    }

    fn play_for(&mut self, span: Duration) -> Result<(), Failure> {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.turn(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Waits at most so long, then takes all that came.
    fn turn(&mut self, wait: Duration) -> Result<(), Failure> {
        client::wait(&self.0, wait)?;
        self.0.iter_mut().try_for_each(Client::turn)
    }

    /// Pictures and packets so far.
    fn counted(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |sum, client| (sum.0 + client.pictures, sum.1 + client.packets))
    }

    fn leave(&mut self) -> Result<(), Failure> {
        self.0.iter_mut().try_for_each(Client::leave)?;
        self.0.clear();
        Ok(())
    }
}
