//! The end of every command: one JSON object or text for people on standard output, messages on standard error.
//!
//! # Invariants
//! - With `--json`, standard output ends with exactly one object, on one line, whatever happened.
//! - Fields are only ever added.
//! - Nothing here panics when the reader of an output has gone.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Config, LogFormat};
use crate::failure::{CODE_FAILED, CODE_USAGE, Failure, Result};

/// What a command that did its job has to say.
#[derive(Debug, Deserialize, Serialize)]
pub struct Outcome {
    /// For `--json`: an object.
    pub json: Value,
    /// For people: lines, or nothing.
    pub text: String,
    /// What they should know besides, one line each; goes to standard error.
    pub notes: Vec<String>,
    /// The exit code: 0; 3 when damage was found; 1 when a part of the job failed, and the others did not.
    pub code: u8,
}

impl Outcome {
    /// Success with `value` as the JSON object and `text` for people.
    ///
    /// # Errors
    /// `value` is no JSON object.
    pub fn new(value: &impl Serialize, text: String) -> Result<Self> {
        let json = serde_json::to_value(value)
            .map_err(|error| Failure::Failed(format!("the result cannot be written as JSON: {error}")))?;
        assert!(json.is_object(), "every command answers with an object");
        Ok(Self { json, text, notes: Vec::new(), code: 0 })
    }

    /// The same with `notes`, which also stand in the object as `notes` unless it has such a field.
    #[must_use]
    pub fn with_notes(mut self, notes: Vec<String>) -> Self {
        if let Value::Object(fields) = &mut self.json {
            fields.entry("notes").or_insert_with(|| json!(notes));
        }
        self.notes = notes;
        self
    }
}

/// Print the result of a command; returns the exit code.
#[must_use]
pub fn end(as_json: bool, result: Result<Outcome>) -> ExitCode {
    let printed = match result {
        Ok(outcome) => {
            for note in &outcome.notes {
                complain(&format!("note: {note}"));
            }
            let text = if as_json { line_of(&outcome.json) } else { outcome.text };
            print(&text).map(|()| outcome.code)
        }
        Err(failure) => Err(failure),
    };
    match printed {
        Ok(code) => ExitCode::from(code),
        Err(failure) => end_failed(as_json, &failure),
    }
}

fn end_failed(as_json: bool, failure: &Failure) -> ExitCode {
    if !matches!(failure, Failure::PipeClosed) {
        complain(&failure.line());
        if as_json {
            // The exit code tells the same, should nobody read this.
            let _ = print(&line_of(&json!({ "error": failure.line(), "code": failure.code() })));
        }
    }
    ExitCode::from(failure.code())
}

/// Print what clap has to say, which may be the help that was asked for; returns the exit code.
#[must_use]
pub fn end_usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if !error.use_stderr() {
        return ExitCode::from(if printed.is_ok() { 0 } else { CODE_FAILED });
    }
    if std::env::args_os().any(|word| word == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let _ = print(&line_of(&json!({ "error": first, "code": CODE_USAGE })));
    }
    ExitCode::from(CODE_USAGE)
}

fn line_of(value: &Value) -> String {
    format!("{value}\n")
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::stdout)
}

fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "gdd: {message}"); // Standard error may be closed; there is nobody left to tell.
}

/// Send log lines to standard error: warnings, more with `-v`, or what `GDD_LOG` says.
pub fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("GDD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    let _ = subscriber.try_init(); // Fails only when a log exists already, as in tests.
}

/// The daemon's log: without times, and with priorities, where standard error is the journal, which adds times itself.
pub fn start_daemon_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GDD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(&config.log_level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    let timed = match config.log_format {
        LogFormat::Auto => !is_journal(),
        LogFormat::Plain => false,
        LogFormat::Timed => true,
    };
    // Fails only when a log exists already, as in tests.
    let _ = match (is_journal(), timed) {
        (true, true) => subscriber.map_event_format(Ranked).try_init(),
        (true, false) => subscriber.without_time().map_event_format(Ranked).try_init(),
        (false, true) => subscriber.try_init(),
        (false, false) => subscriber.without_time().try_init(),
    };
}

/// Begins each line with its priority, as the journal understands it (sd-daemon(3)): `journalctl -p err` finds it then.
struct Ranked<F>(F);

impl<S, N, F> FormatEvent<S, N> for Ranked<F>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            _ => 7,
        };
        write!(out, "<{priority}>")?;
        self.0.format_event(context, out, event)
    }
}

/// Whether standard error is the stream that systemd connected to the journal: its device and inode.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Rows of text in columns: the first column to the left, the others to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self { rows: vec![heads.map(str::to_owned).to_vec()] }
    }

    /// Add a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    line.push_str(&format!("{cell:<width$}"));
                } else {
                    line.push_str(&format!("  {cell:>width$}"));
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let mut table = Table::new(["name", "bytes"]);
        table.row(["a".to_owned(), "1,000".to_owned()]);
        table.row(["longer".to_owned(), "7".to_owned()]);
        assert_eq!(table.to_string(), "name    bytes\na       1,000\nlonger      7\n");
    }

    #[test]
    fn notes_stand_in_the_object_too() {
        let outcome = Outcome::new(&json!({"a": 1}), String::new()).unwrap();
        let outcome = outcome.with_notes(vec!["b".to_owned()]);
        assert_eq!(line_of(&outcome.json), "{\"a\":1,\"notes\":[\"b\"]}\n");
    }
}
