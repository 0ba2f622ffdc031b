//! `gdd bench io`: our ring beside pread and pwrite, and beside tokio-uring where that is built in.
//!
//! The choice of the raw ring (docs/decisions.md, 1) is a measured one, and this measures it again: rate and processor
//! time of sequential direct transfers, the same bytes in the same files, in turn.

use std::time::Duration;

use gdd_uring::probe::Mode;
use serde::Serialize;

use super::device::{Device, Load, Way};
use super::report::{Hardware, Series};
use super::scratch::Scratch;
use crate::args::{BenchIo, Common};
use crate::failure::{Failure, Result};
use crate::output::{Outcome, Table};
use crate::progress::Bar;
use crate::size::{show, show_binary, show_rate, to_float};

/// Bytes of each operation.
const BLOCKS: [u64; 3] = [64 << 10, 256 << 10, 1 << 20];

/// One way to the disk, one block size, one direction.
#[derive(Serialize)]
struct Figure {
    through: String,
    block: u64,
    way: &'static str,
    bytes_per_second: Series,
    /// Processor time per second: 1.0 is one core.
    cores_used: Series,
}

/// Measure.
///
/// # Errors
/// There is no room, or the disk refused.
pub fn run(arguments: &BenchIo, common: &Common) -> Result<Outcome> {
    let scratch = Scratch::new(common, arguments.bytes + (1 << 30))?;
    let hardware = Hardware::here(scratch.path());
    let depth = usize::try_from(arguments.depth).expect("depth is at most 64");
    let bar = Bar::steps();
    let mut figures: Vec<Figure> = Vec::new();
    for run in 1..=arguments.runs {
        for mode in [Mode::Auto, Mode::Pwrite] {
            let folder = scratch.join("files");
            std::fs::create_dir_all(&folder).map_err(Failure::file("make", &folder))?;
            let mut device = Device::new(&folder, mode)?;
            device.prepare(arguments.bytes)?;
            device.transfer(Way::Write, arguments.bytes, super::device::LARGE)?; // From here on, blocks exist.
            for (block, way) in BLOCKS.into_iter().flat_map(|block| [(block, Way::Write), (block, Way::Read)])
            {
                let through = device.mode().to_owned();
                bar.step(format!("run {run} of {}: {through}, {}", arguments.runs, show_binary(block)));
                let load = Load { block, depth };
                let measured = timed(|| device.transfer(way, arguments.bytes, load))?;
                note(&mut figures, &through, block, way, measured);
            }
            device.remove()?;
        }
        #[cfg(feature = "tokio-uring")]
        super::tokio::measure(
            &scratch.join("tokio"),
            arguments.bytes,
            depth,
            &BLOCKS,
            &mut |block, way, work| {
                bar.step(format!("run {run} of {}: tokio-uring, {}", arguments.runs, show_binary(block)));
                note(&mut figures, "tokio-uring", block, way, timed(work)?);
                Ok(())
            },
        )?;
    }
    drop((bar, scratch));
    let mut table = Table::new(["", "block", "median", "least .. greatest", "of a core"]);
    for figure in &figures {
        table.row([
            format!("{}, {}", figure.through, figure.way),
            show_binary(figure.block),
            show_rate(figure.bytes_per_second.median()),
            figure.bytes_per_second.show_spread(),
            format!("{:.0} %", figure.cores_used.median() * 100.0),
        ]);
    }
    let text = format!(
        "{hardware}{} sequential, written before, {depth} in flight, {} runs\n\n{table}",
        show(arguments.bytes),
        arguments.runs
    );
    let object = serde_json::json!({
        "hardware": hardware, "bytes": arguments.bytes, "depth": depth, "runs": arguments.runs, "figures": figures,
    });
    Outcome::new(&object, text)
}

/// Bytes per second, and processor seconds per second of the whole process.
type Measured = (f64, f64);

fn timed(work: impl FnOnce() -> Result<f64>) -> Result<Measured> {
    let (started, used) = (std::time::Instant::now(), processor_time());
    let rate = work()?;
    let used = processor_time().saturating_sub(used).as_secs_f64();
    Ok((rate, used / started.elapsed().as_secs_f64()))
}

fn note(figures: &mut Vec<Figure>, through: &str, block: u64, way: Way, (rate, cores): Measured) {
    let way = if way == Way::Write { "write" } else { "read" };
    let same = |figure: &Figure| (&*figure.through, figure.block, figure.way) == (through, block, way);
    let at = figures.iter().position(same).unwrap_or_else(|| {
        let (bytes_per_second, cores_used) = (Series::default(), Series::default());
        figures.push(Figure { through: through.to_owned(), block, way, bytes_per_second, cores_used });
        figures.len() - 1
    });
    figures[at].bytes_per_second.add(rate);
    figures[at].cores_used.add(cores);
}

/// Processor time of this process so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::from_secs_f64(to_float(u64::try_from(time.tv_sec).unwrap_or(0)))
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
