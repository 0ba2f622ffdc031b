//! An open store without threads, for unit tests: every task is stepped by a seeded loop.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gdd_uring::io::IoSource;
use gdd_uring::probe::{self, Mode};

use crate::commit::CommitDesk;
use crate::container::prepare::PrepareDesk;
use crate::core::{Core, Seed};
use crate::filter::{Filter, FilterConfig};
use crate::format::StoreId;
use crate::format::superblock::Settings;
use crate::ids::Epoch;
use crate::index::Index;
use crate::options::Budget;
use crate::paths::Paths;
use crate::poison::Poison;
use crate::stepped::{Steps, assemble};

/// A store of `workers` workers on a real directory, with an index of choice.
pub fn stepped(
    root: &Path,
    settings: Settings,
    index: Arc<dyn Index>,
    epoch: Epoch,
    workers: usize,
    seed: u64,
) -> (Arc<Core>, Steps) {
    let source: Arc<dyn IoSource> = probe::probe(root, Mode::Auto, false).unwrap();
    let paths = Paths::new(root);
    for directory in [paths.containers(), paths.pool(), paths.recipes()] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let store = StoreId([7; 16]);
    let (filter, _) =
        Filter::open(None, FilterConfig { first_capacity: 10_000, ..FilterConfig::new(store, epoch) })
            .unwrap();
    filter.begin_rebuild();
    index
        .for_each_chunk(&mut |hash, _| {
            filter.insert_from_index(&hash);
            Ok(())
        })
        .unwrap();
    filter.finish_rebuild();
    let parts = Seed {
        paths,
        store,
        settings,
        epoch,
        index,
        filter: Arc::new(filter),
        source,
        damaged: Arc::new(HashSet::new()),
        suspects: crate::suspects::Suspects::default(),
        unchecked: Default::default(),
        leaving: Default::default(),
        rewriting: crate::options::Rewriting::OFF,
        visits: Default::default(),
        begun: Vec::new(),
        workers,
        budget: Budget::of(64 << 20),
        poison: Poison::default(),
        prepare: PrepareDesk::default(),
        commit: CommitDesk::default(),
        stop: Arc::new(AtomicBool::new(false)),
        unix_seconds: || 0,
    };
    // A real disk may take a second to sync: the tasks are no more hung than that.
    assemble(parts, seed, usize::MAX, || std::thread::sleep(Duration::from_micros(20))).unwrap()
}
