//! Processors: clock, sleep, and who takes the disk's interrupts.

use std::collections::BTreeSet;

use crate::facts::Facts;
use crate::facts::disks::{Disk, Kind};
use crate::finding::{Finding, Severity, Sureness};
use crate::shell;

use super::TMPFILES;

const CPUS: &str = "/sys/devices/system/cpu";
/// A sleep from which waking takes longer than this is longer than what a flash disk needs for a read.
const WAKE_US_MAX: u64 = 100;
/// Interrupts, below which nothing can be said about who takes them.
const INTERRUPTS_MIN: u64 = 10_000;

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    findings.extend(governor(facts));
    findings.extend(sleep(facts));
    for disk in &facts.stack.disks {
        findings.extend(interrupts(facts, disk));
    }
}

fn governor(facts: &Facts<'_>) -> Option<Finding> {
    let numbers = |name: &str| name.strip_prefix("cpu").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let names = facts.tree.names_like(CPUS, numbers).into_iter();
    let read = |name: String| facts.tree.text(&format!("{CPUS}/{name}/cpufreq/scaling_governor"));
    let governors: BTreeSet<String> = names.filter_map(read).collect();
    let first = governors.iter().find(|governor| *governor != "performance").or(governors.first())?;
    let found = governors.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let driver = facts.tree.text(&format!("{CPUS}/cpu0/cpufreq/scaling_driver")).unwrap_or_default();
    // These two drivers choose the clock themselves, and call that powersave.
    let dynamic = ["intel_pstate", "amd-pstate-epp"].contains(&&*driver);
    let (severity, why) = match &**first {
        "performance" => (Severity::Fine, "cores run as fast as they may"),
        "powersave" if !dynamic => {
            (Severity::Advice, "cores stay at their lowest clock; cutting and hashing are clock")
        }
        _ => (
            Severity::Hint,
            "cores must first get warm: single chunks and short jobs wait for the clock to rise",
        ),
    };
    let finding =
        Finding::new("cpu.governor", "cpu", severity, Sureness::RuleOfThumb).say(found, "performance", why);
    if severity == Severity::Fine {
        return Some(finding);
    }
    let files = format!("{CPUS}/cpu*/cpufreq/scaling_governor");
    let line = format!("for file in {files}; do echo performance > \"$file\"; done");
    let keep = shell::append(TMPFILES, &format!("w {files} - - - - performance"));
    Some(finding.apply(line).keep(keep))
}

fn sleep(facts: &Facts<'_>) -> Option<Finding> {
    let folder = format!("{CPUS}/cpu0/cpuidle");
    let states = facts.tree.names_like(&folder, |name| name.starts_with("state"));
    let mut deepest = (0, String::new());
    for state in states {
        let read = |file: &str| facts.tree.text(&format!("{folder}/{state}/{file}"));
        let latency = read("latency").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if read("disable").is_none_or(|off| off == "0") && latency >= deepest.0 {
            deepest = (latency, read("name").unwrap_or(state));
        }
    }
    if deepest.1.is_empty() {
        return None;
    }
    let quick = facts.stack.disks.iter().any(|disk| disk.kind == Kind::Nvme);
    let deep = deepest.0 > WAKE_US_MAX && quick && !facts.machine.is_virtual;
    let severity = if deep { Severity::Hint } else { Severity::Fine };
    let found = format!("deepest sleep {}, {} us to wake", deepest.1, deepest.0);
    let finding = Finding::new("cpu.sleep", "cpu", severity, Sureness::RuleOfThumb);
    Some(if deep {
        let why = "a core that waits for one chunk from this disk may sleep longer than the disk takes; whole streams \
                   do not notice";
        let line = format!("cpupower idle-set -D {WAKE_US_MAX}");
        finding
            .say(found, format!("none above {WAKE_US_MAX} us, if single chunks matter more than power"), why)
            .apply(line)
            .keep("it ends with a restart: put the line into a unit of your own")
    } else {
        finding.say(&*found, &*found, "short, or short beside what this disk takes")
    })
}

/// Counts of one row of /proc/interrupts, one a processor.
fn counts(row: &str, cpus: usize) -> Vec<u64> {
    let Some((_, rest)) = row.split_once(':') else { return Vec::new() };
    rest.split_whitespace().take(cpus).map_while(|word| word.parse().ok()).collect()
}

/// How the disk's queues are called there.
fn is_row_of(row: &str, disk: &Disk, device: Option<&str>) -> bool {
    row.split_whitespace().any(|word| match disk.kind {
        // nvme0n1 belongs to nvme0, whose queue 0 is for commands about itself.
        Kind::Nvme => {
            let controller = disk.name.rsplit_once('n').map_or(&*disk.name, |(controller, _)| controller);
            word.strip_prefix(controller).is_some_and(|rest| rest.starts_with('q') && rest != "q0")
        }
        Kind::Virtual => device.is_some_and(|device| {
            word.strip_prefix(device)
                .is_some_and(|rest| rest.starts_with("-req") || rest.starts_with("-request"))
        }),
        _ => false,
    })
}

fn interrupts(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let table = facts.tree.text("/proc/interrupts")?;
    let cpus = table.lines().next()?.split_whitespace().filter(|word| word.starts_with("CPU")).count();
    let uevent = facts.tree.text(&format!("/sys/block/{}/device/uevent", disk.name)).unwrap_or_default();
    let device = virtio_device(facts, disk, &uevent);
    let rows: Vec<Vec<u64>> = table
        .lines()
        .filter(|row| is_row_of(row, disk, device.as_deref()))
        .map(|row| counts(row, cpus))
        .collect();
    if rows.is_empty() || cpus == 0 {
        return None;
    }
    let per_cpu =
        |cpu: usize| rows.iter().filter_map(|row| row.get(cpu)).fold(0_u64, |a, b| a.saturating_add(*b));
    let sums: Vec<u64> = (0..cpus).map(per_cpu).collect();
    let total = sums.iter().fold(0_u64, |a, b| a.saturating_add(*b));
    let (busiest, most) = sums.iter().enumerate().max_by_key(|(_, sum)| **sum)?;
    let found =
        format!("queues: {}; interrupts: {total}, of which processor {busiest} took {most}", rows.len());
    let finding = |severity| Finding::new("cpu.interrupts", &disk.name, severity, Sureness::RuleOfThumb);
    let few = total < INTERRUPTS_MIN;
    Some(if rows.len() == 1 && cpus >= 4 {
        let why = "one processor takes all of the disk's interrupts, and cannot share them";
        finding(Severity::Hint).say(found, "a queue for each processor", why).keep(
            "the hypervisor decides: QEMU's virtio-blk has num-queues=N, libvirt's driver element queues=\"N\"",
        )
    } else if rows.len() > 1 && !few && *most > total / 10 * 9 {
        let why = "the disk has several queues, and one processor takes the interrupts of all";
        let finding = finding(Severity::Hint).say(found, "spread over the processors", why);
        finding.apply("systemctl enable --now irqbalance".to_owned())
    } else {
        finding(Severity::Fine).say(&*found, &*found, "spread as far as the disk's queues allow")
    })
}

/// The name of a virtio disk's device, such as `virtio1`: the one whose folder has the disk's.
fn virtio_device(facts: &Facts<'_>, disk: &Disk, uevent: &str) -> Option<String> {
    if !uevent.contains("virtio") && disk.kind != Kind::Virtual {
        return None;
    }
    let folder = "/sys/bus/virtio/devices";
    facts.tree.names(folder).into_iter().find(|name| {
        !facts.tree.names_like(&format!("{folder}/{name}/block"), |block| block == disk.name).is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_belong_to_disks() {
        let disk = |name: &str, kind| Disk { name: name.to_owned(), kind, rotational: None };
        let row = " 36:          0      30682 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0";
        assert_eq!(counts(row, 2), [0, 30_682]);
        assert_eq!((counts("x", 2), counts("1: a 2", 2)), (vec![], vec![]));
        assert!(is_row_of(row, &disk("vda", Kind::Virtual), Some("virtio1")));
        assert!(!is_row_of(row, &disk("vda", Kind::Virtual), Some("virtio11")));
        assert!(!is_row_of(row, &disk("vda", Kind::Virtual), None));
        let nvme = disk("nvme1n1", Kind::Nvme);
        assert!(is_row_of("9: 1 2 PCI 1-edge nvme1q3", &nvme, None));
        assert!(!is_row_of("9: 1 2 PCI 1-edge nvme1q0", &nvme, None));
        assert!(!is_row_of("9: 1 2 PCI 1-edge nvme11q3", &nvme, None));
    }
}
