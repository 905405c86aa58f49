//! Wiring: starts the parts in order, says where to look, stops them in order.
//!
//! Must never do a part's work. Input: a checked config, and the signals of the system. Order of start: port, signals,
//! parts. Order of stop: HTTP says goodbye, then each part's closer, all within 3 s; a second signal ends it at once.

use crate::clock::{Clock, sleep, within};
use crate::config::{AuthMode, CameraConfig, Config, SourceChoice};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{self, HttpState};
use crate::notify::{Beats, Notify};
use crate::output::webrtc::WebRtc;
use crate::overlay::Compositor;
use crate::stream::Stream;
use crate::stream::pipeline::{self, Pipeline};
use crate::stream::status::CameraState;
use crate::units::Micros;
use crate::{capture, encode, heap_sys};
use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

/// From the signal to the end of the process, whatever hangs.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// What HTTP and all closers may take of it.
const SERVE_STOPS_WITHIN: Duration = Duration::from_secs(1);
const PARTS_STOP_WITHIN: Duration = Duration::from_millis(1500);
const PART_STOPS_WITHIN: Duration = Duration::from_millis(700);
/// How long the start message waits for the camera.
const CAMERA_OPENS_WITHIN: Duration = Duration::from_secs(10);

/// The running daemon, as `run_service` needs it.
pub struct Parts {
    pub stream: Arc<dyn Stream>,
    /// Of the certificate; None: no TLS.
    pub fingerprint: Option<String>,
    /// Serves HTTP until told to stop; ends earlier only if it cannot go on.
    pub serve: Pin<Box<dyn Future<Output = ()>>>,
    /// Tells `serve` to stop.
    pub stop_serving: watch::Sender<bool>,
    /// Called one after the other once HTTP is quiet: outputs first, the pipeline last.
    pub closers: Vec<Closer>,
}

/// How often the async runtime shows that it turns.
const HTTP_BEAT: Duration = Duration::from_secs(1);
/// Files are looked at once a second. The work goes round among the threads for it, so with tokio's 10 s as many would
/// stay for ever as a crowd once needed.
const BLOCKING_THREAD_STAYS: Duration = Duration::from_millis(1500);

/// Closes one part; may block, on a thread of its own.
pub struct Closer {
    pub name: &'static str,
    pub close: Box<dyn FnOnce() + Send>,
}

/// The daemon, until a signal or a failure ends it.
pub fn run(mut config: Config) -> Result<()> {
    heap_sys::return_big_blocks();
    config.state_dir = http::state_place(&config.state_dir).unwrap_or_default();
    let runtime = new_runtime()?;
    let outcome = runtime.block_on(async {
        let clock = Clock::system();
        let listener = bind(config.http.listen).await?;
        let address = listener.local_addr().map_err(|error| internal("read our own address").because(error))?;
        let stop = watch_signals()?;
        info!("board: {}", config.profile);
        let parts = start_parts(&config, &clock, listener)?;
        warn_if_open(&config);
        say_where(address, parts.fingerprint.as_deref());
        let source = config.camera.source;
        let stream = parts.stream.clone();
        tokio::spawn(async move { say_what_is_shown(source, stream).await });
        run_service(parts, stop, &clock).await
    });
    // a thread that hangs in a driver must not keep us here
    runtime.shutdown_background();
    outcome
}

fn new_runtime() -> Result<Runtime> {
    let mut runtime = Builder::new_current_thread();
    runtime.enable_all().thread_keep_alive(BLOCKING_THREAD_STAYS);
    runtime.build().map_err(|error| internal("start the runtime").because(error))
}

fn internal(what: &str) -> Error {
    Error::new(ErrorKind::Internal, what)
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let (kind, hint) = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                (ErrorKind::Busy, "; another program has this port: stop it, or set another http.listen")
            }
            std::io::ErrorKind::AddrNotAvailable => {
                (ErrorKind::NotFound, "; this machine has no such address: set another http.listen")
            }
            std::io::ErrorKind::PermissionDenied => {
                (ErrorKind::Denied, "; ports below 1024 need a permission: set another http.listen")
            }
            _ => (ErrorKind::Io, ""),
        };
        Error::new(kind, format!("listen on {address}: {error}{hint}"))
    })
}

/// Makes the parts, in the order they need each other: compositor, pipeline, WebRTC output, HTTP.
fn start_parts(config: &Config, clock: &Clock, listener: TcpListener) -> Result<Parts> {
    let stream = Arc::new(start_pipeline(config, clock)?);
    let door = WebRtc::start(&config.webrtc, config.http.listen.ip(), stream.clone(), clock.clone())?;
    let state = HttpState::new(config, door.clone(), stream.clone(), clock.clone())?;
    let (stop_serving, stopped) = watch::channel(false);
    let (pipeline, output_clock) = (stream.clone(), clock.clone());
    let notify = start_notify(&stream, &door, clock)?;
    let closers = vec![
        Closer { name: "notify", close: Box::new(move || notify.stopping()) },
        Closer { name: "webrtc", close: Box::new(move || door.stop(&output_clock, PART_STOPS_WITHIN)) },
        Closer {
            name: "pipeline",
            close: Box::new(move || {
                for thread in pipeline.stop(PART_STOPS_WITHIN) {
                    warn!("stop the {thread} thread: held by a driver; it ends with the process");
                }
            }),
        },
    ];
    let fingerprint = state.fingerprint();
    Ok(Parts { stream, fingerprint, serve: Box::pin(http::serve(listener, state, stopped)), stop_serving, closers })
}

/// From here on the service manager hears that we serve, and later whether we still do.
fn start_notify(stream: &Arc<Pipeline>, door: &Arc<WebRtc>, clock: &Clock) -> Result<Notify> {
    let http = Arc::new(AtomicU64::new(clock.now().0));
    let (beat, beat_clock) = (http.clone(), clock.clone());
    tokio::spawn(async move {
        loop {
            beat.store(beat_clock.now().0, Ordering::Relaxed);
            sleep(HTTP_BEAT).await;
        }
    });
    let (stream, door) = (stream.clone(), door.clone());
    let look = move || {
        let status = stream.status();
        let http = Micros(http.load(Ordering::Relaxed));
        let beats = Beats { capture: status.capture_beat, encode: status.encode_beat, packets: door.last_turn(), http };
        (beats, status)
    };
    Notify::start(clock.clone(), Box::new(look))
}

fn start_pipeline(config: &Config, clock: &Clock) -> Result<Pipeline> {
    let compositor = Compositor::open(&config.overlays)?;
    // decided once: a camera that is unplugged later is waited for, not replaced by the pattern
    let camera = CameraConfig { source: capture::resolve(&config.camera), ..config.camera.clone() };
    let (encoders, source_clock) = (encode::Opener::new(config.encoder.clone()), clock.clone());
    let parts = pipeline::Parts {
        open_source: Arc::new(move || capture::open(&camera, &source_clock)),
        open_encoder: Arc::new(move |format, rate, without| encoders.open(format, rate, without)),
        overlay: Box::new(compositor),
    };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Pipeline::start(pipeline::Settings::new(config, host), parts, clock.clone())
}

/// Serves until `stop` or a failure, then closes the parts in order. Ok means: stopped because asked to.
pub async fn run_service(parts: Parts, stop: oneshot::Receiver<&'static str>, clock: &Clock) -> Result<()> {
    let Parts { mut serve, stop_serving, closers, stream: _, fingerprint: _ } = parts;
    let asked = tokio::select! {
        () = &mut serve => Err(internal("HTTP ended by itself")),
        name = stop => Ok(name.unwrap_or("the signal watcher ended")),
    };
    if let Ok(name) = &asked {
        info!("stopping: {name}");
        // no receiver: serve has ended already
        let _ = stop_serving.send(true);
        if within(SERVE_STOPS_WITHIN, serve).await.is_none() {
            warn!("stop HTTP: not done within {SERVE_STOPS_WITHIN:?}; going on without it");
        }
    }
    close_all(closers, clock).await;
    asked.map(|_| ())
}

async fn close_all(closers: Vec<Closer>, clock: &Clock) {
    let end = clock.now() + PARTS_STOP_WITHIN;
    for Closer { name, close } in closers {
        let done = tokio::task::spawn_blocking(close);
        if within(end.since(clock.now()), done).await.is_none() {
            warn!("stop {name}: not done in time; going on without it");
        }
    }
}

/// Watches SIGTERM and SIGINT on a thread of its own, so that a stuck daemon still stops. The receiver hears of the
/// first signal; a second one, or 3 s, ends the process.
fn watch_signals() -> Result<oneshot::Receiver<&'static str>> {
    let runtime = new_runtime()?;
    let listen = |kind| {
        let _context = runtime.enter();
        signal(kind).map_err(|error| internal("listen for signals").because(error))
    };
    let mut signals = [
        ("SIGTERM", SignalKind::terminate(), listen(SignalKind::terminate())?),
        ("SIGINT", SignalKind::interrupt(), listen(SignalKind::interrupt())?),
    ];
    let (tell, told) = oneshot::channel();
    let watch = move || {
        runtime.block_on(async {
            let (name, _) = next_signal(&mut signals).await;
            // nobody listens: the daemon is ending already
            let _ = tell.send(name);
            match within(STOP_WITHIN, next_signal(&mut signals)).await {
                Some((name, number)) => {
                    warn!("stopping at once: second signal, {name}");
                    exit(128 + number);
                }
                None => {
                    warn!("not stopped within {STOP_WITHIN:?}: ending the process");
                    exit(1);
                }
            }
        });
    };
    let thread = std::thread::Builder::new().name("signals".into()).spawn(watch);
    thread.map_err(|error| internal("start the signal watcher").because(error))?;
    Ok(told)
}

async fn next_signal(signals: &mut [(&'static str, SignalKind, Signal); 2]) -> (&'static str, i32) {
    let [(terminate, terminate_kind, terminated), (interrupt, interrupt_kind, interrupted)] = signals;
    tokio::select! {
        _ = terminated.recv() => (*terminate, terminate_kind.as_raw_value()),
        _ = interrupted.recv() => (*interrupt, interrupt_kind.as_raw_value()),
    }
}

/// Whoever wrote it into the config once may have forgotten it.
fn warn_if_open(config: &Config) {
    let listen = config.http.listen;
    if config.auth.mode == AuthMode::Open && !listen.ip().to_canonical().is_loopback() {
        let role = config.auth.open_role.word();
        warn!("auth.mode = \"open\": whoever reaches {listen} gets in as {role}, without a password");
    }
}

fn say_where(address: SocketAddr, fingerprint: Option<&str>) {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        warn!("list the network interfaces: {error}; showing no addresses");
        Vec::new()
    });
    let ours: Vec<IpAddr> = interfaces.iter().map(|interface| interface.ip()).collect();
    let scheme = if fingerprint.is_some() { "https" } else { "http" };
    for url in urls(scheme, address, &ours) {
        say(&format!("open {url} in a browser"));
    }
    if let Some(fingerprint) = fingerprint {
        say(&format!("the certificate's SHA-256 is {fingerprint}"));
    }
}

/// To the user, whatever the log level. A closed stdout is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "rtcam: {line}");
}

/// Where a browser reaches us, the likeliest first.
fn urls(scheme: &str, listen: SocketAddr, ours: &[IpAddr]) -> Vec<String> {
    let url = |ip: IpAddr| format!("{scheme}://{}/", SocketAddr::new(ip, listen.port()));
    if !listen.ip().is_unspecified() {
        return vec![url(listen.ip())];
    }
    // [::] takes IPv4 as well; browsers cannot open link-local IPv6 addresses
    let reachable = |ip: &&IpAddr| match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => listen.is_ipv6() && !is_link_local(v6),
    };
    let mut found: Vec<IpAddr> = ours.iter().filter(reachable).copied().collect();
    found.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    found.dedup();
    found.into_iter().map(url).collect()
}

fn is_link_local(ip: &Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// Tells once whether there is a camera; what happens to it later is in the log.
async fn say_what_is_shown(choice: SourceChoice, stream: Arc<dyn Stream>) {
    let step = Duration::from_millis(100);
    for _ in 0..CAMERA_OPENS_WITHIN.as_millis() / step.as_millis() {
        let status = stream.status();
        match (status.camera, status.source) {
            (CameraState::Live, Some(source)) if choice == SourceChoice::Auto && source.wire_format == "pattern" => {
                return say("no camera found: showing the moving pattern; `rtcam cameras` lists what is there");
            }
            (CameraState::Live, Some(source)) => {
                let rate = source.rate.map_or("rate unknown".into(), |rate| rate.to_string());
                return say(&format!("showing {} ({}, {rate})", source.name, source.wire_format));
            }
            (CameraState::Away { detail, .. }, _) => return say(&format!("no picture yet: {detail}; trying again")),
            _ => sleep(step).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Subscription;
    use crate::stream::Wake;
    use crate::stream::status::StreamStatus;
    use std::sync::Mutex;

    struct NoStream;

    impl Stream for NoStream {
        fn subscribe(&self, _waker: Arc<dyn Wake>) -> Box<dyn Subscription> {
            unreachable!("nobody subscribes here")
        }
        fn profile_level_id(&self) -> [u8; 3] {
            [0x42, 0xe0, 0x1f]
        }
        fn status(&self) -> StreamStatus {
            unreachable!("nobody asks here")
        }
    }

    type Diary = Arc<Mutex<Vec<&'static str>>>;

    fn note(diary: &Diary, what: &'static str) {
        diary.lock().expect("no test thread panics with it").push(what);
    }

    fn parts(diary: &Diary, serve: impl FnOnce(watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = ()>>>) -> Parts {
        let (stop_serving, stopped) = watch::channel(false);
        let closer = |name: &'static str| {
            let diary = diary.clone();
            Closer { name, close: Box::new(move || note(&diary, name)) }
        };
        Parts {
            stream: Arc::new(NoStream),
            fingerprint: None,
            serve: serve(stopped),
            stop_serving,
            closers: vec![closer("webrtc"), closer("pipeline")],
        }
    }

    #[tokio::test]
    async fn a_signal_stops_http_first_and_the_pipeline_last() {
        let diary = Diary::default();
        let in_serve = diary.clone();
        let parts = parts(&diary, |mut stopped| {
            Box::pin(async move {
                stopped.changed().await.expect("the sender lives until it has told");
                note(&in_serve, "http");
            })
        });
        let (tell, told) = oneshot::channel();
        tell.send("SIGTERM").expect("the receiver is here");
        run_service(parts, told, &Clock::system()).await.expect("stopped because asked to");
        assert_eq!(*diary.lock().expect("not poisoned"), ["http", "webrtc", "pipeline"]);
    }

    #[tokio::test]
    async fn a_server_that_gives_up_is_a_failure_and_the_parts_are_closed() {
        let diary = Diary::default();
        let parts = parts(&diary, |_| Box::pin(async {}));
        let (_tell, told) = oneshot::channel();
        let error = run_service(parts, told, &Clock::system()).await.expect_err("it failed");
        assert_eq!(error.to_string(), "HTTP ended by itself");
        assert_eq!(*diary.lock().expect("not poisoned"), ["webrtc", "pipeline"]);
    }

    #[tokio::test]
    async fn what_does_not_stop_is_left_behind() {
        let diary = Diary::default();
        let parts = parts(&diary, |_| Box::pin(std::future::pending()));
        let (tell, told) = oneshot::channel();
        tell.send("SIGTERM").expect("the receiver is here");
        run_service(parts, told, &Clock::system()).await.expect("stopped because asked to");
        assert_eq!(*diary.lock().expect("not poisoned"), ["webrtc", "pipeline"]);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_way_out() {
        let taken = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
        let address = taken.local_addr().expect("bound");
        let error = bind(address).await.expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Busy);
        let text = error.to_string();
        assert!(text.contains(&address.to_string()) && text.contains("http.listen"), "{text}");
    }

    #[test]
    fn urls_are_those_a_browser_can_open() {
        let ours: Vec<IpAddr> = ["127.0.0.1", "::1", "fe80::2", "192.168.1.7", "2001:db8::7"]
            .map(|ip| ip.parse().expect("an address"))
            .into();
        let urls = |listen: &str| urls("http", listen.parse().expect("an address"), &ours);
        assert_eq!(urls("127.0.0.1:8080"), ["http://127.0.0.1:8080/"]);
        assert_eq!(urls("0.0.0.0:8080"), ["http://192.168.1.7:8080/", "http://127.0.0.1:8080/"]);
        assert_eq!(
            urls("[::]:80"),
            ["http://192.168.1.7:80/", "http://[2001:db8::7]:80/", "http://127.0.0.1:80/", "http://[::1]:80/"]
        );
    }
}
