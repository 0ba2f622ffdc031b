//! What was typed after `gdd status`.

use std::path::PathBuf;

use clap::Args;

/// `gdd status`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gdd status                                what it does, and how long each stage of it takes
  gdd status --hgrm /tmp/curves             the same times whole, a file for each stage, for HdrHistogram's plotter
  gdd status --prometheus                   numbers for monitoring
  gdd status --prometheus -o /var/lib/prometheus/node-exporter/gdd.prom
                                            for node_exporter's textfile collector: the file is replaced as a whole

All times count from the daemon's start. `[metrics]` in gdd.toml has the daemon serve the same page over HTTP.")]
pub struct Status {
    /// Write the distribution of each stage's times there, as .hgrm
    #[arg(long, value_name = "DIR", conflicts_with = "prometheus")]
    pub hgrm: Option<PathBuf>,
    /// Print numbers for monitoring, in Prometheus' text format
    #[arg(long)]
    pub prometheus: bool,
    /// Write them to this file, as a whole or not at all, readable by everybody
    #[arg(long, short, value_name = "FILE", requires = "prometheus")]
    pub output: Option<PathBuf>,
}
