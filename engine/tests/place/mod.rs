//! A store with small containers, and what tests do with it.
#![allow(dead_code)] // Each test program uses its own part of this.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gdd_engine::error::Error;
use gdd_engine::format::superblock::Settings;
use gdd_engine::fsck;
use gdd_engine::ids::ChunkHash;
use gdd_engine::index::ChunkEntry;
use gdd_engine::options::{Access, Options};
use gdd_engine::recipe::RecipeReader;
use gdd_engine::store::Store;

pub const MIB: usize = 1 << 20;

/// A store with small containers.
pub struct Place {
    _root: tempfile::TempDir,
    pub dir: PathBuf,
}

pub fn options() -> Options {
    Options { workers: Some(2), pin: false, memory_budget: 256 << 20, ..Options::default() }
}

impl Place {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// With these settings, but for the size of containers.
    pub fn with(settings: Settings) -> Self {
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = root.path().join("store");
        let settings = Settings { container_size: 1 << 20, ..settings };
        Store::init(&dir, &settings, &options()).unwrap();
        Self { _root: root, dir }
    }

    pub fn open(&self) -> Store {
        Store::open(&self.dir, Access::ReadWrite, &options()).unwrap()
    }

    /// Close, and check everything.
    pub fn check(&self, store: Store) {
        store.close().unwrap();
        let report = fsck::check(&self.dir, 3, &options(), &mut |_| ()).unwrap();
        assert!(report.clean, "{report:?}");
    }
}

/// The files of a folder.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn put(store: &Store, name: &str, bytes: &[u8]) -> u64 {
    let mut put = store.put(name).unwrap();
    put.write(bytes).unwrap();
    put.finish().unwrap().new_bytes
}

pub fn get(store: &Store, name: &str) -> Result<Vec<u8>, Error> {
    let (mut get, mut bytes) = (store.get(name)?, Vec::new());
    while let Some(part) = get.next()? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Where the chunks of a stream lie, in its order.
pub fn chunks_of(store: &Store, name: &str) -> Vec<(ChunkHash, ChunkEntry)> {
    let core = store.core();
    let row = core.index.recipe(name).unwrap().unwrap();
    let mut io = core.open_io().unwrap();
    let recipes = core.paths.recipes();
    let mut reader = RecipeReader::open(io.as_mut(), &recipes, row.recipe, core.store).unwrap();
    let (mut entries, mut found) = (Vec::new(), Vec::new());
    while reader.next_block(io.as_mut(), &mut entries).unwrap() {}
    let hashes: Vec<_> = entries.iter().map(|entry| entry.hash).collect();
    core.index.locate(&hashes, &mut found).unwrap();
    hashes.into_iter().zip(found.into_iter().flatten()).collect()
}

/// Flip bits in the middle of a chunk's payload.
pub fn rot(store: &Store, entry: &ChunkEntry) {
    let file =
        File::options().read(true).write(true).open(store.core().paths.container(entry.container)).unwrap();
    let (at, mut byte) = (u64::from(entry.offset + entry.stored_len / 2), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}
