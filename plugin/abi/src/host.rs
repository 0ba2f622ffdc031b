#![expect(unsafe_code, reason = "calls exported C and C++ functions of the daemon")]
//! What the daemon offers to its plugins: messages into the job log, the job's state, and memory that it can free.

use std::ffi::{CString, c_char, c_void};

use crate::error::Refused;
use crate::message_types::MessageTypes;
use crate::symbols;

/// How grave a message is. Its number differs between versions, see [`MessageTypes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grave {
    /// The job ends in error.
    Fatal,
    /// The job goes on, and its log counts an error.
    Error,
    /// Worth reading.
    Warning,
    /// Nothing to do.
    Info,
}

/// `JS_FatalError` of Bacula's jcr.h, the same in all versions.
const JOB_FAILED: i32 = 'f' as i32;

/// `JCR* get_jcr_from_tsd()`.
pub type CurrentJob = unsafe extern "C" fn() -> *mut c_void;
/// `void JCR::setJobStatus(int)`, with `this` first.
pub type SetStatus = unsafe extern "C" fn(*mut c_void, i32);
/// `bool is_message_type_set(JCR*, int)`.
pub type IsTypeSet = unsafe extern "C" fn(*mut c_void, i32) -> bool;

/// The state of the calling thread's job.
///
/// A fatal message ends a job only where the daemon's Messages resource sends `fatal` to somebody: Bacula's Jmsg looks
/// for a destination first, and what has none changes nothing. So whoever says "fatal" must also say it here.
#[derive(Debug, Clone, Copy)]
pub struct JobState {
    /// The calling thread's job, or null.
    pub current: CurrentJob,
    /// Keeps the worst state of two.
    pub set: SetStatus,
    /// Whether messages of a type go anywhere.
    pub is_type_set: IsTypeSet,
}

impl JobState {
    /// Looks the functions up; libbac of 9.6.7, 13.0.3 and 15.0.3 has all of them.
    ///
    /// # Errors
    /// When one is not exported.
    pub fn find() -> Result<Self, Refused> {
        // SAFETY: the signatures are those that the mangled names spell out; what a mangled name leaves out, the
        // result, is in Bacula's protos.h.
        unsafe {
            Ok(Self {
                current: symbols::function("_Z16get_jcr_from_tsdv")?,
                set: symbols::function("_ZN3JCR12setJobStatusEi")?,
                is_type_set: symbols::function("_Z19is_message_type_setP3JCRi")?,
            })
        }
    }

    /// The calling thread's job cannot end well any more. Nothing happens on a thread without a job.
    ///
    /// Only from a thread of the daemon.
    pub fn fail(&self) {
        // SAFETY: the daemon's own functions; a job lives at least as long as its thread works for it, and the state is
        // set under the daemon's own lock.
        unsafe {
            let job = (self.current)();
            if !job.is_null() {
                (self.set)(job, JOB_FAILED);
            }
        }
    }

    /// Whether messages of this type go anywhere.
    ///
    /// Only from a thread of the daemon.
    #[must_use]
    pub fn is_heard(&self, kind: i32) -> bool {
        // SAFETY: the daemon's own functions; without a job, the daemon's own messages are looked at.
        unsafe { (self.is_type_set)((self.current)(), kind) }
    }
}

type Jmsg = unsafe extern "C" fn(*mut c_void, i32, i64, *const c_char, ...);
type MallocInt = unsafe extern "C" fn(*const c_char, i32, u32) -> *mut c_void;
type MallocLong = unsafe extern "C" fn(*const c_char, i32, usize) -> *mut c_void;

/// How this daemon's allocator is called. What it did not hand out, its `delete` aborts on.
#[derive(Debug, Clone, Copy)]
enum Malloc {
    /// `sm_malloc(const char*, int, unsigned int)`: 9.6, 13.0.
    Int(MallocInt),
    /// `sm_malloc(const char*, int, unsigned long)`: 15.0.
    Long(MallocLong),
    /// Built without "smart" allocation: `delete` is `free`.
    Plain,
}

/// The daemon's functions.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    jmsg: Jmsg,
    malloc: Malloc,
    types: MessageTypes,
    state: JobState,
}

impl Host {
    /// Looks everything up.
    ///
    /// # Errors
    /// When the daemon exports no `Jmsg` or nothing to end a job with, or the numbers of its messages are unknown.
    pub fn find() -> Result<Self, Refused> {
        let (types, state) = (MessageTypes::find()?, JobState::find()?);
        // SAFETY: the signatures are those that the mangled names spell out.
        unsafe {
            let jmsg = symbols::function::<Jmsg>("_Z4JmsgP3JCRilPKcz")?;
            let malloc = match symbols::function::<MallocInt>("_Z9sm_mallocPKcij") {
                Ok(malloc) => Malloc::Int(malloc),
                Err(_) => {
                    symbols::function::<MallocLong>("_Z9sm_mallocPKcim").map_or(Malloc::Plain, Malloc::Long)
                }
            };
            Ok(Self { jmsg, malloc, types, state })
        }
    }

    /// Sends a message to the job of the calling thread; to the daemon's own log where it has none. What goes nowhere
    /// as what it is, goes as the gravest milder type that goes somewhere. A fatal one ends the job in any case.
    ///
    /// Only from a thread of the daemon: the job is found by thread-specific data.
    pub fn message(&self, grave: Grave, text: &str) {
        // A NUL cannot occur in a C string; a line that shows where it was is better than no line.
        let text = CString::new(text.replace('\0', "?") + "\n").unwrap_or_default();
        let kind = self.types.heard(grave, |kind| self.state.is_heard(kind));
        // SAFETY: a null job means the calling thread's; the format has one "%s", which the one argument answers; both
        // strings end in NUL and outlive the call, which copies them.
        unsafe { (self.jmsg)(std::ptr::null_mut(), kind, 0, c"%s".as_ptr(), text.as_ptr()) }
        if grave == Grave::Fatal {
            self.state.fail();
        }
    }

    /// `size` zeroed bytes that the daemon's `delete` accepts; null when there are none.
    pub fn allocate(&self, size: u32) -> *mut c_void {
        let (file, line) = (c"gdd".as_ptr(), 1);
        let length = size as usize;
        // SAFETY: the file name is a static string, kept by the allocator by reference; the block is `size` long.
        unsafe {
            let block = match self.malloc {
                Malloc::Int(malloc) => malloc(file, line, size),
                Malloc::Long(malloc) => malloc(file, line, length),
                Malloc::Plain => libc::malloc(length),
            };
            if !block.is_null() {
                std::ptr::write_bytes(block.cast::<u8>(), 0, length);
            }
            block
        }
    }
}
