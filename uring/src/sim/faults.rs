//! What may go wrong in a run, and when: rates drawn from the seed, and plans for the n-th operation.
//!
//! Faults of class A are those a store must survive without losing anything that it acknowledged: errors, full disks,
//! late and reordered completions, syncs that lie after a failure. Faults of class B are damage that a single copy
//! cannot repair, only detect: rot, latent errors, misdirected and lost writes, stale reads. What a *crash* does to
//! un-synced data needs no switch; see [`super::SimDisk::crash`].

use std::io;
use std::time::Duration;

use super::rng::Rng;

/// What is counted and can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum OpKind {
    /// `Op::Read`.
    Read,
    /// `Op::Write`.
    Write,
    /// `Op::Datasync`.
    Datasync,
    /// `Op::Allocate`.
    Allocate,
    /// Opening an existing file.
    Open,
    /// Opening a new file.
    Create,
    /// Asking for a length.
    Size,
    /// Setting a length.
    Truncate,
    /// `fsync` of a file.
    SyncAll,
    /// Renaming a file.
    Rename,
    /// Removing a name.
    Unlink,
    /// Making a directory.
    CreateDir,
    /// `fsync` of a directory.
    SyncDir,
    /// Listing a directory.
    List,
}

impl OpKind {
    /// How many kinds there are.
    pub(super) const COUNT: usize = Self::List as usize + 1;

    /// Whether it makes something durable.
    #[must_use]
    pub fn is_sync(self) -> bool {
        matches!(self, Self::Datasync | Self::SyncAll | Self::SyncDir)
    }

    /// Whether a read-only file system refuses it.
    pub(super) fn changes(self) -> bool {
        use OpKind::{Allocate, Create, CreateDir, Rename, Truncate, Unlink, Write};
        matches!(self, Write | Allocate | Create | Truncate | Rename | Unlink | CreateDir)
    }
}

/// One way in which an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`. Of a failed write, any sectors may have arrived.
    Error,
    /// `ENOSPC`. Of a failed write, any sectors may have arrived.
    NoSpace,
    /// The file system turns read-only, from this operation on, as ext4 does after an error.
    ReadOnly,
    /// Power goes, before this operation starts.
    PowerCut,
    /// The process ends, before this operation starts; see [`super::SimDisk::kill_at`].
    Kill,
    /// A write (class B): it is reported done and durable, and later reads give what was there before.
    Lose,
    /// A write (class B): it lands somewhere else, in this file or another, and its own place keeps the old bytes.
    Misdirect,
    /// A write (class B): one bit of it rots.
    Flip,
    /// A write (class B): one sector of it can never be read again.
    Latent,
    /// A read (class B): it gives, once, the version before the present one.
    Stale,
}

/// A fault at a known place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which operations are counted; all when `None`.
    pub kind: Option<OpKind>,
    /// The first to fail, from 0, among those counted.
    pub number: u64,
    /// Whether the later ones fail as well.
    pub sticky: bool,
    /// How.
    pub fault: Fault,
}

/// The faults of one run. The default is a disk that works: only crashes lose un-synced data.
///
/// Rates count per million operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// `EIO` of a read.
    pub read_error: u32,
    /// `EIO` of a write.
    pub write_error: u32,
    /// `EIO` of a datasync or a sync of a file.
    pub sync_error: u32,
    /// `EIO` of a sync of a directory.
    pub dir_sync_error: u32,
    /// `ENOSPC` of a write, an allocation, a create or a rename, though there may be space.
    pub no_space: u32,
    /// A failed sync drops the writes that it covered, and the next one succeeds (Rebello et al., ATC 2020).
    pub fsyncgate: bool,
    /// A read or write that moves a part first and the rest later.
    pub short: u32,
    /// A completion that takes fifty times as long as others.
    pub late: u32,
    /// Bytes that the disk holds; no bound when `None`.
    pub capacity: Option<u64>,
    /// See [`Fault::Lose`].
    pub lost_write: u32,
    /// See [`Fault::Misdirect`].
    pub misdirected_write: u32,
    /// See [`Fault::Flip`].
    pub bit_flip: u32,
    /// See [`Fault::Latent`].
    pub latent_error: u32,
    /// See [`Fault::Stale`].
    pub stale_read: u32,
    /// Faults at known places, asked before any rate.
    pub schedule: Vec<Planned>,
}

impl Faults {
    /// The n-th operation of all, from 0, fails with `EIO`, once or from then on.
    #[must_use]
    pub fn at(number: u64, sticky: bool) -> Self {
        Self::default().plan(None, number, sticky, Fault::Error)
    }

    /// The same with one more fault at a known place.
    #[must_use]
    pub fn plan(mut self, kind: Option<OpKind>, number: u64, sticky: bool, fault: Fault) -> Self {
        self.schedule.push(Planned { kind, number, sticky, fault });
        self
    }

    /// A seed's own subset of the faults of class A, at its own rates (swarm testing: Groce et al., ISSTA 2012). Most
    /// runs have only one or two kinds, since a run in which everything fails goes nowhere.
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5157_4152_4d5f_4131);
        let mut rate = |per_million: u64| match rng.below(4) {
            0 => u32::try_from(rng.below(per_million)).expect("a rate fits"),
            _ => 0,
        };
        Self {
            read_error: rate(10_000),
            write_error: rate(10_000),
            sync_error: rate(50_000),
            dir_sync_error: rate(50_000),
            no_space: rate(10_000),
            short: rate(300_000),
            late: rate(100_000),
            fsyncgate: rng.coin(),
            ..Self::default()
        }
    }

    /// Whether reads may ask for older versions, which then have to be kept.
    pub(super) fn may_be_stale(&self) -> bool {
        self.stale_read > 0 || self.schedule.iter().any(|planned| planned.fault == Fault::Stale)
    }

    /// What goes wrong with an operation, if anything. `number` counts all operations, `of_kind` those of `kind`.
    pub(super) fn draw(&self, rng: &mut Rng, kind: OpKind, number: u64, of_kind: u64) -> Option<Fault> {
        let hit = |planned: &&Planned| {
            let now = match planned.kind {
                None => number,
                Some(counted) if counted == kind => of_kind,
                Some(_) => return false,
            };
            now == planned.number || (planned.sticky && now > planned.number)
        };
        if let Some(planned) = self.schedule.iter().find(hit) {
            return Some(planned.fault);
        }
        let rates: &[(u32, Fault)] = match kind {
            OpKind::Read => &[(self.read_error, Fault::Error), (self.stale_read, Fault::Stale)],
            OpKind::Write => &[
                (self.write_error, Fault::Error),
                (self.no_space, Fault::NoSpace),
                (self.lost_write, Fault::Lose),
                (self.misdirected_write, Fault::Misdirect),
                (self.bit_flip, Fault::Flip),
                (self.latent_error, Fault::Latent),
            ],
            OpKind::Allocate | OpKind::Create | OpKind::Rename => &[(self.no_space, Fault::NoSpace)],
            OpKind::Datasync | OpKind::SyncAll => &[(self.sync_error, Fault::Error)],
            OpKind::SyncDir => &[(self.dir_sync_error, Fault::Error)],
            OpKind::Open
            | OpKind::Size
            | OpKind::Truncate
            | OpKind::Unlink
            | OpKind::CreateDir
            | OpKind::List => &[],
        };
        rates.iter().find(|(rate, _)| rng.chance(*rate)).map(|(_, fault)| *fault)
    }
}

/// How long things take on the simulated clock. Each operation draws between half and twice its figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// A poll, or a call that needs no device.
    pub call: Duration,
    /// A read.
    pub read: Duration,
    /// A write.
    pub write: Duration,
    /// A sync, and everything that goes through the file system's journal.
    pub sync: Duration,
}

impl Default for Latency {
    /// Roughly a local flash device, with polls slow enough that a spinning caller meets its completion after a few.
    fn default() -> Self {
        Self {
            call: Duration::from_micros(10),
            read: Duration::from_micros(60),
            write: Duration::from_micros(30),
            sync: Duration::from_micros(200),
        }
    }
}

/// What stops the program under test when its power is cut.
#[derive(Debug, thiserror::Error)]
#[error("simulated power cut")]
struct PowerCut;

/// The error of every operation after a power cut.
pub(super) fn power_cut() -> io::Error {
    io::Error::other(PowerCut)
}

/// Whether an error is the simulator's power cut, so that a test stops its program instead of calling it wrong. Looks
/// through [`io::Error`]s that wrap others, and through the sources of what they hold.
#[must_use]
pub fn is_power_cut(error: &io::Error) -> bool {
    let mut cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(inner) = cause {
        if inner.is::<PowerCut>() || inner.downcast_ref::<io::Error>().is_some_and(is_power_cut) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// An error with the number that Linux gives it, as a real backend would return it.
pub(super) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_hit_their_operation() {
        let faults = Faults::at(5, false).plan(Some(OpKind::Write), 2, true, Fault::NoSpace);
        let mut rng = Rng::new(0);
        let mut draw = |kind, number, of_kind| faults.draw(&mut rng, kind, number, of_kind);
        assert_eq!(draw(OpKind::Read, 4, 4), None);
        assert_eq!(draw(OpKind::Read, 5, 0), Some(Fault::Error));
        assert_eq!(draw(OpKind::Read, 6, 2), None);
        assert_eq!(draw(OpKind::Write, 6, 1), None);
        assert_eq!(draw(OpKind::Write, 7, 2), Some(Fault::NoSpace));
        assert_eq!(draw(OpKind::Write, 9, 9), Some(Fault::NoSpace));
    }

    #[test]
    fn a_power_cut_is_known_through_wrappers() {
        assert!(is_power_cut(&power_cut()));
        assert!(is_power_cut(&io::Error::other(power_cut())));
        assert!(!is_power_cut(&errno(5)));
        assert!(!is_power_cut(&io::Error::other("power cut")));
    }

    #[test]
    fn swarms_differ_and_some_are_quiet() {
        let swarms: Vec<_> = (0..200).map(Faults::swarm).collect();
        assert_eq!(swarms[7], Faults::swarm(7));
        let quiet = |faults: &Faults| faults.write_error == 0 && faults.sync_error == 0;
        let count = swarms.iter().filter(|faults| quiet(faults)).count();
        assert!((50..190).contains(&count), "{count}");
    }
}
