//! `gdd`: one binary, the daemon and its command line. Here: start, and exit codes.

mod args;
mod bench;
mod catalog;
mod client;
mod commands;
mod config;
mod control;
mod failure;
mod output;
mod progress;
mod serve;
mod signals;
mod size;
mod span;
mod tree;
mod tune;
mod users;
mod volumes;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;

/// For all of the process, RocksDB included. The C library keeps what a thread has once had: in a soak the daemon took
/// 65 MB in its heaps, of which 25 were in use (docs/decisions.md, 41). This one gives back what was not used for
/// seconds.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => {
            if !matches!(cli.command, args::Command::Serve(_)) {
                output::start_log(cli.common.verbose);
            }
            output::end(cli.common.json, commands::run(&cli))
        }
        Err(error) => output::end_usage(&error),
    }
}
