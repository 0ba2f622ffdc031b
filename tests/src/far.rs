//! A long way between this machine's network and a [`Host`]'s: a second cable, on which each packet arrives later than
//! it was sent, in both directions. The kernel's own tool for that, netem, is not in every kernel; TUN devices are.
//!
//! Whole packets of IP are late, so TCP behaves at both ends as it does over a long line: its handshake, its slow start
//! and its windows take their round trips. Nothing is lost but what does not fit the queue, as on a router.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::network::{Host, ip};
use crate::tun;

/// Packets on their way in one direction; more are dropped. Enough for 480 MB/s over 50 ms.
const QUEUE: usize = 1 << 14;
/// Bytes of a packet: that of Ethernet, and room for what no device here sends.
const PACKET_SIZE_MAX: usize = 1 << 16;

/// See the module. Dropped, it is gone.
#[derive(Debug)]
pub struct Way {
    device: String,
    address: Ipv4Addr,
}

type Late = (Instant, Vec<u8>);

impl Way {
    /// To `host`; a packet takes `delay`. `None`, with the reason printed, where devices cannot be made.
    #[must_use]
    pub fn new(host: &Host, delay: Duration) -> Option<Self> {
        let (near, far) = (format!("{}n", host.name()), format!("{}f", host.name()));
        let opened = tun::open(&near).and_then(|near| Ok((near, tun::open(&far)?)));
        let (near_end, far_end) = match opened {
            Ok(ends) => ends,
            Err(error) => {
                println!("SKIPPED: a TUN device needs root and a kernel with it: {error}");
                return None;
            }
        };
        let [near_address, far_address] = host.second_cable();
        let (name, short) = (host.name(), |address: Ipv4Addr| format!("{address}/30"));
        let made = ip(&["address", "add", &short(near_address), "dev", &near])
            && ip(&["link", "set", &near, "up"])
            && ip(&["link", "set", &far, "netns", name])
            && ip(&["-n", name, "address", "add", &short(far_address), "dev", &far])
            && ip(&["-n", name, "link", "set", &far, "up"]);
        if !made {
            println!("SKIPPED: iproute2 cannot set the devices up");
            return None;
        }
        let ends = || Some((near_end.try_clone().ok()?, far_end.try_clone().ok()?));
        for (from, to) in [ends()?, {
            let (near, far) = ends()?;
            (far, near)
        }] {
            let (sender, packets) = sync_channel(QUEUE);
            thread::spawn(move || take(from, &sender, delay));
            thread::spawn(move || deliver(&packets, to));
        }
        Some(Self { device: near, address: far_address })
    }

    /// The host's address at the far end.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        ip(&["link", "del", &self.device]); // The other end goes with its host, and both threads with the devices.
    }
}

/// Ends with the device.
fn take(mut from: File, sender: &SyncSender<Late>, delay: Duration) {
    let mut packet = vec![0; PACKET_SIZE_MAX];
    while let Ok(count @ 1..) = from.read(&mut packet) {
        let _ = sender.try_send((Instant::now() + delay, packet[..count].to_vec())); // A full queue drops it.
    }
}

fn deliver(packets: &Receiver<Late>, mut to: File) {
    for (due, packet) in packets {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let _ = to.write(&packet); // The device may be down by now.
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_packet_takes_its_time_both_ways() {
        const DELAY: Duration = Duration::from_millis(30);
        let Some(host) = Host::new(21) else { return };
        let Some(way) = Way::new(&host, DELAY) else { return };
        let address = way.address();
        let (sender, port) = channel();
        let namespace = File::open(format!("/run/netns/{}", host.name())).unwrap();
        let echo = thread::spawn(move || {
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), None).unwrap();
            let listener = TcpListener::bind((address, 0)).unwrap();
            sender.send(listener.local_addr().unwrap().port()).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let mut bytes = vec![0; 1 << 20];
            peer.read_exact(&mut bytes).unwrap();
            peer.write_all(&bytes).unwrap();
        });
        let start = Instant::now();
        let mut near = TcpStream::connect((address, port.recv().unwrap())).unwrap();
        assert!(start.elapsed() >= 2 * DELAY, "a handshake goes there and back");
        let sent: Vec<u8> = (0..1 << 20).map(|byte: u32| byte.to_le_bytes()[1]).collect();
        near.write_all(&sent).unwrap();
        let mut back = vec![0; sent.len()];
        near.read_exact(&mut back).unwrap();
        assert!(back == sent && start.elapsed() >= 4 * DELAY);
        echo.join().unwrap();
    }
}
