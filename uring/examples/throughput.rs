//! How fast does this disk take and give bytes, through each level?
//!
//! `cargo run --release -p gdd-uring --example throughput -- DIR [MiB]` writes a file in DIR and removes it. Three
//! rounds, medians, so that one slow moment of a shared disk does not decide; expect them to differ by a quarter still.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Instant;

use gdd_uring::buffer::{IoBuf, Pool};
use gdd_uring::io::{Done, FileId, Io, Op, Open, Tag, Wait, datasync, run};
use gdd_uring::probe::{Mode, probe};

const DEPTH: usize = 8;
const ROUNDS: usize = 3;
const MIB: usize = 1 << 20;

#[derive(Clone, Copy)]
enum Way {
    Read,
    Write,
}

/// Move the whole file once, and sync it if it was written. Returns GB/s.
fn pass(io: &mut dyn Io, file: FileId, way: Way, total: usize, pool: &Pool) -> io::Result<f64> {
    let size = pool.buffer_size();
    let mut free: VecDeque<IoBuf> = (0..DEPTH).filter_map(|_| pool.take()).collect();
    let mut done: Vec<Done> = Vec::with_capacity(DEPTH);
    let (mut next, mut left) = (0, total / size);
    let start = Instant::now();
    while left > 0 {
        while next < total / size
            && let Some(buffer) = free.pop_front()
        {
            let offset = (next * size) as u64;
            let op = match way {
                Way::Read => Op::Read { file, offset, buffer },
                Way::Write => Op::Write { file, offset, buffer },
            };
            io.submit(Tag(0), op).map_err(|_| io::Error::other("the queue is shorter than expected"))?;
            next += 1;
        }
        io.poll(&mut done, Wait::For(std::time::Duration::from_secs(60)))?;
        for one in done.drain(..) {
            assert_eq!(one.result?, size, "every operation moves all its bytes");
            free.extend(one.buffer);
            left -= 1;
        }
    }
    if let Way::Write = way {
        datasync(io, file)?;
    }
    Ok(total as f64 / start.elapsed().as_secs_f64() / 1e9)
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_ascii_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    // After the name and state: utime and stime are the 11th and 12th numbers, in hundredths of a second.
    fields.get(10..12).map_or(0.0, |ticks| ticks.iter().sum::<f64>() / 100.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(dir: &Path, mode: Mode, total: usize) -> io::Result<()> {
    let source = probe(dir, mode, false)?;
    let mut io = source.open()?;
    let (small, large) = (Pool::new(MIB, DEPTH), Pool::new(4 * MIB, DEPTH));
    let (_small, _large) = (io.register(&small), io.register(&large));
    let path = dir.join("gdd-throughput");
    let mut figures = vec![Vec::new(); 4];
    let cpu = cpu_seconds();
    for _ in 0..ROUNDS {
        let file = io.open(&path, Open::Create)?;
        run(io.as_mut(), Op::Allocate { file, len: total as u64 })?;
        let passes = [(Way::Write, &small), (Way::Write, &small), (Way::Read, &small), (Way::Read, &large)];
        for (figure, (way, pool)) in figures.iter_mut().zip(passes) {
            figure.push(pass(io.as_mut(), file, way, total, pool)?);
        }
        io.close(file);
        io.unlink(&path)?;
    }
    let cpu = (cpu_seconds() - cpu) / (4.0 * ROUNDS as f64 * total as f64 / 1e9);
    let figures: Vec<f64> = figures.into_iter().map(median).collect();
    println!(
        "{:16} {:>10.2} {:>10.2} {:>10.2} {:>10.2} {:>12.3}",
        source.mode(),
        figures[0],
        figures[1],
        figures[2],
        figures[3],
        cpu
    );
    source.notes().iter().for_each(|note| println!("  {note}"));
    Ok(())
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| ".".to_owned());
    let total = arguments.next().and_then(|mib| mib.parse().ok()).unwrap_or(1024) * MIB;
    println!(
        "{:16} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "GB/s", "write new", "rewrite", "read 1M", "read 4M", "CPU s per GB"
    );
    for mode in [Mode::Uring, Mode::Pwrite, Mode::Buffered] {
        measure(Path::new(&dir), mode, total)?;
    }
    Ok(())
}
