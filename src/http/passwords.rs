//! Which password belongs to whom: the users of the config and the one shared password, checked with argon2.
//!
//! Owns the turns at argon2, the back-off after wrong passwords and the memory of right ones. Must never log a password,
//! run argon2 on the runtime's thread, make one address or account wait for another's mistakes, or tell by the time it
//! takes whether a name exists. Input: names and passwords (hostile), `[auth]`.

use super::backoff::{AccountNumber, Backoff, Turn};
use super::cookies::{Token, random, same};
use super::gate::Denial;
use super::listener::{network, redacted};
use crate::clock::{self, Clock};
use crate::config::{AuthConfig, Role, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::signal::identity::{Identity, Proof};
use crate::units::Micros;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use ring::digest::{Context, SHA256};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// How long a password once found right is known without argon2.
pub const REMEMBER: Duration = Duration::from_secs(300);
const PASSWORD_BYTES: usize = 1024;
/// Verifications at a time, and waiting for their turn.
const AT_A_TIME: usize = 2;
const IN_LINE: usize = 8;
/// How often, and how many times, a request looks whether its address may guess again: 3 s in all.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS: u32 = 150;

/// All names that are in no config: they share one back-off, else made-up names would never have to wait.
const NOBODY: AccountNumber = AccountNumber::MAX;

struct Account {
    /// None: the shared password.
    name: Option<String>,
    role: Role,
    hash: Secret,
}

pub struct Passwords {
    accounts: Vec<Account>,
    clock: Clock,
    /// Of this run; what is remembered is worthless elsewhere.
    salt: Token,
    running: Semaphore,
    waiting: Semaphore,
    backoff: Mutex<Backoff>,
    /// One place per account.
    remembered: Mutex<Vec<Option<(Token, Micros)>>>,
}

impl Passwords {
    pub fn new(config: &AuthConfig, clock: Clock) -> Result<Arc<Passwords>> {
        let mut accounts: Vec<Account> = Vec::new();
        for user in &config.users {
            check_hash(&user.password_hash, "auth.user.password_hash")?;
            let hash = user.password_hash.clone();
            accounts.push(Account { name: Some(user.name.clone()), role: user.role, hash });
        }
        if !config.password_hash.is_empty() {
            check_hash(&config.password_hash, "auth.password_hash")?;
            accounts.push(Account { name: None, role: config.password_role, hash: config.password_hash.clone() });
        }
        let salt = random().ok_or_else(|| Error::new(ErrorKind::Io, "the system gives no random numbers"))?;
        Ok(Arc::new(Passwords {
            remembered: Mutex::new(accounts.iter().map(|_| None).collect()),
            accounts,
            clock,
            salt,
            running: Semaphore::new(AT_A_TIME),
            waiting: Semaphore::new(AT_A_TIME + IN_LINE),
            backoff: Mutex::default(),
        }))
    }

    pub fn are_set(&self) -> bool {
        !self.accounts.is_empty()
    }

    pub fn have_names(&self) -> bool {
        self.accounts.iter().any(|account| account.name.is_some())
    }

    /// Names the password that somebody came by, and nothing else: it changes with the password. None: no password.
    pub fn mark(&self, identity: &Identity) -> Option<Token> {
        let name = match identity.proof {
            Proof::User => Some(identity.name.as_str()),
            Proof::Password => None,
            Proof::None | Proof::Link(_) => return None,
        };
        self.accounts.iter().find(|account| account.name.as_deref() == name).map(mark_of)
    }

    /// Who that is today: the password must be the same, the role is the one of now. An empty name: the shared one.
    pub fn by_mark(&self, name: &str, mark: &Token) -> Option<Identity> {
        let named = |account: &Account| account.name.as_deref().unwrap_or_default() == name;
        let account = self.accounts.iter().position(|account| named(account) && same(&mark_of(account), mark))?;
        self.identity(account).ok()
    }

    /// Whoever this password proves. A name of the config takes its own password only, every other the shared one.
    pub async fn check(
        self: &Arc<Passwords>,
        peer: IpAddr,
        name: &str,
        password: Secret,
        may_remember: bool,
    ) -> Result<Identity, Denial> {
        let (peer, account) = (network(peer), self.account_of(name));
        // one guess per address at a time; its other requests wait for the outcome
        for _ in 0..LOOKS {
            // the back-off comes before the memory: else a wrong guess would cost a flooder nothing
            let turn = lock(&self.backoff).begin(peer, account, self.clock.now());
            match turn {
                Turn::Wait { seconds } => return Err(Denial::Wait { seconds }),
                Turn::Now => return self.clone().guess(peer, account, password, may_remember).await,
                Turn::Later => clock::sleep(LOOK_EVERY).await,
            }
        }
        Err(Denial::Busy)
    }

    fn account_of(&self, name: &str) -> AccountNumber {
        let position = |wanted: Option<&str>| self.accounts.iter().position(|a| a.name.as_deref() == wanted);
        position(Some(name)).or_else(|| position(None)).unwrap_or(NOBODY)
    }

    async fn guess(
        self: Arc<Passwords>,
        peer: IpAddr,
        account: AccountNumber,
        password: Secret,
        may_remember: bool,
    ) -> Result<Identity, Denial> {
        // a task of its own: a client that hangs up must not escape the count of its mistakes
        let work = tokio::spawn(async move {
            let mut turn = OneTurn { passwords: self.clone(), peer, account, right: None };
            let verdict = self.verify(account, password, may_remember).await;
            turn.right = match verdict {
                Ok(_) => Some(true),
                Err(Denial::WrongPassword) => Some(false),
                Err(_) => None,
            };
            verdict
        });
        work.await.unwrap_or(Err(Denial::Busy))
    }

    async fn verify(&self, account: AccountNumber, password: Secret, may_remember: bool) -> Result<Identity, Denial> {
        if password.reveal().len() > PASSWORD_BYTES {
            return Err(Denial::WrongPassword);
        }
        let digest = if may_remember { self.digest(&password) } else { None };
        if digest.is_some_and(|digest| self.remembers(account, &digest)) {
            return self.identity(account);
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Err(Denial::Busy) };
        let Ok(_running) = self.running.acquire().await else { return Err(Denial::Busy) };
        // a name that is not there takes as long as one that is
        let Some(hash) = self.accounts.get(account).or(self.accounts.first()).map(|account| account.hash.clone())
        else {
            return Err(Denial::WrongPassword);
        };
        let verify = move || Argon2::default().verify_password(password.reveal().as_bytes(), hash.reveal()).is_ok();
        match tokio::task::spawn_blocking(verify).await {
            Ok(true) => {
                let identity = self.identity(account)?;
                if let (Some(digest), Some(place)) = (digest, lock(&self.remembered).get_mut(account)) {
                    *place = Some((digest, self.clock.now() + REMEMBER));
                }
                Ok(identity)
            }
            Ok(false) => Err(Denial::WrongPassword),
            Err(_) => Err(Denial::Busy),
        }
    }

    /// Somebody who is `NOBODY` has guessed another's password: that opens nothing.
    fn identity(&self, account: AccountNumber) -> Result<Identity, Denial> {
        let account = self.accounts.get(account).ok_or(Denial::WrongPassword)?;
        let proof = if account.name.is_some() { Proof::User } else { Proof::Password };
        Ok(Identity { name: account.name.clone().unwrap_or_default(), role: account.role, proof })
    }

    pub fn remembers(&self, account: AccountNumber, digest: &Token) -> bool {
        let now = self.clock.now();
        let remembered = lock(&self.remembered);
        let place = remembered.get(account).and_then(|place| place.as_ref());
        place.is_some_and(|(known, until)| now < *until && same(known, digest))
    }

    /// The smallest argon2 with a salt of this run: quick, and not worth keeping for anybody.
    pub fn digest(&self, password: &Secret) -> Option<Token> {
        let params = Params::new(8, 1, 1, Some(32)).ok()?;
        let mut digest = Token::default();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password.reveal().as_bytes(), &self.salt, &mut digest).ok()?;
        Some(digest)
    }

    /// For the log: a name out of the config, never one that somebody sent.
    fn called(&self, account: AccountNumber) -> String {
        match self.accounts.get(account) {
            Some(Account { name: Some(name), .. }) => format!("user {name:?}"),
            Some(_) => "the shared password".into(),
            None => "no user of ours".into(),
        }
    }
}

/// A hash of the hash: whoever reads the state folder does not learn what the config has.
fn mark_of(account: &Account) -> Token {
    let mut context = Context::new(&SHA256);
    context.update(b"rtcam account\0");
    context.update(account.hash.reveal().as_bytes());
    Token::try_from(context.finish().as_ref()).expect("SHA-256 has 32 bytes")
}

fn check_hash(hash: &Secret, key: &str) -> Result<()> {
    PasswordHash::new(hash.reveal()).map(|_| ()).map_err(|e| {
        let message = format!("{key} is not an argon2 hash; `rtcam password` prints one");
        Error::new(ErrorKind::BadConfig, message).because(e.to_string())
    })
}

/// The one guess an address has running; its outcome is entered however the guess ends.
struct OneTurn {
    passwords: Arc<Passwords>,
    peer: IpAddr,
    account: AccountNumber,
    right: Option<bool>,
}

impl Drop for OneTurn {
    fn drop(&mut self) {
        let now = self.passwords.clock.now();
        let failures = lock(&self.passwords.backoff).end(self.peer, self.account, self.right, now);
        let (peer, called) = (redacted(self.peer), self.passwords.called(self.account));
        if failures.is_power_of_two() {
            warn!("http: wrong password from {peer} for {called} ({failures} in a row)");
        } else if self.right == Some(true) {
            debug!("http: right password from {peer} for {called}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // every change is one step: nothing is half-done when a thread panics
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
