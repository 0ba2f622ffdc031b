//! `gdd key`: the keys of clients in bothsides mode.

use gdd_wire::{Key, KeyError};
use serde_json::json;

use crate::args::KeyAction;
use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// Make or check a key file. The key itself is never shown.
///
/// # Errors
/// The file is there already, cannot be read or written, or is no key file as the daemon takes it.
pub fn run(action: &KeyAction) -> Result<Outcome> {
    let failed = |error: KeyError| Failure::Failed(error.to_string());
    let (file, done, key) = match action {
        KeyAction::New { file } => (file, "made", Key::create(file).map_err(failed)?),
        KeyAction::Check { file } => (file, "good", Key::load(file).map_err(failed)?),
    };
    let (path, id) = (file.display(), key.id());
    let text = format!("{done}: key {id} in {path}\n");
    Outcome::new(&json!({ "id": id.to_string(), "file": file.to_string_lossy(), "state": done }), text)
}
