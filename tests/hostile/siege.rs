//! The besieged: a program with four viewers, and what must be true of it afterwards.

use crate::client::{self, Viewer, get, soon, watch};
use crate::process::{open_files, resident_kib};
use crate::program::Program;
use crate::receiver::Options;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard, watch as flag};
use tokio::task::JoinHandle;

const VIEWERS: usize = 4;
/// A picture that stops; in ticks of the RTP clock. A machine that stands still for a moment makes shorter breaks.
const BREAK: u32 = 90_000 * 5;
const GROWTH_KIB: u64 = 20 * 1024;
/// Pictures that each viewer has had when the siege begins: buffers have their size by then.
const CALM: usize = 45;
/// Pictures that each viewer must still get after the siege.
const AFTERWARDS: usize = 15;
/// Connections that one test holds, and some.
const FILES: u64 = 4096;

/// Two sieges at a time would be too much for a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub struct Siege {
    pub program: Program,
    name: &'static str,
    watchers: Vec<JoinHandle<Watched>>,
    stop: flag::Sender<bool>,
    resident_kib: u64,
    files: usize,
    _turn: MutexGuard<'static, ()>,
}

/// What one viewer saw.
struct Watched {
    viewer: Viewer,
    pictures: usize,
    /// Between two pictures that follow each other.
    longest: u32,
}

impl Siege {
    pub async fn lay(name: &'static str) -> Siege {
        let turn = ONE_AT_A_TIME.lock().await;
        allow_many_files();
        let program = Program::start(&[]);
        let (stop, stopped) = flag::channel(false);
        let mut viewers = Vec::new();
        for _ in 0..VIEWERS {
            let mut viewer = watch(&program, Options { decode: false, ..Options::default() }).await;
            viewer.receiver.picture("the first").await;
            viewers.push(viewer);
        }
        for viewer in &mut viewers {
            for _ in 0..CALM {
                viewer.receiver.picture("before the siege").await;
            }
        }
        let watchers = viewers.into_iter().map(|viewer| tokio::spawn(look(viewer, stopped.clone()))).collect();
        served(&program).await;
        forget_peak(&program);
        let (resident_kib, files) = (resident_kib(&program), open_files(&program));
        Siege { program, name, watchers, stop, resident_kib, files, _turn: turn }
    }

    /// The siege is over, however it ended for the besiegers.
    pub async fn lift(self) {
        let Siege { program, name, watchers, stop, .. } = self;
        served(&program).await;
        let given_back = async {
            while open_files(&program) > self.files {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        soon("file descriptors are given back", given_back).await;
        let growth_kib = peak_kib(&program).saturating_sub(self.resident_kib);
        let only_the_four =
            |status: &Value| status["viewers"].as_array().is_some_and(|viewers| viewers.len() == VIEWERS);
        let status = client::until(&program, "nobody but the four is left", only_the_four).await;
        stop.send_replace(true);
        let mut seen = Vec::new();
        for watcher in watchers {
            let Watched { viewer, pictures, longest } = watcher.await.expect("no viewer lost its picture");
            let gaps = viewer.receiver.gaps().await;
            seen.push((pictures, longest, gaps));
            viewer.receiver.close().await;
        }
        println!(
            "{name}: peak RSS +{growth_kib} KiB (from {}), fds {} -> {}, (pictures, longest in 1/90000 s, gaps): {seen:?}",
            self.resident_kib,
            self.files,
            open_files(&program)
        );
        assert!(growth_kib <= GROWTH_KIB, "{name}: {growth_kib} KiB more than before");
        for (pictures, longest, gaps) in seen {
            assert!(longest < BREAK, "{name}: {pictures} pictures, a break of {longest} ticks");
            assert_eq!(gaps, 0, "{name}: RTP packets are missing");
        }
        let rows = status["viewers"].as_array().expect("a list").iter();
        let dropped: Vec<u64> = rows.map(|row| row["pictures_dropped"].as_u64().expect("a number")).collect();
        assert_eq!(dropped, [0; VIEWERS], "{name}: pictures dropped");
        let log = program.log();
        assert!(!log.contains("panicked"), "{name}:\n{log}");
        assert!(log.lines().count() < 100, "{name}: one line per cause, then a count:\n{log}");
    }
}

/// While all this goes on, somebody else comes and watches.
pub async fn newcomer_gets_the_picture(siege: &Siege) {
    let begun = Instant::now();
    let mut newcomer = watch(&siege.program, Options { decode: false, ..Options::default() }).await;
    newcomer.receiver.picture("of a newcomer").await;
    println!("{}: a newcomer has the picture after {:?}", siege.name, begun.elapsed());
    newcomer.leave(&siege.program).await;
}

async fn look(mut viewer: Viewer, stopped: flag::Receiver<bool>) -> Watched {
    let mut last = viewer.receiver.picture("of a seated viewer").await.rtp_time;
    let (mut pictures, mut longest) = (0, 0);
    let mut afterwards = 0;
    while afterwards < AFTERWARDS {
        afterwards += usize::from(*stopped.borrow());
        let time = viewer.receiver.picture("of a seated viewer").await.rtp_time;
        longest = longest.max(time.wrapping_sub(last));
        last = time;
        pictures += 1;
    }
    Watched { viewer, pictures, longest }
}

/// Waits until there is a connection for us again.
async fn served(program: &Program) {
    let asking = async {
        while get(program, "/healthz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("it serves again", asking).await;
}

/// The media port that an answer names, on loopback.
pub fn media_address(answer: &str) -> SocketAddr {
    let port = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:")).find_map(|line| {
        let parts: Vec<&str> = line.split(' ').collect();
        let is_udp = parts.get(2)?.eq_ignore_ascii_case("udp");
        is_udp.then(|| parts.get(5)?.parse().ok()).flatten()
    });
    SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or_else(|| panic!("no UDP candidate: {answer}"))))
}

fn allow_many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < FILES) {
        let wanted = maximum.map_or(FILES, |maximum| maximum.min(FILES));
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).expect("below the maximum");
    }
}

fn forget_peak(program: &Program) {
    fs::write(format!("/proc/{}/clear_refs", program.pid()), "5").expect("it is ours");
}

/// The highest resident size since `forget_peak`.
fn peak_kib(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("every process has it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
