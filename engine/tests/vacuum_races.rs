//! Who meets the vacuum and the scrub, each at the moment that matters: RACES.md names these tests.
#![allow(missing_docs, clippy::unwrap_used)]

mod place;

use std::fs;
use std::path::Path;

use gdd_engine::fsck;
use gdd_engine::ids::ChunkHash;
use gdd_engine::index::ChunkEntry;
use gdd_engine::ingest::PutOptions;
use gdd_engine::ingest::front::StreamChunk;
use gdd_engine::ingest::named::NamedPut;
use gdd_engine::options::Access;
use gdd_engine::scrub::ScrubOptions;
use gdd_engine::store::Store;
use gdd_engine::vacuum::{VacuumOptions, VacuumReport};
use place::{MIB, Place, copy_folder, get, noise, options, put};

fn vacuum(store: &Store) -> VacuumReport {
    store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap()
}

/// 400 chunks of 20,000 bytes.
fn chunks() -> Vec<Vec<u8>> {
    noise(1, 8_000_000).chunks(20_000).map(<[u8]>::to_vec).collect()
}

fn named(chunks: &[Vec<u8>]) -> Vec<StreamChunk> {
    let named = |bytes: &Vec<u8>| StreamChunk {
        hash: ChunkHash::of(bytes),
        len: u32::try_from(bytes.len()).unwrap(),
    };
    chunks.iter().map(named).collect()
}

fn answer(put: &mut NamedPut) -> Vec<bool> {
    loop {
        if let Some(answer) = put.answer().unwrap() {
            return answer;
        }
        put.wait().unwrap();
    }
}

/// All of `chunks` as the stream `name`, giving what is wanted; how many were.
fn give_all(store: &Store, name: &str, chunks: &[Vec<u8>]) -> usize {
    let mut put = store.put_named(name, PutOptions::default()).unwrap();
    put.ask(named(chunks)).unwrap();
    let wanted = answer(&mut put);
    for (bytes, _) in chunks.iter().zip(&wanted).filter(|(_, wanted)| **wanted) {
        put.give(bytes).unwrap();
    }
    put.finish().unwrap();
    wanted.iter().filter(|wanted| **wanted).count()
}

#[test]
fn what_a_probe_said_to_be_known_stays_until_it_is_appended() {
    let place = Place::new();
    let (store, chunks) = (place.open(), chunks());
    assert_eq!(give_all(&store, "old", &chunks), 400);
    put(&store, "filler", &noise(2, 3 * MIB)); // Seals what the last chunks lie in.
    let mut open = store.put_named("new", PutOptions::default()).unwrap();
    open.probe(named(&chunks)).unwrap();
    assert!(answer(&mut open).iter().all(|known| *known), "it is all there");
    // Between the answer and what is made of it, nobody else needs the chunks, and the vacuum comes twice.
    store.remove("old").unwrap();
    for _ in 0..2 {
        let report = vacuum(&store);
        assert!(report.waiting_for_streams > 5 && report.freed_containers == 0, "{report:?}");
    }
    // Who asks now is told to bring them, by a probe as by a question.
    let mut later = store.put_named("later", PutOptions::default()).unwrap();
    later.probe(named(&chunks)).unwrap();
    let known = answer(&mut later).into_iter().filter(|known| *known).count();
    assert!(known < 60, "only what lies in containers that stay: {known}");
    drop(later);
    open.append(named(&chunks).into());
    assert!(open.answer().unwrap().is_none(), "nothing is asked any more");
    open.finish().unwrap();
    let report = vacuum(&store);
    assert!(report.freed_containers > 5 && report.lost_chunks == 0, "{report:?}");
    assert!(get(&store, "new").unwrap() == chunks.concat());
    assert_eq!(give_all(&store, "again", &chunks), 0, "and what was moved is known");
    place.check(store);
}

#[test]
fn a_stream_that_is_removed_while_it_is_marked_ends_nothing() {
    let place = Place::new();
    let store = place.open();
    let kept = noise(9, 3 * MIB);
    for number in 0..6 {
        put(&store, &format!("gone-{number}"), &noise(number, MIB));
    }
    put(&store, "kept", &kept);
    let (mut marked, mut removed) = (0, 0);
    // The list was made; each of them is removed right before it is read.
    let report = store.vacuum(
        &VacuumOptions::default(),
        &mut |progress| {
            if progress.stage == "mark" && marked < 6 {
                removed += u32::from(store.remove(&format!("gone-{marked}")).is_ok());
                marked += 1;
            }
        },
        &mut |_| true,
    );
    let report = report.unwrap();
    assert!(removed == 6 && report.streams == 1, "{removed} removed: {report:?}");
    assert!(get(&store, "kept").unwrap() == kept);
    place.check(store);
}

/// The stream is removed at the `at`th look of the scrub at whether to go on.
fn removed_at(place: &Place, store: &Store, at: usize) -> bool {
    put(store, "gone", &noise(5, MIB));
    let row = store.core().index.recipe("gone").unwrap().unwrap();
    let copies = ["a", "b"].map(|side| place.dir.join(format!("recipes/{side}/{}.gdr", row.recipe)));
    let mut bytes = fs::read(&copies[0]).unwrap();
    bytes[5000] ^= 1;
    fs::write(&copies[0], bytes).unwrap();
    let mut looks = 0;
    let report = store.scrub(&ScrubOptions::default(), &mut |_| (), &mut |_| {
        looks += 1;
        if looks == at {
            store.remove("gone").unwrap();
        }
        true
    });
    report.unwrap();
    if looks < at {
        store.remove("gone").unwrap();
    }
    assert!(copies.iter().all(|copy| !copy.exists()), "look {at}: a removed stream's recipe is back");
    assert!(get(store, "gone").is_err());
    looks < at
}

#[test]
fn a_recipe_that_is_written_anew_does_not_bring_a_removed_stream_back() {
    let place = Place::new();
    let store = place.open();
    put(&store, "kept", &noise(6, 2 * MIB));
    let looks = (1..500).find(|at| removed_at(&place, &store, *at));
    assert!(looks.is_some_and(|looks| looks > 5), "each look was a moment: {looks:?}");
    place.check(store);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn what_a_journal_names_is_kept_from_the_vacuum_also_through_a_crash() {
    let place = Place::new();
    let store = place.open();
    let bytes = noise(1, 8 * MIB);
    put(&store, "old", &bytes);
    put(&store, "filler", &noise(2, 3 * MIB));
    let mut open = store.put_with("new", PutOptions { kept: true, ..PutOptions::default() }).unwrap();
    open.write(&bytes[..6 * MIB]).unwrap();
    open.flush().unwrap();
    store.remove("old").unwrap();
    let report = vacuum(&store);
    assert!(report.waiting_for_streams > 4 && report.freed_containers == 0, "{report:?}");
    // What a kill leaves now: the journal is all that needs those chunks, in containers that are on their way out.
    let crashed = place.dir.with_extension("crashed");
    copy(&place.dir, &crashed);
    let again = Store::open(&crashed, Access::ReadWrite, &options()).unwrap();
    for round in 0..2 {
        let report = vacuum(&again);
        assert_eq!((report.lost_chunks, report.quarantined.len()), (0, 0), "{round}: {report:?}");
        let found = get(&again, "new").unwrap();
        assert!(found.len() >= 6 * MIB && bytes.starts_with(&found), "{round}: {} bytes", found.len());
    }
    again.close().unwrap();
    assert!(fsck::check(&crashed, 3, &options(), &mut |_| ()).unwrap().clean);
    // And in the store that lived on.
    open.write(&bytes[6 * MIB..]).unwrap();
    open.finish().unwrap();
    assert!(vacuum(&store).freed_containers > 4);
    assert!(get(&store, "new").unwrap() == bytes);
    place.check(store);
}

/// A crash between the data and the index, while chunks were being stored again because their container leaves:
/// recovery lists them in the younger container, and the index names the one that is about to go.
#[test]
fn what_recovery_found_twice_is_not_known_by_the_copy_that_the_index_does_not_name() {
    let place = Place::new();
    let (base, fresh) = (chunks(), noise(7, 600_000).chunks(20_000).map(<[u8]>::to_vec).collect::<Vec<_>>());
    let index = place.dir.join("index");
    let before = place.dir.with_extension("before");
    let store = place.open();
    give_all(&store, "base", &base);
    put(&store, "filler", &noise(2, 3 * MIB));
    store.remove("base").unwrap();
    let open = store.put_named("open", PutOptions::default()).unwrap();
    assert!(vacuum(&store).waiting_for_streams > 5, "it has begun, and frees nothing yet");
    copy_folder(&index, &before);
    // Stored as far as their data; what the index was told of it is undone below.
    let mut lost = store.put_named("lost", PutOptions::default()).unwrap();
    let both = [&fresh[..], &base[..]].concat();
    lost.ask(named(&both)).unwrap();
    for (bytes, _) in both.iter().zip(answer(&mut lost)).filter(|(_, wanted)| *wanted) {
        lost.give(bytes).unwrap();
    }
    lost.flush();
    while lost.is_waiting() {
        assert!(lost.answer().unwrap().is_none());
        if lost.durable().unwrap().is_none() {
            lost.wait().unwrap();
        }
    }
    drop((lost, open));
    drop(store);
    fs::remove_dir_all(&index).unwrap();
    fs::rename(&before, &index).unwrap();

    let store = place.open();
    assert_eq!(
        give_all(&store, "warm", &fresh),
        0,
        "it was adopted; its containers' directories are read for it"
    );
    assert_eq!(give_all(&store, "and again", &fresh), 0);
    let mut again = store.put_named("again", PutOptions::default()).unwrap();
    again.ask(named(&base)).unwrap();
    let wanted = answer(&mut again);
    let hashes: Vec<ChunkHash> = base.iter().map(|bytes| ChunkHash::of(bytes)).collect();
    let mut rows = Vec::new();
    store.core().index.locate(&hashes, &mut rows).unwrap();
    let leaving = |row: &ChunkEntry| store.core().leaving.has(row.container);
    let relied =
        wanted.iter().zip(&rows).filter(|(wanted, row)| !**wanted && row.is_some_and(|row| leaving(&row)));
    assert_eq!(relied.count(), 0, "known, in a container that goes");
    // Nobody needs them by a name yet, and the vacuum comes.
    vacuum(&store);
    for (bytes, _) in base.iter().zip(&wanted).filter(|(_, wanted)| **wanted) {
        again.give(bytes).unwrap();
    }
    again.finish().unwrap();
    vacuum(&store);
    assert!(get(&store, "again").unwrap() == base.concat());
    place.check(store);
}
