//! The sessions of people who logged in: whose they are, how long they last, and what of them outlives a run.
//!
//! Pure. Knows tokens by their SHA-256 only: what is on the disk opens nothing. Must never tell a token by the time a
//! look-up takes, let one person's logins push out everybody else's, or let a session outlast its length, however the
//! wall clock is stepped: those of this run end by the monotonic clock, those of an earlier one by whichever of both
//! clocks is first. Input: tokens (hostile), the list an earlier run left.

use super::cookies::{Token, hex, same, unhex};
use super::links::Moment;
use crate::signal::identity::{Identity, Proof};
use crate::units::Micros;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const SESSIONS: usize = 256;
/// One whose end has come by the wall clock is kept for so long: that clock may have been wrong.
const KEPT_S: u64 = 86_400;

struct Session {
    /// SHA-256 of the token.
    digest: Token,
    identity: Identity,
    /// Names the password it was begun with, as long as that is in the config (`Passwords::mark`).
    password: Option<Token>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    OfThisRun {
        until: Micros,
        life: Duration,
    },
    /// Unix time; `until`: on the monotonic clock, from the first time the wall clock could be believed.
    OfEarlierRun {
        made_s: u64,
        until_s: u64,
        until: Option<Micros>,
    },
}

impl Session {
    fn is_good(&mut self, at: Moment) -> bool {
        match &mut self.end {
            End::OfThisRun { until, .. } => at.now < *until,
            End::OfEarlierRun { made_s, until_s, until } => {
                let wall_s = at.wall_s();
                if !at.wall.is_plausible() || !(*made_s..*until_s).contains(&wall_s) {
                    return false;
                }
                at.now < *until.get_or_insert(at.now + Duration::from_secs(*until_s - wall_s))
            }
        }
    }

    fn is_over(&self, at: Moment) -> bool {
        match self.end {
            End::OfThisRun { until, .. } => at.now >= until,
            End::OfEarlierRun { until_s, until, .. } => {
                until.is_some_and(|until| at.now >= until)
                    || at.wall.is_plausible() && at.wall_s() >= until_s.saturating_add(KEPT_S)
            }
        }
    }

    /// None: with this clock nobody could tell when it ends.
    fn row(&self, at: Moment) -> Option<Row> {
        let (made_s, until_s) = match self.end {
            End::OfThisRun { until, life } if at.wall.is_plausible() => {
                let until_s = at.wall_s() + until.since(at.now).as_secs();
                (until_s.saturating_sub(life.as_secs()), until_s)
            }
            End::OfThisRun { .. } => return None,
            End::OfEarlierRun { made_s, until_s, .. } => (made_s, until_s),
        };
        let (proof, link) = match &self.identity.proof {
            Proof::None => return None,
            Proof::Password => (Kind::Password, String::new()),
            Proof::User => (Kind::User, String::new()),
            Proof::Link(id) => (Kind::Link, id.clone()),
        };
        let (token, password) = (hex(&self.digest), self.password.as_ref().map(hex).unwrap_or_default());
        Some(Row { token, proof, name: self.identity.name.clone(), link, password, made_s, until_s })
    }
}

/// One session as it is on the disk. Its role is not: that comes from the config or the link, as they are then.
#[derive(Serialize, Deserialize)]
struct Row {
    /// SHA-256 of it.
    token: String,
    proof: Kind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    link: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    password: String,
    made_s: u64,
    until_s: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Password,
    User,
    Link,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    sessions: Vec<Row>,
}

/// By what somebody came in an earlier run.
pub enum Credential {
    /// By the password of this mark; an empty name is the shared one.
    Password {
        name: String,
        mark: Token,
    },
    Link {
        id: String,
    },
}

/// Few enough to compare with every one, always, in the same time.
#[derive(Default)]
pub struct Sessions(Vec<Session>);

impl Sessions {
    /// What an earlier run left. `who` says who that is today, if anybody; None: it is no such list.
    pub fn parse(bytes: &[u8], longest: Duration, who: impl Fn(&Credential) -> Option<Identity>) -> Option<Sessions> {
        let listed: Listed = serde_json::from_slice(bytes).ok()?;
        let session = |row: Row| {
            let (digest, password) = (unhex(&row.token)?, unhex(&row.password));
            let credential = match row.proof {
                Kind::Password => Credential::Password { name: String::new(), mark: password? },
                Kind::User => Credential::Password { name: row.name, mark: password? },
                Kind::Link => Credential::Link { id: row.link },
            };
            // the config may have made sessions shorter since
            let until_s = row.until_s.min(row.made_s.saturating_add(longest.as_secs()));
            let end = End::OfEarlierRun { made_s: row.made_s, until_s, until: None };
            Some(Session { digest, identity: who(&credential)?, password, end })
        };
        Some(Sessions(listed.sessions.into_iter().filter_map(session).take(SESSIONS).collect()))
    }

    /// For the disk.
    pub fn to_text(&self, at: Moment) -> String {
        let lasting = self.0.iter().filter(|session| !session.is_over(at));
        let sessions = lasting.filter_map(|session| session.row(at)).collect();
        serde_json::to_string(&Listed { sessions }).expect("texts and numbers only")
    }

    /// `password`: the mark of the one it begins with.
    pub fn add(&mut self, token: &Token, identity: Identity, password: Option<Token>, life: Duration, at: Moment) {
        self.0.retain(|session| !session.is_over(at));
        if self.0.len() >= SESSIONS {
            self.make_room();
        }
        let end = End::OfThisRun { until: at.now + life, life };
        self.0.push(Session { digest: digest_of(token), identity, password, end });
    }

    /// The oldest of whoever has the most goes.
    fn make_room(&mut self) {
        let many = |session: &Session| self.0.iter().filter(|other| is_same_person(other, session)).count();
        let oldest = self.0.iter().enumerate().rev().max_by_key(|(_, session)| many(session)).map(|(at, _)| at);
        if let Some(at) = oldest {
            self.0.remove(at);
        }
    }

    pub fn identity(&mut self, token: &Token, at: Moment) -> Option<&Identity> {
        let digest = digest_of(token);
        let mut found = None;
        for session in &mut self.0 {
            if same(&session.digest, &digest) & session.is_good(at) {
                found = Some(&session.identity);
            }
        }
        found
    }

    /// False: there was none.
    pub fn remove(&mut self, token: &Token) -> bool {
        let (digest, before) = (digest_of(token), self.0.len());
        self.0.retain(|session| !same(&session.digest, &digest));
        self.0.len() < before
    }
}

fn is_same_person(a: &Session, b: &Session) -> bool {
    let named = |proof: &Proof| *proof == Proof::User;
    a.identity.proof == b.identity.proof && (!named(&a.identity.proof) || a.identity.name == b.identity.name)
}

fn digest_of(token: &Token) -> Token {
    Token::try_from(digest(&SHA256, token).as_ref()).expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
