//! What stands between client and daemon: it passes TCP connections on, counts what goes through both ways, and does
//! to it what a network or a daemon's end may do.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What the client says.
    ToDaemon,
    /// What the daemon says.
    ToClient,
}

/// What becomes of the rest of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    Pass,
    /// The receiver sees an end in good order (FIN); the sender may go on, unheard. The other direction stays.
    Fin,
    /// Both ends see the end of both directions.
    Cut,
    /// Nothing comes any more, and both ends stay open.
    Stall,
}

/// Looks at a burst: its direction, the bytes of this connection before it that way, and its own, which it may change.
type Look = dyn FnMut(Way, u64, &mut Vec<u8>) -> Next + Send;

/// What the threads share.
struct Shared {
    bytes: AtomicU64,
    connections: AtomicU64,
    look: Mutex<Box<Look>>,
}

/// Passes connections on until the process ends.
pub struct Meter {
    port: u16,
    shared: Arc<Shared>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Meter").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Meter {
    /// In front of `port` of this machine. A connection that nobody takes there is closed again.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let own = listener.local_addr().expect("a listener has an address").port();
        let look: Mutex<Box<Look>> = Mutex::new(Box::new(|_, _, _| Next::Pass));
        let shared = Arc::new(Shared { bytes: AtomicU64::new(0), connections: AtomicU64::new(0), look });
        let meter = Self { port: own, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (way, from, to) in [(Way::ToDaemon, &near, &far), (Way::ToClient, &far, &near)] {
                    let _ = to.set_nodelay(true); // Only slower without.
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || pass(way, from, to, &shared));
                }
            }
        });
        meter
    }

    /// Where to connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes of all connections so far, both ways, without the headers of TCP and IP.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// From now on `look` decides about each burst; one at a time.
    pub fn watch(&self, look: impl FnMut(Way, u64, &mut Vec<u8>) -> Next + Send + 'static) {
        *self.shared.look.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(look);
    }

    /// From now on everything passes.
    pub fn unwatch(&self) {
        self.watch(|_, _, _| Next::Pass);
    }
}

fn pass(way: Way, mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 256 << 10];
    let mut before = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        shared.bytes.fetch_add(count as u64, Ordering::SeqCst);
        let mut burst = buffer[..count].to_vec();
        let next = {
            let mut look = shared.look.lock().unwrap_or_else(PoisonError::into_inner);
            look(way, before, &mut burst)
        };
        before += count as u64;
        let written = to.write_all(&burst);
        match next {
            Next::Pass if written.is_ok() => {}
            Next::Pass => break,
            Next::Fin => {
                let _ = to.shutdown(Shutdown::Write); // The other end may have gone.
                while matches!(from.read(&mut buffer), Ok(1..)) {}
                return;
            }
            Next::Cut => {
                for end in [&from, &to] {
                    let _ = end.shutdown(Shutdown::Both); // It may have gone.
                }
                return;
            }
            Next::Stall => {
                // Unread bytes stay in the kernel's buffers. The end of the sender is seen all the same.
                let mut one = [0];
                while !matches!(from.peek(&mut one), Ok(0) | Err(_)) {
                    thread::sleep(Duration::from_millis(100));
                }
                break;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write); // The other end may have gone.
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that answers with what it hears, and both ends of a connection to it.
    fn echo(look: impl FnMut(Way, u64, &mut Vec<u8>) -> Next + Send + 'static) -> (Meter, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let meter = Meter::before(listener.local_addr().unwrap().port());
        meter.watch(look);
        thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut bytes = [0; 100];
            while let Ok(count @ 1..) = peer.read(&mut bytes) {
                if peer.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
        });
        let stream = TcpStream::connect(("127.0.0.1", meter.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (meter, stream)
    }

    #[test]
    fn a_burst_can_be_changed_and_both_ways_are_counted() {
        let (meter, mut stream) = echo(|way, before, burst| {
            if way == Way::ToClient && before == 0 {
                burst[0] ^= 2;
            }
            Next::Pass
        });
        stream.write_all(b"ab").unwrap();
        let mut found = [0; 2];
        stream.read_exact(&mut found).unwrap();
        assert_eq!((&found, meter.bytes(), meter.connections()), (b"cb", 4, 1));
    }

    #[test]
    fn an_end_in_good_order_comes_after_what_was_passed() {
        let (_meter, mut stream) = echo(|way, _, burst| {
            if way == Way::ToDaemon {
                return Next::Pass;
            }
            burst.truncate(1);
            Next::Fin
        });
        stream.write_all(b"ab").unwrap();
        let mut found = Vec::new();
        stream.read_to_end(&mut found).unwrap();
        assert_eq!(found, b"a");
        stream.write_all(b"still open").unwrap();
    }
}
