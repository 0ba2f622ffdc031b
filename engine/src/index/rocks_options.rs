//! Every RocksDB option, in one place, with its reason.
//!
//! Nothing is left to a default that matters: a default may change with the next version of the library.

use rocksdb::{
    BlockBasedOptions, Cache, ChecksumType, ColumnFamilyDescriptor, DBCompactionStyle, DBCompressionType,
    DBRecoveryMode, DataBlockIndexType, InfoLogger, LogLevel, LruCacheOptions, Options, ReadOptions,
    WriteOptions,
};

use super::keys::Kind;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Write buffer of the chunk table in bytes. Two of them exist while one is flushed.
/// At most; half the cache, if that is less, so that a small memory budget is kept.
const CHUNK_WRITE_BUFFER: usize = 64 * MIB;
/// Write buffer of the table of holdings in bytes, at most: a row for each chunk that such a domain brings.
const HOLDING_WRITE_BUFFER: usize = 16 * MIB;
/// Write buffer of every other table in bytes; they have few rows.
const SMALL_WRITE_BUFFER: usize = 4 * MIB;
/// Log bytes after which the oldest write buffer is flushed, so that a small table does not keep old logs alive.
/// Bounds what a reopen replays, and what small tables gather in memory. At most; half more than the cache, if that is
/// less.
const LOG_SIZE_MAX: usize = 192 * MIB;
/// At least: three small write buffers.
const LOG_SIZE_MIN: usize = 3 * SMALL_WRITE_BUFFER;
/// Open table files. Their readers are in the block cache, so this bounds descriptors, not memory.
const OPEN_FILES_MAX: i32 = 512;
/// Bytes of a data block: the unit of a lookup's read. 64 chunk rows.
const BLOCK_SIZE: usize = 4 * KIB;
/// Bloom filter bits per key: about 1 % of lookups of absent keys read a block for nothing.
const BLOOM_BITS: f64 = 10.0;

/// Binary logarithm of the block cache's shards, each with a lock of its own: four.
const CACHE_SHARD_BITS: i32 = 2;

/// How the index is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Make it; it must not exist.
    Create,
    /// Open an existing one for reading and writing.
    ReadWrite,
    /// Open an existing one, and write nothing.
    ReadOnly,
}

/// Options of the whole database.
pub(super) fn database(mode: Mode, cache_bytes: usize) -> Options {
    let mut options = Options::default();
    options.create_if_missing(mode == Mode::Create);
    options.set_error_if_exists(mode == Mode::Create);
    options.create_missing_column_families(mode == Mode::Create);
    durability(&mut options);
    options.set_max_total_wal_size((cache_bytes / 2 * 3).clamp(LOG_SIZE_MIN, LOG_SIZE_MAX) as u64);
    options.set_max_background_jobs(2); // The cores belong to cutting and hashing.
    options.set_max_subcompactions(1);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_skip_stats_update_on_db_open(false); // The estimated number of chunks rests on them.
    options.set_allow_mmap_reads(false);
    options.set_allow_mmap_writes(false);
    options.set_use_direct_reads(false); // What the block cache lacks may be in the page cache.
    options.set_use_direct_io_for_flush_and_compaction(false);
    options.set_bytes_per_sync(MIB as u64); // Smooths the writeback of table files; durability does not rest on it.
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    log_to_tracing(&mut options);
    options
}

/// What the durability contract rests on.
fn durability(options: &mut Options) {
    options.set_paranoid_checks(true); // Damage found in passing makes it refuse, not go on.
    // A log that ends in garbage, as after a power cut, is replayed up to there; every synced batch lies before it.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true); // A log file that vanished or shrank is noticed.
    options.set_recycle_log_file_num(0); // A recycled log's old contents could be taken for its end.
    options.set_manual_wal_flush(false);
    options.set_use_fsync(false); // fdatasync, which also carries a file's length.
    options.set_wal_bytes_per_sync(0); // Every write is synced anyway.
    options.set_wal_ttl_seconds(0);
    options.set_wal_size_limit_mb(0);
    options.set_unordered_write(false);
    options.set_enable_pipelined_write(false); // One committer writes; pipelining only adds states.
    options.set_allow_concurrent_memtable_write(false);
    options.set_atomic_flush(false); // Not needed while the log is on.
    options.set_max_manifest_file_size(16 * MIB);
}

/// RocksDB's own log would grow in the directory, and a reader must write nothing there. What matters goes to the
/// process's log instead.
fn log_to_tracing(options: &mut Options) {
    let logger = InfoLogger::new_callback_logger(LogLevel::Warn, |level, text| match level {
        LogLevel::Error | LogLevel::Fatal => tracing::error!(target: "rocksdb", "{text}"),
        LogLevel::Warn => tracing::warn!(target: "rocksdb", "{text}"),
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    });
    options.set_info_logger(logger);
    options.set_log_level(LogLevel::Warn);
}

/// The block cache: data, index and filter blocks of all tables.
///
/// Few shards, because the filter of a full table file is over 1 MiB in one block. In the default 64 shards of a 64
/// MiB cache it never fits, is read anew for every lookup, and costs ten times as much (8.3 against 0.6 us for each
/// absent chunk of 2 million). Filters in parts fit, but cost twice as much as whole ones that do (1.5 us).
pub(super) fn cache(bytes: usize) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(bytes);
    options.set_num_shard_bits(CACHE_SHARD_BITS);
    Cache::new_lru_cache_opts(&options)
}

/// The tables, one per kind of row, and the one RocksDB insists on.
pub(super) fn tables(cache: &Cache, cache_bytes: usize) -> Vec<ColumnFamilyDescriptor> {
    let unused = ColumnFamilyDescriptor::new("default", table(SMALL_WRITE_BUFFER, cache));
    let kinds = Kind::ALL.into_iter().map(|kind| {
        let write_buffer = match kind {
            Kind::Chunk => (cache_bytes / 2).clamp(SMALL_WRITE_BUFFER, CHUNK_WRITE_BUFFER),
            Kind::Holding => (cache_bytes / 8).clamp(SMALL_WRITE_BUFFER, HOLDING_WRITE_BUFFER),
            _ => SMALL_WRITE_BUFFER,
        };
        ColumnFamilyDescriptor::new(kind.name(), table(write_buffer, cache))
    });
    std::iter::once(unused).chain(kinds).collect()
}

fn table(write_buffer: usize, cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(write_buffer);
    options.set_max_write_buffer_number(2);
    options.set_min_write_buffer_number_to_merge(1);
    // A filter before the write buffer: most lookups end in older tables, and a walk through its list costs
    // microseconds (absent chunks 0.9 against 4 us, present ones 6 against 9 us, while the buffer is full).
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_memtable_whole_key_filtering(true);
    options.set_compression_type(DBCompressionType::None); // Hashes do not shrink.
    options.set_bottommost_compression_type(DBCompressionType::None);
    options.set_compaction_style(DBCompactionStyle::Level);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_level_zero_file_num_compaction_trigger(4);
    options.set_level_zero_slowdown_writes_trigger(20);
    options.set_level_zero_stop_writes_trigger(36);
    options.set_target_file_size_base(64 * MIB as u64);
    options.set_max_bytes_for_level_base(256 * MIB as u64);
    options.set_max_bytes_for_level_multiplier(10.0);
    options.set_optimize_filters_for_hits(false); // Measured: no gain for present chunks, ten times worse for absent.
    options.set_disable_auto_compactions(false);
    options.set_block_based_table_factory(&blocks(cache));
    options
}

fn blocks(cache: &Cache) -> BlockBasedOptions {
    let mut options = BlockBasedOptions::default();
    options.set_format_version(6);
    options.set_checksum_type(ChecksumType::XXH3);
    options.set_block_size(BLOCK_SIZE);
    options.set_block_cache(cache);
    // Index and filter blocks live in the cache, so that its size bounds all memory for reading.
    options.set_cache_index_and_filter_blocks(true);
    options.set_cache_index_and_filter_blocks_with_high_priority(true);
    options.set_pin_l0_filter_and_index_blocks_in_cache(true);
    options.set_bloom_filter(BLOOM_BITS, false);
    options.set_whole_key_filtering(true);
    options.set_data_block_index_type(DataBlockIndexType::BinaryAndHash); // Point lookups by whole key.
    options.set_data_block_hash_ratio(0.75);
    options
}

/// A commit: logged and synced.
pub(super) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(false);
    options.set_sync(true);
    // A commit's rows come in the order of their keys: each insertion starts where the last one was.
    options.set_memtable_insert_hint_per_batch(true);
    options
}

/// A lookup.
pub(super) fn lookup() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(true);
    options
}

/// A scan of a whole table: it must not push out what lookups need.
pub(super) fn scan() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    options.set_readahead_size(2 * MIB);
    options
}
