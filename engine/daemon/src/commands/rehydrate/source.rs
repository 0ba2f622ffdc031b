//! The daemon that has the files: where it is, and one connection to it at a time.
//!
//! # Invariants
//! - A reference to another store than the daemon's is never asked for.
//! - A connection that failed is not used again; the next file gets a new one. Where none can be made, nothing more is
//!   tried.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gdd_client::reference::Reference;
use gdd_client::{ClientError, Fetching, Restore, Settings, dial};
use gdd_plugin_abi::settings::{self, STORAGE_KEYS};
use gdd_wire::{Introduction, Key};

use super::Trouble;
use crate::args;
use crate::failure::{Failure, Result};

/// Where the key is unless told, as the plugin has it.
const KEY_FILE_DEFAULT: &str = "/etc/gdd/site.key";
/// Longest and shortest time to wait for an answer, in seconds, as the plugin has them.
const PATIENCE: std::ops::RangeInclusive<u64> = 1..=3600;

/// See the module.
pub struct Source {
    server: String,
    settings: Settings,
    restore: Option<Restore<TcpStream>>,
    /// Why no connection can be made.
    lost: Option<String>,
}

/// What plugin.toml says that matters here.
#[derive(Debug, Default)]
struct Told {
    server: Option<String>,
    key_file: Option<PathBuf>,
    client: Option<String>,
    patience: Option<Duration>,
}

impl Source {
    /// Connect to the daemon that was typed, or that plugin.toml names. Setting `cancelled` ends every wait.
    ///
    /// # Errors
    /// No daemon is named, its key is not good, or it does not take it.
    pub fn connect(arguments: &args::Rehydrate, cancelled: Arc<AtomicBool>) -> Result<Self> {
        // With both options the file has nothing to say, and need not be readable.
        let told = match (&arguments.server, &arguments.key) {
            (Some(_), Some(_)) => Told::default(),
            _ => Told::read()?,
        };
        let server = arguments.server.clone().or(told.server).ok_or_else(|| {
            let path = settings::FILE_DEFAULT;
            Failure::Usage(format!("no daemon is named; use --server HOST:PORT, or set server in {path}"))
        })?;
        let key_file = arguments.key.clone().or(told.key_file).unwrap_or_else(|| KEY_FILE_DEFAULT.into());
        let key = Key::load(&key_file).map_err(|error| Failure::Failed(error.to_string()))?;
        let name = || rustix::system::uname().nodename().to_string_lossy().chars().take(64).collect();
        let introduction = Introduction {
            client: told.client.unwrap_or_else(name),
            job: "rehydrate".to_owned(),
            program: concat!("gdd ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let mut settings = Settings::new(key, introduction);
        settings.cancelled = cancelled;
        if let Some(patience) = told.patience {
            settings.limits.silence = patience;
            settings.limits.connect = settings.limits.connect.min(patience);
        }
        let mut source = Self { server, settings, restore: None, lost: None };
        source.restore().map_err(|trouble| match trouble {
            Trouble::Local(why) => Failure::Failed(why),
            other => Failure::Failed(other.to_string()),
        })?;
        Ok(source)
    }

    /// Begin to read the file that `reference` names.
    ///
    /// # Errors
    /// It is of another store, or there is no connection.
    pub fn fetch(&mut self, reference: &Reference) -> Result<Fetching<'_, TcpStream>, Trouble> {
        let restore = self.restore()?;
        let store = restore.store().0;
        if store != reference.store {
            let what = format!(
                "expected a reference to the daemon's store {}, found one to {}; name that store's daemon",
                hex(&store),
                hex(&reference.store)
            );
            return Err(Trouble::Local(what));
        }
        let place = &reference.place;
        Ok(restore.fetch(place.stream, place.offset, reference.length)?)
    }

    /// The last file ended with an error after which the connection is of no use.
    pub fn give_up(&mut self) {
        self.restore = None;
    }

    /// End the connection in good order.
    pub fn finish(self) {
        if let Some(restore) = self.restore {
            restore.finish();
        }
    }

    fn restore(&mut self) -> Result<&mut Restore<TcpStream>, Trouble> {
        if let Some(why) = &self.lost {
            return Err(Trouble::Local(format!("not tried: {why}")));
        }
        let restore =
            match self.restore.take() {
                Some(restore) => restore,
                None => self.dial().inspect_err(|error| self.lost = Some(self.of_server(error))).map_err(
                    |error| match error {
                        ClientError::Cancelled => Trouble::Client(error),
                        error => Trouble::Local(self.of_server(&error)),
                    },
                )?,
            };
        Ok(self.restore.insert(restore))
    }

    fn dial(&self) -> Result<Restore<TcpStream>, ClientError> {
        let limits = &self.settings.limits;
        Restore::begin(dial(&self.server, limits.connect, limits.silence)?, &self.settings)
    }

    fn of_server(&self, error: &ClientError) -> String {
        match error {
            ClientError::Unreachable { .. } => error.to_string(),
            _ => format!("{}: {error}", self.server),
        }
    }
}

impl Told {
    fn read() -> Result<Self> {
        let wrong = |path: &Path, what: &str| {
            let remedy = "correct the file, or let GDD_PLUGIN_CONFIG name another one";
            Failure::Failed(format!("{}: {what}; {remedy}", path.display()))
        };
        let (path, text) = settings::read().map_err(|(path, what)| wrong(&path, &what))?;
        let mut told = Self::default();
        settings::each(&text, &STORAGE_KEYS, |key, value| told.set(key, value))
            .map_err(|what| wrong(&path, &what))?;
        Ok(told)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "server" => self.server = Some(value.to_owned()),
            "key_file" => self.key_file = Some(value.into()),
            "client" => self.client = Some(value.to_owned()),
            "zero_read" => {} // Of backups.
            "patience" => {
                let seconds = value.parse().ok().filter(|seconds| PATIENCE.contains(seconds));
                let seconds = seconds.ok_or("expected patience of 1 to 3600 seconds")?;
                self.patience = Some(Duration::from_secs(seconds));
            }
            _ => return Err(format!("expected a known option, found {key:?}")),
        }
        Ok(())
    }
}

/// A store's name for people.
pub fn hex(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
