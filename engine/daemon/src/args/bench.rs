//! What was typed after `gdd bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::size;

/// `gdd bench`.
#[derive(Args, Debug)]
pub struct Bench {
    /// What to measure.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// New and known data from memory, one stream and several, beside the device's and the cores' ceilings
    Ingest(BenchIngest),
    /// Latency of chunks from the cache, from read-ahead and cold, beside raw reads; and the rate of a restore
    Recall(BenchRecall),
    /// Each stage alone, on one core
    Stages(BenchStages),
    /// Our io_uring ring beside pread/pwrite (and tokio-uring, when built with that feature)
    Io(BenchIo),
    /// A page of pictures and tables of a saved run, or of two runs compared
    Report(BenchReport),
}

/// `gdd bench ingest`.
#[derive(Args, Debug)]
pub struct BenchIngest {
    /// Bytes of each run, held in memory
    #[arg(long, value_parser = size::parse, default_value = "1g")]
    pub bytes: u64,
    /// Streams at once, in the runs with several
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=64))]
    pub streams: u64,
    /// Runs; medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub runs: u64,
    /// Measure only this, and neither the device nor the cores (for a profiler)
    #[arg(long, value_enum)]
    pub only: Option<IngestPart>,
    /// Whether the time of each stage is recorded, or what that costs
    #[arg(long, value_enum, default_value = "on")]
    pub histograms: Recording,
    /// Write what --json prints to this file, for gdd bench report
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// Whether the time of each stage is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Recording {
    /// Recorded, as the daemon does
    On,
    /// Not recorded
    Off,
    /// Both by turns, and the ratio of the two
    Paired,
}

/// `gdd bench report`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gdd bench ingest --save monday.json
  gdd bench report monday.json -o monday.html
  gdd bench report monday.json tuesday.json -o compared.html

The page needs nothing besides itself: pictures are part of it. Compare runs of the same bench, on the same machine,
close in time: a virtual machine's disk differs by a factor of two within minutes.")]
pub struct BenchReport {
    /// A run, saved by gdd bench ingest or gdd bench recall with --save
    #[arg(value_name = "RUN.json")]
    pub run: PathBuf,
    /// Another one, to compare with the first
    #[arg(value_name = "OTHER.json")]
    pub other: Option<PathBuf>,
    /// The page to write
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
}

/// What `gdd bench ingest --only` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum IngestPart {
    /// Data the store has never seen, one stream and several
    New,
    /// Data the store has already, one stream and several
    Known,
}

/// `gdd bench recall`.
#[derive(Args, Debug)]
pub struct BenchRecall {
    /// Bytes stored for each chunk size
    #[arg(long, value_parser = size::parse, default_value = "512m")]
    pub bytes: u64,
    /// Chunk sizes to measure
    #[arg(long, value_delimiter = ',', value_parser = size::parse, default_value = "64k,256k,1m,4m")]
    pub sizes: Vec<u64>,
    /// Write each latency distribution there, as .hgrm
    #[arg(long, value_name = "DIR")]
    pub hgrm: Option<PathBuf>,
    /// Draw all distributions there
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write what --json prints to this file, for gdd bench report
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Measure only this (for a profiler)
    #[arg(long, value_enum)]
    pub only: Option<RecallPart>,
}

/// What `gdd bench recall --only` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RecallPart {
    /// Whole streams, and the containers they lie in
    Restore,
}

/// `gdd bench stages`.
#[derive(Args, Debug)]
pub struct BenchStages {
    /// Bytes that each stage works on
    #[arg(long, value_parser = size::parse, default_value = "256m")]
    pub bytes: u64,
    /// Runs; medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub runs: u64,
}

/// `gdd bench io`.
#[derive(Args, Debug)]
pub struct BenchIo {
    /// Bytes of the file
    #[arg(long, value_parser = size::parse, default_value = "512m")]
    pub bytes: u64,
    /// Operations in flight
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub depth: u64,
    /// Runs; medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub runs: u64,
}
