//! The way in: who may try a handshake, and who becomes a session.
//!
//! # Invariants
//! - Who has not proved that it has a key costs one thread for the time of a handshake, and no more of them run at once
//!   than [`Limits::handshakes_max`](super::Limits::handshakes_max), in all, and
//!   [`Limits::handshakes_per_address_max`](super::Limits::handshakes_per_address_max).
//! - Sessions do not count against those limits, nor strangers against that of the sessions.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;

use gdd_wire::limits::HANDSHAKE_TIME_MAX;
use gdd_wire::message::FromDaemon;
use gdd_wire::{Accepted, Channel};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::domain::Domain;
use super::line::Line;
use super::refusals::reason;
use super::session::{self, End, LOOK};
use super::trouble::{self, Trouble};
use super::{Session, SessionStatus, Shared, lock};

/// An address that tries a handshake.
struct Trying {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Drop for Trying {
    fn drop(&mut self) {
        let mut trying = lock(&self.shared.trying);
        if let Some(at) = trying.iter().position(|address| *address == self.address) {
            trying.swap_remove(at);
        }
    }
}

/// Take connections until the service stops.
pub(super) fn listen(shared: &Arc<Shared>, listener: &TcpListener) {
    let timeout = Timespec::try_from(LOOK).ok();
    while !shared.stop.load(Ordering::Acquire) {
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        if !matches!(rustix::event::poll(&mut fds, timeout.as_ref()), Ok(1..)) {
            continue;
        }
        match listener.accept() {
            Ok((stream, peer)) => admit(shared, stream, peer),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => {
                shared.refusals.note("accept", &error.to_string());
                thread::sleep(LOOK); // Out of descriptors, for example: others may end meanwhile.
            }
        }
    }
}

/// Let it try a handshake, on a thread of its own.
fn admit(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let trying = {
        let mut trying = lock(&shared.trying);
        let same = trying.iter().filter(|address| **address == peer.ip()).count();
        let limits = &shared.limits;
        let refused = if trying.len() >= limits.handshakes_max {
            Some("crowded")
        } else if same >= limits.handshakes_per_address_max {
            Some("address")
        } else {
            None
        };
        if let Some(reason) = refused {
            drop(trying);
            return shared.refusals.note(reason, &format!("{peer}: too many handshakes run"));
        }
        trying.push(peer.ip());
        Trying { shared: Arc::clone(shared), address: peer.ip() }
    };
    let shared_there = Arc::clone(shared);
    let spawned = thread::Builder::new().name("gdd-net-session".to_owned()).spawn(move || {
        greet(&shared_there, stream, peer, trying);
    });
    match spawned {
        Ok(thread) => {
            let mut threads = lock(&shared.threads);
            threads.retain(|thread| !thread.is_finished());
            threads.push(thread);
        }
        Err(error) => shared.refusals.note("thread", &error.to_string()),
    }
}

fn greet(shared: &Shared, stream: TcpStream, peer: SocketAddr, trying: Trying) {
    let handle = stream.set_nonblocking(false).and_then(|()| stream.try_clone());
    let line = Line::new(stream);
    let accepted = gdd_wire::accept(line, &shared.ring, &shared.identity, HANDSHAKE_TIME_MAX);
    drop(trying);
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return shared.refusals.note(reason(&error), &format!("{peer}: {error}")),
    };
    let Accepted { channel, introduction, domain, key, .. } = accepted;
    let status = SessionStatus {
        address: peer.to_string(),
        domain: domain.clone(),
        key: key.to_string(),
        client: introduction.client,
        job: introduction.job.clone(),
        run: introduction.job,
        program: introduction.program,
        ..SessionStatus::default()
    };
    let about = format!("{peer}, client {:?}, domain {domain}", status.client);
    let domain = shared.domains.get(&domain).expect("each domain of the ring has its rules");
    let status = Arc::new(Mutex::new(status));
    let Channel { reader, mut writer } = channel;
    // A client that takes nothing is as silent as one that says nothing.
    if let Err(error) = reader.transport().set_timeouts(LOOK, shared.limits.silence_max) {
        return shared.refusals.note("closed", &format!("{about}: {error}"));
    }
    let crowd = {
        let mut sessions = lock(&shared.sessions);
        let crowd = crowd(shared, domain, &sessions);
        if crowd.is_none() {
            sessions.push((Arc::clone(&status), handle.ok()));
        }
        crowd
    };
    if let Some(trouble) = crowd {
        let Trouble { id, text, remedy, .. } = trouble;
        let told = gdd_wire::message::Trouble { number: None, id, text: &text, remedy, fatal: true };
        let mut head = Vec::new();
        if let Ok(tail) = FromDaemon::Trouble(told).encode(&mut head) {
            // It may have gone.
            let _ = writer.send(&head, tail).and_then(|()| writer.end());
        }
        return shared.refusals.note("sessions", &format!("{about}: {text}"));
    }
    tracing::debug!("session of {about}");
    let end = session::serve(shared, reader, writer, domain, &status);
    lock(&shared.sessions).retain(|(other, _)| !Arc::ptr_eq(other, &status));
    match end {
        End::Done => tracing::info!("session of {about} is done"),
        End::Gone(why) => tracing::warn!("session of {about} broke off: {why}"),
        End::Told(trouble) => tracing::warn!("session of {about} was ended: {trouble}"),
    }
}

/// Why there is no room for one more session of `domain`, if there is none.
fn crowd(shared: &Shared, domain: &Domain, sessions: &[Session]) -> Option<Trouble> {
    let limit = shared.limits.sessions_max;
    if sessions.len() >= limit {
        return Some(trouble::crowded("the daemon", limit));
    }
    let limit = domain.rules.sessions_max?;
    let same = sessions.iter().filter(|(status, _)| lock(status).domain == domain.name).count();
    (same >= limit).then(|| trouble::crowded("the client's domain", limit))
}
