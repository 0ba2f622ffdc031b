//! What the advisor found, as one object.

use serde::Serialize;

use crate::facts::Facts;
use crate::finding::{Finding, Severity};
use crate::tree::Unseen;

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The store's directory.
    pub store: String,
    /// The file system, and where it is mounted; `None` where that cannot be seen.
    pub file_system: Option<String>,
    /// Device and disks below it.
    pub devices: Vec<String>,
    /// Release of the kernel.
    pub kernel: String,
    /// Processors.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Whether a daemon runs whose limits were looked at.
    pub daemon_runs: bool,
    /// Where the process is that was looked at, such as `/proc/self`.
    pub process: String,
}

impl Target {
    /// Of the facts.
    #[must_use]
    pub(crate) fn of(facts: &Facts<'_>) -> Self {
        let mount = facts.mount.as_ref();
        let disks = facts.stack.disks.iter().map(|disk| disk.name.clone());
        Self {
            store: facts.question.store.to_string_lossy().into_owned(),
            file_system: mount.map(|mount| format!("{} at {}", mount.file_system, mount.point.display())),
            devices: facts.stack.layers.iter().cloned().chain(disks).collect(),
            kernel: facts.machine.release.clone(),
            cpus: facts.machine.cpus,
            memory: facts.machine.memory,
            daemon_runs: facts.daemon_runs,
            process: facts.process.clone(),
        }
    }
}

/// All of it. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was looked at.
    pub target: Target,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
}

impl Report {
    /// The worst of all findings.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Fine)
    }

    /// Findings of a rule.
    pub fn of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(move |finding| finding.id == id)
    }
}
