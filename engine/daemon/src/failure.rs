//! Why a command ended without doing its job, and the exit code that says so.
//!
//! Every message is one line that names the remedy where there is one; it is printed once, in [`crate::output`].

use std::io;
use std::path::Path;

/// The result of a command or a part of one.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Exit code for anything that has no code of its own.
pub const CODE_FAILED: u8 = 1;
/// Exit code for wrong usage.
pub const CODE_USAGE: u8 = 2;
/// Exit code when damage was found.
pub const CODE_DAMAGE: u8 = 3;
/// Exit code when the store or a socket is in use, or no daemon answers.
pub const CODE_BUSY: u8 = 4;
/// Exit code when the reader of standard output has gone, as a shell reports SIGPIPE.
const CODE_PIPE: u8 = 128 + 13;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] gdd_engine::error::Error),
    /// The arguments make no sense together, or with what is there.
    #[error("{0}")]
    Usage(String),
    /// Something outside the store failed.
    #[error("{0}")]
    Failed(String),
    /// Somebody else has what is needed.
    #[error("{0}")]
    Busy(String),
    /// The daemon failed, with this exit code and message.
    #[error("{1}")]
    Remote(u8, String),
    /// The user or the system asked us to stop.
    #[error("stopped by {}; what was half done is taken back", crate::signals::name(*.0))]
    Signal(i32),
    /// Whoever read our standard output stopped reading.
    #[error("standard output was closed by its reader")]
    PipeClosed,
}

impl Failure {
    /// A failed operation on a file that is not the store's, for `map_err`.
    pub fn file(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let place = format!("cannot {action} {}", path.display());
        move |error| Self::Failed(format!("{place}: {error}"))
    }

    /// A failed write to standard output, for `map_err`.
    pub fn stdout(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Failed(format!("cannot write to standard output: {error}")),
        }
    }

    /// The process exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Engine(error) => error.exit_code(),
            Self::Usage(_) => CODE_USAGE,
            Self::Failed(_) => CODE_FAILED,
            Self::Busy(_) => CODE_BUSY,
            Self::Remote(code, _) => *code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(CODE_FAILED),
            Self::PipeClosed => CODE_PIPE,
        }
    }

    /// The message, on one line.
    #[must_use]
    pub fn line(&self) -> String {
        let text = self.to_string();
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdd_engine::error::Error;

    #[test]
    fn every_class_has_its_code() {
        let locked = Error::Locked { path: "lock".into(), holder: String::new() };
        let version = Error::Version { path: "gdd.store".into(), found: 2, known: 1 };
        let lost = Error::ChunkLost { hash: "00".to_owned(), why: "gone".to_owned() };
        let codes = [
            Failure::Failed(String::new()),
            Failure::Usage(String::new()),
            lost.into(),
            locked.into(),
            version.into(),
            Failure::Signal(2),
            Failure::Signal(15),
            Failure::PipeClosed,
        ]
        .map(|failure: Failure| failure.code());
        assert_eq!(codes, [1, 2, 3, 4, 5, 130, 143, 141]);
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Failure::Failed("a\n  b\n\n".to_owned()).line(), "a; b");
    }
}
