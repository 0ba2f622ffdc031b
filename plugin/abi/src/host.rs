#![expect(unsafe_code, reason = "calls exported C and C++ functions of the daemon")]
//! What the daemon offers to its plugins: messages into the job log, and memory that it can free.

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
}

impl Host {
    /// Looks everything up.
    ///
    /// # Errors
    /// When the daemon exports no `Jmsg`, or the numbers of its messages are unknown.
    pub fn find() -> Result<Self, Refused> {
        let types = MessageTypes::find()?;
        // SAFETY: the signatures are those that the mangled names spell out.
        unsafe {
            let jmsg = symbols::function::<Jmsg>("_Z4JmsgP3JCRilPKcz")?;
            let malloc = match symbols::function::<MallocInt>("_Z9sm_mallocPKcij") {
                Ok(malloc) => Malloc::Int(malloc),
                Err(_) => {
                    symbols::function::<MallocLong>("_Z9sm_mallocPKcim").map_or(Malloc::Plain, Malloc::Long)
                }
            };
            Ok(Self { jmsg, malloc, types })
        }
    }

    /// Sends a message to the job of the calling thread; to the daemon's own log where it has none.
    ///
    /// Only from a thread of the daemon: the job is found by thread-specific data.
    pub fn message(&self, grave: Grave, text: &str) {
        // A NUL cannot occur in a C string; a line that shows where it was is better than no line.
        let text = CString::new(text.replace('\0', "?") + "\n").unwrap_or_default();
        let grave = match grave {
            Grave::Fatal => self.types.fatal,
            Grave::Error => self.types.error,
            Grave::Warning => self.types.warning,
            Grave::Info => self.types.info,
        };
        // SAFETY: a null job means the calling thread's; the format has one "%s", which the one argument answers; both
        // strings end in NUL and outlive the call, which copies them.
        unsafe { (self.jmsg)(std::ptr::null_mut(), grave, 0, c"%s".as_ptr(), text.as_ptr()) }
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
