//! What `gdd scrub --report --volumes` adds to a report: volumes and files. It is done where it was typed: the daemon
//! need not be able to read the Archive Devices.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::failure::Result;
use crate::output::Outcome;
use crate::volumes::files::{Wanted, find};

/// Files that are named to people of a stream; `--json` has more.
const SHOWN_MAX: usize = 20;

/// Add to `outcome`, a report, what the volumes in `folders` know of the streams in it.
///
/// # Errors
/// A folder or a volume cannot be read.
pub fn with_files(mut outcome: Outcome, folders: &[PathBuf]) -> Result<Outcome> {
    if folders.is_empty() {
        return Ok(outcome);
    }
    let Some(streams) = outcome.json["blame"]["streams"].as_array_mut() else { return Ok(outcome) };
    let mut wanted: Vec<Wanted> = streams.iter().map(wanted).collect();
    outcome.notes.extend(find(folders, &mut wanted)?);
    for (stream, found) in streams.iter_mut().zip(&wanted) {
        stream["volumes"] = json!(found.volumes);
        stream["files"] = json!(found.files);
        let unlisted = stream["stretches_more"].as_u64().unwrap_or(0) > 0;
        stream["files_more"] = json!(found.more || unlisted);
        outcome.text.push_str(&text(found, unlisted));
    }
    Ok(outcome)
}

fn wanted(hit: &Value) -> Wanted {
    let stretches = hit["stretches"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pair = |stretch: &Value| Some((stretch["offset"].as_u64()?, stretch["bytes"].as_u64()?));
    Wanted {
        stream: hit["stream"].as_str().unwrap_or_default().to_owned(),
        stretches: stretches.iter().filter_map(pair).collect(),
        ..Wanted::default()
    }
}

fn text(found: &Wanted, unlisted: bool) -> String {
    let mut text = String::new();
    if found.volumes.is_empty() {
        let _ = writeln!(text, "stream {}: no volume in these folders refers to what is lost", found.stream);
        return text;
    }
    let volumes: Vec<&str> = found.volumes.iter().map(String::as_str).collect();
    let _ = writeln!(text, "stream {} is of volume {}; files hit:", found.stream, volumes.join(", "));
    for file in found.files.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "  {file}");
    }
    let left = found.files.len().saturating_sub(SHOWN_MAX);
    if left > 0 {
        let _ = writeln!(text, "  and {left} more; --json has them");
    }
    if found.more || unlisted {
        let _ = writeln!(text, "  and others, which are not listed");
    }
    text
}
