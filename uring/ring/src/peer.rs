//! The process at the other end: its control socket, and whether it still lives.
//!
//! Control packets are few and small (greetings, descriptors, good-byes); data go through the rings. What matters here
//! is to learn of a death at once. The socket alone does not tell: a child that the peer forked holds it open, and
//! Bacula's daemons run scripts, i.e. fork. The pidfd alone does not tell of a peer that closed and lives on. So both
//! are watched (measured: hang-up after 1902 ms, pidfd after 0.03 ms with a child that slept for 1.9 s).
//!
//! # Invariants
//! - No call waits for the peer but [`Peer::receive`] and [`Peer::watch`], and those for as long as they are told.
//! - The kernel names the user of the peer (`SO_PEERCRED`), the peer does not.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::error::{Gone, Refused, WaitError};
use crate::limits::{PACKET_FDS_MAX, PACKET_SIZE_MAX};
use crate::process::Process;

/// A socket at which peers connect.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
}

impl Listener {
    /// Listen at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// [`Refused::Io`].
    pub fn bind(path: &Path) -> Result<Self, Refused> {
        let socket = socket()?;
        let address = SocketAddrUnix::new(path).map_err(Refused::io("name of the control socket"))?;
        rustix::net::bind(&socket, &address).map_err(Refused::io("bind the control socket"))?;
        rustix::net::listen(&socket, 64).map_err(Refused::io("listen at the control socket"))?;
        Ok(Self { socket })
    }

    /// Listen at a socket that was made by someone else, such as the service manager.
    #[must_use]
    pub const fn from_socket(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// The next peer, if it runs as one of `users`. Waits for one; poll the listener first where that matters.
    ///
    /// # Errors
    /// [`Refused`]; the next call is for the next peer.
    pub fn accept(&self, users: &[u32]) -> Result<Peer, Refused> {
        Peer::new(self.next()?, users)
    }

    /// The next peer, whoever it is: for a daemon that looks at [`Peer::uid`] itself, to tell who is refused why.
    ///
    /// # Errors
    /// As [`Listener::accept`], but for the user.
    pub fn accept_anyone(&self) -> Result<Peer, Refused> {
        let socket = self.next()?;
        Ok(Peer { process: Process::behind(&socket)?, socket })
    }

    fn next(&self) -> Result<OwnedFd, Refused> {
        rustix::io::retry_on_intr(|| rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC))
            .map_err(Refused::io("accept on the control socket"))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The process at the other end of a control socket.
#[derive(Debug)]
pub struct Peer {
    socket: OwnedFd,
    process: Process,
}

/// One packet of a control socket.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes: one at least, [`PACKET_SIZE_MAX`] at most.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// What a look at a peer, and at what else was waited for, has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The descriptor that was waited for besides is readable.
    Other,
    /// A packet can be received.
    Packet,
    /// Nothing, for as long as was waited.
    Nothing,
}

impl Peer {
    /// Connect to who listens at `path`, if it runs as one of `users`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn connect(path: &Path, users: &[u32]) -> Result<Self, Refused> {
        let socket = socket()?;
        let address = SocketAddrUnix::new(path).map_err(Refused::io("name of the control socket"))?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))
            .map_err(Refused::io("connect to the control socket"))?;
        Self::new(socket, users)
    }

    /// The peer at the other end of a connected `SOCK_SEQPACKET` socket.
    ///
    /// # Errors
    /// [`Refused::User`] if it runs as none of `users`, [`Refused::Process`] if it cannot be watched.
    pub fn new(socket: OwnedFd, users: &[u32]) -> Result<Self, Refused> {
        let process = Process::behind(&socket)?;
        if !users.contains(&process.uid) {
            return Err(Refused::User { found: process.uid, expected: users.to_vec() });
        }
        Ok(Self { socket, process })
    }

    /// Its number, for logs.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Its user.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.process.uid
    }

    /// Send one packet, with descriptors, without waiting: a peer that lets its packets pile up is refused.
    ///
    /// # Errors
    /// [`WaitError::Gone`] when nobody is there, [`WaitError::Refused`] when the socket is full, or the packet is.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), WaitError> {
        packet_size_is_legal(bytes.len())?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        // Counted, as the space has a few bytes to spare for its alignment, into which one more would fit.
        let few = fds.len() <= PACKET_FDS_MAX;
        if !few || !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(fds_refused(fds.len().to_string()).into());
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, flags) {
            Ok(_) => Ok(()), // A packet goes whole or not at all.
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(self.hung_up().into()),
            Err(error) => Err(Refused::io("send a control packet")(error).into()),
        }
    }

    /// The next packet; `None` when none came within `timeout`.
    ///
    /// # Errors
    /// [`WaitError::Gone`] when there will be none, [`WaitError::Refused`] for one that is too large or has too many
    /// descriptors (those are closed).
    pub fn receive(&self, timeout: Duration) -> Result<Option<Packet>, WaitError> {
        match self.watch(None, timeout)? {
            Seen::Packet => self.receive_now().map(Some),
            Seen::Other | Seen::Nothing => Ok(None),
        }
    }

    /// Whether it is still there: a look, without waiting.
    ///
    /// # Errors
    /// [`WaitError::Gone`] when it is not.
    pub fn check(&self) -> Result<(), WaitError> {
        self.watch(None, Duration::ZERO).map(|_| ())
    }

    /// Wait until `other` is readable, a packet comes, the peer is lost, or `timeout` is over.
    ///
    /// # Errors
    /// [`WaitError::Gone`]. It comes before anything else that was seen: what a lost peer has left is read by who wants
    /// it, but nobody waits for more.
    pub fn watch(&self, other: Option<BorrowedFd<'_>>, timeout: Duration) -> Result<Seen, WaitError> {
        let mut fds = Vec::with_capacity(3);
        fds.push(PollFd::new(&self.process.pidfd, PollFlags::IN));
        fds.push(PollFd::new(&self.socket, PollFlags::IN | PollFlags::RDHUP));
        fds.extend(other.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let timeout = Timespec::try_from(timeout).ok(); // What is too long for the kernel is forever.
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {} // Who is interrupted looks again, as after a timeout.
            Err(error) => return Err(Refused::io("poll")(error).into()),
        }
        let seen: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if seen[0] {
            return Err(Gone::Ended { pid: self.pid() }.into());
        }
        if seen[1] && !self.has_packet() {
            return Err(self.hung_up().into());
        }
        let found = if seen.get(2) == Some(&true) { Seen::Other } else { Seen::Nothing };
        Ok(if seen[1] { Seen::Packet } else { found })
    }

    fn receive_now(&self) -> Result<Packet, WaitError> {
        let mut bytes = vec![0; PACKET_SIZE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received =
            rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags);
        let fds: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        let received = match received {
            Err(Errno::CONNRESET) => return Err(self.hung_up().into()),
            received => received.map_err(Refused::io("receive a control packet"))?,
        };
        if received.bytes == 0 {
            return Err(self.hung_up().into());
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(packet_size_refused(received.bytes.max(PACKET_SIZE_MAX + 1)).into());
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(fds_refused("cut: too many, or no room in this process".to_owned()).into());
        }
        if fds.len() > PACKET_FDS_MAX {
            return Err(fds_refused(fds.len().to_string()).into()); // As in `send`.
        }
        bytes.truncate(received.bytes);
        Ok(Packet { bytes, fds })
    }

    /// Whether a packet with something in it waits. An end of file looks like a packet without anything; so we send no
    /// such packets, and who does is as good as gone.
    fn has_packet(&self) -> bool {
        let peeked = rustix::net::recv(&self.socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Ok((1.., _)) | Err(Errno::INTR))
    }

    fn hung_up(&self) -> Gone {
        Gone::HungUp { pid: self.pid() }
    }
}

impl AsFd for Peer {
    /// The control socket.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket() -> Result<OwnedFd, Refused> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(Refused::io("make a control socket"))
}

fn packet_size_is_legal(size: usize) -> Result<(), Refused> {
    if (1..=PACKET_SIZE_MAX).contains(&size) { Ok(()) } else { Err(packet_size_refused(size)) }
}

fn packet_size_refused(size: usize) -> Refused {
    Refused::Header { what: "size of a control packet", found: size as u64, expected: PACKET_SIZE_MAX as u64 }
}

fn fds_refused(found: String) -> Refused {
    let found = format!("{found}, expected at most {PACKET_FDS_MAX} in one packet");
    Refused::Descriptor { what: "count", found }
}
