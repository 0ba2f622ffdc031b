#![expect(unsafe_code, reason = "calls an exported C++ method on an object made of marked words")]
//! Where a class keeps a field, found by letting the daemon's own code read it.
//!
//! `DEVICE::read(buffer, length)` is exported, not virtual, and passes `m_fd` to the virtual `d_read`. An object whose
//! every word says where it lies, with a `d_read` of ours in its table, therefore tells the offset of `m_fd`.

use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Refused;
use crate::symbols;
use crate::vtable::Vtable;

/// Words of the object that may be `m_fd`, in bytes. Beyond lie pointers that the daemon follows unless they are 0.
const MARKED_BYTES: u32 = 1024;
/// Bytes of the object; the largest known `file_dev` has 3152.
const OBJECT_BYTES: usize = 16_384;
/// Added to each offset, so that a 0 or a small number that is no mark is noticed.
const MARK: u32 = 0x5EED_0000;

/// What `d_read` of the probe was given. Written and read under [`ONE_AT_A_TIME`], by one thread.
static RECEIVED: AtomicU32 = AtomicU32::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The slot that receives `m_fd`.
const READ_SLOT: &str = "_ZN6DEVICE6d_readEiPvm";
/// The function that reads it.
const READ: &str = "_ZN6DEVICE4readEPvm";

extern "C" fn receive(_this: *mut c_void, fd: i32, _buffer: *mut c_void, _length: usize) -> isize {
    RECEIVED.store(fd.cast_unsigned(), Ordering::Relaxed);
    0
}

/// Offset of `m_fd` in objects of the class that `table` belongs to, in bytes.
///
/// # Errors
/// When the functions are not there, or what came back is no mark.
pub fn descriptor_offset(table: &Vtable) -> Result<usize, Refused> {
    // SAFETY: ssize_t DEVICE::read(void*, size_t), `this` first, as the mangled name says.
    let read = unsafe { symbols::function::<extern "C" fn(*mut c_void, *mut c_void, usize) -> isize>(READ)? };
    let mut table = table.clone();
    table.replace(READ_SLOT, receive as *mut c_void)?;

    let _alone = ONE_AT_A_TIME.lock();
    RECEIVED.store(0, Ordering::Relaxed);
    let mut object = vec![0_u64; OBJECT_BYTES / size_of::<u64>()];
    for offset in (8..MARKED_BYTES).step_by(8) {
        let (low, high) = (u64::from(MARK + offset), u64::from(MARK + offset + 4));
        object[offset as usize / 8] = low | high << 32;
    }
    object[0] = table.publish() as u64;
    let mut nothing = [0_u8; 8];
    read(object.as_mut_ptr().cast(), nothing.as_mut_ptr().cast(), 0);

    let found = RECEIVED.load(Ordering::Relaxed);
    let offset = found.wrapping_sub(MARK);
    if !(8..MARKED_BYTES).contains(&offset) || !offset.is_multiple_of(4) {
        return Err(Refused::Probe { field: "m_fd", found });
    }
    Ok(offset as usize)
}
