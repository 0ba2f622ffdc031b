//! `gdd tune`: the advisor's report as a script or an object, and on request what its advice gains on this machine.
//!
//! The advice itself is gdd-tuning's, which only reads. What changes a setting is here: [`settings`] writes down what
//! was found before it changes anything, and puts it back however the run ends.

mod capture;
mod measure;
mod settings;
mod workload;

use std::path::{Path, PathBuf};

use gdd_tuning::facts::Question;
use gdd_tuning::finding::{Finding, Severity};
use gdd_tuning::report::Report;
use gdd_tuning::tree::Tree;
use gdd_tuning::{advise, script};
use serde_json::json;

use crate::args::{Common, Tune};
use crate::config::{CONFIG_DEFAULT, Config};
use crate::failure::{Failure, Result};
use crate::output::Outcome;

/// Exit code when something should be changed.
const CODE_ADVICE: u8 = 10;
/// Exit code when what is stored is in danger.
const CODE_DANGER: u8 = 11;

/// Look, or measure, or put back.
///
/// # Errors
/// A measurement is not possible or failed; a rule is named that does not exist.
pub fn run(arguments: &Tune, common: &Common) -> Result<Outcome> {
    if !arguments.root.is_dir() {
        return Err(Failure::Usage(format!("--root {}: no such directory", arguments.root.display())));
    }
    if arguments.restore {
        return restored(arguments);
    }
    let trouble = settings::trouble(&arguments.root);
    if let Some(trouble) = trouble.clone().filter(|_| arguments.measure) {
        return Err(Failure::Busy(trouble)); // What looks like found would be what that one changed.
    }
    let tree = Tree::at(&arguments.root);
    let config = configuration(arguments, common, &tree);
    let question = Question {
        store: if tree.is_live() { real(&config.store) } else { config.store.clone() },
        memory: config.memory.0,
        workers: config.workers,
    };
    let mut report = advise(&tree, question);
    if let Some(folder) = &arguments.capture {
        return capture::write(&tree, &report, folder);
    }
    select(&mut report, &arguments.only)?;
    let measured =
        if arguments.measure { measure::all(arguments, &config.store, &report)? } else { Vec::new() };
    measure::apply(&mut report, &measured);
    let code = if arguments.measure { measure::code(&report, &measured) } else { code(report.severity()) };
    let about = |finding: &Finding| {
        let found = measured.iter().find(|one| one.is_of(finding))?;
        Some(script::Tried { lines: found.lines(), is_advised: found.has_gained() })
    };
    let object = json!({
        "target": report.target, "findings": report.findings, "unseen": report.unseen, "measured": measured,
        "severity": report.severity(), "code": code,
    });
    let mut outcome = Outcome::new(&object, script::render(&report, &about))?;
    outcome.code = code;
    Ok(outcome.with_notes(trouble.into_iter().collect()))
}

/// The exit code for a severity.
fn code(severity: Severity) -> u8 {
    match severity {
        Severity::Fine | Severity::Hint => 0,
        Severity::Advice => CODE_ADVICE,
        Severity::Danger => CODE_DANGER,
    }
}

/// gdd's own configuration, or its defaults with a note in the tree: advice does not depend on it much.
fn configuration(arguments: &Tune, common: &Common, tree: &Tree) -> Config {
    let path = match &arguments.config {
        Some(path) => path.clone(),
        None => arguments.root.join(CONFIG_DEFAULT.trim_start_matches('/')),
    };
    let mut config = Config::default();
    match Config::read(&path) {
        Ok(Some(read)) => {
            let _ = tree.text(CONFIG_DEFAULT); // So that a captured tree has it.
            config = read;
        }
        Ok(None) => {}
        Err(failure) => {
            let why = format!("{}; gdd's defaults were taken", failure.line());
            tree.unseen(CONFIG_DEFAULT, &why);
        }
    }
    common.override_in(&mut config);
    config
}

/// The path without links, as far as it exists: mounts are found by it.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut known: &Path = &path;
    loop {
        if let Ok(found) = known.canonicalize() {
            return path.strip_prefix(known).map_or_else(|_| found.clone(), |rest| found.join(rest));
        }
        match known.parent() {
            Some(parent) => known = parent,
            None => return path,
        }
    }
}

/// Leave only the rules that were named.
fn select(report: &mut Report, only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|id| report.of(id).next().is_none()) {
        let mut known: Vec<&str> = report.findings.iter().map(|finding| finding.id).collect();
        known.sort_unstable();
        known.dedup();
        let known = known.join(", ");
        return Err(Failure::Usage(format!(
            "--only {unknown}: nothing was found by that rule; here are {known}"
        )));
    }
    if !only.is_empty() {
        report.findings.retain(|finding| only.iter().any(|id| id == finding.id));
    }
    Ok(())
}

/// What a killed measurement left.
fn restored(arguments: &Tune) -> Result<Outcome> {
    let put_back = settings::restore(&arguments.root)?;
    let text = if put_back.is_empty() {
        "nothing to put back: no measurement was killed\n".to_owned()
    } else {
        put_back.iter().map(|write| format!("{} is {} again\n", write.path, write.value)).collect()
    };
    Outcome::new(&json!({ "restored": put_back }), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_have_codes_of_their_own() {
        let all = [Severity::Fine, Severity::Hint, Severity::Advice, Severity::Danger].map(code);
        assert_eq!(all, [0, 0, 10, 11], "2 to 5 mean something else in every command");
    }

    #[test]
    fn a_store_that_does_not_exist_has_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let known = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&known, folder.path().join("link")).unwrap();
        assert_eq!(real(&folder.path().join("link/a/b")), known.join("a/b"));
        assert_eq!(real(Path::new("/")), Path::new("/"));
    }
}
