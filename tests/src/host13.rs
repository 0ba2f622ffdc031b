#![expect(unsafe_code, reason = "a plugin is loaded and called through its C interface")]
//! The file daemon of Bacula 13.0.3 as its plugin sees it: no package of it exists for the systems that the tests run
//! on, so this loads the built plugin and calls it in that daemon's order, with its tables and packets.
//!
//! Versions, sizes and offsets stand here a second time, from that release's headers and not from the plugin, so that a
//! mistake there does not repeat here. Bacula itself is not here: what 13.0.3 does beyond this interface, it does not
//! show.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Of the plugin interface.
pub const VERSION: u32 = 22;
/// Bytes of the daemon's table of functions.
pub const HOST_SIZE: u32 = 152;
/// `STREAM_UNIX_ATTRIBUTE_UPDATE`.
const ATTRIBUTE_UPDATE: c_int = 37;
/// What the plugin answers when all is well.
pub const OK: c_int = 0;
/// `CF_CORE`: Bacula makes the file, or sets its attributes, itself.
pub const CORE: c_int = 5;
/// `M_FATAL` in the table below, which is not what it is in 9.6.7.
pub const FATAL: c_int = 4;
/// `M_ERROR` there.
pub const ERROR: c_int = 5;
/// `M_INFO` there.
pub const INFO: c_int = 7;

/// A row of the daemon's table of messages.
#[repr(C)]
pub struct Keyword(*const c_char, u32);

// SAFETY: the names are constants.
unsafe impl Sync for Keyword {}

/// The daemon's names of message types, where the plugin looks for them.
#[unsafe(no_mangle)]
#[used]
pub static msg_types: [Keyword; 8] = [
    Keyword(c"Debug".as_ptr(), 2),
    Keyword(c"Abort".as_ptr(), 1),
    Keyword(c"Events".as_ptr(), 3),
    Keyword(c"Fatal".as_ptr(), 4),
    Keyword(c"Error".as_ptr(), 5),
    Keyword(c"Warning".as_ptr(), 6),
    Keyword(c"Info".as_ptr(), 7),
    Keyword(ptr::null(), 0),
];

thread_local! {
    /// The state of this thread's job, as a letter.
    static STATUS: Cell<c_int> = const { Cell::new('R' as c_int) };
    /// Whether the Messages resource has no destination for `fatal`.
    static IS_DEAF: Cell<bool> = const { Cell::new(false) };
}

/// `JCR* get_jcr_from_tsd()`: the calling thread's job. Nothing looks into it.
#[unsafe(no_mangle)]
pub extern "C" fn _Z16get_jcr_from_tsdv() -> *mut c_void {
    ptr::dangling_mut()
}

/// `void JCR::setJobStatus(int)`: of two states that are no good, the first stays.
#[unsafe(no_mangle)]
pub extern "C" fn _ZN3JCR12setJobStatusEi(_: *mut c_void, status: c_int) {
    if STATUS.get() == c_int::from(b'R') {
        STATUS.set(status);
    }
}

/// `bool is_message_type_set(JCR*, int)`.
#[unsafe(no_mangle)]
pub extern "C" fn _Z19is_message_type_setP3JCRi(_: *mut c_void, kind: c_int) -> bool {
    kind != FATAL || !IS_DEAF.get()
}

/// From now on `fatal` has no destination in this thread's jobs.
pub fn hear_nothing_fatal() {
    IS_DEAF.set(true);
}

/// What the plugin has said since it was last asked: the type's number and the text.
static SAID: Mutex<Vec<(c_int, String)>> = Mutex::new(Vec::new());

/// bpContext.
#[repr(C)]
struct Bound {
    core: *mut c_void,
    own: *mut c_void,
}

/// bFuncs: the table that the daemon hands over.
#[repr(C)]
struct HostTable {
    size: u32,
    version: u32,
    functions: [*const c_void; 18],
}

/// pFuncs: the table that comes back, 152 bytes.
#[repr(C)]
struct PluginTable {
    size: u32,
    version: u32,
    functions: [*const c_void; 18],
}

/// pInfo.
#[repr(C)]
struct PluginInfo {
    size: u32,
    version: u32,
    magic: *const c_char,
    licence: *const c_char,
}

/// What is behind the context for the daemon.
struct Core {
    name: CString,
    /// Entries that an earlier run of the job has brought.
    file_index: c_int,
}

type Load = unsafe extern "C" fn(
    *const [u32; 2],
    *const HostTable,
    *mut *const PluginInfo,
    *mut *const PluginTable,
) -> c_int;
type Plain = unsafe extern "C" fn(*mut Bound) -> c_int;
type Event = unsafe extern "C" fn(*mut Bound, *mut u32, *mut c_void) -> c_int;
type WithPacket = unsafe extern "C" fn(*mut Bound, *mut u8) -> c_int;

unsafe extern "C" fn get_value(bound: *mut Bound, variable: c_int, place: *mut c_void) -> c_int {
    // SAFETY: the context is one of `Job::new`, and the place is what this variable is written to.
    unsafe {
        let core = &*(*bound).core.cast::<Core>();
        match variable {
            1 => place.cast::<c_int>().write(13),
            6 => place.cast::<*const c_char>().write(core.name.as_ptr()),
            7 => place.cast::<c_int>().write(STATUS.get()),
            23 => place.cast::<c_int>().write(core.file_index),
            _ => return 2,
        }
    }
    OK
}

/// JobMessage, which is variadic. The plugin always gives it one string behind the format, and System V's calling
/// conventions pass that as they would to this function.
unsafe extern "C" fn job_message(
    _: *mut Bound,
    _: *const c_char,
    _: c_int,
    kind: c_int,
    _: i64,
    format: *const c_char,
    text: *const c_char,
) -> c_int {
    // SAFETY: both are C strings.
    let (format, text) = unsafe { (CStr::from_ptr(format), CStr::from_ptr(text)) };
    assert_eq!(format, c"%s", "nothing of a message is a format");
    if !_Z19is_message_type_setP3JCRi(ptr::null_mut(), kind) {
        return OK; // Before anything else, also before what it means for the job.
    }
    if kind == FATAL {
        _ZN3JCR12setJobStatusEi(ptr::null_mut(), c_int::from(b'f'));
    }
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.push((kind, text.to_string_lossy().into_owned()));
    OK
}

/// What the plugin has said since the last call.
pub fn said() -> Vec<(c_int, String)> {
    mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The plugin looks for these by name; nobody else keeps them in this program.
fn assert_exported() {
    let symbols: [(&CStr, *const c_void); 4] = [
        (c"msg_types", (&raw const msg_types).cast()),
        (c"_Z16get_jcr_from_tsdv", _Z16get_jcr_from_tsdv as *const c_void),
        (c"_ZN3JCR12setJobStatusEi", _ZN3JCR12setJobStatusEi as *const c_void),
        (c"_Z19is_message_type_setP3JCRi", _Z19is_message_type_setP3JCRi as *const c_void),
    ];
    for (name, symbol) in symbols {
        // SAFETY: a C string, and a handle that always exists.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        assert_eq!(found.cast_const(), symbol, "{name:?} is exported by tests/build.rs");
    }
}

/// A loaded plugin.
#[derive(Clone, Copy, Debug)]
pub struct Plugin(&'static [*const c_void; 18]);

impl Plugin {
    /// Load the file as the daemon does, which announces `version` and a table of `size` bytes. It is never unloaded.
    ///
    /// # Errors
    /// What the plugin answered, when it refused.
    ///
    /// # Panics
    /// The file is no plugin, or answers with tables that this daemon would not take.
    pub fn load(file: &Path, version: u32, size: u32) -> Result<Self, c_int> {
        assert_exported();
        let name = CString::new(file.as_os_str().as_bytes()).expect("a path has no zero");
        let mut host = HostTable { size, version, functions: [ptr::null(); 18] };
        host.functions[1] = get_value as *const c_void;
        host.functions[3] = job_message as *const c_void;
        let host: &HostTable = Box::leak(Box::new(host));
        let (mut info, mut table): (*const PluginInfo, *const PluginTable) = (ptr::null(), ptr::null());
        // SAFETY: the library is ours, and its entry has this signature; the tables live for ever.
        let code = unsafe {
            let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW);
            assert!(!library.is_null(), "{} cannot be loaded", file.display());
            let load = libc::dlsym(library, c"loadPlugin".as_ptr());
            assert!(!load.is_null(), "it has no loadPlugin");
            mem::transmute::<*mut c_void, Load>(load)(&[8, version], host, &raw mut info, &raw mut table)
        };
        if code != OK {
            return Err(code);
        }
        // SAFETY: the plugin has said that it set both.
        let (info, table) = unsafe { (&*info, &*table) };
        assert_eq!((info.size, info.version), (56, VERSION));
        assert_eq!((table.size, table.version), (152, VERSION));
        // SAFETY: two C strings.
        let (magic, licence) = unsafe { (CStr::from_ptr(info.magic), CStr::from_ptr(info.licence)) };
        assert_eq!((magic, licence), (c"*FDPluginData*", c"AGPLv3"));
        Ok(Self(&table.functions))
    }
}

/// A job of the daemon, with the plugin's context.
pub struct Job {
    plugin: Plugin,
    bound: Box<Bound>,
    core: Box<Core>,
}

impl Job {
    /// newPlugin.
    ///
    /// # Panics
    /// The plugin refuses, or the name has a zero in it.
    #[must_use]
    pub fn new(plugin: Plugin, name: &str) -> Self {
        STATUS.set(c_int::from(b'R'));
        let mut core =
            Box::new(Core { name: CString::new(name).expect("a name has no zero"), file_index: 0 });
        let bound = Box::new(Bound { core: ptr::from_mut(&mut *core).cast(), own: ptr::null_mut() });
        let mut job = Self { plugin, bound, core };
        assert_eq!(job.plain(0), OK, "newPlugin");
        job
    }

    /// The job is one that was incomplete, with so many entries.
    pub fn goes_on_after(&mut self, entries: c_int) {
        self.core.file_index = entries;
    }

    /// Bacula's letter for the job's state.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn status(&self) -> char {
        char::from(u8::try_from(STATUS.get()).expect("a letter"))
    }

    /// The job's name.
    #[must_use]
    pub fn name(&self) -> &CStr {
        &self.core.name
    }

    /// The function number `index` of the table, from 0 for newPlugin.
    ///
    /// # Safety
    /// `F` is its type.
    unsafe fn function<F: Copy>(&self, index: usize) -> F {
        let found = self.plugin.0[index];
        assert!(!found.is_null(), "function {index} is there");
        // SAFETY: see above.
        unsafe { mem::transmute_copy(&found) }
    }

    fn plain(&mut self, index: usize) -> c_int {
        // SAFETY: the functions that are called so take the context alone.
        unsafe { self.function::<Plain>(index)(&raw mut *self.bound) }
    }

    fn packet(&mut self, index: usize, packet: &mut [u8]) -> c_int {
        // SAFETY: the functions that are called so take the context and a packet.
        unsafe { self.function::<WithPacket>(index)(&raw mut *self.bound, packet.as_mut_ptr()) }
    }

    /// handlePluginEvent.
    fn event(&mut self, mut kind: u32, value: *mut c_void) -> c_int {
        // SAFETY: an event is one number; the value is what the kind wants.
        unsafe { self.function::<Event>(4)(&raw mut *self.bound, &raw mut kind, value) }
    }

    /// An event without a value.
    pub fn tell(&mut self, kind: u32) -> c_int {
        self.event(kind, ptr::null_mut())
    }

    /// pluginIO; `count` bytes at `buffer`. The answer: the status, the number of an error, the offset.
    fn io(&mut self, function: c_int, name: Option<&CStr>, buffer: &mut [u8]) -> (i32, i32, i64) {
        let mut packet = [0xee_u8; 72]; // What core does not set has any value.
        put(&mut packet, 0, &72_i32.to_le_bytes());
        put(&mut packet, 4, &function.to_le_bytes());
        let count = i32::try_from(buffer.len()).expect("a small buffer");
        put(&mut packet, 8, &count.to_le_bytes());
        put(&mut packet, 24, &address(buffer.as_mut_ptr()));
        put(&mut packet, 32, &address(name.map_or(ptr::null(), CStr::as_ptr)));
        put(&mut packet, 40, &(-1_i32).to_le_bytes());
        put(&mut packet, 52, &libc::SEEK_END.to_le_bytes());
        put(&mut packet, 68, &72_i32.to_le_bytes());
        self.packet(9, &mut packet);
        let number = |at: usize| i32::from_le_bytes(packet[at..at + 4].try_into().expect("4 bytes"));
        (number(40), number(44), i64::from_le_bytes(packet[56..64].try_into().expect("8 bytes")))
    }

    /// One file of a backup with this plugin string: what goes to the volume. `Err` with the plugin's answer or status.
    ///
    /// # Errors
    /// The plugin does not take the file, or does not open or read it.
    ///
    /// # Panics
    /// There is no such file.
    pub fn back_up(&mut self, file: &Path, string: &str) -> Result<Vec<u8>, i32> {
        let name = CString::new(file.as_os_str().as_bytes()).expect("a path has no zero");
        let string = CString::new(string).expect("a plugin string has no zero");
        let mut save = [0_u8; 344];
        put(&mut save, 0, &344_i32.to_le_bytes());
        put(&mut save, 8, &address(name.as_ptr()));
        put(&mut save, 32, &address(name.as_ptr()));
        put(&mut save, 40, &stat(file));
        put(&mut save, 208, &address(string.as_ptr()));
        put(&mut save, 336, &344_i32.to_le_bytes());
        let answer = self.event(24, save.as_mut_ptr().cast());
        if answer != OK {
            return Err(answer);
        }
        let mut out = Vec::new();
        let opened = self.io(1, Some(&name), &mut []);
        if opened.0 < 0 {
            return Err(opened.0);
        }
        let mut buffer = [0; 65_536];
        loop {
            match self.io(2, None, &mut buffer).0 {
                0 => break,
                count @ 1.. => out.extend_from_slice(&buffer[..usize::try_from(count).expect("positive")]),
                status => return Err(status),
            }
        }
        self.io(4, None, &mut []);
        Ok(out)
    }

    /// A file of a restore begins: RestoreCommand, startRestoreFile. Its restore_pkt, with a `stream` of attributes.
    ///
    /// # Errors
    /// What the plugin answered where it failed.
    fn begin_file(
        &mut self,
        like: &Path,
        name: &CStr,
        string: &str,
        stream: c_int,
    ) -> Result<[u8; 232], i32> {
        let string = CString::new(string).expect("a plugin string has no zero");
        let mut packet = [0_u8; 232];
        put(&mut packet, 0, &232_i32.to_le_bytes());
        put(&mut packet, 8, &stream.to_le_bytes());
        put(&mut packet, 16, &3_i32.to_le_bytes()); // FT_REG
        put(&mut packet, 32, &stat(like));
        put(&mut packet, 184, &address(name.as_ptr()));
        put(&mut packet, 216, &i32::from(b'a').to_le_bytes());
        put(&mut packet, 228, &232_i32.to_le_bytes());
        let started = self.event(10, string.as_ptr().cast_mut().cast());
        // SAFETY: startRestoreFile takes the command.
        let started = started.max(unsafe {
            self.function::<unsafe extern "C" fn(*mut Bound, *const c_char) -> c_int>(7)(
                &raw mut *self.bound,
                string.as_ptr(),
            )
        });
        if started == OK { Ok(packet) } else { Err(started) }
    }

    /// The metadata-only update of a file, as an accurate job sends it where owner, mode or times have changed and the
    /// bytes have not: an attribute stream of its own, and no data. The answers to createFile and setFileAttributes.
    ///
    /// # Errors
    /// What the plugin answered where the file began.
    ///
    /// # Panics
    /// The path has a zero in it.
    pub fn restore_update(&mut self, like: &Path, to: &Path, string: &str) -> Result<[i32; 2], i32> {
        let name = CString::new(to.as_os_str().as_bytes()).expect("a path has no zero");
        let mut packet = self.begin_file(like, &name, string, ATTRIBUTE_UPDATE)?;
        let mut answers = [0; 2];
        for (function, answer) in [10, 11].into_iter().zip(&mut answers) {
            put(&mut packet, 220, &2_i32.to_le_bytes()); // CF_ERROR is what core begins with.
            self.packet(function, &mut packet);
            *answer = created(&packet);
        }
        self.plain(8);
        Ok(answers)
    }

    /// One file of a restore: `volume` is what [`Job::back_up`] gave, in pieces as records may have. The size that the
    /// plugin says it has.
    ///
    /// # Errors
    /// What the plugin answered where it failed.
    ///
    /// # Panics
    /// A path has a zero in it.
    pub fn restore(&mut self, like: &Path, to: &Path, string: &str, volume: &[u8]) -> Result<i64, i32> {
        let name = CString::new(to.as_os_str().as_bytes()).expect("a path has no zero");
        let mut packet = self.begin_file(like, &name, string, 1)?; // STREAM_UNIX_ATTRIBUTES
        if self.packet(10, &mut packet) != OK || created(&packet) != 3 {
            return Err(created(&packet)); // CF_EXTRACT is what a file that the plugin makes has.
        }
        self.io(1, Some(&name), &mut []);
        for piece in volume.chunks(50) {
            let written = self.io(3, None, &mut piece.to_vec());
            if written.0 != i32::try_from(piece.len()).expect("a small piece") {
                return Err(written.0);
            }
        }
        self.packet(11, &mut packet);
        if created(&packet) != 5 {
            return Err(created(&packet)); // CF_CORE: owner, mode and times are core's to set.
        }
        let size = self.io(5, None, &mut []).2;
        self.io(4, None, &mut []);
        self.plain(8);
        Ok(size)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.plain(1); // freePlugin
    }
}

fn put(packet: &mut [u8], at: usize, bytes: &[u8]) {
    packet[at..at + bytes.len()].copy_from_slice(bytes);
}

/// restore_pkt.create_status.
fn created(packet: &[u8]) -> i32 {
    i32::from_le_bytes(packet[220..224].try_into().expect("4 bytes"))
}

fn address<T>(pointer: *const T) -> [u8; 8] {
    (pointer.expose_provenance() as u64).to_le_bytes()
}

/// The file's `struct stat`, 144 bytes.
fn stat(file: &Path) -> [u8; 144] {
    let found = std::fs::metadata(file).expect("the file is there");
    // SAFETY: all bytes zero are a valid struct of numbers.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    stat.st_mode = found.mode();
    stat.st_size = found.size().cast_signed();
    stat.st_mtime = found.mtime();
    // SAFETY: the struct consists of numbers and has no padding that is looked at.
    unsafe { mem::transmute(stat) }
}
