#![expect(unsafe_code, reason = "the daemon's functions are called through its table")]
//! The daemon that loaded us: its messages and its values.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use gdd_plugin_abi::message_types::MessageTypes;

use crate::abi::layout::{self, Bound, Code, Event, IoPacket, Layout, variable};
use crate::job::{Severity, Voice};

/// Longest message in bytes; core's own limit is 2000.
const MESSAGE_MAX: usize = 1900;
/// Letters of a job that cannot end well any more: cancelled, failed, stopped to be resumed (JS_... in Bacula's jcr.h).
const ENDED: &[u8] = b"AEfI";

/// getBaculaValue.
pub type GetValue = unsafe extern "C" fn(*mut Bound, c_int, *mut c_void) -> Code;
/// JobMessage.
pub type JobMessage =
    unsafe extern "C" fn(*mut Bound, *const c_char, c_int, c_int, i64, *const c_char, ...) -> Code;
/// Calls without an argument.
pub type Plain = unsafe extern "C" fn(*mut Bound) -> Code;
/// getPluginValue, setPluginValue.
pub type Value = unsafe extern "C" fn(*mut Bound, c_int, *mut c_void) -> Code;
/// handlePluginEvent.
pub type Handle = unsafe extern "C" fn(*mut Bound, *mut Event, *mut c_void) -> Code;
/// Calls with a packet whose layout depends on the version.
pub type Packet = unsafe extern "C" fn(*mut Bound, *mut u8) -> Code;
/// startRestoreFile.
pub type Command = unsafe extern "C" fn(*mut Bound, *const c_char) -> Code;
/// pluginIO.
pub type DoIo = unsafe extern "C" fn(*mut Bound, *mut IoPacket) -> Code;
/// checkFile.
pub type CheckFile = unsafe extern "C" fn(*mut Bound, *mut c_char) -> Code;

/// What was found when we were loaded. It stays for ever.
#[derive(Debug)]
pub struct Host {
    /// Which interface.
    pub layout: &'static Layout,
    /// Which number is which severity.
    pub types: MessageTypes,
    /// getBaculaValue.
    pub get_value: GetValue,
    /// JobMessage.
    pub job_message: JobMessage,
}

/// The voice of one job.
#[derive(Debug)]
pub struct Speaker {
    host: &'static Host,
    bound: *mut Bound,
}

// SAFETY: the pointer is given to the daemon only, whose functions take it from any thread: they lock the job's
// messages themselves.
unsafe impl Send for Speaker {}
// SAFETY: as above.
unsafe impl Sync for Speaker {}

impl Speaker {
    /// For the job of `bound`.
    ///
    /// # Safety
    /// `bound` is the daemon's context, and outlives this.
    pub unsafe fn new(host: &'static Host, bound: *mut Bound) -> Self {
        Self { host, bound }
    }

    fn number(&self, name: c_int) -> Option<c_int> {
        let mut value: c_int = 0;
        // SAFETY: the context is alive, and this variable is written as an int.
        let code = unsafe { (self.host.get_value)(self.bound, name, (&raw mut value).cast::<c_void>()) };
        (code == layout::OK).then_some(value)
    }
}

impl Voice for Speaker {
    fn say(&self, severity: Severity, text: &str) {
        let types = &self.host.types;
        let number = match severity {
            Severity::Fatal => types.fatal,
            Severity::Error => types.error,
            Severity::Warning => types.warning,
            Severity::Info => types.info,
        };
        let mut line: Vec<u8> = text.bytes().filter(|&byte| byte != 0).take(MESSAGE_MAX).collect();
        line.push(b'\n');
        // No NUL is in it, so that the empty string is never used.
        let line = CString::new(line).unwrap_or_default();
        // SAFETY: the context is alive; the format takes one C string, and gets one.
        unsafe {
            (self.host.job_message)(
                self.bound,
                c"gdd-fd".as_ptr(),
                0,
                number,
                0,
                c"%s".as_ptr(),
                line.as_ptr(),
            );
        }
    }

    fn name(&self) -> (u32, String) {
        let id = self.number(variable::JOB_ID).and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        let mut name: *const c_char = ptr::null();
        let place = (&raw mut name).cast::<c_void>();
        // SAFETY: the context is alive, and this variable is written as a pointer to core's own string.
        let code = unsafe { (self.host.get_value)(self.bound, variable::JOB_NAME, place) };
        if code != layout::OK || name.is_null() {
            return (id, String::new());
        }
        // SAFETY: core gives a C string that lives at least as long as this call into us.
        let name = unsafe { CStr::from_ptr(name) };
        (id, name.to_string_lossy().into_owned())
    }

    fn file_index(&self) -> Option<i32> {
        self.number(variable::FILE_INDEX)
    }

    fn has_ended(&self) -> bool {
        let status = self.number(variable::JOB_STATUS).and_then(|status| u8::try_from(status).ok());
        status.is_some_and(|status| ENDED.contains(&status))
    }
}
