#![expect(unsafe_code, reason = "the C++ side calls these functions, with pointers to its objects")]
//! The entry points that bacula-sd calls, and the object that it calls them on.
//!
//! The object is a `file_dev` of Bacula's own, with a table of ours: what is not replaced here runs as in a plain File
//! device. Our part hangs on a pointer in the object's last bytes, far behind Bacula's members.
//!
//! # Invariants
//! - Every entry point is guarded; a panic becomes a fatal error of the job.
//! - Our lock is never held while Bacula's code runs: it may call back.
//! - `M_FATAL` comes before the error return: a return value alone sends Bacula to the next volume, and "Backup OK".

use std::ffi::{c_char, c_void};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};

use gdd_plugin_abi::error::Refused;
use gdd_plugin_abi::guard::guarded;
use gdd_plugin_abi::host::{Grave, Host};
use gdd_plugin_abi::vtable::Vtable;
use gdd_plugin_abi::{probe, symbols, version};

use crate::device::{Device, errno_of};
use crate::error::{Error, Result, io_error};
use crate::process::Process;
use crate::store;
use crate::volume::Whence;

/// Bytes of a device object; the largest known `file_dev` has 3152.
const OBJECT_SIZE: u32 = 16_384;
/// Where the pointer to our part stands.
const STATE_OFFSET: usize = OBJECT_SIZE as usize - size_of::<*mut c_void>();

type This = *mut c_void;
type OpenDevice = unsafe extern "C" fn(This, *mut c_void, i32) -> bool;
type Close = unsafe extern "C" fn(This, i32) -> i32;
type WithJob = unsafe extern "C" fn(This, *mut c_void) -> bool;
type Destroy = unsafe extern "C" fn(This);

/// What is the same for all devices.
struct Class {
    host: Host,
    process: Arc<Process>,
    vptr: usize,
    fd_offset: usize,
    open_device: OpenDevice,
    close: Close,
    truncate: WithJob,
    sync_data: WithJob,
    destroy: Destroy,
}

static CLASS: OnceLock<std::result::Result<Class, Refused>> = OnceLock::new();

impl Class {
    fn build() -> std::result::Result<Self, Refused> {
        let accepted = std::env::var("GDD_ACCEPT_BACULA").ok();
        let known = version::known(&version::of_this_process()?, accepted.as_deref())?;
        let host = Host::find()?;
        let mut table = Vtable::copy_of("_ZTV8file_dev")?;
        if let Some(expected) = known.file_dev_table_size.filter(|size| *size != table.size()) {
            let (found, expected) = (table.size(), expected.to_string());
            return Err(Refused::Table { table: "file_dev".to_owned(), found, expected });
        }
        let fd_offset = probe::descriptor_offset(&table)?;
        let process = Arc::new(Process::new(session_time()?));
        table.replace("_ZN6DEVICE6d_readEiPvm", d_read as *mut c_void)?;
        table.replace("_ZN6DEVICE7d_writeEiPKvm", d_write as *mut c_void)?;
        table.replace("_ZN6DEVICE5lseekEP3DCRli", lseek as *mut c_void)?;
        table.replace("_ZN8file_dev10print_typeEv", print_type as *mut c_void)?;
        let open_device = table.replace("_ZN8file_dev11open_deviceEP3DCRi", open_device as *mut c_void)?;
        let close = table.replace("_ZN6DEVICE7d_closeEi", d_close as *mut c_void)?;
        let truncate = table.replace("_ZN6DEVICE8truncateEP3DCR", truncate as *mut c_void)?;
        let sync_data = table.replace("_ZN6DEVICE9sync_dataEP3DCR", sync_data as *mut c_void)?;
        let destroy = table.replace("_ZN8file_devD0Ev", destroy as *mut c_void)?;
        // SAFETY: each address is the exported function of this mangled name, whose signature the type has; `this` goes
        // first, as in the System V ABI.
        unsafe {
            Ok(Self {
                host,
                process,
                vptr: table.publish() as usize,
                fd_offset,
                open_device: std::mem::transmute::<*mut c_void, OpenDevice>(open_device),
                close: std::mem::transmute::<*mut c_void, Close>(close),
                truncate: std::mem::transmute::<*mut c_void, WithJob>(truncate),
                sync_data: std::mem::transmute::<*mut c_void, WithJob>(sync_data),
                destroy: std::mem::transmute::<*mut c_void, Destroy>(destroy),
            })
        }
    }

    /// The class that every object of ours was made with.
    fn get() -> Option<&'static Self> {
        CLASS.get().and_then(|class| class.as_ref().ok())
    }
}

/// Makes a device; null when this daemon is not understood. `bacula-sd` looks this name up.
///
/// # Safety
/// Called by bacula-sd's loader of drivers, with its own objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn BaculaSDdriver(_jcr: *mut c_void, _device: *mut c_void) -> *mut c_void {
    guarded(
        || match CLASS.get_or_init(Class::build) {
            Ok(class) => make(class),
            Err(refused) => {
                if let Ok(host) = Host::find() {
                    host.message(Grave::Fatal, &refused.to_string());
                }
                std::ptr::null_mut()
            }
        },
        |_| std::ptr::null_mut(),
    )
}

/// The VolSessionTime that this process gives to the sessions of its jobs: the second in which bacula-sd started, which
/// it sets before it loads drivers. The tools leave it 0, and copy blocks of any session.
fn session_time() -> std::result::Result<Option<u32>, Refused> {
    let started = symbols::address("daemon_start_time")?.cast::<i64>();
    // SAFETY: Bacula exports a `utime_t`, 64 bits signed, of this name; nobody writes to it once drivers are loaded.
    let started = unsafe { started.read_volatile() };
    // As Bacula does it: the lower 32 bits.
    let bytes = started.to_le_bytes();
    let time = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(Some(time).filter(|time| *time != 0))
}

fn make(class: &Class) -> *mut c_void {
    let this = class.host.allocate(OBJECT_SIZE);
    if this.is_null() {
        return this;
    }
    let device = Device::of(Arc::clone(&class.process), store::connect());
    let state = Box::into_raw(Box::new(Mutex::new(device)));
    // SAFETY: the object has OBJECT_SIZE zeroed bytes, aligned as malloc aligns; the three places are inside it,
    // aligned and apart: fd_offset is below 1024.
    unsafe {
        this.cast::<usize>().write(class.vptr);
        this.byte_add(class.fd_offset).cast::<i32>().write(-1);
        this.byte_add(STATE_OFFSET).cast::<*mut Mutex<Device>>().write(state);
    }
    this
}

/// Our part of an object.
///
/// # Safety
/// `this` was made by [`make`] and not destroyed.
unsafe fn state<'a>(this: This) -> &'a Mutex<Device> {
    // SAFETY: `make` has put it there, and `destroy` alone takes it away, as the last call on the object.
    unsafe { &**this.byte_add(STATE_OFFSET).cast::<*const Mutex<Device>>() }
}

/// The file descriptor that Bacula has open, -1 for none.
///
/// # Safety
/// As [`state`].
unsafe fn descriptor(this: This, class: &Class) -> i32 {
    // SAFETY: the probe has found the member there, and Bacula's calls on one device follow one another.
    unsafe { this.byte_add(class.fd_offset).cast::<i32>().read() }
}

/// # Safety
/// As [`state`].
unsafe fn set_descriptor(this: This, class: &Class, fd: i32) {
    // SAFETY: as in `descriptor`.
    unsafe { this.byte_add(class.fd_offset).cast::<i32>().write(fd) }
}

/// Runs `body` on the device, writes what it noted to the job log, and an error as a fatal one. `None` after an error.
///
/// # Safety
/// As [`state`].
unsafe fn with<T>(this: This, body: impl FnOnce(&mut Device) -> Result<T>) -> Option<T> {
    // SAFETY: the caller vouches for `this`.
    let state = unsafe { state(this) };
    let run = || match state.lock() {
        Ok(mut device) => {
            let result = body(&mut device);
            (result, device.take_notes())
        }
        Err(_) => (Err(Error::Internal("it had failed before".to_owned())), Vec::new()),
    };
    let (result, notes) = guarded(run, |panic| (Err(Error::Internal(panic.to_owned())), Vec::new()));
    guarded(
        || {
            let class = Class::get()?;
            for (grave, text) in notes {
                class.host.message(grave, &text);
            }
            match result {
                Ok(value) => Some(value),
                Err(error) => {
                    class.host.message(Grave::Fatal, &error.to_string());
                    // SAFETY: the thread's own errno.
                    unsafe { *libc::__errno_location() = errno_of(&error) };
                    None
                }
            }
        },
        |_| None,
    )
}

/// A file of our own on what Bacula has open, and whether it may be written.
///
/// # Safety
/// `fd` is open, or negative.
unsafe fn own_file(fd: i32) -> Result<(File, bool)> {
    if fd < 0 {
        return Err(Error::Closed);
    }
    // SAFETY: the caller says that it is open; it is borrowed for the duplication only.
    let owned: OwnedFd = unsafe { BorrowedFd::borrow_raw(fd) }
        .try_clone_to_owned()
        .map_err(io_error("duplicate", "the volume's file"))?;
    // SAFETY: the descriptor is open, and this command has no argument.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    Ok((File::from(owned), flags & libc::O_ACCMODE != libc::O_RDONLY))
}

unsafe extern "C" fn open_device(this: This, dcr: *mut c_void, mode: i32) -> bool {
    let Some(class) = Class::get() else { return false };
    // SAFETY: Bacula's own function on Bacula's object, with Bacula's arguments.
    if !unsafe { (class.open_device)(this, dcr, mode) } {
        return false;
    }
    // SAFETY: Bacula calls with an object of ours; the descriptor is checked before it is used.
    unsafe {
        let fd = descriptor(this, class);
        let opened = with(this, |device| {
            if fd < 0 || device.is_open() {
                return Ok(());
            }
            let (file, writable) = own_file(fd)?;
            device.open(file, writable)
        });
        if opened.is_none() && fd >= 0 {
            (class.close)(this, fd);
            set_descriptor(this, class, -1);
        }
        opened.is_some()
    }
}

unsafe extern "C" fn d_close(this: This, fd: i32) -> i32 {
    let Some(class) = Class::get() else { return -1 };
    // SAFETY: an object of ours; then Bacula's own function with its own arguments.
    unsafe {
        let closed = with(this, Device::close);
        let theirs = (class.close)(this, fd);
        if closed.is_some() { theirs } else { -1 }
    }
}

unsafe extern "C" fn d_read(this: This, _fd: i32, buffer: *mut u8, len: usize) -> isize {
    if buffer.is_null() || len == 0 {
        return 0;
    }
    // SAFETY: an object of ours, and a buffer of `len` bytes that Bacula lends for this call; Bacula has initialised it
    // when it was allocated, and nothing is read from it here.
    let count = unsafe {
        let buffer = std::slice::from_raw_parts_mut(buffer, len);
        with(this, |device| device.read(buffer))
    };
    count.and_then(|count| count.try_into().ok()).unwrap_or(-1)
}

unsafe extern "C" fn d_write(this: This, _fd: i32, block: *const u8, len: usize) -> isize {
    if block.is_null() || len == 0 {
        return 0;
    }
    // SAFETY: an object of ours, and a block of `len` bytes that Bacula lends for this call.
    let count = unsafe {
        let block = std::slice::from_raw_parts(block, len);
        with(this, |device| device.write(block))
    };
    count.and_then(|count| count.try_into().ok()).unwrap_or(-1)
}

unsafe extern "C" fn lseek(this: This, _dcr: *mut c_void, offset: i64, whence: i32) -> i64 {
    let whence = match whence {
        libc::SEEK_SET => Some(Whence::Start),
        libc::SEEK_CUR => Some(Whence::Current),
        libc::SEEK_END => Some(Whence::End),
        _ => None,
    };
    // SAFETY: an object of ours.
    let position = unsafe { with(this, |device| Ok(whence.and_then(|whence| device.seek(offset, whence)))) };
    position.flatten().and_then(|position| position.try_into().ok()).unwrap_or_else(|| {
        // SAFETY: the thread's own errno.
        unsafe { *libc::__errno_location() = libc::EINVAL };
        -1
    })
}

unsafe extern "C" fn truncate(this: This, dcr: *mut c_void) -> bool {
    let Some(class) = Class::get() else { return false };
    // SAFETY: an object of ours; Bacula's own function with its own arguments; afterwards the descriptor may be another
    // one.
    unsafe {
        let Some(id) = with(this, Device::before_truncate) else { return false };
        if !(class.truncate)(this, dcr) {
            return false;
        }
        let fd = descriptor(this, class);
        with(this, |device| {
            let (file, _) = own_file(fd)?;
            device.after_truncate(file, id)
        })
        .is_some()
    }
}

unsafe extern "C" fn sync_data(this: This, dcr: *mut c_void) -> bool {
    let Some(class) = Class::get() else { return false };
    // SAFETY: an object of ours; Bacula's own function with its own arguments.
    unsafe { with(this, Device::sync).is_some() && (class.sync_data)(this, dcr) }
}

unsafe extern "C" fn print_type(_this: This) -> *const c_char {
    c"gdd".as_ptr()
}

unsafe extern "C" fn destroy(this: This) {
    let Some(class) = Class::get() else { return };
    // SAFETY: an object of ours, and the last call on it: the pointer was made by Box::into_raw, and is taken once.
    unsafe {
        let place = this.byte_add(STATE_OFFSET).cast::<*mut Mutex<Device>>();
        let state = std::mem::replace(&mut *place, std::ptr::null_mut());
        if !state.is_null() {
            guarded(|| drop(Box::from_raw(state)), |_| ());
        }
        (class.destroy)(this);
    }
}
