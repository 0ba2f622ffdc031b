//! Slices and the marks that describe them.

use super::*;
use crate::format::recipe_block::{Line, Mark};

const HASH: ChunkHash = ChunkHash([9; 32]);

fn slice(chunk_offset: u32, length: u32) -> Line {
    Line::Piece(RecipeEntry { hash: HASH, chunk_offset, length, repeat: 1, slice: true })
}

fn mark(length: u32) -> Line {
    Line::Mark(Mark { hash: ChunkHash([length.to_le_bytes()[0]; 32]), length })
}

fn write_lines(bench: &mut Bench, recipe: u64, lines: &[Line]) -> RecipeRow {
    let io = bench.io.as_mut();
    let mut writer = RecipeWriter::create(io, &bench.recipes, header(recipe, "sliced")).unwrap();
    for line in lines {
        match line {
            Line::Piece(entry) => writer.push_entry(io, *entry).unwrap(),
            Line::Mark(mark) => writer.push_mark(io, *mark).unwrap(),
        }
    }
    writer.finish(io, TOTALS, &Poison::default()).unwrap()
}

fn read_lines(bench: &mut Bench, recipe: u64) -> Result<Vec<Line>> {
    let io = bench.io.as_mut();
    let mut reader = RecipeReader::open(io, &bench.recipes, RecipeId(recipe), STORE)?;
    let mut lines = Vec::new();
    let whole = loop {
        match reader.next_lines(io, &mut lines) {
            Ok(true) => {}
            Ok(false) => break Ok(lines),
            Err(error) => break Err(error),
        }
    };
    reader.close(io);
    whole
}

#[test]
fn marks_are_kept_and_are_no_part_of_the_stream() {
    let mut bench = bench();
    let whole = Line::Piece(RecipeEntry::whole(HASH, 100));
    // Two chunks over three slices, and enough lines for several blocks.
    let stretch = [whole, mark(30), mark(12), slice(3, 20), slice(50, 1), slice(60, 21)];
    let lines: Vec<Line> = stretch.iter().copied().cycle().take(600 * stretch.len()).collect();
    let row = write_lines(&mut bench, 1, &lines);
    assert_eq!((row.logical_bytes, row.chunk_count), (600 * 142, 600 * 4));
    assert!(read_lines(&mut bench, 1).unwrap() == lines);
    let (found, pieces, _) = read(bench.io.as_mut(), &bench.recipes, 1).unwrap();
    assert_eq!((found, pieces.len()), (row, 600 * 4));
    assert!(pieces.iter().all(|entry| entry.hash == HASH), "a reader of pieces sees no mark");
    // A copy that is lost is written anew with all of it.
    let [a, b] = Side::BOTH.map(|side| side.file(&bench.recipes, RecipeId(1)));
    std::fs::remove_file(&a).unwrap();
    set::repair(bench.io.as_mut(), &bench.recipes, RecipeId(1), STORE).unwrap();
    assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap());
}

#[test]
fn slices_that_no_mark_describes_are_refused() {
    let mut bench = bench();
    let refused: [&[Line]; 4] = [
        &[slice(0, 10)],
        &[mark(10), slice(0, 10), slice(5, 1)],
        &[mark(9), slice(0, 10)],
        &[mark(10), slice(0, 9)], // Of the last byte nothing is there.
    ];
    for (recipe, lines) in (1..).zip(refused) {
        write_lines(&mut bench, recipe, lines);
        let read = read_lines(&mut bench, recipe);
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{lines:?}: {read:?}");
    }
}
