//! The ICE servers a page is given: `RTCIceServer` objects, and WHEP's `Link` headers.
//!
//! Pure. Must never hand out the secret itself: what leaves are credentials that expire within the hour. Input: the
//! config and the time.

use crate::config::IceServerConfig;
use base64ct::{Base64, Encoding};
use ring::hmac;
use serde_json::{Value, json};

/// Who asks, in the name of a time-limited credential; shows up in the TURN server's log.
const NAME: &str = "rtcam";
/// 2025-01-01: a machine that believes in an earlier time has not been told the real one yet.
const CLOCK_WAS_SET_S: u64 = 1_735_689_600;

/// Made anew for every page, so that each credential lasts its whole time.
pub fn page_servers(servers: &[IceServerConfig], unix_now_s: u64) -> Vec<Value> {
    let object = |server: &IceServerConfig| match account(server, unix_now_s) {
        Some((username, credential)) => {
            json!({"urls": server.urls, "username": username, "credential": credential})
        }
        None => json!({"urls": server.urls}),
    };
    servers.iter().map(object).collect()
}

/// The values of `Link` headers (draft-ietf-wish-whep section 4.6), one per URL.
pub fn links(servers: &[IceServerConfig], unix_now_s: u64) -> Vec<String> {
    let mut links = Vec::new();
    for server in servers {
        let account = account(server, unix_now_s);
        for url in &server.urls {
            let mut link = format!("<{url}>; rel=\"ice-server\"");
            if let Some((username, credential)) = &account {
                let (username, credential) = (quoted(username), quoted(credential));
                link += &format!("; username={username}; credential={credential}; credential-type=\"password\"");
            }
            links.push(link);
        }
    }
    links
}

/// Time-limited credentials made by such a clock are refused by every TURN server.
pub fn clock_is_unset(servers: &[IceServerConfig], unix_now_s: u64) -> bool {
    unix_now_s < CLOCK_WAS_SET_S && servers.iter().any(|server| !server.secret.is_empty())
}

/// The user name and password for one server; None where it needs none.
fn account(server: &IceServerConfig, unix_now_s: u64) -> Option<(String, String)> {
    if !server.secret.is_empty() {
        return Some(time_limited(server.secret.reveal(), unix_now_s + u64::from(server.ttl_s)));
    }
    let named = !server.username.is_empty();
    named.then(|| (server.username.clone(), server.credential.reveal().to_owned()))
}

/// coturn's `use-auth-secret`: the name is the time of expiry, the password its HMAC-SHA1 under the shared secret.
fn time_limited(secret: &str, expires_unix_s: u64) -> (String, String) {
    let username = format!("{expires_unix_s}:{NAME}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let credential = Base64::encode_string(hmac::sign(&key, username.as_bytes()).as_ref());
    (username, credential)
}

/// A quoted-string of RFC 9110 section 5.6.4; the config lets no control characters in.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn server(urls: &[&str]) -> IceServerConfig {
        IceServerConfig { urls: urls.iter().map(|url| (*url).to_owned()).collect(), ..IceServerConfig::default() }
    }

    #[test]
    fn stun_goes_without_an_account_and_turn_with_its_own() {
        let account =
            IceServerConfig { username: "ann".into(), credential: Secret::new("pw"), ..server(&["turn:a", "turn:b"]) };
        assert_eq!(
            page_servers(&[server(&["stun:a"]), account], 0),
            [json!({"urls": ["stun:a"]}), json!({"urls": ["turn:a", "turn:b"], "username": "ann", "credential": "pw"})]
        );
    }

    #[test]
    fn time_limited_credentials_are_those_coturn_computes() {
        // echo -n 1700003600:rtcam | openssl dgst -sha1 -hmac north -binary | base64
        let wanted = ("1700003600:rtcam".to_owned(), "vplHgzNGZgXhgUpr7ZMLN7PETyk=".to_owned());
        assert_eq!(time_limited("north", 1_700_003_600), wanted);
        let limited = IceServerConfig { secret: Secret::new("north"), ..server(&["turn:a"]) };
        let made = page_servers(&[limited], 1_700_000_000);
        assert_eq!(made[0]["username"], "1700003600:rtcam");
        assert!(!format!("{made:?}").contains("north"));
    }

    #[test]
    fn links_carry_one_url_each_and_escape_what_they_quote() {
        let account = IceServerConfig {
            username: "a\"b".into(),
            credential: Secret::new("c\\d"),
            ..server(&["turn:h?transport=udp"])
        };
        assert_eq!(
            links(&[server(&["stun:h", "stun:i"]), account], 0),
            [
                r#"<stun:h>; rel="ice-server""#,
                r#"<stun:i>; rel="ice-server""#,
                r#"<turn:h?transport=udp>; rel="ice-server"; username="a\"b"; credential="c\\d"; credential-type="password""#,
            ]
        );
    }

    #[test]
    fn a_clock_that_was_never_set_matters_only_for_secrets() {
        let limited = IceServerConfig { secret: Secret::new("north"), ..server(&["turn:a"]) };
        assert!(clock_is_unset(std::slice::from_ref(&limited), 86_400));
        assert!(!clock_is_unset(&[limited], 1_800_000_000));
        assert!(!clock_is_unset(&[server(&["stun:a"])], 0));
    }
}
