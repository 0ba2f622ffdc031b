//! What it costs threads to talk: the bounded mailboxes between a stream and a worker, and the doorbell of a door to
//! the disk.
//!
//! Measures one request and its reply: on one thread (the queues alone), between two threads that never sleep, and
//! between two that both sleep, which is how an idle engine answers. Then one ring of the doorbell, heard by the
//! thread that rang, and one read of 4 KiB, each through io_uring and through pread.
//!
//! Compare two commits: see the crate's documentation; `--bench ring`.
//!
//! Noise: rows with two threads are the scheduler's, and say nothing unless two cores are idle: which two share a
//! cache decides more than code does. The read is the device's latency.

use std::hint::spin_loop;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use gdd_benches::effort::Effort;
use gdd_benches::mover::{self, Mover, Shape};
use gdd_benches::scratch::Scratch;
use gdd_engine::driver::Signal;
use gdd_engine::shard::mailbox::{Attachment, Door, Link, Reply, Request};
use gdd_uring::io::{IoSource, Wait, Waker};
use gdd_uring::probe::{Mode, probe};

/// Longest sleep; no wake-up is lost, so it is never slept to its end.
const SLEEP: Duration = Duration::from_secs(1);

/// Looks before a spinning thread lets another have its core.
const LOOKS: u32 = 1000;

/// Both ends of a stream's mailbox whose ends are awaited on `front` and woken by `worker`.
fn mailbox(front: &Signal, worker: Waker) -> (Link, Attachment) {
    let door = Door::new(worker);
    let link = door.attach(front.clone(), 0);
    (link, door.arrivals().pop().expect("the front has just announced itself"))
}

/// Answer every request until the front is gone; `idle` passes the time.
fn answer(mut attachment: Attachment, mut idle: impl FnMut()) {
    while !attachment.is_over() {
        match attachment.receive() {
            Some(_) => attachment.reply(Reply::Durable),
            None => idle(),
        }
    }
}

/// Ask so many times and await each answer; `idle` passes the time.
fn ask(mut link: Link, times: u64, mut idle: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        link.send(Request::Flush);
        while link.receive().is_none() {
            idle();
        }
    }
    start.elapsed()
}

/// Spin, and now and then let another thread have the core.
fn spinner() -> impl FnMut() {
    let mut looks = 0u32;
    move || {
        looks = (looks + 1) % LOOKS;
        if looks == 0 { thread::yield_now() } else { spin_loop() }
    }
}

fn spinning(times: u64) -> Duration {
    let (link, attachment) = mailbox(&Signal::default(), Waker::new(|| {}));
    thread::scope(|scope| {
        scope.spawn(|| answer(attachment, spinner()));
        ask(link, times, spinner())
    })
}

/// As in the engine: the worker sleeps at its door to the disk, the front on its signal.
fn sleeping(source: &Arc<dyn IoSource>, times: u64) -> Duration {
    let front = Signal::default();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut io = source.open().expect("the probe opened a door before");
            let (link, attachment) = mailbox(&front, io.waker());
            sender.send(link).expect("the front waits for its end");
            let mut done = Vec::new();
            answer(attachment, || io.poll(&mut done, Wait::For(SLEEP)).expect("the door works"));
        });
        let link = receiver.recv().expect("the worker sends the front its end");
        ask(link, times, || {
            front.wait(SLEEP); // Whatever ended it, the front looks again.
        })
    })
}

fn mailboxes(criterion: &mut Criterion, _: Effort) {
    let scratch = Scratch::new();
    let source = probe(scratch.path(), Mode::Auto, false).expect("the directory can be written");
    let mut group = criterion.benchmark_group("ring/mailbox");
    let (mut link, mut attachment) = mailbox(&Signal::default(), Waker::new(|| {}));
    group.bench_function("one thread", |b| {
        b.iter(|| {
            link.send(Request::Flush);
            attachment.receive().expect("the request is there");
            attachment.reply(Reply::Durable);
            link.receive().expect("the reply is there")
        });
    });
    group.bench_function("two threads, awake", |b| b.iter_custom(spinning));
    group.bench_function("two threads, asleep", |b| b.iter_custom(|times| sleeping(&source, times)));
    group.finish();
}

fn doors(criterion: &mut Criterion, _: Effort) {
    let scratch = Scratch::new();
    let path = scratch.path().join("blocks");
    let shape = Shape { block: 4096, depth: 1, count: 1 };
    mover::prepare(&path, shape.bytes()).expect("the disk takes a block");
    let mut group = criterion.benchmark_group("ring/door");
    for mode in [Mode::Uring, Mode::Pwrite] {
        let source = match probe(scratch.path(), mode, false) {
            Ok(source) => source,
            Err(why) => {
                println!("skipped, {mode:?}: {why}");
                continue;
            }
        };
        let mut io = source.open().expect("the probe opened a door before");
        let (waker, mut done) = (io.waker(), Vec::new());
        group.bench_function(format!("{}, doorbell", source.mode()), |b| {
            b.iter(|| {
                waker.wake();
                io.poll(&mut done, Wait::For(SLEEP)).expect("the door works");
            });
        });
        let mut mover = Mover::open(source.as_ref(), &path, shape).expect("the file opens");
        group.bench_function(format!("{}, read 4 KiB", source.mode()), |b| {
            b.iter(|| mover.read().expect("the disk gives the block"));
        });
    }
    group.finish();
}

fn main() {
    gdd_benches::main(&[mailboxes, doors]);
}
