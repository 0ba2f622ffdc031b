//! What was typed after `gdd copy`, `gdd export` and `gdd import`.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

/// `gdd copy`.
#[derive(Args, Debug)]
#[command(after_help = "\
Both stores are directories of this machine. Where a daemon is at work on one of them, it does the copying beside its
jobs, and its user must have access to the other one; a second daemon must be stopped. What is there already under the
same name is left out, if its recipe there can be read; else that is written anew. Whether its chunks are there is asked
with --check: TO answers by its index, which knows of damage that a scrub or a restore has met there. With --scrub
everything in TO is read first; no daemon may be at work then. A copy that was stopped goes on when it is run again; of
what is there, nothing is ever removed or changed. Names, owners and lineages come along; the time of storing is the
copy's.

Streams of storage mode keep their numbers, by which volumes refer to them. So a store that takes copies should have
no volumes of its own, until it replaces the other one: a number that is taken there is refused, and new streams of
storage mode are copied only into a store on which no daemon is at work.

Examples:
  gdd init /mnt/second/store                              once
  gdd copy /srv/store /mnt/second/store                   everything that is not there yet
  gdd copy /srv/store /mnt/second/store --prefix sd/      streams of storage mode only
  gdd copy /mnt/second/store /srv/store --check           bring back what a scrub has found damaged
  gdd copy /srv/store /mnt/second/store --scrub           and find what is damaged first, by reading all of TO")]
pub struct Copy {
    /// The store that has the streams
    pub from: PathBuf,
    /// The store that gets them; gdd init makes one
    pub to: PathBuf,
    /// Which streams.
    #[command(flatten)]
    pub which: Which,
    /// Ask about each chunk of streams that are there already, and send those that are missing or known to be damaged
    #[arg(long)]
    pub check: bool,
    /// Before that, read and check everything that is there, as gdd scrub does; implies --check
    #[arg(long)]
    pub scrub: bool,
}

/// Which streams.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
pub struct Which {
    /// These streams only [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// And those whose name begins so; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub prefix: Vec<String>,
}

impl Which {
    /// Whether the stream called `name` is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.is_all()
            || self.names.iter().any(|wanted| wanted == name)
            || self.prefix.iter().any(|prefix| name.starts_with(prefix))
    }

    /// Whether all are wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.names.is_empty() && self.prefix.is_empty()
    }
}

/// `gdd export`.
#[derive(Args, Debug)]
#[command(after_help = "\
A set is a directory: a small store of its own with the chosen streams and all their chunks, and a list SEAL with the
BLAKE3 of each of its files. It can be carried by whatever carries files, checked with gdd import --check or with
b3sum --check SEAL, and read as it is: gdd --store SET get NAME. Write down the seal that export prints; import
--seal then also tells a set that somebody has exchanged.

Examples:
  gdd export /srv/store /mnt/usb/2026-11                  all streams
  gdd export /srv/store /tmp/set etc-monday etc-tuesday   these
  tar -C /mnt/usb/2026-11 -c . | ssh far 'cat > set.tar'  to tape or elsewhere")]
pub struct Export {
    /// The store that has the streams
    pub from: PathBuf,
    /// The directory of the set, empty or absent
    pub set: PathBuf,
    /// Which streams.
    #[command(flatten)]
    pub which: Which,
}

/// `gdd import`.
#[derive(Args, Debug)]
#[command(after_help = "\
First every file of the set is read and compared with its list; a set that is not whole, or was changed, is refused
before anything of it is stored. Then it is a copy as by gdd copy: what is there already stays as it is.

Examples:
  gdd import /mnt/usb/2026-11 --check                     is it whole?
  gdd import /mnt/usb/2026-11 /srv/store                  store what is missing there
  gdd import /mnt/usb/2026-11 /srv/store etc-monday       this stream only")]
pub struct Import {
    /// The directory of the set
    pub set: PathBuf,
    /// The store that gets the streams
    #[arg(required_unless_present = "check")]
    pub to: Option<PathBuf>,
    /// Which streams.
    #[command(flatten)]
    pub which: Which,
    /// Only check the set
    #[arg(long, conflicts_with = "to")]
    pub check: bool,
    /// Refuse the set unless this is its seal, as export has printed it
    #[arg(long, value_name = "HEX")]
    pub seal: Option<String>,
}
