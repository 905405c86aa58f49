//! What the WebRTC core complains about, in words that a log may have: no viewer's address, nothing a viewer wrote.
//!
//! Pure. Input: errors of the core and of offers (they quote what the peer sent).

use crate::output::OfferError;
use rtc::shared::error::Error;

const CHARACTERS: usize = 80;

pub fn of_core(error: &Error) -> String {
    match error {
        Error::InvalidRemoteAddress(_) => "it came from an address that has no handshake".into(),
        other => other.to_string().chars().take(CHARACTERS).flat_map(char::escape_debug).collect(),
    }
}

/// The viewer is told the whole of it.
pub fn of_offer(error: &OfferError) -> String {
    match error {
        OfferError::BadOffer(_) => "not an offer we understand".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_an_offer_says_are_left_out_and_the_rest_is_one_short_line() {
        let peer = "192.0.2.77:5000".parse().unwrap();
        assert!(!of_core(&Error::InvalidRemoteAddress(peer)).contains("192.0.2"));
        let long = of_core(&Error::Other(format!("a\n\u{1b}{}", "x".repeat(500))));
        assert!(long.starts_with("a\\n\\u{1b}") && long.len() < 120, "{long}");
        assert!(!of_offer(&OfferError::BadOffer("a=ice-pwd:canary".into())).contains("canary"));
        assert!(of_offer(&OfferError::Full { max_viewers: 3 }).contains('3'));
    }
}
