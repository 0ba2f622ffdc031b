//! The daemon's configuration: a file, overridden by what was typed. A wrong key is refused with its file and line.

#[cfg(test)]
mod unit;
mod upkeep;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gdd_daemon::net::{Rules, Sees};
use gdd_engine::limits::WORKERS_MAX;
use gdd_engine::options::{Options, Rewriting};
use serde::{Deserialize, Serialize};

use crate::args::{Common, IoMode, Serve};
use crate::failure::{Failure, Result};
use crate::{size, users};
pub use upkeep::{Scrub, Vacuum};

/// Where the file is unless `--config` or `GDD_CONFIG` say otherwise.
pub const CONFIG_DEFAULT: &str = "/etc/gdd/gdd.toml";
/// Where the daemon listens.
pub const SOCKET_DEFAULT: &str = "/run/gdd/gdd.sock";

/// Bytes a second at least: with less, a single message may take longer than a client's patience.
const RATE_MIN: u64 = 1 << 20;

/// Seconds of `stop_limit` at most: the unit's TimeoutStopSec is longer, with time for cutting off and a clean close.
const STOP_LIMIT_MAX: u64 = 60;

/// Every key with its default.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The store's directory.
    pub store: PathBuf,
    /// Where the daemon listens for the command line; beside it, with `.plugin` behind its name, for the plugins.
    pub socket: PathBuf,
    /// Who may use the sockets, besides root and the daemon's own user: names or numbers.
    pub users: Vec<String>,
    /// Engine threads; one per usable core when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Memory of caches and buffers.
    pub memory: Memory,
    /// Of a stream's bytes, so many hundredths at most are stored again to be restored faster.
    pub rewrite: u8,
    /// How to reach the disk.
    pub io: IoMode,
    /// Refuse to run without direct I/O.
    pub require_direct: bool,
    /// What is logged, as `GDD_LOG`.
    pub log_level: String,
    /// How a log line begins.
    pub log_format: LogFormat,
    /// Seconds that requests may take to end when the daemon is stopped.
    pub stop_limit: u64,
    /// Reading and checking what is stored.
    pub scrub: Scrub,
    /// Freeing what no stream needs.
    pub vacuum: Vacuum,
    /// Clients of bothsides mode.
    pub net: Net,
    /// What monitoring may read over HTTP.
    pub metrics: Metrics,
}

/// Where monitoring connects.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Address and port to listen at; none: nobody can connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

/// Where clients of bothsides mode connect, and with which keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Net {
    /// Addresses and ports to listen at; none: nobody can connect.
    pub listen: Vec<SocketAddr>,
    /// Sessions at once.
    pub sessions_max: usize,
    /// Seconds after which a client that says nothing is ended.
    pub silence_max: u64,
    /// Who may connect, and what they may know and take.
    pub domains: BTreeMap<String, NetDomain>,
}

/// Clients that may know of each other's data.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NetDomain {
    /// The key that clients should have, made by `gdd key new`.
    pub key: PathBuf,
    /// The one before, while some still have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<PathBuf>,
    /// What they may know; all of the store where the domain is the only one. Of several, each must say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sees: Option<Sees>,
    /// Bytes a second of all their sessions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Memory>,
    /// Bytes that their backups may have, before deduplication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Memory>,
    /// Their sessions at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_max: Option<usize>,
}

impl NetDomain {
    /// As the service takes them. Where nothing says what they see, they are the only ones.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            sees: self.sees.unwrap_or(Sees::Store),
            rate: self.rate.map(|rate| rate.0),
            quota: self.quota.map(|quota| quota.0),
            sessions_max: self.sessions_max,
        }
    }
}

impl Default for Net {
    fn default() -> Self {
        Self { listen: Vec::new(), sessions_max: 256, silence_max: 300, domains: BTreeMap::new() }
    }
}

impl Net {
    /// What makes no sense, if anything.
    fn problem(&self) -> Option<String> {
        let domains = self.domains.len();
        if let Some(name) =
            self.domains.iter().find(|(_, domain)| domain.sees.is_none()).map(|(name, _)| name)
            && domains > 1
        {
            return Some(format!(
                "net.domains.{name}: of several domains each must say what its clients may know: `sees = \"own\"`, \
                 what they have brought themselves, or `sees = \"store\"`, that any piece of data is there"
            ));
        }
        for (name, domain) in &self.domains {
            if let Some(rate) = domain.rate.filter(|rate| rate.0 < RATE_MIN) {
                return Some(format!(
                    "net.domains.{name}.rate: expected {RATE_MIN} or more, found {}",
                    rate.0
                ));
            }
            if domain.quota.is_some_and(|quota| quota.0 == 0) || domain.sessions_max == Some(0) {
                return Some(format!(
                    "net.domains.{name}: a quota or sessions_max of 0 locks its clients out"
                ));
            }
        }
        if domains == 0 && !self.listen.is_empty() {
            return Some("net.listen: a domain with a key is needed, see `gdd key new --help`".to_owned());
        }
        if !(1..=10_000).contains(&self.sessions_max) {
            return Some(format!("net.sessions_max: expected 1 to 10000, found {}", self.sessions_max));
        }
        if !(2..=86_400).contains(&self.silence_max) {
            return Some(format!("net.silence_max: expected 2 to 86400 seconds, found {}", self.silence_max));
        }
        None
    }
}

/// Bytes, written as in `512m`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(pub u64);

impl TryFrom<String> for Memory {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        size::parse(&text).map(Self)
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.0.to_string()
    }
}

/// How a log line begins.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// With the time, unless standard error is the journal, which adds its own.
    Auto,
    /// Without the time.
    Plain,
    /// With the time.
    Timed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: crate::args::STORE_DEFAULT.into(),
            socket: SOCKET_DEFAULT.into(),
            users: Vec::new(),
            workers: None,
            memory: Memory(1 << 30),
            rewrite: 0,
            io: IoMode::Auto,
            require_direct: false,
            log_level: "info".to_owned(),
            log_format: LogFormat::Auto,
            stop_limit: 30,
            scrub: Scrub::default(),
            vacuum: Vacuum::default(),
            net: Net::default(),
            metrics: Metrics::default(),
        }
    }
}

impl Config {
    /// The file's, or the defaults where no file was named and none is there; what was typed wins.
    ///
    /// # Errors
    /// The file cannot be read, or a key or value is wrong: names file, line and key.
    pub fn load(arguments: &Serve, common: &Common) -> Result<Self> {
        let path = arguments.config.clone().unwrap_or_else(|| CONFIG_DEFAULT.into());
        let mut config = match Self::read(&path)? {
            Some(config) => config,
            None if arguments.config.is_none() => Self::default(),
            None => return Err(Failure::Usage(format!("cannot read {}: no such file", path.display()))),
        };
        common.override_in(&mut config);
        config.require_direct |= arguments.require_direct;
        arguments.override_in(&mut config.net);
        config.problem().map_or(Ok(config), |what| {
            Err(Failure::Usage(format!("{what} (in {}, the environment or the flags)", path.display())))
        })
    }

    /// What a file says; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, or a key or value is wrong.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::Usage(format!("cannot read {}: {error}", path.display()))),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            let source = text.lines().nth(line).unwrap_or_default();
            let place = format!("{}:{}", path.display(), line + 1);
            Failure::Usage(format!("{place}: {} in `{}`", error.message().trim_end(), source.trim()))
        })
    }

    /// What makes no sense, if anything.
    fn problem(&self) -> Option<String> {
        for (key, path) in [("store", &self.store), ("socket", &self.socket)] {
            if !path.is_absolute() {
                return Some(format!("{key}: expected an absolute path, found {}", path.display()));
            }
        }
        if let Some(workers) = self.workers.filter(|count| !(1..=WORKERS_MAX).contains(count)) {
            return Some(format!("workers: expected 1 to {WORKERS_MAX}, found {workers}"));
        }
        if self.rewrite > 100 {
            return Some(format!("rewrite: expected 0 to 100 percent, found {}", self.rewrite));
        }
        if self.stop_limit > STOP_LIMIT_MAX {
            return Some(format!(
                "stop_limit: expected 0 to {STOP_LIMIT_MAX} seconds, found {}; systemd kills gdd after the unit's \
                 TimeoutStopSec, which leaves time for a clean close after the longest stop_limit",
                self.stop_limit
            ));
        }
        if tracing_subscriber::EnvFilter::try_new(&self.log_level).is_err() {
            return Some(format!("log_level: expected warn, info or debug, found {}", self.log_level));
        }
        self.uids()
            .err()
            .map(|why| format!("users: {why}"))
            .or_else(|| self.vacuum.problem())
            .or_else(|| self.net.problem())
    }

    /// The numbers of `users`.
    ///
    /// # Errors
    /// There is no such user: says which.
    pub fn uids(&self) -> Result<Vec<u32>, String> {
        self.users.iter().map(|user| users::uid_of(user)).collect()
    }

    /// How the store is opened.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            workers: self.workers,
            memory_budget: self.memory.0,
            io_mode: self.io.into(),
            require_direct: self.require_direct,
            rewriting: Rewriting::percent(self.rewrite),
            ..Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_says_what_the_defaults_are() {
        let example = include_str!("../../../docs/examples/gdd.toml");
        let uncommented: String = example
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = Config::parse(&uncommented, Path::new("example")).unwrap();
        let show = |config: &Config| toml::to_string(config).unwrap();
        assert_eq!(show(&config), show(&Config::default()));
    }

    #[test]
    fn domains_say_what_they_see_and_may_take() {
        let problem = |text: &str| Config::parse(text, Path::new("gdd.toml")).unwrap().problem();
        let two = |rest: &str| {
            format!("[net.domains]\na = {{ key = '/a', sees = 'own' }}\nb = {{ key = '/b'{rest} }}\n")
        };
        assert_eq!(problem("[net.domains]\na = { key = '/a' }\n"), None);
        assert_eq!(problem(&two(", sees = 'store', rate = '2m', quota = '1g', sessions_max = 1")), None);
        for (rest, words) in [
            ("", "net.domains.b: of several domains"),
            (", sees = 'own', rate = '1k'", "net.domains.b.rate"),
            (", sees = 'own', quota = '0'", "locks its clients out"),
            (", sees = 'own', sessions_max = 0", "locks its clients out"),
        ] {
            let problem = problem(&two(rest)).unwrap();
            assert!(problem.contains(words), "{problem}");
        }
        assert!(Config::parse(&two(", sees = 'all'"), Path::new("gdd.toml")).is_err());
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        for (text, words) in [
            ("# one\nstroe = \"/x\"\n", ["gdd.toml:2", "stroe"]),
            ("memory = \"lots\"\n", ["gdd.toml:1", "memory"]),
            ("\n\nio = \"quick\"\n", ["gdd.toml:3", "io"]),
        ] {
            let line = Config::parse(text, Path::new("gdd.toml")).unwrap_err().line();
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
        }
    }
}
