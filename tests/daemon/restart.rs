//! The program is killed and started anew on the same state folder, as after a power cut.

use crate::client::{ask, get, soon};
use crate::links::{cookie_for, viewer_link};
use crate::password::{PASSWORD, password_hash};
use crate::program::Program;
use crate::signalling::{Socket, hear, open_socket, open_socket_with, say};
use serde_json::{Value, json};
use std::time::Duration;

async fn log_in(program: &Program) -> String {
    let form = format!("password={}", PASSWORD.replace(' ', "+"));
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = ask(program, "POST", "/login", &headers, &form).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    reply.header("set-cookie").and_then(|set| set.split(';').next()).expect("a cookie").to_string()
}

async fn greet(program: &Program, cookie: &str, more: Value) -> (Socket, Value) {
    let mut socket = open_socket_with(program, "Cookie", cookie).await;
    let mut hello = json!({"type": "hello", "version": 1});
    hello.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    say(&mut socket, hello).await;
    let welcome = hear(&mut socket, "welcome").await;
    (socket, welcome)
}

async fn until_on_disk(program: &Program, file: &str, holds: impl Fn(&Value) -> bool) {
    let waiting = async {
        while !serde_json::from_str(&program.state_file(file)).is_ok_and(|value: Value| holds(&value)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(file, waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_logins_open_and_everybody_is_back_in_their_seat() {
    let password = format!("auth.password_hash={}", password_hash());
    let program = Program::start(&[&password]);
    let host = log_in(&program).await;
    let guest = cookie_for(&program, &viewer_link(&program).0).await;
    let (mut hanna, hannas) = greet(&program, &host, json!({"name": "Hanna"})).await;
    let (_vera, veras) = greet(&program, &guest, json!({"name": "Vera"})).await;
    assert_eq!((&veras["seat"]["role"], &veras["logged_in"]), (&json!("viewer"), &json!(true)));
    let vera = &veras["seat"]["id"];
    for message in [
        json!({"type": "role", "to": vera, "role": "operator"}),
        json!({"type": "grant", "to": vera}),
        json!({"type": "room", "closed": true}),
    ] {
        say(&mut hanna, message).await;
    }
    until_on_disk(&program, "room.json", |room| room["control"]["holder"] == *vera && room["closed"] == true).await;
    until_on_disk(&program, "sessions.json", |kept| kept["sessions"].as_array().is_some_and(|all| all.len() == 2))
        .await;
    let disk = program.state_file("room.json") + &program.state_file("sessions.json");
    for secret in [&veras["resume"], &hannas["resume"], &json!(host.split('=').nth(1)), &json!(guest.split('=').nth(1))]
    {
        assert!(!disk.contains(secret.as_str().expect("text")), "a secret is on the disk");
    }

    let program = program.kill_and_start_again(&[&password]);
    let (_vera_again, back) = greet(&program, &guest, json!({"resume": veras["resume"]})).await;
    assert_eq!((&back["resumed"], &back["seat"]["id"], &back["seat"]["name"]), (&json!(true), vera, &json!("Vera")));
    assert_eq!((&back["seat"]["role"], &back["room"]["holder"]), (&json!("operator"), vera));
    assert_eq!((&back["room"]["closed"], &back["resume"]), (&json!(true), &veras["resume"]));
    let (_hanna_again, back) = greet(&program, &host, json!({"resume": hannas["resume"]})).await;
    assert_eq!((&back["resumed"], &back["seat"]), (&json!(true), &hannas["seat"]));

    // Vera's token in other hands is worth nothing
    let (_mallory, other) = greet(&program, &host, json!({"resume": veras["resume"], "name": "Mallory"})).await;
    assert_eq!((&other["resumed"], &other["seat"]["name"]), (&json!(false), &json!("Mallory")));

    // another password in the config: the cookie is worth nothing
    let program = program.kill_and_start_again(&[&format!("auth.password_hash={}", password_hash())]);
    let closed = ask(&program, "GET", "/", &[("Cookie", &host)], "").await;
    assert_eq!(closed.status, 401, "{closed:?}");
    assert_eq!(ask(&program, "GET", "/", &[("Cookie", &guest)], "").await.status, 200, "the link is as good as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_or_endless_file_is_a_warning_and_a_fresh_room() {
    let mut program = Program::start(&[]);
    for text in ["{\"last\": 7", &"[".repeat(2 << 20)] {
        // else it may write its own over it
        program.kill();
        program.write_state_file("room.json", text);
        program.write_state_file("sessions.json", text);
        program = program.kill_and_start_again(&[]);
        let mut socket = open_socket(&program).await;
        say(&mut socket, json!({"type": "hello", "version": 1, "resume": "00"})).await;
        let welcome = hear(&mut socket, "welcome").await;
        assert_eq!((&welcome["seat"]["id"], &welcome["resumed"]), (&json!(1), &json!(false)));
        assert_eq!(welcome["logged_in"], false);
        assert_eq!(get(&program, "/").await.status, 200);
        for file in ["room.json", "sessions.json"] {
            program.until_logged(&format!("{file} in the state folder"));
        }
    }
}
