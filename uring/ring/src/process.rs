//! Which process is at the other end of a Unix socket, as something that can be watched.
//!
//! A process number alone is a trap: it is given to another process soon after its owner has ended. A pidfd is the
//! process itself. Since Linux 6.5 the kernel hands it out with the socket (`SO_PEERPIDFD`); before, it is opened by
//! number, and then refused unless that process is older than our look at the connection.
#![expect(unsafe_code, reason = "socket options that no crate wraps")]

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags};
use rustix::time::ClockId;

use crate::error::Refused;

/// `SO_PEERPIDFD`, asm-generic/socket.h of Linux 6.5; the same on x86-64 and aarch64.
const SO_PEERPIDFD: libc::c_int = 77;
/// Place of the start time in `/proc/PID/stat`, counted from after the name: proc_pid_stat(5), field 22.
const START_TIME_INDEX: usize = 19;

/// The process that made the other end of a connection.
#[derive(Debug)]
pub(crate) struct Process {
    pub pidfd: OwnedFd,
    pub pid: i32,
    pub uid: u32,
}

impl Process {
    /// Who connected `socket`, or listens at its other end.
    pub(crate) fn behind(socket: impl AsFd) -> Result<Self, Refused> {
        let now = ticks_since_boot();
        let (pid, uid) = credentials(&socket)?;
        let known = Pid::from_raw(pid).filter(|_| pid > 0);
        let known = known.ok_or(Refused::Process { pid, reason: "lives in another pid namespace" })?;
        let pidfd = match peer_pidfd(&socket) {
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => open(known, now)?,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                return Err(Refused::Process { pid, reason: "has ended" });
            }
            pidfd => pidfd.map_err(Refused::io("SO_PEERPIDFD"))?,
        };
        Ok(Self { pidfd, pid, uid })
    }
}

/// The process with number `pid`, if it was there already at `seen` (clock ticks since boot).
fn open(pid: Pid, seen: u64) -> Result<OwnedFd, Refused> {
    let refused = |reason| Refused::Process { pid: pid.as_raw_nonzero().get(), reason };
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|_| refused("has ended"))?;
    // Read after the pidfd was opened: either this is still that process, or the pidfd says that it has ended.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .map_err(|_| refused("has ended, or /proc is hidden"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let started = after_name.split_whitespace().nth(START_TIME_INDEX).and_then(|word| word.parse().ok());
    let started: u64 = started.ok_or_else(|| refused("has no start time"))?;
    if started > seen {
        return Err(refused("is younger than its connection: the number was given to another"));
    }
    Ok(pidfd)
}

fn ticks_since_boot() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    let part = u64::try_from(now.tv_nsec).unwrap_or(0) * per_second / 1_000_000_000;
    u64::try_from(now.tv_sec).unwrap_or(0) * per_second + part
}

/// Process and user of the other end, as they were when it connected or began to listen (`SO_PEERCRED`, unix(7)).
fn credentials(socket: impl AsFd) -> Result<(i32, u32), Refused> {
    let found: libc::ucred = option(socket, libc::SO_PEERCRED).map_err(Refused::io("SO_PEERCRED"))?;
    Ok((found.pid, found.uid))
}

fn peer_pidfd(socket: impl AsFd) -> io::Result<OwnedFd> {
    let pidfd: libc::c_int = option(socket, SO_PEERPIDFD)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

/// Types of which any bytes are a value.
trait Plain: Copy {}
impl Plain for libc::ucred {}
impl Plain for libc::c_int {}

/// One option of level `SOL_SOCKET`.
fn option<T: Plain>(socket: impl AsFd, name: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let expected = libc::socklen_t::try_from(size_of::<T>()).expect("an option is small");
    let mut length = expected;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `value` has room for the `length` bytes that the kernel may write.
    let code =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, value.as_mut_ptr().cast(), &raw mut length) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    if length != expected {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: zeroed, then filled by the kernel; any bytes are a value of a `Plain` type.
    Ok(unsafe { value.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    fn me() -> Pid {
        rustix::process::getpid()
    }

    #[test]
    fn the_other_end_of_our_own_pair_is_ourselves() {
        let (one, _other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a pair");
        let process = Process::behind(&one).expect("we live");
        assert_eq!(process.pid, me().as_raw_nonzero().get());
        assert_eq!(process.uid, rustix::process::getuid().as_raw());
    }

    #[test]
    fn without_peerpidfd_a_process_is_opened_by_number_unless_it_is_younger_than_its_connection() {
        open(me(), ticks_since_boot()).expect("we are older than now");
        let refused = open(me(), 0).expect_err("we were not there at boot");
        assert!(matches!(refused, Refused::Process { .. }), "{refused}");
        assert!(refused.to_string().contains("younger"), "{refused}");
    }

    #[test]
    fn what_is_no_socket_has_no_process() {
        let file = std::fs::File::open("/dev/null").expect("/dev/null");
        assert!(matches!(Process::behind(&file), Err(Refused::Io { call: "SO_PEERCRED", .. })));
    }
}
