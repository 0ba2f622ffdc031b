//! The rules. Each looks at the facts and adds findings; none knows another.

mod cache;
mod cpu;
mod filesystem;
mod kernel;
mod limits;
mod memory;
mod network;
mod numa;
mod queue;
mod writeback;

use crate::facts::{Facts, Question};
use crate::finding::Finding;
use crate::report::{Report, Target};
use crate::tree::Tree;

/// A rule.
type Rule = fn(&Facts<'_>, &mut Vec<Finding>);

/// In the order in which they are shown among equals.
const RULES: [Rule; 10] = [
    kernel::look,
    filesystem::look,
    queue::look,
    cache::look,
    writeback::look,
    memory::look,
    limits::look,
    cpu::look,
    numa::look,
    network::look,
];

/// File for udev's rules that keep a queue's settings.
const UDEV: &str = "/etc/udev/rules.d/60-gdd.rules";
/// File for sysctls.
const SYSCTL: &str = "/etc/sysctl.d/60-gdd.conf";
/// File for what systemd-tmpfiles writes at boot.
const TMPFILES: &str = "/etc/tmpfiles.d/gdd.conf";

/// Look at everything, and say what would be better.
#[must_use]
pub fn advise(tree: &Tree, question: Question) -> Report {
    let facts = Facts::gather(tree, question);
    let mut findings = Vec::new();
    for rule in RULES {
        rule(&facts, &mut findings);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Report { target: Target::of(&facts), findings, unseen: tree.all_unseen() }
}

/// A sysctl's line, and the one that keeps it.
fn sysctl(finding: Finding, name: &str, value: &str) -> Finding {
    let line = format!("sysctl -w {}", crate::shell::word(&format!("{name}={value}")));
    finding.apply(line).keep(crate::shell::append(SYSCTL, &format!("{name} = {value}")))
}

/// Bytes for people, in powers of two as memory is sold.
fn show(bytes: u64) -> String {
    match bytes {
        u64::MAX => "unlimited".to_owned(),
        bytes if bytes >= 10 << 30 => format!("{} GiB", bytes >> 30),
        bytes if bytes >= 10 << 20 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 10 << 10 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}
