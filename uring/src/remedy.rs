//! What an operator can do about a level that was refused. Every fallback and every refusal ends in one of these.

use std::io;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// An error of the same kind that says what was refused and what helps.
pub(crate) fn with(error: &io::Error, remedy: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{remedy} ({error})"))
}

/// Why there is no ring, and the remedy.
pub(crate) fn ring_refused(error: &io::Error) -> String {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    explain(error, sysctl.trim(), seccomp_filters(), memory_limit().as_deref())
}

/// The pure part of [`ring_refused`]: `sysctl` is the content of `kernel.io_uring_disabled`, empty where it is unknown.
fn explain(error: &io::Error, sysctl: &str, seccomp: bool, memory_limit: Option<&str>) -> String {
    let seccomp_remedy = "a seccomp filter of this process denies io_uring: allow io_uring_setup, io_uring_enter and \
                          io_uring_register (Docker: a seccomp profile of your own; systemd: SystemCallFilter=@aio)";
    match (error.raw_os_error(), sysctl) {
        (Some(libc::EPERM), "2") => {
            "io_uring is off for all processes: sysctl kernel.io_uring_disabled=0 (or 1, with \
             kernel.io_uring_group set to a group of this process) turns it on"
                .to_owned()
        }
        (Some(libc::EPERM), "1") => {
            "io_uring is off for this user: sysctl kernel.io_uring_disabled=0, or kernel.io_uring_group set to a \
             group of this process, turns it on"
                .to_owned()
        }
        (Some(libc::EPERM | libc::EACCES | libc::ENOSYS), _) if seccomp => seccomp_remedy.to_owned(),
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is denied by a security policy: see sysctl kernel.io_uring_disabled, seccomp filters and SELinux"
                .to_owned()
        }
        (Some(libc::ENOSYS), _) => {
            "this kernel has no io_uring: use 5.11 or newer, built with CONFIG_IO_URING".to_owned()
        }
        (Some(libc::ENOMEM), _) => format!(
            "no memory may be locked for io_uring, RLIMIT_MEMLOCK is {}: raise it (ulimit -l, systemd: \
             LimitMEMLOCK=64M)",
            memory_limit.unwrap_or("unlimited")
        ),
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            "no descriptor is left for io_uring: raise RLIMIT_NOFILE (ulimit -n, systemd: LimitNOFILE=)".to_owned()
        }
        (Some(libc::EINVAL), _) => "this kernel refuses the ring's size or flags: use 5.11 or newer".to_owned(),
        (None, _) if error.kind() == io::ErrorKind::Unsupported => {
            "io_uring of this kernel lacks what is needed: use 5.11 or newer".to_owned()
        }
        _ => "io_uring could not be set up".to_owned(),
    }
}

/// Why `len` bytes could not be registered, and the remedy.
pub(crate) fn memory_refused(error: &io::Error, len: usize) -> String {
    match (error.raw_os_error(), memory_limit()) {
        (Some(libc::ENOMEM | libc::EPERM), Some(limit)) => format!(
            "{len} bytes may not be locked, RLIMIT_MEMLOCK is {limit} for all rings of this user together: raise it \
             (ulimit -l, systemd: LimitMEMLOCK=)"
        ),
        _ => format!("{len} bytes could not be registered: {error}"),
    }
}

/// An error about a store's directory, with what helps where that is known.
pub(crate) fn directory(dir: &Path, error: &io::Error) -> io::Error {
    let help = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            format!("; give user {} access to it", rustix::process::geteuid().as_raw())
        }
        Some(libc::EROFS) => "; mount its file system read-write, or only read from it".to_owned(),
        Some(libc::ENOENT) => "; create it, or name another".to_owned(),
        Some(libc::EMFILE | libc::ENFILE) => {
            "; raise RLIMIT_NOFILE (ulimit -n, systemd: LimitNOFILE=)".to_owned()
        }
        _ => String::new(),
    };
    io::Error::new(error.kind(), format!("{}: {error}{help}", dir.display()))
}

/// The limit on locked memory in words; `None` where there is none.
fn memory_limit() -> Option<String> {
    getrlimit(Resource::Memlock).current.map(|bytes| format!("{bytes} bytes"))
}

fn seccomp_filters() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(errno: i32, sysctl: &str, seccomp: bool) -> String {
        explain(&io::Error::from_raw_os_error(errno), sysctl, seccomp, Some("0 bytes"))
    }

    #[test]
    fn each_refusal_names_its_own_remedy() {
        assert!(said(libc::EPERM, "2", true).contains("io_uring_disabled=0"), "the sysctl comes first");
        assert!(said(libc::EPERM, "1", false).contains("io_uring_group"));
        assert!(said(libc::EPERM, "0", true).contains("seccomp"));
        assert!(said(libc::ENOSYS, "", true).contains("seccomp"), "a filter may pose as an old kernel");
        assert!(said(libc::ENOSYS, "", false).contains("5.11"));
        assert!(said(libc::ENOMEM, "0", false).contains("LimitMEMLOCK"));
        assert!(said(libc::EMFILE, "0", false).contains("LimitNOFILE"));
        let old = explain(&io::ErrorKind::Unsupported.into(), "0", false, None);
        assert!(old.contains("5.11"));
    }
}
