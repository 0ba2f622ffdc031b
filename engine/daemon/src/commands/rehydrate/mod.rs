//! `gdd rehydrate`: files that a restore without the plugin left as references become what they were.
//!
//! # Invariants
//! - A file that fails stays the reference that it was, is named with the reason, and keeps none of the others back.
//! - The exit code is 0 only when no reference is left of those that were found.

mod find;
mod replace;
mod source;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gdd_client::ClientError;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args;
use crate::failure::{CODE_DAMAGE, CODE_FAILED, Failure, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::{grouped, show};
use find::{Found, Search};
use replace::Replacer;
use source::Source;

/// What the daemon calls damage in its store.
const DAMAGE_ID: &str = "GDD-NET-0010";

/// Why a file stays a reference.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// Something here, or a reference to elsewhere.
    #[error("{0}")]
    Local(String),
    /// What came is not what the reference says.
    #[error("the daemon gave damaged data: {0}; run `gdd fsck` there")]
    Damaged(String),
    /// The daemon, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The user or the system asked us to stop.
    #[error(transparent)]
    Stopped(Failure),
}

impl Trouble {
    fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Client(ClientError::Damaged { .. }) => true,
            Self::Client(ClientError::Trouble { id, .. }) => id == DAMAGE_ID,
            _ => false,
        }
    }
}

/// What was done.
#[derive(Default)]
struct Done {
    files: u64,
    bytes: u64,
    failed: Vec<(PathBuf, String)>,
    damaged: bool,
}

/// Make files of references.
///
/// # Errors
/// No daemon could be reached with this key; or a signal came. What fails of single files is no error here, but exit
/// code 1, or 3 where the daemon's data were damaged.
pub fn run(arguments: &args::Rehydrate) -> Result<Outcome> {
    let mut search = Search::default();
    arguments.paths.iter().for_each(|path| search.walk(path));
    let Search { found, untouched, failed } = search;
    if arguments.dry_run {
        return listed(&found, untouched, failed);
    }
    let mut done = Done { failed, ..Done::default() };
    if !found.is_empty() {
        replace_all(arguments, &found, &mut done)?;
    }
    let text = format!(
        "rehydrated {} files, {} bytes ({}); {} other files left alone, {} failed\n",
        grouped(done.files),
        grouped(done.bytes),
        show(done.bytes),
        grouped(untouched),
        grouped(done.failed.len() as u64)
    );
    let object = json!({
        "files": done.files, "bytes": done.bytes, "untouched": untouched, "failed": failures(&done.failed),
    });
    ended(&object, text, &done)
}

fn replace_all(arguments: &args::Rehydrate, found: &[Found], done: &mut Done) -> Result<()> {
    let signals = Signals::note()?;
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&cancelled))
            .map_err(|error| Failure::Failed(format!("cannot watch for signals: {error}")))?;
    }
    let mut source = Source::connect(arguments, cancelled)?;
    let mut replacer = Replacer::default();
    let total = found.iter().map(|file| file.reference.length).fold(0, u64::saturating_add);
    let bar = Bar::bytes("rehydrate", Some(total));
    for file in found {
        let before = done.bytes;
        let mut progress = |bytes| {
            bar.set(before + bytes);
            signals.check()
        };
        match replacer.replace(file, &mut source, &mut progress) {
            Ok(()) => {
                done.files += 1;
                done.bytes += file.reference.length;
            }
            Err(Trouble::Stopped(failure)) => return Err(failure),
            Err(trouble) => {
                signals.check()?; // A signal ends a wait for the daemon with an error of its own.
                if matches!(&trouble, Trouble::Client(error) if !error.is_of_one_request()) {
                    source.give_up();
                }
                done.damaged |= trouble.is_damage();
                done.failed.push((file.path.clone(), trouble.to_string()));
            }
        }
    }
    source.finish();
    Ok(())
}

/// What would be done.
fn listed(found: &[Found], untouched: u64, failed: Vec<(PathBuf, String)>) -> Result<Outcome> {
    let bytes = found.iter().map(|file| file.reference.length).fold(0, u64::saturating_add);
    let (mut text, mut references) = (String::new(), Vec::new());
    for Found { path, reference } in found {
        let (length, store) = (reference.length, source::hex(&reference.store));
        let _ = writeln!(text, "{length:>15} {}", path.display()); // A string takes everything.
        references.push(json!({ "path": path.to_string_lossy(), "bytes": length, "store": store }));
    }
    let count = found.len() as u64;
    let _ = writeln!(
        text,
        "{} references to {} bytes ({}); {} other files",
        grouped(count),
        grouped(bytes),
        show(bytes),
        grouped(untouched)
    );
    let object = json!({
        "dry_run": true, "files": count, "bytes": bytes, "untouched": untouched, "failed": failures(&failed),
        "references": references,
    });
    ended(&object, text, &Done { failed, ..Done::default() })
}

fn ended(object: &Value, text: String, done: &Done) -> Result<Outcome> {
    let mut outcome = Outcome::new(object, text)?;
    let line = |(path, why): &(PathBuf, String)| format!("{} stays as it is: {why}", path.display());
    outcome.notes = done.failed.iter().map(line).collect();
    outcome.code = match (done.damaged, done.failed.is_empty()) {
        (true, _) => CODE_DAMAGE,
        (false, false) => CODE_FAILED,
        (false, true) => 0,
    };
    Ok(outcome)
}

fn failures(failed: &[(PathBuf, String)]) -> Vec<Value> {
    failed.iter().map(|(path, why)| json!({ "path": path.to_string_lossy(), "why": why })).collect()
}
