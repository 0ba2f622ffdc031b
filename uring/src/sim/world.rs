//! The state behind every door of one simulated disk, and what a call does to it.
//!
//! # Invariants
//! - Whatever happens is decided by the seed and the order of calls: there is no other clock and no other chance.
//! - After a power cut nothing changes any more, and every operation fails with the power cut's own error.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::faults::{Fault, Faults, Latency, OpKind, errno, power_cut};
use super::file::{SimFile, What};
use super::flight::{Flight, Ready};
use super::hits::{Hit, Hits};
use super::image::PAGE;
use super::log::Log;
use super::names::{Folder, Ino, Node, Tree};
use super::rng::Rng;
use crate::io::{Entry, Open};

/// Free space of a disk without a bound, in bytes.
const PLENTY: u64 = 1 << 40;

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) latency: Latency,
    pub(super) clock: Duration,
    pub(super) tree: Tree,
    /// Operations begun.
    pub(super) ops: u64,
    pub(super) counts: [u64; OpKind::COUNT],
    /// Operations begun with the power on that may change what a power cut finds.
    pub(super) changes: u64,
    /// The first operation that finds the power gone.
    pub(super) crash_at: u64,
    pub(super) dead: bool,
    /// Whether `crash_at` only ends the process.
    pub(super) kills: bool,
    /// The process was ended, and the machine goes on.
    pub(super) killed: bool,
    pub(super) read_only: bool,
    /// Completions given out.
    pub(super) reaps: u64,
    /// Operations under way, by the time they end and their number.
    pub(super) queue: BTreeMap<(Duration, u64), Flight>,
    /// Operations that ended and whose completions wait to be given out, by door.
    pub(super) ready: Vec<Vec<Ready>>,
    /// Pages that files take.
    pub(super) used: u64,
    pub(super) log: Log,
    pub(super) hits: Hits,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults, tree: Tree) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            faults,
            latency: Latency::default(),
            clock: Duration::ZERO,
            tree,
            ops: 0,
            counts: [0; OpKind::COUNT],
            changes: 0,
            crash_at: u64::MAX,
            dead: false,
            kills: false,
            killed: false,
            read_only: false,
            reaps: 0,
            queue: BTreeMap::new(),
            ready: Vec::new(),
            used: 0,
            log: Log::default(),
            hits: Hits::default(),
        };
        world.used = world.live_files().map(|(_, file)| file.charged).sum();
        world
    }

    /// Files that have a name.
    pub(super) fn live_files(&self) -> impl Iterator<Item = (Ino, &SimFile)> {
        self.tree.nodes.iter().enumerate().filter_map(|(ino, node)| match node {
            Node::File(file) if file.links > 0 => Some((ino, &**file)),
            _ => None,
        })
    }

    /// Count an operation and decide its fate. Cuts the power if it is time.
    pub(super) fn begin(&mut self, kind: OpKind) -> (u64, Option<Fault>) {
        let (number, of_kind) = (self.ops, self.counts[kind as usize]);
        self.ops += 1;
        self.counts[kind as usize] += 1;
        let fault = self.faults.draw(&mut self.rng, kind, number, of_kind);
        let due = number >= self.crash_at;
        if !self.dead && (due && self.kills || fault == Some(Fault::Kill)) {
            if !self.killed {
                self.hits.add(Hit::Kill);
            }
            self.killed = true;
        } else if !self.dead && (due || fault == Some(Fault::PowerCut)) {
            self.cut();
        }
        self.changes += u64::from(!self.dead && !self.killed && (kind.changes() || kind.is_sync()));
        if fault == Some(Fault::ReadOnly) {
            self.read_only = true;
        }
        (number, fault)
    }

    /// What stops an operation before it does anything.
    pub(super) fn refusal(&self, kind: OpKind) -> io::Result<()> {
        if self.dead || self.killed {
            return Err(power_cut());
        }
        if self.read_only && kind.changes() {
            return Err(errno(libc::EROFS));
        }
        Ok(())
    }

    /// A call that runs to its end at once.
    pub(super) fn call(&mut self, kind: OpKind, path: &Path) -> io::Result<()> {
        let (number, fault) = self.begin(kind);
        let usual = match kind {
            OpKind::Open | OpKind::Size | OpKind::List => self.latency.call,
            _ => self.latency.sync,
        };
        let takes = self.draw_latency(usual);
        self.pass(takes);
        let result = self.refusal(kind).and_then(|()| match fault {
            Some(Fault::Error) => Err(self.struck(kind, libc::EIO)),
            Some(Fault::NoSpace) => Err(self.struck(kind, libc::ENOSPC)),
            _ => Ok(()),
        });
        self.log.push(|| format!("#{number} {:?} {kind:?} {} {fault:?}", self.clock, path.display()));
        result
    }

    /// An operation fails with this error number; counted.
    pub(super) fn struck(&mut self, kind: OpKind, number: i32) -> io::Error {
        self.hits.add(match (number, kind) {
            (libc::ENOSPC, _) => Hit::NoSpace,
            (_, OpKind::SyncDir) => Hit::DirSyncError,
            (_, kind) if kind.is_sync() => Hit::SyncError,
            (_, OpKind::Read) => Hit::ReadError,
            _ => Hit::WriteError,
        });
        errno(number)
    }

    /// Half to twice as long as usual; now and then, where the run says so, fifty times.
    pub(super) fn draw_latency(&mut self, usual: Duration) -> Duration {
        let usual = u64::try_from(usual.as_nanos()).unwrap_or(u64::MAX / 200);
        let drawn = usual / 2 + self.rng.below(usual + usual / 2 + 1);
        let late = self.rng.chance(self.faults.late);
        if late {
            self.hits.add(Hit::Late);
        }
        Duration::from_nanos(if late { drawn * 50 } else { drawn })
    }

    /// Let time pass, with all that ends in it.
    pub(super) fn pass(&mut self, time: Duration) {
        self.clock = self.clock.saturating_add(time);
        self.settle();
    }

    /// Power goes. What was in flight may arrive in part, as the crash image decides, and fails.
    pub(super) fn cut(&mut self) {
        self.dead = true;
        self.hits.add(Hit::PowerCut);
        self.log.push(|| format!("power cut at {:?}", self.clock));
        for (_, flight) in std::mem::take(&mut self.queue) {
            if let Some((ino, change)) = flight.left_over() {
                self.tree.file_mut(ino).loose.push(change);
            }
            self.finish(flight, Err(power_cut()));
        }
    }

    /// Free pages.
    fn free(&self) -> u64 {
        self.faults.capacity.map_or(u64::MAX, |bytes| (bytes / PAGE as u64).saturating_sub(self.used))
    }

    /// Whether `pages` more fit.
    pub(super) fn fits(&self, pages: u64) -> bool {
        pages <= self.free()
    }

    /// Change a file with `change`, and the space in use with it.
    pub(super) fn charged(&mut self, ino: Ino, change: impl FnOnce(&mut SimFile)) {
        let file = self.tree.file_mut(ino);
        let before = file.charged;
        change(file);
        self.used = self.used + file.charged - before;
    }

    /// Free a file's space once nothing leads to it.
    pub(super) fn drop_space(&mut self, ino: Ino) {
        let file = self.tree.file_mut(ino);
        if file.links == 0 && file.opens == 0 {
            self.used -= std::mem::take(&mut file.charged);
        }
    }

    /// A door is gone. Of what it had in flight, some takes effect and some does not; nobody is told.
    pub(super) fn abandon(&mut self, door: usize) {
        let queue = std::mem::take(&mut self.queue);
        let (mine, rest): (Vec<_>, Vec<_>) = queue.into_iter().partition(|(_, flight)| flight.door == door);
        self.queue = rest.into_iter().collect();
        for (_, mut flight) in mine {
            if self.rng.coin() {
                flight.stop = 0;
                self.end_early(flight);
            }
        }
        for one in std::mem::take(&mut self.ready[door]) {
            let at = self.reaps;
            if one.parts > 0 {
                self.tree.file_mut(one.ino).reap(one.number, one.parts, at);
            }
        }
    }

    /// Remove a file's name, durably and uncounted.
    pub(super) fn unlink_durably(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.tree.unlink_durably(path)?;
        self.drop_space(ino);
        Ok(())
    }

    // Calls.

    pub(super) fn open(&mut self, path: &Path, how: Open) -> io::Result<Ino> {
        let kind = if how == Open::Create { OpKind::Create } else { OpKind::Open };
        self.call(kind, path)?;
        let ino = match how {
            Open::Read => self.tree.find_file(path)?,
            Open::Write if self.read_only => return Err(errno(libc::EROFS)),
            Open::Write => self.tree.find_file(path)?,
            Open::Create => self.tree.create(path, Node::File(Box::default()))?,
        };
        self.tree.file_mut(ino).opens += 1;
        Ok(ino)
    }

    pub(super) fn close(&mut self, ino: Ino) {
        let file = self.tree.file_mut(ino);
        file.opens -= 1;
        self.drop_space(ino);
    }

    pub(super) fn truncate(&mut self, ino: Ino, len: u64) -> io::Result<()> {
        self.call(OpKind::Truncate, Path::new(""))?;
        let flies = self.queue.values().any(|flight| flight.ino == ino && flight.moves());
        let busy = flies || self.ready.iter().flatten().any(|one| one.ino == ino && one.parts > 0);
        assert!(!busy, "no operation of a file that is truncated is in flight");
        let (number, reaped, keep) = (self.ops - 1, self.reaps, self.faults.may_be_stale());
        self.charged(ino, |file| file.change(number, reaped, What::SetLen(len), keep));
        Ok(())
    }

    /// Sync with the covering rule of a call: everything given out so far.
    pub(super) fn sync_all(&mut self, ino: Ino) -> io::Result<()> {
        let called = self.call(OpKind::SyncAll, Path::new(""));
        let mark = self.reaps;
        self.sync_file(ino, mark, called)
    }

    /// Make a file durable up to `mark`, or fail as `verdict` says.
    pub(super) fn sync_file(&mut self, ino: Ino, mark: u64, verdict: io::Result<()>) -> io::Result<()> {
        match verdict {
            Ok(()) if self.read_only && !self.tree.file(ino).loose.is_empty() => Err(errno(libc::EROFS)),
            Ok(()) => {
                self.tree.file_mut(ino).sync(mark);
                Ok(())
            }
            Err(error) => {
                if self.faults.fsyncgate && !self.dead && !self.killed {
                    let evict = self.rng.coin();
                    if self.tree.file(ino).would_lose(mark) {
                        self.hits.add(Hit::SyncDropped);
                    }
                    self.charged(ino, |file| file.lose(mark, evict));
                }
                Err(error)
            }
        }
    }

    pub(super) fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        self.call(OpKind::Rename, target)?;
        let replaced = self.tree.find_file(target).ok();
        self.tree.rename(source, target)?;
        if let Some(old) = replaced {
            self.drop_space(old);
        }
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.call(OpKind::Unlink, path)?;
        let ino = self.tree.find_file(path)?;
        self.tree.unlink(path)?;
        self.drop_space(ino);
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.call(OpKind::CreateDir, path)?;
        match self.tree.find(path) {
            Ok(ino) => self.tree.folder(ino).map(drop).map_err(|_| errno(libc::EEXIST)),
            Err(_) => self.tree.create(path, Node::Folder(Folder::default())).map(drop),
        }
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let called = self.call(OpKind::SyncDir, path);
        if self.dead || self.killed {
            return called;
        }
        let dir = self.tree.find(path)?;
        self.tree.folder(dir)?;
        match called {
            Ok(()) if self.read_only && !self.tree.journal.is_empty() => Err(errno(libc::EROFS)),
            Ok(()) => {
                for record in self.tree.take_covered(dir) {
                    self.tree.keep(&record);
                }
                Ok(())
            }
            Err(error) => {
                if self.faults.fsyncgate {
                    drop(self.tree.take_covered(dir));
                }
                Err(error)
            }
        }
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<Entry>> {
        self.call(OpKind::List, path)?;
        let folder = self.tree.folder(self.tree.find(path)?)?;
        let entry = |(name, &ino): (&String, &Ino)| match &self.tree.nodes[ino] {
            Node::File(file) => Entry { name: name.clone(), size: file.shown.len(), is_dir: false },
            Node::Folder(_) => Entry { name: name.clone(), size: 0, is_dir: true },
        };
        Ok(folder.shown.iter().map(entry).collect())
    }

    pub(super) fn free_bytes(&mut self, path: &Path) -> io::Result<u64> {
        self.call(OpKind::Size, path)?;
        self.tree.find(path)?;
        Ok(self.faults.capacity.map_or(PLENTY, |_| self.free() * PAGE as u64))
    }

    /// The tree as a power cut at this moment would find it: what is in flight is loose.
    pub(super) fn frozen_tree(&self) -> Tree {
        let mut tree = self.tree.clone();
        for flight in self.queue.values() {
            if let Some((ino, change)) = flight.left_over() {
                tree.file_mut(ino).loose.push(change);
            }
        }
        tree
    }
}
