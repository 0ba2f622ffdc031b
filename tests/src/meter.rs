//! A counter outside of both ends: passes a TCP connection on and counts what goes through, both ways.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Passes connections on until the process ends.
#[derive(Debug)]
pub struct Meter {
    port: u16,
    bytes: Arc<AtomicU64>,
}

impl Meter {
    /// In front of `port` of this machine.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn before(port: u16) -> Self {
        Self::with_delay(port, Duration::ZERO)
    }

    /// The same with a longer way: each byte arrives `delay` later than it was sent, in both directions, and as many may
    /// be on their way as are sent meanwhile.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn with_delay(port: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let own = listener.local_addr().expect("a listener has an address").port();
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let _ = to.set_nodelay(true); // Only slower without.
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let counted = Arc::clone(&counted);
                    thread::spawn(move || pass(from, to, &counted, delay));
                }
            }
        });
        Self { port: own, bytes }
    }

    /// Where to connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes of all connections so far, both ways, without the headers of TCP and IP.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, to: TcpStream, counted: &AtomicU64, delay: Duration) {
    let (sender, blocks) = channel::<(Instant, Vec<u8>)>();
    let carrier = thread::spawn(move || carry(&blocks, to));
    let mut buffer = vec![0; 256 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        counted.fetch_add(count as u64, Ordering::SeqCst);
        if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
            break;
        }
    }
    drop(sender);
    let _ = carrier.join(); // It has nothing to tell.
}

fn carry(blocks: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (due, block) in blocks {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&block).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write); // The other end may have gone.
}
