//! Who comes in: a visitor becomes somebody with a seat, or hears why not.
//!
//! Must never tell a seat anything before the line to it is there, and never wait long for an older task of the same
//! seat. Input: requests that have passed access control.

use super::Lounge;
use super::line::Place;
use crate::clock;
use crate::http::call::Call;
use crate::http::{Ends, Shared, connections, gate, plain, retry_after};
use crate::signal::identity::Identity;
use crate::signal::message::ErrorCode;
use crate::signal::room::people::Arrival;
use crate::signal::room::words::Seated;
use crate::signal::room::{Input, TurnedAway};
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::debug;

/// An older socket gives the viewer up at once, unless it hangs.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);

/// Who comes in, as their request says.
#[derive(Clone)]
pub struct Visitor {
    pub identity: Identity,
    pub from: IpAddr,
    /// They came with a cookie of ours.
    pub logged_in: bool,
}

impl Visitor {
    pub fn of(shared: &Shared, request: &Request<Body>) -> Visitor {
        let identity = request.extensions().get::<Identity>().cloned().unwrap_or_else(Identity::at_home);
        let ends = request.extensions().get::<Ends>();
        let from = ends.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ends| connections::network(ends.peer.ip()));
        let logged_in = shared.gate.by_cookie(request.headers()).is_some();
        Visitor { identity, from, logged_in }
    }
}

/// A seat, and the viewer that came with it.
pub struct Joined {
    pub place: Place,
    pub seated: Box<Seated>,
    pub call: Option<Call>,
}

/// What the lounge has of somebody it let in.
struct Admitted {
    place: Place,
    seated: Box<Seated>,
    /// From an older task of the seat, which holds the viewer.
    older: Option<oneshot::Receiver<Call>>,
}

impl Lounge {
    /// A page with an open socket.
    pub async fn join(
        self: &Arc<Self>,
        visitor: &Visitor,
        name: String,
        resume: Option<String>,
    ) -> Result<Joined, TurnedAway> {
        let Admitted { place, mut seated, older } = self.admit(visitor, name, resume, true)?;
        let call = match older {
            Some(older) => clock::within(HAND_OVER_WITHIN, older).await.and_then(Result::ok),
            None => None,
        };
        let viewer = call.as_ref().and_then(Call::viewer);
        if seated.viewer.is_some() && viewer.is_none() {
            self.set_viewer(&place, None);
        }
        seated.viewer = viewer.map(|viewer| viewer.0);
        seated.logged_in = visitor.logged_in;
        Ok(Joined { place, seated, call })
    }

    /// A WHEP client: it watches and neither hears nor says anything.
    pub fn join_silently(self: &Arc<Self>, visitor: &Visitor) -> Result<Place, TurnedAway> {
        self.admit(visitor, "WHEP".into(), None, false).map(|admitted| admitted.place)
    }

    fn admit(
        self: &Arc<Self>,
        visitor: &Visitor,
        wish: String,
        resume: Option<String>,
        talks: bool,
    ) -> Result<Admitted, TurnedAway> {
        let admitted = self.arrival(visitor, wish, resume, talks).and_then(|arrival| self.take_in(arrival));
        admitted.inspect_err(|_| self.counts.turned_away.inc())
    }

    fn arrival(
        &self,
        visitor: &Visitor,
        wish: String,
        resume: Option<String>,
        talks: bool,
    ) -> Result<Arrival, TurnedAway> {
        if !self.links.is_good(&visitor.identity) {
            // revoked between their request and their hello
            let words = "the link you came by is no longer good; ask for a new one".into();
            return Err(TurnedAway { code: ErrorCode::Refused, words, retry_after_s: 60 });
        }
        let away = |words: &str| TurnedAway { code: ErrorCode::NotReady, words: words.into(), retry_after_s: 2 };
        let token = gate::random_hex().ok_or_else(|| away("the system gives no random numbers"))?;
        Ok(Arrival {
            identity: visitor.identity.clone(),
            wish,
            resume,
            // 128 bits are plenty
            token: token[..32].to_string(),
            from: visitor.from,
            talks,
        })
    }

    /// Synchronous, so that nothing is told to the seat before its queue is there.
    fn take_in(self: &Arc<Self>, arrival: Arrival) -> Result<Admitted, TurnedAway> {
        let (at, talks) = (self.moment(), arrival.talks);
        let mut inner = self.inner();
        let mut actions = Vec::new();
        let seated = match inner.room.join(at, arrival, &mut actions) {
            Ok(seated) => Box::new(seated),
            Err(away) => {
                self.perform(&mut inner, actions);
                return Err(away);
            }
        };
        let counter = if seated.resumed { &self.counts.resumed } else { &self.counts.joined };
        counter.inc();
        let seat = seated.seat.id;
        let (place, older) = self.open_line(&mut inner, seat, talks);
        inner.room.handle(at, Input::Socket { seat, open: talks }, &mut actions);
        self.perform(&mut inner, actions);
        debug!(seat = seat.0, role = ?seated.seat.role, resumed = seated.resumed, "room: somebody is here");
        if !seated.resumed {
            self.note(at, "joined", json!({"seat": seat, "name": seated.seat.name, "role": seated.seat.role}));
        }
        Ok(Admitted { place, seated, older })
    }
}

/// For a WHEP client that found no seat.
pub fn refusal(away: &TurnedAway) -> Response<Body> {
    let status = match away.code {
        ErrorCode::Closed | ErrorCode::Refused => StatusCode::FORBIDDEN,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    retry_after(plain(status, &away.words), away.retry_after_s)
}
