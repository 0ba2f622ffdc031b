//! `gdd man` and `gdd completions`: what the command line knows about itself, for packages.

use std::path::Path;

use clap::CommandFactory;
use serde_json::json;

use crate::args::Cli;
use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// Write a manual page for each command.
///
/// # Errors
/// The directory cannot be written.
pub fn manual(directory: &Path) -> Result<Outcome> {
    std::fs::create_dir_all(directory).map_err(Failure::file("make", directory))?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(Failure::file("write", directory))?;
    let text = format!("wrote the manual pages to {}\n", directory.display());
    Outcome::new(&json!({ "directory": directory.to_string_lossy() }), text)
}

/// Print the completions for a shell.
///
/// # Errors
/// Never.
pub fn completions(shell: clap_complete::Shell, as_json: bool) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gdd", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let text = if as_json { String::new() } else { script.clone() };
    Outcome::new(&json!({ "shell": shell.to_string(), "script": script }), text)
}
