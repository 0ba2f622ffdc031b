//! The counters and the handshake of sleep under loom, which tries every order that the memory model allows.
//!
//! loom (C11Tester's ideas, in Rust) explores relaxed, acquire and release accesses and `SeqCst` fences; `SeqCst`
//! accesses are taken as acquire-release, and we have none.
#![expect(unsafe_code, reason = "loom watches plain memory through raw pointers")]

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::atomics::{Atomics, Word};
use crate::counters::{Receiving, Sending};
use crate::layout::Lines;
use crate::limits::UNIT_SIZE;
use crate::sleep::{Ringer, announce, withdraw};

/// Two units: the smallest ring that can be full, empty, half full, and wrap.
const CAPACITY: u64 = 2 * UNIT_SIZE;

#[derive(Debug)]
struct Model;

impl Atomics for Model {
    type Word = AtomicU64;

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

impl Word for AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn load(&self, ordering: Ordering) -> u64 {
        self.load(ordering)
    }

    fn store(&self, value: u64, ordering: Ordering) {
        self.store(value, ordering);
    }
}

/// What a bell is to its sleeper: rung once or more, it wakes the one that sleeps or the next that will.
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().expect("nobody panics") = true;
        self.heard.notify_one();
    }

    /// Sleep until it is rung. Nobody ringing is a deadlock, and loom says so: there is no timed wait here.
    fn sleep(&self) {
        let mut rung = self.rung.lock().expect("nobody panics");
        while !*rung {
            rung = self.heard.wait(rung).expect("nobody panics");
        }
        *rung = false;
    }
}

/// A ring of two units, each of which has a cell that loom watches for races, and a bell for each side.
struct Ring {
    lines: Lines<Model>,
    cells: [UnsafeCell<u64>; 2],
    producer_bell: Bell,
    consumer_bell: Bell,
}

// SAFETY: the cells are what is under test: loom fails the model when two threads reach one without an order.
unsafe impl Sync for Ring {}

impl Ring {
    fn new() -> Arc<Self> {
        let bell = || Bell { rung: Mutex::new(false), heard: Condvar::new() };
        let cells = [UnsafeCell::new(0), UnsafeCell::new(0)];
        let (producer_bell, consumer_bell) = (bell(), bell());
        Arc::new(Self { lines: Lines::detached(), cells, producer_bell, consumer_bell })
    }

    fn cell(&self, place: u64) -> &UnsafeCell<u64> {
        &self.cells[usize::from(place % CAPACITY >= UNIT_SIZE)]
    }
}

/// Send numbers from 0, sleeping whenever the ring is full.
fn produce(ring: &Ring, messages: u64) {
    let (mut counters, mut ringer) = (Sending::new(CAPACITY), Ringer::new());
    for number in 0..messages {
        while counters.room() < UNIT_SIZE {
            announce(&ring.lines.producer, counters.head_for(UNIT_SIZE));
            if counters.look(&ring.lines).expect("an honest consumer") == 0 {
                ring.producer_bell.sleep();
                counters.look(&ring.lines).expect("an honest consumer");
            }
            withdraw(&ring.lines.producer);
        }
        ring.cell(counters.tail()).with_mut(|cell| {
            // SAFETY: valid for as long as the ring; loom has just checked that nobody else has it.
            unsafe { *cell = number }
        });
        counters.publish(&ring.lines, UNIT_SIZE);
        if ringer.is_due(&ring.lines.consumer, counters.tail()) {
            ring.consumer_bell.ring();
        }
    }
}

/// Receive them, sleeping whenever the ring is empty; release every `step` of them.
fn consume(ring: &Ring, messages: u64, step: u64) {
    let (mut counters, mut ringer) = (Receiving::new(CAPACITY), Ringer::new());
    for number in 0..messages {
        while counters.unread() == 0 {
            announce(&ring.lines.consumer, counters.tail().wrapping_add(UNIT_SIZE));
            counters.look(&ring.lines).expect("an honest producer");
            if counters.unread() == 0 {
                ring.consumer_bell.sleep();
                counters.look(&ring.lines).expect("an honest producer");
            }
            withdraw(&ring.lines.consumer);
        }
        ring.cell(counters.read()).with(|cell| {
            // SAFETY: as in `produce`.
            assert_eq!(unsafe { *cell }, number);
        });
        counters.advance(UNIT_SIZE);
        if (number + 1).is_multiple_of(step) {
            counters.release(&ring.lines, counters.read());
            if ringer.is_due(&ring.lines.producer, counters.head()) {
                ring.producer_bell.ring();
            }
        }
    }
}

fn explore(messages: u64, step: u64, preemptions: Option<usize>) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.check(move || {
        let ring = Ring::new();
        let producer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || produce(&ring, messages)
        });
        consume(&ring, messages, step);
        producer.join().expect("the producer ends");
    });
}

#[test]
fn an_empty_ring_wakes_its_consumer_in_every_order() {
    explore(1, 1, None);
    explore(2, 1, None);
}

#[test]
fn a_full_ring_wakes_its_producer_and_no_cell_is_reused_too_early() {
    explore(3, 1, Some(3));
    explore(4, 2, Some(3));
}
