//! The login form: shown in place of the page, and what it posts; signed links that become a cookie.
//!
//! Must never need a file of its own (everything else is behind the password) or put anything a peer sent into HTML.

use super::gate::Denial;
use super::links::LinkRefusal;
use super::{Ends, Shared, page, plain, retry_after, routes};
use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use serde::Deserialize;
use std::sync::Arc;

pub const PATH: &str = "/login";

struct Words {
    language: &'static str,
    title: &'static str,
    name: &'static str,
    password: &'static str,
    enter: &'static str,
    leave: &'static str,
    back: &'static str,
    wrong: &'static str,
    wait: &'static str,
    forged: &'static str,
    expired: &'static str,
    revoked: &'static str,
    clock: &'static str,
}

const ENGLISH: Words = Words {
    language: "en",
    title: "rtcam",
    name: "Name",
    password: "Password",
    enter: "Watch",
    leave: "Log out",
    back: "Back to the picture",
    wrong: "That was not the password.",
    wait: "Too many tries. Please wait a little.",
    forged: "This link is not complete. Please copy all of it.",
    expired: "This link has expired. Please ask for a new one.",
    revoked: "This link is no longer valid. Please ask for a new one.",
    clock: "The camera's clock is not set, so it cannot tell whether this link has expired.",
};

const CHINESE: Words = Words {
    language: "zh-CN",
    title: "rtcam",
    name: "用户名",
    password: "密码",
    enter: "观看",
    leave: "退出登录",
    back: "返回画面",
    wrong: "密码不正确。",
    wait: "尝试次数过多，请稍候再试。",
    forged: "链接不完整，请复制完整的链接。",
    expired: "链接已过期，请索取新的链接。",
    revoked: "链接已失效，请索取新的链接。",
    clock: "摄像机的时钟未设置，无法判断链接是否过期。",
};

/// The form, with the status and the words that fit the denial.
pub fn form(shared: &Shared, headers: &HeaderMap, denial: Denial) -> Response<Body> {
    let words = language(headers);
    let (status, message, seconds) = match denial {
        Denial::Unknown => (StatusCode::UNAUTHORIZED, "", None),
        Denial::WrongPassword => (StatusCode::UNAUTHORIZED, words.wrong, None),
        Denial::Wait { seconds } => (StatusCode::TOO_MANY_REQUESTS, words.wait, Some(seconds)),
        Denial::Busy => (StatusCode::SERVICE_UNAVAILABLE, words.wait, Some(1)),
        Denial::Link(LinkRefusal::Forged) => (StatusCode::UNAUTHORIZED, words.forged, None),
        Denial::Link(LinkRefusal::Expired) => (StatusCode::UNAUTHORIZED, words.expired, None),
        Denial::Link(LinkRefusal::Revoked) => (StatusCode::UNAUTHORIZED, words.revoked, None),
        Denial::Link(LinkRefusal::ClockWrong) => (StatusCode::UNAUTHORIZED, words.clock, None),
    };
    let response = sheet(words, status, &fields(words, shared.gate.has_names(), message));
    match seconds {
        Some(seconds) => retry_after(response, seconds),
        None => response,
    }
}

/// The form for those who are out, the way out for those who are in.
pub async fn get(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let words = language(request.headers());
    if shared.gate.by_cookie(request.headers()).is_some() {
        return sheet(words, StatusCode::OK, &way_out(words));
    }
    if !shared.gate.has_passwords() {
        return home(None);
    }
    sheet(words, StatusCode::OK, &fields(words, shared.gate.has_names(), ""))
}

/// The token of `/?link=TOKEN`.
pub fn link_of(uri: &Uri) -> Option<String> {
    #[derive(Deserialize)]
    struct Wanted {
        link: Option<String>,
    }
    Query::<Wanted>::try_from_uri(uri).ok()?.0.link
}

/// A cookie for the link, and on to the page, so that the token does not stay in the address bar.
pub fn by_link(shared: &Shared, headers: &HeaderMap, token: &str) -> Response<Body> {
    match shared.gate.exchange(token) {
        Ok(cookie) => {
            let mut response = home(Some(cookie));
            *response.status_mut() = StatusCode::FOUND;
            response
        }
        Err(denial) => {
            shared.requests.denied.inc();
            form(shared, headers, denial)
        }
    }
}

pub async fn post(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(default)]
        name: String,
        password: String,
    }
    let headers = request.headers().clone();
    let Some(ends) = request.extensions().get::<Ends>().copied() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "a request without a connection");
    };
    let body = match routes::text_body(&shared, request).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    // a form's body has the syntax of a query
    let query = format!("/?{body}").parse::<Uri>().ok();
    let Some(Query(Form { name, password })) = query.and_then(|uri| Query::try_from_uri(&uri).ok()) else {
        return plain(StatusCode::BAD_REQUEST, "the form has no password");
    };
    match shared.gate.login(ends.peer.ip(), name.trim(), password).await {
        Ok(cookie) => home(cookie),
        Err(denial) => {
            shared.requests.denied.inc();
            form(&shared, &headers, denial)
        }
    }
}

pub async fn logout(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    home(Some(shared.gate.logout(request.headers())))
}

fn home(cookie: Option<String>) -> Response<Body> {
    let mut response = plain(StatusCode::SEE_OTHER, "");
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static("/"));
    if let Some(cookie) = cookie {
        headers.insert(header::SET_COOKIE, HeaderValue::try_from(cookie).expect("hexadecimal digits and our words"));
    }
    response
}

fn language(headers: &HeaderMap) -> &'static Words {
    let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if wanted.trim_start().to_ascii_lowercase().starts_with("zh") { &CHINESE } else { &ENGLISH }
}

fn fields(words: &Words, with_name: bool, message: &str) -> String {
    let Words { name, password, enter, .. } = words;
    let name = match with_name {
        true => format!(
            r#"<label for="name">{name}</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" maxlength="64" autofocus>
"#
        ),
        false => String::new(),
    };
    let focus = if with_name { "" } else { " autofocus" };
    format!(
        r#"<form method="post" action="{PATH}">
{name}<label for="password">{password}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{focus}>
<button>{enter}</button>
<p role="alert">{message}</p>
</form>"#
    )
}

fn way_out(words: &Words) -> String {
    let Words { leave, back, .. } = words;
    format!(
        r#"<form method="post" action="/logout">
<button>{leave}</button>
<p><a href="/">{back}</a></p>
</form>"#
    )
}

/// A page of its own that needs no file: style and all. `body` holds our words only.
fn sheet(words: &Words, status: StatusCode, body: &str) -> Response<Body> {
    let Some(nonce) = super::gate::random_hex() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random numbers");
    };
    let mut response = plain(status, "");
    *response.body_mut() = Body::from(html(words, body, &nonce));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(page::HTML));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    );
    out.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).expect("hexadecimal digits"));
    response
}

fn html(words: &Words, body: &str, nonce: &str) -> String {
    let Words { language, title, .. } = words;
    format!(
        r#"<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark light">
<style nonce="{nonce}">
:root {{ --ground: #080b0e; --ink: #eef3f6; --edge: #33404c; --lift: #12181e; --live: #38e0a3; --on-live: #04130d;
  --bad: #ff6f6a; }}
@media (prefers-color-scheme: light) {{
  :root {{ --ground: #e9edf0; --ink: #10191f; --edge: #7c8a94; --lift: #fbfcfd; --live: #057a52; --on-live: #fff;
    --bad: #c4302b; }}
}}
body {{ margin: 0; min-height: 100vh; min-height: 100dvh; display: grid; place-items: center;
  background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }}
form {{ display: grid; gap: 12px; width: min(320px, 84vw); }}
input, button {{ font: inherit; padding: 12px; border-radius: 12px; border: 1px solid var(--edge);
  background: var(--lift); color: inherit; }}
button {{ border-color: transparent; background: var(--live); color: var(--on-live); font-weight: 600; cursor: pointer; }}
:focus-visible {{ outline: 2px solid var(--live); outline-offset: 2px; }}
p {{ margin: 0; min-height: 1.5em; color: var(--bad); }}
a {{ color: var(--live); }}
</style>
</head>
<body>
{body}
</body>
</html>
"#
    )
}
