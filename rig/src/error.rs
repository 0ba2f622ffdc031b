//! What can go wrong, each with what a reader of a failed test needs: what was tried, what was expected, what was
//! found.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The outcome of everything here.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Why a rig could not do what was asked.
#[derive(thiserror::Error)]
pub enum Error {
    /// Debian's packages are not there and cannot be installed.
    #[error("{0}")]
    Packages(String),
    /// The settings contradict themselves or cannot be written as Bacula configuration.
    #[error("settings: {0}")]
    Settings(String),
    /// A daemon did not start, or is not there any more.
    #[error("{daemon}: {reason}\n--- end of {log}:\n{tail}", log = .log.display())]
    Daemon {
        /// Its name.
        daemon: String,
        /// What was seen.
        reason: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines in it.
        tail: String,
    },
    /// Something took longer than its deadline.
    #[error("{what}: not done after {limit:?}; it was killed\n--- seen until then:\n{seen}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What it had printed, or what the rig saw.
        seen: String,
    },
    /// A program ended with failure.
    #[error("`{line}` ended with {status}\n--- printed:\n{printed}")]
    Program {
        /// Its command line.
        line: String,
        /// Its exit status, in words.
        status: String,
        /// Both outputs.
        printed: String,
    },
    /// The console answered something else than expected.
    #[error("console: `{command}`: expected {expected}\n--- answered:\n{answer}")]
    Console {
        /// What was typed.
        command: String,
        /// What the answer should hold.
        expected: String,
        /// The answer.
        answer: String,
    },
    /// A job ended otherwise than with success.
    #[error(
        "job {id} {name:?} ended with status {status:?} in the catalog, {console:?} on the console, \
             {errors} errors\n--- its log:\n{log}"
    )]
    Job {
        /// The number that the director gave it.
        id: u32,
        /// The name of its resource.
        name: String,
        /// Bacula's letter in the catalog.
        status: char,
        /// Bacula's letter on the console.
        console: char,
        /// Its error count.
        errors: u64,
        /// Its log.
        log: String,
    },
    /// The catalog answered something else than expected.
    #[error("catalog: `{query}`: expected {expected}, found {found:?}")]
    Catalog {
        /// The SQL.
        query: String,
        /// What the answer should be.
        expected: &'static str,
        /// The answer.
        found: String,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Its answer.
        source: io::Error,
    },
}

/// As for people: a test that unwraps shows the logs with their lines, and not one line of escapes.
impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Error {
    /// For `map_err`: an error of the operating system while `what` was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
