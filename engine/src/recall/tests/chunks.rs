//! Single chunks.

use std::sync::Arc;

use gdd_uring::probe::Mode;

use super::super::cache::SegmentCache;
use super::*;
use crate::error::{Error, Result};
use crate::ids::DomainTag;
use crate::index::{ContainerRow, IndexStatistics, MetaKey, RecipeRow};
use crate::observe::Kind;

#[test]
fn chunks_of_every_size_and_codec_come_back() {
    let fixture = Fixture::new();
    let sizes = [1, 2, 4095, 4096, 16_304, 65_536, 524_288, 1_048_577, 4 << 20];
    let mut raws: Vec<(Codec, Vec<u8>)> = Vec::new();
    for (seed, &len) in (0u64..).zip(&sizes) {
        raws.push((Codec::None, noise(seed, len)));
        if len > 100 {
            raws.push((Codec::Lz4, text(seed + 1, len)));
            raws.push((Codec::Zstd, text(seed + 100, len)));
        }
    }
    let chunks: Vec<(Codec, &[u8])> = raws.iter().map(|(codec, raw)| (*codec, &raw[..])).collect();
    let hashes = fixture.container(7, &chunks);
    for mode in [Mode::Auto, Mode::Pwrite, Mode::Buffered] {
        let fixture = Fixture {
            source: probe::probe(fixture.dir.path(), mode, false).unwrap(),
            ..Fixture::with_dir(&fixture)
        };
        let mut recall = fixture.recall();
        for round in 0..3 {
            for (hash, (codec, raw)) in hashes.iter().zip(&raws) {
                let chunk = recall.chunk(hash).unwrap();
                assert!(chunk[..] == raw[..], "{mode:?} round {round}: {codec:?} of {} bytes", raw.len());
            }
        }
        drop(recall);
        let count = hashes.len() as u64;
        // The cache begins small, and grows by what it finds to be read again.
        let (cold, hits) = (fixture.recorded(Kind::Cold), fixture.recorded(Kind::CacheHit));
        assert_eq!(cold + hits, 3 * count, "{mode:?}");
        assert!(hits >= count, "{mode:?}: {hits} of {count} the third time");
    }
}

impl Fixture {
    /// Another view of the same store, with a cache of its own.
    fn with_dir(other: &Self) -> Self {
        Self { index: Arc::clone(&other.index), dir: link(other), ..Self::new() }
    }
}

/// A directory that shares the other's containers.
fn link(other: &Fixture) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (Paths::new(other.dir.path()).containers(), Paths::new(dir.path()).containers());
    std::os::unix::fs::symlink(source, target).unwrap();
    dir
}

#[test]
fn a_copy_goes_to_the_start_of_the_buffer() {
    let fixture = Fixture::new();
    let raw = noise(1, 1000);
    let hashes = fixture.container(1, &[(Codec::None, &raw)]);
    let mut recall = fixture.recall();
    let mut out = vec![9; 1500];
    assert_eq!(recall.chunk_into(&hashes[0], &mut out).unwrap(), 1000);
    assert!(out[..1000] == raw[..] && out[1000..].iter().all(|byte| *byte == 9));
    assert!(matches!(recall.chunk_into(&hashes[0], &mut out[..999]), Err(Error::Invalid(_))));
}

#[test]
fn memory_stays_in_the_budget_under_random_access_and_held_views() {
    let fixture = Fixture::with(Mode::Auto, SegmentCache::with_buffer_size(16 * MIB, 1 << 20));
    let raws: Vec<Vec<u8>> = (0..300).map(|seed| noise(seed, 200_000)).collect();
    let chunks: Vec<(Codec, &[u8])> = raws.iter().map(|raw| (Codec::None, &raw[..])).collect();
    let hashes = fixture.container(1, &chunks);
    let mut recall = fixture.recall();
    let (mut held, mut at) = (Vec::new(), 7);
    for step in 0..1200 {
        at = (at * 31 + 17) % hashes.len();
        let chunk = recall.chunk(&hashes[at]).unwrap();
        assert!(chunk[..] == raws[at][..]);
        held.push((at, chunk));
        if step < 600 && held.len() > 40 {
            held.remove(0);
        }
        let stats = fixture.cache.stats();
        assert!(stats.bytes <= stats.capacity && stats.capacity <= 16 * MIB, "{stats:?}");
    }
    assert!(fixture.cache.stats().refusals > 0, "in the end everything was held, and reads still worked");
    assert!(held.iter().all(|(at, chunk)| chunk[..] == raws[*at][..]));
}

#[test]
fn more_containers_than_open_files() {
    let mut fixture = Fixture::new();
    fixture.config.files_max = 3;
    let raws: Vec<Vec<u8>> = (0..20).map(|seed| noise(seed, 5000)).collect();
    let hashes: Vec<_> =
        (0u64..).zip(&raws).map(|(id, raw)| fixture.container(id, &[(Codec::None, raw)])[0]).collect();
    let mut recall = fixture.recall();
    for round in 0..3 {
        fixture.cache.clear();
        for (hash, raw) in hashes.iter().zip(&raws) {
            assert!(recall.chunk(hash).unwrap()[..] == raw[..], "round {round}");
        }
    }
}

#[test]
fn readers_on_several_threads_share_one_cache() {
    let fixture = Fixture::with(Mode::Auto, SegmentCache::with_buffer_size(4 * MIB, 256 << 10));
    let raws: Vec<Vec<u8>> = (0u64..).zip(0..200).map(|(seed, at)| noise(seed, 1000 + 331 * at)).collect();
    let chunks: Vec<(Codec, &[u8])> = raws.iter().map(|raw| (Codec::None, &raw[..])).collect();
    let hashes = fixture.container(1, &chunks);
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let (fixture, raws, hashes) = (&fixture, &raws, &hashes);
            scope.spawn(move || {
                let mut recall = fixture.recall();
                let mut at = reader * 13;
                for _ in 0..1000 {
                    at = (at * 29 + 11) % hashes.len();
                    assert!(recall.chunk(&hashes[at]).unwrap()[..] == raws[at][..]);
                }
            });
        }
    });
    let stats = fixture.cache.stats();
    assert_eq!(stats.hits + stats.misses, 4000);
    assert!(stats.hits > 0 && stats.evictions > 0, "{stats:?}");
}

/// An index whose first answer is out of date.
struct Moving {
    old: SimulatedIndex,
    new: SimulatedIndex,
    asked: std::sync::atomic::AtomicBool,
}

impl Index for Moving {
    fn locate(&self, hashes: &[ChunkHash], out: &mut Vec<Option<ChunkEntry>>) -> Result<()> {
        let asked = self.asked.swap(true, std::sync::atomic::Ordering::Relaxed);
        if asked { self.new.locate(hashes, out) } else { self.old.locate(hashes, out) }
    }
    fn holds(&self, domain: DomainTag, hashes: &[ChunkHash], out: &mut Vec<bool>) -> Result<()> {
        self.new.holds(domain, hashes, out)
    }
    fn suspects(&self) -> Result<Vec<ChunkHash>> {
        self.new.suspects()
    }
    fn checked(&self) -> Result<Vec<(ContainerId, crate::index::CheckedRow)>> {
        self.new.checked()
    }
    fn commit(&self, batch: Batch) -> Result<()> {
        self.new.commit(batch)
    }
    fn containers(&self) -> Result<Vec<(ContainerId, ContainerRow)>> {
        self.new.containers()
    }
    fn container(&self, id: ContainerId) -> Result<Option<ContainerRow>> {
        self.new.container(id)
    }
    fn recipes(&self) -> Result<Vec<RecipeRow>> {
        self.new.recipes()
    }
    fn recipe(&self, name: &str) -> Result<Option<RecipeRow>> {
        self.new.recipe(name)
    }
    fn for_each_chunk(&self, visit: &mut dyn FnMut(ChunkHash, ChunkEntry) -> Result<()>) -> Result<()> {
        self.new.for_each_chunk(visit)
    }
    fn chunk_count_estimate(&self) -> Result<u64> {
        self.new.chunk_count_estimate()
    }
    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>> {
        self.new.meta(key)
    }
    fn statistics(&self) -> IndexStatistics {
        self.new.statistics()
    }
    fn close(&self) -> Result<()> {
        self.new.close()
    }
}

#[test]
fn a_chunk_that_moved_between_look_and_read_is_found() {
    let fixture = Fixture::new();
    let raw = noise(1, 9000);
    let hash = fixture.container(1, &[(Codec::None, &raw)])[0];
    let old = fixture.index.as_ref().clone();
    fixture.container(2, &[(Codec::Lz4, &text(3, 500)), (Codec::None, &raw)]);
    std::fs::remove_file(fixture.path(1)).unwrap();
    let index = Moving { old, new: fixture.index.as_ref().clone(), asked: false.into() };
    let mut recall = fixture.recall_with(Arc::new(index));
    assert!(recall.chunk(&hash).unwrap()[..] == raw[..]);
}
