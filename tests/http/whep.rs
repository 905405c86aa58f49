//! A WHEP client's life.

use crate::bench::{Bench, Reply, soon};
use rtcam::config::Config;
use rtcam::http::Limits;
use rtcam::output::{CloseReason, OfferError, ViewerEvent, ViewerId};
use std::time::Duration;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");
const CANDIDATE: &str = "a=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\n";

async fn join(bench: &Bench) -> (Reply, String) {
    let reply = bench.ask("POST", "/whep", &[SDP], "v=0\r\noffer\r\n").await;
    let location = reply.header("location").unwrap_or_default().to_string();
    (reply, location)
}

#[tokio::test]
async fn offer_candidates_and_leaving() {
    let bench = Bench::start().await;
    let (reply, location) = join(&bench).await;
    assert_eq!((reply.status, reply.header("content-type")), (201, Some("application/sdp")));
    assert_eq!(reply.body, "v=0\r\nanswer\r\n");
    assert!(location.starts_with("/whep/") && location.len() > 40, "{location}");
    assert_eq!(bench.door.book().offers, ["v=0\r\noffer\r\n"]);

    let fragment = format!("a=ice-ufrag:x\r\n{CANDIDATE}a=end-of-candidates\r\n");
    assert_eq!(bench.ask("PATCH", &location, &[FRAGMENT], &fragment).await.status, 204);
    let wanted = [(ViewerId(1), CANDIDATE[2..].trim().to_string()), (ViewerId(1), String::new())];
    assert_eq!(bench.door.book().candidates, wanted);

    assert_eq!(bench.ask("DELETE", &location, &[], "").await.status, 200);
    bench.until("the viewer is closed", |book| book.seated.is_empty()).await;
    assert_eq!(bench.ask("PATCH", &location, &[FRAGMENT], CANDIDATE).await.status, 404);
    assert_eq!(bench.ask("DELETE", &location, &[], "").await.status, 404);
    bench.stop().await;
}

const OFFER: &str = "v=0\r\nm=video 9 X 96\r\na=ice-ufrag:first\r\na=ice-pwd:1111111111111111111111\r\na=mid:0\r\n";

fn renewal(digit: char) -> String {
    let pwd = digit.to_string().repeat(22);
    format!("a=ice-ufrag:next{digit}\r\na=ice-pwd:{pwd}\r\nm=video 9 X 0\r\na=mid:0\r\n{CANDIDATE}")
}

#[tokio::test]
async fn new_credentials_under_if_match_star_start_ice_anew() {
    let bench = Bench::start().await;
    let reply = bench.ask("POST", "/whep", &[SDP], OFFER).await;
    let (location, first) = (reply.header("location").unwrap().to_string(), reply.header("etag").unwrap().to_string());
    let patch =
        async |tag: &str, fragment: &str| bench.ask("PATCH", &location, &[FRAGMENT, ("If-Match", tag)], fragment).await;

    assert_eq!(patch(&first, CANDIDATE).await.status, 204);
    let reply = patch("\"*\"", &renewal('2')).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(FRAGMENT.1)), "{}", reply.body);
    assert!(reply.body.contains("a=ice-ufrag:ours\r\n") && !reply.body.contains("v=0"), "{}", reply.body);
    let second = reply.header("etag").unwrap().to_string();
    assert_ne!(first, second);
    let offer = bench.door.book().offers.last().unwrap().clone();
    assert!(offer.starts_with("v=0") && offer.contains("a=ice-ufrag:next2") && !offer.contains("first"), "{offer}");
    assert!(offer.contains(CANDIDATE.trim()), "{offer}");
    assert_eq!(bench.door.seated().len(), 1, "the same viewer");

    assert_eq!(patch(&first, CANDIDATE).await.status, 412, "candidates of the generation before");
    assert_eq!(patch(&second, CANDIDATE).await.status, 204);
    assert_eq!(patch("*", &renewal('2')).await.status, 204, "the same credentials again: candidates");
    assert_eq!(patch("*", &renewal('3')).await.status, 200);
    bench.stop().await;
}

#[tokio::test]
async fn a_restart_that_fails_leaves_the_viewer_as_it_was() {
    let bench = Bench::start().await;
    let reply = bench.ask("POST", "/whep", &[SDP], OFFER).await;
    let location = reply.header("location").unwrap().to_string();
    let headers = [FRAGMENT, ("If-Match", "*")];
    bench.door.book().refuse = Some(OfferError::BadOffer("no".into()));
    assert_eq!(bench.ask("PATCH", &location, &headers, &renewal('2')).await.status, 503);
    assert_eq!(bench.door.seated().len(), 1);
    bench.door.book().refuse = None;
    assert_eq!(bench.ask("PATCH", &location, &headers, &renewal('2')).await.status, 200, "and can be asked again");
    bench.stop().await;
}

#[tokio::test]
async fn a_viewer_that_is_lost_takes_its_resource_along() {
    let bench = Bench::start().await;
    for reason in [CloseReason::ConnectTimeout, CloseReason::Lost, CloseReason::Left, CloseReason::Failed] {
        let (_, location) = join(&bench).await;
        let viewer = bench.door.seated()[0];
        bench.door.tell(viewer, ViewerEvent::Connected);
        bench.door.tell(viewer, ViewerEvent::Closed(reason));
        let gone = async {
            while bench.ask("PATCH", &location, &[FRAGMENT], "").await.status != 404 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(gone).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn refusals_have_the_status_and_the_reason() {
    let bench = Bench::start().await;
    assert_eq!(bench.ask("POST", "/whep", &[("Content-Type", "text/plain")], "v=0").await.status, 415);
    assert_eq!(bench.ask("POST", "/whep", &[], "v=0").await.status, 415);
    for (refusal, status, retry) in [
        (OfferError::NoH264, 406, None),
        (OfferError::BadOffer("no media".into()), 400, None),
        (OfferError::NotReady("the encoder starts".into()), 503, Some("2")),
        (OfferError::Full { max_viewers: 32 }, 503, Some("5")),
    ] {
        let words = refusal.to_string();
        bench.door.book().refuse = Some(refusal);
        let (reply, _) = join(&bench).await;
        assert_eq!((reply.status, reply.header("retry-after")), (status, retry), "{words}");
        assert_eq!(reply.body.trim(), words);
    }
    bench.stop().await;
}

#[tokio::test]
async fn the_thirty_third_viewer_is_told_at_once_that_the_house_is_full() {
    let bench = Bench::start().await;
    for _ in 0..32 {
        assert_eq!(join(&bench).await.0.status, 201);
    }
    let (reply, _) = join(&bench).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    assert!(reply.body.contains("all 32 places"), "{}", reply.body);
    bench.stop().await;
}

#[tokio::test]
async fn a_body_of_the_limit_passes_and_one_byte_more_is_413() {
    let bench = Bench::start().await;
    let limit = Limits::default().body_bytes;
    assert_eq!(bench.ask("POST", "/whep", &[SDP], &"x".repeat(limit)).await.status, 201);
    assert_eq!(bench.ask("POST", "/whep", &[SDP], &"x".repeat(limit + 1)).await.status, 413);
    bench.stop().await;
}

#[tokio::test]
async fn the_sixty_fifth_candidate_is_429() {
    let bench = Bench::start().await;
    let (_, location) = join(&bench).await;
    assert_eq!(bench.ask("PATCH", &location, &[FRAGMENT], &CANDIDATE.repeat(64)).await.status, 204);
    let reply = bench.ask("PATCH", &location, &[FRAGMENT], CANDIDATE).await;
    assert_eq!(reply.status, 429, "{}", reply.body);
    assert_eq!(bench.door.book().candidates.len(), 64);
    bench.stop().await;
}

#[tokio::test]
async fn a_bad_candidate_is_400() {
    let bench = Bench::start().await;
    let (_, location) = join(&bench).await;
    let long = format!("a=candidate:{}\r\n", "1".repeat(2000));
    assert_eq!(bench.ask("PATCH", &location, &[FRAGMENT], &long).await.status, 400);
    assert_eq!(bench.ask("PATCH", &location, &[SDP], CANDIDATE).await.status, 415);
    bench.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_leaves_no_viewer() {
    use tokio::io::AsyncWriteExt;
    let bench = Bench::start().await;
    bench.door.book().held = Some(Vec::new());
    let mut stream = bench.connect().await;
    let head = format!("POST /whep HTTP/1.1\r\nHost: {}\r\nContent-Type: application/sdp\r\n", bench.address);
    stream.write_all(format!("{head}Content-Length: 3\r\n\r\nv=0").as_bytes()).await.unwrap();
    bench.until("the offer arrives", |book| book.offers.len() == 1).await;
    drop(stream);
    // the server has seen the hang-up once it serves somebody else after it
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.get("/healthz").await.status, 200);
    let (events, _receiver) = tokio::sync::mpsc::channel(1);
    let answer = rtcam::output::Answer { viewer: ViewerId(77), sdp: "v=0".into() };
    let asked = {
        let mut book = bench.door.book();
        book.seated.push((ViewerId(77), events));
        book.held.take().unwrap().remove(0)
    };
    asked.send(Ok(answer)).unwrap();
    bench.until("the viewer is closed", |book| book.seated.is_empty()).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_page_of_a_configured_name_may_use_it_from_its_own_origin() {
    let mut config = Config::default();
    config.http.names = vec!["dash.example".into()];
    let bench = Bench::with(Limits::default(), config).await;
    let origin = ("Origin", "https://dash.example");
    let preflight = bench.ask("OPTIONS", "/whep", &[origin, ("Access-Control-Request-Method", "POST")], "").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://dash.example"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Authorization"));
    let reply = bench.ask("POST", "/whep", &[SDP, origin], "v=0").await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://dash.example"));
    assert!(reply.header("access-control-expose-headers").unwrap().contains("Location"));

    let evil = ("Origin", "https://evil.example");
    for method in ["OPTIONS", "POST"] {
        let reply = bench.ask(method, "/whep", &[SDP, evil], "v=0").await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None), "{method}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn stopping_closes_every_viewer() {
    let bench = Bench::start().await;
    join(&bench).await;
    join(&bench).await;
    let door = bench.door.clone();
    bench.stop().await;
    assert_eq!(door.seated(), []);
}
