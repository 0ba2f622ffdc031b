//! Writeback of the page cache, and swap: what Bacula's volumes and other buffered files do to a store beside them.

use crate::facts::Facts;
use crate::facts::disks::Disk;
use crate::finding::{Finding, Severity, Sureness, Trial, Workload, Write};

use super::{show, sysctl};

/// More than this is half a minute of work for a disk whose heads move.
const DIRTY_MAX: u64 = 2 << 30;
/// What is wanted instead.
const DIRTY: u64 = 1 << 30;
const BACKGROUND: u64 = 256 << 20;
/// Above this the kernel swaps out caches of programs for the sake of files that are read once.
const SWAPPINESS_MAX: u64 = 30;

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    findings.extend(dirty(facts));
    findings.extend(swappiness(facts));
}

fn dirty(facts: &Facts<'_>) -> Option<Finding> {
    let number = |name: &str| facts.tree.number(&format!("/proc/sys/vm/{name}"));
    let (bytes, ratio) = (number("dirty_bytes").unwrap_or(0), number("dirty_ratio").unwrap_or(0));
    let (allowed, found) = match (bytes, ratio) {
        (0, 0) => return None,
        (0, ratio) => {
            let allowed = facts.machine.memory?.saturating_mul(ratio) / 100;
            (allowed, format!("vm.dirty_ratio = {ratio}, up to {}", show(allowed)))
        }
        (bytes, _) => (bytes, format!("vm.dirty_bytes = {bytes}, {}", show(bytes))),
    };
    let seeks = facts.stack.disks.iter().any(Disk::seeks);
    let severity = if seeks && allowed > DIRTY_MAX { Severity::Hint } else { Severity::Fine };
    let why = if seeks {
        "so much may wait in the page cache before a program that writes files is held up; then all of it goes to the \
         disk at once, beside gdd's syncs. gdd's containers are written past it"
    } else {
        "less makes the kernel write sooner, beside gdd's syncs, which were slower for it where we measured; gdd's \
         containers are written past the page cache"
    };
    let finding = Finding::new("vm.dirty", "vm", severity, Sureness::RuleOfThumb);
    let finding = if allowed > DIRTY { finding.try_out(trial(facts, bytes, ratio)) } else { finding };
    if severity == Severity::Fine {
        return Some(finding.say(&*found, &*found, why));
    }
    let finding = finding.say(found, format!("vm.dirty_bytes = {DIRTY}, {}", show(DIRTY)), why);
    let finding = sysctl(finding, "vm.dirty_bytes", &DIRTY.to_string());
    Some(sysctl(finding, "vm.dirty_background_bytes", &BACKGROUND.to_string()))
}

/// Between the present limits and the wanted ones.
fn trial(facts: &Facts<'_>, bytes: u64, ratio: u64) -> Trial {
    let number = |name: &str| facts.tree.number(&format!("/proc/sys/vm/{name}"));
    let back_bytes = number("dirty_background_bytes").unwrap_or(0);
    let back_ratio = number("dirty_background_ratio").unwrap_or(0);
    let write =
        |name: &str, value: u64| Write { path: format!("/proc/sys/vm/{name}"), value: value.to_string() };
    // Setting one of a pair clears the other, and 0 is refused.
    let pair = |name: &str, bytes: u64, ratio: u64| match bytes {
        0 => write(&format!("{name}_ratio"), ratio),
        bytes => write(&format!("{name}_bytes"), bytes),
    };
    let present = vec![pair("dirty", bytes, ratio), pair("dirty_background", back_bytes, back_ratio)];
    let other = vec![write("dirty_bytes", DIRTY), write("dirty_background_bytes", BACKGROUND)];
    Trial { present, other, workloads: vec![Workload::SyncBeside] }
}

fn swappiness(facts: &Facts<'_>) -> Option<Finding> {
    let found = facts.tree.number("/proc/sys/vm/swappiness")?;
    let swaps = facts.tree.text("/proc/swaps")?.lines().count() > 1;
    let high = swaps && found > SWAPPINESS_MAX;
    let severity = if high { Severity::Hint } else { Severity::Fine };
    let finding = Finding::new("vm.swappiness", "vm", severity, Sureness::RuleOfThumb);
    let found = found.to_string();
    Some(match (high, swaps) {
        (true, _) => {
            let why = "a backup reads every file once; gdd's caches should not be swapped out for that";
            sysctl(finding.say(found, "10", why), "vm.swappiness", "10")
        }
        (false, true) => finding.say(&*found, &*found, "low enough that caches of programs stay"),
        (false, false) => finding.say(&*found, &*found, "there is no swap, so it decides little"),
    })
}
