//! A thousand single faults at rest, each in a copy of a store of its own: noticed by an opening, a scrub or fsck;
//! never other bytes; blamed on exactly the streams that cannot be read, by the scrub's report and by fsck; healed by
//! storing the same data again.
//!
//! Each fault that changed something which a checksum covers must be noticed. Of containers that is every byte before
//! their end; of the index its tables and lists of tables. Behind that is room that was never written, and text of
//! RocksDB that nobody relies on.
//!
//! `GDD_FAULTS` asks for another number of seeds.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use gdd_engine::error::Error;
use gdd_engine::format::superblock::Settings;
use gdd_engine::fsck;
use gdd_engine::options::{Access, Options};
use gdd_engine::rebuild;
use gdd_engine::scrub::{ScrubOptions, ScrubReport, blame::Blame};
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use gdd_uring::sim::Rng;
use place::{get, noise, put};

const SEEDS_DEFAULT: u64 = 1000;
const KIB: usize = 1 << 10;

/// What happens to a store at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    BitFlipped,
    SectorZeroed,
    StretchZeroed,
    ContainerTruncated,
    ContainersSwapped,
    ContainerMissing,
    RecipeBitFlipped,
    RecipeTruncated,
    RecipeMissing,
    IndexLost,
    IndexRolledBack,
    IndexBitFlipped,
    IndexFileMissing,
    SuperblockBitFlipped,
    EpochBitFlipped,
}

impl Fault {
    const ALL: [Self; 15] = [
        Self::BitFlipped,
        Self::SectorZeroed,
        Self::StretchZeroed,
        Self::ContainerTruncated,
        Self::ContainersSwapped,
        Self::ContainerMissing,
        Self::RecipeBitFlipped,
        Self::RecipeTruncated,
        Self::RecipeMissing,
        Self::IndexLost,
        Self::IndexRolledBack,
        Self::IndexBitFlipped,
        Self::IndexFileMissing,
        Self::SuperblockBitFlipped,
        Self::EpochBitFlipped,
    ];

    /// Half of all faults hit containers: they are most of a store.
    fn draw(random: &mut Rng) -> Self {
        if random.coin() { Self::ALL[random.index(6)] } else { Self::ALL[random.index(Self::ALL.len())] }
    }
}

fn options() -> Options {
    Options { workers: Some(1), pin: false, memory_budget: 64 << 20, ..Options::default() }
}

fn open(dir: &Path) -> Result<Store, Error> {
    Store::open(dir, Access::ReadWrite, &options())
}

/// Streams that share half of their chunks with their neighbours.
fn contents() -> BTreeMap<String, Vec<u8>> {
    let stream = |number: u64| {
        let mut bytes = noise(number, 90 * KIB);
        bytes.extend(noise(number / 2 + 100, 60 * KIB));
        bytes.extend(vec![0; 20 * KIB]);
        (format!("s-{number}"), bytes)
    };
    (0..10).map(stream).collect()
}

/// A store at rest.
struct Base {
    dir: PathBuf,
    /// The index that it had when half of it was stored.
    old_index: PathBuf,
    /// Where each container ends, by the name of its file: all before is under some checksum.
    ends: BTreeMap<PathBuf, u64>,
}

/// A store, closed in order.
fn build(dir: &Path, contents: &BTreeMap<String, Vec<u8>>) -> Base {
    let settings = Settings {
        container_size: 128 << 10,
        chunk_size_min: 512,
        chunk_size_avg: 2048,
        chunk_size_max: 8192,
        ..Settings::default()
    };
    Store::init(dir, &settings, &options()).unwrap();
    let old = dir.with_extension("old-index");
    let store = open(dir).unwrap();
    for (name, bytes) in contents.iter().take(5) {
        put(&store, name, bytes);
    }
    store.close().unwrap();
    copy(&dir.join("index"), &old);
    let store = open(dir).unwrap();
    for (name, bytes) in contents.iter().skip(5) {
        put(&store, name, bytes);
    }
    store.close().unwrap();
    let store = Store::open(dir, Access::ReadOnly, &options()).unwrap();
    let rows = store.core().index.containers().unwrap();
    let ends = rows.iter().map(|(id, row)| {
        let path = store.core().paths.container(*id);
        (path.file_name().unwrap().into(), row.durable_len)
    });
    Base { dir: dir.to_owned(), old_index: old, ends: ends.collect() }
}

/// Whether what distinguishes `dir` from the store that it is a copy of is under a checksum.
fn is_covered(fault: Fault, base: &Base, dir: &Path) -> bool {
    match fault {
        Fault::BitFlipped
        | Fault::SectorZeroed
        | Fault::StretchZeroed
        | Fault::ContainerTruncated
        | Fault::ContainersSwapped
        | Fault::ContainerMissing => base.ends.iter().any(|(name, end)| {
            let read = |dir: &Path| fs::read(dir.join("containers").join(name)).unwrap_or_default();
            let (before, after) = (read(&base.dir), read(dir));
            let end = usize::try_from(*end).unwrap();
            before[..before.len().min(end)] != after[..after.len().min(end)]
        }),
        Fault::IndexBitFlipped | Fault::IndexFileMissing => {
            let changed = files(&base.dir.join("index")).into_iter().find(|path| {
                fs::read(path).ok() != fs::read(dir.join("index").join(path.file_name().unwrap())).ok()
            });
            let name = changed.unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            name.ends_with(".sst") || name.starts_with("MANIFEST") || name == "CURRENT"
        }
        _ => true,
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file() && path.metadata().unwrap().len() > 0);
    files.sort();
    files
}

fn flip(path: &Path, random: &mut Rng) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let (at, mut byte) = (random.below(file.metadata().unwrap().len()), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << random.below(8))], at).unwrap();
}

/// Zeros in the place of bytes that are not all zeros.
fn zero(path: &Path, random: &mut Rng, len: usize) {
    let bytes = fs::read(path).unwrap();
    let stretch = loop {
        let at = random.index(bytes.len()) / len * len;
        let stretch = at..bytes.len().min(at + len);
        if bytes[stretch.clone()].iter().any(|byte| *byte != 0) {
            break stretch;
        }
    };
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; stretch.len()], stretch.start as u64).unwrap();
}

fn truncate(path: &Path, random: &mut Rng) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(random.below(file.metadata().unwrap().len())).unwrap();
}

fn strike(fault: Fault, dir: &Path, old_index: &Path, random: &mut Rng) {
    let recipes = ["recipes/a", "recipes/b"][random.index(2)];
    let pick = |folder: &str, random: &mut Rng| {
        let files = files(&dir.join(folder));
        files[random.index(files.len())].clone()
    };
    match fault {
        Fault::BitFlipped => flip(&pick("containers", random), random),
        Fault::SectorZeroed => zero(&pick("containers", random), random, 512),
        Fault::StretchZeroed => zero(&pick("containers", random), random, 32 * KIB),
        Fault::ContainerTruncated => truncate(&pick("containers", random), random),
        Fault::ContainersSwapped => {
            let (one, other) = (pick("containers", random), pick("containers", random));
            let aside = dir.join("aside");
            fs::rename(&one, &aside).unwrap();
            if one != other {
                fs::rename(&other, &one).unwrap();
            }
            fs::rename(&aside, &other).unwrap();
        }
        Fault::ContainerMissing => fs::remove_file(pick("containers", random)).unwrap(),
        Fault::RecipeBitFlipped => flip(&pick(recipes, random), random),
        Fault::RecipeTruncated => truncate(&pick(recipes, random), random),
        Fault::RecipeMissing => fs::remove_file(pick(recipes, random)).unwrap(),
        Fault::IndexLost => fs::remove_dir_all(dir.join("index")).unwrap(),
        Fault::IndexRolledBack => {
            fs::remove_dir_all(dir.join("index")).unwrap();
            copy(old_index, &dir.join("index"));
        }
        Fault::IndexBitFlipped => flip(&pick("index", random), random),
        Fault::IndexFileMissing => fs::remove_file(pick("index", random)).unwrap(),
        Fault::SuperblockBitFlipped => {
            flip(&dir.join(["gdd.store", "gdd.store.copy"][random.index(2)]), random)
        }
        Fault::EpochBitFlipped => flip(&dir.join("epoch"), random),
    }
}

/// What one look at a store told.
struct Seen {
    report: ScrubReport,
    blame: Blame,
    failed: BTreeSet<String>,
}

/// Scrub, blame, and read everything.
fn look(store: &Store, contents: &BTreeMap<String, Vec<u8>>) -> Result<Seen, Error> {
    let report = store.scrub(&ScrubOptions::default(), &mut |_| (), &mut |_| true)?;
    let blame = store.blame(&mut |_| ())?;
    let mut failed = BTreeSet::new();
    for (name, bytes) in contents {
        match get(store, name) {
            Ok(found) if found == *bytes => {}
            Ok(found) => panic!("{name} gives {} other bytes", found.len()),
            Err(error @ Error::Index(_)) => return Err(error), // It says itself what to do.
            Err(_) => drop(failed.insert(name.clone())),
        }
    }
    Ok(Seen { report, blame, failed })
}

/// Open and look; where the index refuses, make it anew and try again. Whether anything was noticed by that.
fn open_and_look(dir: &Path, contents: &BTreeMap<String, Vec<u8>>) -> (Store, Seen, bool) {
    let mut noticed = false;
    for _ in 0..2 {
        let tried = open(dir).and_then(|store| {
            noticed |= !store.notes().is_empty();
            look(&store, contents).map(|seen| (store, seen))
        });
        match tried {
            Ok((store, seen)) => return (store, seen, noticed),
            Err(_) => {
                noticed = true;
                rebuild::rebuild_index(dir, &options(), &mut |_| ()).unwrap();
            }
        }
    }
    panic!("a store whose index was made anew does not open");
}

/// What became of one fault.
struct Judged {
    fault: Fault,
    covered: bool,
    noticed: bool,
}

/// One fault.
fn judge(seed: u64, base: &Base, contents: &BTreeMap<String, Vec<u8>>) -> Judged {
    let mut random = Rng::new(seed);
    let dir = base.dir.with_extension(format!("{seed}"));
    copy(&base.dir, &dir);
    let fault = Fault::draw(&mut random);
    strike(fault, &dir, &base.old_index, &mut random);
    let covered = is_covered(fault, base, &dir);
    let checked = fsck::check(&dir, 3, &options(), &mut |_| ());
    let by_fsck = checked.as_ref().map_or(true, |report| !report.clean);
    let (store, seen, by_opening) = open_and_look(&dir, contents);
    let noticed = by_fsck || by_opening || seen.report.is_damaged();
    let Seen { report, blame, failed } = seen;
    assert!(noticed || failed.is_empty(), "{fault:?}: unnoticed, and {failed:?} cannot be read");
    assert!(noticed || !covered, "{fault:?}, seed {seed}: unnoticed, though a checksum covers it");
    // An index that was lost or is old knows less than there is; it is made anew before anything is read.
    let is_index = matches!(
        fault,
        Fault::IndexLost | Fault::IndexRolledBack | Fault::IndexBitFlipped | Fault::IndexFileMissing
    );
    if let Some(report) = checked.ok().filter(|_| !is_index) {
        let affected: BTreeSet<String> =
            report.streams_affected.iter().map(|stream| stream.name.clone()).collect();
        assert_eq!(affected, failed, "{fault:?}, seed {seed}: whom fsck names, and who cannot be read");
    }
    let blamed: BTreeSet<String> = blame.streams.iter().map(|hit| hit.stream.clone()).collect();
    assert_eq!(blamed, failed, "{fault:?}: whom the report names, and who cannot be read; {report:?}");
    let most = match fault {
        Fault::BitFlipped => 1,
        Fault::SectorZeroed => 3,
        Fault::StretchZeroed
        | Fault::ContainerTruncated
        | Fault::ContainersSwapped
        | Fault::ContainerMissing => u64::MAX,
        _ => 0,
    };
    assert!(report.chunks_bad <= most, "{fault:?}: {report:?}");
    heal(&dir, store, contents, fault);
    fs::remove_dir_all(&dir).unwrap();
    Judged { fault, covered, noticed }
}

/// Start again, as after an upgrade, and store the same data again: everything is whole then, and once the vacuum has
/// put away what was damaged, clean.
fn heal(dir: &Path, store: Store, contents: &BTreeMap<String, Vec<u8>>, fault: Fault) {
    store.close().unwrap();
    let store = open(dir).unwrap();
    for (name, bytes) in contents {
        put(&store, &format!("again-{name}"), bytes);
    }
    for (name, bytes) in contents {
        assert!(get(&store, name).unwrap() == *bytes, "{fault:?}: {name} is whole again");
        assert!(get(&store, &format!("again-{name}")).unwrap() == *bytes, "{fault:?}: {name}");
    }
    let report = store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap();
    assert!(report.quarantined.is_empty(), "{fault:?}: {report:?}");
    store.close().unwrap();
    let report = fsck::check(dir, 3, &options(), &mut |_| ()).unwrap();
    assert!(report.clean, "{fault:?}: {report:?}");
}

#[test]
fn single_faults_are_noticed_blamed_and_healed() {
    let count = std::env::var("GDD_FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS_DEFAULT);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let contents = contents();
    let base = build(&folder.path().join("store"), &contents);
    let (next, tally) = (AtomicU64::new(0), Mutex::new(BTreeMap::<Fault, [u64; 4]>::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        break;
                    }
                    let judged = judge(seed, &base, &contents);
                    let mut tally = tally.lock().unwrap();
                    let counts = tally.entry(judged.fault).or_default();
                    counts[usize::from(judged.covered)] += 1;
                    counts[2 + usize::from(judged.covered)] += u64::from(judged.noticed);
                }
            });
        }
    });
    for (fault, [other, covered, other_noticed, noticed]) in tally.into_inner().unwrap() {
        println!(
            "{fault:?}: {noticed} of {covered} noticed that a checksum covers, {other_noticed} of {other} others; \
             none gave other bytes"
        );
        assert_eq!(noticed, covered, "{fault:?}");
        // A fault that never strikes what counts would prove nothing.
        assert!(count < SEEDS_DEFAULT || covered > 5, "{fault:?}: {covered} of {}", covered + other);
    }
}
