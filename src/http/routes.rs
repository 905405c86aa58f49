//! The table of routes: path, method, who may use it, handler. The router is built from it and from nothing else (I8).
//!
//! Owns the order of checks in front of every handler: Host and Origin, then the password. Must never let a handler see a
//! request that failed one.

use super::gate::Verdict;
use super::origin::{self, Allowed};
use super::{Ends, Shared, health, login, page, plain, retry_after, status, whep, ws};
use crate::clock;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
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
    /// Needs the password, where one is set.
    Password,
    /// The same, but people without it get the login form.
    Page,
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
    use Access::*;
    let mut rows = vec![
        route("/healthz", Method::GET, Probe, |s, r| Box::pin(health::get(s, r))),
        route("/metrics", Method::GET, Password, |s, r| Box::pin(status::metrics(s, r))),
        route("/api/v1/status", Method::GET, Password, |s, r| Box::pin(status::get(s, r))),
        route(login::PATH, Method::POST, Open, |s, r| Box::pin(login::post(s, r))),
        route("/logout", Method::POST, Password, |s, r| Box::pin(login::logout(s, r))),
        route("/ws", Method::GET, Password, |s, r| Box::pin(ws::upgrade(s, r))),
        cross_origin(whep::PATH, Method::POST, Password, |s, r| Box::pin(whep::post(s, r))),
        // a browser's question before the request carries no credentials
        cross_origin(whep::PATH, Method::OPTIONS, Open, |s, r| Box::pin(whep::options(s, r))),
        cross_origin(whep::RESOURCE, Method::PATCH, Password, |s, r| Box::pin(whep::patch(s, r))),
        cross_origin(whep::RESOURCE, Method::DELETE, Password, |s, r| Box::pin(whep::delete(s, r))),
        cross_origin(whep::RESOURCE, Method::OPTIONS, Open, |s, r| Box::pin(whep::options(s, r))),
    ];
    for asset in page::ASSETS {
        let access = if asset.path == "/" { Page } else { Password };
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
async fn guard(row: Arc<Route>, shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let Some(ends) = request.extensions().get::<Ends>().copied() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "a request without a connection");
    };
    if row.access != Access::Probe {
        let own = shared.own_addresses(ends.local.ip());
        let allowed = Allowed { own: &own, port: ends.local.port(), names: &shared.names };
        if let Err(refusal) = origin::check(request.uri(), request.headers(), &allowed) {
            shared.requests.foreign.inc();
            return plain(StatusCode::FORBIDDEN, &refusal.to_string());
        }
    }
    // checked above: an allowed one, or none
    let origin = request.headers().get(header::ORIGIN).filter(|_| row.cross_origin).cloned();
    let response = match permit(&row, &shared, ends, request.headers()).await {
        Ok(()) => (row.handler)(shared, request).await,
        Err(refused) => refused,
    };
    match origin {
        Some(origin) => share(response, origin),
        None => response,
    }
}

async fn permit(row: &Route, shared: &Shared, ends: Ends, headers: &HeaderMap) -> Result<(), Response<Body>> {
    if matches!(row.access, Access::Probe | Access::Open) {
        return Ok(());
    }
    let verdict = shared.gate.check(ends.peer.ip(), headers).await;
    if verdict == Verdict::Welcome {
        return Ok(());
    }
    shared.requests.denied.inc();
    if row.access == Access::Page {
        return Err(login::form(headers, verdict));
    }
    Err(match verdict {
        Verdict::Wait { seconds } => {
            let text = "too many wrong passwords from your address; try again later";
            retry_after(plain(StatusCode::TOO_MANY_REQUESTS, text), seconds)
        }
        Verdict::Busy => retry_after(plain(StatusCode::SERVICE_UNAVAILABLE, "too many logins at once"), 1),
        Verdict::Welcome | Verdict::Unknown | Verdict::WrongPassword => {
            let mut response = plain(StatusCode::UNAUTHORIZED, "a password is needed");
            // not Basic: that would make browsers ask in a window of their own
            let challenge = HeaderValue::from_static("Bearer realm=\"rtcam\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    })
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
