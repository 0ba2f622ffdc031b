//! One copy damaged: nobody notices but the report. Both damaged: what is good of both, or a refusal.

use super::*;
use crate::index::simulated::SimulatedIndex;
use crate::index::{Batch, Index};

/// Change a byte of one copy.
fn flip(bench: &Bench, side: Side, at: usize) {
    let path = side.file(&bench.recipes, RecipeId(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

fn stored(count: u32) -> (Bench, RecipeRow) {
    let mut bench = bench();
    let row = write(bench.io.as_mut(), &bench.recipes, header(1, "etc"), &entries(count)).unwrap();
    (bench, row)
}

#[test]
fn a_damaged_byte_anywhere_costs_nothing_but_its_copy() {
    let (mut bench, row) = stored(3);
    let len = 3 * 4096;
    let recipe = RecipeId(1);
    for at in (0..len).step_by(97).chain([4096, 8191, len - 1]) {
        for side in Side::BOTH {
            flip(&bench, side, at);
            let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
            let (found, listed, _) = read(io, recipes, 1).unwrap();
            assert!(found == row && listed == entries(3), "byte {at}");
            let damage = set::check_copy(io, recipes, recipe, STORE, side).expect_err("the byte is covered");
            assert!(
                matches!(&damage, Error::Corrupt { path, .. } if *path == side.file(recipes, recipe)),
                "{damage}"
            );
            assert_eq!(set::repair(io, recipes, recipe, STORE).unwrap(), [side]);
            assert_eq!(set::repair(io, recipes, recipe, STORE).unwrap(), [], "byte {at} is good again");
        }
    }
}

#[test]
fn damage_is_reported_with_its_copy() {
    let (mut bench, row) = stored(3000);
    flip(&bench, Side::A, 4096 + 65536 + 100);
    let (found, listed, damaged) = read(bench.io.as_mut(), &bench.recipes, 1).unwrap();
    assert!(found == row && listed == entries(3000));
    assert_eq!(damaged, [Side::A]);
    let checked = set::check(bench.io.as_mut(), &bench.recipes, RecipeId(1), STORE).unwrap();
    assert!(checked.damage[0].1.to_string().contains("recipe block"), "{:?}", checked.damage);
}

#[test]
fn two_copies_damaged_in_different_blocks_make_one_whole() {
    let (mut bench, row) = stored(3000);
    flip(&bench, Side::A, 0);
    flip(&bench, Side::B, 4096 + 5);
    let trailer = 4096 + 65536 + 65536 + 16384;
    flip(&bench, Side::A, trailer + 4095);
    let (found, listed, mut damaged) = read(bench.io.as_mut(), &bench.recipes, 1).unwrap();
    damaged.sort_unstable();
    assert!(found == row && listed == entries(3000));
    assert_eq!(damaged, Side::BOTH);
    let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
    assert_eq!(set::repair(io, recipes, RecipeId(1), STORE).unwrap(), Side::BOTH);
    assert_eq!(read(io, recipes, 1).unwrap().2, []);
}

#[test]
fn both_copies_of_a_block_damaged_are_refused() {
    for at in [10, 4096 + 10, 4096 + 65536 + 10] {
        let (mut bench, _) = stored(1400);
        Side::BOTH.into_iter().for_each(|side| flip(&bench, side, at));
        let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
        assert!(matches!(read(io, recipes, 1), Err(Error::Corrupt { .. })), "byte {at}");
        let before = set::list(io, recipes).unwrap();
        assert!(set::repair(io, recipes, RecipeId(1), STORE).is_err());
        assert_eq!(set::list(io, recipes).unwrap(), before, "a repair that cannot be done changes nothing");
    }
}

#[test]
fn a_missing_short_or_long_copy_is_replaced() {
    for change in [None, Some(0), Some(4096), Some(8192), Some(8191), Some(1 << 20)] {
        let (mut bench, row) = stored(1400);
        let path = Side::A.file(&bench.recipes, RecipeId(1));
        match change {
            None => std::fs::remove_file(&path).unwrap(),
            Some(len) => std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap(),
        }
        let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
        assert_eq!(read(io, recipes, 1).unwrap().0, row);
        assert_eq!(set::repair(io, recipes, RecipeId(1), STORE).unwrap(), [Side::A], "{change:?}");
        assert!(set::check_copy(io, recipes, RecipeId(1), STORE, Side::A).is_ok());
    }
}

#[test]
fn another_recipe_in_its_place_is_refused() {
    let (mut bench, row) = stored(3);
    let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
    write(io, recipes, header(2, "usr"), &entries(9)).unwrap();
    std::fs::copy(Side::A.file(recipes, RecipeId(2)), Side::A.file(recipes, RecipeId(1))).unwrap();
    assert_eq!(read(io, recipes, 1).unwrap().0, row);
    std::fs::copy(Side::A.file(recipes, RecipeId(2)), Side::B.file(recipes, RecipeId(1))).unwrap();
    assert!(matches!(read(io, recipes, 1), Err(Error::Corrupt { .. })));
    assert!(matches!(
        RecipeReader::open(io, recipes, RecipeId(2), StoreId([8; 16])),
        Err(Error::Corrupt { .. })
    ));
}

/// A recipe of three full blocks and a short one, with these bytes changed in both copies.
fn ruined(at: &[usize]) -> Bench {
    let (bench, _) = stored(4500);
    for side in Side::BOTH {
        at.iter().for_each(|at| flip(&bench, side, *at));
    }
    bench
}

#[test]
fn a_stream_whose_recipe_cannot_be_read_keeps_its_row() {
    let trailer = 4096 + 3 * 65536 + encoded_len(4500 - 3 * RECIPE_BLOCK_ENTRIES);
    for (at, name) in [(4096 + 9, "etc"), (trailer + 9, "etc"), (9, "unreadable/0000000000000001")] {
        let mut bench = ruined(&[at]);
        let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
        let older = write(io, recipes, header(2, "usr"), &entries(3)).unwrap();
        let rows = set::rows(io, recipes, STORE).unwrap();
        assert_eq!(rows.unreadable, [name], "byte {at}");
        let names: Vec<_> = rows.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, [name, "usr"], "byte {at}");
        assert!(rows.rows[1] == older && rows.notes.len() == 1, "{:?}", rows.notes);
        assert_eq!(
            rows.rows[0].logical_bytes > 0,
            at != trailer + 9,
            "byte {at}: what is known of it is said"
        );
    }
}

/// One that has the name of a readable one does not take its place, and is not left out either.
#[test]
fn an_unreadable_recipe_never_hides_a_readable_one() {
    let mut bench = ruined(&[4096 + 9]);
    let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
    let readable = write(io, recipes, header(2, "etc"), &entries(3)).unwrap();
    let rows = set::rows(io, recipes, STORE).unwrap();
    assert_eq!(rows.unreadable, ["unreadable/0000000000000001"]);
    assert_eq!(rows.rows[0], readable);
}

/// What cannot be opened for want of descriptors, rights or memory is not lost: here, a link to itself.
#[test]
fn a_failure_that_says_nothing_of_the_data_ends_it() {
    for sides in [&[Side::A][..], &[Side::B], &Side::BOTH] {
        let (mut bench, row) = stored(1400);
        let other = Side::BOTH.into_iter().find(|side| !sides.contains(side));
        for side in sides {
            let path = side.file(&bench.recipes, RecipeId(1));
            std::fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&path, &path).unwrap();
        }
        if other.is_some() {
            assert_eq!(set::rows(bench.io.as_mut(), &bench.recipes, STORE).unwrap().rows, [row]);
        }
        other.iter().for_each(|side| flip(&bench, *side, 4096 + 9));
        let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
        assert!(matches!(set::rows(io, recipes, STORE), Err(Error::Io { .. })), "{sides:?}");
        assert!(matches!(set::repair(io, recipes, RecipeId(1), STORE), Err(Error::Io { .. })), "{sides:?}");
        let index = SimulatedIndex::new(1);
        let recovered = recover::recover(io, recipes, STORE, &index, false, &mut Vec::new());
        assert!(matches!(recovered, Err(Error::Io { .. })), "{sides:?}");
    }
}

/// A disk may give again what it did not give once: the row that was made meanwhile says too little.
#[test]
fn what_can_be_read_again_gets_its_row_back() {
    let index = SimulatedIndex::new(1);
    for at in [9, 4096 + 3 * 65536 + encoded_len(4500 - 3 * RECIPE_BLOCK_ENTRIES) + 9] {
        let mut bench = ruined(&[at]);
        let (io, recipes) = (bench.io.as_mut(), bench.recipes.clone());
        recover::recover(io, &recipes, STORE, &index, false, &mut Vec::new()).unwrap();
        assert!(rest::is_makeshift(&index.recipes().unwrap()[0]), "byte {at}");
        Side::BOTH.into_iter().for_each(|side| flip(&bench, side, at));
        let io = bench.io.as_mut();
        recover::recover(io, &recipes, STORE, &index, true, &mut Vec::new()).unwrap();
        let row = read(io, &recipes, 1).unwrap().0;
        assert_eq!(index.recipes().unwrap(), [row], "byte {at}");
        let removed_recipes = vec!["etc".to_owned()];
        index.commit(Batch { removed_recipes, ..Default::default() }).unwrap();
    }
}
