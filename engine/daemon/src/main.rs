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
