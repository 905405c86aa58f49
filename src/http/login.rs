//! The login form: shown in place of the page, and what it posts.
//!
//! Must never need a file of its own (everything else is behind the password) or put anything a peer sent into HTML.

use super::gate::Verdict;
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
    password: &'static str,
    enter: &'static str,
    wrong: &'static str,
    wait: &'static str,
}

const ENGLISH: Words = Words {
    language: "en",
    title: "rtcam",
    password: "Password",
    enter: "Watch",
    wrong: "That was not the password.",
    wait: "Too many tries. Please wait a little.",
};

const CHINESE: Words = Words {
    language: "zh-CN",
    title: "rtcam",
    password: "密码",
    enter: "观看",
    wrong: "密码不正确。",
    wait: "尝试次数过多，请稍候再试。",
};

/// The form, with the status and the words that fit the verdict.
pub fn form(headers: &HeaderMap, verdict: Verdict) -> Response<Body> {
    let words = language(headers);
    let (status, message, seconds) = match verdict {
        Verdict::Welcome | Verdict::Unknown => (StatusCode::UNAUTHORIZED, "", None),
        Verdict::WrongPassword => (StatusCode::UNAUTHORIZED, words.wrong, None),
        Verdict::Wait { seconds } => (StatusCode::TOO_MANY_REQUESTS, words.wait, Some(seconds)),
        Verdict::Busy => (StatusCode::SERVICE_UNAVAILABLE, words.wait, Some(1)),
    };
    let Some(nonce) = super::gate::random_hex() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random numbers");
    };
    let mut response = plain(status, "");
    *response.body_mut() = Body::from(html(words, message, &nonce));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(page::HTML));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    );
    out.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).expect("hexadecimal digits"));
    match seconds {
        Some(seconds) => retry_after(response, seconds),
        None => response,
    }
}

pub async fn post(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    #[derive(Deserialize)]
    struct Form {
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
    let Some(Query(Form { password })) = query.and_then(|uri| Query::try_from_uri(&uri).ok()) else {
        return plain(StatusCode::BAD_REQUEST, "the form has no password");
    };
    match shared.gate.login(ends.peer.ip(), password).await {
        Ok(cookie) => home(cookie),
        Err(verdict) => {
            shared.requests.denied.inc();
            form(&headers, verdict)
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

fn html(words: &Words, message: &str, nonce: &str) -> String {
    let Words { language, title, password, enter, .. } = words;
    format!(
        r#"<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark">
<style nonce="{nonce}">
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: #080b0e; color: #e8edf2;
  font: 16px/1.5 system-ui, sans-serif; }}
form {{ display: grid; gap: 12px; width: min(320px, 84vw); }}
input, button {{ font: inherit; padding: 12px; border-radius: 8px; border: 1px solid #33404c; background: #12181e;
  color: inherit; }}
button {{ background: #1c6fd6; border-color: #1c6fd6; color: #fff; cursor: pointer; }}
p {{ margin: 0; min-height: 1.5em; color: #ffb4a8; }}
</style>
</head>
<body>
<form method="post" action="{PATH}">
<label for="password">{password}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
<button>{enter}</button>
<p role="alert">{message}</p>
</form>
</body>
</html>
"#
    )
}
