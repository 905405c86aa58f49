//! The one error type at room borders: kind (decides retry, exit code, HTTP status), message, cause.
//!
//! Message form: what failed: on which object: cause. What happens next is added by whoever decides it.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user's command line or config: exit 2.
    BadConfig,
    /// Not there (yet): a device, a file, a session.
    NotFound,
    /// Held by somebody else.
    Busy,
    /// A peer sent what we cannot accept.
    BadInput,
    /// A limit of ours was reached.
    Limit,
    /// Not allowed.
    Denied,
    /// This machine, driver or peer cannot do it.
    Unsupported,
    /// A device, a file or a socket failed.
    Io,
    /// A broken invariant of ours.
    Internal,
}

pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), source: None }
    }

    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(cause.into());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The whole chain on one line: `what: cause: deeper cause`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut next = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            // our own Display already prints the rest of the chain
            next = if cause.is::<Error>() { None } else { cause.source() };
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as &dyn std::error::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_printed_once_on_one_line() {
        let io = std::io::Error::from_raw_os_error(19);
        let inner = Error::new(ErrorKind::Io, "open /dev/video0").because(io);
        let outer = Error::new(ErrorKind::Io, "capture").because(inner);
        assert_eq!(outer.to_string(), "capture: open /dev/video0: No such device (os error 19)");
    }
}
