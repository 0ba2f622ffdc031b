//! What a client is told when it does not get what it asked for, by stable id.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use gdd_engine::error::Error;
use gdd_wire::limits::ERROR_TEXT_SIZE_MAX;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub id: &'static str,
    pub text: String,
    pub remedy: &'static str,
    /// The question or request that it is about. Such a trouble ends nothing.
    pub number: Option<u64>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.id, self.text)
    }
}

fn fatal(id: &'static str, text: String, remedy: &'static str) -> Trouble {
    let mut text = text;
    if text.len() > ERROR_TEXT_SIZE_MAX {
        let end = (0..=ERROR_TEXT_SIZE_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    Trouble { id, text, remedy, number: None }
}

/// The store failed.
pub(super) fn store(error: &Error) -> Trouble {
    let text = error.to_string();
    let kind = if let Error::Io { source, .. } = error { Some(source.kind()) } else { None };
    // Of a failure that came long before this call only the system's words are left (strerror(3), not translated).
    if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
        || text.contains("No space left on device")
        || text.contains("Disk quota exceeded")
    {
        let remedy = "free space in the store's file system, restart gdd there, then run the job again";
        return fatal("GDD-NET-0002", format!("the store failed: {text}"), remedy);
    }
    let remedy = "see `journalctl -u gdd` on the store's machine, restart gdd there, then run the job again";
    fatal("GDD-NET-0001", format!("the store failed: {text}"), remedy)
}

/// While a stream is stored: what the client brought is wrong, or the store failed.
pub(super) fn backup(error: &Error) -> Trouble {
    if let Error::Invalid(why) = error {
        let remedy =
            "check the client's memory and that both ends are of one release, then run the job again";
        return fatal("GDD-NET-0003", format!("a chunk was refused: {why}"), remedy);
    }
    store(error)
}

/// A message that is none.
pub(super) fn malformed(error: &dyn fmt::Display) -> Trouble {
    let remedy = "install plugin and daemon of one release; report it if they are";
    fatal("GDD-NET-0004", format!("a message makes no sense: {error}"), remedy)
}

/// A message that has no place here.
pub(super) fn turn(expected: &str, found: &str) -> Trouble {
    let remedy = "install plugin and daemon of one release; report it if they are";
    fatal("GDD-NET-0005", format!("a message came out of turn: expected {expected}, found {found}"), remedy)
}

/// Both ends counted differently.
pub(super) fn differs(what: &str, sent: &dyn fmt::Display, received: &dyn fmt::Display) -> Trouble {
    let text = format!("{what} differ: the client sent {sent}, the daemon has {received}; nothing was kept");
    fatal("GDD-NET-0006", text, "check the memory of both machines, then run the job again")
}

/// The end of a stream came too early.
pub(super) fn incomplete(missing: usize) -> Trouble {
    let text = format!("the backup was committed before {missing} of its segments or chunks had come");
    fatal("GDD-NET-0007", text, "install plugin and daemon of one release; report it if they are")
}

/// No such stream in the client's domain. Of other domains it learns nothing.
pub(super) fn unknown(number: u64, stream: &str) -> Trouble {
    let text = format!("no stream {stream} can be given back to this client");
    let remedy = "check that store and key are those of the backup; `gdd ls` there shows what the store has";
    Trouble { number: Some(number), ..fatal("GDD-NET-0008", text, remedy) }
}

/// Bytes that the stream does not have.
pub(super) fn range(number: u64, has: u64, (offset, length): (u64, u64)) -> Trouble {
    let text = format!("{length} bytes from byte {offset} on were asked for, of a stream of {has} bytes");
    let remedy = "the volume is of another backup than the stream: check that this is the right store";
    Trouble { number: Some(number), ..fatal("GDD-NET-0009", text, remedy) }
}

/// A stream cannot be given back.
pub(super) fn recall(number: u64, error: &Error) -> Trouble {
    if let Error::Corrupt { .. } | Error::ChunkLost { .. } = error {
        let text = format!("the store cannot give the stream back: {error}");
        let remedy = "`gdd fsck` shows what is damaged; restore what is missing from another job";
        return Trouble { number: Some(number), ..fatal("GDD-NET-0010", text, remedy) };
    }
    Trouble { number: Some(number), ..store(error) }
}

/// The client does nothing.
pub(super) fn silent(limit: Duration) -> Trouble {
    let text = format!("the client said nothing for {} s, not even an answer to a ping", limit.as_secs());
    fatal("GDD-NET-0011", text, "look why bacula-fd hangs, then run the job again")
}

/// The daemon stops.
pub(super) fn stopping() -> Trouble {
    fatal("GDD-NET-0012", "the gdd daemon was stopped".to_owned(), "start it again, and run the job again")
}

/// Too many sessions.
pub(super) fn crowded(who: &str, limit: usize) -> Trouble {
    let text = format!("{who} has {limit} sessions, as many as it may");
    fatal(
        "GDD-NET-0013",
        text,
        "run fewer jobs at once, or raise `sessions_max` in [net] of the daemon's gdd.toml",
    )
}

/// More is open than the daemon remembers.
pub(super) fn greedy(what: &str, limit: usize, found: usize) -> Trouble {
    let text = format!("{what}: expected {limit} at most, found {found}");
    fatal("GDD-NET-0014", text, "install plugin and daemon of one release; report it if they are")
}

/// The domain has as much as it may.
pub(super) fn quota(domain: &str, limit: u64) -> Trouble {
    let text = format!("the backups of domain {domain} would have more than its quota of {limit} bytes");
    let remedy = "remove old streams with `gdd rm`, or raise the domain's `quota` in the daemon's gdd.toml";
    fatal("GDD-NET-0015", text, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_their_message() {
        let long = Error::Invalid("\u{e9}".repeat(1000));
        let trouble = backup(&long);
        assert!(trouble.text.len() <= ERROR_TEXT_SIZE_MAX && trouble.text.len() > ERROR_TEXT_SIZE_MAX - 4);
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = Error::Poisoned("write: No space left on device (os error 28)".to_owned());
        assert_eq!(store(&full).id, "GDD-NET-0002");
        assert_eq!(store(&Error::Poisoned("x".to_owned())).id, "GDD-NET-0001");
    }
}
