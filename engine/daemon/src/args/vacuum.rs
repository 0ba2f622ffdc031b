//! What was typed after `gdd vacuum`.

use clap::Args;
use gdd_engine::vacuum::VacuumOptions;

use crate::control::Request;
use crate::size;

/// `gdd vacuum`.
#[derive(Args, Debug)]
#[command(after_help = "\
A removed stream leaves chunks behind that no other stream needs. They lie in containers among others that are needed.
The vacuum looks which containers hold many of them, moves what is needed of those elsewhere, checks that it is there,
and frees the containers. The daemon does this by itself, see [vacuum] in gdd.toml; backups and restores go on
meanwhile. What streams or restores that are open now may rely on is freed by a later run.

It stops, and frees nothing, when it cannot read what some stream needs. It can be stopped at any time, and killed:
nothing is lost, and the next run goes on.

--dry-run opens the store for reading only and writes nothing, not even where a crash has left something to recover; it
counts what was committed by then. With a daemon it is the daemon that looks.

Examples:
  gdd vacuum --dry-run            what would be freed, and why not more
  gdd vacuum                      with a daemon at its rate, see gdd.toml; without one as fast as it goes
  gdd vacuum --dead-percent 1     free more, and move more for it

Exit codes: 0 done, 3 something that is needed cannot be read: its container is kept, gdd fsck says more.")]
pub struct Vacuum {
    /// Change nothing; say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Empty a container when more than so many per cent of it are dead
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=99))]
    pub dead_percent: u8,
    /// Bytes a second that are read to be moved, e.g. 64m; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub rate: Option<u64>,
}

impl Vacuum {
    /// As the engine takes it.
    #[must_use]
    pub fn options(&self) -> VacuumOptions {
        let dead_share = f64::from(self.dead_percent) / 100.0;
        VacuumOptions { dead_share, rate: self.rate, dry_run: self.dry_run, broken_only: false }
    }

    /// As a daemon is asked.
    #[must_use]
    pub fn request(&self) -> Request {
        let Self { dry_run, dead_percent, rate } = *self;
        Request::Vacuum { dry_run, dead_percent, rate }
    }
}
