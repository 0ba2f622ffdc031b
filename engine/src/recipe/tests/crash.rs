//! A disk that stops at each operation in turn, and what recovery makes of it.

use std::io;
use std::time::Duration;

use gdd_uring::buffer::Pool;
use gdd_uring::io::{Done, Entry, FileId, Op, Open, Tag, Waker};

use super::*;
use crate::index::simulated::SimulatedIndex;
use crate::index::{Batch, Index, RecipeState};

/// Passes everything on until `left` operations that change something were made, then refuses those.
struct Stopping {
    inner: Box<dyn Io>,
    left: u32,
}

impl Stopping {
    fn change(&mut self) -> io::Result<()> {
        let dead = || io::Error::other("the disk stopped");
        self.left.checked_sub(1).map(|left| self.left = left).ok_or_else(dead)
    }
}

impl Io for Stopping {
    fn submit(&mut self, tag: Tag, op: Op) -> Result<(), Op> {
        let op = match (op, self.left) {
            // A file that is not open fails the operation, and only that, in the real backend.
            (Op::Write { offset, buffer, .. }, 0) => Op::Write { file: FileId(u32::MAX), offset, buffer },
            (Op::Datasync { .. }, 0) => Op::Datasync { file: FileId(u32::MAX) },
            (op @ (Op::Write { .. } | Op::Datasync { .. }), _) => {
                self.left -= 1;
                op
            }
            (op, _) => op,
        };
        self.inner.submit(tag, op)
    }
    fn poll(&mut self, done: &mut Vec<Done>, wait: gdd_uring::io::Wait) -> io::Result<()> {
        self.inner.poll(done, wait)
    }
    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
    fn register(&mut self, pool: &Pool) -> bool {
        self.inner.register(pool)
    }
    fn waker(&self) -> Waker {
        self.inner.waker()
    }
    fn now(&self) -> Duration {
        self.inner.now()
    }
    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        if how == Open::Create {
            self.change()?;
        }
        self.inner.open(path, how)
    }
    fn close(&mut self, file: FileId) {
        self.inner.close(file);
    }
    fn size(&mut self, file: FileId) -> io::Result<u64> {
        self.inner.size(file)
    }
    fn truncate(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.change()?;
        self.inner.truncate(file, len)
    }
    fn sync_all(&mut self, file: FileId) -> io::Result<()> {
        self.change()?;
        self.inner.sync_all(file)
    }
    fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.rename(source, target)
    }
    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.unlink(path)
    }
    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.create_dir(path)
    }
    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.sync_dir(path)
    }
    fn list(&mut self, path: &Path) -> io::Result<Vec<Entry>> {
        self.inner.list(path)
    }
    fn free_bytes(&mut self, path: &Path) -> io::Result<u64> {
        self.inner.free_bytes(path)
    }
}

fn stopping(bench: &Bench, left: u32) -> Stopping {
    let inner = probe::probe(&bench.recipes, Mode::Pwrite, false).unwrap().open().unwrap();
    Stopping { inner, left }
}

fn recover(bench: &mut Bench, index: &dyn Index) -> Vec<String> {
    let mut notes = Vec::new();
    recover::recover(bench.io.as_mut(), &bench.recipes, STORE, index, false, &mut notes).unwrap();
    notes
}

/// Run `action` on a disk that stops after 0, 1, 2 ... changes, until it succeeds; returns how often it failed.
fn at_every_stop(mut action: impl FnMut(u32) -> bool) -> u32 {
    (0..100).find(|&left| action(left)).expect("it needs fewer than 100 changes")
}

#[test]
fn a_disk_that_stops_while_writing_leaves_a_whole_stream_or_none() {
    let mut kept_count = 0;
    let stops = at_every_stop(|left| {
        let mut bench = bench();
        let index = SimulatedIndex::new(1);
        let mut dying = stopping(&bench, left);
        let written = write(&mut dying, &bench.recipes, header(1, "etc"), &entries(1400));
        drop(dying);
        recover(&mut bench, &index);
        let rows = index.recipes().unwrap();
        let listing = set::list(bench.io.as_mut(), &bench.recipes).unwrap();
        assert!(listing.temporary.is_empty(), "stop {left}");
        assert_eq!(rows.len(), listing.recipes.len(), "stop {left}: a file for each stream");
        if let Some(row) = rows.first() {
            kept_count += 1;
            let (found, listed, damaged) = read(bench.io.as_mut(), &bench.recipes, 1).unwrap();
            assert!(found == *row && listed == entries(1400) && damaged.is_empty(), "stop {left}");
            assert_eq!(listing.recipes[&RecipeId(1)][0], listing.recipes[&RecipeId(1)][1]);
        }
        assert!(written.is_err() || rows.len() == 1);
        written.is_ok()
    });
    assert!(stops >= 10, "{stops}");
    assert!(kept_count > 1, "stops after a rename are among them");
}

#[test]
fn a_repair_that_stops_never_loses_what_was_good() {
    let stops = at_every_stop(|left| {
        let mut bench = bench();
        let row = write(bench.io.as_mut(), &bench.recipes, header(1, "etc"), &entries(3000)).unwrap();
        // Both copies are bad, in different blocks: the repair replaces both.
        for (side, at) in [(Side::A, 5000), (Side::B, 80_000)] {
            let path = side.file(&bench.recipes, RecipeId(1));
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
        let mut dying = stopping(&bench, left);
        let repaired = set::repair(&mut dying, &bench.recipes, RecipeId(1), STORE);
        drop(dying);
        assert_eq!(read(bench.io.as_mut(), &bench.recipes, 1).unwrap().0, row, "stop {left}");
        let again = set::repair(bench.io.as_mut(), &bench.recipes, RecipeId(1), STORE).unwrap();
        assert!(repaired.is_err() || again.is_empty(), "stop {left}");
        assert_eq!(read(bench.io.as_mut(), &bench.recipes, 1).unwrap().2, [], "stop {left}");
        repaired.is_ok()
    });
    assert!(stops >= 8, "{stops}");
}

#[test]
fn a_removal_that_stops_is_ended_by_recovery() {
    let stops = at_every_stop(|left| {
        let mut bench = bench();
        let index = SimulatedIndex::new(1);
        let row = write(bench.io.as_mut(), &bench.recipes, header(1, "etc"), &entries(3)).unwrap();
        let marked = RecipeRow { state: RecipeState::Deleting, ..row };
        index.commit(Batch { recipes: vec![marked], ..Batch::default() }).unwrap();
        let mut dying = stopping(&bench, left);
        let removed = set::remove(&mut dying, &bench.recipes, RecipeId(1));
        drop(dying);
        assert_eq!(recover(&mut bench, &index), [""; 0]);
        assert_eq!(set::list(bench.io.as_mut(), &bench.recipes).unwrap(), set::Listing::default());
        assert_eq!(index.recipes().unwrap(), []);
        removed.is_ok()
    });
    assert_eq!(stops, 6, "two names and their two journals, two directories");
}

#[test]
fn recovery_never_removes_what_may_be_somebodys_only_recipe() {
    let mut bench = bench();
    let index = SimulatedIndex::new(1);
    let (io, recipes) = (bench.io.as_mut(), bench.recipes.as_path());
    let row = write(io, recipes, header(1, "etc"), &entries(3)).unwrap();
    let lost = RecipeRow { name: "lost".to_owned(), recipe: RecipeId(9), ..row.clone() };
    index.commit(Batch { recipes: vec![row.clone(), lost], ..Batch::default() }).unwrap();
    write(io, recipes, header(2, "etc"), &entries(4)).unwrap();
    write(io, recipes, header(3, "var"), &entries(5)).unwrap();
    let newest = write(io, recipes, header(4, "var"), &entries(6)).unwrap();
    write(io, recipes, header(5, "bad"), &entries(6)).unwrap();
    for side in Side::BOTH {
        std::fs::write(side.file(recipes, RecipeId(5)), vec![0; 8192]).unwrap();
    }
    std::fs::write(Side::A.temporary(recipes, RecipeId(6)), b"half").unwrap();
    std::fs::remove_file(Side::B.file(recipes, RecipeId(1))).unwrap();
    let notes = recover(&mut bench, &index);
    for words in [
        "recipe 0000000000000002 is left alone",
        "recipe 0000000000000003 is left alone",
        "stream \"var\" was whole",
        "recipe 0000000000000005 belongs to no stream",
        "stream \"lost\" is lost",
        "recipe 0000000000000001: copy [B] was written anew",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(words)), "{words}: {notes:?}");
    }
    let unreadable = "unreadable/0000000000000005";
    assert!(notes.iter().any(|note| note.contains(unreadable)), "{notes:?}");
    assert_eq!(notes.len(), 7, "{notes:?}");
    assert_eq!(
        index.recipe(unreadable).unwrap().unwrap().recipe,
        RecipeId(5),
        "the vacuum asks what it needs"
    );
    assert_eq!(index.recipe("etc").unwrap(), Some(row));
    assert_eq!(index.recipe("var").unwrap(), Some(newest));
    let listing = set::list(bench.io.as_mut(), &bench.recipes).unwrap();
    assert!(listing.temporary.is_empty());
    assert_eq!(listing.recipes.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}
