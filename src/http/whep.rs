//! `/whep`: WebRTC-HTTP egress (draft-ietf-wish-whep): POST an offer, PATCH candidates or an ICE restart, DELETE to leave.
//!
//! Owns the table of WHEP resources; each is a task with a session of its own. Must never outlive its viewer. Input:
//! requests that passed the origin and password checks. PATCH is RFC 9725 section 4.3, but for one thing: a client that
//! names no ETag is served, too.

use super::call::Call;
use super::lounge::{self, Order, Place, Visitor};
use super::whep_fragment::{self, Credentials};
use super::{Live, Shared, plain, retry_after, routes};
use crate::output::ViewerId;
use crate::signal::ice;
use crate::signal::message::{ErrorCode, Message};
use crate::signal::session::{Action, Input, Session, Transport};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

pub const PATH: &str = "/whep";
pub const RESOURCE: &str = "/whep/{id}";

/// Who may ask what, for browsers of other origins (`http.names`).
pub const METHODS: &str = "POST, PATCH, DELETE, OPTIONS";

pub async fn post(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    if !is_type(request.headers(), "application/sdp") {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the offer must be application/sdp");
    }
    let visitor = Visitor::of(&shared, &request);
    let sdp = match routes::text_body(&shared, request).await {
        Ok(sdp) => sdp,
        Err(refused) => return refused,
    };
    let place = match shared.lounge.join_silently(&visitor) {
        Ok(place) => place,
        Err(away) => return lounge::refusal(&away),
    };
    let Some((id, requests)) = shared.whep.open(shared.limits.whep_sessions) else {
        return retry_after(plain(StatusCode::SERVICE_UNAVAILABLE, "too many WHEP sessions; try again later"), 5);
    };
    let (first, answer) = oneshot::channel();
    let links = ice_links(&shared);
    // a task of its own: a client that hangs up in the middle must not take the session's clean-up with it
    tokio::spawn(Resource::new(shared, id.clone(), requests, visitor.from, place).run(sdp, first));
    match answer.await {
        Ok(Ok(sdp)) => created(&id, sdp, &links),
        Ok(Err(refusal)) => refusal.into_response(),
        Err(_) => retry_after(plain(StatusCode::SERVICE_UNAVAILABLE, "rtcam is stopping"), 2),
    }
}

fn created(id: &str, sdp: String, links: &[String]) -> Response<Body> {
    let mut response = Response::new(Body::from(sdp));
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    let location = HeaderValue::try_from(format!("{PATH}/{id}")).expect("hexadecimal digits");
    headers.insert(header::LOCATION, location);
    headers.insert(header::ETAG, etag(1));
    headers.insert("accept-patch", HeaderValue::from_static("application/trickle-ice-sdpfrag"));
    for link in links.iter().filter_map(|link| HeaderValue::try_from(link).ok()) {
        headers.append(header::LINK, link);
    }
    response
}

/// The STUN and TURN servers a client may use, with credentials made for it.
fn ice_links(shared: &Shared) -> Vec<String> {
    let unix_s = shared.clock.wall().0 / 1_000_000;
    if ice::clock_is_unset(&shared.ice_servers, unix_s) {
        warn!(
            "webrtc.ice_server: this machine's clock is not set; TURN servers will refuse the credentials made by it"
        );
    }
    ice::links(&shared.ice_servers, unix_s)
}

pub async fn patch(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let Some(resource) = shared.whep.get(id_of(&request)) else { return gone() };
    if !is_type(request.headers(), "application/trickle-ice-sdpfrag") {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a patch must be application/trickle-ice-sdpfrag");
    }
    let if_match = request.headers().get(header::IF_MATCH).cloned();
    let fragment = match routes::text_body(&shared, request).await {
        Ok(fragment) => fragment,
        Err(refused) => return refused,
    };
    let (reply, done) = oneshot::channel();
    match resource.try_send(Ask::Patch { if_match, fragment, reply }) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(_)) => return Refusal::too_fast().into_response(),
        Err(mpsc::error::TrySendError::Closed(_)) => return gone(),
    }
    match done.await {
        Ok(response) => response,
        Err(_) => gone(),
    }
}

/// Counts the ICE generations of a resource.
fn etag(generation: u32) -> HeaderValue {
    HeaderValue::try_from(format!("\"{generation}\"")).expect("digits between quotes")
}

fn restarted(generation: u32, answer: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(whep_fragment::of_answer(answer)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/trickle-ice-sdpfrag"));
    headers.insert(header::ETAG, etag(generation));
    response
}

pub async fn delete(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    match shared.whep.remove(id_of(&request)) {
        Some(resource) => {
            // with its queue full of patches it leaves a little later: when the last sender is gone
            drop(resource.try_send(Ask::Leave));
            empty(StatusCode::OK)
        }
        None => gone(),
    }
}

pub async fn options(_shared: Arc<Shared>, _request: Request<Body>) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    headers.insert("accept-post", HeaderValue::from_static("application/sdp"));
    response
}

fn id_of(request: &Request<Body>) -> &str {
    request.uri().path().strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default()
}

fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

fn gone() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "no such WHEP session; it has ended or never was")
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// What a session's error becomes in HTTP.
struct Refusal {
    code: ErrorCode,
    message: String,
    retry_after_s: Option<u32>,
}

impl Refusal {
    fn too_fast() -> Refusal {
        Refusal { code: ErrorCode::TooFast, message: "too many requests at once".into(), retry_after_s: Some(1) }
    }

    fn into_response(self) -> Response<Body> {
        let status = match self.code {
            ErrorCode::NoH264 => StatusCode::NOT_ACCEPTABLE,
            ErrorCode::Full | ErrorCode::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::TooFast | ErrorCode::TooManyCandidates => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let response = plain(status, &self.message);
        match self.retry_after_s {
            Some(seconds) => retry_after(response, seconds),
            None => response,
        }
    }
}

enum Ask {
    Patch { if_match: Option<HeaderValue>, fragment: String, reply: oneshot::Sender<Response<Body>> },
    Leave,
}

/// The resources that live, by their unguessable id. Dropping an entry ends its task.
#[derive(Default)]
pub struct Registry(Mutex<HashMap<String, mpsc::Sender<Ask>>>);

impl Registry {
    fn open(&self, limit: usize) -> Option<(String, mpsc::Receiver<Ask>)> {
        let id = super::gate::random_hex()?;
        let mut table = self.table();
        if table.len() >= limit {
            return None;
        }
        let (sender, receiver) = mpsc::channel(4);
        table.insert(id.clone(), sender);
        Some((id, receiver))
    }

    fn get(&self, id: &str) -> Option<mpsc::Sender<Ask>> {
        self.table().get(id).cloned()
    }

    fn remove(&self, id: &str) -> Option<mpsc::Sender<Ask>> {
        self.table().remove(id)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Ask>>> {
        // map operations do not panic half-way
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for the answer to an offer; None once told.
type Asker = Option<Waiting>;

enum Waiting {
    Post(oneshot::Sender<Result<String, Refusal>>),
    /// An ICE restart, and the offer it makes.
    Patch(oneshot::Sender<Response<Body>>, String),
}

/// One WHEP resource from its offer to the end of its viewer.
struct Resource {
    id: String,
    /// None once the client has left.
    requests: Option<mpsc::Receiver<Ask>>,
    session: Session,
    call: Call,
    place: Place,
    shared: Arc<Shared>,
    /// As it is since the last ICE restart.
    offer: String,
    generation: u32,
    _live: Live,
}

impl Resource {
    fn new(shared: Arc<Shared>, id: String, requests: mpsc::Receiver<Ask>, from: IpAddr, place: Place) -> Resource {
        shared.requests.whep_sessions.inc();
        let session = Session::new(
            Transport::Whep,
            shared.limits.session.clone(),
            shared.greeting(),
            shared.status.borrow().clone(),
            shared.clock.now(),
        );
        Resource {
            id,
            requests: Some(requests),
            session,
            call: Call::new(shared.door.clone(), from),
            place,
            offer: String::new(),
            generation: 1,
            _live: Live::new(&shared),
            shared,
        }
    }

    async fn run(mut self, sdp: String, first: oneshot::Sender<Result<String, Refusal>>) {
        let mut stop = self.shared.stop.subscribe();
        let mut stopping = false;
        self.offer.clone_from(&sdp);
        let mut asker = Some(Waiting::Post(first));
        self.step(Input::Request(vec![Message::Offer { sdp, restart: false }]), &mut asker);
        while !self.session.is_finished() {
            let deadline = self.session.next_deadline().map(|at| at.since(self.shared.clock.now()));
            tokio::select! {
                input = self.call.next() => {
                    if let Input::Viewer { event, .. } = &input {
                        self.shared.lounge.on_viewer(&self.place, event);
                    }
                    self.step(input, &mut asker);
                }
                Some(order) = self.place.orders.recv() => if let Order::End(reason) = order {
                    self.step(Input::Expelled(reason), &mut asker);
                },
                ask = next_ask(&mut self.requests) => self.on_ask(ask, &mut asker),
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    self.step(Input::Stop, &mut asker);
                }
                _ = super::ws::until(deadline) => {
                    self.step(Input::Tick, &mut asker);
                }
            }
        }
    }

    fn on_ask(&mut self, ask: Option<Ask>, asker: &mut Asker) {
        match ask {
            Some(Ask::Patch { if_match, fragment, reply }) => self.on_patch(if_match.as_ref(), &fragment, reply, asker),
            Some(Ask::Leave) | None => {
                self.requests = None;
                self.step(Input::Gone, asker);
            }
        }
    }

    fn on_patch(
        &mut self,
        if_match: Option<&HeaderValue>,
        fragment: &str,
        reply: oneshot::Sender<Response<Body>>,
        asker: &mut Asker,
    ) {
        // RFC 9725 writes the star in quotes
        let starred = if_match.is_some_and(|tag| tag == "*" || tag == "\"*\"");
        let new = Credentials::of(fragment).filter(|new| Some(new) != Credentials::of(&self.offer).as_ref());
        let response = match new {
            Some(_) if starred && asker.is_some() => Refusal::too_fast().into_response(),
            Some(new) if starred => return self.restart(&new, fragment, reply, asker),
            _ if !starred && if_match.is_some_and(|tag| *tag != etag(self.generation)) => {
                plain(StatusCode::PRECONDITION_FAILED, "that ICE session is over: its ETag is not the current one")
            }
            // what is wrong with it is told to who sent it
            _ => match self.step(Input::Request(whep_fragment::candidates(fragment)), &mut None) {
                Some(refusal) => refusal.into_response(),
                None => empty(StatusCode::NO_CONTENT),
            },
        };
        if reply.send(response).is_err() {
            debug!("whep: a client left before its patch was answered");
        }
    }

    fn restart(
        &mut self,
        new: &Credentials,
        fragment: &str,
        reply: oneshot::Sender<Response<Body>>,
        asker: &mut Asker,
    ) {
        let sdp = whep_fragment::offer_again(&self.offer, new, fragment);
        *asker = Some(Waiting::Patch(reply, sdp.clone()));
        self.step(Input::Request(vec![Message::Offer { sdp, restart: true }]), asker);
    }

    /// One input; the error it gave, if any, belongs to whoever asked.
    fn step(&mut self, input: Input, asker: &mut Asker) -> Option<Refusal> {
        let now = self.shared.clock.now();
        let mut actions = Vec::new();
        let mut refusal = None;
        self.session.handle(now, input, &mut actions);
        let mut at = 0;
        while at < actions.len() {
            match self.call.act(actions[at].clone()) {
                Some(Action::Send(Message::Answer { sdp, viewer })) => {
                    self.shared.lounge.set_viewer(&self.place, Some(ViewerId(viewer)));
                    let unheard = match asker.take() {
                        Some(Waiting::Post(first)) => first.send(Ok(sdp)).is_err(),
                        Some(Waiting::Patch(reply, offer)) => {
                            (self.offer, self.generation) = (offer, self.generation + 1);
                            reply.send(restarted(self.generation, &sdp)).is_err()
                        }
                        None => false,
                    };
                    if unheard {
                        // the client hung up: its viewer goes too
                        self.session.handle(now, Input::Gone, &mut actions);
                    }
                }
                Some(Action::Send(Message::Error { code, message, retry_after_s, .. })) => {
                    let said = Refusal { code, message, retry_after_s };
                    match asker.take() {
                        Some(Waiting::Post(first)) => drop(first.send(Err(said))),
                        Some(Waiting::Patch(reply, _)) => drop(reply.send(said.into_response())),
                        None => refusal = refusal.or(Some(said)),
                    }
                }
                Some(Action::CloseSocket(_)) => {
                    self.shared.lounge.leaves(&self.place);
                    self.shared.whep.remove(&self.id);
                    asker.take();
                }
                _ => {}
            }
            at += 1;
        }
        refusal
    }
}

async fn next_ask(requests: &mut Option<mpsc::Receiver<Ask>>) -> Option<Ask> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        self.shared.whep.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_long_and_never_the_same() {
        let registry = Registry::default();
        let (a, _a) = registry.open(2).unwrap();
        let (b, _b) = registry.open(2).unwrap();
        assert!(a != b && a.len() == 64 && b.len() == 64);
        assert!(registry.open(2).is_none());
        registry.remove(&a);
        assert!(registry.open(2).is_some());
    }
}
