//! Run `gdd` on a machine that denies what the ring needs.
#![expect(unsafe_code, reason = "installs a seccomp filter, for which there is no safe call")]

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output};
use std::thread;

/// Run `command` where `io_uring_setup` answers EPERM, as container runtimes do it.
///
/// # Panics
/// When the kernel takes no filter, or the command does not start.
pub fn without_io_uring(command: &mut Command) -> Output {
    without(libc::SYS_io_uring_setup, || command.output().expect("gdd starts"))
}

/// Do `start` where `memfd_create` answers EPERM: what it starts can make no shared memory.
///
/// # Panics
/// When the kernel takes no filter, or `start` panics.
pub fn without_shared_memory<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    without(libc::SYS_memfd_create, start)
}

/// Do `start` where the system call `number` answers EPERM. The filter is installed in a thread of its own: what is
/// started there inherits it, and the test does not.
fn without<T: Send>(number: libc::c_long, start: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let denied = scope.spawn(|| {
            deny(number).expect("a filter can always be added");
            start()
        });
        denied.join().expect("the thread above ends")
    })
}

/// `command` as it is started where no memory may be locked: without the capability that lifts the limit, with limit 0.
#[must_use]
pub fn without_locked_memory(command: &Command) -> Command {
    let mut limited = Command::new("setpriv");
    limited.args(["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=0:0"]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

/// What a finished command said, both outputs in one text.
#[must_use]
pub fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).join("\n")
}

/// `command` with these arguments, for chaining.
#[must_use]
pub fn with<A: AsRef<OsStr>>(mut command: Command, arguments: &[A]) -> Command {
    command.args(arguments);
    command
}

/// Deny the system call `number` in this thread, and in what it starts.
fn deny(number: libc::c_long) -> io::Result<()> {
    let statement = |code: u32, k| libc::sock_filter {
        code: u16::try_from(code).expect("a code has 16 bits"),
        jt: 0,
        jf: 0,
        k,
    };
    let denied = u32::try_from(number).expect("system calls have small numbers");
    let refusal = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0), // The number of the system call.
        libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, denied) },
        statement(libc::BPF_RET | libc::BPF_K, refusal),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("four statements"),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program points to a filter of the stated length that lives until the kernel has copied it.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if installed { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        with(Command::new("sh"), &["-c", script])
    }

    #[test]
    fn the_filter_is_the_childs_alone() {
        let status = |output: Output| {
            said(&output).lines().find(|line| line.starts_with("Seccomp:")).map(str::to_owned)
        };
        let mut look = shell("cat /proc/self/status");
        let outside = status(look.output().unwrap());
        assert_eq!(status(without_io_uring(&mut look)).as_deref(), Some("Seccomp:\t2"));
        assert_eq!(status(look.output().unwrap()), outside);
    }

    #[test]
    fn no_memory_may_be_locked() {
        let mut look = shell("ulimit -l");
        look.env("KEPT", "yes");
        let output = without_locked_memory(&look).output().unwrap();
        assert_eq!(said(&output).trim(), "0");
    }
}
