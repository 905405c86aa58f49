//! A link that is revoked takes everybody along who came by it: from the room, from WHEP, and from the door.

use crate::bench::{Bench, PASSWORD};
use crate::page::Page;
use rtcam::config::Role;
use serde_json::{Value, json};
use std::time::Duration;

/// A host in the room, and a link for viewers: its id and its text.
async fn host_and_link(bench: &Bench) -> (Page, String, String) {
    let (mut host, _) = Page::open_as(bench, PASSWORD).await.greet(json!({"name": "Hanna"})).await;
    host.say(json!({"type": "link", "role": "viewer", "for_s": 3600})).await;
    let link = host.hear_of("link").await["link"].clone();
    let text = |key: &str| link[key].as_str().expect("text").trim_start_matches("/?link=").to_string();
    (host, text("id"), text("path"))
}

#[tokio::test]
async fn who_came_by_it_hears_why_and_their_pictures_end() {
    let bench = Bench::with_password().await;
    let (mut host, id, token) = host_and_link(&bench).await;
    let (mut guest, welcome) = Page::open_as(&bench, &token).await.greet(json!({"name": "Guest"})).await;
    assert_eq!((&welcome["seat"]["role"], &welcome["logged_in"]), (&json!("viewer"), &json!(false)));
    guest.say(json!({"type": "offer", "sdp": "v=0"})).await;
    guest.hear_of("answer").await;
    let bearer = format!("Bearer {token}");
    let headers = [("Content-Type", "application/sdp"), ("Authorization", bearer.as_str())];
    let player = bench.ask("POST", "/whep", &headers, "v=0").await;
    assert_eq!((player.status, bench.door.seated().len()), (201, 2));

    // a link that is not there: the host hears so, and nobody goes
    host.say(json!({"type": "unlink", "id": "no such"})).await;
    let error = host.hear_of("error").await;
    assert_eq!((&error["code"], error["message"].as_str()), (&json!("refused"), Some("there is no such link")));
    assert_eq!(bench.door.seated().len(), 2);

    host.say(json!({"type": "unlink", "id": id})).await;
    assert_eq!(guest.rest().await.last().map(String::as_str), Some("bye:revoked"));
    bench.until("both viewers are closed", |book| book.seated.is_empty()).await;
    assert_eq!(host.hear_of("links").await["links"], json!([]));
    assert_eq!(bench.ask("POST", "/whep", &headers, "v=0").await.status, 401);
    host.say(json!({"type": "unlink", "id": id})).await;
    assert_eq!(host.hear_of("error").await["code"], "refused", "revoked before");
    bench.stop().await;
}

#[tokio::test]
async fn who_stands_in_the_door_meanwhile_gets_no_seat() {
    let bench = Bench::with_password().await;
    let made = bench.gate.make_link(Role::Viewer, Duration::from_secs(3600), "Guest").unwrap();
    let mut guest = Page::open_as(&bench, &made.token).await;
    bench.gate.revoke(&made.link.id);
    guest.say(json!({"type": "hello", "version": 1})).await;
    assert_eq!(guest.rest().await, ["error:refused", "bye:revoked"]);
    bench.stop().await;
}

#[tokio::test]
async fn the_welcome_says_whether_there_is_a_login_to_end() {
    let bench = Bench::with_password().await;
    let cookie = bench.gate.login([127, 0, 0, 1].into(), "", PASSWORD.into()).await.unwrap().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_string();
    let by = async |header: &'static str, value: &str| -> Value {
        let page = Page::open_with(&bench, header, value).await;
        page.greet(json!({})).await.1["logged_in"].clone()
    };
    assert_eq!(by("Cookie", &cookie).await, true);
    assert_eq!(by("Authorization", &format!("Bearer {PASSWORD}")).await, false);
    let open = Bench::start().await;
    assert_eq!(Page::greeted(&open, json!({})).await.1["logged_in"], false);
    open.stop().await;
    bench.stop().await;
}
