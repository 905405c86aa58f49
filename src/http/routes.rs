//! The table of routes: path, method, who may use it, handler. The router is built from it and from nothing else (I8).
//!
//! Owns the order of checks in front of every handler: Host and Origin, then who it is, then what they may do. Must never
//! let a handler see a request that failed one. A handler finds the `Identity` among the request's extensions, but on rows
//! that are open to anybody.

use super::connections::Use;
use super::gate::Denial;
use super::origin::{self, Allowed};
use super::{Ends, Shared, health, login, page, plain, retry_after, status, whep, ws};
use crate::clock;
use crate::config::Role;
use crate::signal::identity::Identity;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::routing::{MethodFilter, on};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, under any name: a probe knows only an address.
    Probe,
    /// Anybody whose browser is where it should be.
    Open,
    /// Those who may do at least so much.
    Role(Role),
    /// Every viewer; who is none gets the login form.
    Page,
}

impl Access {
    /// None: nobody is asked.
    pub fn least_role(self) -> Option<Role> {
        match self {
            Access::Probe | Access::Open => None,
            Access::Role(role) => Some(role),
            Access::Page => Some(Role::Viewer),
        }
    }
}

pub struct Route {
    pub path: &'static str,
    pub method: Method,
    pub access: Access,
    /// Pages of `http.names` may use it from their own origin.
    pub cross_origin: bool,
    handler: Handler,
}

type Handler = fn(Arc<Shared>, Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A row.
const fn route(path: &'static str, method: Method, access: Access, handler: Handler) -> Route {
    Route { path, method, access, cross_origin: false, handler }
}

const fn cross_origin(path: &'static str, method: Method, access: Access, handler: Handler) -> Route {
    Route { path, method, access, cross_origin: true, handler }
}

pub fn table() -> Vec<Route> {
    use Access::{Open, Page, Probe};
    const VIEWER: Access = Access::Role(Role::Viewer);
    const OPERATOR: Access = Access::Role(Role::Operator);
    let mut rows = vec![
        route("/healthz", Method::GET, Probe, |s, r| Box::pin(health::get(s, r))),
        // these two name the viewers' addresses
        route("/metrics", Method::GET, OPERATOR, |s, r| Box::pin(status::metrics(s, r))),
        route("/api/v1/status", Method::GET, OPERATOR, |s, r| Box::pin(status::get(s, r))),
        route(login::PATH, Method::GET, Open, |s, r| Box::pin(login::get(s, r))),
        route(login::PATH, Method::POST, Open, |s, r| Box::pin(login::post(s, r))),
        route("/logout", Method::POST, VIEWER, |s, r| Box::pin(login::logout(s, r))),
        route(ws::PATH, Method::GET, VIEWER, |s, r| Box::pin(ws::upgrade(s, r))),
        cross_origin(whep::PATH, Method::POST, VIEWER, |s, r| Box::pin(whep::post(s, r))),
        // a browser's question before the request carries no credentials
        cross_origin(whep::PATH, Method::OPTIONS, Open, |s, r| Box::pin(whep::options(s, r))),
        cross_origin(whep::RESOURCE, Method::PATCH, VIEWER, |s, r| Box::pin(whep::patch(s, r))),
        cross_origin(whep::RESOURCE, Method::DELETE, VIEWER, |s, r| Box::pin(whep::delete(s, r))),
        cross_origin(whep::RESOURCE, Method::OPTIONS, Open, |s, r| Box::pin(whep::options(s, r))),
    ];
    rows.push(route(page::AGAIN, Method::GET, VIEWER, |_, r| {
        Box::pin(std::future::ready(page::serve_again(r.uri().path(), r.headers())))
    }));
    for asset in page::ASSETS {
        let access = if asset.path == "/" { Page } else { VIEWER };
        rows.push(route(asset.path, Method::GET, access, |_, r| {
            Box::pin(std::future::ready(page::serve(r.uri().path(), r.headers())))
        }));
    }
    rows
}

pub fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new();
    for row in table() {
        let filter = MethodFilter::try_from(row.method.clone()).expect("the table has standard methods only");
        let (row, shared) = (Arc::new(row), shared.clone());
        let path = row.path;
        router = router.route(path, on(filter, move |request| guard(row.clone(), shared.clone(), request)));
    }
    router.fallback(|| async { plain(StatusCode::NOT_FOUND, "no such page") }).layer(map_response(harden))
}

async fn harden(mut response: Response<Body>) -> Response<Body> {
    page::harden(response.headers_mut());
    response
}

/// Every check in front of a handler.
async fn guard(row: Arc<Route>, shared: Arc<Shared>, mut request: Request<Body>) -> Response<Body> {
    let Some(ends) = request.extensions().get::<Ends>().copied() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "a request without a connection");
    };
    if row.access != Access::Probe {
        let own = shared.own_addresses(ends.local.ip());
        let tls = shared.tls.is_some();
        let allowed = Allowed { own: &own, port: ends.local.port(), names: &shared.names, tls };
        if let Err(refusal) = origin::check(request.uri(), request.headers(), &allowed) {
            shared.requests.foreign.inc();
            return plain(StatusCode::FORBIDDEN, &refusal.to_string());
        }
    }
    // checked above: an allowed one, or none
    let origin = request.headers().get(header::ORIGIN).filter(|_| row.cross_origin).cloned();
    let response = match permit(&row, &shared, ends, request.uri(), request.headers()).await {
        Ok(identity) => {
            // a WebSocket uses its connection once it watches
            let counts = identity.is_some() && row.path != ws::PATH;
            let used = request.extensions().get::<Arc<Use>>().filter(|_| counts);
            let _in_use = used.map(Use::begin);
            identity.and_then(|identity| request.extensions_mut().insert(identity));
            (row.handler)(shared, request).await
        }
        Err(refused) => refused,
    };
    match origin {
        Some(origin) => share(response, origin),
        None => response,
    }
}

/// Who it is that asks (None on open rows), or the answer to somebody who may not.
async fn permit(
    row: &Route,
    shared: &Shared,
    ends: Ends,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<Identity>, Response<Body>> {
    let Some(least) = row.access.least_role() else { return Ok(None) };
    if row.access == Access::Page
        && let Some(token) = login::link_of(uri)
    {
        return Err(login::by_link(shared, headers, &token));
    }
    match shared.gate.check(ends.peer.ip(), headers).await {
        Ok(identity) if identity.role >= least => Ok(Some(identity)),
        Ok(identity) => {
            shared.requests.denied.inc();
            let text = format!("as {} you may not; this needs {}", identity.role.word(), least.word());
            Err(plain(StatusCode::FORBIDDEN, &text))
        }
        Err(denial) => {
            shared.requests.denied.inc();
            Err(if row.access == Access::Page { login::form(shared, headers, denial) } else { denied(denial) })
        }
    }
}

fn denied(denial: Denial) -> Response<Body> {
    let (status, text, wait_s) = match denial {
        Denial::Wait { seconds } => {
            let text = "too many wrong passwords from your address; try again later";
            (StatusCode::TOO_MANY_REQUESTS, text.into(), Some(seconds))
        }
        Denial::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many logins at once".into(), Some(1)),
        Denial::Link(refusal) => (StatusCode::UNAUTHORIZED, refusal.to_string(), None),
        Denial::Unknown | Denial::WrongPassword => (StatusCode::UNAUTHORIZED, "a password is needed".into(), None),
    };
    let mut response = plain(status, &text);
    if status == StatusCode::UNAUTHORIZED {
        // not Basic: that would make browsers ask in a window of their own
        let challenge = HeaderValue::from_static("Bearer realm=\"rtcam\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    match wait_s {
        Some(seconds) => retry_after(response, seconds),
        None => response,
    }
}

/// Lets a page of the allowed origin read the response (CORS).
fn share(mut response: Response<Body>, origin: HeaderValue) -> Response<Body> {
    const SHARED: [(HeaderName, &str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, whep::METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location, Link, ETag, Retry-After"),
        (header::VARY, "Origin"),
    ];
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in SHARED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The whole body as text, within the limits; else the response that says which one it broke.
pub async fn text_body(shared: &Shared, request: Request<Body>) -> Result<String, Response<Body>> {
    let limits = &shared.limits;
    let read = axum::body::to_bytes(request.into_body(), limits.body_bytes);
    let bytes = match clock::within(limits.body_within, read).await {
        Some(Ok(bytes)) => bytes,
        Some(Err(e)) if is_too_long(&e) => {
            let text = format!("the body is larger than {} bytes", limits.body_bytes);
            return Err(plain(StatusCode::PAYLOAD_TOO_LARGE, &text));
        }
        Some(Err(_)) => return Err(plain(StatusCode::BAD_REQUEST, "the body broke off")),
        None => return Err(plain(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    };
    String::from_utf8(bytes.into()).map_err(|_| plain(StatusCode::BAD_REQUEST, "the body is not UTF-8 text"))
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>())
}
