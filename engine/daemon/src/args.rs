//! What was typed: the command line, its environment, and its help.

mod bench;
mod fsck;
mod init;
mod offsite;
mod rebuild;
mod reconcile;
mod rehydrate;
mod scrub;
mod status;
mod tune;
mod vacuum;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gdd_engine::ingest::PutOptions;
use gdd_engine::ingest::lineage::lineage_of;
use gdd_engine::options::{Options, Rewriting};
use gdd_uring::probe::Mode;

use crate::config::{self, Config, Net, NetDomain};
use crate::size;
pub use bench::{
    Bench, BenchIngest, BenchIo, BenchRecall, BenchReport, BenchStages, IngestPart, RecallPart, Recording,
    Scenario,
};
pub use fsck::Fsck;
pub use init::Init;
pub use offsite::{Copy, Export, Import, Which};
pub use rebuild::RebuildIndex;
pub use reconcile::Reconcile;
pub use rehydrate::Rehydrate;
pub use scrub::Scrub;
pub use status::Status;
pub use tune::Tune;
pub use vacuum::Vacuum;

/// The store when neither `--store` nor `GDD_STORE` names one.
pub const STORE_DEFAULT: &str = "/var/lib/gdd";

/// Version, commit and the format that this program reads and writes.
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("GDD_COMMIT"), ", store formats 1 and 2)");
const _: () =
    assert!(gdd_engine::format::superblock::VERSION_SLICES == 2, "VERSION says which formats are known");

const AFTER_HELP: &str = "\
A first tour:
  gdd init /srv/store                       make an empty store
  export GDD_STORE=/srv/store
  gdd put etc-monday /etc                   store a directory, as a tar stream
  pg_dump shop | gdd put shop-monday        or any stream
  gdd ls                                    what is there
  gdd get etc-monday | tar -x -C /restore   give it back, byte for byte
  gdd get shop-monday -o shop.sql
  gdd fsck                                  read and verify every chunk

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 damage found, 4 store busy or locked, 5 incompatible version;
130 and 143 after SIGINT and SIGTERM, 141 when the reader of standard output has gone; gdd tune has 10 and 11, too.
With --json, standard output ends with exactly one JSON object, also for an error: {\"error\": ..., \"code\": ...}.
GDD_LOG sets what is logged to standard error, for example GDD_LOG=debug.";

/// Deduplicating backup storage: every chunk of data is stored once, whichever stream brings it.
#[derive(Debug, Parser)]
#[command(name = "gdd", version = VERSION, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options for every command")]
pub struct Common {
    /// The store's directory
    #[arg(long, global = true, value_name = "DIR", env = "GDD_STORE")]
    store: Option<PathBuf>,
    /// End with exactly one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Engine threads [default: one per usable core]
    #[arg(long, global = true, value_name = "N", value_parser = workers)]
    workers: Option<usize>,
    /// Memory that caches and buffers may take together, e.g. 512m [default: 1g]
    #[arg(long, global = true, value_name = "SIZE", value_parser = size::parse)]
    memory: Option<u64>,
    /// Percent of what a stream brings that may be stored again, so that it is restored with fewer seeks; a daemon that
    /// serves the store goes by its own setting [default: 0]
    #[arg(long, global = true, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    rewrite: Option<u8>,
    /// How to reach the disk; auto tests the directory and takes the best that works [default: auto]
    #[arg(long, global = true, value_enum, value_name = "MODE")]
    io: Option<IoMode>,
    /// The daemon's socket [default: /run/gdd/gdd.sock]
    #[arg(long, global = true, value_name = "PATH", env = "GDD_SOCKET")]
    socket: Option<PathBuf>,
    /// Log more to standard error; twice for debugging
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Common {
    /// The store's directory.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(|| STORE_DEFAULT.into())
    }

    /// The store's directory, if the user named one.
    #[must_use]
    pub fn store_named(&self) -> Option<PathBuf> {
        self.store.clone()
    }

    /// The daemon's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| config::SOCKET_DEFAULT.into())
    }

    /// What was typed, or stands in the environment, wins over the file.
    pub fn override_in(&self, config: &mut Config) {
        let set = |to: &mut PathBuf, from: &Option<PathBuf>| {
            if let Some(path) = from {
                to.clone_from(path);
            }
        };
        set(&mut config.store, &self.store);
        set(&mut config.socket, &self.socket);
        config.workers = self.workers.or(config.workers);
        config.memory = self.memory.map_or(config.memory, config::Memory);
        config.rewrite = self.rewrite.unwrap_or(config.rewrite);
        config.io = self.io.unwrap_or(config.io);
        if self.verbose > 0 {
            config.log_level = "debug".to_owned();
        }
    }

    /// How stores are opened.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            workers: self.workers,
            memory_budget: self.memory.unwrap_or(1 << 30),
            io_mode: self.io.unwrap_or(IoMode::Auto).into(),
            rewriting: Rewriting::percent(self.rewrite.unwrap_or(0)),
            ..Options::default()
        }
    }
}

/// How to reach the disk.
#[derive(Clone, Copy, Debug, serde::Deserialize, PartialEq, Eq, serde::Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum IoMode {
    /// The best that works here
    Auto,
    /// io_uring with direct I/O, or an error
    Uring,
    /// pread and pwrite, direct where possible
    Pwrite,
    /// pread and pwrite through the page cache
    Buffered,
}

impl From<IoMode> for Mode {
    fn from(mode: IoMode) -> Self {
        match mode {
            IoMode::Auto => Self::Auto,
            IoMode::Uring => Self::Uring,
            IoMode::Pwrite => Self::Pwrite,
            IoMode::Buffered => Self::Buffered,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon on a store
    Serve(Serve),
    /// Show how the daemon is; exit code 4 when none answers
    Status(Status),
    /// Make an empty store
    Init(Init),
    /// Store a stream: a file, a directory (as tar), or standard input
    Put(Put),
    /// Give a stream back, byte for byte
    Get(Get),
    /// List the streams
    Ls,
    /// Forget a stream
    ///
    /// Its name is free at once. Its chunks stay until gdd vacuum finds that no other stream needs them.
    Rm {
        /// The stream's name
        name: String,
    },
    /// Show what the store holds and how it works
    Stats,
    /// Check the store, changing nothing; exit code 3 when damage is found
    Fsck(Fsck),
    /// Read and check every chunk, beside whatever else goes on; exit code 3 when damage is found
    Scrub(Scrub),
    /// Free what no stream needs, beside whatever else goes on
    Vacuum(Vacuum),
    /// Make the index anew from the containers and recipes alone
    ///
    /// The old index, if there is one, is kept beside it as index.old-N until you remove it.
    RebuildIndex(RebuildIndex),
    /// Find streams whose volume or job is gone, and remove them if asked
    Reconcile(Reconcile),
    /// Copy streams to another store; only chunks that it does not have travel
    Copy(Copy),
    /// Write streams to a sealed set: a directory to carry away
    Export(Export),
    /// Check a sealed set, and store what is in it
    Import(Import),
    /// Fetch the files that bextract, or a restore without the plugin, left as references
    Rehydrate(Rehydrate),
    /// Make or check the keys of clients in bothsides mode
    Key(Key),
    /// Measure this machine, beside the ceilings that its device and cores set
    Bench(Bench),
    /// Look at this machine's settings, and say what would suit a store better, and why
    Tune(Tune),
    /// Write the manual pages to a directory
    #[command(hide = true)]
    Man {
        /// Where to write them
        directory: PathBuf,
    },
    /// Print the completions for a shell
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// `gdd serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// The configuration [default: /etc/gdd/gdd.toml, where it exists]
    #[arg(long, value_name = "FILE", env = "GDD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Only check the configuration, and print what is in force
    #[arg(long)]
    pub check: bool,
    /// Refuse to run without direct I/O
    #[arg(long)]
    pub require_direct: bool,
    /// Serve clients of bothsides mode at this address and port, e.g. 0.0.0.0:9205; may be given again
    #[arg(long, value_name = "ADDR:PORT")]
    listen_net: Vec<SocketAddr>,
    /// The key file of those clients, for the domain `default`; see gdd key new
    #[arg(long, value_name = "FILE")]
    net_key: Option<PathBuf>,
}

impl Serve {
    /// What was typed wins over the file.
    pub fn override_in(&self, net: &mut Net) {
        if !self.listen_net.is_empty() {
            net.listen.clone_from(&self.listen_net);
        }
        if let Some(key) = &self.net_key {
            let files = NetDomain {
                key: key.clone(),
                previous: None,
                sees: None,
                rate: None,
                quota: None,
                sessions_max: None,
            };
            net.domains = [("default".to_owned(), files)].into();
        }
    }
}

/// `gdd key`.
#[derive(Args, Debug)]
pub struct Key {
    /// What to do.
    #[command(subcommand)]
    pub action: KeyAction,
}

/// What to do with a key file.
#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// Make a key in a new file; a file that is there is never overwritten
    #[command(after_help = KEY_HELP)]
    New {
        /// The file, which must not exist
        file: PathBuf,
    },
    /// Check a key file, and print the key's id; never the key
    Check {
        /// The file
        file: PathBuf,
    },
}

const KEY_HELP: &str = "\
The daemon and its clients in bacula-fd share a key: without it a connection gets no answer, and what travels is
encrypted. Make it once, and bring the same file to every client by a way that you trust, such as scp:
  gdd key new /etc/gdd/clients.key
  chown gdd: /etc/gdd/clients.key           the daemon's user owns its file, mode 0600; on clients, bacula-fd's user
and in gdd.toml:
  [net]
  listen = [\"0.0.0.0:9205\"]
  [net.domains.site]
  key = \"/etc/gdd/clients.key\"
To exchange a key, make a new one, name the old one as `previous`, restart gdd, bring the new one to the clients, and
take `previous` away when the last has it. Who has the file can read what all its clients have stored.";

/// `gdd put`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gdd put home-monday /home              a directory, as a tar stream with sorted names
  gdd put disk /dev/vg/snapshot          a file or a block device
  pg_dump shop | gdd put shop-monday     standard input
  gdd put again /home --json             see new_bytes and dedup_ratio

A directory is stored with hard links, symbolic links, devices, owners, times and extended attributes. Holes in
files are stored as zeros, which cost next to nothing. Sockets are left out, and so is the store itself. What cannot
be read, vanishes or changes while it is read ends the put: nothing is stored under the name then. Take a snapshot of
what is in use.

A lineage is what the versions of one thing have in common. By default it is the name without the digits at its end
and without what separates a date: disk-7 and disk-2024-05-01 are of lineage disk. The tuner (gdd init --tuner on)
chooses chunk sizes by it; two things that have little in common should not share one.")]
pub struct Put {
    /// A name that no stream has yet
    pub name: String,
    /// A file, a directory, or - for standard input
    #[arg(default_value = "-", value_name = "FILE|DIR|-")]
    pub source: OsString,
    /// What this stream is a version of [default: the name without the digits or date at its end]
    #[arg(long, value_name = "LINEAGE")]
    lineage: Option<String>,
}

impl Put {
    /// What the stream is a version of.
    #[must_use]
    pub fn lineage(&self) -> String {
        self.lineage.clone().unwrap_or_else(|| lineage_of(&self.name).to_owned())
    }

    /// How the stream is stored.
    #[must_use]
    pub fn options(&self) -> PutOptions {
        PutOptions { lineage: Some(self.lineage()), ..PutOptions::default() }
    }
}

/// `gdd get`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gdd get home-monday | tar -x -C /restore    a directory
  gdd get disk -o disk.img                    a file: it appears under its name only when it is whole
  gdd get disk -o /dev/vg/restored            a block device is written in place")]
pub struct Get {
    /// The stream's name
    pub name: String,
    /// Write here instead of to standard output; runs of zeros become holes
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

fn workers(text: &str) -> Result<usize, String> {
    let most = gdd_engine::limits::WORKERS_MAX;
    let wrong = || format!("expected a number from 1 to {most}");
    text.parse().ok().filter(|count| (1..=most).contains(count)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_lineage_is_named_or_made_of_the_name() {
        for (words, expected) in [("gdd put disk-7", "disk"), ("gdd put disk-7 --lineage mine", "mine")] {
            let cli = Cli::try_parse_from(words.split(' ')).unwrap();
            let Command::Put(put) = cli.command else { unreachable!("put was typed") };
            assert_eq!(put.options().lineage.as_deref(), Some(expected));
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for words in [
            "gdd init x --chunk-size 4k/16k",
            "gdd init x --chunk-size 4k/16k/8g",
            "gdd init x --compression zstd:23",
            "gdd init x --compression lz4:1",
            "gdd ls --workers 0",
            "gdd ls --workers 65",
            "gdd ls --memory lots",
            "gdd fsck --level 4",
            "gdd init x --tuner maybe",
        ] {
            assert!(Cli::try_parse_from(words.split(' ')).is_err(), "{words}");
        }
    }
}
