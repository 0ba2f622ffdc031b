//! `gdd status`: how the daemon is, for people, for programs, for monitoring, and for plotters.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gdd_engine::observe::{decode, write_hgrm};
use serde_json::{Value, json};

use crate::args::{Common, Status};
use crate::client::Client;
use crate::control::Request;
use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// Ask the daemon.
///
/// # Errors
/// None answers (4), or a file cannot be written.
pub fn run(arguments: &Status, common: &Common) -> Result<Outcome> {
    let daemon = Client::connect(&common.socket())?;
    if arguments.prometheus {
        let outcome = daemon.ask(Request::Metrics)?;
        return match &arguments.output {
            Some(path) => replace(path, &outcome.text),
            None => Ok(outcome),
        };
    }
    let outcome = daemon.ask(Request::Status { histograms: arguments.hgrm.is_some() })?;
    match &arguments.hgrm {
        Some(folder) => curves(folder, outcome),
        None => Ok(outcome),
    }
}

/// Put `text` in the place of what is at `path`, whole: its reader may come at any time.
fn replace(path: &Path, text: &str) -> Result<Outcome> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| Failure::file("write", path)(error);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let everybody = std::fs::Permissions::from_mode(0o644); // The collector runs as a user of its own.
    file.as_file().set_permissions(everybody).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Outcome::new(&json!({ "written": path, "bytes": text.len() }), String::new())
}

/// Write a file for each stage in which something was recorded.
fn curves(folder: &Path, mut outcome: Outcome) -> Result<Outcome> {
    std::fs::create_dir_all(folder).map_err(Failure::file("make", folder))?;
    let mut written = Vec::new();
    for stage in outcome.json["stages_ns"].as_array().into_iter().flatten() {
        let (Some(name), Some(whole)) = (stage["stage"].as_str(), stage["hdr"].as_str()) else { continue };
        let strange = |why| Failure::Failed(format!("the daemon's histogram of {name}: {why}"));
        let histogram = decode(whole).map_err(strange)?;
        if histogram.is_empty() || name.contains('/') {
            continue;
        }
        let path = folder.join(format!("{name}.hgrm"));
        let mut file = BufWriter::new(File::create(&path).map_err(Failure::file("create", &path))?);
        write_hgrm(&histogram, &mut file)
            .and_then(|()| file.flush())
            .map_err(Failure::file("write", &path))?;
        written.push(path);
    }
    outcome.text = match written.len() {
        0 => "nothing was recorded yet, so nothing is written\n".to_owned(),
        _ => written.iter().map(|path| format!("{}\n", path.display())).collect(),
    };
    if let Value::Object(fields) = &mut outcome.json {
        fields.insert("hgrm".to_owned(), json!(written));
    }
    Ok(outcome)
}
