//! How fast are two processes through a channel, beside how fast the machine copies memory?
//!
//! ```text
//! cargo run --release -p gdd-ring --example ring_speed [-- SECONDS]
//! ```
//!
//! The bound is measured in the same run: as much memory as the ring has, copied in pieces of a message, by one thread
//! alone and by one thread on each of two cores at once (the two ends of a ring copy each byte once each, at the same
//! time). The goal is 8 GB/s or 0.7 of the bound, whichever is lower. Against one thread alone that is the harder
//! reading, as two copies at once share the memory; both are printed. Both ends copy into and out of one private
//! buffer. Compare only lines of one run, on a quiet machine.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use gdd_ring::limits::{CAPACITY_DOWN, CAPACITY_UP};
use gdd_ring::{Endpoint, Listener, Offer, Peer, PushError, Wanted};

const MESSAGE_SIZE: usize = 64 * 1024;
/// Both ends run as who started the example.
const PATIENCE: Duration = Duration::from_secs(10);
const ROUND_TRIPS: usize = 20_000;
const SMALL_SIZE: usize = 64;

const DATA: u16 = 1;
const PING: u16 = 2;
const END: u16 = 3;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("plugin") => plugin(Path::new(&arguments[1]), arguments[2].parse()?),
        Some(seconds) => daemon(seconds.parse()?),
        None => daemon(3.0),
    }
}

fn me() -> [u32; 1] {
    [rustix::process::getuid().as_raw()]
}

/// The consumer of data and the echo of pings; starts the other process and prints.
fn daemon(seconds: f64) -> Outcome<()> {
    let (alone, together) = (copy_bound(1, seconds), copy_bound(2, seconds));
    println!("memcpy of {MESSAGE_SIZE} bytes through {} MiB, GB/s:", CAPACITY_UP >> 20);
    println!("  one thread                    {alone:6.2}");
    println!("  each of two threads           {together:6.2}");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("socket");
    let listener = Listener::bind(&path)?;
    let mut child = start(&path, seconds)?;
    let peer = listener.accept(&me())?;
    let (mut endpoint, handover) = Endpoint::create(Offer::new(1, 0x5e55_1011))?;
    handover.send(&peer)?;
    let (bytes, took) = receive_data(&mut endpoint, &peer)?;
    let speed = bytes as f64 / took.as_secs_f64() / 1e9;
    println!("ring, {MESSAGE_SIZE}-byte messages, GB/s: {speed:6.2}");
    println!("  of one thread alone           {:6.2}", speed / alone);
    println!("  of each of two threads        {:6.2}", speed / together);
    echo(&mut endpoint, &peer)?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("the other process: {status}").into()) }
}

fn start(path: &Path, seconds: f64) -> Outcome<Child> {
    let program: PathBuf = env::current_exe()?;
    Ok(Command::new(program).arg("plugin").arg(path).arg(seconds.to_string()).spawn()?)
}

/// GB/s of each of `threads` threads that copy at once.
fn copy_bound(threads: usize, seconds: f64) -> f64 {
    let barrier = Arc::new(Barrier::new(threads));
    let run = move |barrier: Arc<Barrier>| {
        let size = usize::try_from(CAPACITY_UP).expect("a ring fits into memory");
        let (source, mut target) = (vec![1_u8; MESSAGE_SIZE], vec![2_u8; size]);
        barrier.wait();
        let (start, mut copied) = (Instant::now(), 0_usize);
        while start.elapsed().as_secs_f64() < seconds / 3.0 {
            for piece in target.chunks_exact_mut(MESSAGE_SIZE) {
                piece.copy_from_slice(black_box(&source));
            }
            copied += black_box(&target).len();
        }
        copied as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    let all: Vec<_> = (0..threads)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || run(barrier))
        })
        .collect();
    all.into_iter().map(|thread| thread.join().expect("a copy ends")).fold(f64::INFINITY, f64::min)
}

/// Take data messages until the end; bytes of payload and the time from the first to the last.
fn receive_data(endpoint: &mut Endpoint, peer: &Peer) -> Outcome<(u64, Duration)> {
    let (mut buffer, mut bytes, mut start) = (vec![0; MESSAGE_SIZE], 0, None);
    loop {
        let Some(mut incoming) = endpoint.consumer.take()? else {
            endpoint.wait(Wanted::MESSAGE, peer, PATIENCE)?;
            continue;
        };
        let began = *start.get_or_insert_with(Instant::now);
        let kind = incoming.message().kind;
        bytes += incoming.copy(&mut buffer) as u64;
        black_box(&buffer);
        drop(incoming);
        endpoint.consumer.release_all();
        if kind == END {
            return Ok((bytes, began.elapsed()));
        }
    }
}

/// Send back what comes, until the end.
fn echo(endpoint: &mut Endpoint, peer: &Peer) -> Outcome<()> {
    let mut buffer = [0; SMALL_SIZE];
    loop {
        let Some(mut incoming) = endpoint.consumer.take()? else {
            endpoint.wait(Wanted::MESSAGE, peer, PATIENCE)?;
            continue;
        };
        let kind = incoming.message().kind;
        incoming.copy(&mut buffer);
        drop(incoming);
        endpoint.consumer.release_all();
        if kind == END {
            return Ok(());
        }
        endpoint.producer.try_push(PING, 0, &[&buffer])?;
    }
}

/// The producer of data and the sender of pings.
fn plugin(path: &Path, seconds: f64) -> Outcome<()> {
    let peer = Peer::connect(path, &me())?;
    let packet = peer.receive(PATIENCE)?.ok_or("no offer came")?;
    let mut endpoint = Endpoint::accept(&packet.bytes, packet.fds)?;
    let payload = vec![7_u8; MESSAGE_SIZE];
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        push(&mut endpoint, &peer, DATA, &payload)?;
    }
    push(&mut endpoint, &peer, END, &[])?;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        push(&mut endpoint, &peer, PING, &[9; SMALL_SIZE])?;
        while endpoint.consumer.take()?.is_none() {
            endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE)?;
        }
        endpoint.consumer.release_all();
        times.push(start.elapsed());
    }
    push(&mut endpoint, &peer, END, &[])?;
    times.sort_unstable();
    let us = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
    println!("round trip of {SMALL_SIZE} bytes, us: p50 {:.1}  p99 {:.1}", us(50), us(99));
    println!("rings: {} MiB up, {} MiB down", CAPACITY_UP >> 20, CAPACITY_DOWN >> 20);
    Ok(())
}

fn push(endpoint: &mut Endpoint, peer: &Peer, kind: u16, payload: &[u8]) -> Outcome<()> {
    loop {
        match endpoint.producer.try_push(kind, 0, &[payload]) {
            Ok(_) => return Ok(()),
            Err(PushError::Full { .. }) => {
                endpoint.wait(Wanted::room(u32::try_from(payload.len())?), peer, PATIENCE)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
