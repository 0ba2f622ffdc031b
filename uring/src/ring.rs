//! The io_uring backend: one ring per thread, owned by the thread that made it.
//!
//! # Teardown
//! A kernel that still fills a buffer after it was freed corrupts somebody else's memory, and closing a ring does *not*
//! wait for its operations. So a dropped ring goes, in this order:
//! 1. Hand what is queued to the kernel, and reap until the table of operations is empty; nothing is begun anew.
//! 2. If that fails, leak the buffers that are left, and say so. Leaking is the only safe way out.
//! 3. Let go of registered memory and files, and close the ring, which ends the watch on the wake-up descriptor.
//! 4. Free the pools that were registered, and close the files.
//!
//! # Invariants
//! - At most [`CAPACITY`] operations are in flight, each with one entry in the ring, plus one for wake-ups: neither
//!   queue can overflow, so no completion is lost.
//! - An operation is never dropped because `io_uring_enter` failed: its entry may be queued already. Reap and retry.
#![expect(unsafe_code, reason = "enters the kernel by hand and registers memory with it")]

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, types};

use crate::buffer::{Pool, SlabId};
use crate::doorbell::Doorbell;
use crate::file::{self, Access, Files};
use crate::in_flight::{InFlight, admit};
use crate::io::{Done, Entry, FileId, Io, Op, Open, Tag, Wait, Waker};
use crate::notes::Notes;
use crate::remedy;

/// Operations in flight. Eight to sixteen large ones keep any device busy; more only adds latency.
pub(crate) const CAPACITY: u32 = 32;
const SUBMISSION_ENTRIES: u32 = 64;
const COMPLETION_ENTRIES: u32 = 256;
const _: () = assert!(CAPACITY < SUBMISSION_ENTRIES); // Each operation has one entry, and wake-ups one.
const _: () = assert!(SUBMISSION_ENTRIES < COMPLETION_ENTRIES);
/// Files with a registered slot; further ones use their plain descriptor. Below the usual `RLIMIT_NOFILE` of 1024.
const FILE_SLOTS: u32 = 256;
/// Pools that can be registered.
const POOL_SLOTS: u32 = 16;
/// The kernel refuses longer registered buffers.
const REGISTERED_SIZE_MAX: usize = 1 << 30;
/// Longest single wait in the kernel; `poll` goes on by itself.
const ENTER_WAIT_MAX: Duration = Duration::from_secs(3600);
/// `io_uring_enter` may say "again" this often in a row while nothing completes, a millisecond apart, before the ring
/// is given up. The kernel says so when it is short of memory.
const ENTER_REFUSALS_MAX: u32 = 30_000;

/// A set of set-up flags that was tried, from the best to the plainest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Completions run in our own thread, only when we ask (Linux 6.1).
    DeferTaskrun,
    /// Completions run in our own thread without an interrupt (Linux 6.0).
    CoopTaskrun,
    /// No flags (Linux 5.11, which brought waiting with a time limit).
    Plain,
}

/// Make a ring for the calling thread on the highest rung that the kernel takes.
///
/// # Errors
/// As `io_uring_setup(2)`; `Unsupported` below Linux 5.11.
pub(crate) fn build() -> io::Result<(IoUring, Rung)> {
    let mut refusal = None;
    for rung in [Rung::DeferTaskrun, Rung::CoopTaskrun, Rung::Plain] {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_cqsize(COMPLETION_ENTRIES);
        match rung {
            Rung::DeferTaskrun => _ = builder.setup_single_issuer().setup_defer_taskrun(),
            Rung::CoopTaskrun => _ = builder.setup_single_issuer().setup_coop_taskrun(),
            Rung::Plain => {}
        }
        match builder.build(SUBMISSION_ENTRIES) {
            Ok(ring) if ring.params().is_feature_ext_arg() => return Ok((ring, rung)),
            Ok(_) => return Err(io::Error::from(io::ErrorKind::Unsupported)),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => refusal = Some(e), // Flags this kernel does not know.
            Err(e) => return Err(e),
        }
    }
    Err(refusal.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

/// See the module.
pub(crate) struct Ring {
    pub(crate) ring: ManuallyDrop<IoUring>,
    pub(crate) in_flight: InFlight,
    /// Completions that needed no kernel, and those reaped but not yet asked for.
    pub(crate) ready: Vec<Done>,
    pub(crate) files: Files,
    /// Set while the ring is torn down: nothing is begun anew.
    pub(crate) closing: bool,
    pub(crate) alarm: Arc<Alarm>,
    /// Whether an entry watches the alarm.
    pub(crate) watching: bool,
    /// Registered memory by slot. Holding the pool keeps its addresses from being given to another.
    pub(crate) pools: Vec<Pool>,
    pools_refused: Option<io::Error>,
    free_file_slots: Vec<u32>,
    notes: Arc<Notes>,
    epoch: Instant,
}

/// The wake-up of one ring, shared with its wakers.
pub(crate) struct Alarm {
    pub(crate) bell: Doorbell,
    pub(crate) event: OwnedFd,
}

/// The slot of a registered slab.
pub(crate) fn registered(pools: &[Pool], slab: SlabId) -> Option<u16> {
    let slot = pools.iter().position(|pool| pool.slab().0 == slab)?;
    u16::try_from(slot).ok()
}

/// What is added to the event counter, which takes an integer in host order.
#[expect(clippy::host_endian_bytes, reason = "eventfd(2) is defined so")]
const ONE: [u8; 8] = 1_u64.to_ne_bytes();

impl Alarm {
    fn ring(&self) {
        self.bell.ring(|| {
            // A full counter means that the sleeper is being woken already; nothing else can fail here.
            let _already_ringing = rustix::io::write(&self.event, &ONE);
        });
    }
}

impl Ring {
    /// Make a ring for the calling thread.
    pub(crate) fn open(access: Access, notes: Arc<Notes>, epoch: Instant) -> io::Result<Self> {
        let (ring, rung) = build().map_err(|e| remedy::with(&e, &remedy::ring_refused(&e)))?;
        if rung != Rung::DeferTaskrun {
            notes.add(format!("io_uring runs on set-up rung {rung:?}: kernel 6.1 or newer saves CPU time"));
        }
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let event = rustix::event::eventfd(0, flags)?;
        let free_file_slots = match ring.submitter().register_files_sparse(FILE_SLOTS) {
            Ok(()) => (0..FILE_SLOTS).rev().collect(),
            Err(e) => {
                notes.add(format!(
                    "io_uring takes no registered files ({e}): kernel 5.19 and RLIMIT_NOFILE >= {FILE_SLOTS} \
                     save a little CPU time"
                ));
                Vec::new()
            }
        };
        let pools_refused = ring.submitter().register_buffers_sparse(POOL_SLOTS).err();
        Ok(Self {
            ring: ManuallyDrop::new(ring),
            in_flight: InFlight::new(CAPACITY),
            ready: Vec::new(),
            files: Files::new(access),
            closing: false,
            alarm: Arc::new(Alarm { bell: Doorbell::default(), event }),
            watching: false,
            pools: Vec::new(),
            pools_refused,
            free_file_slots,
            notes,
            epoch,
        })
    }

    /// Hand queued entries to the kernel, run its task work, and wait for up to `wait` for one completion.
    /// Returns whether the kernel took the call; "again" is not an error, but reaping must come first.
    fn enter(&mut self, wait: Option<Duration>) -> io::Result<bool> {
        // Exactly what is there: asked for more, the kernel would skip the second half of the call.
        let queued = self.ring.submission().len();
        let queued = u32::try_from(queued).expect("the queue is short");
        let submitter = self.ring.submitter();
        let entered = if let Some(wait) = wait {
            let wait = wait.min(ENTER_WAIT_MAX);
            let limit = types::Timespec::new().sec(wait.as_secs()).nsec(wait.subsec_nanos());
            submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&limit))
        } else {
            // SAFETY: no argument is passed, and every queued entry points into a buffer that `in_flight` owns.
            unsafe { submitter.enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }
        };
        match entered {
            Ok(_) => Ok(true),
            Err(e) => match e.raw_os_error() {
                Some(libc::ETIME | libc::EINTR) => Ok(true),
                Some(libc::EAGAIN | libc::EBUSY) => Ok(false),
                _ => Err(remedy::with(&e, "io_uring_enter failed; the store must be reopened")),
            },
        }
    }

    /// Enter once without waiting, and again while there are entries that the kernel did not take.
    fn push_through(&mut self) -> io::Result<()> {
        let mut refusals = 0;
        loop {
            let queued = self.ring.submission().len();
            if queued == 0 {
                return Ok(());
            }
            self.enter(None)?;
            let left = self.ring.submission().len();
            let reaped = self.reap()?; // May queue more.
            refusals = if left < queued || reaped > 0 { 0 } else { self.refused(refusals)? };
        }
    }

    /// Count an "again" of the kernel that brought nothing, and give it time.
    fn refused(&self, refusals: u32) -> io::Result<u32> {
        if refusals >= ENTER_REFUSALS_MAX {
            return Err(io::Error::other("io_uring takes no more operations: the kernel is out of memory"));
        }
        std::thread::sleep(Duration::from_millis(1));
        Ok(refusals + 1)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        let start = Instant::now();
        let mut refusals = 0;
        while self.ready.is_empty() {
            let left = limit.saturating_sub(start.elapsed());
            self.watch();
            let asleep = self.alarm.bell.doze();
            let entered = if asleep && !left.is_zero() { self.enter(Some(left)) } else { self.enter(None) };
            self.alarm.bell.rise();
            let taken = entered?;
            let reaped = self.reap()?;
            if self.alarm.bell.answer() || left.is_zero() {
                break;
            }
            refusals = if taken || reaped > 0 { 0 } else { self.refused(refusals)? };
        }
        Ok(())
    }

    /// Steps 1 and 2 of the teardown.
    fn drain(&mut self) -> io::Result<()> {
        self.closing = true;
        let mut refusals = 0;
        while self.in_flight.len() > 0 {
            let taken = self.enter(Some(ENTER_WAIT_MAX))?;
            let reaped = self.reap()?;
            refusals = if taken || reaped > 0 { 0 } else { self.refused(refusals)? };
        }
        Ok(())
    }

    fn register_file(ring: &IoUring, free: &mut Vec<u32>, file: &File) -> Option<u32> {
        let slot = free.pop()?;
        match ring.submitter().register_files_update(slot, &[file.as_raw_fd()]) {
            Ok(1) => Some(slot),
            _ => {
                free.push(slot);
                None
            }
        }
    }
}

/// `IORING_ENTER_GETEVENTS`: run task work, without which deferred completions never appear.
const GETEVENTS: u32 = 1;

impl Drop for Ring {
    fn drop(&mut self) {
        if let Err(e) = self.drain() {
            let left = self.in_flight.take_all();
            tracing::error!("{e}; {} buffers are leaked, since the kernel may still use them", left.len());
            std::mem::forget(left);
            std::mem::forget(std::mem::take(&mut self.pools));
        }
        // Closing alone would do this too, but later, in a kernel worker: a lock, a mount or the allowance of locked
        // memory would stay taken for a moment after we are gone. A refusal means that nothing was registered.
        let submitter = self.ring.submitter();
        let _none_there = submitter.unregister_files();
        let _none_there = submitter.unregister_buffers();
        // SAFETY: dropped once, here, and not used after; `drain` left nothing of ours in the kernel, or it is leaked.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
    }
}

impl Io for Ring {
    fn submit(&mut self, tag: Tag, op: Op) -> Result<(), Op> {
        if self.in_flight() >= self.capacity() {
            return Err(op);
        }
        match admit(&self.files, tag, op) {
            Err(done) => self.ready.push(done),
            Ok(pending) => {
                let token = self.in_flight.insert(pending);
                self.start(token, false);
            }
        }
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Done>, wait: Wait) -> io::Result<()> {
        self.reap()?;
        match wait {
            Wait::For(limit) if self.ready.is_empty() => self.wait(limit)?,
            Wait::For(_) => {}
            Wait::No => {
                if self.in_flight.len() > 0 {
                    self.enter(None)?;
                    self.reap()?;
                }
            }
        }
        self.push_through()?; // Continuations, and what an interrupted call left.
        done.append(&mut self.ready);
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len() + self.ready.len()
    }

    fn capacity(&self) -> usize {
        CAPACITY as usize
    }

    fn register(&mut self, pool: &Pool) -> bool {
        let (slab, address, len) = pool.slab();
        if registered(&self.pools, slab).is_some() {
            return true;
        }
        let slot = self.pools.len();
        let refusal = if let Some(e) = &self.pools_refused {
            format!("{e}; kernel 5.19 or newer is needed for registered memory")
        } else if len > REGISTERED_SIZE_MAX {
            format!("a pool of {len} bytes is more than the {REGISTERED_SIZE_MAX} that can be registered")
        } else if slot >= POOL_SLOTS as usize {
            format!("only {POOL_SLOTS} pools can be registered")
        } else {
            let range = [libc::iovec { iov_base: address.cast_mut().cast(), iov_len: len }];
            let slot = u32::try_from(slot).expect("there are few slots");
            // SAFETY: the range is a live slab, and the clone of `pool` below keeps it alive until the ring is closed.
            match unsafe { self.ring.submitter().register_buffers_update(slot, &range, None) } {
                Ok(()) => {
                    self.pools.push(pool.clone());
                    return true;
                }
                Err(e) => remedy::memory_refused(&e, len),
            }
        };
        self.notes.add(format!("io_uring works on unregistered memory, which costs CPU time: {refusal}"));
        false
    }

    fn waker(&self) -> Waker {
        let alarm = Arc::clone(&self.alarm);
        Waker::new(move || alarm.ring())
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        let Self { ring, files, free_file_slots, .. } = self;
        files.open(path, how, |file| Self::register_file(ring, free_file_slots, file))
    }

    fn close(&mut self, file: FileId) {
        assert!(!self.in_flight.uses(file), "no operation of a closed file is in flight");
        let Some(slot) = self.files.close(file).and_then(|file| file.slot) else { return };
        match self.ring.submitter().register_files_update(slot, &[-1]) {
            Ok(1) => self.free_file_slots.push(slot),
            other => tracing::warn!("registered file slot {slot} stays in use: {other:?}"),
        }
    }

    fn size(&mut self, file: FileId) -> io::Result<u64> {
        self.files.size(file)
    }

    fn truncate(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.files.truncate(file, len)
    }

    fn sync_all(&mut self, file: FileId) -> io::Result<()> {
        self.files.sync_all(file)
    }

    fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        self.files.rename(source, target)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.files.unlink(path)
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.files.create_dir(path)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        file::sync_dir(path)
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<Entry>> {
        file::list(path)
    }

    fn free_bytes(&mut self, path: &Path) -> io::Result<u64> {
        file::free_bytes(path)
    }
}

#[cfg(test)]
mod tests;
