//! `gdd bench ingest`: the store from memory, so that no source limits it, beside what limits the store.
//!
//! Two ceilings: the rate at which the device takes direct writes into files prepared as containers are, and the
//! rate at which one core cuts and hashes. New data cannot pass the first, nor the second times the cores; known data
//! only the second times the cores.

use std::time::Instant;

use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;
use gdd_kernels::{Chunker, Params};
use gdd_uring::buffer::Shared;
use serde::Serialize;

use super::data::Extents;
use super::device::{Device, LARGE, Way};
use super::paired;
use super::record::{self, Flow, Record, Stages, with_record};
use super::report::{Hardware, Series};
use super::sampler::Sampler;
use super::scratch::Scratch;
use crate::args::{BenchIngest, Common, IngestPart, Recording};
use crate::failure::{Failure, Result};
use crate::output::{Outcome, Table};
use crate::progress::Bar;
use crate::size::{show, show_rate, to_float};

/// Share of the cores' cut-and-hash rate that new data may use: appending and syncing take the rest.
const NEW_SHARE: f64 = 0.8;

/// Bytes that one core cuts and hashes for each measurement.
const KERNEL_BYTES: u64 = 256 << 20;

/// Everything measured, in bytes per second.
#[derive(Debug, Default, Serialize)]
struct Figures {
    /// Direct writes into reserved files.
    device_write: Series,
    /// Direct writes into files that were written before.
    device_rewrite: Series,
    /// Cut and hash on one core.
    cut_and_hash_per_core: Series,
    /// New data, one stream.
    new_one: Series,
    /// The same again.
    known_one: Series,
    /// New data, several streams at once.
    new_many: Series,
    /// The same again.
    known_many: Series,
}

/// What `--json` shows.
#[derive(Serialize)]
struct Answer<'a> {
    hardware: &'a Hardware,
    io_mode: &'a str,
    workers: usize,
    bytes: u64,
    streams: u64,
    runs: u64,
    ceiling_new: f64,
    ceiling_known: f64,
    bytes_per_second: &'a Figures,
}

/// Measure.
///
/// # Errors
/// There is no room, or the disk refused.
pub fn run(arguments: &BenchIngest, common: &Common) -> Result<Outcome> {
    if arguments.histograms == Recording::Paired {
        return paired::run(arguments, common);
    }
    let options = common.options();
    let need = arguments.bytes.saturating_mul(2 * arguments.runs + 2) / 8 * 9;
    let scratch = Scratch::new(common, need)?;
    let hardware = Hardware::here(scratch.path());
    let bar = Bar::steps();
    let store = new_store(&scratch, &options)?;
    let store = Store::open(&store, Access::ReadWrite, &options)?;
    store.histograms().set_recording(arguments.histograms == Recording::On);
    let io_mode = store.stats()?.io_mode;
    let mut seen = Seen::default();
    let mut extents = Extents::random(arguments.bytes)?;
    let mut figures = Figures::default();
    for run in 1..=arguments.runs {
        let step = |what: &str| bar.step(format!("run {run} of {}: {what}", arguments.runs));
        if arguments.only.is_none() {
            step("the device");
            ceiling(&scratch, &options, extents.bytes(), &mut figures)?;
            step("one core");
            figures.cut_and_hash_per_core.add(cut_and_hash(&extents));
        }
        for (streams, new, known) in [
            (1, &mut figures.new_one, &mut figures.known_one),
            (arguments.streams, &mut figures.new_many, &mut figures.known_many),
        ] {
            if run == 1 || arguments.only != Some(IngestPart::Known) {
                extents.renew();
                step(&format!("new data, {streams} streams"));
                new.add(seen.ingest(&store, &extents, &format!("{run}-{streams}-new"), ("new", streams))?);
            }
            if arguments.only != Some(IngestPart::New) {
                step(&format!("known data, {streams} streams"));
                let name = format!("{run}-{streams}-known");
                known.add(seen.ingest(&store, &extents, &name, ("known", streams))?);
            }
        }
    }
    store.close()?;
    drop((bar, scratch));
    answer(arguments, &options, &hardware, &io_mode, (&figures, seen), extents.bytes())
}

/// What the runs leave for a report, besides their rates.
#[derive(Default)]
struct Seen {
    flows: Vec<Flow>,
    stages: Stages,
}

impl Seen {
    /// Store all extents, as [`ingest`] does, and look at it.
    fn ingest(
        &mut self,
        store: &Store,
        extents: &Extents,
        name: &str,
        (kind, streams): (&str, u64),
    ) -> Result<f64> {
        let group = group(kind, streams);
        let (rate, points) = self.stages.during(store.histograms(), &group, || {
            Sampler::during(|sampler| ingest(store, extents, name, streams, sampler))
        });
        self.flows.push(Flow { group, points });
        rate
    }
}

/// What is measured, in a table and in a report.
fn group(kind: &str, streams: u64) -> String {
    if streams == 1 { format!("{kind} data, 1 stream") } else { format!("{kind} data, {streams} streams") }
}

/// A store for measurements.
///
/// # Errors
/// The disk refused.
pub(super) fn new_store(scratch: &Scratch, options: &Options) -> Result<std::path::PathBuf> {
    let directory = scratch.join("store");
    Store::init(&directory, &Settings::default(), options)?;
    Ok(directory)
}

fn ceiling(scratch: &Scratch, options: &Options, bytes: u64, figures: &mut Figures) -> Result<()> {
    let folder = scratch.join("raw");
    std::fs::create_dir_all(&folder).map_err(Failure::file("make", &folder))?;
    let mut device = Device::new(&folder, options.io_mode)?;
    device.prepare(bytes)?;
    figures.device_write.add(device.transfer(Way::Write, bytes, LARGE)?);
    figures.device_rewrite.add(device.transfer(Way::Write, bytes, LARGE)?);
    device.remove()
}

fn cut_and_hash(extents: &Extents) -> f64 {
    let chunker = Chunker::new(Params::default());
    let (mut cuts, mut bytes) = (Vec::new(), 0);
    let started = Instant::now();
    for extent in extents.all().iter().cycle() {
        cuts.clear();
        chunker.cut_and_hash(extent, false, &mut cuts);
        std::hint::black_box(&cuts);
        bytes += extent.len() as u64;
        if bytes >= KERNEL_BYTES {
            break;
        }
    }
    to_float(bytes) / started.elapsed().as_secs_f64()
}

/// Store all extents as so many streams at once; returns bytes per second, from the first byte to the last durable end.
pub(super) fn ingest(
    store: &Store,
    extents: &Extents,
    name: &str,
    streams: u64,
    sampler: &Sampler,
) -> Result<f64> {
    let streams = usize::try_from(streams).expect("a few streams");
    let one = |number: usize, part: &[Shared]| -> Result<()> {
        let mut put = store.put(&format!("{name}-{number}"))?;
        for extent in part {
            put.write_shared(extent.clone())?;
            sampler.add(extent.len());
        }
        put.finish()?;
        Ok(())
    };
    let started = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let parts = extents.parts(streams).enumerate();
        let threads: Vec<_> = parts.map(|(number, part)| scope.spawn(move || one(number, part))).collect();
        for thread in threads {
            thread.join().map_err(|_| Failure::Failed("a stream's thread panicked".to_owned()))??;
        }
        Ok(())
    })?;
    Ok(to_float(extents.bytes()) / started.elapsed().as_secs_f64())
}

fn answer(
    arguments: &BenchIngest,
    options: &Options,
    hardware: &Hardware,
    io_mode: &str,
    (figures, seen): (&Figures, Seen),
    bytes: u64,
) -> Result<Outcome> {
    let workers = options.workers();
    let known = to_float(workers as u64) * figures.cut_and_hash_per_core.median();
    let new = figures.device_write.median().min(NEW_SHARE * known);
    let mut table = Table::new(["", "median", "least .. greatest", "ceiling", "ratio"]);
    let streams = arguments.streams;
    let asked = format!("{} a run, {} runs, {workers} workers, {io_mode}", show(bytes), arguments.runs);
    let mut record = Record::new("ingest", hardware, asked);
    let none = None;
    for (name, series, ceiling) in [
        ("device: direct write, reserved files".to_owned(), &figures.device_write, none),
        ("device: direct write, written before".to_owned(), &figures.device_rewrite, none),
        ("cut and hash, one core".to_owned(), &figures.cut_and_hash_per_core, none),
        (group("new", 1), &figures.new_one, Some(new)),
        (group("new", streams), &figures.new_many, Some(new)),
        (group("known", 1), &figures.known_one, Some(known)),
        (group("known", streams), &figures.known_many, Some(known)),
    ] {
        if series.is_empty() {
            continue; // `--only` left it out.
        }
        let median = series.median();
        let ceiling = ceiling.filter(|ceiling| *ceiling > 0.0);
        record.rate(&name, series, ceiling);
        let beside = |text: &dyn Fn(f64) -> String| ceiling.map_or_else(String::new, text);
        table.row([
            name,
            show_rate(median),
            series.show_spread(),
            beside(&|ceiling| show_rate(ceiling)),
            beside(&|ceiling| format!("{:.2}", median / ceiling)),
        ]);
    }
    let text = format!(
        "{hardware}{} in each run, {} runs, {workers} workers, {io_mode}\n\n{table}\n\
         ceiling of new data: the lower of the device into reserved files and {NEW_SHARE} x {workers} x one core;\n\
         ceiling of known data: {workers} x one core\n",
        show(bytes),
        arguments.runs
    );
    let answer = Answer {
        hardware,
        io_mode,
        workers,
        bytes,
        streams,
        runs: arguments.runs,
        ceiling_new: new,
        ceiling_known: known,
        bytes_per_second: figures,
    };
    let groups: Vec<_> = record.rates.iter().map(|rate| rate.name.clone()).collect();
    record.curves = seen.stages.curves(&groups);
    record.flows = seen.flows;
    let object = with_record(&answer, &record)?;
    record::save(arguments.save.as_deref(), &object)?;
    Outcome::new(&object, text)
}
