//! Data operations under way: each takes effect at a drawn moment, in parts if the run says so, and its completion
//! waits until its own door polls.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::faults::{Fault, OpKind, errno};
use super::file::{Change, NEVER, What};
use super::hits::Hit;
use super::image::{Image, PAGE, Page, SECTOR, SECTORS};
use super::names::Ino;
use super::world::World;
use crate::buffer::IoBuf;
use crate::io::{Done, FileId, Tag};

/// A completion and what giving it out makes coverable by syncs.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) done: Done,
    pub(super) file: FileId,
    pub(super) ino: Ino,
    pub(super) number: u64,
    pub(super) parts: u32,
}

/// What an operation under way does.
#[derive(Debug)]
pub(super) enum Work {
    Read(u64, IoBuf),
    Write(u64, IoBuf),
    Datasync,
    Allocate(u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) door: usize,
    pub(super) tag: Tag,
    pub(super) number: u64,
    pub(super) file: FileId,
    pub(super) ino: Ino,
    pub(super) work: Work,
    pub(super) fault: Option<Fault>,
    /// Completions given out when it was submitted: what a sync covers.
    pub(super) mark: u64,
    /// Bytes moved.
    pub(super) moved: usize,
    /// Bytes after which it stops for a while; 0 for never.
    pub(super) stop: usize,
    /// Changes made to its file.
    pub(super) parts: u32,
}

impl Flight {
    pub(super) fn kind(&self) -> OpKind {
        match &self.work {
            Work::Read(..) => OpKind::Read,
            Work::Write(..) => OpKind::Write,
            Work::Datasync => OpKind::Datasync,
            Work::Allocate(_) => OpKind::Allocate,
        }
    }

    /// Whether it touches the bytes or the length of its file.
    pub(super) fn moves(&self) -> bool {
        !matches!(self.work, Work::Datasync)
    }

    /// The change that a power cut may find done in part.
    pub(super) fn left_over(&self) -> Option<(Ino, Change)> {
        let what = match &self.work {
            Work::Write(offset, buffer) => {
                What::Write((offset + self.moved as u64) / PAGE as u64, Arc::from(&buffer[self.moved..]))
            }
            Work::Allocate(len) => What::Grow(*len),
            Work::Read(..) | Work::Datasync => return None,
        };
        Some((self.ino, Change { number: self.number, reaped: NEVER, what }))
    }

    /// The bytes to move now: up to the stop, or all the rest.
    fn goal(&self, len: usize) -> usize {
        if self.moved < self.stop { self.stop } else { len }
    }

    fn into_buffer(self) -> Option<IoBuf> {
        match self.work {
            Work::Read(_, buffer) | Work::Write(_, buffer) => Some(buffer),
            Work::Datasync | Work::Allocate(_) => None,
        }
    }
}

/// How one step of an operation ended.
enum Step {
    /// It goes on later.
    Again,
    Over(io::Result<usize>),
}

impl World {
    /// Start an operation that was counted and checked.
    pub(super) fn launch(&mut self, mut flight: Flight) {
        let usual = match flight.kind() {
            OpKind::Read => self.latency.read,
            OpKind::Write => self.latency.write,
            _ => self.latency.sync,
        };
        if let Work::Read(_, buffer) | Work::Write(_, buffer) = &flight.work
            && buffer.len() > PAGE
            && self.rng.chance(self.faults.short)
        {
            self.hits.add(Hit::Short);
            flight.stop = PAGE * (1 + self.rng.index(buffer.len() / PAGE - 1));
        }
        let due = self.clock.saturating_add(self.draw_latency(usual));
        self.queue.insert((due, flight.number), flight);
    }

    /// End everything whose time has come, in the order of those times.
    pub(super) fn settle(&mut self) {
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.clock
        {
            let ((due, number), mut flight) = entry.remove_entry();
            match self.step(&mut flight) {
                Step::Again => {
                    let due = due.saturating_add(self.draw_latency(self.latency.write));
                    self.queue.insert((due, number), flight);
                }
                Step::Over(result) => self.finish(flight, result),
            }
        }
    }

    /// Run what is left of an operation now.
    pub(super) fn end_early(&mut self, mut flight: Flight) {
        let result = loop {
            if let Step::Over(result) = self.step(&mut flight) {
                break result;
            }
        };
        self.finish(flight, result);
    }

    /// Put a completion where its door finds it.
    pub(super) fn finish(&mut self, flight: Flight, result: io::Result<usize>) {
        self.log.push(|| {
            let size = self.tree.file(flight.ino).shown.len();
            let (number, kind, ino) = (flight.number, flight.kind(), flight.ino);
            format!("#{number} {:?} {kind:?} of inode {ino} ended: {result:?}, file has {size}", self.clock)
        });
        let (door, tag, file, ino) = (flight.door, flight.tag, flight.file, flight.ino);
        let (number, parts) = (flight.number, flight.parts);
        let done = Done { tag, result, buffer: flight.into_buffer() };
        self.ready[door].push(Ready { done, file, ino, number, parts });
    }

    /// When the next operation of `door`, or of any door, ends.
    pub(super) fn next_due(&self, door: Option<usize>) -> Option<Duration> {
        let mine = |flight: &Flight| door.is_none_or(|door| flight.door == door);
        self.queue.iter().find(|(_, flight)| mine(flight)).map(|(key, _)| key.0)
    }

    fn step(&mut self, flight: &mut Flight) -> Step {
        match flight.work {
            Work::Read(..) => self.read(flight),
            Work::Write(..) => self.write(flight),
            Work::Datasync => {
                let verdict = match flight.fault {
                    Some(Fault::Error) => Err(self.struck(OpKind::Datasync, libc::EIO)),
                    Some(Fault::NoSpace) => Err(self.struck(OpKind::Datasync, libc::ENOSPC)),
                    _ => Ok(()),
                };
                Step::Over(self.sync_file(flight.ino, flight.mark, verdict).map(|()| 0))
            }
            Work::Allocate(len) => Step::Over(self.allocate(flight, len).map(|()| 0)),
        }
    }

    fn read(&mut self, flight: &mut Flight) -> Step {
        if flight.fault == Some(Fault::Error) {
            return Step::Over(Err(self.struck(OpKind::Read, libc::EIO)));
        }
        let stale = flight.fault == Some(Fault::Stale);
        let file = self.tree.file(flight.ino);
        let moved = flight.moved;
        let Work::Read(offset, buffer) = &flight.work else { unreachable!("a read reads") };
        let (start, len) = (offset + moved as u64, buffer.len());
        let goal = flight.goal(len);
        let Work::Read(_, buffer) = &mut flight.work else { unreachable!("a read reads") };
        let target = &mut buffer[moved..goal];
        let count = file.shown.read(start, target);
        if stale {
            self.hits.add(Hit::StaleRead);
            for (number, page) in (start / PAGE as u64..).zip(target[..count].chunks_mut(PAGE)) {
                if let Some(earlier) = file.earlier.get(&number) {
                    page.copy_from_slice(&earlier.bytes()[..page.len()]);
                }
            }
        }
        let applied = file.damage.apply(start, &mut target[..count]);
        if !matches!(applied, Ok(false)) {
            self.hits.add(Hit::DamageRead);
        }
        if let Err(error) = applied {
            return Step::Over(Err(error));
        }
        let whole = count == target.len();
        flight.moved += count;
        if whole && flight.moved < len { Step::Again } else { Step::Over(Ok(flight.moved)) }
    }

    fn write(&mut self, flight: &mut Flight) -> Step {
        let Work::Write(offset, buffer) = &flight.work else { unreachable!("a write writes") };
        let len = buffer.len();
        let goal = flight.goal(len);
        let first = (offset + flight.moved as u64) / PAGE as u64;
        let data: Arc<[u8]> = Arc::from(&buffer[flight.moved..goal]);
        let pages = (data.len() / PAGE) as u64;
        let needed = self.tree.file(flight.ino).pages_needed(first, pages);
        let error = match flight.fault {
            _ if self.read_only => return Step::Over(Err(errno(libc::EROFS))),
            Some(Fault::Error) => Some(libc::EIO),
            Some(Fault::NoSpace) => Some(libc::ENOSPC),
            _ if !self.fits(needed) => Some(libc::ENOSPC),
            _ => None,
        };
        if let Some(number) = error {
            self.write_part(flight, first, &data);
            return Step::Over(Err(self.struck(OpKind::Write, number)));
        }
        let place = match flight.fault {
            Some(Fault::Lose | Fault::Misdirect) => self.seen(flight.ino, first, pages),
            _ => Vec::new(),
        };
        self.put(flight, first, Arc::clone(&data));
        match flight.fault {
            Some(Fault::Lose) => {
                self.hits.add(Hit::WriteLost);
                self.hide(flight.ino, first, place);
            }
            Some(Fault::Misdirect) => {
                self.hits.add(Hit::WriteMisdirected);
                self.hide(flight.ino, first, place);
                self.land_elsewhere(flight.ino, first, &data);
            }
            Some(Fault::Flip) => {
                self.hits.add(Hit::BitFlipped);
                let offset = first * PAGE as u64 + self.rng.index(data.len()) as u64;
                let mask = 1 << self.rng.below(8);
                self.tree.file_mut(flight.ino).damage.flip(offset, mask);
            }
            Some(Fault::Latent) => {
                self.hits.add(Hit::SectorDead);
                let offset = first * PAGE as u64 + self.rng.index(data.len()) as u64;
                self.tree.file_mut(flight.ino).damage.kill(offset);
            }
            _ => {}
        }
        flight.moved = goal;
        if goal < len { Step::Again } else { Step::Over(Ok(len)) }
    }

    /// Write whole pages, as far as anyone can see.
    fn put(&mut self, flight: &mut Flight, first: u64, data: Arc<[u8]>) {
        let needed = self.tree.file(flight.ino).pages_needed(first, (data.len() / PAGE) as u64);
        let keep = self.faults.may_be_stale();
        let number = flight.number;
        flight.parts += 1;
        self.charged(flight.ino, |file| {
            file.change(number, NEVER, What::Write(first, data), keep);
            file.charged += needed;
        });
    }

    /// A failed write leaves a part of its sectors: some whole pages from the front, then one in which they are mixed.
    fn write_part(&mut self, flight: &mut Flight, first: u64, data: &Arc<[u8]>) {
        let pages = data.len() / PAGE;
        let whole = self.rng.index(pages);
        let page = Page::part(data, whole * PAGE);
        let mask = u8::try_from(self.rng.below(1 << SECTORS)).expect("a mask has a bit for each sector");
        let mut torn = Image::default();
        if let Some(old) = self.tree.file(flight.ino).shown.page(first + whole as u64) {
            torn.mix(0, old.clone(), u8::MAX);
        }
        torn.mix(0, page, mask);
        let mut left = data[..(whole + 1) * PAGE].to_vec();
        torn.grow(PAGE as u64);
        torn.read(0, &mut left[whole * PAGE..]);
        let count = whole as u64 + 1;
        if self.fits(self.tree.file(flight.ino).pages_needed(first, count)) {
            self.put(flight, first, left.into());
        }
    }

    fn allocate(&mut self, flight: &mut Flight, len: u64) -> io::Result<()> {
        self.refusal(OpKind::Allocate)?;
        let needed = self.tree.file(flight.ino).pages_needed(0, len.div_ceil(PAGE as u64));
        match flight.fault {
            Some(Fault::Error) => return Err(self.struck(OpKind::Allocate, libc::EIO)),
            Some(Fault::NoSpace) => return Err(self.struck(OpKind::Allocate, libc::ENOSPC)),
            _ if !self.fits(needed) => return Err(self.struck(OpKind::Allocate, libc::ENOSPC)),
            _ => {}
        }
        let number = flight.number;
        flight.parts += 1;
        self.charged(flight.ino, |file| {
            file.change(number, NEVER, What::Grow(len), false);
            file.reserve(len);
        });
        Ok(())
    }

    /// What reads of these pages give now.
    fn seen(&self, ino: Ino, first: u64, count: u64) -> Vec<Option<Page>> {
        let file = self.tree.file(ino);
        (first..first + count).map(|number| file.damage.seen(number, &file.shown)).collect()
    }

    /// Go on giving the old pages.
    fn hide(&mut self, ino: Ino, first: u64, old: Vec<Option<Page>>) {
        let damage = &mut self.tree.file_mut(ino).damage;
        for (number, page) in (first..).zip(old) {
            damage.replace(number, page);
        }
    }

    /// Lay data over some other place: half of the time in the same file, half of the time where something was written.
    /// A disk without any has lost it instead.
    fn land_elsewhere(&mut self, from: Ino, first: u64, data: &Arc<[u8]>) {
        let count = (data.len() / PAGE) as u64;
        let clear = |ino: Ino, at: u64| ino != from || at + count <= first || at >= first + count;
        let pages = |len: u64| len / PAGE as u64;
        let places: Vec<_> = self.live_files().map(|(ino, file)| (ino, pages(file.shown.len()))).collect();
        let places: Vec<_> = places.into_iter().filter(|(_, pages)| *pages > 0).collect();
        for _try in 0..8 * places.len() {
            let (any, own) = (self.rng.index(places.len()), places.iter().find(|(ino, _)| *ino == from));
            let (ino, pages) = *own.filter(|_| self.rng.coin()).unwrap_or(&places[any]);
            let mut at = self.rng.below(pages);
            let written = self.tree.file(ino).shown.pages_from(0).count();
            if written > 0 && self.rng.coin() {
                let (nth, image) = (self.rng.index(written), &self.tree.file(ino).shown);
                at = image.pages_from(0).nth(nth).map_or(at, |(number, _)| number);
            }
            if clear(ino, at) {
                let damage = &mut self.tree.file_mut(ino).damage;
                for (number, start) in (at..pages).zip((0..data.len()).step_by(PAGE)) {
                    damage.replace(number, Some(Page::part(data, start)));
                }
                return;
            }
        }
    }
}

const _: () = assert!(SECTOR * SECTORS == PAGE);
