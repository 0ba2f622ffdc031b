//! What the daemon answers when it does not do what it was asked, by stable id.

use gdd_engine::error::Error;
use gdd_link::{ERR_STALE, Malformed, Trouble};

fn trouble(id: &str, text: String, remedy: &str, fatal: bool) -> Trouble {
    Trouble { id: id.to_owned(), text, remedy: remedy.to_owned(), fatal }
}

/// The message is of a session that this daemon does not have.
pub(super) fn stale(expected: u64, found: u64) -> Trouble {
    let text = format!("session {found:016x} is stale: this daemon expects {expected:016x}");
    trouble(ERR_STALE, text, "the daemon was replaced while the job ran: run the job again", true)
}

/// The engine failed. What it wrote of open streams is not to be trusted any more: the session ends.
pub(super) fn store(error: &Error) -> Trouble {
    let (id, remedy) = match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            ("GDD-SD-0022", "free space in the store's file system, restart gdd, then run the job again")
        }
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            ("GDD-SD-0023", "mount the store's file system for writing, restart gdd, then run the job again")
        }
        _ => ("GDD-SD-0021", "see `journalctl -u gdd`, restart gdd, then run the job again"),
    };
    trouble(id, format!("the store failed: {error}"), remedy, true)
}

/// A recall failed: the session goes on.
pub(super) fn recall(error: &Error) -> Trouble {
    Trouble { fatal: false, ..store(error) }
}

/// The two sides counted differently.
pub(super) fn differs(stream: u64, sent: (u64, u128), received: (u64, u128)) -> Trouble {
    let text = format!(
        "stream {stream:016x} was sent as {} bytes, XXH3 {:032x}, and received as {} bytes, XXH3 {:032x}",
        sent.0, sent.1, received.0, received.1
    );
    trouble("GDD-SD-0024", text, "check the memory of this machine, then run the job again", false)
}

/// No such stream.
pub(super) fn unknown(stream: u64) -> Trouble {
    let text = format!("the store has no stream {stream:016x}");
    trouble("GDD-SD-0025", text, "this is the wrong store, or it lost the stream: see `gdd fsck`", false)
}

/// Somebody else is still at it.
pub(super) fn busy(stream: u64) -> Trouble {
    let text = format!("stream {stream:016x} is still being written");
    trouble("GDD-SD-0026", text, "wait for the job that writes it, then try again", false)
}

/// The daemon stops.
pub(super) fn stopping() -> Trouble {
    let text = "the gdd daemon was stopped".to_owned();
    trouble("GDD-SD-0027", text, "start it again, and run the job again", true)
}

/// The hello is of another version.
pub(super) fn version(expected: u32, found: u32) -> Trouble {
    let text = format!("the driver speaks version {found}, this daemon {expected}");
    trouble("GDD-SD-0028", text, "install driver and daemon of one release", true)
}

/// A message that makes no sense.
pub(super) fn malformed(why: &Malformed) -> Trouble {
    nonsense(&why.to_string())
}

/// As `malformed`, in words.
pub(super) fn nonsense(why: &str) -> Trouble {
    let text = format!("the driver's message makes no sense: {why}");
    trouble("GDD-SD-0029", text, "install driver and daemon of one release, and report this", true)
}

/// Too many sessions.
pub(super) fn crowded(limit: usize) -> Trouble {
    let text = format!("{limit} sessions are connected already");
    trouble("GDD-SD-0030", text, "use fewer devices at once, or raise the limit of sessions", true)
}
