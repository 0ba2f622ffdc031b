//! The memory of a channel: a memfd that can never change its length, mapped in three parts.
//!
//! A mapped file that shrinks kills whoever touches the lost pages (`SIGBUS`), and the plugin lives in a process that
//! is not ours. So the daemon makes the memory, takes all of its pages, seals its length for good, and only then hands
//! it out; the plugin refuses memory without those seals. A fresh memfd for each session leaves nothing to clean up
//! after `kill -9`.
//!
//! # Invariants
//! - The length is sealed before the first byte is mapped (`F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL`,
//!   memfd_create(2)).
//! - The other process may change any byte at any time. So nothing here hands out a reference to bytes: control words
//!   are atomics, and data are copied in and out by [`Area`], which stays within its part whatever it is asked.
//! - Each side maps the data that it only reads without the right to write.
//! - A child that the process forks does not get the mapping, and a core dump does not get the data.
#![expect(unsafe_code, reason = "maps memory that another process writes")]

use std::arch::asm;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{NonNull, copy_nonoverlapping, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::error::Refused;
use crate::layout::{CONTROL_SIZE, Direction, Lines, Offer, Side};
use crate::limits::UNIT_SIZE;

/// Without these the length may change.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Make the memory of a channel: sized, its pages taken, sealed.
pub(crate) fn create(offer: &Offer) -> Result<OwnedFd, Refused> {
    offer.check()?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create("gdd-ring", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create("gdd-ring", flags), // Before Linux 6.3.
        made => made,
    }
    .map_err(Refused::io("memfd_create"))?;
    rustix::fs::ftruncate(&file, offer.size()).map_err(Refused::io("size shared memory"))?;
    // Out of memory is an error here; at the first touch of a page it would be the end of the process.
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, offer.size())
        .map_err(Refused::io("take shared memory"))?;
    rustix::fs::fcntl_add_seals(&file, SEALS).map_err(Refused::io("seal shared memory"))?;
    Ok(file)
}

/// Refuse a received descriptor unless it is sealed memory of the announced size.
pub(crate) fn check(file: impl AsFd, offer: &Offer) -> Result<(), Refused> {
    offer.check()?;
    let seals = match rustix::fs::fcntl_get_seals(&file) {
        Err(Errno::INVAL) => SealFlags::empty(), // No file that could have seals.
        seals => seals.map_err(Refused::io("read seals"))?,
    };
    if !seals.contains(SEALS) {
        return Err(Refused::Seals { found: seals.bits(), expected: SEALS.bits() });
    }
    let found = rustix::fs::fstat(&file).map_err(Refused::io("stat shared memory"))?.st_size;
    let expected = offer.size();
    let found = u64::try_from(found).unwrap_or(0);
    if found == expected { Ok(()) } else { Err(Refused::Size { found, expected }) }
}

/// A channel in our address space.
#[derive(Debug)]
pub(crate) struct Memory {
    control: Mapping,
    up: Area,
    down: Area,
}

impl Memory {
    /// Map memory that `create` made or `check` passed.
    pub(crate) fn map(file: impl AsFd, offer: &Offer, side: Side) -> Result<Self, Refused> {
        let area = |direction, writer| {
            let (offset, capacity) = (offer.data_offset(direction), offer.capacity(direction));
            let writable = side == writer;
            Ok(Area { mapping: Mapping::new(&file, offset, capacity, writable)?, capacity, writable })
        };
        let control = Mapping::new(&file, 0, CONTROL_SIZE, true)?;
        Ok(Self {
            control,
            up: area(Direction::Up, Side::Plugin)?,
            down: area(Direction::Down, Side::Daemon)?,
        })
    }

    pub(crate) fn lines(&self, direction: Direction) -> &Lines {
        let start =
            self.control.start.as_ptr().wrapping_add(Lines::<crate::atomics::Native>::offset(direction));
        // SAFETY: both offsets are aligned and lie, with all of a `Lines`, within CONTROL_SIZE (asserted in layout.rs);
        // the mapping lives as long as `self`; every field is an atomic, so any bytes and any change are valid.
        unsafe { &*start.cast::<Lines>() }
    }

    pub(crate) const fn data(&self, direction: Direction) -> &Area {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// The data bytes of one ring. Places are counters: every one of them lies within, modulo the capacity.
#[derive(Debug)]
pub(crate) struct Area {
    mapping: Mapping,
    capacity: u64,
    writable: bool,
}

impl Area {
    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The word at `place`.
    pub(crate) fn load(&self, place: u64) -> u64 {
        self.word(place).load(Ordering::Relaxed) // Ordered by the counters.
    }

    /// Store a word at `place`.
    pub(crate) fn store(&self, place: u64, word: u64) {
        assert!(self.writable, "only the producer writes");
        self.word(place).store(word, Ordering::Relaxed); // Ordered by the counters.
    }

    /// Copy `bytes` to `place` and on, across the end of the ring to its start.
    pub(crate) fn copy_in(&self, place: u64, bytes: &[u8]) {
        assert!(self.writable, "only the producer writes");
        let (offset, first) = self.split(place, bytes.len());
        let start = self.mapping.start.as_ptr();
        // SAFETY: `split` keeps both pieces within the mapping; it is writable; no reference to its bytes exists, so
        // `bytes` lies elsewhere.
        unsafe {
            copy_nonoverlapping(bytes.as_ptr(), start.add(offset), first);
            copy_nonoverlapping(bytes.as_ptr().add(first), start, bytes.len() - first);
        }
        shared_with_others(start);
    }

    /// Copy the bytes at `place` and on to `bytes`, across the end of the ring to its start.
    pub(crate) fn copy_out(&self, place: u64, bytes: &mut [u8]) {
        let (offset, first) = self.split(place, bytes.len());
        let start = self.mapping.start.as_ptr();
        shared_with_others(start);
        // SAFETY: as in `copy_in`. The peer may write meanwhile; then the copy has some of both, and stays as it is.
        unsafe {
            copy_nonoverlapping(start.add(offset), bytes.as_mut_ptr(), first);
            copy_nonoverlapping(start, bytes.as_mut_ptr().add(first), bytes.len() - first);
        }
        shared_with_others(start); // From here on the copy cannot be swapped for a second look at the source.
    }

    fn word(&self, place: u64) -> &AtomicU64 {
        assert!(place.is_multiple_of(UNIT_SIZE), "words lie at whole units");
        let (offset, _) = self.split(place, 8);
        // SAFETY: capacity is a multiple of the unit, so an aligned word never wraps; the mapping starts at a page.
        unsafe { AtomicU64::from_ptr(self.mapping.start.as_ptr().add(offset).cast()) }
    }

    /// Offset of `place`, and how many of `length` bytes lie before the end of the ring.
    fn split(&self, place: u64, length: usize) -> (usize, usize) {
        assert!(length as u64 <= self.capacity, "a message is smaller than its ring");
        let offset = place & (self.capacity - 1);
        let first = (self.capacity - offset).min(length as u64);
        let fits = |size| usize::try_from(size).expect("a ring is mapped whole");
        (fits(offset), fits(first))
    }
}

/// Tell the compiler that others see the memory at `start`: copies stay where they are in the program, and are made
/// once. The CPU's part is done by the Acquire and Release of the counters.
fn shared_with_others(start: *mut u8) {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", in(reg) start, options(nostack, preserves_flags)) };
}

/// One mapped part of the memory.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: the memory is reached only as atomics and by copies, from any thread; whoever drops it undoes the mapping.
unsafe impl Send for Mapping {}
// SAFETY: as above. Two threads that copy to one place get bytes of both, which is what any peer can do anyway; the
// halves of a ring are `&mut self`, so our own do not.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: impl AsFd, offset: u64, size: u64, writable: bool) -> Result<Self, Refused> {
        let size = usize::try_from(size).map_err(|_| Refused::Capacity {
            found: size,
            min: 0,
            max: usize::MAX as u64,
        })?;
        let rights = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { rustix::mm::mmap(null_mut(), size, rights, flags, file, offset) }
            .map_err(Refused::io("map shared memory"))?;
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at 0");
        let mapping = Self { start, size };
        for advice in [Advice::LinuxDontFork, Advice::LinuxDontDump] {
            // SAFETY: all of the mapping and nothing else; neither advice changes what is in it.
            unsafe { rustix::mm::madvise(start.as_ptr().cast(), size, advice) }
                .map_err(Refused::io("keep shared memory from forks and dumps"))?;
        }
        Ok(mapping)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; nothing borrows from it any more.
        let undone = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.size) };
        debug_assert!(undone.map_err(io::Error::from).is_ok(), "a whole mapping can be undone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CAPACITY_MIN;

    fn offer() -> Offer {
        Offer { capacity_up: CAPACITY_MIN, capacity_down: CAPACITY_MIN, generation: 1, token: 1 }
    }

    #[test]
    fn what_one_side_copies_in_the_other_copies_out_at_every_wrap() {
        let file = create(&offer()).expect("memory");
        let plugin = Memory::map(&file, &offer(), Side::Plugin).expect("mapped");
        let daemon = Memory::map(&file, &offer(), Side::Daemon).expect("mapped");
        let bytes: Vec<u8> = (0..100).collect();
        for before_end in 0..=100 {
            let place = (CAPACITY_MIN - before_end).wrapping_sub(CAPACITY_MIN * 3);
            plugin.data(Direction::Up).copy_in(place, &bytes);
            let mut copy = [0; 100];
            daemon.data(Direction::Up).copy_out(place, &mut copy);
            assert_eq!(copy, *bytes, "{before_end}");
        }
        daemon.data(Direction::Down).store(u64::MAX - 7, 42);
        assert_eq!(plugin.data(Direction::Down).load(CAPACITY_MIN - 8), 42);
    }

    #[test]
    #[should_panic(expected = "only the producer writes")]
    fn a_consumer_cannot_write() {
        let file = create(&offer()).expect("memory");
        let daemon = Memory::map(&file, &offer(), Side::Daemon).expect("mapped");
        daemon.data(Direction::Up).copy_in(0, b"x");
    }

    #[test]
    fn sealed_memory_keeps_its_length() {
        let file = create(&offer()).expect("memory");
        check(&file, &offer()).expect("our own memory");
        assert_eq!(rustix::fs::ftruncate(&file, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, offer().size() * 2), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&file, SealFlags::FUTURE_WRITE), Err(Errno::PERM));
    }
}
