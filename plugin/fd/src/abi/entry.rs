#![expect(unsafe_code, reason = "these are the functions that the daemon calls, with its pointers")]
//! The entry points. Each checks its pointers, reads what it needs of a packet, and calls one safe function.
//!
//! # Invariants
//! - Every entry point runs inside `enter`: a panic becomes a fatal message, then an error.
//! - Packets and strings are the daemon's, and are looked at only during the call.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::{Write, stderr};
use std::ptr;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use gdd_plugin_abi::guard::guarded;
use gdd_plugin_abi::host::JobState;
use gdd_plugin_abi::message_types::MessageTypes;

use crate::abi::host::{Host, Speaker};
use crate::abi::layout::{
    self, Bound, CORE, Code, ERROR, Event, HostFunctions, Info, IoPacket, Layout, OK, OwnFunctions, OwnInfo,
    creation, event, io, restore as packet,
};
use crate::backup::{self, Entry};
use crate::job::{Answer, Context, Job, Voice};
use crate::lock::RestoreLock;
use crate::restore::{self, Creation, Wanted};
use crate::store::Store;

static HOST: OnceLock<Host> = OnceLock::new();
static LOCK: RestoreLock = RestoreLock::new();

/// Our description and our functions, for the daemon, for ever.
struct Own(OwnInfo, OwnFunctions);

// SAFETY: all pointers in it lead to constants.
unsafe impl Send for Own {}
// SAFETY: as above; nobody writes to it.
unsafe impl Sync for Own {}

static OWN: OnceLock<Own> = OnceLock::new();

/// The daemon loads us.
///
/// # Safety
/// The arguments are those of bacula-fd: two structures to read, and two places for pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn loadPlugin(
    info: *const Info,
    functions: *const HostFunctions,
    own_info: *mut *const OwnInfo,
    own_functions: *mut *const OwnFunctions,
) -> Code {
    let body = || {
        if info.is_null() || functions.is_null() || own_info.is_null() || own_functions.is_null() {
            return Err("bacula-fd gave no tables".to_owned());
        }
        // SAFETY: not null, and two numbers in every version.
        let (version, size) = unsafe { ((*info).version, (*functions).size) };
        let Some(layout) = Layout::of(version, size) else {
            return Err(format!(
                "expected a plugin interface of version 14, 22 or 23 (Bacula 9.6.7, 13.0.3, 15.0.3), found version \
                 {version} with a table of {size} bytes"
            ));
        };
        // SAFETY: a known version with the right size has these fields.
        let (get_value, job_message) = unsafe { ((*functions).get_value, (*functions).job_message) };
        let (Some(get_value), Some(job_message)) = (get_value, job_message) else {
            return Err("bacula-fd gave no functions".to_owned());
        };
        let types = MessageTypes::find().map_err(|refused| refused.to_string())?;
        let state = JobState::find().map_err(|refused| refused.to_string())?;
        HOST.get_or_init(|| Host { layout, types, state, get_value, job_message });
        let own = OWN.get_or_init(|| own_tables(layout));
        // SAFETY: both are places for a pointer.
        unsafe {
            *own_info = &raw const own.0;
            *own_functions = &raw const own.1;
        }
        Ok(())
    };
    match guarded(body, |panic| Err(panic.to_owned())) {
        Ok(()) => OK,
        Err(text) => {
            // There is no job to tell it to; jobs that name the plugin fail.
            let _ = writeln!(stderr(), "gdd-fd: [GDD-FD-0007] {text}; this plugin is not loaded");
            ERROR
        }
    }
}

/// The daemon ends.
#[unsafe(no_mangle)]
pub extern "C" fn unloadPlugin() -> Code {
    OK
}

fn own_tables(layout: &Layout) -> Own {
    let info = OwnInfo {
        size: 56,
        version: layout.version,
        magic: c"*FDPluginData*".as_ptr(),
        licence: c"AGPLv3".as_ptr(),
        author: c"the gdd authors".as_ptr(),
        date: c"2026".as_ptr(),
        own_version: c"0.1.0".as_ptr(),
        description: c"global deduplication, client side".as_ptr(),
    };
    let functions = OwnFunctions {
        size: layout.own_size,
        version: layout.version,
        new: new_plugin,
        free: free_plugin,
        get_value,
        set_value,
        handle: handle_event,
        start_backup: unused_packet,
        end_backup: end_backup_file,
        start_restore: start_restore_file,
        end_restore: end_restore_file,
        io: plugin_io,
        create: create_file,
        set_attributes: set_file_attributes,
        check_file,
        rest: [ptr::null(); 7],
    };
    Own(info, functions)
}

#[cfg(feature = "directory-store")]
fn store() -> &'static dyn Store {
    static STORE: OnceLock<Option<crate::store::directory::Directory>> = OnceLock::new();
    let folder = || std::env::var_os(crate::store::directory::VARIABLE);
    let found = STORE.get_or_init(|| folder().map(|it| crate::store::directory::Directory::new(it.into())));
    found.as_ref().map_or(&crate::store::net::Net, |store| store as &dyn Store)
}

#[cfg(not(feature = "directory-store"))]
fn store() -> &'static dyn Store {
    &crate::store::net::Net
}

/// Run `body` with the context of `bound`.
///
/// # Safety
/// `bound` is the daemon's context, and its own field null or what [`new_plugin`] put there.
unsafe fn enter(bound: *mut Bound, body: impl FnOnce(&Context) -> Code) -> Code {
    let context = || {
        // SAFETY: see above.
        unsafe { bound.as_ref().and_then(|bound| bound.own.cast::<Context>().as_ref()) }
    };
    let entered = || context().map_or(ERROR, body);
    guarded(entered, |panic| {
        if let Some(context) = context() {
            let text = format!("[GDD-FD-0003] the plugin panicked: {panic}; report this as a bug");
            context.fatal(&text);
        }
        ERROR
    })
}

fn code(answer: Answer) -> Code {
    match answer {
        Answer::Done => OK,
        Answer::Failed => ERROR,
        Answer::Core => CORE,
    }
}

/// The string at `at`, without its NUL; empty for null.
///
/// # Safety
/// `at` is null or a C string that lives as long as it is used.
unsafe fn bytes<'a>(at: *const c_char) -> &'a [u8] {
    // SAFETY: see above.
    if at.is_null() { b"" } else { unsafe { CStr::from_ptr(at) }.to_bytes() }
}

/// The field of type `T` at `offset` of a packet.
///
/// # Safety
/// The packet has such a field there.
unsafe fn field<T: Copy>(packet: *const u8, offset: usize) -> T {
    // SAFETY: see above.
    unsafe { packet.add(offset).cast::<T>().read_unaligned() }
}

unsafe extern "C" fn new_plugin(bound: *mut Bound) -> Code {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let body = || {
        let (Some(host), false) = (HOST.get(), bound.is_null()) else { return ERROR };
        // SAFETY: the daemon's context lives until after free_plugin.
        let speaker: Box<dyn Voice> = Box::new(unsafe { Speaker::new(host, bound) });
        let lock = host.layout.one_restore.then_some(&LOCK);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let context = Box::new(Context::new(id, speaker, store(), lock));
        // SAFETY: not null, and the field is ours.
        unsafe { (*bound).own = Box::into_raw(context).cast::<c_void>() };
        OK
    };
    guarded(body, |_| ERROR)
}

unsafe extern "C" fn free_plugin(bound: *mut Bound) -> Code {
    let body = || {
        // SAFETY: the daemon's context; its own field is null or ours.
        let Some(bound) = (unsafe { bound.as_mut() }) else { return ERROR };
        let own = std::mem::replace(&mut bound.own, ptr::null_mut()).cast::<Context>();
        if !own.is_null() {
            // SAFETY: made by Box::into_raw in new_plugin, and no longer reachable.
            let context = unsafe { Box::from_raw(own) };
            restore::leave(&context);
        }
        OK
    };
    guarded(body, |_| ERROR)
}

unsafe extern "C" fn get_value(_: *mut Bound, _: c_int, _: *mut c_void) -> Code {
    OK
}

unsafe extern "C" fn set_value(_: *mut Bound, _: c_int, _: *mut c_void) -> Code {
    OK
}

unsafe extern "C" fn check_file(_: *mut Bound, _: *mut c_char) -> Code {
    OK
}

/// startBackupFile, which is of command plugins: `Plugin =` in Include instead of Options.
unsafe extern "C" fn unused_packet(bound: *mut Bound, _: *mut u8) -> Code {
    // SAFETY: the daemon's context.
    unsafe {
        enter(bound, |context| {
            code(context.fatal(
                "[GDD-FD-0008] expected Plugin = \"gdd:...\" in the Options of the FileSet, found it in \
                 Include; move it",
            ))
        })
    }
}

unsafe extern "C" fn end_backup_file(_: *mut Bound) -> Code {
    OK
}

unsafe extern "C" fn handle_event(bound: *mut Bound, event: *mut Event, value: *mut c_void) -> Code {
    // SAFETY: the daemon's context.
    unsafe {
        enter(bound, |context| {
            // SAFETY: an event is one number.
            let Some(event) = event.as_ref() else { return ERROR };
            match event.kind {
                event::CANCEL => {
                    context.cancelled.store(true, Ordering::SeqCst);
                    OK
                }
                event::HANDLE_FILE => handle_file(context, value.cast::<u8>()),
                event::RESTORE_COMMAND => {
                    // SAFETY: this event's value is the command.
                    let command = bytes(value.cast::<c_char>());
                    code(context.with(|job| restore::begin(context, job, command)))
                }
                event::START_BACKUP => code(backup::start(context)),
                event::END_BACKUP => code(context.with(|job| backup::end(context, job))),
                event::END_RESTORE => code(context.with(|job| restore::end(context, job))),
                _ => OK,
            }
        })
    }
}

/// # Safety
/// `save` is null or the save_pkt of the announced version.
unsafe fn handle_file(context: &Context, save: *const u8) -> Code {
    let Some(layout) = HOST.get().map(|host| host.layout).filter(|_| !save.is_null()) else {
        return code(
            context.fatal("[GDD-FD-0009] expected a file to save, found none; report this as a bug"),
        );
    };
    // SAFETY: every packet starts with its size.
    let size = unsafe { field::<i32>(save, 0) };
    if usize::try_from(size) != Ok(layout.save_size) {
        let text = format!(
            "[GDD-FD-0009] expected a save_pkt of {} bytes, found {size}; this build of Bacula is not supported",
            layout.save_size
        );
        return code(context.fatal(&text));
    }
    // SAFETY: the version and the size are known, and so are these fields; the strings live during the call.
    let entry = unsafe {
        let stat: libc::stat = field(save, layout.save_stat);
        Entry {
            name: bytes(field(save, layout.save_name)),
            link: bytes(field(save, layout.save_link)),
            mode: stat.st_mode,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            command: bytes(field(save, layout.save_command)),
        }
    };
    code(context.with(|job| backup::entry(context, job, &entry)))
}

unsafe extern "C" fn start_restore_file(bound: *mut Bound, command: *const c_char) -> Code {
    // SAFETY: the daemon's context and its string.
    unsafe {
        enter(bound, |context| {
            let command = bytes(command);
            code(context.with(|job| restore::begin(context, job, command)))
        })
    }
}

unsafe extern "C" fn end_restore_file(bound: *mut Bound) -> Code {
    // SAFETY: the daemon's context.
    unsafe { enter(bound, |context| code(context.with(|job| restore::end_file(context, job)))) }
}

unsafe extern "C" fn create_file(bound: *mut Bound, file: *mut u8) -> Code {
    // SAFETY: the daemon's context and its restore_pkt.
    unsafe {
        enter(bound, |context| {
            let Some(layout) = restore_packet(context, file) else { return ERROR };
            // Whatever happens below, core must not believe that it is to write the reference itself.
            set_status(file, creation::ERROR);
            let stat: libc::stat = field(file, packet::STAT);
            // What a release has no name for, none of its volumes has.
            let is_update = field::<c_int>(file, layout.restore_stream) == layout::ATTRIBUTE_UPDATE;
            let wanted = Wanted {
                path: bytes(field(file, packet::NAME)),
                has_data: field::<c_int>(file, layout.restore_type) == layout::FT_REG && !is_update,
                modified: stat.st_mtime,
                replace: u8::try_from(field::<c_int>(file, packet::REPLACE)).unwrap_or(b'a'),
            };
            let mut status = creation::ERROR;
            let answer = context.with(|job| {
                status = match restore::create(context, job, &wanted) {
                    Creation::Skip => creation::SKIP,
                    Creation::Failed => creation::ERROR,
                    Creation::Ours => creation::EXTRACT,
                    Creation::Core => creation::CORE,
                };
                Answer::Done
            });
            set_status(file, status);
            if status == creation::ERROR { ERROR } else { code(answer) }
        })
    }
}

unsafe extern "C" fn set_file_attributes(bound: *mut Bound, file: *mut u8) -> Code {
    // SAFETY: the daemon's context and its restore_pkt.
    unsafe {
        enter(bound, |context| {
            if restore_packet(context, file).is_none() {
                return ERROR;
            }
            set_status(file, creation::ERROR);
            if context.with(|job| restore::finish(context, job)) == Answer::Core {
                set_status(file, creation::CORE);
                return OK;
            }
            ERROR
        })
    }
}

/// The layout for `file`, once its size is right.
///
/// # Safety
/// `file` is null or a restore_pkt.
unsafe fn restore_packet(context: &Context, file: *const u8) -> Option<&'static Layout> {
    // SAFETY: every packet starts with its size.
    let size = if file.is_null() { 0 } else { unsafe { field::<i32>(file, 0) } };
    if usize::try_from(size) != Ok(packet::SIZE) {
        let expected = packet::SIZE;
        context.fatal(&format!(
            "[GDD-FD-0009] expected a restore_pkt of {expected} bytes, found {size}; this build of Bacula is not \
             supported"
        ));
        return None;
    }
    HOST.get().map(|host| host.layout)
}

/// # Safety
/// `file` is a restore_pkt.
unsafe fn set_status(file: *mut u8, status: c_int) {
    // SAFETY: the field is there in every version.
    unsafe { file.add(packet::STATUS).cast::<c_int>().write_unaligned(status) };
}

unsafe extern "C" fn plugin_io(bound: *mut Bound, io: *mut IoPacket) -> Code {
    // SAFETY: the daemon's context and its io_pkt, which nobody else uses during the call.
    unsafe {
        enter(bound, |context| {
            let Some(io) = io.as_mut() else { return ERROR };
            (io.status, io.errno, io.lerror, io.win32) = (-1, libc::EIO, 0, 0);
            if usize::try_from(io.size) != Ok(size_of::<IoPacket>()) {
                let text = format!(
                    "[GDD-FD-0009] expected an io_pkt of 72 bytes, found {}; this build of Bacula is not supported",
                    io.size
                );
                return code(context.fatal(&text));
            }
            code(context.with(|job| match do_io(context, job, io) {
                Ok(status) => {
                    (io.status, io.errno) = (status, 0);
                    Answer::Done
                }
                Err(errno) => {
                    io.errno = errno;
                    Answer::Failed
                }
            }))
        })
    }
}

/// One operation; its status, or the number of its error.
///
/// # Safety
/// The packet's buffer has room for its count, its name is a C string.
unsafe fn do_io(context: &Context, job: &mut Job, packet: &mut IoPacket) -> Result<i32, i32> {
    let count = usize::try_from(packet.count).unwrap_or(0);
    let restoring = restore::is_restoring(job);
    let counted = |count: usize| i32::try_from(count).map_err(|_| libc::EIO);
    match packet.function {
        io::OPEN if restoring && !context.is_dead() => Ok(0),
        // SAFETY: core's string.
        io::OPEN if !restoring => backup::open(context, job, unsafe { bytes(packet.name) }).map(|()| 0),
        io::READ if !packet.buffer.is_null() && !restoring => {
            // SAFETY: core's buffer of `count` bytes. Its content is initialised first: it may be fresh memory.
            let buffer = unsafe {
                packet.buffer.write_bytes(0, count.min(crate::reference::SIZE));
                slice::from_raw_parts_mut(packet.buffer, count.min(crate::reference::SIZE))
            };
            backup::read(context, job, buffer).and_then(counted)
        }
        io::WRITE if !packet.buffer.is_null() => {
            // SAFETY: core's buffer of `count` bytes, which it has filled.
            let buffer = unsafe { slice::from_raw_parts(packet.buffer, count) };
            restore::write(context, job, buffer).and_then(counted)
        }
        io::CLOSE if restoring => Ok(0),
        io::CLOSE => match backup::close(context, job) {
            Answer::Done => Ok(0),
            _ => Err(libc::EIO),
        },
        io::SEEK if restoring => {
            if packet.whence == libc::SEEK_END {
                packet.offset = i64::try_from(restore::length(job)).map_err(|_| libc::EFBIG)?;
            }
            Ok(0)
        }
        _ => Err(libc::EIO),
    }
}
