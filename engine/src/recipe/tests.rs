//! Recipes on a real directory: round trips, damage to one copy and to both, and a disk that stops at every
//! operation.

mod crash;
mod damage;
mod marks;

use std::path::{Path, PathBuf};

use gdd_uring::io::Io;
use gdd_uring::probe::{self, Mode};

use super::*;
use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::format::recipe::{ChunkParams, Owner, RecipeHeader};
use crate::format::recipe_block::RecipeEntry;
use crate::format::recipe_trailer::Tuning;
use crate::ids::{ChunkHash, Epoch, RecipeId};
use crate::index::RecipeRow;
use crate::poison::Poison;

const STORE: StoreId = StoreId([7; 16]);
const TUNING: Tuning =
    Tuning { generation: 4, votes: -1, switch_at: 5, later: ChunkParams { min: 6, avg: 7, max: 8 } };
const TOTALS: RecipeTotals = RecipeTotals { new_bytes: 3, new_chunks: 2, stored_bytes: 1, tuning: TUNING };

/// A directory with empty recipe directories, and a door to it.
struct Bench {
    recipes: PathBuf,
    io: Box<dyn Io>,
    _directory: tempfile::TempDir,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let recipes = directory.path().join("recipes");
    for path in set::directories(&recipes) {
        std::fs::create_dir_all(path).unwrap();
    }
    let io = probe::probe(directory.path(), Mode::Pwrite, false).unwrap().open().unwrap();
    Bench { recipes, io, _directory: directory }
}

fn header(recipe: u64, name: &str) -> RecipeHeader {
    RecipeHeader {
        store: STORE,
        recipe: RecipeId(recipe),
        created_epoch: Epoch(2),
        created_unix: 1,
        name: name.to_owned(),
        params: ChunkParams { min: 1, avg: 2, max: 3 },
        owner: Owner::Manual,
        lineage: "of these".to_owned(),
    }
}

/// `count` distinct pieces; every third one twice in a row.
fn entries(count: u32) -> Vec<RecipeEntry> {
    let hash = |n: u32| ChunkHash::of(&n.to_le_bytes());
    let repeat = |n: u32| 1 + u32::from(n.is_multiple_of(3));
    (0..count).map(|n| RecipeEntry { repeat: repeat(n), ..RecipeEntry::whole(hash(n), n + 1) }).collect()
}

fn write(
    io: &mut dyn Io,
    recipes: &Path,
    header: RecipeHeader,
    entries: &[RecipeEntry],
) -> Result<RecipeRow> {
    let mut writer = RecipeWriter::create(io, recipes, header)?;
    for entry in entries {
        for _ in 0..entry.repeat {
            if let Err(error) = writer.push(io, entry.hash, entry.length) {
                writer.abort(io);
                return Err(error);
            }
        }
    }
    writer.finish(io, TOTALS, &Poison::default())
}

fn read(io: &mut dyn Io, recipes: &Path, recipe: u64) -> Result<(RecipeRow, Vec<RecipeEntry>, Vec<Side>)> {
    let mut reader = RecipeReader::open(io, recipes, RecipeId(recipe), STORE)?;
    let mut entries = Vec::new();
    let result = loop {
        match reader.next_block(io, &mut entries) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let row = RecipeRow::new(reader.header(), reader.trailer());
    let damaged = reader.damage().iter().map(|(side, _)| *side).collect();
    reader.close(io);
    result.map(|()| (row, entries, damaged))
}

#[test]
fn what_is_written_is_read() {
    let mut bench = bench();
    let counts = [0, 1, 2, 84, 85, 1363, 1364, 1365, 2728, 2729, 5000];
    for (recipe, count) in (1..).zip(counts) {
        let header = header(recipe, &format!("stream {count}"));
        let expected = entries(count);
        let row = write(bench.io.as_mut(), &bench.recipes, header.clone(), &expected).unwrap();
        let (found, listed, damaged) = read(bench.io.as_mut(), &bench.recipes, recipe).unwrap();
        assert!(listed == expected, "{count} entries");
        assert_eq!(found, row);
        assert_eq!(damaged, []);
        assert_eq!(row.name, header.name);
        assert_eq!(row.logical_bytes, expected.iter().map(RecipeEntry::bytes).sum::<u64>());
        assert_eq!(row.chunk_count, expected.iter().map(|entry| u64::from(entry.repeat)).sum::<u64>());
        assert_eq!((row.new_bytes, row.new_chunks, row.stored_bytes), (3, 2, 1));
        let [a, b] =
            Side::BOTH.map(|side| std::fs::read(side.file(&bench.recipes, RecipeId(recipe))).unwrap());
        assert!(a == b, "both copies hold the same bytes");
    }
    let listing = set::list(bench.io.as_mut(), &bench.recipes).unwrap();
    assert_eq!(listing.recipes.len(), counts.len());
    assert!(listing.temporary.is_empty() && listing.foreign.is_empty());
}

#[test]
fn a_long_run_takes_one_entry() {
    let mut bench = bench();
    let run = RecipeEntry { repeat: 100_000, ..RecipeEntry::whole(ChunkHash::of(b"zeros"), 65536) };
    let row = write(bench.io.as_mut(), &bench.recipes, header(1, "sparse"), &[run]).unwrap();
    assert_eq!((row.chunk_count, row.logical_bytes), (100_000, 6_553_600_000));
    let (_, listed, _) = read(bench.io.as_mut(), &bench.recipes, 1).unwrap();
    assert_eq!(listed, [run]);
    assert_eq!(std::fs::metadata(Side::A.file(&bench.recipes, RecipeId(1))).unwrap().len(), 3 * 4096);
}

#[test]
fn an_aborted_recipe_leaves_nothing() {
    let mut bench = bench();
    let io = bench.io.as_mut();
    let mut writer = RecipeWriter::create(io, &bench.recipes, header(1, "etc")).unwrap();
    for entry in entries(2000) {
        writer.push(io, entry.hash, entry.length).unwrap();
    }
    assert_eq!(set::list(io, &bench.recipes).unwrap().temporary.len(), 2);
    writer.abort(io);
    assert_eq!(set::list(io, &bench.recipes).unwrap(), set::Listing::default());
}

#[test]
fn removing_is_for_good_and_can_be_repeated() {
    let mut bench = bench();
    write(bench.io.as_mut(), &bench.recipes, header(1, "etc"), &entries(3)).unwrap();
    for _ in 0..2 {
        set::remove(bench.io.as_mut(), &bench.recipes, RecipeId(1)).unwrap();
        assert_eq!(set::list(bench.io.as_mut(), &bench.recipes).unwrap(), set::Listing::default());
    }
    assert!(matches!(read(bench.io.as_mut(), &bench.recipes, 1), Err(Error::Io { .. })));
}

#[test]
fn an_index_is_rebuilt_from_what_is_there() {
    let mut bench = bench();
    let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
    let etc = write(io, recipes, header(1, "etc"), &entries(3)).unwrap();
    write(io, recipes, header(2, "usr"), &entries(4)).unwrap();
    let usr = write(io, recipes, header(3, "usr"), &entries(5)).unwrap();
    write(io, recipes, header(4, "lost"), &entries(5)).unwrap();
    for side in Side::BOTH {
        std::fs::write(side.file(recipes, RecipeId(4)), b"short").unwrap();
    }
    std::fs::write(recipes.join("a/notes.txt"), b"?").unwrap();
    std::fs::remove_file(Side::A.file(recipes, RecipeId(1))).unwrap();
    let set::Rows { rows, unreadable, notes } = set::rows(io, recipes, STORE).unwrap();
    assert_eq!((&rows[0], &rows[2], rows.len()), (&etc, &usr, 3));
    assert_eq!(unreadable, [rows[1].name.clone()]);
    for word in [
        "notes.txt",
        "0000000000000001, one copy",
        "0000000000000002 of \"usr\" is left out",
        "0000000000000004 cannot be read",
    ] {
        assert!(notes.iter().any(|note| note.contains(word)), "{word}: {notes:?}");
    }
}
