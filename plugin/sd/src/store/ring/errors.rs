//! What the way to the daemon says when it fails, by stable id.

use std::io;
use std::path::Path;

use gdd_link::limits::VERSION;
use gdd_link::{ERR_STALE, Malformed, Trouble};
use gdd_ring::{Refused, WaitError};

use crate::store::{StoreError, StreamId};

const RUN_AGAIN: &str =
    "look at the daemon with `gdd status` and `journalctl -u gdd`, then run the job again";

/// Ids that a daemon answers with; others are of a newer one.
const DAEMON_IDS: [&str; 15] = [
    ERR_STALE,
    "GDD-SD-0021",
    "GDD-SD-0022",
    "GDD-SD-0023",
    "GDD-SD-0024",
    "GDD-SD-0025",
    "GDD-SD-0026",
    "GDD-SD-0027",
    "GDD-SD-0028",
    "GDD-SD-0029",
    "GDD-SD-0030",
    "GDD-SD-0031",
    "GDD-SD-0032",
    "GDD-SD-0033",
    "GDD-SD-0034",
];

fn error(id: &'static str, text: String, remedy: &str, lost: bool) -> StoreError {
    StoreError { id, text, remedy: remedy.to_owned(), lost }
}

/// Nobody to talk to at the socket.
pub(super) fn unreachable(socket: &Path, why: &Refused) -> StoreError {
    let text = format!("no gdd daemon at {}: {why}", socket.display());
    match why {
        Refused::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            let remedy = "let bacula-sd's user open the socket: `namei -l` shows the owner and mode of every folder \
                          on the way";
            error("GDD-SD-0004", text, remedy, true)
        }
        Refused::User { .. } => {
            let remedy = "name the daemon's user with user = \"...\" in plugin.toml, if this is your daemon";
            error("GDD-SD-0005", text, remedy, true)
        }
        _ => {
            let remedy = "start it with `systemctl start gdd`, or correct `socket` in plugin.toml";
            error("GDD-SD-0003", text, remedy, true)
        }
    }
}

/// The channel that the daemon offered was refused.
pub(super) fn no_channel(why: &Refused) -> StoreError {
    let text = format!("the daemon's shared memory was refused: {why}");
    error("GDD-SD-0006", text, "see that limits let bacula-sd map 128 MiB (MemoryMax, ulimit -v)", true)
}

/// The daemon is gone, or broke the rules.
pub(super) fn lost(why: &WaitError) -> StoreError {
    error("GDD-SD-0007", format!("the connection to the gdd daemon is lost: {why}"), RUN_AGAIN, true)
}

/// The daemon lives and does nothing.
pub(super) fn silent(seconds: u64) -> StoreError {
    error("GDD-SD-0008", format!("the gdd daemon was silent for {seconds} s"), RUN_AGAIN, true)
}

/// The daemon said something else than was asked.
pub(super) fn nonsense(why: &str) -> StoreError {
    let text = format!("the gdd daemon's answer makes no sense: {why}");
    error("GDD-SD-0009", text, "install driver and daemon of one release, and report this", true)
}

/// The daemon is of another release; it says the same of us.
pub(super) fn version(found: u32) -> StoreError {
    let text = format!("the gdd daemon speaks version {found}, this driver {VERSION}");
    error("GDD-SD-0028", text, "install driver and daemon of one release", true)
}

/// As `nonsense`, for bytes.
pub(super) fn malformed(why: Malformed) -> StoreError {
    nonsense(&why.to_string())
}

/// A stream of no connection.
pub(super) fn unknown(stream: StreamId) -> StoreError {
    error("GDD-SD-0010", format!("stream {stream} is not open here"), "report this: a mistake of gdd", false)
}

/// A recall ended early.
pub(super) fn short(stream: StreamId, offset: u64) -> StoreError {
    let remedy = "this is the wrong store, or it lost data: run `gdd fsck`. Nothing was made up in its place";
    error("GDD-SD-0011", format!("stream {stream} ends at byte {offset}, more was asked for"), remedy, false)
}

/// What the daemon answered.
pub(super) fn answered(trouble: Trouble) -> StoreError {
    let Trouble { id, text, remedy, fatal } = trouble;
    match DAEMON_IDS.into_iter().find(|known| *known == id) {
        Some(id) => StoreError { id, text, remedy, lost: fatal },
        None => StoreError { id: "GDD-SD-0019", text: format!("[{id}] {text}"), remedy, lost: fatal },
    }
}
