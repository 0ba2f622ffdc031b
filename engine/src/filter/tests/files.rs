//! Files are believed only as they were closed. Everything else is a rebuild, and never an error.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::super::Opened;
use super::*;

/// Make a filter of 3000 chunks in three layers, closed cleanly in epoch 1.
fn closed(dir: &Path) {
    let (filter, opened) = Filter::open(Some(dir), config(1)).unwrap();
    assert!(matches!(opened, Opened::Rebuild { .. }), "a new filter knows nothing of the index");
    filter.finish_rebuild();
    (0..3500).for_each(|number| filter.insert(&chunk(number)));
    filter.flush_and_mark_clean(Epoch(0)).unwrap();
    assert_eq!(filter.stats().layers, 3);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// It opens, doubts, and works again after a rebuild. Returns why.
fn rebuilds(dir: &Path, config: FilterConfig) -> String {
    let (filter, opened) = Filter::open(Some(dir), config).unwrap();
    let Opened::Rebuild { why } = opened else { panic!("believed") };
    assert!(has(&filter, 1 << 50..(1 << 50) + 10), "doubt is answered maybe: {why}");
    assert_eq!(filter.stats().items, 0, "nothing of the old files is left: {why}");
    filter.begin_rebuild();
    (0..10).for_each(|number| filter.insert_from_index(&chunk(number)));
    filter.finish_rebuild();
    assert!(has(&filter, 0..10), "{why}");
    assert_eq!(filter.query(&chunk(1 << 50)), Answer::New, "{why}");
    why
}

#[test]
fn a_clean_close_is_believed_and_goes_on_growing() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    for epoch in 2..4u32 {
        let (filter, opened) = Filter::open(Some(dir.path()), config(epoch)).unwrap();
        assert_eq!(opened, Opened::Clean);
        let known = u64::from(epoch) * 2000 - 500;
        assert!(has(&filter, 0..known));
        assert_eq!(filter.query(&chunk(1 << 50)), Answer::New);
        (known..known + 2000).for_each(|number| filter.insert(&chunk(number)));
        filter.flush_and_mark_clean(Epoch(0)).unwrap();
    }
    let (filter, opened) = Filter::open(Some(dir.path()), config(4)).unwrap();
    assert_eq!((opened, filter.stats().layers), (Opened::Clean, 4));
    assert!((7480..=7500).contains(&filter.stats().items), "{:?}", filter.stats());
}

#[test]
fn files_of_a_killed_process_are_rebuilt() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    closed(dir.path());
    let (filter, _) = Filter::open(Some(dir.path()), config(2)).unwrap();
    copy(dir.path(), image.path()); // Killed before the first insertion.
    assert!(rebuilds(image.path(), config(3)).contains("not closed cleanly"));
    filter.insert(&chunk(9999));
    copy(dir.path(), image.path()); // Killed after it.
    assert!(rebuilds(image.path(), config(3)).contains("not closed cleanly"));
    drop(filter); // Without a close.
    assert!(rebuilds(dir.path(), config(3)).contains("not closed cleanly"));
}

#[test]
fn a_rebuild_that_was_not_finished_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let (filter, _) = Filter::open(Some(dir.path()), config(1)).unwrap();
    filter.begin_rebuild();
    filter.insert_from_index(&chunk(1));
    filter.flush_and_mark_clean(Epoch(0)).unwrap();
    drop(filter);
    rebuilds(dir.path(), config(2));
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    closed(dir.path());
    for layer in 0..3 {
        let name = format!("{layer}.gdf");
        let good = fs::read(dir.path().join(&name)).unwrap();
        let everywhere = (0..128).chain((128..good.len()).step_by(97)).chain([4095, 4096, good.len() - 1]);
        copy(dir.path(), image.path());
        for at in everywhere {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(image.path().join(&name), &bad).unwrap();
            let (_, opened) = Filter::open_read_only(image.path(), config(1)).unwrap();
            assert!(matches!(opened, Opened::Rebuild { .. }), "byte {at} of {name}");
            if at % 4000 < 97 {
                rebuilds(image.path(), config(2));
                copy(dir.path(), image.path());
            }
        }
        copy(dir.path(), image.path());
        assert_eq!(
            Filter::open_read_only(image.path(), config(1)).unwrap().1,
            Opened::Clean,
            "the copy itself is good"
        );
    }
}

#[test]
fn a_wrong_set_of_files_is_rebuilt() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    closed(dir.path());
    let layer = |number: u32| image.path().join(format!("{number}.gdf"));
    let after = |change: &dyn Fn(), config: FilterConfig| {
        fs::remove_dir_all(image.path()).unwrap();
        copy(dir.path(), image.path());
        change();
        rebuilds(image.path(), config)
    };
    let copy_layer = |from, to| assert!(fs::copy(layer(from), layer(to)).unwrap() > 0);
    for number in 0..3 {
        let why = after(&|| fs::remove_file(layer(number)).unwrap(), config(2));
        assert!(why.contains("missing") || why.contains("there are 2"), "{why}");
    }
    assert!(after(&|| copy_layer(2, 3), config(2)).contains("there are 4"));
    assert!(after(&|| fs::rename(layer(2), layer(1)).unwrap(), config(2)).contains("there are 2"));
    assert!(after(&|| fs::rename(layer(2), layer(3)).unwrap(), config(2)).contains("layer 2 is missing"));
    assert!(after(&|| copy_layer(2, 1), config(2)).contains("it is layer 2"));
    let cut = |len: u64| fs::File::options().write(true).open(layer(1)).unwrap().set_len(len).unwrap();
    assert!(after(&|| cut(0), config(2)).contains("0 bytes"));
    assert!(after(&|| cut(4096), config(2)).contains("4096 bytes"));
    assert!(after(&|| cut(1 << 20), config(2)).contains("1048576 bytes"));
    assert!(after(&|| fs::remove_dir_all(image.path()).unwrap(), config(2)).contains("none"));
    let foreign = FilterConfig { store: StoreId([8; 16]), ..config(2) };
    assert!(after(&|| (), foreign).contains("belongs to store"));
    assert!(after(&|| (), FilterConfig { fpr_ppm: 999, ..config(2) }).contains("configured are 999"));
}

#[test]
fn yesterdays_copy_is_not_believed() {
    let (dir, yesterday) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    closed(dir.path());
    copy(dir.path(), yesterday.path());
    assert!(rebuilds(yesterday.path(), config(3)).contains("closed in epoch 1"));
}

#[test]
fn reading_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    let contents = || -> Vec<(String, SystemTime, Vec<u8>)> {
        let entries = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        let file = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().modified().unwrap(), fs::read(entry.path()).unwrap())
        };
        let mut files: Vec<_> = entries.map(file).collect();
        files.sort();
        files
    };
    let before = contents();
    let (filter, opened) = Filter::open_read_only(dir.path(), config(1)).unwrap();
    assert_eq!(opened, Opened::Clean);
    assert!(has(&filter, 0..3500));
    assert_eq!(filter.query(&chunk(1 << 50)), Answer::New);
    filter.flush_and_mark_clean(Epoch(0)).unwrap();
    drop(filter);
    assert_eq!(contents(), before);

    let (filter, opened) = Filter::open_read_only(dir.path(), config(9)).unwrap();
    assert!(matches!(opened, Opened::Rebuild { .. }));
    assert_eq!(filter.query(&chunk(1 << 50)), Answer::MaybeCold);
    drop(filter);
    assert_eq!(contents(), before, "what is doubtful is left as it is");

    let absent = dir.path().join("absent");
    assert!(matches!(Filter::open_read_only(&absent, config(1)).unwrap().1, Opened::Rebuild { .. }));
    assert!(!absent.exists());
}

#[test]
#[should_panic(expected = "insertions end before the close")]
fn nothing_is_inserted_after_the_close() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    let (filter, _) = Filter::open(Some(dir.path()), config(2)).unwrap();
    filter.flush_and_mark_clean(Epoch(0)).unwrap();
    filter.insert(&chunk(1));
}

#[test]
fn a_filter_that_cannot_grow_is_less_exact_and_never_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (filter, _) = Filter::open(Some(dir.path()), config(1)).unwrap();
    filter.finish_rebuild();
    let obstacle = dir.path().join("1.gdf");
    fs::create_dir(&obstacle).unwrap();
    (0..1500).for_each(|number| filter.insert(&chunk(number)));
    assert_eq!(filter.stats().layers, 1);
    assert!(has(&filter, 0..1500));
    fs::remove_dir(&obstacle).unwrap();
    (1500..1600).for_each(|number| filter.insert(&chunk(number)));
    assert_eq!(filter.stats().layers, 2, "tried again a sixteenth of the capacity later");
    assert!(has(&filter, 0..1600));
}
