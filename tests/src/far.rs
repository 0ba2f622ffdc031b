//! A long way: it passes TCP connections on, and each byte arrives later than it was sent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Passes connections to `port` of this machine on until the process ends, and says where. Each byte arrives `delay`
/// later than it was sent, in both directions, and as many may be on their way as are sent meanwhile.
///
/// # Panics
/// When there is no free port.
#[must_use]
pub fn from(port: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let own = listener.local_addr().expect("a listener has an address").port();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            for (from, to) in [(&near, &far), (&far, &near)] {
                let _ = to.set_nodelay(true); // Only slower without.
                let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                thread::spawn(move || pass(from, to, delay));
            }
        }
    });
    own
}

fn pass(mut from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, blocks) = channel::<(Instant, Vec<u8>)>();
    let carrier = thread::spawn(move || carry(&blocks, to));
    let mut buffer = vec![0; 256 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives_later() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = from(listener.local_addr().unwrap().port(), Duration::from_millis(30));
        let mut near = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let sent = Instant::now();
        near.write_all(b"ab").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut found = Vec::new();
        far.read_to_end(&mut found).unwrap();
        assert_eq!(found, b"ab");
        assert!(sent.elapsed() >= Duration::from_millis(30));
    }
}
