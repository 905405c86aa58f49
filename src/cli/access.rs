//! `rtcam access`: users for the config, and links that expire.
//!
//! Links are kept in the state folder, which a running daemon follows: what is made or revoked here counts there within
//! a second. Must never write the config, or show a password. Input: the arguments, a password from the terminal or stdin.

use super::{ConfigArguments, password};
use crate::clock::Clock;
use crate::config::{self, Config, Role, TlsMode};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{self, Link, Links};
use clap::Subcommand;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

#[derive(Subcommand)]
pub enum Access {
    /// Read a password and print the lines of a user for the config
    Add {
        /// How the person is called when logging in, and seen by others
        name: String,
        /// What they may do: viewer, operator or host
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
    },
    /// Make a link that opens the page until it expires or is revoked
    Link {
        /// What whoever has it may do: viewer, operator or host
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
        /// How long it lives, from a minute to 30 days: 45m, 2h, 7d
        #[arg(long = "for", value_name = "TIME", value_parser = life)]
        life: Duration,
        /// How whoever comes by it is called; without, they choose a name
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// List the links that open
    Links {
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// End a link, and the stay of everybody who came by it
    Revoke {
        /// As `rtcam access links` shows it
        id: String,
        #[command(flatten)]
        config: ConfigArguments,
    },
}

pub fn run(wanted: &Access) -> Result<()> {
    match wanted {
        Access::Add { name, role } => add(name, *role),
        Access::Link { role, life, name, config } => link(&config.load()?, *role, *life, name),
        Access::Links { config } => {
            let now_s = Clock::system().wall().0 / 1_000_000;
            print(&table(&open(&config.load()?)?.list(), now_s))
        }
        Access::Revoke { id, config } => revoke(&config.load()?, id),
    }
}

fn add(name: &str, role: Role) -> Result<()> {
    if !config::is_user_name(name) {
        return Err(Error::new(ErrorKind::BadConfig, format!("access add: a name is {}", config::USER_NAME_FORM)));
    }
    let lines = user_lines(name, role, &password::hash(&password::read_password()?)?);
    if std::io::stdin().is_terminal() {
        eprintln!("Put these lines into the config, after those of [auth]:");
    }
    print(&lines)
}

fn user_lines(name: &str, role: Role, hash: &str) -> String {
    // TOML's escapes are those of JSON, for what a name may hold
    let name = serde_json::Value::from(name);
    format!("[[auth.user]]\nname = {name}\nrole = \"{}\"\npassword_hash = \"{hash}\"\n", role.word())
}

fn link(config: &Config, role: Role, life: Duration, name: &str) -> Result<()> {
    let made = open(config)?.make(role, life, name)?;
    let mut text = format!("{}{}\n", page_of(config), made.path());
    let _ = writeln!(text, "link {}: {}, for {}", made.link.id, role.word(), span(life.as_secs()));
    print(&text)
}

/// Where the page is, as far as the config says; else the path alone is all we know.
fn page_of(config: &Config) -> String {
    let scheme = if config.http.tls == TlsMode::Off { "http" } else { "https" };
    let listen = config.http.listen;
    match config.http.names.first() {
        Some(name) if name.contains(':') => format!("{scheme}://{name}"),
        Some(name) => format!("{scheme}://{name}:{}", listen.port()),
        None if listen.ip().is_unspecified() => String::new(),
        None => format!("{scheme}://{listen}"),
    }
}

fn revoke(config: &Config, id: &str) -> Result<()> {
    if !open(config)?.revoke(id)? {
        let why = "access revoke: no such link, or it was revoked before; `rtcam access links` lists them";
        return Err(Error::new(ErrorKind::NotFound, why));
    }
    print(&format!("link {id}: revoked\n"))
}

fn open(config: &Config) -> Result<Links> {
    let folder = http::state_place(&config.state_dir)
        .ok_or_else(|| Error::new(ErrorKind::BadConfig, "links: no place to keep them: set state_dir in the config"))?;
    Links::open_at(&folder, Clock::system())
}

fn table(links: &[Link], now_s: u64) -> String {
    let mut text = String::new();
    for Link { id, role, name, expires_s, .. } in links {
        let left = span(expires_s.saturating_sub(now_s));
        // writing to a String does not fail
        let _ = writeln!(text, "{id}  {:8}  {left} left  {name}", role.word());
    }
    text
}

fn print(text: &str) -> Result<()> {
    write!(std::io::stdout(), "{text}").map_err(|error| Error::new(ErrorKind::Io, "write to stdout").because(error))
}

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// The two largest units: `1d 3h`.
fn span(mut seconds: u64) -> String {
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        if seconds >= length && parts.len() < 2 {
            parts.push(format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

fn role(word: &str) -> Result<Role, String> {
    let known = [Role::Viewer, Role::Operator, Role::Host].into_iter().find(|role| role.word() == word);
    known.ok_or_else(|| "expected viewer, operator or host".into())
}

fn life(text: &str) -> Result<Duration, String> {
    let bad = || "expected a number and a unit: 45m, 2h, 7d".to_owned();
    let parts = UNITS.iter().find_map(|(unit, length)| Some((text.strip_suffix(unit)?, length)));
    let (number, length) = parts.ok_or_else(bad)?;
    let number: u64 = number.parse().map_err(|_| bad())?;
    Ok(Duration::from_secs(number.checked_mul(*length).ok_or_else(bad)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_printed_is_accepted_by_the_config() {
        for name in ["anna", "Ann \"the\" \\ one", "前台"] {
            let hash = password::hash("correct horse").expect("hashed");
            let text = format!("[http]\nlisten = \"0.0.0.0:8080\"\n{}", user_lines(name, Role::Operator, &hash));
            let config = config::parse("rtcam.toml", &text, &[]).expect("a good config");
            let user = &config.auth.users[0];
            assert_eq!((user.name.as_str(), user.role, user.password_hash.reveal()), (name, Role::Operator, &*hash));
        }
    }

    #[test]
    fn lives_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("45m", 2700), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(life(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "h", "2", "2 h", "-1h", "1.5h", "2hh", "99999999999999999999d", "9999999999999999d"] {
            assert!(life(bad).is_err(), "{bad}");
        }
        assert_eq!([span(0), span(59), span(7200), span(97_205)], ["0s", "59s", "2h", "1d 3h"]);
    }

    #[test]
    fn the_link_begins_with_the_page_where_the_config_knows_it() {
        let mut config = Config::default();
        assert_eq!(page_of(&config), "http://127.0.0.1:8080");
        config.http.listen = "0.0.0.0:443".parse().expect("an address");
        config.http.tls = TlsMode::SelfSigned;
        assert_eq!(page_of(&config), "");
        config.http.names = vec!["cam.example".into()];
        assert_eq!(page_of(&config), "https://cam.example:443");
        config.http.names = vec!["cam.example:8443".into()];
        assert_eq!(page_of(&config), "https://cam.example:8443");
    }
}
