//! Streams copied from one store to another, and sealed sets.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use std::fs::{self, File};
use std::path::Path;

use gdd_engine::copy::{Copier, StreamCopy};
use gdd_engine::error::Error;
use gdd_engine::format::recipe::Owner;
use gdd_engine::index::RecipeRow;
use gdd_engine::ingest::PutOptions;
use gdd_engine::options::{Access, Options};
use gdd_engine::sealed::{self, SEAL, Sealed};
use gdd_engine::store::Store;
use place::{MIB, Place, chunks_of, get, noise, options, put, rot};

fn row(store: &Store, name: &str) -> RecipeRow {
    store.list().unwrap().into_iter().find(|row| row.name == name).unwrap()
}

fn copy(from: &Store, to: &Store, check: bool, name: &str) -> Result<StreamCopy, Error> {
    Copier::new(from, to, check)?.copy(&row(from, name), &mut |_| true)
}

/// Streams with what deduplication makes of them: repeats, zeros, parts in common, nothing at all.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let (one, two) = (noise(1, 5 * MIB), noise(2, 2 * MIB));
    let both = [&two[..], &one[MIB..3 * MIB], &two[..]].concat();
    let zeros = [&one[..1000], &vec![0; 40 * MIB], &one[..1000]].concat();
    vec![("one", one), ("two", two), ("both", both), ("zeros", zeros), ("empty", Vec::new())]
}

#[test]
fn only_what_is_missing_travels_and_everything_comes_back() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    let contents = contents();
    for (name, bytes) in &contents {
        put(&source, name, bytes);
    }
    put(&target, "half", &contents[0].1[2 * MIB..]);
    let mut sent = Vec::new();
    for (name, bytes) in &contents {
        let mut told = 0;
        let mut copier = Copier::new(&source, &target, false).unwrap();
        let done = copier.copy(&row(&source, name), &mut |bytes| {
            told += bytes;
            true
        });
        let done = done.unwrap();
        assert_eq!((done.was_there, done.bytes, told), (false, bytes.len() as u64, bytes.len() as u64));
        assert!(get(&target, name).unwrap() == *bytes, "{name}");
        assert_eq!(row(&target, name).digest, row(&source, name).digest);
        sent.push(usize::try_from(done.sent_bytes).unwrap());
    }
    assert!((2 * MIB..2 * MIB + MIB / 2).contains(&sent[0]), "what \"half\" did not bring: {sent:?}");
    assert!(sent[1] == 2 * MIB && sent[2] < MIB / 2 && sent[3] < MIB / 2 && sent[4] == 0, "{sent:?}");
    for (name, bytes) in &contents {
        let again = copy(&source, &target, false, name).unwrap();
        assert_eq!(again, StreamCopy { was_there: true, ..StreamCopy::default() });
        let checked = copy(&source, &target, true, name).unwrap();
        assert_eq!((checked.bytes, checked.sent_chunks), (bytes.len() as u64, 0));
    }
    from.check(source);
    to.check(target);
}

#[test]
fn owner_and_lineage_come_along_and_another_content_is_never_touched() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    let options = PutOptions { lineage: Some("mine".into()), owner: Owner::Volume, ..PutOptions::default() };
    let mut stream = source.put_with("sd/x/1", options).unwrap();
    stream.write(&noise(1, MIB)).unwrap();
    stream.finish().unwrap();
    copy(&source, &target, false, "sd/x/1").unwrap();
    let (here, there) = (row(&source, "sd/x/1"), row(&target, "sd/x/1"));
    assert_eq!((here.owner, here.lineage_mark), (there.owner, there.lineage_mark));
    assert_ne!(there.lineage_mark, 0);
    put(&source, "same", &noise(2, MIB));
    put(&target, "same", &noise(3, MIB));
    for check in [false, true] {
        let error = copy(&source, &target, check, "same").unwrap_err();
        assert!(matches!(&error, Error::Invalid(why) if why.contains("another content")), "{error}");
    }
    assert!(get(&target, "same").unwrap() == noise(3, MIB));
    to.check(target);
}

#[test]
fn a_copy_that_is_stopped_leaves_no_name_and_goes_on() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    let bytes = noise(1, 6 * MIB);
    put(&source, "one", &bytes);
    // Whether workers have stored anything when a stop comes is up to them: they are given time.
    for after in [0, 1, 50, 200] {
        let mut left = after;
        let mut copier = Copier::new(&source, &target, false).unwrap();
        let stopped = copier.copy(&row(&source, "one"), &mut |_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            left -= 1;
            left >= 0
        });
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
        assert!(target.list().unwrap().is_empty());
    }
    let rest = copy(&source, &target, false, "one").unwrap();
    assert!(rest.sent_bytes < 6 * MIB as u64, "what came before was kept: {rest:?}");
    assert!(get(&target, "one").unwrap() == bytes);
    to.check(target);
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_copied() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    let (hit, spared) = (noise(1, 4 * MIB), noise(2, 4 * MIB));
    put(&source, "hit", &hit);
    put(&source, "spared", &spared);
    let chunks = chunks_of(&source, "hit");
    rot(&source, &chunks[chunks.len() / 2].1);
    let mut copier = Copier::new(&source, &target, false).unwrap();
    let error = copier.copy(&row(&source, "hit"), &mut |_| true).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    copier.copy(&row(&source, "spared"), &mut |_| true).unwrap();
    assert_eq!(target.list().unwrap().len(), 1);
    assert!(get(&target, "spared").unwrap() == spared);
    to.check(target);
}

#[test]
fn a_check_brings_back_what_was_lost() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    let bytes = noise(1, 4 * MIB);
    put(&source, "one", &bytes);
    copy(&source, &target, false, "one").unwrap();
    let chunks = chunks_of(&target, "one");
    for at in [3, chunks.len() / 2] {
        rot(&target, &chunks[at].1);
    }
    let report = target.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    assert_eq!(report.chunks_bad, 2, "{report:?}");
    assert!(get(&target, "one").is_err());
    assert_eq!(copy(&source, &target, false, "one").unwrap().sent_chunks, 0, "it was not asked to look");
    assert_eq!(copy(&source, &target, true, "one").unwrap().sent_chunks, 2);
    assert!(get(&target, "one").unwrap() == bytes);
    drop(target); // As after a crash: what was sent is durable.
    let target = to.open();
    assert!(get(&target, "one").unwrap() == bytes);
    assert_eq!((target.list().unwrap().len(), target.stats().unwrap().chunks_suspect), (1, 0));
    target.vacuum(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    to.check(target);
}

#[test]
fn numbers_of_the_other_store_are_never_given_again() {
    let (from, to) = (Place::new(), Place::new());
    for _ in 0..9 {
        from.open().close().unwrap();
    }
    let source = from.open();
    put(&source, "one", &noise(1, MIB));
    let given = source.core().next_recipe();
    let target = to.open();
    copy(&source, &target, false, "one").unwrap();
    target.close().unwrap();
    // Meanwhile the other one goes on, and nobody copies what it gives out now.
    source.close().unwrap();
    let source = from.open();
    let given = given.max(source.core().next_recipe());
    let target = to.open();
    assert!(target.core().next_recipe() > given, "{:?}", target.core().epoch);
    assert_eq!(target.notes(), Vec::<String>::new(), "it was closed cleanly");
    copy(&source, &target, false, "one").unwrap();
    drop(target);
    let target = to.open();
    assert!(target.core().next_recipe() > given);
    to.check(target);
}

fn export(source: &Store, dir: &Path) -> Sealed {
    let options = Options { workers: Some(1), ..options() };
    Store::init(dir, &source.core().settings, &options).unwrap();
    let set = Store::open(dir, Access::ReadWrite, &options).unwrap();
    for row in source.list().unwrap() {
        Copier::new(source, &set, false).unwrap().copy(&row, &mut |_| true).unwrap();
    }
    sealed::seal(set, &mut |_| ()).unwrap()
}

fn verify(dir: &Path) -> Result<Sealed, Error> {
    sealed::verify(dir, &mut |_| true)
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let list = fs::read_to_string(dir.join(SEAL)).unwrap();
    let named = list.lines().map(|line| dir.join(line.split_once("  ").unwrap().1));
    named.chain([dir.join(SEAL)]).collect()
}

#[test]
fn a_set_holds_what_was_exported_and_every_change_is_found() {
    let from = Place::new();
    let source = from.open();
    let contents = contents();
    for (name, bytes) in &contents {
        put(&source, name, bytes);
    }
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = root.path().join("set");
    let sealed = export(&source, &dir);
    assert!(sealed.bytes < 10 * MIB as u64, "no room is reserved in it: {sealed:?}");
    assert_eq!(verify(&dir).unwrap(), sealed);
    let set = Store::open(&dir, Access::ReadOnly, &options()).unwrap();
    for (name, bytes) in &contents {
        assert!(get(&set, name).unwrap() == *bytes, "{name}");
    }
    set.close().unwrap();
    assert_eq!(verify(&dir).unwrap(), sealed, "reading it changes nothing");
    let mut changes = 0;
    for path in files(&dir) {
        let bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        let flipped: Vec<u8> =
            bytes.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == middle)).collect();
        let end = bytes.len().saturating_sub(1);
        let others = [flipped, bytes[..end].to_vec(), [&bytes[..], b"\0"].concat()];
        for other in others.into_iter().filter(|other| *other != bytes) {
            fs::write(&path, other).unwrap();
            assert_eq!(verify(&dir).unwrap_err().exit_code(), 3, "{}", path.display());
            changes += 1;
        }
        fs::remove_file(&path).unwrap();
        assert!(verify(&dir).unwrap_err().to_string().contains(path.file_name().unwrap().to_str().unwrap()));
        fs::write(&path, bytes).unwrap();
    }
    assert!(changes > 30, "{changes}");
    // Lines of the list are lost with their end, or a file was added.
    let list = fs::read_to_string(dir.join(SEAL)).unwrap();
    let shorter: String = list.lines().skip(1).map(|line| format!("{line}\n")).collect();
    fs::write(dir.join(SEAL), shorter).unwrap();
    assert!(verify(&dir).unwrap_err().to_string().contains("after the set was sealed"));
    fs::write(dir.join(SEAL), list).unwrap();
    File::create(dir.join("containers/more")).unwrap();
    assert!(verify(&dir).unwrap_err().to_string().contains("after the set was sealed"));
    fs::remove_file(dir.join("containers/more")).unwrap();
    assert_eq!(verify(&dir).unwrap(), sealed);
    let stopped = sealed::verify(&dir, &mut |_| false);
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    // It is a store: whoever writes to it breaks the seal.
    Store::open(&dir, Access::ReadWrite, &options()).unwrap().close().unwrap();
    assert!(verify(&dir).is_err());
    from.check(source);
}

#[test]
fn what_is_no_set_is_told() {
    let from = Place::new();
    from.open().close().unwrap();
    let error = verify(&from.dir).unwrap_err().to_string();
    assert!(error.contains("no list of its files"), "{error}");
}

/// Change a byte of the recipe of a stream, in both copies.
fn lose_recipe(store: &Store, name: &str, at: usize) {
    let recipe = row(store, name).recipe;
    for side in ["a", "b"] {
        let path = store.core().paths.recipes().join(side).join(format!("{recipe}.gdr"));
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

/// The index says that a stream is there; whether its recipe can be read is another question.
#[test]
fn a_stream_whose_recipe_is_lost_there_is_copied_again() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    let bytes = noise(1, 4 * MIB);
    put(&source, "one", &bytes);
    copy(&source, &target, false, "one").unwrap();
    let before = row(&target, "one");
    for (at, check) in [(9, false), (4096 + 9, false), (4096 + 9, true)] {
        lose_recipe(&target, "one", at);
        assert!(get(&target, "one").is_err());
        let again = copy(&source, &target, check, "one").unwrap();
        assert_eq!((again.was_there, again.renewed, again.sent_chunks), (true, true, 0), "{again:?}");
        assert!(get(&target, "one").unwrap() == bytes);
        assert_eq!(row(&target, "one"), before);
        assert!(!copy(&source, &target, check, "one").unwrap().renewed, "it is whole now");
    }
    // And what its chunks have suffered meanwhile is brought back with it.
    let chunks = chunks_of(&target, "one");
    rot(&target, &chunks[3].1);
    target.scrub(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    lose_recipe(&target, "one", 4096 + 9);
    let again = copy(&source, &target, false, "one").unwrap();
    assert_eq!((again.renewed, again.sent_chunks), (true, 1), "{again:?}");
    assert!(get(&target, "one").unwrap() == bytes);
    target.vacuum(&Default::default(), &mut |_| (), &mut |_| true).unwrap();
    to.check(target);
}

/// The store with an index made anew after the recipe of `name` had lost its end: a row says nothing of its content.
fn only_listed(place: &Place, store: Store, name: &str) -> Store {
    let recipe = row(&store, name).recipe;
    store.close().unwrap();
    for side in ["a", "b"] {
        let path = place.dir.join("recipes").join(side).join(format!("{recipe}.gdr"));
        let end = fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(end - 4096).unwrap();
    }
    gdd_engine::rebuild::rebuild_index(&place.dir, &options(), &mut |_| ()).unwrap();
    let store = place.open();
    assert_eq!(row(&store, name).logical_bytes, 0);
    store
}

/// What is left of it is of another stream than the one that has its name in the other store.
#[test]
fn a_stream_that_is_only_listed_there_is_not_taken_for_another() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    put(&source, "one", &noise(1, 4 * MIB));
    put(&target, "one", &noise(2, 4 * MIB));
    let recipe = row(&target, "one").recipe;
    let target = only_listed(&to, target, "one");
    let path = to.dir.join(format!("recipes/a/{recipe}.gdr"));
    let before = fs::read(&path).unwrap();
    let error = copy(&source, &target, false, "one").unwrap_err().to_string();
    assert!(error.contains("of another content"), "{error}");
    assert!(fs::read(&path).unwrap() == before, "what was left is still there");
    target.close().unwrap();
}

#[test]
fn a_stream_that_is_only_listed_there_is_copied_again() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    let bytes = noise(1, 4 * MIB);
    put(&source, "one", &bytes);
    copy(&source, &target, false, "one").unwrap();
    let target = only_listed(&to, target, "one");
    assert!(copy(&source, &target, false, "one").unwrap().renewed);
    assert!(get(&target, "one").unwrap() == bytes);
    to.check(target);
}

/// A stream whose recipe is lost is being copied again for a while; meanwhile it is given up and another gets its name.
#[test]
fn a_copy_leaves_a_name_alone_that_is_another_streams_by_now() {
    let (from, to) = (Place::new(), Place::new());
    let (source, target) = (from.open(), to.open());
    put(&source, "one", &noise(1, 4 * MIB));
    copy(&source, &target, false, "one").unwrap();
    lose_recipe(&target, "one", 4096 + 9);
    let (other, mut removed) = (noise(2, MIB), false);
    let again = Copier::new(&source, &target, false).unwrap().copy(&row(&source, "one"), &mut |_| {
        if !removed {
            removed = true;
            target.remove("one").unwrap();
            put(&target, "one", &other);
        }
        true
    });
    let again = again.unwrap();
    assert!(removed && !again.renewed, "{again:?}");
    assert!(get(&target, "one").unwrap() == other);
    to.check(target);
}
