//! What was typed after `gdd tune`.

use std::path::PathBuf;

use clap::Args;

use crate::size;

/// `gdd tune`.
#[derive(Args, Debug)]
#[command(after_help = "\
What it prints is a shell script: prose in comments, and one line for each thing that may be changed. Read it, remove
what you do not want, and run the rest as root:
  gdd tune > tune.sh; less tune.sh; sh tune.sh
It changes nothing itself, and ordinary users may run it; what they may not see is named at the end.

With --measure it tries each piece of advice here: it changes the setting, transfers with gdd's own I/O on the store's
disk, puts it back, and again in turn (as found, changed, changed, as found), and says what that gained, or that it
gained nothing. Commands that gained nothing are printed as comments. It needs root, some minutes, and a machine
without other work: no backup may run. Ended by a signal it puts everything back first. Killed, it leaves
/run/gdd-tune.undo, and
  gdd tune --restore
puts back what that says.

Examples:
  gdd tune --store /srv/gdd --json                 for programs
  gdd tune --measure                               what is advised, tried on this machine
  gdd tune --measure --only disk.scheduler,memory.thp
  gdd tune --capture server7                       the files that it read, to be looked at elsewhere:
  gdd tune --root server7

Exit codes: 0 nothing to do, or only hints; 10 there is advice; 11 what is stored is in danger. After --measure: 10 when
something gained. As with every command: 1 failed, 2 wrong usage, 4 another measurement is running.")]
pub struct Tune {
    /// The daemon's configuration [default: /etc/gdd/gdd.toml below --root, where it exists]
    #[arg(long, value_name = "FILE", env = "GDD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Look at a captured tree instead of this machine; with --measure, a rehearsal that changes the tree's files
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Copy every file that is read to a directory, which must not exist
    #[arg(long, value_name = "DIR", conflicts_with_all = ["measure", "restore"])]
    pub capture: Option<PathBuf>,
    /// Try the advice here, and say what it gains
    #[arg(long, conflicts_with = "restore")]
    pub measure: bool,
    /// Only these rules; with --measure they are tried also where the setting is fine
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Rounds of four measurements; with fewer than 8 nothing can be called a gain
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub rounds: u64,
    /// Bytes of each transfer; six times that must be free
    #[arg(long, value_name = "SIZE", default_value = "256m", value_parser = transfer)]
    pub bytes: u64,
    /// Put back the settings that a killed measurement left changed
    #[arg(long)]
    pub restore: bool,
}

/// A whole number of blocks, and not nothing.
fn transfer(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text)?;
    if (1 << 20..=1 << 40).contains(&bytes) {
        Ok(bytes >> 20 << 20)
    } else {
        Err(format!("{text}: expected 1m to 1t"))
    }
}
