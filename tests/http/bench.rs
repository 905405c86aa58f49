//! The server under test and what it talks to.

use rtcam::clock::Clock;
use rtcam::config::{Config, Secret};
use rtcam::http::{Gate, HttpState, Limits, serve};
use rtcam::output::{Answer, Offer, OfferError, ViewerDoor, ViewerEvent, ViewerId, ViewerStats};
use rtcam::stream::adjust::{AdjustError, Adjustable, Change, Control, ControlKind};
use rtcam::stream::status::{CameraState, StreamStatus};
use rtcam::stream::{Stream, Subscription, Wake};
use rtcam::units::{KbitPerSec, Micros};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub const PASSWORD: &str = "correct-horse-canary";
/// Long enough for any loaded machine; no test waits for it unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// What all tests of this program have logged so far, at every level.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn collect_logs() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let every_level = tracing_subscriber::filter::LevelFilter::TRACE;
        tracing_subscriber::fmt().with_max_level(every_level).with_ansi(false).with_writer(|| Log).init();
    });
}

pub fn logged() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}

/// A door that answers at once and remembers everything.
#[derive(Default)]
pub struct FakeDoor(Mutex<Book>);

#[derive(Default)]
pub struct Book {
    pub capacity: usize,
    pub offers: Vec<String>,
    pub candidates: Vec<(ViewerId, String)>,
    /// Text for data channels.
    pub said: Vec<(ViewerId, String)>,
    pub seated: Vec<(ViewerId, mpsc::Sender<ViewerEvent>)>,
    pub refuse: Option<OfferError>,
    /// Offers are kept unanswered here while this is Some.
    pub held: Option<Vec<oneshot::Sender<Result<Answer, OfferError>>>>,
    next: u64,
}

impl FakeDoor {
    pub fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    pub fn seated(&self) -> Vec<ViewerId> {
        self.book().seated.iter().map(|(viewer, _)| *viewer).collect()
    }

    /// Tells a viewer's session something.
    pub fn tell(&self, viewer: ViewerId, event: ViewerEvent) {
        let mut book = self.book();
        let at = book.seated.iter().position(|(v, _)| *v == viewer).unwrap();
        book.seated[at].1.try_send(event.clone()).unwrap();
        if matches!(event, ViewerEvent::Closed(_)) {
            book.seated.remove(at);
        }
    }
}

impl ViewerDoor for FakeDoor {
    fn offer(&self, offer: Offer) -> oneshot::Receiver<Result<Answer, OfferError>> {
        let (sender, receiver) = oneshot::channel();
        let mut book = self.book();
        book.offers.push(offer.sdp);
        if let Some(held) = &mut book.held {
            held.push(sender);
            return receiver;
        }
        let reply = match book.refuse.clone() {
            Some(refusal) => Err(refusal),
            None if book.seated.len() >= book.capacity => Err(OfferError::Full { max_viewers: book.capacity as u32 }),
            None => {
                book.next += 1;
                let viewer = ViewerId(book.next);
                book.seated.push((viewer, offer.events));
                Ok(Answer { viewer, sdp: "v=0\r\nanswer\r\n".into() })
            }
        };
        let _ = sender.send(reply);
        receiver
    }

    fn restart(&self, viewer: ViewerId, sdp: String) -> oneshot::Receiver<Result<Answer, OfferError>> {
        let (sender, receiver) = oneshot::channel();
        let mut book = self.book();
        book.offers.push(sdp);
        let sdp = "v=0\r\nm=video 9 X 96\r\na=mid:0\r\na=ice-ufrag:ours\r\na=ice-pwd:ours\r\n".into();
        let _ = sender.send(book.refuse.clone().map_or(Ok(Answer { viewer, sdp }), Err));
        receiver
    }

    fn add_candidate(&self, viewer: ViewerId, candidate: String) {
        self.book().candidates.push((viewer, candidate));
    }

    fn send(&self, viewer: ViewerId, text: String) -> bool {
        self.book().said.push((viewer, text));
        true
    }

    fn close(&self, viewer: ViewerId) {
        self.book().seated.retain(|(v, _)| *v != viewer);
    }

    fn viewers(&self) -> Vec<ViewerStats> {
        let stats = |viewer: ViewerId| ViewerStats {
            viewer,
            joined_at: Micros(0),
            connected_at: Some(Micros(0)),
            peer: Some("192.0.2.1:5000".parse().unwrap()),
            path: None,
            srtp: None,
            pictures_sent: 3,
            pictures_dropped: 0,
            packets_sent: 30,
            bytes_sent: 30_000,
            packets_resent: 0,
            key_requests: 1,
            loss: 0.0,
            round_trip_ms: None,
        };
        self.seated().into_iter().map(stats).collect()
    }
}

pub struct FakeStream(pub Mutex<StreamStatus>, pub watch::Sender<Arc<Adjustable>>);

impl Stream for FakeStream {
    fn subscribe(&self, _waker: Arc<dyn Wake>) -> Box<dyn Subscription> {
        unreachable!("signalling takes no pictures")
    }

    fn profile_level_id(&self) -> [u8; 3] {
        [0x42, 0xe0, 0x1f]
    }

    fn adjustable(&self) -> watch::Receiver<Arc<Adjustable>> {
        self.1.subscribe()
    }

    /// Integers are set as they come.
    fn adjust(&self, change: Change) -> Result<(), AdjustError> {
        let Change::Control { key, value } = change else { return Err(AdjustError::Busy) };
        self.1.send_modify(|known| {
            let known = Arc::make_mut(known);
            known.version += 1;
            known.controls.iter_mut().filter(|control| control.key == key).for_each(|control| control.value = value);
        });
        Ok(())
    }

    fn status(&self) -> StreamStatus {
        let mut status = self.0.lock().unwrap().clone();
        // a thread that lives
        status.capture_beat = Clock::system().now();
        status.encode_beat = status.capture_beat;
        status
    }
}

fn camera() -> Adjustable {
    let control = Control {
        key: "brightness".into(),
        name: "Brightness".into(),
        kind: ControlKind::Integer { minimum: 0, maximum: 255, step: 1 },
        value: 1,
        default: 128,
        read_only: false,
        inactive: false,
    };
    Adjustable { version: 1, controls: vec![control], layers: vec![] }
}

fn live() -> StreamStatus {
    StreamStatus {
        camera: CameraState::Live,
        source: None,
        encoder: "fake",
        bitrate: KbitPerSec(1500),
        captured_fps: 30.0,
        encoded_fps: 30.0,
        encoded_kbps: 1500.0,
        captured: 1,
        capture_dropped: 0,
        encoded: 1,
        encoder_skipped: 0,
        encoder_copied: 0,
        key_pictures: 1,
        camera_opens: 1,
        overlay_time: Duration::ZERO,
        encode_time: Duration::ZERO,
        subscribers: 0,
        capture_beat: Micros(0),
        encode_beat: Micros(0),
    }
}

pub struct Bench {
    pub address: SocketAddr,
    pub door: Arc<FakeDoor>,
    pub stream: Arc<FakeStream>,
    pub gate: Gate,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Bench {
    pub async fn start() -> Bench {
        Bench::with(Limits::default(), Config::default()).await
    }

    pub async fn with_limits(limits: Limits) -> Bench {
        Bench::with(limits, Config::default()).await
    }

    pub async fn with_password() -> Bench {
        let mut config = Config::default();
        config.auth.password_hash = hash(PASSWORD);
        Bench::with(Limits::default(), config).await
    }

    pub async fn with(limits: Limits, config: Config) -> Bench {
        Bench::with_clock(limits, config, Clock::system()).await
    }

    pub async fn with_clock(limits: Limits, config: Config, clock: Clock) -> Bench {
        collect_logs();
        let door = Arc::new(FakeDoor::default());
        door.book().capacity = config.webrtc.max_viewers as usize;
        let stream = Arc::new(FakeStream(Mutex::new(live()), watch::Sender::new(Arc::new(camera()))));
        let state = HttpState::with_limits(&config, door.clone(), stream.clone(), clock, limits).expect("a state");
        let gate = state.gate();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, state, stopped));
        Bench { address, door, stream, gate, stop, server }
    }

    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        soon(self.server).await.unwrap();
    }

    pub fn tell_to_stop(&self) {
        self.stop.send(true).unwrap();
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.ask_over(self.connect().await, method, path, headers, body).await
    }

    /// The same, on a connection that is there already.
    pub async fn ask_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += body;
        // the server may answer and close before it has read everything
        let _ = stream.write_all(text.as_bytes()).await;
        Reply::read(&mut stream).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "").await
    }

    /// Waits until `holds` does.
    pub async fn until(&self, what: &str, holds: impl Fn(&Book) -> bool) {
        let waiting = async {
            while !holds(&self.door.book()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

/// A hash that is quick to verify.
pub fn hash(password: &str) -> Secret {
    use argon2::password_hash::CustomizedPasswordHasher;
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::default();
    let hash = argon2.hash_password_customized(password.as_bytes(), b"0123456789abcdef", None, None, params).unwrap();
    Secret::new(hash.to_string())
}

pub async fn soon<F: std::future::Future>(work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work).await.expect("it took far too long")
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// Everything up to the end of the connection.
    pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Reply {
        let mut bytes = Vec::new();
        let _ = soon(stream.read_to_end(&mut bytes)).await;
        Reply::parse(&String::from_utf8_lossy(&bytes))
    }

    fn parse(text: &str) -> Reply {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Reply { status, head: head.to_string(), body: body.to_string() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &'_ str| -> Option<usize> {
            line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(n, _)| n.len() + 1)
        };
        self.head.lines().find_map(|l| line(l).map(|at| l[at..].trim()))
    }
}
