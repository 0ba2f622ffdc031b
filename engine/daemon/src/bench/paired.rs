//! `gdd bench ingest --histograms paired`: what recording the time of each stage costs.
//!
//! Each pair stores the same amount once with and once without recording, in the order of the pair before turned
//! round, so that a disk or a neighbour that slows down in between slows both. The processor's time is compared too: it
//! differs less from run to run than a rate does.

use std::time::Duration;

use gdd_engine::options::Access;
use gdd_engine::store::Store;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::json;

use super::data::Extents;
use super::ingest::{ingest, new_store};
use super::report::{Hardware, Series};
use super::sampler::Sampler;
use super::scratch::Scratch;
use crate::args::{BenchIngest, Common, IngestPart};
use crate::failure::Result;
use crate::output::{Outcome, Table};
use crate::progress::Bar;
use crate::size::{show, show_rate, to_float};

/// A figure with and without recording, in pairs.
#[derive(Debug, Default, Serialize)]
struct Pairs {
    on: Series,
    off: Series,
    /// The first by the second.
    ratio: Series,
}

impl Pairs {
    fn add(&mut self, [off, on]: [f64; 2]) {
        self.off.add(off);
        self.on.add(on);
        self.ratio.add(on / off);
    }
}

/// One kind of data.
#[derive(Debug, Default, Serialize)]
struct Compared {
    bytes_per_second: Pairs,
    cpu_seconds_per_gigabyte: Pairs,
}

/// Measure.
///
/// # Errors
/// There is no room, or the disk refused.
pub fn run(arguments: &BenchIngest, common: &Common) -> Result<Outcome> {
    let options = common.options();
    let scratch = Scratch::new(common, arguments.bytes.saturating_mul(2 * arguments.runs + 2) / 8 * 9)?;
    let hardware = Hardware::here(scratch.path());
    let bar = Bar::steps();
    let store = Store::open(&new_store(&scratch, &options)?, Access::ReadWrite, &options)?;
    let mut extents = Extents::random(arguments.bytes)?;
    let (mut new, mut known) = (Compared::default(), Compared::default());
    // What a store does for the first time, memory above all, belongs to neither.
    measure(&store, &extents, "warm-up", arguments.streams)?;
    for run in 1..=arguments.runs {
        let order = if run % 2 == 0 { [false, true] } else { [true, false] };
        for (kind, compared) in [("new", &mut new), ("known", &mut known)] {
            let left_out = match arguments.only {
                Some(IngestPart::New) => "known",
                Some(IngestPart::Known) => "new", // Known since the warm-up.
                None => "",
            };
            if kind == left_out {
                continue;
            }
            let (mut rates, mut costs) = ([0.0; 2], [0.0; 2]);
            for on in order {
                if kind == "new" {
                    extents.renew();
                }
                bar.step(format!("pair {run} of {}: {kind} data", arguments.runs));
                store.histograms().set_recording(on);
                let name = format!("{run}-{kind}-{on}");
                let (rate, cost) = measure(&store, &extents, &name, arguments.streams)?;
                (rates[usize::from(on)], costs[usize::from(on)]) = (rate, cost);
            }
            compared.bytes_per_second.add(rates);
            compared.cpu_seconds_per_gigabyte.add(costs);
        }
    }
    store.close()?;
    drop((bar, scratch));
    let bytes = extents.bytes();
    let (runs, streams) = (arguments.runs, arguments.streams);
    let text = format!(
        "{hardware}{} each time, {streams} streams, {runs} pairs\n\n{}",
        show(bytes),
        table(&new, &known)
    );
    let object = json!({
        "hardware": hardware, "bytes": bytes, "streams": streams, "pairs": runs, "new": new, "known": known,
    });
    Outcome::new(&object, text)
}

/// Bytes per second, and the processor's seconds for a gigabyte.
fn measure(store: &Store, extents: &Extents, name: &str, streams: u64) -> Result<(f64, f64)> {
    let before = cpu();
    let rate = ingest(store, extents, name, streams, &Sampler::default())?;
    let spent = (cpu() - before).as_secs_f64();
    Ok((rate, spent / (to_float(extents.bytes()) / 1e9)))
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

fn table(new: &Compared, known: &Compared) -> Table {
    let mut table = Table::new(["", "recording", "not", "ratio, median", "middle half"]);
    let seconds = |value: f64| format!("{value:.3} s/GB");
    for (name, kind) in [("new data", new), ("known data", known)] {
        for (what, pairs, show) in [
            ("rate", &kind.bytes_per_second, &show_rate as &dyn Fn(f64) -> String),
            ("processor time", &kind.cpu_seconds_per_gigabyte, &seconds),
        ] {
            if pairs.ratio.is_empty() {
                continue; // `--only` left it out.
            }
            let (low, high) = pairs.ratio.middle_half();
            table.row([
                format!("{name}: {what}"),
                show(pairs.on.median()),
                show(pairs.off.median()),
                format!("{:.4}", pairs.ratio.median()),
                format!("{low:.4} .. {high:.4}"),
            ]);
        }
    }
    table
}
