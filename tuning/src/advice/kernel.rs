//! Kernels: those that damage files, those that are too old, and those that are slow at what gdd does.

use gdd_uring::kernel::{Verdict, verdict};

use crate::facts::Facts;
use crate::finding::{Finding, Severity, Sureness};

/// Direct writes to ext4 went to a kernel thread each time before this one.
const EXT4_INLINE: [u32; 3] = [6, 12, 0];

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let machine = &facts.machine;
    if machine.version.is_none() {
        facts.tree.unseen("/proc/sys/kernel/osrelease", "no version in it: the kernel was not judged");
        return;
    }
    let ext4 = facts.mount.as_ref().is_some_and(|mount| mount.file_system == "ext4");
    let [major, minor, patch] = machine.version.unwrap_or_default();
    let found = format!("{} (version {major}.{minor}.{patch})", machine.release);
    let finding = |severity, wanted: &str, why: &str| {
        Finding::new("kernel.version", "kernel", severity, Sureness::Documented).say(&*found, wanted, why)
    };
    let slow = machine.version < Some(EXT4_INLINE) && ext4;
    findings.push(match verdict(&machine.release, &machine.build, ext4) {
        Verdict::Broken(why) => finding(Severity::Danger, "6.1.66 or newer; gdd refuses this one", &why),
        Verdict::Old(why) => finding(Severity::Advice, "6.12 or newer", &why),
        Verdict::Good if slow => finding(
            Severity::Hint,
            "6.12 or newer",
            "before it, each direct write to ext4 is handed to a kernel thread, which costs processor time",
        ),
        Verdict::Good => finding(Severity::Fine, &found, "new enough for direct I/O through io_uring"),
    });
}
