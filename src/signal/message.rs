//! The messages about the connection, in both directions: JSON text, `{"type": "...", ...}`, one enum. Those of the room
//! are in `room/words.rs`.
//!
//! Owns names and shapes. Must never decide what a message does (that is `session.rs`). Input: text from a peer, at most
//! 64 KiB, trusted in nothing. A new message is one variant here and one arm in `session.rs`.

use crate::capture::FaultKind;
use crate::signal::room::words::{SAID, Said, Seated};
use crate::stream::status::{CameraState, StreamStatus};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The protocol's version. A page states the highest it speaks, we answer with the highest both speak.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message {
    /// Page, first: the highest version it speaks, its language (`zh-CN`).
    Hello {
        version: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// The name it wishes for; counts when access knows none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// From the welcome of an earlier socket: its seat again, please.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
    },
    /// The answer to hello: the version spoken from now on, who we are, how the camera is.
    Welcome {
        version: u32,
        server: String,
        viewer_limit: u32,
        #[serde(flatten)]
        status: Status,
        #[serde(flatten)]
        seated: Box<Seated>,
        /// RTCIceServer objects for the page's peer connections.
        ice_servers: Vec<serde_json::Value>,
    },
    /// Page: recvonly video and, if it likes, a data channel. A second one replaces the first viewer.
    Offer {
        sdp: String,
        /// Of the viewer that lives: find a path anew. Where that cannot be done, it is taken as a second one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        restart: bool,
    },
    /// To an offer. Complete: no candidates follow from our side.
    Answer {
        sdp: String,
        viewer: u64,
    },
    /// Page: one trickled ICE candidate; empty or null ends them.
    Candidate {
        candidate: Candidate,
    },
    /// To the page, whenever the camera's state changes.
    Status(Status),
    /// Either side; answered by pong with the same `t`.
    Ping {
        t: f64,
    },
    Pong {
        t: f64,
    },
    /// To the page: what was wrong; the session goes on unless a bye follows.
    Error {
        code: ErrorCode,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u32>,
        /// connect-timeout: which paths were tried (`output::Tried`), and what the operator should do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tried: Option<serde_json::Value>,
    },
    /// Either side, last.
    Bye {
        #[serde(default)]
        reason: ByeReason,
    },
}

/// The value of `type` of each variant; those of the room are in `room/words.rs`.
const TYPES: [&str; 10] =
    ["hello", "welcome", "offer", "answer", "candidate", "status", "ping", "pong", "error", "bye"];

/// How the camera is, in the words of `welcome` and `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub camera: Camera,
    /// Why it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What failed, on which object, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<PictureSize>,
    /// The source's nominal rate, where it states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Camera {
    Live,
    Opening,
    Away,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Missing,
    Busy,
    Unplugged,
    Failing,
    Silent,
    FormatChanged,
    NotACamera,
}

/// Pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureSize {
    pub width: u32,
    pub height: u32,
}

/// A candidate as browsers hand it out: the line, an RTCIceCandidateInit, or null at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Candidate {
    Line(String),
    Init { candidate: String },
    End,
}

impl Candidate {
    /// The line without `a=`; empty at the end of candidates.
    pub fn line(&self) -> &str {
        match self {
            Candidate::Line(line) | Candidate::Init { candidate: line } => {
                let line = line.trim();
                line.strip_prefix("a=").unwrap_or(line)
            }
            Candidate::End => "",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    BadMessage,
    UnknownType,
    TooLarge,
    TooFast,
    TooManyCandidates,
    BadCandidate,
    Version,
    HelloFirst,
    Full,
    #[serde(rename = "no-h264")]
    NoH264,
    BadOffer,
    NotReady,
    ConnectTimeout,
    Lost,
    Failed,
    /// Not with this role.
    Refused,
    /// The room takes no newcomers, or not this one.
    Closed,
    /// The state has moved on; the whole of it follows.
    Stale,
    UnknownSeat,
    BadValue,
    Muted,
    TooLong,
    NotAgreed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByeReason {
    /// The peer said goodbye or is gone.
    #[default]
    Left,
    Shutdown,
    HelloTimeout,
    OfferTimeout,
    Silent,
    TooManyErrors,
    TooLarge,
    Version,
    /// By a host.
    Kicked,
    /// The link it came by is no longer good.
    Revoked,
    /// The room did not let it in.
    Closed,
    /// It did not take what it was sent.
    Behind,
    /// WHEP: the viewer ended or never began, and its session with it.
    Ended,
    #[serde(other)]
    Other,
}

/// Text we cannot take, and the words for the answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: ErrorCode,
    pub message: String,
}

/// What a text is: about the connection, or for the room.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Message(Message),
    Said(Said),
}

impl Heard {
    pub fn parse(text: &str) -> Result<Heard, Refused> {
        #[derive(Deserialize)]
        struct Tag<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        let broken = |e: serde_json::Error| refused(ErrorCode::BadMessage, &e.to_string());
        let tag: Tag = serde_json::from_str(text).map_err(broken)?;
        if SAID.contains(&tag.kind.as_ref()) {
            serde_json::from_str(text).map(Heard::Said).map_err(broken)
        } else if TYPES.contains(&tag.kind.as_ref()) {
            serde_json::from_str(text).map(Heard::Message).map_err(broken)
        } else {
            Err(refused(ErrorCode::UnknownType, &format!("no message has the type {:?}", tag.kind)))
        }
    }
}

impl Message {
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and plain enums always serialise")
    }
}

/// A peer's text may be in `message`: cut short, so that an answer is never larger than its cause by much.
fn refused(code: ErrorCode, message: &str) -> Refused {
    Refused { code, message: message.chars().take(160).collect() }
}

impl From<&StreamStatus> for Status {
    fn from(stream: &StreamStatus) -> Status {
        let (camera, reason, detail) = match &stream.camera {
            CameraState::Live => (Camera::Live, None, None),
            CameraState::Opening => (Camera::Opening, None, None),
            CameraState::Away { kind, detail, .. } => (Camera::Away, Some((*kind).into()), Some(detail.clone())),
        };
        let size = stream.source.as_ref().map(|s| s.picture.size);
        Status {
            camera,
            reason,
            detail,
            size: size.map(|s| PictureSize { width: s.width, height: s.height }),
            fps: stream.source.as_ref().and_then(|s| s.rate).map(|rate| rate.as_f64()),
        }
    }
}

impl From<FaultKind> for Reason {
    fn from(kind: FaultKind) -> Reason {
        match kind {
            FaultKind::Missing => Reason::Missing,
            FaultKind::Busy => Reason::Busy,
            FaultKind::Unplugged => Reason::Unplugged,
            FaultKind::Failing => Reason::Failing,
            FaultKind::Silent => Reason::Silent,
            FaultKind::FormatChanged => Reason::FormatChanged,
            FaultKind::NotACamera => Reason::NotACamera,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;
    use crate::signal::room::words::{Control, Person, RoomWords, SeatId, SeatWords};

    fn away() -> Status {
        Status {
            camera: Camera::Away,
            reason: Some(Reason::FormatChanged),
            detail: Some("/dev/video0: the format changed".into()),
            size: Some(PictureSize { width: 640, height: 480 }),
            fps: Some(29.97),
        }
    }

    fn hello(version: u32) -> Message {
        Message::Hello { version, language: None, name: None, resume: None }
    }

    fn parse(text: &str) -> Result<Message, Refused> {
        match Heard::parse(text)? {
            Heard::Message(message) => Ok(message),
            Heard::Said(said) => panic!("{said:?}"),
        }
    }

    fn seated() -> Box<Seated> {
        Box::new(Seated {
            seat: SeatWords { id: SeatId(7), name: "Ann".into(), role: Role::Host },
            resume: "00ff".into(),
            resumed: false,
            logged_in: false,
            viewer: Some(3),
            room: RoomWords {
                people: vec![Person {
                    id: SeatId(7),
                    name: "Ann".into(),
                    role: Role::Host,
                    watching: true,
                    joined_s: 2,
                }],
                control: Control { holder: Some(SeatId(7)), asking: vec![] },
                closed: false,
                muted: true,
                chat: vec![],
            },
        })
    }

    /// One of each, with its text: the protocol as pages written by others rely on it.
    fn every_message() -> Vec<(Message, &'static str)> {
        let status = r#""camera":"away","reason":"format-changed","detail":"/dev/video0: the format changed","size":{"width":640,"height":480},"fps":29.97}"#;
        let seat = r#","seat":{"id":7,"name":"Ann","role":"host"},"resume":"00ff","resumed":false,"logged_in":false,"viewer":3,"room":{"people":[{"id":7,"name":"Ann","role":"host","watching":true,"joined_s":2}],"holder":7,"asking":[],"closed":false,"muted":true,"chat":[]},"ice_servers":[]}"#;
        let leak = |start: &str| -> &'static str { Box::leak(format!("{start}{status}").into_boxed_str()) };
        let with_seat = |start: &str| -> &'static str {
            Box::leak(format!("{start}{}{seat}", &status[..status.len() - 1]).into_boxed_str())
        };
        vec![
            (
                Message::Hello {
                    version: 1,
                    language: Some("zh-CN".into()),
                    name: Some("Ann".into()),
                    resume: Some("00ff".into()),
                },
                r#"{"type":"hello","version":1,"language":"zh-CN","name":"Ann","resume":"00ff"}"#,
            ),
            (hello(1), r#"{"type":"hello","version":1}"#),
            (
                Message::Welcome {
                    version: 1,
                    server: "rtcam 0.1.0".into(),
                    viewer_limit: 32,
                    status: away(),
                    seated: seated(),
                    ice_servers: vec![],
                },
                with_seat(r#"{"type":"welcome","version":1,"server":"rtcam 0.1.0","viewer_limit":32,"#),
            ),
            (Message::Offer { sdp: "v=0\r\n".into(), restart: false }, r#"{"type":"offer","sdp":"v=0\r\n"}"#),
            (Message::Offer { sdp: "v=0".into(), restart: true }, r#"{"type":"offer","sdp":"v=0","restart":true}"#),
            (Message::Answer { sdp: "v=0".into(), viewer: 7 }, r#"{"type":"answer","sdp":"v=0","viewer":7}"#),
            (
                Message::Candidate { candidate: Candidate::Line("candidate:1".into()) },
                r#"{"type":"candidate","candidate":"candidate:1"}"#,
            ),
            (Message::Candidate { candidate: Candidate::End }, r#"{"type":"candidate","candidate":null}"#),
            (Message::Status(away()), leak(r#"{"type":"status","#)),
            (Message::Ping { t: 12.5 }, r#"{"type":"ping","t":12.5}"#),
            (Message::Pong { t: 12.5 }, r#"{"type":"pong","t":12.5}"#),
            (
                Message::Error { code: ErrorCode::NoH264, message: "no".into(), retry_after_s: Some(5), tried: None },
                r#"{"type":"error","code":"no-h264","message":"no","retry_after_s":5}"#,
            ),
            (Message::Bye { reason: ByeReason::Shutdown }, r#"{"type":"bye","reason":"shutdown"}"#),
        ]
    }

    #[test]
    fn every_message_has_the_text_others_rely_on_and_reads_back_the_same() {
        let mut seen = Vec::new();
        for (message, text) in every_message() {
            assert_eq!(message.to_json(), text);
            assert_eq!(parse(text).unwrap(), message);
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            seen.push(value["type"].as_str().unwrap().to_string());
        }
        for name in TYPES {
            assert!(seen.iter().any(|s| s == name), "no example of {name}");
        }
    }

    #[test]
    fn unknown_fields_are_tolerated() {
        let text = r#"{"future":[1,{"a":2}],"type":"hello","version":3,"language":null}"#;
        assert_eq!(parse(text).unwrap(), hello(3));
    }

    #[test]
    fn an_unknown_type_is_told_apart_from_a_broken_message() {
        assert_eq!(parse(r#"{"type":"dance"}"#).unwrap_err().code, ErrorCode::UnknownType);
        for text in ["", "null", "[]", "{}", r#"{"type":1}"#, r#"{"type":"offer"}"#, r#"{"type":"candidate"}"#, "{"] {
            assert_eq!(parse(text).unwrap_err().code, ErrorCode::BadMessage, "{text}");
        }
    }

    #[test]
    fn the_words_about_a_bad_message_are_short_however_long_it_was() {
        let text = format!(r#"{{"type":"{}"}}"#, "x".repeat(60_000));
        assert!(parse(&text).unwrap_err().message.len() <= 160);
    }

    #[test]
    fn deep_nesting_is_refused_instead_of_overflowing_the_stack() {
        let text = format!(r#"{{"type":"ping","t":{}"#, "[".repeat(30_000));
        assert_eq!(parse(&text).unwrap_err().code, ErrorCode::BadMessage);
    }

    #[test]
    fn a_candidate_comes_as_a_line_an_object_or_null() {
        let line = |text: &str| match parse(text).unwrap() {
            Message::Candidate { candidate } => candidate.line().to_string(),
            other => panic!("{other:?}"),
        };
        let wanted = "candidate:1 1 udp 2 10.0.0.1 5 typ host";
        assert_eq!(line(&format!(r#"{{"type":"candidate","candidate":"{wanted}"}}"#)), wanted);
        assert_eq!(line(&format!(r#"{{"type":"candidate","candidate":"a={wanted}\r\n"}}"#)), wanted);
        let object = format!(
            r#"{{"type":"candidate","candidate":{{"candidate":"{wanted}","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":null}}}}"#
        );
        assert_eq!(line(&object), wanted);
        assert_eq!(line(r#"{"type":"candidate","candidate":""}"#), "");
        assert_eq!(line(r#"{"type":"candidate","candidate":null}"#), "");
    }

    #[test]
    fn a_bye_needs_no_reason_and_takes_any() {
        assert_eq!(parse(r#"{"type":"bye"}"#).unwrap(), Message::Bye { reason: ByeReason::Left });
        assert_eq!(parse(r#"{"type":"bye","reason":"tea"}"#).unwrap(), Message::Bye { reason: ByeReason::Other });
    }
}
