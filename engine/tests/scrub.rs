//! The scrub on a real disk: what has rotted is found, said, remembered, healed by the next backup, and put away.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod place;

use std::time::Duration;

use gdd_engine::error::Error;
use gdd_engine::index::ContainerState;
use gdd_engine::scrub::{ScrubOptions, ScrubReport};
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use place::{MIB, Place, chunks_of, get, noise, put, rot};

fn scrub(store: &Store) -> ScrubReport {
    store.scrub(&ScrubOptions::default(), &mut |_| (), &mut |_| true).unwrap()
}

#[test]
fn a_sound_store_is_clean_and_is_not_read_twice() {
    let place = Place::new();
    let store = place.open();
    put(&store, "one", &noise(1, 5 * MIB));
    let report = scrub(&store);
    assert!(!report.is_damaged() && report.bytes_read > 5 * MIB as u64, "{report:?}");
    assert_eq!(report.chunks, chunks_of(&store, "one").len() as u64, "containers that are being filled too");
    let lately = ScrubOptions { older_than: Duration::from_secs(600), rate: None };
    let again = store.scrub(&lately, &mut |_| (), &mut |_| true).unwrap();
    assert_eq!((again.containers, again.containers_recent), (0, report.containers), "{again:?}");
    store.close().unwrap();
    let store = place.open();
    let again = store.scrub(&lately, &mut |_| (), &mut |_| true).unwrap();
    assert_eq!(again.containers, 0, "it is remembered: {again:?}");
    assert_eq!(scrub(&store).containers, report.containers);
    place.check(store);
}

#[test]
fn it_goes_on_where_it_was_stopped() {
    let place = Place::new();
    let store = place.open();
    put(&store, "one", &noise(1, 12 * MIB));
    let mut left = 12;
    let rest = &mut |_| {
        left -= 1;
        left > 0
    };
    let first = store.scrub(&ScrubOptions::default(), &mut |_| (), rest).unwrap();
    assert!(first.cancelled && (1..10).contains(&first.containers), "{first:?}");
    drop(store); // As after a crash.
    let store = place.open();
    let lately = ScrubOptions { older_than: Duration::from_secs(600), rate: None };
    let mut busy = None;
    let mut progress = |_| {
        busy.get_or_insert_with(|| store.scrub(&lately, &mut |_| (), &mut |_| true));
    };
    let second = store.scrub(&lately, &mut progress, &mut |_| true).unwrap();
    assert_eq!(second.containers_recent, first.containers, "{second:?}");
    assert!(matches!(busy, Some(Err(Error::Busy(_)))), "{busy:?}");
    place.check(store);
}

#[test]
fn rot_is_found_blamed_healed_and_put_away() {
    let place = Place::new();
    let store = place.open();
    let (hit, spared) = (noise(1, 4 * MIB), noise(2, 4 * MIB));
    put(&store, "hit", &hit);
    put(&store, "spared", &spared);
    put(&store, "hit too", &hit[MIB..2 * MIB]);
    let chunks = chunks_of(&store, "hit");
    let (at, (hash, entry)) = chunks.iter().enumerate().nth(chunks.len() / 3).unwrap();
    rot(&store, entry);
    let report = scrub(&store);
    assert_eq!(
        (report.chunks_bad, report.containers_damaged, report.chunks_suspect),
        (1, 1, 1),
        "{report:?}"
    );
    assert_eq!(report.bad[0].chunk, hash.to_string());
    let blame = store.blame(&mut |_| ()).unwrap();
    let offset: u64 = chunks[..at].iter().map(|(_, entry)| u64::from(entry.raw_len)).sum();
    let first = &blame.streams[0];
    assert_eq!(
        (first.stream.as_str(), first.chunks_bad, first.bytes_bad),
        ("hit", 1, u64::from(entry.raw_len))
    );
    assert_eq!((first.stretches[0].offset, first.stretches.len()), (offset, 1));
    assert!(blame.streams.iter().all(|hit| hit.stream != "spared"), "{blame:?}");
    assert_eq!(get(&store, "hit too").is_err(), blame.streams.len() == 2);
    assert!(get(&store, "hit").is_err() && get(&store, "spared").unwrap() == spared);
    // The next backup of the same data brings the chunk again, alone.
    assert_eq!(put(&store, "next", &hit), u64::from(entry.raw_len));
    assert!(get(&store, "hit").unwrap() == hit && store.blame(&mut |_| ()).unwrap().streams.is_empty());
    let report = store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap();
    assert_eq!(report.retired, [entry.container.to_string()], "{report:?}");
    assert!(!scrub(&store).is_damaged());
    assert!(get(&store, "hit").unwrap() == hit && get(&store, "spared").unwrap() == spared);
    place.check(store);
}

#[test]
fn what_is_gone_is_found_by_the_index() {
    let place = Place::new();
    let store = place.open();
    let bytes = noise(1, 6 * MIB);
    put(&store, "one", &bytes);
    let rows = store.core().index.containers().unwrap();
    let sealed: Vec<_> = rows.iter().filter(|(_, row)| row.state == ContainerState::Sealed).collect();
    let (gone, cut, headless) = (sealed[0], sealed[1], sealed[2]);
    let path = |id| store.core().paths.container(id);
    std::fs::remove_file(path(gone.0)).unwrap();
    let file = std::fs::File::options().write(true).open(path(cut.0)).unwrap();
    file.set_len(cut.1.durable_len / 2).unwrap();
    let file = std::fs::File::options().write(true).open(path(headless.0)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4096], 0).unwrap();
    let report = scrub(&store);
    assert_eq!((report.containers_damaged, report.findings.len()), (3, 3), "{report:?}");
    let lost = u64::from(gone.1.record_count) + u64::from(cut.1.record_count) / 2;
    assert!(
        report.chunks_bad + 4 >= lost && report.chunks_bad <= lost + 4,
        "about half of the one: {report:?}"
    );
    assert!(get(&store, "one").is_err());
    store.close().unwrap();
    let store = place.open();
    put(&store, "again", &bytes);
    assert!(get(&store, "one").unwrap() == bytes && get(&store, "again").unwrap() == bytes);
    let report = store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap();
    assert_eq!((report.retired.len(), report.quarantined.len()), (3, 0), "{report:?}");
    assert!(get(&store, "one").unwrap() == bytes);
    place.check(store);
}
