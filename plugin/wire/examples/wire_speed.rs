//! How fast the channel is: handshakes over loopback, and sealing and opening beside the library's own sealing.
//!
//! `cargo run --release -p gdd-wire --example wire_speed [HANDSHAKES]`

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use gdd_wire::record::{Kind, Opener, Sealer};
use gdd_wire::suite::{Aad, Nonce};
use gdd_wire::{BootId, Domain, Identity, Introduction, Key, KeyRing, StoreId, accept, connect, suite};
use hdrhistogram::Histogram;

/// Bytes of a hello or an answer, about.
const MESSAGE_SIZE: usize = 160;
const TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes sealed for one figure.
const VOLUME: usize = 512 << 20;
/// Each figure is the best of so many: what else the machine does only ever makes it worse.
const ROUNDS: usize = 5;

fn main() {
    let count = std::env::args().nth(1).map_or(2000, |count| count.parse().expect("a number of handshakes"));
    handshakes(count);
    exchanges(count);
    println!("\nGB/s on one core, best of {ROUNDS} times {} MiB", VOLUME >> 20);
    println!(
        "{:>10}  {:>8}  {:>8}  {:>6}  {:>8}  {:>6}",
        "record", "library", "seal", "ratio", "open", "ratio"
    );
    for size in [16 << 10, 64 << 10, 256 << 10] {
        records(size);
    }
}

fn handshakes(count: u64) {
    let key = Key::from_secret(&[1; 32]).expect("not zeros");
    let domain = Domain { name: "site".to_owned(), current: key.clone(), previous: None };
    let ring = KeyRing::new(vec![domain]).expect("one good domain");
    let identity =
        Identity { store: StoreId([5; 16]), boot: BootId([6; 16]), epoch: 1, program: "gdd".to_owned() };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let daemon = thread::spawn(move || {
        for _ in 0..count {
            let socket = listener.accept().expect("a client").0;
            accept(socket, &ring, &identity, TIME_MAX).map(drop).expect("our own client");
        }
    });
    let introduction =
        Introduction { client: "client".to_owned(), job: "job".to_owned(), program: "speed".to_owned() };
    let mut all = Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).expect("three digits");
    let mut shake = Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).expect("three digits");
    for _ in 0..count {
        let start = Instant::now();
        let socket = TcpStream::connect(address).expect("our own listener");
        let connected = Instant::now();
        let channel = connect(socket, &key, &introduction, None, TIME_MAX).expect("our own daemon");
        record(&mut all, start);
        record(&mut shake, connected);
        drop(channel);
    }
    daemon.join().expect("the daemon's thread ends");
    for (name, times) in [("handshake", shake), ("with TCP's connect", all)] {
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e6;
        println!("{name}: {count} times, p50 {:.3} ms, p99 {:.3} ms", at(0.5), at(0.99));
    }
}

/// The same without cryptography: what the machine takes to connect, and to carry two messages of that size and a last
/// one.
fn exchanges(count: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let daemon = thread::spawn(move || {
        let mut bytes = [0; MESSAGE_SIZE];
        for _ in 0..count {
            let mut socket = listener.accept().expect("a client").0;
            socket.set_nodelay(true).expect("a socket");
            socket.read_exact(&mut bytes).expect("a message");
            socket.write_all(&bytes).expect("a client that reads");
            socket.read_exact(&mut bytes[..1]).expect("the last message");
        }
    });
    let mut times = Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).expect("three digits");
    let mut bytes = [0; MESSAGE_SIZE];
    for _ in 0..count {
        let mut socket = TcpStream::connect(address).expect("our own listener");
        socket.set_nodelay(true).expect("a socket");
        let start = Instant::now();
        socket.write_all(&bytes).expect("a daemon that reads");
        socket.read_exact(&mut bytes).expect("an answer");
        socket.write_all(&bytes[..1]).expect("a daemon that reads");
        record(&mut times, start);
    }
    daemon.join().expect("the daemon's thread ends");
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e6;
    println!("without cryptography: {count} times, p50 {:.3} ms, p99 {:.3} ms", at(0.5), at(0.99));
}

fn record(times: &mut Histogram<u64>, start: Instant) {
    times.saturating_record(u64::try_from(start.elapsed().as_nanos()).expect("not that long"));
}

fn records(size: usize) {
    let payload: Vec<u8> = (0..=250).cycle().take(size).collect();
    let count = VOLUME / size;
    let library = suite::aead_key(&[1; 32]);
    let raw = best(|| {
        let mut buffer = payload.clone();
        let start = Instant::now();
        for number in 0..count as u64 {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&number.to_le_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let sealed = library.seal_in_place_separate_tag(nonce, Aad::from([0; 5]), &mut buffer);
            let _tag = black_box(sealed.expect("a short payload"));
        }
        start.elapsed()
    });
    let seal = best(|| {
        let mut sealer = Sealer::new(&[1; 32]);
        let mut out = Vec::new();
        let start = Instant::now();
        for _ in 0..count {
            out.clear();
            sealer.seal(Kind::Message, &[], &payload, &mut out).expect("few records");
            black_box(&out);
        }
        start.elapsed()
    });
    let open = best(|| opening(&payload, count));
    let rate = |time: Duration| (count * size) as f64 / time.as_secs_f64() / 1e9;
    let (raw, seal, open) = (rate(raw), rate(seal), rate(open));
    let name = format!("{} KiB", size >> 10);
    println!("{name:>10}  {raw:>8.3}  {seal:>8.3}  {:>6.3}  {open:>8.3}  {:>6.3}", seal / raw, open / raw);
}

/// Seals some at a time, outside the clock, and opens them.
fn opening(payload: &[u8], count: usize) -> Duration {
    let (mut sealer, mut opener) = (Sealer::new(&[1; 32]), Opener::new(&[1; 32]));
    let mut time = Duration::ZERO;
    let mut records = Vec::new();
    let mut left = count;
    while left > 0 {
        let batch = left.min((8 << 20) / payload.len());
        records.clear();
        for _ in 0..batch {
            sealer.seal(Kind::Message, &[], payload, &mut records).expect("few records");
        }
        let start = Instant::now();
        for record in records.chunks_exact_mut(payload.len() + 21) {
            let (header, body) = record.split_first_chunk_mut().expect("a record has a header");
            let _payload = black_box(opener.open(*header, body).expect("our own record"));
        }
        time += start.elapsed();
        left -= batch;
    }
    time
}

fn best(run: impl Fn() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| run()).min().expect("there are rounds")
}
