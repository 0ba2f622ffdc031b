//! A report as a POSIX shell script: prose in comments, and lines that can be run as they stand.
//!
//! A reader sees what and why beside each line, takes out what is not wanted, and runs the rest. Nothing that a file
//! said is a command: values and names are quoted, and in comments no character ends the line.

use std::fmt::Write;

use crate::finding::{Finding, Severity};
use crate::report::Report;
use crate::shell::clean;

/// Columns of the prose.
const WIDTH: usize = 108;

/// What a measurement gave for a finding.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Lines for people.
    pub lines: Vec<String>,
    /// Whether its commands are advised; else they are comments.
    pub is_advised: bool,
}

/// The script; `tried` knows what was measured.
#[must_use]
pub fn render(report: &Report, tried: &dyn Fn(&Finding) -> Option<Tried>) -> String {
    let mut out = String::from("#!/bin/sh\n");
    head(&mut out, report);
    let wanting = report.findings.iter().filter(|finding| finding.severity != Severity::Fine);
    for finding in wanting {
        show(&mut out, finding, tried(finding));
    }
    let fine = report.findings.iter().filter(|finding| finding.severity == Severity::Fine);
    let (measured, fine): (Vec<&Finding>, Vec<&Finding>) = fine.partition(|finding| tried(finding).is_some());
    for finding in measured {
        show(&mut out, finding, tried(finding));
    }
    if !fine.is_empty() {
        out.push_str("\n# Fine as it is:\n");
        for finding in fine {
            comment(&mut out, "#   ", &format!("{} {}: {}", finding.id, finding.subject, finding.found));
        }
    }
    if !report.unseen.is_empty() {
        out.push_str("\n# Could not be looked at:\n");
        for unseen in &report.unseen {
            comment(&mut out, "#   ", &format!("{}: {}", unseen.path, unseen.why));
        }
    }
    out
}

fn head(out: &mut String, report: &Report) {
    let target = &report.target;
    let file_system = target.file_system.as_deref().unwrap_or("an unknown file system");
    let devices = match target.devices.as_slice() {
        [] => "on no device that can be seen".to_owned(),
        devices => format!("on {}", devices.join(", ")),
    };
    let place = format!(
        "gdd tune, for the store {}: {file_system}, {devices}, Linux {}",
        target.store, target.kernel
    );
    comment(out, "# ", &place);
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let counts = format!(
        "{} dangers, {} pieces of advice, {} hints, {} settings are fine. Nothing was changed.",
        count(Severity::Danger),
        count(Severity::Advice),
        count(Severity::Hint),
        count(Severity::Fine)
    );
    comment(out, "# ", &counts);
    comment(
        out,
        "# ",
        "This is a script: read it, remove what you do not want, and run it as root. What it sets is gone after a \
         restart, unless you keep it.",
    );
}

fn show(out: &mut String, finding: &Finding, tried: Option<Tried>) {
    let _ = writeln!(out, "\n# {}: {} {}", finding.severity.name(), finding.id, clean(&finding.subject));
    comment(out, "#   found:    ", &finding.found);
    if finding.severity != Severity::Fine {
        comment(out, "#   wanted:   ", &finding.wanted);
    }
    comment(out, "#   why:      ", &finding.why);
    comment(out, "#   how sure: ", finding.sure.name());
    let Tried { lines, is_advised } = tried.unwrap_or(Tried { lines: Vec::new(), is_advised: true });
    for line in &lines {
        comment(out, "#   here:     ", line);
    }
    for line in &finding.keep {
        let _ = writeln!(out, "#   to keep:  {}", clean(line));
    }
    for line in &finding.apply {
        let _ = writeln!(out, "{}{line}", if is_advised { "" } else { "# " });
    }
}

/// Prose in lines that are not too long, the first one behind `lead`.
fn comment(out: &mut String, lead: &str, text: &str) {
    let indent = format!("#{}", " ".repeat(lead.len() - 1));
    let mut line = lead.to_owned();
    let mut is_empty = true;
    for word in clean(text).split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}
