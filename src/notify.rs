//! What the service manager hears: that we serve, what we do, that we stop, and that all parts still make progress.
//!
//! Owns one thread that looks at the beats of the parts. The watchdog is fed by progress only, never by time: a camera
//! that is away and tried again is progress, a thread that hangs in a driver is not. Must never touch a device. Without
//! a service manager it does nothing, unless RTCAM_WATCHDOG=exit asks for an end of the process instead (set by the
//! sysv script, which then starts a new one). Input: beats and the status of the stream.

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::stream::status::{CameraState, StreamStatus};
use crate::units::Micros;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::{error, warn};

/// No part is silent for longer in good health: opening a camera over a bad USB cable takes 5 s at most, and the media
/// loop sleeps for up to 5 s without viewers. From the first silence to a new process that serves it must stay below
/// 10 s: this, one look, the kill, RestartSec of the unit, and two seconds for a start on a slow board.
const PATIENCE: Duration = Duration::from_secs(6);
/// Between two looks, where the watchdog asks for no shorter one.
const LOOK: Duration = Duration::from_millis(500);
/// Looks this much later than planned mean that the whole process stood still (a debugger, a laptop's lid), not a part.
/// Less than PATIENCE leaves a part that sleeps for 5 s.
const PAUSE: Duration = Duration::from_millis(500);

/// When each part last made progress.
#[derive(Clone, Copy, Debug)]
pub struct Beats {
    pub capture: Micros,
    pub encode: Micros,
    pub packets: Micros,
    pub http: Micros,
}

/// Reads the beats and the status of the stream; must not block.
pub type Look = Box<dyn FnMut() -> (Beats, StreamStatus) + Send>;

/// Judges beats. Pure but for what it remembers of earlier looks.
struct Judge {
    last_look: Micros,
    /// Beats count from here at the earliest: nobody made progress while the process stood still.
    awake_since: Micros,
}

impl Judge {
    fn new(now: Micros) -> Judge {
        Judge { last_look: now, awake_since: now }
    }

    /// The part that hangs, and for how long.
    fn stuck(&mut self, beats: &Beats, every: Duration, now: Micros) -> Option<(&'static str, Duration)> {
        if now.since(self.last_look) > every + PAUSE {
            self.awake_since = now;
        }
        self.last_look = now;
        let parts = [
            ("the capture thread", beats.capture),
            ("the encode thread", beats.encode),
            ("the media loop", beats.packets),
            ("the HTTP server", beats.http),
        ];
        let silences = parts.map(|(name, beat)| (name, now.since(beat.max(self.awake_since))));
        silences.into_iter().find(|(_, silence)| *silence > PATIENCE)
    }
}

/// What is done about a part that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// Stop feeding the service manager's watchdog, which wants a sign this often, and tell it so.
    Watchdog(Duration),
    /// End the process: whoever watches it starts a new one.
    Exit,
    /// Say it in the log.
    Tell,
}

impl Duty {
    fn of_environment() -> Duty {
        match sd_notify::watchdog_enabled() {
            Some(period) => Duty::Watchdog(period),
            None if std::env::var_os("RTCAM_WATCHDOG").is_some_and(|wish| wish == "exit") => Duty::Exit,
            None => Duty::Tell,
        }
    }

    /// A quarter of the period: one look may be lost and the next one is still in time.
    fn look_every(self) -> Duration {
        match self {
            Duty::Watchdog(period) => (period / 4).min(LOOK),
            _ => LOOK,
        }
    }
}

/// What is sent, and where to. In tests a list.
trait Manager: Send {
    fn send(&mut self, states: &[NotifyState]);
    fn end_process(&mut self);
}

struct ServiceManager {
    failed: bool,
}

impl Manager for ServiceManager {
    fn send(&mut self, states: &[NotifyState]) {
        if let Err(cause) = sd_notify::notify(states)
            && !std::mem::replace(&mut self.failed, true)
        {
            warn!("notify the service manager: {cause}; going on, said once");
        }
    }

    fn end_process(&mut self) {
        std::process::exit(1);
    }
}

struct Pump<M> {
    manager: M,
    duty: Duty,
    judge: Judge,
    /// As last sent.
    status: String,
    told: bool,
}

impl<M: Manager> Pump<M> {
    fn new(manager: M, duty: Duty, now: Micros) -> Pump<M> {
        Pump { manager, duty, judge: Judge::new(now), status: String::new(), told: false }
    }

    fn turn(&mut self, beats: &Beats, status: &StreamStatus, now: Micros) {
        // one message is one line: a driver's words must not become another one
        let line: String = status_line(status).chars().filter(|c| !c.is_control()).collect();
        if line != self.status {
            self.manager.send(&[NotifyState::Status(&line)]);
            self.status = line;
        }
        match (self.judge.stuck(beats, self.duty.look_every(), now), self.duty) {
            (None, duty) => {
                self.told = false;
                if let Duty::Watchdog(_) = duty {
                    self.manager.send(&[NotifyState::Watchdog]);
                }
            }
            (Some((part, silence)), duty) => self.stuck(part, silence, duty),
        }
    }

    fn stuck(&mut self, part: &str, silence: Duration, duty: Duty) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let next = match duty {
            Duty::Watchdog(_) => "the service manager restarts rtcam",
            Duty::Exit => "ending, to be started anew",
            Duty::Tell => "nobody watches over rtcam here; going on with what still works",
        };
        error!("watchdog: {part} has made no progress for {} s; {next}", silence.as_secs());
        match duty {
            // at once, rather than when the next sign fails to come
            Duty::Watchdog(_) => self.manager.send(&[NotifyState::WatchdogTrigger]),
            Duty::Exit => self.manager.end_process(),
            Duty::Tell => {}
        }
    }
}

/// The running thread's handle.
pub struct Notify {
    stopping: Arc<AtomicBool>,
}

impl Notify {
    /// Says that rtcam serves, then looks after its parts until the process ends.
    pub fn start(clock: Clock, mut look: Look) -> Result<Notify> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (seen, duty) = (stopping.clone(), Duty::of_environment());
        let mut pump = Pump::new(ServiceManager { failed: false }, duty, clock.now());
        pump.manager.send(&[NotifyState::Ready]);
        let run = move || {
            while !seen.load(Ordering::Relaxed) {
                let (beats, status) = look();
                pump.turn(&beats, &status, clock.now());
                clock.sleep(duty.look_every());
            }
        };
        let thread = std::thread::Builder::new().name("notify".into()).spawn(run);
        thread.map_err(|cause| Error::new(ErrorKind::Limit, "start the notify thread").because(cause))?;
        Ok(Notify { stopping })
    }

    /// From here on the time for stopping counts, not the beats of parts that end.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        ServiceManager { failed: false }.send(&[NotifyState::Stopping]);
    }
}

/// For `systemctl status`. Without figures that change all the time.
fn status_line(status: &StreamStatus) -> String {
    let viewers = match status.subscribers {
        0 => "nobody watches",
        _ => "somebody watches",
    };
    match (&status.camera, &status.source) {
        (CameraState::Live, Some(source)) => {
            format!("showing {} at {}; {viewers}", source.name, source.picture.size)
        }
        (CameraState::Away { detail, .. }, _) => format!("no picture: {detail}; trying again; {viewers}"),
        _ => format!("opening the camera; {viewers}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::FaultKind;

    const SECOND: Duration = Duration::from_secs(1);
    const WATCHDOG: Duty = Duty::Watchdog(Duration::from_secs(10));

    fn at(now: Micros) -> Beats {
        Beats { capture: now, encode: now, packets: now, http: now }
    }

    fn status(camera: CameraState) -> StreamStatus {
        StreamStatus { camera, ..StreamStatus::default() }
    }

    #[derive(Default)]
    struct Diary {
        sent: Vec<String>,
        ended: bool,
    }

    impl Manager for Diary {
        fn send(&mut self, states: &[NotifyState]) {
            self.sent.extend(states.iter().map(|state| state.to_string()));
        }
        fn end_process(&mut self) {
            self.ended = true;
        }
    }

    /// Lets 30 s go by with two looks a second; `beats` tells the beats of each moment. Returns what was sent but STATUS.
    fn half_a_minute(duty: Duty, beats: impl Fn(Micros) -> Beats) -> (Vec<String>, bool) {
        let mut now = Micros(1_000_000);
        let mut pump = Pump::new(Diary::default(), duty, now);
        for _ in 0..60 {
            now = now + LOOK;
            pump.turn(&beats(now), &status(CameraState::Opening), now);
        }
        let Diary { mut sent, ended } = pump.manager;
        sent.retain(|state| !state.starts_with("STATUS="));
        (sent, ended)
    }

    const START: Micros = Micros(5_000_000);

    #[test]
    fn progress_of_every_part_feeds_the_watchdog() {
        let (sent, ended) = half_a_minute(WATCHDOG, at);
        assert_eq!((sent.len(), ended), (60, false));
        assert!(sent.iter().all(|state| state == "WATCHDOG=1"), "{sent:?}");
    }

    #[test]
    fn any_part_that_hangs_ends_the_feeding_within_seven_seconds() {
        type Wedge = fn(Micros) -> Beats;
        let wedges: [Wedge; 4] = [
            |now| Beats { capture: START.min(now), ..at(now) },
            |now| Beats { encode: START.min(now), ..at(now) },
            |now| Beats { packets: START.min(now), ..at(now) },
            |now| Beats { http: START.min(now), ..at(now) },
        ];
        for (number, wedge) in wedges.iter().enumerate() {
            let (sent, _) = half_a_minute(WATCHDOG, wedge);
            // 4 s until it hangs, 6 s of patience, one word, silence
            assert_eq!(sent.len(), 21, "part {number}: {sent:?}");
            assert_eq!(sent.last().map(String::as_str), Some("WATCHDOG=trigger"), "part {number}");
            assert!(sent[..20].iter().all(|state| state == "WATCHDOG=1"), "part {number}: {sent:?}");
        }
    }

    #[test]
    fn slow_but_living_parts_are_left_alone() {
        // the media loop without viewers, and a camera that takes five seconds to say no
        let every_five = |now: Micros| Micros(now.0 / 5_000_000 * 5_000_000);
        let (sent, _) =
            half_a_minute(WATCHDOG, |now| Beats { packets: every_five(now), capture: every_five(now), ..at(now) });
        assert_eq!(sent.len(), 60);
        assert!(sent.iter().all(|state| state == "WATCHDOG=1"), "{sent:?}");
    }

    #[test]
    fn a_pause_of_the_whole_process_is_no_hanging_part() {
        let mut judge = Judge::new(Micros(0));
        assert_eq!(judge.stuck(&at(Micros(0)), LOOK, Micros(1_000_000)), None);
        let woken = Micros(3_600_000_000);
        assert_eq!(judge.stuck(&at(Micros(0)), LOOK, woken), None, "one hour later all beats are old");
        let mut now = woken;
        let mut found = None;
        while found.is_none() && now < woken + 20 * SECOND {
            now = now + LOOK;
            found = judge.stuck(&at(Micros(0)), LOOK, now);
        }
        assert_eq!(now.since(woken), 13 * LOOK, "but those that do not come back are found");
    }

    #[test]
    fn without_a_watchdog_the_process_ends_only_where_somebody_starts_it_again() {
        let wedged = |now: Micros| Beats { capture: START.min(now), ..at(now) };
        assert_eq!(half_a_minute(Duty::Exit, wedged), (Vec::new(), true));
        assert_eq!(half_a_minute(Duty::Exit, at), (Vec::new(), false));
        assert_eq!(half_a_minute(Duty::Tell, wedged), (Vec::new(), false));
    }

    #[test]
    fn the_status_is_sent_when_it_changes() {
        let mut pump = Pump::new(Diary::default(), Duty::Tell, Micros(0));
        let away = |attempts| CameraState::Away {
            kind: FaultKind::Missing,
            detail: "no camera is connected".into(),
            since: Micros(0),
            attempts,
        };
        for (second, camera) in [CameraState::Opening, CameraState::Opening, away(1), away(2)].into_iter().enumerate() {
            let now = Micros(second as u64 * 1_000_000);
            pump.turn(&at(now), &status(camera), now);
        }
        assert_eq!(
            pump.manager.sent,
            [
                "STATUS=opening the camera; nobody watches",
                "STATUS=no picture: no camera is connected; trying again; nobody watches"
            ]
        );
    }

    #[test]
    fn looks_are_four_in_a_watchdog_period_and_at_least_two_a_second() {
        assert_eq!(Duty::Watchdog(Duration::from_secs(1)).look_every(), Duration::from_millis(250));
        assert_eq!(WATCHDOG.look_every(), LOOK);
        assert_eq!(Duty::Exit.look_every(), LOOK);
    }
}
