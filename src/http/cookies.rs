//! Session cookies: their tokens and their text. Whose they are is in `sessions.rs`.
//!
//! Must never log a token, or tell one by the time a comparison takes. Input: Cookie headers (hostile).

use axum::http::{HeaderMap, header};
use std::time::Duration;

pub const NAME: &str = "rtcam_session";

pub type Token = [u8; 32];

/// The tokens a request brings.
pub fn of(headers: &HeaderMap) -> impl Iterator<Item = Token> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    // browsers may send several (of other paths); a handful is more than any needs
    pairs.filter(|(name, _)| *name == NAME).filter_map(|(_, value)| unhex(value)).take(4)
}

/// Whether the browser sends it when a page of another site leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    Strict,
    /// With top-level GET requests: who clicks a link in a mail arrives from another site.
    Lax,
}

/// The value for Set-Cookie.
pub fn set(token: &Token, life: Duration, same_site: SameSite, over_tls: bool) -> String {
    text(&hex(token), life, same_site, over_tls)
}

/// The one that makes the browser forget it.
pub fn forget(over_tls: bool) -> String {
    text("", Duration::ZERO, SameSite::Strict, over_tls)
}

fn text(value: &str, life: Duration, same_site: SameSite, over_tls: bool) -> String {
    let secure = if over_tls { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/; HttpOnly; SameSite={same_site:?}{secure}; Max-Age={}", life.as_secs())
}

/// Compares every byte, whatever the first ones say.
pub fn same(a: &Token, b: &Token) -> bool {
    let differing = a.iter().zip(b).fold(0u8, |seen, (x, y)| seen | (x ^ y));
    std::hint::black_box(differing) == 0
}

pub fn random() -> Option<Token> {
    let mut token = Token::default();
    getrandom::fill(&mut token).ok()?;
    Some(token)
}

pub fn hex(token: &Token) -> String {
    token.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Option<Token> {
    let mut token = Token::default();
    if text.len() != 2 * token.len() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in token.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: usize) -> Token {
        let mut token = Token::default();
        token[..8].copy_from_slice(&(n as u64).to_le_bytes());
        token
    }

    #[test]
    fn the_cookie_is_secure_over_tls_only() {
        let life = Duration::from_secs(60);
        let plain = set(&token(1), life, SameSite::Strict, false);
        assert!(plain.contains("HttpOnly; SameSite=Strict; Max-Age=60") && !plain.contains("Secure"), "{plain}");
        assert!(set(&token(1), life, SameSite::Lax, true).contains("SameSite=Lax; Secure; Max-Age=60"));
        assert!(forget(true).starts_with("rtcam_session=; ") && forget(true).ends_with("Max-Age=0"));
    }

    #[test]
    fn tokens_are_random_and_survive_their_text_form() {
        let (a, b) = (random().unwrap(), random().unwrap());
        assert_ne!(a, b);
        assert_eq!(unhex(&hex(&a)), Some(a));
        assert_eq!(unhex(&"+1".repeat(32)), None);
        assert!(same(&a, &a) && !same(&a, &b));
    }
}
