//! `rtcam password`: reads a password and prints the line for the config's [auth] section.
//!
//! Must never show, log or store the password itself. Input: the terminal (without echo, asked twice) or one line of
//! stdin.

use crate::error::{Error, ErrorKind, Result};
use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Read, Stdin, Write};

const MIN_CHARACTERS: usize = 8;
const MAX_BYTES: u64 = 1024;

/// One of the sets OWASP lists as equally strong for Argon2id; the one that takes the least memory, because a small
/// board does this at every log-in.
const MEMORY_KIB: u32 = 7168;
const PASSES: u32 = 5;
const LANES: u32 = 1;

pub fn run() -> Result<()> {
    let password = read_password()?;
    let line = format!("password_hash = \"{}\"", hash(&password)?);
    if std::io::stdin().is_terminal() {
        eprintln!("Put this line under [auth] in the config:");
    }
    writeln!(std::io::stdout(), "{line}").map_err(|error| Error::new(ErrorKind::Io, "write to stdout").because(error))
}

pub fn read_password() -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return checked(read_line(&mut stdin.lock())?);
    }
    let _silence = Silence::start(&stdin)?;
    let ask = |question: &str| {
        eprint!("{question}: ");
        let answer = read_line(&mut stdin.lock());
        eprintln!();
        answer
    };
    let password = checked(ask("New password")?)?;
    if ask("The same again")? != password {
        return Err(Error::new(ErrorKind::BadConfig, "password: the two entries differ; nothing was made"));
    }
    Ok(password)
}

fn read_line(input: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    let read = input.take(MAX_BYTES).read_line(&mut line);
    read.map_err(|error| Error::new(ErrorKind::BadConfig, "password: cannot read it").because(error))?;
    let ends = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(ends);
    Ok(line)
}

fn checked(password: String) -> Result<String> {
    if password.chars().count() < MIN_CHARACTERS {
        let why = format!("password: too short: at least {MIN_CHARACTERS} characters are needed");
        return Err(Error::new(ErrorKind::BadConfig, why));
    }
    if password.len() as u64 >= MAX_BYTES {
        return Err(Error::new(ErrorKind::BadConfig, format!("password: longer than {} bytes", MAX_BYTES - 1)));
    }
    Ok(password)
}

pub fn hash(password: &str) -> Result<String> {
    let fail = |error: String| Error::new(ErrorKind::Internal, "password: hash it").because(error);
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| fail(error.to_string()))?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = hasher.hash_password(password.as_bytes()).map_err(|error| fail(error.to_string()))?;
    Ok(hash.to_string())
}

/// The terminal without echo, until dropped.
struct Silence<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl Silence<'_> {
    fn start(terminal: &Stdin) -> Result<Silence<'_>> {
        let fail = |error| {
            Error::new(ErrorKind::Io, "password: switch the terminal's echo off").because(std::io::Error::from(error))
        };
        let before = tcgetattr(terminal).map_err(fail)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet).map_err(fail)?;
        Ok(Silence { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // the terminal may be gone; then there is no echo to restore
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert!(checked("1234567".into()).is_err());
        assert!(checked("".into()).is_err());
        assert!(checked("äöüßéèêë".into()).is_ok(), "characters count, not bytes");
        let endless = vec![b'x'; 5000];
        assert!(checked(read_line(&mut &endless[..]).expect("cut")).is_err());
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_the_password() {
        assert_eq!(read_line(&mut &b"two words \r\nmore"[..]).expect("a line"), "two words ");
    }

    #[test]
    fn the_line_printed_is_accepted_by_the_config_and_differs_each_time() {
        let (one, two) = (hash("correct horse").expect("hashed"), hash("correct horse").expect("hashed"));
        assert_ne!(one, two);
        let text = format!("[auth]\npassword_hash = \"{one}\"\n[http]\nlisten = \"0.0.0.0:8080\"\n");
        let config = config::parse("rtcam.toml", &text, &[]).expect("a good config");
        assert_eq!(config.auth.password_hash.reveal(), one);
    }
}
