//! What was typed after `gdd scrub`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gdd_engine::scrub::ScrubOptions;

use crate::control::Request;
use crate::{size, span};

/// `gdd scrub`.
#[derive(Args, Debug)]
#[command(after_help = "\
Reads the containers from end to end, those first that were never checked or longest ago, and checks the checksum and
the hash of every chunk. A chunk that cannot be given back counts as unknown from then on: the next backup of the same
data stores it anew, and with that every stream that needs it is whole again. Nothing is changed otherwise.

The daemon does this by itself, see [scrub] in gdd.toml; backups and restores go on meanwhile. When each container was
checked is remembered, so it can be stopped at any time. gdd fsck checks more, index and streams too, but needs the
store for itself.

When something cannot be given back, the streams that need it follow: which job or volume each is of, where in it, and
what brings the data again: the next full backup, or `gdd copy REPLICA STORE --check` where a replica has them.
--report says this alone; --json has each chunk, its place in the stream, and its container.
With --volumes it also names the volumes that refer to those streams, and the files in the damaged stretches: volumes
of storage mode know which bytes of their streams each file has, and volumes that Bacula itself writes hold the
references of bothsides mode.

Examples:
  gdd scrub                       everything, with a daemon at its rate, without one as fast as it goes
  gdd scrub --older-than 7d       leave out what was checked within a week
  gdd scrub --report --json       whom damage that was found concerns
  gdd scrub --report --volumes /srv/bacula        and which files

Exit codes: 0 all is well, 3 damage was found, now or before.")]
pub struct Scrub {
    /// Read nothing; name the streams that damage concerns, which was found before
    #[arg(long, conflicts_with_all = ["rate", "older_than"])]
    pub report: bool,
    /// A folder with volumes of either mode, to name volumes and files; may be given several times
    #[arg(long, value_name = "DIR", requires = "report")]
    pub volumes: Vec<PathBuf>,
    /// Bytes a second that are read, e.g. 32m; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub rate: Option<u64>,
    /// Leave out what was checked within this time, e.g. 12h or 7d
    #[arg(long, value_name = "SPAN", value_parser = older_than)]
    pub older_than: Option<u64>,
}

impl Scrub {
    /// As the engine takes it.
    #[must_use]
    pub fn options(&self) -> ScrubOptions {
        ScrubOptions { rate: self.rate, older_than: Duration::from_secs(self.older_than.unwrap_or(0)) }
    }

    /// As a daemon is asked.
    #[must_use]
    pub fn request(&self) -> Request {
        let older_than = self.older_than.unwrap_or(0);
        Request::Scrub { report: self.report, rate: self.rate, older_than }
    }
}

fn older_than(text: &str) -> Result<u64, String> {
    span::parse(text)?.ok_or_else(|| "a span is needed, such as 7d".to_owned())
}
