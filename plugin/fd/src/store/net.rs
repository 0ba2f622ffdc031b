//! The product's store: the daemon that the settings name, over one connection for each job.
//!
//! It only translates: gdd-client has the connection, its bounds and its errors, the plugin has the files. What it adds
//! is a count of its own, so that the plugin's totals, these and the daemon's must all agree.

use std::net::TcpStream;
use std::sync::Arc;

use gdd_client::{Backup, ClientError, Fetching, Limits, Restore, Settings, dial};
use gdd_wire::limits::NAME_SIZE_MAX;
use gdd_wire::{Introduction, Key, WireError};

use crate::config::Config;
use crate::error::{Kind, StoreError};
use crate::reference::{Place, Reference, StoreId};
use crate::store::{About, Costs, Fetch, Purpose, Put, Receipt, Session, Store, Totals};

/// A begin and a commit may take so many times the patience: they need the daemon's disk.
const LONG: u32 = 10;

/// The way to daemons.
#[derive(Debug)]
pub struct Net;

impl Store for Net {
    fn connect(&self, config: &Config, about: &About) -> Result<Box<dyn Session>, StoreError> {
        let server = config.server.as_ref().ok_or_else(|| {
            let text = "there is no way to the server: none is named, set server = \"HOST:PORT\" in \
                        /etc/gdd/plugin.toml or in the plugin string";
            StoreError::new(Kind::Lost, text)
        })?;
        let key = Key::load(&config.key_file)
            .map_err(|error| StoreError::new(Kind::Denied, format!("key_file: {error}")))?;
        let settings = settings(key, config, about);
        let Limits { connect, silence, .. } = settings.limits;
        let of_server = |error: ClientError| {
            let StoreError { kind, text } = store_error(error);
            StoreError::new(kind, format!("server {server}: {text}"))
        };
        let line = dial(server, connect, silence).map_err(store_error)?;
        match about.purpose {
            Purpose::Backup => {
                // Bacula does not tell plugins the name of the file set.
                let job = plain_name(&settings.introduction.job);
                let backup = Backup::begin(line, &settings, job, "").map_err(of_server)?;
                let store = backup.store().0;
                let counted = Counted::default();
                Ok(Box::new(Saving { backup: Some(backup), store, counted }))
            }
            Purpose::Restore => {
                let restore = Restore::begin(line, &settings).map_err(of_server)?;
                Ok(Box::new(Restoring { store: restore.store().0, restore: Some(restore) }))
            }
        }
    }
}

fn settings(key: Key, config: &Config, about: &About) -> Settings {
    let introduction = Introduction {
        client: config.client.clone().unwrap_or_else(host_name),
        job: cut_to(&about.job_name, NAME_SIZE_MAX),
        program: concat!("gdd-fd ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let mut settings = Settings::new(key, introduction);
    settings.limits.silence = config.patience;
    settings.limits.long_silence = config.patience * LONG;
    settings.limits.connect = settings.limits.connect.min(config.patience);
    settings.cancelled = Arc::clone(&about.cancelled);
    settings
}

fn host_name() -> String {
    let name = rustix::system::uname();
    cut_to(&name.nodename().to_string_lossy(), NAME_SIZE_MAX)
}

/// The start of `text` that has `size` bytes at most.
fn cut_to(text: &str, size: usize) -> String {
    let end = (0..=size.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

/// The job's name in Bacula's configuration, of its unique one: without `.2026-01-31_23.59.59_07` at its end.
fn plain_name(unique: &str) -> &str {
    const DATE: &str = ".0000-00-00_00.00.00";
    let matches = |(byte, model): (u8, u8)| if model == b'0' { byte.is_ascii_digit() } else { byte == model };
    let plain = || {
        let (dated, number) = unique.rsplit_once('_')?;
        let (name, date) = dated.split_at_checked(dated.len().checked_sub(DATE.len())?)?;
        let is_number = number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && date.bytes().zip(DATE.bytes()).all(matches)).then_some(name)
    };
    plain().unwrap_or(unique)
}

/// What the job's log should say of it.
fn store_error(error: ClientError) -> StoreError {
    let kind = match &error {
        ClientError::Cancelled => Kind::Cancelled,
        ClientError::Trouble { fatal: true, .. } => Kind::Daemon,
        ClientError::Trouble { fatal: false, .. } => Kind::Withheld,
        ClientError::Damaged { .. } | ClientError::Receipt { .. } => Kind::Damaged,
        ClientError::Wire(
            WireError::Refused
            | WireError::Unverified { .. }
            | WireError::Version { .. }
            | WireError::Store { .. },
        ) => Kind::Denied,
        _ => Kind::Lost,
    };
    StoreError::new(kind, error.to_string())
}

fn wrong_purpose() -> StoreError {
    StoreError::new(Kind::Lost, "expected one purpose of a session, found two; report this as a bug")
}

/// Files that were handed over whole.
#[derive(Default)]
struct Counted {
    files: u64,
    bytes: u64,
    digest: blake3::Hasher,
}

struct Saving {
    /// None after the commit.
    backup: Option<Backup<TcpStream>>,
    store: StoreId,
    counted: Counted,
}

impl Saving {
    fn backup(&mut self) -> Result<&mut Backup<TcpStream>, StoreError> {
        self.backup.as_mut().ok_or_else(|| store_error(ClientError::Over))
    }
}

impl Session for Saving {
    fn store(&self) -> StoreId {
        self.store
    }

    fn put(&mut self) -> Result<Box<dyn Put + '_>, StoreError> {
        self.backup()?.file_start().map_err(store_error)?;
        Ok(Box::new(Putting(self)))
    }

    fn commit(&mut self, _: &Totals) -> Result<Receipt, StoreError> {
        let backup = self.backup.take().ok_or_else(|| store_error(ClientError::Over))?;
        let Counted { files, bytes, digest } = &self.counted;
        let totals = Totals { files: *files, bytes: *bytes, digest: *digest.finalize().as_bytes() };
        let outcome = backup.commit(totals.files, totals.digest).map_err(store_error)?;
        let costs = Costs { wire: outcome.wire_bytes, new: outcome.new_bytes, stored: outcome.stored_bytes };
        Ok(Receipt { totals, costs })
    }

    fn fetch(&mut self, _: &Reference) -> Result<Box<dyn Fetch + '_>, StoreError> {
        Err(wrong_purpose())
    }
}

struct Putting<'a>(&'a mut Saving);

impl Put for Putting<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.backup()?.write(bytes).map_err(store_error)
    }

    fn finish(self: Box<Self>, length: u64, digest: &[u8; 32]) -> Result<Place, StoreError> {
        let place = self.0.backup()?.file_end().map_err(store_error)?;
        if place.length != length {
            let text = format!("expected a file of {length} bytes, {} were sent", place.length);
            return Err(StoreError::new(Kind::Damaged, text));
        }
        let counted = &mut self.0.counted;
        counted.files += 1;
        counted.bytes += length;
        counted.digest.update(&length.to_le_bytes()).update(digest);
        Ok(Place { stream: place.stream, offset: place.offset })
    }
}

struct Restoring {
    /// None in the drop only.
    restore: Option<Restore<TcpStream>>,
    store: StoreId,
}

impl Drop for Restoring {
    fn drop(&mut self) {
        // So that the daemon can tell a restore that is done from one that was lost.
        if let Some(restore) = self.restore.take() {
            restore.finish();
        }
    }
}

impl Session for Restoring {
    fn store(&self) -> StoreId {
        self.store
    }

    fn put(&mut self) -> Result<Box<dyn Put + '_>, StoreError> {
        Err(wrong_purpose())
    }

    fn commit(&mut self, _: &Totals) -> Result<Receipt, StoreError> {
        Err(wrong_purpose())
    }

    fn fetch(&mut self, reference: &Reference) -> Result<Box<dyn Fetch + '_>, StoreError> {
        let Place { stream, offset } = reference.place;
        let restore = self.restore.as_mut().ok_or_else(|| store_error(ClientError::Over))?;
        let fetching = restore.fetch(stream, offset, reference.length).map_err(store_error)?;
        Ok(Box::new(Getting(fetching)))
    }
}

struct Getting<'a>(Fetching<'a, TcpStream>);

impl Fetch for Getting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        self.0.read(buffer).map_err(store_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_unique_name_is_left_out() {
        assert_eq!(plain_name("a.b_c.2026-11-23_20.35.10_03"), "a.b_c");
        assert_eq!(plain_name("x.2026-11-23_20.35.10_1234"), "x");
        for odd in
            ["", "_", "x", "x.2026-11-23_20.35.10_", "x.2026-11-23_20.35_03", "x_03", "\u{e9}\u{e9}_03"]
        {
            assert_eq!(plain_name(odd), odd);
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(cut_to("short", 128), "short");
        assert_eq!(cut_to("ab\u{e9}", 3), "ab");
        assert_eq!(cut_to("ab\u{e9}", 4), "ab\u{e9}");
        assert_eq!(cut_to("", 4), "");
    }
}
