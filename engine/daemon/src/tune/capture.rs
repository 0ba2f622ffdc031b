//! A captured tree: every file that the advisor read, for advice about a machine elsewhere and for tests.

use std::fs;
use std::path::Path;

use gdd_tuning::report::Report;
use gdd_tuning::tree::Tree;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// Write what was read to `folder`.
///
/// # Errors
/// It exists, or cannot be written.
pub(super) fn write(tree: &Tree, report: &Report, folder: &Path) -> Result<Outcome> {
    fs::create_dir(folder).map_err(Failure::file("make", folder))?;
    let mut files = 0;
    let mine = format!("{}/", report.target.process);
    for (path, bytes) in
        tree.looked_at().into_iter().filter(|(path, _)| !is_process(path) || path.starts_with(&mine))
    {
        let place = folder.join(path.trim_start_matches('/'));
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(Failure::file("make", parent))?;
        }
        fs::write(&place, bytes).map_err(Failure::file("write", &place))?;
        files += 1;
    }
    let text = format!(
        "{files} files are in {}; `gdd tune --root {}` looks at them. They name mounts and devices: read them before \
         you pass them on\n",
        folder.display(),
        folder.display()
    );
    Outcome::new(&json!({ "captured": folder, "files": files }), text)
}

/// Whether a path belongs to a process with a number.
fn is_process(path: &str) -> bool {
    path.strip_prefix("/proc/").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_others_stay_out() {
        assert!(is_process("/proc/1/comm") && !is_process("/proc/self/limits") && !is_process("/sys/1"));
    }
}
