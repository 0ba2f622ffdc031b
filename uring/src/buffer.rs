//! Aligned memory for direct I/O, owned by exactly one side at a time.
//!
//! A buffer that the kernel may still write to must not be freed, moved or read; async runtimes got this wrong by
//! freeing on cancel. Here a buffer *moves* into an operation and comes back with its completion, success or not.
//!
//! # Invariants
//! - An [`IoBuf`] owns its byte range alone: parts made by [`IoBuf::split_off`] never overlap, so `&mut` is sound.
//! - [`Shared`] ranges are immutable for ever: they come from a consumed `IoBuf`.
//! - Memory goes back to its [`Pool`] (or the allocator) when the last part of it is dropped.
#![expect(unsafe_code, reason = "owns raw aligned allocations and hands out disjoint slices of them")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Alignment in bytes of every buffer's address and of its allocated length. Direct I/O needs offset, length and
/// address aligned to the device's logical block; 4096 covers every device in use.
pub const ALIGN: usize = 4096;

/// Transparent huge page size in bytes; slabs at least this long are aligned to it and advised.
const HUGE_PAGE: usize = 2 << 20;

/// Names the slab a buffer was cut from, so that a ring can recognise memory that it registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlabId(u64);

/// A zeroed, aligned allocation. Long ones are mapped, so that memory nobody touched costs nothing.
struct Slab {
    id: SlabId,
    start: NonNull<u8>,
    layout: Layout,
    mapped: bool,
}

// SAFETY: a slab is plain memory; who may touch which bytes is decided by `IoBuf` and `Shared`.
unsafe impl Send for Slab {}
// SAFETY: as above; the slab itself offers no access to its bytes.
unsafe impl Sync for Slab {}

impl Slab {
    fn new(len: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mapped = len >= HUGE_PAGE;
        let align = if mapped { HUGE_PAGE } else { ALIGN };
        let layout = Layout::from_size_align(len.max(ALIGN).next_multiple_of(align), align)
            .expect("a buffer is far smaller than the address space");
        let start = if mapped { Self::map(layout) } else { Self::allocate(layout) };
        Self { id: SlabId(NEXT.fetch_add(1, Ordering::Relaxed)), start, layout, mapped }
    }

    fn allocate(layout: Layout) -> NonNull<u8> {
        // SAFETY: the layout has a non-zero size.
        NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// Map zero pages: one huge page more than asked for, then cut off what lies outside the aligned range.
    fn map(layout: Layout) -> NonNull<u8> {
        let span = layout.size() + HUGE_PAGE;
        let (read_write, private) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), span, read_write, private, -1, 0) };
        if base == libc::MAP_FAILED {
            handle_alloc_error(layout);
        }
        let base = base.cast::<u8>();
        let lead = base.align_offset(HUGE_PAGE);
        // SAFETY: `lead` is less than HUGE_PAGE, so `[lead, lead + size)` lies inside the span just mapped; the two
        // ends cut off are whole pages of it that nobody uses; the advice changes no contents, and a refusal is
        // harmless.
        unsafe {
            let start = base.add(lead);
            if lead > 0 {
                libc::munmap(base.cast(), lead);
            }
            libc::munmap(start.add(layout.size()).cast(), span - lead - layout.size());
            libc::madvise(start.cast(), layout.size(), libc::MADV_HUGEPAGE);
            NonNull::new_unchecked(start)
        }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if self.mapped {
            // SAFETY: exactly this range was left mapped by `map`; the last buffer of it is gone.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.layout.size()) };
        } else {
            // SAFETY: allocated with this layout in `allocate`, and dropped once, after the last buffer of it.
            unsafe { dealloc(self.start.as_ptr(), self.layout) };
        }
    }
}

/// A range of a slab that returns to its pool when the last part of it is dropped.
struct Lease {
    slab: Arc<Slab>,
    offset: usize,
    len: usize,
    home: Option<Weak<Home>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(home) = self.home.as_ref().and_then(Weak::upgrade) {
            home.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.offset);
        }
    }
}

struct Home {
    slab: Arc<Slab>,
    buffer_size: usize,
    free: Mutex<Vec<usize>>,
}

/// A fixed number of equally sized buffers in one slab. Its size is the back-pressure: an empty pool means "wait".
#[derive(Clone)]
pub struct Pool {
    home: Arc<Home>,
    count: usize,
}

impl Pool {
    /// Allocate `count` buffers of `buffer_size` bytes, rounded up to [`ALIGN`].
    #[must_use]
    pub fn new(buffer_size: usize, count: usize) -> Self {
        let buffer_size = buffer_size.max(1).next_multiple_of(ALIGN);
        let slab = Arc::new(Slab::new(buffer_size * count));
        let free = Mutex::new((0..count).rev().map(|slot| slot * buffer_size).collect());
        Self { home: Arc::new(Home { slab, buffer_size, free }), count }
    }

    /// Take a buffer, or `None` when all are in use. Contents are whatever the last user left.
    #[must_use]
    pub fn take(&self) -> Option<IoBuf> {
        let offset = self.home.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let home = Some(Arc::downgrade(&self.home));
        let len = self.home.buffer_size;
        let lease = Arc::new(Lease { slab: Arc::clone(&self.home.slab), offset, len, home });
        Some(IoBuf { lease, start: 0, len })
    }

    /// Buffers free right now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.home.free.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Buffers in all, free or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes in each buffer.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.home.buffer_size
    }

    /// The slab behind this pool, and its address range, for registration with a ring.
    #[must_use]
    pub fn slab(&self) -> (SlabId, *const u8, usize) {
        (self.home.slab.id, self.home.slab.start.as_ptr(), self.home.slab.layout.size())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} x {} free)", self.available(), self.count, self.buffer_size())
    }
}

/// An exclusively owned, aligned byte range. Moves into an operation and comes back with its completion.
pub struct IoBuf {
    lease: Arc<Lease>,
    start: usize,
    len: usize,
}

impl IoBuf {
    /// Allocate a zeroed buffer of exactly `len` visible bytes (the memory behind it is rounded up to [`ALIGN`]).
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let slab = Arc::new(Slab::new(len));
        let capacity = slab.layout.size();
        Self { lease: Arc::new(Lease { slab, offset: 0, len: capacity, home: None }), start: 0, len }
    }

    /// Keep the first `len` bytes visible; the rest comes back with [`IoBuf::restore`].
    ///
    /// # Panics
    /// When `len` is more than is visible now.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "truncate cannot lengthen a buffer");
        self.len = len;
    }

    /// Make the whole allocation visible again, if this buffer is the only part of it. Returns whether it was.
    pub fn restore(&mut self) -> bool {
        let alone = Arc::strong_count(&self.lease) == 1;
        if alone {
            self.start = 0;
            self.len = self.lease.len;
        }
        alone
    }

    /// Split into `[0, at)`, which stays here, and `[at, len)`, which is returned.
    ///
    /// # Panics
    /// When `at` is beyond the end.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        assert!(at <= self.len, "split point lies inside the buffer");
        let tail = Self { lease: Arc::clone(&self.lease), start: self.start + at, len: self.len - at };
        self.len = at;
        tail
    }

    /// Join with the part that follows directly; gives it back when it is not that part.
    ///
    /// # Errors
    /// `tail`, unchanged, when it does not start where this buffer ends.
    pub fn unsplit(&mut self, tail: Self) -> Result<(), Self> {
        if !Arc::ptr_eq(&self.lease, &tail.lease) || self.start + self.len != tail.start {
            return Err(tail);
        }
        self.len += tail.len;
        Ok(())
    }

    /// Give up writing: the bytes become immutable and cheaply shared.
    #[must_use]
    pub fn freeze(self) -> Shared {
        Shared { lease: self.lease, start: self.start, len: self.len }
    }

    /// The slab this buffer was cut from.
    #[must_use]
    pub fn slab(&self) -> SlabId {
        self.lease.slab.id
    }

    fn pointer(&self) -> *mut u8 {
        // SAFETY: `offset + start` lies inside the slab: leases are cut from it, and parts only shrink or rejoin.
        unsafe { self.lease.slab.start.as_ptr().add(self.lease.offset + self.start) }
    }
}

impl Deref for IoBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range is inside a live, initialised (zeroed) slab, and no other part overlaps it.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.len) }
    }
}

impl DerefMut for IoBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` proves that nobody else reads this range.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.len) }
    }
}

impl fmt::Debug for IoBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IoBuf({} bytes)", self.len)
    }
}

/// An immutable byte range, cloned and sliced without copying; the memory lives until the last clone is dropped.
#[derive(Clone)]
pub struct Shared {
    lease: Arc<Lease>,
    start: usize,
    len: usize,
}

impl Shared {
    /// A narrower view of the same memory.
    ///
    /// # Panics
    /// When `range` is not inside this one.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "slice lies inside the buffer");
        Self { lease: Arc::clone(&self.lease), start: self.start + range.start, len: range.len() }
    }

    /// Bytes of memory that this view keeps alive.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.lease.len
    }

    /// How many buffers and views share this memory, this one included. A moment's truth: only who can rule out that
    /// others clone or drop theirs may build on it.
    #[must_use]
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.lease)
    }

    /// Take the memory back for writing, if this is the last view of it.
    ///
    /// # Errors
    /// `self`, unchanged, while other views exist.
    pub fn thaw(self) -> Result<IoBuf, Self> {
        if Arc::strong_count(&self.lease) != 1 {
            return Err(self);
        }
        let len = self.lease.len;
        Ok(IoBuf { lease: self.lease, start: 0, len })
    }
}

impl From<IoBuf> for Shared {
    fn from(buffer: IoBuf) -> Self {
        buffer.freeze()
    }
}

impl Deref for Shared {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range is inside a live, initialised slab, and its only writer was consumed by `freeze`.
        unsafe {
            std::slice::from_raw_parts(
                self.lease.slab.start.as_ptr().add(self.lease.offset + self.start).cast_const(),
                self.len,
            )
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_return_to_their_pool() {
        let pool = Pool::new(5000, 2);
        assert_eq!(pool.buffer_size(), 8192);
        let mut first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert!(pool.take().is_none());
        assert_eq!(first.as_ptr() as usize % ALIGN, 0);
        let tail = first.split_off(4096);
        drop(first);
        assert_eq!(pool.available(), 0, "a part still holds the buffer");
        drop(tail);
        drop(second);
        assert_eq!(pool.available(), 2);
    }

    #[test]
    fn parts_rejoin_only_in_order() {
        let mut buffer = IoBuf::zeroed(12288);
        let mut middle = buffer.split_off(4096);
        let tail = middle.split_off(4096);
        let tail = buffer.unsplit(tail).unwrap_err();
        buffer.unsplit(middle).unwrap();
        buffer.unsplit(tail).unwrap();
        assert_eq!(buffer.len(), 12288);
        assert!(buffer.restore());
    }

    #[test]
    fn shared_views_thaw_only_when_alone() {
        let mut buffer = IoBuf::zeroed(4096);
        buffer[7] = 9;
        let shared = buffer.freeze();
        let view = shared.slice(7..8);
        assert_eq!(view[0], 9);
        assert_eq!(shared.holders(), 2);
        let shared = shared.thaw().unwrap_err();
        drop(view);
        assert_eq!(shared.thaw().unwrap()[7], 9);
    }
}
