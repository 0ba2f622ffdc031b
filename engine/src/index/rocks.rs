//! The index in RocksDB: one column family per kind of row, one synced write batch per commit.
//!
//! # Crash consistency
//! A commit is one record of RocksDB's write-ahead log, synced before [`Index::commit`] returns. A reopen replays the
//! log up to its first invalid record, which can only be one that no commit returned for.
//!
//! # Invariants
//! - After a failed write nothing is answered any more, and nothing is retried or resumed: RocksDB says itself that
//!   the outcome is unknown.
//! - Opened read-only, nothing in the directory is created, changed or removed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rocksdb::{Cache, ColumnFamily, ColumnFamilyDescriptor, DB, ErrorKind, IteratorMode, WriteBatch};

use crate::error::{Error, Result};
use crate::format::{Place, StoreId};
use crate::ids::{ChunkHash, ContainerId, DomainTag};
use crate::suspects;

use super::keys::{Kind, REMEDY, container, meta, suspect};
use super::rocks_options::{self as options, Mode};
use super::{
    Batch, CheckedRow, ChunkEntry, ContainerRow, Holding, Index, IndexStatistics, MetaKey, RecipeRow,
};

/// See the module.
pub struct RocksIndex {
    db: DB,
    path: PathBuf,
    cache: Cache,
    mode: Mode,
    poison: OnceLock<String>,
    counters: Counters,
}

/// Since the index was opened. Only ever added to; read for statistics, so `Relaxed` will do.
#[derive(Debug, Default)]
struct Counters {
    lookups: AtomicU64,
    hits: AtomicU64,
    commits: AtomicU64,
    chunks_committed: AtomicU64,
}

impl std::fmt::Debug for RocksIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksIndex")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl RocksIndex {
    /// Make an empty index for `store` in the directory `path`, durable on return. `cache_bytes` bounds the block
    /// cache.
    ///
    /// # Errors
    /// There is an index already, or the directory cannot be written.
    pub fn create(path: &Path, store: StoreId, cache_bytes: usize) -> Result<Self> {
        let index = Self::open_as(Mode::Create, path, cache_bytes)?;
        let meta = vec![(MetaKey::Store, store.0.to_vec()), suspects::mark(false)];
        index.commit(Batch { meta, ..Batch::default() })?;
        Ok(index)
    }

    /// Open the index of `store` for reading and writing; replays its log. `cache_bytes` bounds the block cache.
    ///
    /// # Errors
    /// It is missing, damaged, or another store's: the message names `gdd rebuild-index`.
    pub fn open(path: &Path, store: StoreId, cache_bytes: usize) -> Result<Self> {
        Self::open_as(Mode::ReadWrite, path, cache_bytes)?.of_store(store)
    }

    /// Open the index of `store` and write nothing to its directory.
    ///
    /// # Errors
    /// As [`RocksIndex::open`].
    pub fn open_read_only(path: &Path, store: StoreId, cache_bytes: usize) -> Result<Self> {
        Self::open_as(Mode::ReadOnly, path, cache_bytes)?.of_store(store)
    }

    fn open_as(mode: Mode, path: &Path, cache_bytes: usize) -> Result<Self> {
        if mode != Mode::Create && !path.join("CURRENT").exists() {
            // RocksDB would make the directory even when it is opened for reading.
            let path = path.display();
            return Err(Error::Index(format!("there is none in {path}; nothing stored is lost: {REMEDY}")));
        }
        let cache = options::cache(cache_bytes);
        let (mut database, mut tables) =
            (options::database(mode, cache_bytes), options::tables(&cache, cache_bytes));
        if mode != Mode::Create {
            Self::add_tables(mode, path, &mut database, &mut tables)?;
        }
        let opened = if mode == Mode::ReadOnly {
            DB::open_cf_descriptors_read_only(&database, path, tables, false)
        } else {
            DB::open_cf_descriptors(&database, path, tables)
        };
        let db = opened.map_err(|error| open_error(path, &error))?;
        let (poison, counters) = (OnceLock::new(), Counters::default());
        Ok(Self { db, path: path.to_owned(), cache, mode, poison, counters })
    }

    /// A store of before has no table of checks: a writer makes it, a reader does without. Any other that is missing is
    /// damage, and RocksDB says so.
    fn add_tables(
        mode: Mode,
        path: &Path,
        database: &mut rocksdb::Options,
        tables: &mut Vec<ColumnFamilyDescriptor>,
    ) -> Result<()> {
        let there = DB::list_cf(database, path).map_err(|error| open_error(path, &error))?;
        let newer = Kind::Checked.name();
        if there.iter().any(|name| name == newer) {
            return Ok(());
        }
        let known = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Checked);
        let others = known.map(Kind::name).all(|name| there.iter().any(|one| one == name));
        match mode {
            Mode::ReadOnly => tables.retain(|table| table.name() != newer),
            _ => database.create_missing_column_families(others),
        }
        Ok(())
    }

    fn of_store(self, store: StoreId) -> Result<Self> {
        let found = self.meta(MetaKey::Store)?.unwrap_or_default();
        if found == store.0 {
            return Ok(self);
        }
        let found = crate::format::Hex(&found);
        let path = self.path.display();
        Err(Error::Index(format!("{path} belongs to store {found}, not {store}; {REMEDY}")))
    }

    fn table(&self, kind: Kind) -> &ColumnFamily {
        self.db.cf_handle(kind.name()).expect("the index is opened with every table")
    }

    fn place(&self) -> Place<'_> {
        Place::new(&self.path, 0)
    }

    fn check(&self) -> Result<()> {
        self.poison.get().map_or(Ok(()), |why| Err(Error::Poisoned(why.clone())))
    }

    fn failed(&self, action: &str, error: &rocksdb::Error) -> Error {
        let remedy =
            if error.kind() == ErrorKind::Corruption { format!("; {REMEDY}") } else { String::new() };
        Error::Index(format!("{action} {}: {error}{remedy}", self.path.display()))
    }

    fn get<T>(&self, kind: Kind, key: &[u8], decode: impl FnOnce(&[u8]) -> Result<T>) -> Result<Option<T>> {
        self.check()?;
        let row = self.db.get_pinned_cf_opt(self.table(kind), key, &options::lookup());
        row.map_err(|error| self.failed("read", &error))?.map(|row| decode(&row)).transpose()
    }

    fn scan(&self, kind: Kind, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        self.check()?;
        for row in self.db.iterator_cf_opt(self.table(kind), options::scan(), IteratorMode::Start) {
            let (key, value) = row.map_err(|error| self.failed("read", &error))?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn encode(&self, batch: &Batch) -> WriteBatch {
        let [chunks, containers, recipes, metas, holdings, suspects, checked] =
            Kind::ALL.map(|kind| self.table(kind));
        let mut rows = WriteBatch::default();
        batch.removed_chunks.iter().for_each(|hash| rows.delete_cf(chunks, hash.0));
        for id in &batch.removed_containers {
            rows.delete_cf(containers, container::key(*id));
            rows.delete_cf(checked, container::key(*id));
        }
        batch.removed_recipes.iter().for_each(|name| rows.delete_cf(recipes, name));
        batch.removed_suspects.iter().for_each(|hash| rows.delete_cf(suspects, hash.0));
        batch.suspects.iter().for_each(|hash| rows.put_cf(suspects, hash.0, suspect::encode(hash)));
        batch.chunks.iter().for_each(|(hash, entry)| rows.put_cf(chunks, hash.0, entry.encode(hash)));
        batch
            .containers
            .iter()
            .for_each(|(id, row)| rows.put_cf(containers, container::key(*id), row.encode(*id)));
        batch.checked.iter().for_each(|(id, row)| rows.put_cf(checked, container::key(*id), row.encode(*id)));
        batch.recipes.iter().for_each(|row| rows.put_cf(recipes, &row.name, row.encode()));
        batch.meta.iter().for_each(|(key, value)| rows.put_cf(metas, key.key(), meta::encode(*key, value)));
        batch.holdings.iter().for_each(|row| rows.put_cf(holdings, row.key(), row.encode()));
        rows
    }

    /// Sum of a number that RocksDB keeps per table; one it does not know counts as zero.
    fn property(&self, name: &str) -> u64 {
        let tables = Kind::ALL.into_iter().filter_map(|kind| self.db.cf_handle(kind.name()));
        tables.map(|table| self.db.property_int_value_cf(table, name).ok().flatten().unwrap_or(0)).sum()
    }
}

impl Index for RocksIndex {
    fn locate(&self, hashes: &[ChunkHash], out: &mut Vec<Option<ChunkEntry>>) -> Result<()> {
        self.check()?;
        out.clear();
        // Unsorted: RocksDB sorts what it needs; sorting here first showed no gain.
        let rows = self.db.batched_multi_get_cf_opt(
            self.table(Kind::Chunk),
            hashes.iter().map(|hash| &hash.0),
            false,
            &options::lookup(),
        );
        for (hash, row) in hashes.iter().zip(rows) {
            let row = row.map_err(|error| self.failed("read", &error))?;
            out.push(row.map(|row| ChunkEntry::decode(hash, &row, self.place())).transpose()?);
        }
        self.counters.lookups.fetch_add(hashes.len() as u64, Relaxed);
        self.counters.hits.fetch_add(out.iter().flatten().count() as u64, Relaxed);
        Ok(())
    }

    fn holds(&self, domain: DomainTag, hashes: &[ChunkHash], out: &mut Vec<bool>) -> Result<()> {
        self.check()?;
        out.clear();
        let asked: Vec<Holding> = hashes.iter().map(|hash| Holding { hash: *hash, domain }).collect();
        let keys: Vec<_> = asked.iter().map(Holding::key).collect();
        let table = self.table(Kind::Holding);
        let rows = self.db.batched_multi_get_cf_opt(table, keys.iter(), false, &options::lookup());
        for (holding, row) in asked.iter().zip(rows) {
            let row = row.map_err(|error| self.failed("read", &error))?;
            out.push(row.map(|row| holding.check(&row, self.place())).transpose()?.is_some());
        }
        Ok(())
    }

    fn suspects(&self) -> Result<Vec<ChunkHash>> {
        let mut found = Vec::new();
        self.scan(Kind::Suspect, |key, row| {
            found.push(suspect::decode(key, row, self.place())?);
            Ok(())
        })?;
        Ok(found)
    }

    fn checked(&self) -> Result<Vec<(ContainerId, CheckedRow)>> {
        let mut rows = Vec::new();
        if self.db.cf_handle(Kind::Checked.name()).is_none() {
            return Ok(rows); // See `add_tables`.
        }
        self.scan(Kind::Checked, |key, value| {
            let id = container::of_key(key, self.place())?;
            rows.push((id, CheckedRow::decode(id, value, self.place())?));
            Ok(())
        })?;
        rows.sort_unstable_by_key(|(id, _)| *id);
        Ok(rows)
    }

    fn commit(&self, mut batch: Batch) -> Result<()> {
        self.check()?;
        batch.chunks.sort_by_key(|(hash, _)| hash.0); // What `options::synced` relies on for speed.
        batch.holdings.sort_unstable();
        assert_ne!(self.mode, Mode::ReadOnly, "nothing is committed to an index opened for reading");
        if let Err(error) = self.db.write_opt(self.encode(&batch), &options::synced()) {
            let error = self.failed("write", &error);
            let _ = self.poison.set(error.to_string()); // The first failure stands.
            return Err(error);
        }
        self.counters.commits.fetch_add(1, Relaxed);
        self.counters.chunks_committed.fetch_add(batch.chunks.len() as u64, Relaxed);
        Ok(())
    }

    fn containers(&self) -> Result<Vec<(ContainerId, ContainerRow)>> {
        let mut rows = Vec::new();
        self.scan(Kind::Container, |key, value| {
            let id = container::of_key(key, self.place())?;
            rows.push((id, ContainerRow::decode(id, value, self.place())?));
            Ok(())
        })?;
        rows.sort_unstable_by_key(|(id, _)| *id);
        Ok(rows)
    }

    fn container(&self, id: ContainerId) -> Result<Option<ContainerRow>> {
        self.get(Kind::Container, &container::key(id), |row| ContainerRow::decode(id, row, self.place()))
    }

    fn recipes(&self) -> Result<Vec<RecipeRow>> {
        let mut rows = Vec::new();
        self.scan(Kind::Recipe, |key, value| {
            rows.push(RecipeRow::decode(key, value, self.place())?);
            Ok(())
        })?;
        Ok(rows)
    }

    fn recipe(&self, name: &str) -> Result<Option<RecipeRow>> {
        self.get(Kind::Recipe, name.as_bytes(), |row| RecipeRow::decode(name.as_bytes(), row, self.place()))
    }

    fn for_each_chunk(&self, visit: &mut dyn FnMut(ChunkHash, ChunkEntry) -> Result<()>) -> Result<()> {
        self.scan(Kind::Chunk, |key, value| {
            let wrong = |_| self.place().refuse("key of a chunk row", "32 bytes", key.len());
            let hash = ChunkHash(key.try_into().map_err(wrong)?);
            visit(hash, ChunkEntry::decode(&hash, value, self.place())?)
        })
    }

    fn chunk_count_estimate(&self) -> Result<u64> {
        self.check()?;
        let count = self.db.property_int_value_cf(self.table(Kind::Chunk), "rocksdb.estimate-num-keys");
        Ok(count.map_err(|error| self.failed("read", &error))?.unwrap_or(0))
    }

    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>> {
        self.get(Kind::Meta, &key.key(), |row| meta::decode(key, row, self.place()))
    }

    fn statistics(&self) -> IndexStatistics {
        let memory = ["rocksdb.cur-size-all-mem-tables", "rocksdb.estimate-table-readers-mem"];
        IndexStatistics {
            lookups: self.counters.lookups.load(Relaxed),
            hits: self.counters.hits.load(Relaxed),
            commits: self.counters.commits.load(Relaxed),
            chunks_committed: self.counters.chunks_committed.load(Relaxed),
            disk_bytes: bytes_in(&self.path),
            memory_bytes: memory.map(|name| self.property(name)).iter().sum::<u64>()
                + self.cache.get_usage() as u64,
        }
    }

    fn close(&self) -> Result<()> {
        self.check()?;
        if self.mode != Mode::ReadOnly {
            for kind in Kind::ALL {
                let flushed = self.db.flush_cf(self.table(kind));
                flushed.map_err(|error| self.failed("flush", &error))?;
            }
        }
        self.db.cancel_all_background_work(true);
        let _ = self.poison.set("the index is closed".to_owned());
        Ok(())
    }
}

fn open_error(path: &Path, error: &rocksdb::Error) -> Error {
    let remedy = match error.kind() {
        ErrorKind::NotSupported => "upgrade gdd, or run `gdd rebuild-index`",
        ErrorKind::IOError if error.to_string().contains("lock") => "another process has it open; stop that",
        ErrorKind::IOError if error.to_string().contains("No space") => {
            "free space on its file system, then try again"
        }
        _ => "it is missing or damaged; nothing stored is lost: run `gdd rebuild-index`",
    };
    Error::Index(format!("open {}: {error}; {remedy}", path.display()))
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests;
