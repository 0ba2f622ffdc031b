//! A real store with chunks of one size in it, and their hashes.

use gdd_engine::format::superblock::Settings;
use gdd_engine::ids::ChunkHash;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;
use gdd_kernels::{Chunker, Cut, Params};

use crate::corpus;
use crate::scratch::Scratch;

/// Largest minimum that the chunker takes, in bytes.
const MIN_MAX: u32 = 1 << 20;

/// See the module. The store goes away with it.
pub struct Stocked {
    /// The store, open for writing.
    pub store: Store,
    /// Chunks of exactly the size asked for, in stream order.
    pub chunks: Vec<ChunkHash>,
    _scratch: Scratch,
}

impl Stocked {
    /// Store `count` times `chunk_size` random bytes, cut into chunks of at most `chunk_size` (a power of two).
    ///
    /// # Panics
    /// When the store fails: a bench without its store has nothing to measure.
    #[must_use]
    pub fn new(chunk_size: u32, count: usize) -> Self {
        let scratch = Scratch::new();
        let dir = scratch.path().join("store");
        let params = Params { min: chunk_size.min(MIN_MAX), avg: chunk_size, max: chunk_size };
        let settings = Settings {
            chunk_size_min: params.min,
            chunk_size_avg: params.avg,
            chunk_size_max: params.max,
            container_size: 16 << 20,
            ..Settings::default()
        };
        let options = Options { workers: Some(1), pin: false, ..Options::default() };
        Store::init(&dir, &settings, &options).expect("a store can be made");
        let store = Store::open(&dir, Access::ReadWrite, &options).expect("a new store opens");
        let data = corpus::random(u64::from(chunk_size), chunk_size as usize * count);
        let mut put = store.put("stock").expect("the name is free");
        put.write(&data).expect("the store takes the stream");
        put.finish().expect("the stream becomes durable");
        let mut cuts: Vec<Cut> = Vec::new();
        Chunker::new(params).cut_and_hash(&data, true, &mut cuts);
        let whole = cuts.iter().filter(|cut| cut.len == chunk_size);
        let chunks: Vec<_> = whole.map(|cut| ChunkHash(cut.hash)).collect();
        assert!(!chunks.is_empty(), "some of {count} chunks reach {chunk_size} bytes");
        Self { store, chunks, _scratch: scratch }
    }
}
