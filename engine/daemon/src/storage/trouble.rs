//! What the daemon answers when it does not do what it was asked, by stable id.

use std::io::ErrorKind;

use gdd_engine::error::Error;
use gdd_link::{ERR_STALE, Malformed, Trouble};
use gdd_ring::Refused;

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
    let (id, remedy) = match kind_of(error) {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ("GDD-SD-0022", "free space in the store's file system, restart gdd, then run the job again")
        }
        ErrorKind::ReadOnlyFilesystem => {
            ("GDD-SD-0023", "mount the store's file system for writing, restart gdd, then run the job again")
        }
        _ => ("GDD-SD-0021", "see `journalctl -u gdd`, restart gdd, then run the job again"),
    };
    trouble(id, format!("the store failed: {error}"), remedy, true)
}

/// What the system said of the store's file system. Of a failure that came from the index, or long before this call,
/// only its text is left, in which the C library's words for the error stand (strerror(3), never translated here).
fn kind_of(error: &Error) -> ErrorKind {
    if let Error::Io { source, .. } = error {
        return source.kind();
    }
    let text = error.to_string();
    let said = [
        ("No space left on device", ErrorKind::StorageFull),
        ("Disk quota exceeded", ErrorKind::QuotaExceeded),
        ("Read-only file system", ErrorKind::ReadOnlyFilesystem),
    ];
    said.into_iter().find(|(words, _)| text.contains(words)).map_or(ErrorKind::Other, |(_, kind)| kind)
}

/// A recall failed: the session goes on.
pub(super) fn recall(error: &Error) -> Trouble {
    if let Error::Corrupt { .. } | Error::ChunkLost { .. } = error {
        let text = format!("the store cannot give the stream back: {error}");
        let remedy = "`gdd fsck` shows what is damaged; restore what is missing from another job. Nothing was made up \
                      in its place";
        return trouble("GDD-SD-0033", text, remedy, false);
    }
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

/// The hello is for something that this daemon does not do.
pub(super) fn purpose(expected: u32, found: u32) -> Trouble {
    let text = format!("the driver connects for purpose {found}, this daemon serves {expected}");
    Trouble { text, ..version(0, 0) }
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
    trouble("GDD-SD-0030", text, "use fewer devices at once; restart a bacula-sd that left some open", true)
}

/// Too many streams on one connection; it goes on with those that it has. Their jobs do not: Bacula ends the volume
/// after a failed write, and refuses the next block of every other job on the device.
pub(super) fn too_many_streams(limit: usize) -> Trouble {
    let text = format!("{limit} jobs write through this device already");
    let remedy = "lower Maximum Concurrent Jobs of the device, or use a second one, then run the job again";
    trouble("GDD-SD-0034", text, remedy, false)
}

/// The shared memory of a session cannot be made.
pub(super) fn no_channel(why: &Refused) -> Trouble {
    let text = format!("the gdd daemon cannot make shared memory: {why}");
    let remedy = "let gdd call memfd_create and mmap (SystemCallFilter, seccomp), and raise its MemoryMax and \
                  LimitNOFILE, then run the job again";
    trouble("GDD-SD-0031", text, remedy, true)
}

/// The user may not connect.
pub(super) fn stranger(uid: u32) -> Trouble {
    let text = format!("the gdd daemon does not serve user {uid}, as which bacula-sd runs");
    let remedy = "name it in `users` of gdd.toml, restart gdd, then run the job again";
    trouble("GDD-SD-0032", text, remedy, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_is_known_by_its_kind_and_later_by_its_words() {
        let system = |code| std::io::Error::from_raw_os_error(code);
        let path = std::path::Path::new("store/data");
        for (code, id) in [(28, "GDD-SD-0022"), (122, "GDD-SD-0022"), (30, "GDD-SD-0023"), (5, "GDD-SD-0021")]
        {
            let first = Error::io("write", path)(system(code));
            let later = Error::Poisoned(first.to_string());
            let index = Error::Index(format!("write: IO error: {}", system(code)));
            for error in [first, later, index] {
                let told = store(&error);
                assert!(told.id == id && told.fatal && !recall(&error).fatal, "{told}");
            }
        }
    }

    #[test]
    fn damage_is_no_trouble_of_the_file_system() {
        let damaged = Error::corrupt(std::path::Path::new("c"), 1, "checksum", "1", "2");
        for error in [damaged, Error::ChunkLost { hash: "ab".into(), why: "missing".into() }] {
            let told = recall(&error);
            assert!(told.id == "GDD-SD-0033" && !told.fatal && told.remedy.contains("gdd fsck"), "{told}");
        }
    }
}
