//! The queue of each disk: scheduler, what the disk says of itself, and how requests are cut and merged.

use crate::facts::Facts;
use crate::facts::disks::{Disk, Kind};
use crate::finding::{Finding, Severity, Sureness, Workload};
use crate::shell;

/// What an engine thread moves in one operation.
const TRANSFER_KB: u64 = 1024;
/// The same on a virtual disk: measured, see docs/tuning.md.
const VIRTUAL_KB: u64 = 512;
/// A queue shorter than this holds gdd's operations back: one thread keeps up to 32 in flight.
const REQUESTS_MIN: u64 = 64;

/// All that a queue's settings can change about direct transfers.
const DIRECT: [Workload; 3] = [Workload::Write, Workload::Read, Workload::RandomRead];

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for disk in facts.stack.disks.iter().filter(|disk| disk.kind != Kind::Other) {
        findings.extend(rotational(facts, disk));
        findings.extend(scheduler(facts, disk));
        findings.extend(requests(facts, disk));
        findings.extend(transfer(facts, disk));
        findings.extend(merges(facts, disk));
        findings.extend(completion(facts, disk));
    }
}

/// A change of a queue's file, and the udev rule that keeps it.
pub(super) fn setting(finding: Finding, disk: &str, file: &str, value: &str) -> Finding {
    let path = format!("/sys/block/{disk}/queue/{file}");
    let rule = format!(
        "ACTION==\"add|change\", SUBSYSTEM==\"block\", KERNEL==\"{disk}\", ATTR{{queue/{file}}}=\"{value}\""
    );
    finding.apply(shell::write(&path, value)).keep(shell::append(super::UDEV, &rule))
}

fn rotational(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let path = disk.queue("rotational");
    let said = facts.tree.text(&path)?;
    let says = if said == "1" { "says that it rotates" } else { "says that it does not rotate" };
    if disk.kind != Kind::Virtual || said != "1" {
        let finding = Finding::new("disk.rotational", &disk.name, Severity::Fine, Sureness::Documented);
        return Some(finding.say(says, says, "taken as it is"));
    }
    let finding = Finding::new("disk.rotational", &disk.name, Severity::Hint, Sureness::Documented).say(
        says,
        "0, if the host keeps it on flash",
        "a virtual disk cannot know, and virtio's says that it rotates; the kernel then places files, throttles \
         writeback and balances mirrors as for moving heads. ext4 looks when it is mounted. gdd itself does not look",
    );
    let finding = setting(finding, &disk.name, "rotational", "0");
    Some(finding.try_one(&path, "1", "0", &DIRECT))
}

/// The schedulers that a queue has, and the one in use. Kernels before 5.0 had other names for the same.
fn schedulers(text: &str) -> Option<(String, Vec<String>)> {
    let all: Vec<&str> = text.split_whitespace().collect();
    let bare = |name: &&str| name.trim_matches(['[', ']']).to_owned();
    let used = match all.iter().find(|name| name.starts_with('[')) {
        Some(used) => bare(used),
        None if all.len() == 1 => bare(&all[0]), // `none` without any other to choose.
        None => return None,
    };
    Some((used, all.iter().map(bare).collect()))
}

fn scheduler(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let path = disk.queue("scheduler");
    let (used, known) = schedulers(&facts.tree.text(&path)?)?;
    let has = |name: &str| known.iter().any(|one| one == name);
    let (none, deadline) = if has("noop") { ("noop", "deadline") } else { ("none", "mq-deadline") };
    let (wanted, other, severity, why) = match disk.kind {
        _ if disk.seeks() => (
            deadline,
            none,
            if used == none { Severity::Advice } else { Severity::Hint },
            "it keeps reads from waiting behind long writes, and sorts what heads must travel for; bfq does the same \
             for desktops and takes more processor time",
        ),
        Kind::Scsi => (
            deadline,
            none,
            if ["bfq", "cfq"].contains(&&*used) { Severity::Advice } else { Severity::Fine },
            "bfq and cfq spend processor time on fairness that a backup server does not need",
        ),
        Kind::Virtual => (
            none,
            deadline,
            Severity::Hint,
            "the host sorts requests again; on our virtio disk it gained nothing, so try it with --measure first",
        ),
        _ => (
            none,
            deadline,
            Severity::Advice,
            "the device sorts requests itself; sorting them here first takes a lock and time for each",
        ),
    };
    let suits = used == wanted || severity == Severity::Fine;
    let severity = if suits { Severity::Fine } else { severity };
    let finding = Finding::new("disk.scheduler", &disk.name, severity, Sureness::RuleOfThumb).say(
        &*used,
        if suits { &*used } else { wanted },
        why,
    );
    let change = if suits && used == wanted { other } else { wanted };
    let finding = if has(change) { finding.try_one(&path, &used, change, &DIRECT) } else { finding };
    Some(match (suits, has(wanted)) {
        (true, _) => finding,
        (false, true) => setting(finding, &disk.name, "scheduler", wanted),
        (false, false) => finding.keep(format!("this kernel has no {wanted} here; see modprobe {wanted}")),
    })
}

fn requests(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let found = facts.tree.number(&disk.queue("nr_requests"))?;
    let (used, _) = schedulers(&facts.tree.text(&disk.queue("scheduler"))?)?;
    let is_short = found < REQUESTS_MIN;
    let why =
        "a thread of gdd's keeps up to 32 operations in flight; what does not fit the queue waits outside";
    let severity = if is_short { Severity::Hint } else { Severity::Fine };
    let finding = Finding::new("disk.nr_requests", &disk.name, severity, Sureness::RuleOfThumb);
    if !is_short {
        return Some(finding.say(found.to_string(), found.to_string(), why));
    }
    if ["none", "noop"].contains(&&*used) {
        let reason = "without a scheduler the queue is as long as the device's own, and cannot be longer";
        return Some(finding.say(found.to_string(), format!("{REQUESTS_MIN} or more"), reason));
    }
    let finding = setting(finding.say(found.to_string(), "256", why), &disk.name, "nr_requests", "256");
    Some(finding.try_one(&disk.queue("nr_requests"), &found.to_string(), "256", &DIRECT))
}

/// A request as large as the hypervisor takes is one piece of work for the host; measured, several smaller ones are
/// quicker.
fn virtual_transfer(disk: &Disk, path: &str, found: u64, possible: u64) -> Finding {
    let wanted = VIRTUAL_KB.min(possible);
    let why = "the host works on one request after another, and on several pieces of 512 KiB at once: on our virtio \
               disk 1.25 times as fast as with 4096, and faster than with 1024";
    if found <= wanted {
        let finding = Finding::new("disk.max_sectors_kb", &disk.name, Severity::Fine, Sureness::Measured);
        let finding = finding.say(found.to_string(), found.to_string(), why);
        let larger = found.saturating_mul(2).min(possible);
        if larger == found {
            return finding;
        }
        return finding.try_one(path, &found.to_string(), &larger.to_string(), &DIRECT[..2]);
    }
    let (found, wanted) = (found.to_string(), wanted.to_string());
    let finding = Finding::new("disk.max_sectors_kb", &disk.name, Severity::Advice, Sureness::Measured);
    let finding = setting(finding.say(&*found, &*wanted, why), &disk.name, "max_sectors_kb", &wanted);
    finding.try_one(path, &found, &wanted, &DIRECT[..2])
}

fn transfer(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let path = disk.queue("max_sectors_kb");
    let found = facts.tree.number(&path)?;
    let possible = facts.tree.number(&disk.queue("max_hw_sectors_kb")).unwrap_or(found);
    if disk.kind == Kind::Virtual {
        return Some(virtual_transfer(disk, &path, found, possible));
    }
    let wanted = TRANSFER_KB.min(possible);
    let why = "gdd moves 1 MiB at a time; a smaller limit cuts each operation into several";
    if found >= wanted {
        let finding = Finding::new("disk.max_sectors_kb", &disk.name, Severity::Fine, Sureness::RuleOfThumb);
        let finding = finding.say(found.to_string(), found.to_string(), why);
        let smaller = (found / 4).clamp(4, 512).to_string();
        return Some(finding.try_one(&path, &found.to_string(), &smaller, &DIRECT[..2]));
    }
    let (found, wanted) = (found.to_string(), wanted.to_string());
    let finding = Finding::new("disk.max_sectors_kb", &disk.name, Severity::Hint, Sureness::RuleOfThumb);
    let finding = setting(finding.say(&*found, &*wanted, why), &disk.name, "max_sectors_kb", &wanted);
    Some(finding.try_one(&path, &found, &wanted, &DIRECT[..2]))
}

fn merges(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let path = disk.queue("nomerges");
    let found = facts.tree.text(&path).filter(|value| ["0", "1", "2"].contains(&&**value))?;
    let finding = |severity, wanted: &str, why| {
        Finding::new("disk.nomerges", &disk.name, severity, Sureness::RuleOfThumb).say(&*found, wanted, why)
    };
    Some(if disk.seeks() && found != "0" {
        let why = "neighbouring requests are not joined, and each costs a command; heads need long transfers";
        let finding = setting(finding(Severity::Advice, "0", why), &disk.name, "nomerges", "0");
        finding.try_one(&path, &found, "0", &DIRECT)
    } else {
        let why = "gdd's operations are large already, and max_sectors_kb bounds what they are joined to";
        let other = if found == "0" { "2" } else { "0" };
        finding(Severity::Fine, &found, why).try_one(&path, &found, other, &DIRECT)
    })
}

fn completion(facts: &Facts<'_>, disk: &Disk) -> Option<Finding> {
    let path = disk.queue("rq_affinity");
    let found = facts.tree.text(&path).filter(|value| ["0", "1", "2"].contains(&&**value))?;
    let several_nodes = facts.machine.nodes.len() > 1;
    let (severity, wanted, why) = match &*found {
        "0" => (
            Severity::Hint,
            if several_nodes { "2" } else { "1" },
            "a request ends on whatever core took the interrupt, and its data are cold for the thread that waits",
        ),
        "1" if several_nodes => (
            Severity::Hint,
            "2",
            "gdd's threads are pinned: with several memory nodes a request should end on the very core that began it",
        ),
        _ => (Severity::Fine, &*found, "requests end near the core that began them"),
    };
    let finding = Finding::new("disk.rq_affinity", &disk.name, severity, Sureness::RuleOfThumb);
    let finding = finding.say(&*found, wanted, why);
    let other = if severity == Severity::Fine { if found == "2" { "1" } else { "2" } } else { wanted };
    let finding = finding.try_one(&path, &found, other, &DIRECT);
    Some(if severity == Severity::Fine {
        finding
    } else {
        setting(finding, &disk.name, "rq_affinity", wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_in_use_is_in_brackets() {
        let read = |text| schedulers(text).map(|(used, known)| (used, known.len()));
        assert_eq!(read("none [mq-deadline] kyber"), Some(("mq-deadline".to_owned(), 3)));
        assert_eq!(read("none"), Some(("none".to_owned(), 1)));
        assert_eq!((read(""), read("a b")), (None, None));
    }
}
