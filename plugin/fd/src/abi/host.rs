#![expect(unsafe_code, reason = "the daemon's functions are called through its table")]
//! The daemon that loaded us: its messages and its values.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{Write, stderr};
use std::ptr;

use gdd_plugin_abi::host::{Grave, JobState};
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
    /// To end a job where nobody hears that it has failed.
    pub state: JobState,
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
        let Host { types, state, .. } = self.host;
        let number = types.heard(grave(severity), |kind| state.is_heard(kind));
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
        if severity == Severity::Fatal {
            state.fail();
            if !self.has_ended() {
                give_up(text);
            }
        }
    }

    fn is_heard(&self, severity: Severity) -> bool {
        let Host { types, state, .. } = self.host;
        state.is_heard(types.heard(grave(severity), |_| true))
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

fn grave(severity: Severity) -> Grave {
    match severity {
        Severity::Fatal => Grave::Fatal,
        Severity::Error => Grave::Error,
        Severity::Warning => Grave::Warning,
        Severity::Info => Grave::Info,
    }
}

/// The job has failed, and bacula-fd takes no notice: it would call it good. Without bacula-fd it is not. No release
/// does this; it is for one whose functions have the names that we know, and do something else.
fn give_up(text: &str) -> ! {
    let _ = writeln!(
        stderr(),
        "gdd-fd: {text}\ngdd-fd: [GDD-FD-0011] bacula-fd does not end a job that has failed; it is ended with it"
    );
    std::process::abort()
}

/// A bacula-fd of functions that do what lib/message.c and lib/jcr.c of 9.6.7 and 15.0.3 do: a message without a
/// destination is dropped before anything else, and with it what it would have done to the job.
#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const TYPES: MessageTypes = MessageTypes { fatal: 4, error: 5, warning: 6, info: 7 };

    thread_local! {
        static SENT: RefCell<Vec<c_int>> = const { RefCell::new(Vec::new()) };
        static STATUS: Cell<c_int> = const { Cell::new(0) };
        static LOG: RefCell<Vec<(c_int, String)>> = const { RefCell::new(Vec::new()) };
    }

    unsafe extern "C" fn current() -> *mut c_void {
        ptr::dangling_mut()
    }

    unsafe extern "C" fn set(_: *mut c_void, status: c_int) {
        if !ENDED.iter().any(|ended| c_int::from(*ended) == STATUS.get()) {
            STATUS.set(status);
        }
    }

    unsafe extern "C" fn is_type_set(_: *mut c_void, kind: c_int) -> bool {
        SENT.with_borrow(|sent| sent.contains(&kind))
    }

    unsafe extern "C" fn get_value(_: *mut Bound, variable: c_int, place: *mut c_void) -> Code {
        assert_eq!(variable, variable::JOB_STATUS);
        // SAFETY: this variable is an int.
        unsafe { place.cast::<c_int>().write(STATUS.get()) };
        layout::OK
    }

    /// Variadic, as host13 of the system tests says.
    unsafe extern "C" fn job_message(
        _: *mut Bound,
        _: *const c_char,
        _: c_int,
        kind: c_int,
        _: i64,
        _: *const c_char,
        text: *const c_char,
    ) -> Code {
        // SAFETY: the functions above take anything, and the text is a C string.
        unsafe {
            if is_type_set(ptr::null_mut(), kind) {
                if kind == TYPES.fatal {
                    set(ptr::null_mut(), c_int::from(b'f'));
                }
                let text = CStr::from_ptr(text).to_string_lossy().into_owned();
                LOG.with_borrow_mut(|log| log.push((kind, text)));
            }
        }
        layout::OK
    }

    /// What a message does where the Messages resource has `sent`: the job's state, and its log.
    fn say(severity: Severity, sent: &[c_int]) -> (u8, Vec<(c_int, String)>) {
        SENT.set(sent.to_vec());
        STATUS.set(c_int::from(b'T'));
        let message = job_message as *const ();
        // SAFETY: it is called with one string behind the format, which is passed as an argument of its own would be.
        let job_message = unsafe { std::mem::transmute::<*const (), JobMessage>(message) };
        let layout = Layout::of(22, 152).expect("a known version");
        let state = JobState { current, set, is_type_set };
        let host = Box::leak(Box::new(Host { layout, types: TYPES, state, get_value, job_message }));
        let mut bound = Bound { core: ptr::null_mut(), own: ptr::null_mut() };
        // SAFETY: the context lives until the end of this function, and nothing looks into it.
        let speaker = unsafe { Speaker::new(host, &raw mut bound) };
        speaker.say(severity, "why");
        assert_eq!(speaker.is_heard(Severity::Fatal), sent.contains(&TYPES.fatal));
        (u8::try_from(STATUS.get()).expect("a letter"), LOG.take())
    }

    #[test]
    fn a_fatal_message_ends_the_job_whoever_hears_it() {
        for (sent, kind) in [(&[4, 5, 6, 7][..], 4), (&[5, 6, 7], 5), (&[7], 7)] {
            assert_eq!(say(Severity::Fatal, sent), (b'f', vec![(kind, "why\n".to_owned())]), "{sent:?}");
        }
        assert_eq!(say(Severity::Fatal, &[]), (b'f', Vec::new()), "nobody hears it");
    }

    #[test]
    fn nothing_else_does() {
        for (severity, kind) in [(Severity::Error, 5), (Severity::Warning, 6), (Severity::Info, 7)] {
            assert_eq!(say(severity, &[4, 5, 6, 7]), (b'T', vec![(kind, "why\n".to_owned())]));
        }
    }
}
