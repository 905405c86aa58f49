//! The two ends of a negotiation that are plain text work: is this offer one we can serve, and does our answer say
//! what our stream is.
//!
//! Pure. Input: SDP from browsers (RFC 8866, RFC 6184 section 8.2.2). Must never allocate in proportion to more than
//! the offer's own length.

use crate::output::OfferError;

/// No browser's offer comes near this.
pub const MAX_OFFER_BYTES: usize = 64 * 1024;
/// Candidates taken from one offer; the rest is ignored.
pub const MAX_CANDIDATES: usize = 64;

/// Profiles (profile_idc, constraint flags) whose decoders play a Constrained Baseline stream, the one that says exactly
/// what our SPS says first.
const PROFILES: [&str; 2] = ["42e0", "4200"];

/// The profile to answer with. Refuses what cannot work, with the reason, before any state is made for it.
pub fn choose_profile(sdp: &str) -> Result<&'static str, OfferError> {
    let refuse = |reason: &str| Err(OfferError::BadOffer(reason.into()));
    if sdp.len() > MAX_OFFER_BYTES {
        return refuse("it is longer than 64 KiB");
    }
    if !sdp.starts_with("v=0") {
        return refuse("it is not SDP");
    }
    if !sdp.lines().any(|line| line.starts_with("m=video ")) {
        return refuse("it asks for no video");
    }
    if !sdp.lines().any(|line| line.starts_with("a=ice-ufrag:")) {
        return refuse("it has no ICE credentials");
    }
    if !sdp.lines().any(|line| line.starts_with("a=fingerprint:")) {
        return refuse("it has no DTLS fingerprint");
    }
    if sdp.lines().filter(|line| line.starts_with("a=candidate:")).count() > MAX_CANDIDATES {
        return refuse("it has more than 64 candidates");
    }
    let offered = |profile: &&str| sdp.lines().filter_map(offered_profile).any(|p| p.eq_ignore_ascii_case(profile));
    PROFILES.into_iter().find(offered).ok_or(OfferError::NoH264)
}

/// The first four digits of profile-level-id in an fmtp line with packetization-mode=1. Only H.264 has these.
fn offered_profile(line: &str) -> Option<&str> {
    let (_, parameters) = line.strip_prefix("a=fmtp:")?.split_once(' ')?;
    let value_of = |name: &str| {
        parameters.split(';').filter_map(|p| p.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
    };
    if value_of("packetization-mode") != Some("1") {
        return None;
    }
    value_of("profile-level-id")?.get(..4)
}

/// Makes the level in our answer that of the real SPS. The profile stays what was negotiated (RFC 6184 section 8.2.2:
/// the level may differ per direction, the profile may not).
pub fn state_real_level(answer: &str, profile_level_id: [u8; 3]) -> String {
    let level = format!("{:02x}", profile_level_id[2]);
    let mut out = String::with_capacity(answer.len());
    let mut rest = answer;
    const KEY: &str = "profile-level-id=";
    while let Some(at) = rest.find(KEY) {
        let value = at + KEY.len();
        let Some(profile) = rest.get(value..value + 4) else { break };
        out.push_str(&rest[..value]);
        out.push_str(profile);
        out.push_str(&level);
        rest = rest.get(value + 6..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

/// Puts more candidate lines (`candidate:...`) into the answer, after those of the first media section, which all others
/// are bundled with.
pub fn with_candidates(answer: &str, candidates: &[String]) -> String {
    let mut out = String::with_capacity(answer.len() + 96 * candidates.len());
    let (mut sections, mut waiting) = (0, !candidates.is_empty());
    for line in answer.lines() {
        sections += usize::from(line.starts_with("m="));
        if waiting && (line == "a=end-of-candidates" || sections == 2) {
            candidates.iter().for_each(|candidate| out.extend(["a=", candidate, "\r\n"]));
            waiting = false;
        }
        out.extend([line, "\r\n"]);
    }
    if waiting {
        candidates.iter().for_each(|candidate| out.extend(["a=", candidate, "\r\n"]));
    }
    out
}

/// The ICE name in a description; bundled sections have the same one.
pub fn ice_ufrag(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"))
}

/// Whether the answer really sends H.264: a peer with no common codec is answered `m=video 0` and then waits for ever.
pub fn sends_video(answer: &str) -> bool {
    answer.lines().any(|line| line.starts_with("m=video ") && !line.starts_with("m=video 0 "))
        && answer.lines().any(|line| line.contains("H264/90000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(fmtp: &str) -> String {
        format!(
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=ice-ufrag:x\r\n\
             a=fingerprint:sha-256 AA\r\na=rtpmap:102 H264/90000\r\n{fmtp}\r\n"
        )
    }

    #[test]
    fn h264_with_mode_1_in_any_spelling_is_served() {
        let (exact, plain) = (
            "a=fmtp:102 profile-level-id=42E01F; packetization-mode=1",
            "a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
        );
        assert_eq!(choose_profile(&offer(exact)), Ok("42e0"));
        assert_eq!(choose_profile(&offer(plain)), Ok("4200"));
        assert_eq!(choose_profile(&offer(&format!("{plain}\r\n{exact}"))), Ok("42e0"), "what our SPS says");
    }

    #[test]
    fn an_offer_without_usable_h264_is_told_so() {
        for fmtp in [
            "",
            "a=fmtp:102 packetization-mode=0;profile-level-id=42e01f",
            "a=fmtp:102 packetization-mode=1;profile-level-id=640c1f",
            "a=fmtp:102 packetization-mode=1;profile-level-id=é",
            "a=fmtp:96 apt=102",
        ] {
            assert_eq!(choose_profile(&offer(fmtp)), Err(OfferError::NoH264), "{fmtp}");
        }
    }

    #[test]
    fn what_is_no_offer_is_refused_with_the_reason() {
        let good = offer("a=fmtp:102 packetization-mode=1;profile-level-id=42e01f");
        for (sdp, reason) in [
            ("hello".to_string(), "not SDP"),
            (good.replace("m=video", "m=audio"), "no video"),
            (good.replace("ice-ufrag", "ice"), "ICE"),
            (good.replace("fingerprint", "finger"), "fingerprint"),
            (good.clone() + &"a=candidate:x\r\n".repeat(65), "64 candidates"),
            (good.clone() + &"x".repeat(MAX_OFFER_BYTES), "64 KiB"),
        ] {
            let error = choose_profile(&sdp).expect_err("refused").to_string();
            assert!(error.contains(reason), "{error} should say {reason}");
        }
    }

    #[test]
    fn the_answer_states_the_level_of_the_real_sps() {
        let answer =
            "a=fmtp:1 packetization-mode=1;profile-level-id=42e01f\r\na=fmtp:2 profile-level-id=42001f;x=1\r\n";
        let wanted =
            "a=fmtp:1 packetization-mode=1;profile-level-id=42e028\r\na=fmtp:2 profile-level-id=420028;x=1\r\n";
        assert_eq!(state_real_level(answer, [0x42, 0xe0, 0x28]), wanted);
        assert_eq!(state_real_level("profile-level-id=42", [0x42, 0xe0, 0x28]), "profile-level-id=42");
    }

    #[test]
    fn more_candidates_stand_with_those_of_the_first_section() {
        let more = ["candidate:2 x".to_string(), "candidate:3 y".to_string()];
        for (answer, wanted) in [
            (
                "v=0\r\nm=video\r\na=candidate:1 z\r\na=end-of-candidates\r\nm=application\r\na=end-of-candidates\r\n",
                "v=0\r\nm=video\r\na=candidate:1 z\r\na=candidate:2 x\r\na=candidate:3 y\r\na=end-of-candidates\r\n\
                 m=application\r\na=end-of-candidates\r\n",
            ),
            ("m=video\r\nm=application\r\n", "m=video\r\na=candidate:2 x\r\na=candidate:3 y\r\nm=application\r\n"),
            ("m=video\r\n", "m=video\r\na=candidate:2 x\r\na=candidate:3 y\r\n"),
        ] {
            assert_eq!(with_candidates(answer, &more), wanted);
            assert_eq!(with_candidates(answer, &[]), answer);
        }
    }

    #[test]
    fn our_ice_name_is_found() {
        assert_eq!(ice_ufrag("v=0\r\na=ice-ufrag:abc\r\na=ice-pwd:x\r\n"), Some("abc"));
        assert_eq!(ice_ufrag("v=0\r\n"), None);
    }
}
