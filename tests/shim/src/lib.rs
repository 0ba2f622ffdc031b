//! Loaded into a program under test by `LD_PRELOAD`, it makes two things of libc worse than they are: `read`, which can
//! fail or wait at a given byte of a given file, and the wall clock, which can be wrong by days. What no test can do to
//! the machine's disk and clock, it does to one process.
//!
//! The folder that `FAULTS` names has the orders, which are looked at in every call:
//! - `read`: lines `PART OFFSET ACTION`, for files whose path has PART in it, from byte OFFSET on. ACTION is `eio`
//!   (the read fails) or `hold` (an empty file `held` is made, and the read waits until there is no `read` any more).
//! - `clock`: seconds, maybe negative, to add to the wall clock. CLOCK_MONOTONIC stays what it is, as where a clock is
//!   stepped (clock_gettime(2)).
//!
//! # Invariants
//! - Nothing here allocates, panics or calls what it replaces: it runs where the program's own libc calls run.
//! - Without `FAULTS`, or without orders in it, every call does what libc's does.
#![expect(unsafe_code, reason = "replaces functions of libc")]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};

use libc::{clockid_t, size_t, ssize_t, time_t, timespec, timeval};

/// Bytes of a file of orders, and of a path.
const SIZE: usize = 4096;
/// Between two looks at whether a wait is over.
const LOOK: timespec = timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Text of limited size, without allocation.
struct Text {
    bytes: [u8; SIZE],
    len: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; SIZE], len: 0 }
    }

    /// What does not fit with a zero after it is left out, which no test asks for.
    fn push(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            if self.len + 1 < SIZE {
                self.bytes[self.len] = *byte;
                self.len += 1;
            }
        }
        self
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The path of `name` in the folder of orders.
fn path_of(name: &[u8]) -> Option<Text> {
    // SAFETY: the name ends with a zero; the tests' programs do not change their environment while they run.
    let folder = unsafe { libc::getenv(c"FAULTS".as_ptr()) };
    if folder.is_null() {
        return None;
    }
    // SAFETY: getenv gives a text that ends with a zero.
    let folder = unsafe { CStr::from_ptr(folder) };
    let mut path = Text::new();
    path.push(folder.to_bytes()).push(b"/").push(name);
    Some(path)
}

/// Opens `path` by the system call itself.
fn open(path: &Text, flags: c_int) -> Option<c_int> {
    let mode: c_int = 0o600;
    // SAFETY: the path ends with a zero, as `Text` keeps one free.
    let fd = unsafe {
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.bytes.as_ptr(), flags | libc::O_CLOEXEC, mode)
    };
    c_int::try_from(fd).ok().filter(|fd| *fd >= 0)
}

fn close(fd: c_int) {
    // SAFETY: only closes what `open` gave.
    unsafe { libc::syscall(libc::SYS_close, fd) };
}

/// The orders under `name`.
fn orders(name: &[u8]) -> Option<Text> {
    let fd = open(&path_of(name)?, libc::O_RDONLY)?;
    let mut text = Text::new();
    // SAFETY: the buffer has so many bytes.
    let count = unsafe { libc::syscall(libc::SYS_read, fd, text.bytes.as_mut_ptr(), SIZE - 1) };
    close(fd);
    text.len = usize::try_from(count).ok()?;
    Some(text)
}

fn pause() {
    // SAFETY: the time is valid, and what is left of it is not asked for.
    unsafe { libc::syscall(libc::SYS_nanosleep, std::ptr::from_ref(&LOOK), std::ptr::null::<timespec>()) };
}

fn number(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut value = 0_i64;
    for digit in digits {
        value =
            value.checked_mul(10)?.checked_add(i64::from(digit.checked_sub(b'0').filter(|it| *it < 10)?))?;
    }
    Some(if negative { -value } else { value })
}

/// Whether a read of `fd` is to fail; it waits before, where it was told to.
fn fails(fd: c_int) -> bool {
    let Some(orders) = orders(b"read") else { return false };
    let mut link = Text::new();
    link.push(b"/proc/self/fd/");
    let mut digits = [0; 10];
    let (mut rest, mut at) = (fd.unsigned_abs(), digits.len());
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    link.push(&digits[at..]);
    let mut path = Text::new();
    // SAFETY: both texts end with a zero, and the second has so many bytes.
    let count = unsafe {
        let (from, to) = (link.bytes.as_ptr(), path.bytes.as_mut_ptr());
        libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, from, to, SIZE - 1)
    };
    let Ok(len) = usize::try_from(count) else { return false };
    path.len = len;
    // SAFETY: only asks where the file is read next; a pipe or a socket has no such place.
    let place: i64 = unsafe { libc::syscall(libc::SYS_lseek, fd, 0_i64, libc::SEEK_CUR) };
    place >= 0
        && orders.as_bytes().split(|byte| *byte == b'\n').any(|line| obeys(line, path.as_bytes(), place))
}

fn obeys(line: &[u8], path: &[u8], place: i64) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(part), Some(offset), Some(action)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let applies = path.windows(part.len().max(1)).any(|window| window == part)
        && number(offset).is_some_and(|offset| place >= offset);
    match (applies, action) {
        (true, b"eio") => true,
        (true, b"hold") => {
            if let Some(held) = path_of(b"held").and_then(|path| open(&path, libc::O_WRONLY | libc::O_CREAT))
            {
                close(held);
            }
            while orders(b"read").is_some() {
                pause();
            }
            false
        }
        _ => false,
    }
}

/// `read` of libc, but where it is ordered to fail or to wait.
///
/// # Safety
/// As read(2): `buffer` has `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, count: size_t) -> ssize_t {
    if fails(fd) {
        // SAFETY: every thread has an errno.
        unsafe { *libc::__errno_location() = libc::EIO };
        return -1;
    }
    // SAFETY: the caller's own arguments; the wrapper sets errno.
    let count: c_long = unsafe { libc::syscall(libc::SYS_read, fd, buffer, count) };
    ssize_t::try_from(count).unwrap_or(-1)
}

/// Seconds that the wall clock is wrong by.
fn step() -> time_t {
    orders(b"clock").and_then(|text| number(text.as_bytes())).unwrap_or(0)
}

/// `clock_gettime` of libc with a wrong wall clock.
///
/// # Safety
/// As clock_gettime(2): `time` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller's own arguments; the wrapper sets errno.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if result == 0 && matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE) {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += step() };
    }
    if result == 0 { 0 } else { -1 }
}

/// `gettimeofday` of libc with a wrong wall clock.
///
/// # Safety
/// As gettimeofday(2): `time` is valid or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut timeval, _zone: *mut c_char) -> c_int {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is ours.
    let result = unsafe { clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    if result == 0 && !time.is_null() {
        // SAFETY: the caller's pointer, which is not null.
        unsafe { *time = timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 } };
    }
    result
}

/// `time` of libc with a wrong wall clock.
///
/// # Safety
/// As time(2): `time` is valid or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut time_t) -> time_t {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is ours.
    unsafe { clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    if !time.is_null() {
        // SAFETY: the caller's pointer, which is not null.
        unsafe { *time = now.tv_sec };
    }
    now.tv_sec
}
