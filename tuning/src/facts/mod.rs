//! What the rules look at: where the store lies, on which disks, in which machine, under which limits.

pub mod disks;
pub mod limits;
pub mod machine;
pub mod mounts;

use std::path::PathBuf;

use crate::tree::Tree;
use disks::Stack;
use machine::Machine;
use mounts::Mount;

/// What the advisor is asked about; the caller has read gdd's own configuration.
#[derive(Clone, Debug)]
pub struct Question {
    /// The store's directory, absolute and without links. It need not exist.
    pub store: PathBuf,
    /// `memory` of gdd.toml, in bytes.
    pub memory: u64,
    /// `workers` of gdd.toml; `None`: one per core.
    pub workers: Option<usize>,
}

/// All of it.
#[derive(Debug)]
pub struct Facts<'tree> {
    /// Where single settings are read.
    pub tree: &'tree Tree,
    /// What was asked.
    pub question: Question,
    /// What the store's directory is mounted from, if that can be seen.
    pub mount: Option<Mount>,
    /// The disks below it.
    pub stack: Stack,
    /// Kernel, memory, processors.
    pub machine: Machine,
    /// The process whose limits count: `/proc/PID` of a daemon that runs, else ours.
    pub process: String,
    /// Whether a daemon runs.
    pub daemon_runs: bool,
}

impl<'tree> Facts<'tree> {
    /// Look around.
    #[must_use]
    pub fn gather(tree: &'tree Tree, question: Question) -> Self {
        let mount = mounts::of(tree, &question.store);
        let stack = mount.as_ref().map_or_else(Stack::default, |mount| disks::below(tree, mount));
        let daemon = limits::daemon(tree);
        let daemon_runs = daemon.is_some();
        let process = daemon.unwrap_or_else(|| "/proc/self".to_owned());
        Self { tree, question, mount, stack, machine: Machine::of(tree), process, daemon_runs }
    }

    /// Engine threads.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.question.workers.unwrap_or(self.machine.cpus).max(1)
    }
}
