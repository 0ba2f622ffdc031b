use std::collections::BTreeMap;

use super::super::conformance::{self, batch_of, contents, hash, locates};
use super::*;

const STORE: StoreId = StoreId([7; 16]);
const CACHE: usize = 1 << 20;

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    (directory, path)
}

fn files_of(path: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let contents =
        |path: &PathBuf| (std::fs::read(path).unwrap(), std::fs::metadata(path).unwrap().modified().unwrap());
    entries.map(|path| (path.clone(), contents(&path))).collect()
}

#[test]
fn it_keeps_the_contract() {
    let (_guard, path) = directory();
    conformance::check(&RocksIndex::create(&path, STORE, CACHE).unwrap());
}

#[test]
fn commits_survive_a_reopen_without_a_close() {
    let (_guard, path) = directory();
    let index = RocksIndex::create(&path, STORE, CACHE).unwrap();
    index.commit(batch_of(&[1, 2, 3])).unwrap();
    let before = contents(&index);
    drop(index);
    let index = RocksIndex::open(&path, STORE, CACHE).unwrap();
    assert!(contents(&index) == before);
}

#[test]
fn a_copy_of_the_directory_taken_while_open_has_every_commit() {
    let (_guard, path) = directory();
    let index = RocksIndex::create(&path, STORE, CACHE).unwrap();
    for n in 0..20 {
        index.commit(batch_of(&[n])).unwrap();
    }
    let copy = path.with_extension("copy");
    std::fs::create_dir(&copy).unwrap();
    for (file, (bytes, _)) in files_of(&path) {
        std::fs::write(copy.join(file.file_name().unwrap()), bytes).unwrap();
    }
    let copied = RocksIndex::open(&copy, STORE, CACHE).unwrap();
    assert!((0..20).all(|n| locates(&copied, n)));
}

#[test]
fn closed_and_reopened_it_is_the_same() {
    let (_guard, path) = directory();
    let index = RocksIndex::create(&path, STORE, CACHE).unwrap();
    index.commit(batch_of(&(0..5000).collect::<Vec<_>>())).unwrap();
    let before = contents(&index);
    index.close().unwrap();
    assert!(matches!(index.locate(&[hash(1)], &mut Vec::new()), Err(Error::Poisoned(_))));
    drop(index);
    let index = RocksIndex::open(&path, STORE, CACHE).unwrap();
    assert!(contents(&index) == before);
    assert!((4000..6000).contains(&index.chunk_count_estimate().unwrap()));
    let statistics = index.statistics();
    assert!(statistics.disk_bytes > 5000 * 64 && statistics.memory_bytes > 0, "{statistics:?}");
}

#[test]
fn read_only_sees_every_commit_and_writes_nothing() {
    let (_guard, path) = directory();
    let index = RocksIndex::create(&path, STORE, CACHE).unwrap();
    index.commit(batch_of(&[1])).unwrap();
    drop(index);
    let before = files_of(&path);
    let index = RocksIndex::open_read_only(&path, STORE, CACHE).unwrap();
    assert!(locates(&index, 1) && !locates(&index, 2));
    let _ = contents(&index);
    index.close().unwrap();
    drop(index);
    assert!(files_of(&path) == before, "same files, same bytes, same times");
}

#[test]
fn a_second_process_may_read_while_one_writes() {
    let (_guard, path) = directory();
    let writer = RocksIndex::create(&path, STORE, CACHE).unwrap();
    writer.commit(batch_of(&[1])).unwrap();
    let reader = RocksIndex::open_read_only(&path, STORE, CACHE).unwrap();
    assert!(locates(&reader, 1));
    assert!(RocksIndex::open(&path, STORE, CACHE).is_err(), "but not write too");
}

fn refusal(result: Result<RocksIndex>) -> String {
    match result {
        Err(Error::Index(why)) => why,
        Err(other) => panic!("refused as {other}"),
        Ok(_) => panic!("opened"),
    }
}

#[test]
fn a_missing_or_foreign_index_names_the_remedy_and_is_not_made() {
    let (_guard, path) = directory();
    for open in [RocksIndex::open, RocksIndex::open_read_only] {
        assert!(refusal(open(&path, STORE, CACHE)).contains("gdd rebuild-index"));
        assert!(!path.exists(), "a refusal makes no directory");
    }
    drop(RocksIndex::create(&path, STORE, CACHE).unwrap());
    for open in [RocksIndex::create, |path: &Path, _, cache| RocksIndex::open(path, StoreId([8; 16]), cache)]
    {
        let _ = refusal(open(&path, STORE, CACHE));
    }
    std::fs::remove_file(path.join("CURRENT")).unwrap();
    for open in [RocksIndex::open, RocksIndex::open_read_only] {
        let why = refusal(open(&path, STORE, CACHE));
        assert!(why.contains("gdd rebuild-index"), "{why}");
    }
    assert!(!path.join("CURRENT").exists());
}

/// Set in the child process of the test below: the index directory to use.
const CHILD_PATH: &str = "GDD_TEST_INDEX_WITH_FULL_DISK";

/// A file size limit makes the log unwritable in a child process, as a full disk would.
#[test]
fn after_a_failed_commit_everything_is_refused_and_a_reopen_heals() {
    if let Some(path) = std::env::var_os(CHILD_PATH) {
        return commit_until_the_log_is_full(Path::new(&path));
    }
    let (_guard, path) = directory();
    let test = std::thread::current().name().expect("tests have names").to_owned();
    let status = std::process::Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 400; exec "$0" --exact "$1""#])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(CHILD_PATH, &path)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let index = RocksIndex::open(&path, STORE, CACHE).unwrap();
    let committed = std::fs::read_to_string(path.with_extension("committed")).unwrap().parse().unwrap();
    assert!(committed > 10 && (0..committed).all(|n| locates(&index, n)), "what was committed is there");
    index.commit(batch_of(&[1 << 30])).unwrap();
}

fn commit_until_the_log_is_full(path: &Path) {
    let index = RocksIndex::create(path, STORE, CACHE).unwrap();
    let failed = (0..100_000).find(|&n| index.commit(batch_of(&[n])).is_err()).expect("the limit is small");
    assert!(matches!(index.commit(batch_of(&[1])), Err(Error::Poisoned(_))));
    assert!(matches!(index.locate(&[hash(1)], &mut Vec::new()), Err(Error::Poisoned(_))));
    assert!(matches!(index.recipes(), Err(Error::Poisoned(_))));
    assert!(matches!(index.close(), Err(Error::Poisoned(_))));
    std::fs::write(path.with_extension("committed"), failed.to_string()).unwrap();
}

/// Every file cut to half, emptied, and with a byte changed in each of many places: never a panic, never a wrong row;
/// an acknowledged row is either there or something was refused.
#[test]
fn damage_is_noticed_or_harmless() {
    let (_guard, path) = directory();
    let index = RocksIndex::create(&path, STORE, CACHE).unwrap();
    index.commit(batch_of(&(0..2000).collect::<Vec<_>>())).unwrap();
    index.close().unwrap();
    drop(index);
    let good = files_of(&path);
    let damaged = path.with_extension("damaged");
    let mut refused_count = 0;
    for (target, (bytes, _)) in &good {
        for variant in damages(bytes) {
            let _ = std::fs::remove_dir_all(&damaged);
            std::fs::create_dir(&damaged).unwrap();
            for (file, (bytes, _)) in &good {
                let bytes = if file == target { &variant } else { bytes };
                std::fs::write(damaged.join(file.file_name().unwrap()), bytes).unwrap();
            }
            refused_count += u32::from(!is_whole(&damaged));
        }
    }
    assert!(refused_count > 20, "{refused_count}");
}

fn damages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let step = (bytes.len() / 12).max(1);
    let flipped = (0..bytes.len()).step_by(step).map(|at| {
        let mut variant = bytes.to_vec();
        variant[at] ^= 0x10;
        variant
    });
    flipped.chain([bytes[..bytes.len() / 2].to_vec(), Vec::new()]).collect()
}

/// Whether all rows are there; panics on a wrong one.
fn is_whole(path: &Path) -> bool {
    let Ok(index) = RocksIndex::open_read_only(path, STORE, CACHE) else { return false };
    let hashes: Vec<_> = (0..2000).map(hash).collect();
    let mut out = Vec::new();
    if index.locate(&hashes, &mut out).is_err() {
        return false;
    }
    for (n, found) in (0..2000).zip(&out) {
        assert!(found.is_none_or(|found| found == conformance::entry(n)), "a wrong row for {n}");
    }
    out.iter().all(Option::is_some)
}
