//! Signed links: what their text says, how it is proven, and which of them still count.
//!
//! Pure: the key, the time and the texts come in. A link is `PREFIX` and base64url of what it grants, followed by an
//! HMAC-SHA256 of it. Must never let a link live longer than it was made for: both clocks count, the wall clock because
//! it is what the link says, the monotonic one because a step of the wall clock must not prolong what it has seen. Input:
//! tokens (hostile), the list that other runs left.

use crate::clock::WallMicros;
use crate::config::Role;
use crate::signal::identity::{Identity, Proof};
use crate::units::Micros;
use base64ct::{Base64UrlUnpadded, Encoding};
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// By which a link is known from a password.
pub const PREFIX: &str = "rtl1.";
/// Links that are remembered at a time, the revoked ones that have not expired included.
pub const MOST_LINKS: usize = 512;
pub const SHORTEST: Duration = Duration::from_secs(60);
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
pub const NAME_CHARACTERS: usize = 32;
/// A list of links is kept for so long beyond their end: the wall clock may be set back a little.
const KEPT_S: u64 = 86_400;
/// Such a step back is no reason to doubt the clock.
const SLACK_S: u64 = 3600;
const TOKEN_BYTES: usize = 512;
const TAG_BYTES: usize = 32;
/// What else is signed with the same key must not pass for a link.
const DOMAIN: &[u8] = b"rtcam link 1\0";

pub type Key = [u8; 32];

/// What a link grants, as signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Public: it names the link in lists and logs, and opens nothing.
    pub id: String,
    pub role: Role,
    /// Of whoever uses it. Empty: they choose one.
    pub name: String,
    /// Unix time.
    pub made_s: u64,
    pub expires_s: u64,
}

impl Link {
    fn identity(&self) -> Identity {
        Identity { name: self.name.clone(), role: self.role, proof: Proof::Link(self.id.clone()) }
    }
}

/// Why a link does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefusal {
    /// Not signed by us, or cut in two on its way.
    Forged,
    Expired,
    Revoked,
    /// Our own clock is obviously wrong: nobody can say whether the link has expired.
    ClockWrong,
}

impl fmt::Display for LinkRefusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            LinkRefusal::Forged => "this link is not one of ours, or a part of it is missing",
            LinkRefusal::Expired => "this link has expired",
            LinkRefusal::Revoked => "this link was revoked",
            LinkRefusal::ClockWrong => {
                "the clock of this machine is not set: it cannot tell whether the link has expired"
            }
        })
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
pub struct Moment {
    pub wall: WallMicros,
    pub now: Micros,
}

impl Moment {
    pub fn wall_s(&self) -> u64 {
        self.wall.0 / 1_000_000
    }
}

pub fn sign(key: &Key, link: &Link) -> String {
    let mut bytes = Vec::with_capacity(96);
    bytes.push(link.role as u8);
    bytes.extend(link.made_s.to_be_bytes());
    bytes.extend(link.expires_s.to_be_bytes());
    bytes.push(link.id.len() as u8);
    bytes.extend(link.id.as_bytes());
    bytes.extend(link.name.as_bytes());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &[DOMAIN, &bytes].concat());
    bytes.extend(tag.as_ref());
    format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&bytes))
}

/// What a token of ours says; None: it is none.
fn read(key: &Key, token: &str) -> Option<Link> {
    let text = token.strip_prefix(PREFIX).filter(|text| text.len() <= TOKEN_BYTES)?;
    let bytes = Base64UrlUnpadded::decode_vec(text).ok()?;
    let (said, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &[DOMAIN, said].concat(), tag).ok()?;
    let (role, rest) = said.split_first()?;
    let role = [Role::Viewer, Role::Operator, Role::Host].into_iter().find(|known| *known as u8 == *role)?;
    let (made, rest) = rest.split_first_chunk()?;
    let (expires, rest) = rest.split_first_chunk()?;
    let (id_bytes, rest) = rest.split_first()?;
    let (id, name) = rest.split_at_checked(usize::from(*id_bytes))?;
    Some(Link {
        id: String::from_utf8(id.into()).ok()?,
        role,
        name: String::from_utf8(name.into()).ok()?,
        made_s: u64::from_be_bytes(*made),
        expires_s: u64::from_be_bytes(*expires),
    })
}

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    link: Link,
    #[serde(default)]
    revoked: bool,
    /// The end on the monotonic clock, from the first time this run knew of the link with a clock to be believed.
    #[serde(skip)]
    until: Option<Micros>,
    /// That it has ended, to whoever listens.
    #[serde(skip)]
    told: bool,
}

/// The links we know of. What is not in it may still be a good link: its text says all; but it cannot be listed.
#[derive(Default)]
pub struct Ledger(HashMap<String, Row>);

#[derive(Serialize, Deserialize)]
struct Listed {
    links: Vec<Row>,
}

impl Ledger {
    pub fn parse(bytes: &[u8]) -> Option<Ledger> {
        let listed: Listed = serde_json::from_slice(bytes).ok()?;
        Some(Ledger(listed.links.into_iter().map(|row| (row.link.id.clone(), row)).collect()))
    }

    pub fn to_text(&self) -> String {
        let mut links: Vec<Row> = self.0.values().cloned().collect();
        links.sort_by(|a, b| (a.link.expires_s, &a.link.id).cmp(&(b.link.expires_s, &b.link.id)));
        serde_json::to_string_pretty(&Listed { links }).expect("texts and numbers only")
    }

    /// Who comes with this token.
    pub fn judge(&mut self, key: &Key, token: &str, at: Moment) -> Result<Identity, LinkRefusal> {
        let link = read(key, token).ok_or(LinkRefusal::Forged)?;
        // one of an unknown place in the list: signed by us, so their number is bounded by what we made
        if !self.0.contains_key(&link.id) {
            self.drop_expired(at);
            if self.0.len() >= 2 * MOST_LINKS {
                return Err(LinkRefusal::Forged);
            }
        }
        let row = self.0.entry(link.id.clone()).or_insert(Row::new(link.clone()));
        // what is signed counts, not what the list says of it
        row.link = link.clone();
        row.judge(at)?;
        Ok(link.identity())
    }

    pub fn judge_id(&mut self, id: &str, at: Moment) -> Result<(), LinkRefusal> {
        let row = self.0.get_mut(id).ok_or(LinkRefusal::Expired)?;
        row.judge(at)
    }

    /// Who comes by this link; whether it still opens is another question.
    pub fn identity(&self, id: &str) -> Option<Identity> {
        self.0.get(id).map(|row| row.link.identity())
    }

    /// Whole seconds this link has left.
    pub fn left_s(&self, id: &str, at: Moment) -> u64 {
        self.0.get(id).map_or(0, |row| row.link.expires_s.saturating_sub(at.wall_s()))
    }

    /// False: there are too many already.
    pub fn add(&mut self, link: Link, at: Moment) -> bool {
        self.drop_expired(at);
        if self.0.len() >= MOST_LINKS {
            return false;
        }
        let mut row = Row::new(link);
        row.see(at);
        self.0.insert(row.link.id.clone(), row);
        true
    }

    /// False: no such link is known, or it was revoked before.
    pub fn revoke(&mut self, id: &str) -> bool {
        self.0.get_mut(id).is_some_and(|row| !std::mem::replace(&mut row.revoked, true))
    }

    /// Takes in what another program wrote; true when a link is revoked that was not before.
    pub fn take_in(&mut self, other: Ledger, at: Moment) -> bool {
        let mut revoked_one = false;
        for (id, theirs) in other.0 {
            let ours = self.0.entry(id).or_insert(Row { revoked: false, ..theirs.clone() });
            revoked_one |= theirs.revoked && !ours.revoked;
            ours.revoked |= theirs.revoked;
        }
        self.0.values_mut().for_each(|row| row.see(at));
        revoked_one
    }

    /// Those that open, the first to expire first.
    pub fn list(&mut self, at: Moment) -> Vec<Link> {
        let good = self.0.values_mut().filter_map(|row| row.judge(at).is_ok().then(|| row.link.clone()));
        let mut good: Vec<Link> = good.collect();
        good.sort_by(|a, b| (a.expires_s, &a.id).cmp(&(b.expires_s, &b.id)));
        good
    }

    /// Those that have ended and were not told before. A clock that is wrong for a while ends nothing for good.
    pub fn newly_ended(&mut self, at: Moment) -> Vec<String> {
        let over = |row: &mut Row| matches!(row.judge(at), Err(LinkRefusal::Revoked | LinkRefusal::Expired));
        let rows = self.0.values_mut().filter_map(|row| {
            let news = !row.told && over(row);
            row.told |= news;
            news.then(|| row.link.id.clone())
        });
        rows.collect()
    }

    pub fn ids(self) -> Vec<String> {
        self.0.into_keys().collect()
    }

    pub fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub fn drop_expired(&mut self, at: Moment) {
        if at.wall.is_plausible() {
            self.0.retain(|_, row| at.wall_s() < row.link.expires_s.saturating_add(KEPT_S));
        }
    }
}

impl Row {
    fn new(link: Link) -> Row {
        Row { link, revoked: false, until: None, told: false }
    }

    fn judge(&mut self, at: Moment) -> Result<(), LinkRefusal> {
        if self.revoked {
            return Err(LinkRefusal::Revoked);
        }
        if self.until.is_some_and(|until| at.now >= until) {
            return Err(LinkRefusal::Expired);
        }
        if !at.wall.is_plausible() || at.wall_s() + SLACK_S < self.link.made_s {
            return Err(LinkRefusal::ClockWrong);
        }
        if at.wall_s() >= self.link.expires_s {
            return Err(LinkRefusal::Expired);
        }
        self.see(at);
        Ok(())
    }

    /// From now on a step of the wall clock does not prolong it.
    fn see(&mut self, at: Moment) {
        let believable = at.wall.is_plausible() && at.wall_s() + SLACK_S >= self.link.made_s;
        if believable && self.until.is_none() {
            let left_s = self.link.expires_s.saturating_sub(at.wall_s());
            // what a damaged list says may be any number
            self.until = Some(at.now + Duration::from_secs(left_s.min(LONGEST.as_secs())));
        }
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
