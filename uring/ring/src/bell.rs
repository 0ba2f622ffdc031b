//! The bell: what a side that made progress rings, and a side that sleeps waits for.
//!
//! One Unix socket pair for each channel, one end for each side; a byte through it is a ring. An `eventfd` would do the
//! same for a friend. But whether a write to a full eventfd blocks is a flag of the open file, which the peer shares:
//! it could fill the counter, clear `O_NONBLOCK`, and hold our thread for as long as it lives, and then longer
//! (eventfd(2), fcntl(2)). On a socket each call says for itself that it does not wait (`MSG_DONTWAIT`, send(2)).
//!
//! # Invariants
//! - Neither ringing nor silencing ever waits, whatever the peer did to its end.
//! - A bell that cannot be rung has either been rung already, and not been silenced, or belongs to a peer that is gone;
//!   finding that out is the business of `peer.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::error::Refused;

/// Rings that are silenced with one call. More of them can only come from a peer that does not look whether we sleep.
const RINGS: usize = 4096;

/// One end of the bell: rings the other, is rung by the other.
#[derive(Debug)]
pub(crate) struct Bell {
    socket: OwnedFd,
}

impl Bell {
    /// Both ends: ours, and the peer's.
    pub(crate) fn pair() -> Result<(Self, OwnedFd), Refused> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(Refused::io("make a bell"))?;
        Ok((Self { socket: ours }, theirs))
    }

    /// The end that was received.
    pub(crate) fn received(socket: OwnedFd) -> Result<Self, Refused> {
        let refused = |found| Refused::Descriptor { what: "bell", found };
        let kind = rustix::net::sockopt::socket_type(&socket).map_err(|error| refused(error.to_string()))?;
        let domain =
            rustix::net::sockopt::socket_domain(&socket).map_err(|error| refused(error.to_string()))?;
        if (domain, kind) != (AddressFamily::UNIX, SocketType::STREAM) {
            return Err(refused(format!("{domain:?} {kind:?}, expected a Unix stream socket")));
        }
        Ok(Self { socket })
    }

    /// Wake the other side.
    pub(crate) fn ring(&self) {
        // A full socket has rings that were not heard yet; a broken one has nobody who could hear.
        let _ = rustix::net::send(&self.socket, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Forget all rings so far. `false` when there will never be another, as the other end is closed.
    pub(crate) fn silence(&self) -> bool {
        let received = rustix::net::recv(&self.socket, &mut [0; RINGS], RecvFlags::DONTWAIT);
        !matches!(received, Ok((0, _)) | Err(Errno::CONNRESET))
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::OFlags;

    #[test]
    fn a_peer_that_makes_its_end_block_and_never_listens_cannot_hold_us() {
        let (ours, theirs) = Bell::pair().expect("a bell");
        for end in [theirs.as_fd(), ours.as_fd()] {
            rustix::fs::fcntl_setfl(end, OFlags::empty()).expect("anyone may clear O_NONBLOCK");
        }
        for _ in 0..100_000 {
            ours.ring();
        }
        assert!(ours.silence(), "nothing was rung, and that takes no time either");
        drop(theirs);
        ours.ring();
        assert!(!ours.silence(), "a closed end is told apart");
    }

    #[test]
    fn many_rings_are_silenced_at_once() {
        let (ours, theirs) = Bell::pair().expect("a bell");
        let theirs = Bell::received(theirs).expect("the other end");
        for _ in 0..100 {
            theirs.ring();
        }
        assert!(ours.silence());
        let nothing = rustix::net::recv(&ours.socket, &mut [0; 1], RecvFlags::DONTWAIT);
        assert_eq!(nothing.err(), Some(Errno::AGAIN));
    }

    #[test]
    fn what_is_no_stream_socket_is_refused_as_a_bell() {
        let flags = SocketFlags::CLOEXEC;
        let (packets, _other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair");
        assert!(matches!(Bell::received(packets), Err(Refused::Descriptor { what: "bell", .. })));
        let file = std::fs::File::open("/dev/null").expect("/dev/null");
        assert!(matches!(Bell::received(file.into()), Err(Refused::Descriptor { what: "bell", .. })));
    }
}
