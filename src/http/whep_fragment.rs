//! SDP fragments of WHEP (RFC 8840, RFC 9725 section 4.3): what a client's PATCH says, and what it is answered with.
//!
//! Pure. Input: bodies of clients within the limit of bodies. Must never let a line break into what becomes part of an
//! offer.

use crate::signal::message::{Candidate, Message};

/// One ICE generation's name and password (RFC 8839 section 5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub ufrag: String,
    pub pwd: String,
}

impl Credentials {
    /// The first ones in a description or fragment; bundled sections have the same. None: none, or no valid ones.
    pub fn of(sdp: &str) -> Option<Credentials> {
        let value = |name: &str| sdp.lines().find_map(|line| line.trim_end().strip_prefix(name));
        let (ufrag, pwd) = (value("a=ice-ufrag:")?, value("a=ice-pwd:")?);
        let valid = |text: &str, least: usize| {
            (least..=256).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
        };
        (valid(ufrag, 4) && valid(pwd, 22)).then(|| Credentials { ufrag: ufrag.into(), pwd: pwd.into() })
    }
}

/// Without those that have a carriage return inside: some take it for the end of a line.
fn whole_lines(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines().map(str::trim_end).filter(|line| !line.contains('\r'))
}

fn candidate_lines(sdp: &str) -> impl Iterator<Item = &str> {
    whole_lines(sdp).filter(|line| line.starts_with("a=candidate:"))
}

/// The `a=candidate` lines of a fragment; the end-of-candidates line becomes the empty candidate.
pub fn candidates(fragment: &str) -> Vec<Message> {
    let line = |line: &str| match line.strip_prefix("a=")? {
        "end-of-candidates" => Some(Candidate::End),
        attribute => attribute.starts_with("candidate:").then(|| Candidate::Line(attribute.to_string())),
    };
    whole_lines(fragment).filter_map(line).map(|candidate| Message::Candidate { candidate }).collect()
}

/// The client's offer as it would be now: with the fragment's candidates, and its credentials where there are any.
pub fn offer_again(offer: &str, credentials: &Credentials, fragment: &str) -> String {
    let mut out = String::with_capacity(offer.len() + fragment.len());
    let mut given = false;
    for line in offer.lines() {
        if line.starts_with("a=ice-ufrag:") {
            out.extend(["a=ice-ufrag:", &credentials.ufrag, "\r\n"]);
        } else if line.starts_with("a=ice-pwd:") {
            out.extend(["a=ice-pwd:", &credentials.pwd, "\r\n"]);
        } else if !line.starts_with("a=candidate:") && line != "a=end-of-candidates" {
            out.extend([line, "\r\n"]);
            if line.starts_with("a=mid:") && !std::mem::replace(&mut given, true) {
                candidate_lines(fragment).for_each(|candidate| out.extend([candidate, "\r\n"]));
            }
        }
    }
    out
}

/// What an answer says about our ICE: the fragment for the client.
pub fn of_answer(answer: &str) -> String {
    let first = |prefix: &str| answer.lines().find(|line| line.starts_with(prefix));
    let lines = ["a=group:", "m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:"].into_iter().filter_map(first);
    let lines = lines.chain(candidate_lines(answer)).chain(["a=end-of-candidates"]);
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1\r\nm=video 9 X 96\r\na=ice-ufrag:old1\r\na=ice-pwd:old1old1old1old1old1old1\r\n\
        a=mid:0\r\na=candidate:9 1 udp 1 10.0.0.9 5 typ host\r\na=end-of-candidates\r\nm=application 9 Y z\r\n\
        a=ice-ufrag:old1\r\na=ice-pwd:old1old1old1old1old1old1\r\na=mid:1\r\n";
    const FRAGMENT: &str = "a=ice-ufrag:new2\r\na=ice-pwd:new2new2new2new2new2new2\r\nm=video 9 X 0\r\na=mid:0\r\n\
        a=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\na=end-of-candidates\r\n";

    #[test]
    fn a_fragment_gives_its_candidates_and_the_end() {
        let lines: Vec<String> = candidates(FRAGMENT)
            .iter()
            .map(|m| match m {
                Message::Candidate { candidate } => candidate.line().to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lines, ["candidate:1 1 udp 1 10.0.0.1 5 typ host", ""]);
        assert!(candidates("").is_empty());
        assert!(candidates("a=candidate:1\ra=mid:1\r\n").is_empty(), "a line within a line");
    }

    #[test]
    fn credentials_are_taken_only_as_the_standard_has_them() {
        let new = Credentials { ufrag: "new2".into(), pwd: "new2new2new2new2new2new2".into() };
        assert_eq!(Credentials::of(FRAGMENT), Some(new));
        for bad in [
            "a=ice-ufrag:abcd\r\n",
            "a=ice-ufrag:abc\r\na=ice-pwd:0123456789012345678901\r\n",
            "a=ice-ufrag:ab cd\r\na=ice-pwd:0123456789012345678901\r\n",
            "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n",
            "",
        ] {
            assert_eq!(Credentials::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_offer_gets_new_credentials_everywhere_and_the_new_candidates_once() {
        let credentials = Credentials::of(FRAGMENT).expect("it has some");
        assert_eq!(
            offer_again(OFFER, &credentials, FRAGMENT),
            "v=0\r\na=group:BUNDLE 0 1\r\nm=video 9 X 96\r\na=ice-ufrag:new2\r\na=ice-pwd:new2new2new2new2new2new2\r\n\
             a=mid:0\r\na=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\nm=application 9 Y z\r\n\
             a=ice-ufrag:new2\r\na=ice-pwd:new2new2new2new2new2new2\r\na=mid:1\r\n"
        );
    }

    #[test]
    fn an_answer_becomes_what_the_client_needs_of_it() {
        assert_eq!(
            of_answer(OFFER),
            "a=group:BUNDLE 0 1\r\nm=video 9 X 96\r\na=mid:0\r\na=ice-ufrag:old1\r\na=ice-pwd:old1old1old1old1old1old1\r\n\
             a=candidate:9 1 udp 1 10.0.0.9 5 typ host\r\na=end-of-candidates\r\n"
        );
    }
}
