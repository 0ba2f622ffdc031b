//! Which streams of storage mode there are: under which name each is in the store, and which are still being written.
//!
//! A stream is named `sd/VOLUME/STREAM`, both in hex, and owned by its volume. Its number comes from the store's ids
//! for recipes, which are never given twice.
//!
//! # Invariants
//! - A stream that was left by a session that died is not told to be absent while what it left is still being saved.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gdd_engine::error::Result;
use gdd_engine::format::recipe::Owner;
use gdd_engine::index::RecipeState;
use gdd_engine::store::Store;

/// Longest wait for a session that ends; less than a driver waits for an answer.
const WAIT_MAX: Duration = Duration::from_secs(20);

struct Entry {
    name: String,
    /// By which session.
    writer: Option<u64>,
}

/// What is known of a stream.
pub(super) enum Found {
    /// It is whole, under this name.
    Named(String),
    /// It is being written.
    Busy,
    /// There is none.
    Absent,
}

/// See the module.
pub(super) struct Catalog {
    entries: Mutex<HashMap<u64, Entry>>,
    changed: Condvar,
}

impl Catalog {
    /// Of the streams in `store`.
    pub(super) fn new(store: &Store) -> Result<Self> {
        let rows = store.list()?.into_iter().filter(|row| row.owner == Owner::Volume);
        let entries = rows
            .filter_map(|row| {
                let (volume, stream) = row.name.strip_prefix("sd/")?.split_once('/')?;
                let id = u64::from_str_radix(stream, 16).ok().filter(|_| volume.len() == 32)?;
                Some((id, Entry { name: row.name, writer: None }))
            })
            .collect();
        Ok(Self { entries: Mutex::new(entries), changed: Condvar::new() })
    }

    /// A new stream of `volume`, written by `session`: its number and name.
    pub(super) fn begin(&self, store: &Store, volume: [u8; 16], session: u64) -> (u64, String) {
        let stream = store.core().next_recipe().0;
        let name = format!("{}{stream:016x}", prefix(volume));
        self.lock().insert(stream, Entry { name: name.clone(), writer: Some(session) });
        (stream, name)
    }

    /// It is no longer written; `named` tells whether anything is left of it.
    pub(super) fn end(&self, stream: u64, named: bool) {
        let mut entries = self.lock();
        match entries.get_mut(&stream) {
            Some(entry) if named => entry.writer = None,
            _ => drop(entries.remove(&stream)),
        }
        self.changed.notify_all();
    }

    /// Looks a stream up for `session`; waits a while for others that write it.
    pub(super) fn find(&self, stream: u64, session: u64) -> Found {
        let until = Instant::now() + WAIT_MAX;
        let mut entries = self.lock();
        loop {
            match entries.get(&stream) {
                None => return Found::Absent,
                Some(Entry { name, writer: None }) => return Found::Named(name.clone()),
                Some(Entry { writer, .. }) if *writer == Some(session) => return Found::Busy,
                Some(_) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Found::Busy;
                    }
                    entries =
                        self.changed.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// The streams of `volume`.
    pub(super) fn of_volume(&self, volume: [u8; 16]) -> Vec<u64> {
        let prefix = prefix(volume);
        let entries = self.lock();
        entries.iter().filter(|(_, entry)| entry.name.starts_with(&prefix)).map(|(id, _)| *id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the stream called `name`, if it can be restored.
pub(super) fn length(store: &Store, name: &str) -> Result<Option<u64>> {
    let row = store.core().index.recipe(name)?;
    Ok(row.filter(|row| row.state == RecipeState::Live).map(|row| row.logical_bytes))
}

fn prefix(volume: [u8; 16]) -> String {
    let hex: String = volume.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sd/{hex}/")
}
