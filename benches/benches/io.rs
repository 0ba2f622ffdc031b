//! Our ring, pread/pwrite, and tokio-uring on the same prepared file: why the ring is our own, measured again each
//! time.
//!
//! Measures bytes per second written and read with direct I/O, at the same block size and depth, one calling thread.
//! Both rings register their buffers; ours registers the file too, and takes the options for a ring of one thread.
//! `pwrite` is our fallback, two threads behind one door. `gdd bench io` is the same comparison for users.
//!
//! A rival that cannot run here (io_uring refused, no direct I/O) is named and left out.
//!
//! Compare two commits: see the crate's documentation; `--bench io`. Set `GDD_BENCH_DIR` to a directory on the disk
//! in question.
//!
//! Noise: at depth 16 all may reach the device's limit, and then the order means nothing; a shared device moves by
//! tens of per cent within minutes, and rows run one after another, not in turns. Believe an order that two runs
//! show. Small blocks at depth 1 show the cost of a call best.

use std::io;
use std::path::Path;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use gdd_benches::effort::Effort;
use gdd_benches::mover::{self, Mover, Shape};
use gdd_benches::scratch::Scratch;
use gdd_benches::tokio_mover::TokioMover;
use gdd_uring::probe::{Mode, probe};

const KIB: usize = 1 << 10;

/// Block size in bytes, and operations in flight.
const SHAPES: [(usize, usize); 4] = [(4 * KIB, 1), (64 * KIB, 16), (1024 * KIB, 1), (1024 * KIB, 16)];

/// Someone who moves blocks.
trait Rival {
    fn write(&mut self) -> io::Result<()>;
    fn read(&mut self) -> io::Result<u64>;
}

impl Rival for Mover {
    fn write(&mut self) -> io::Result<()> {
        Self::write(self)
    }

    fn read(&mut self) -> io::Result<u64> {
        Self::read(self)
    }
}

impl Rival for TokioMover {
    fn write(&mut self) -> io::Result<()> {
        Self::write(self)
    }

    fn read(&mut self) -> io::Result<u64> {
        Self::read(self)
    }
}

fn own(path: &Path, mode: Mode, shape: Shape) -> io::Result<Box<dyn Rival>> {
    let dir = path.parent().expect("the file lies in a directory");
    let source = probe(dir, mode, true)?;
    Ok(Box::new(Mover::open(source.as_ref(), path, shape)?))
}

fn race(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    shape: Shape,
    rival: io::Result<Box<dyn Rival>>,
) {
    let mut rival = match rival {
        Ok(rival) => rival,
        Err(why) => {
            println!("skipped, {name}: {why}");
            return;
        }
    };
    group.bench_function(format!("{name}, write"), |b| b.iter(|| rival.write().expect("the disk takes it")));
    // Whatever the command line selected, the blocks that are read carry numbers.
    rival.write().expect("the disk takes it");
    group.bench_function(format!("{name}, read"), |b| {
        b.iter(|| assert_eq!(rival.read().expect("the disk gives it"), shape.sum()));
    });
}

fn doors(criterion: &mut Criterion, effort: Effort) {
    let scratch = Scratch::new();
    let path = scratch.path().join("blocks");
    let bytes: u64 = effort.pick(4 << 20, 64 << 20);
    mover::prepare(&path, bytes).expect("the disk has room");
    for (block, depth) in SHAPES {
        // Small blocks one by one are slow: fewer of them say as much.
        let count = (bytes / block as u64).min(effort.pick(16, 1024));
        let shape = Shape { block, depth, count };
        let name = format!("io/{} KiB, depth {depth}", block / KIB);
        let mut group = gdd_benches::group(criterion, &name, Throughput::Bytes(shape.bytes()));
        race(&mut group, "own ring", shape, own(&path, Mode::Uring, shape));
        race(&mut group, "pwrite", shape, own(&path, Mode::Pwrite, shape));
        let tokio = TokioMover::open(&path, shape).map(|rival| Box::new(rival) as Box<dyn Rival>);
        race(&mut group, "tokio-uring", shape, tokio);
        group.finish();
    }
}

fn main() {
    gdd_benches::main(&[doors]);
}
