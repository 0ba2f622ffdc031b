//! What the daemon's process may use: locked memory, descriptors, io_uring.

use crate::facts::Facts;
use crate::facts::limits::{self, Limit};
use crate::finding::{Finding, Severity, Sureness};

use super::{show, sysctl};

/// Files of the index, containers, sessions: enough for all of them.
const FILES_MIN: u64 = 4096;
/// Drop-ins of the unit.
const DROP_IN: &str = "/etc/systemd/system/gdd.service.d/tune.conf";

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    findings.extend(locked(facts));
    findings.extend(files(facts));
    findings.extend(ring(facts));
    findings.extend(filter(facts));
}

/// A directive for the daemon's unit.
pub(super) fn unit(finding: Finding, directive: &str) -> Finding {
    finding
        .apply("mkdir -p /etc/systemd/system/gdd.service.d".to_owned())
        .apply(format!("printf '[Service]\\n%s\\n' {} >> {DROP_IN}", crate::shell::word(directive)))
        .apply("systemctl daemon-reload".to_owned())
        .keep("it holds from the daemon's next start: systemctl restart gdd")
}

fn locked(facts: &Facts<'_>) -> Option<Finding> {
    let Limit { value, place } = limits::limit(facts, "Max locked memory", "LimitMEMLOCK")?;
    // Up to a tenth of the budget is registered, one batch of 1 MiB a thread at least.
    let needed = (facts.question.memory / 10).max(facts.workers() as u64 * (8 << 20));
    let privileged = limits::may_lock(facts.tree, &facts.process);
    let enough = value >= needed || privileged;
    let severity = if enough { Severity::Fine } else { Severity::Advice };
    let finding = Finding::new("limits.memlock", "gdd.service", severity, Sureness::Documented);
    let found = match privileged {
        true => format!("{} {place}, which does not bind it: it has CAP_IPC_LOCK", show(value)),
        false => format!("{} {place}", show(value)),
    };
    let why = "buffers that are registered with io_uring count as locked, all rings of a user together; without the \
               registration each transfer takes more processor time";
    Some(if enough {
        finding.say(&*found, &*found, why)
    } else {
        unit(
            finding.say(found, format!("infinity, or {} at least", show(needed)), why),
            "LimitMEMLOCK=infinity",
        )
    })
}

fn files(facts: &Facts<'_>) -> Option<Finding> {
    let Limit { value, place } = limits::limit(facts, "Max open files", "LimitNOFILE")?;
    let enough = value >= FILES_MIN;
    let severity = if enough { Severity::Fine } else { Severity::Advice };
    let finding = Finding::new("limits.nofile", "gdd.service", severity, Sureness::Documented);
    let count = if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
    let found = format!("{count} {place}");
    let why =
        "the index keeps its tables open, and so do containers and sessions; without descriptors jobs fail";
    Some(if enough {
        finding.say(&*found, &*found, why)
    } else {
        unit(finding.say(found, "65536", why), "LimitNOFILE=65536")
    })
}

fn ring(facts: &Facts<'_>) -> Option<Finding> {
    let path = "/proc/sys/kernel/io_uring_disabled";
    let found = facts.tree.text(path)?;
    let finding = |severity| Finding::new("io_uring.sysctl", "kernel", severity, Sureness::Documented);
    let name = format!("kernel.io_uring_disabled = {found}");
    let why = match &*found {
        "0" => return Some(finding(Severity::Fine).say(&*name, &*name, "every process may have a ring")),
        "1" => {
            let group = facts.tree.text("/proc/sys/kernel/io_uring_group").unwrap_or_default();
            let allowed = group.parse::<u32>().is_ok_and(|group| in_group(facts, group));
            if allowed {
                let why = "the daemon is in the group that may have a ring";
                return Some(finding(Severity::Fine).say(&*name, &*name, why));
            }
            "only root and one group may have a ring: gdd falls back to pread and pwrite, at more processor time"
        }
        "2" => "nobody may have a ring: gdd falls back to pread and pwrite, at more processor time",
        _ => return None,
    };
    let wanted = "0, or 1 with kernel.io_uring_group set to the group of gdd's user";
    Some(sysctl(finding(Severity::Advice).say(name, wanted, why), "kernel.io_uring_disabled", "0"))
}

/// Whether the daemon's process belongs to a group. Without one nobody knows.
fn in_group(facts: &Facts<'_>, group: u32) -> bool {
    let status = facts.tree.text(&format!("{}/status", facts.process)).unwrap_or_default();
    let rows =
        status.lines().filter_map(|line| line.strip_prefix("Gid:").or_else(|| line.strip_prefix("Groups:")));
    let mut numbers = rows.flat_map(str::split_whitespace).filter_map(|word| word.parse::<u32>().ok());
    facts.daemon_runs && numbers.any(|number| number == group)
}

fn filter(facts: &Facts<'_>) -> Option<Finding> {
    let status = facts.tree.text(&format!("{}/status", facts.process))?;
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim().to_owned();
    let finding = |severity| Finding::new("io_uring.seccomp", "gdd.service", severity, Sureness::Documented);
    Some(match &*mode {
        "2" => finding(Severity::Hint)
            .say(
                "a seccomp filter is in force",
                "one that allows io_uring_setup, io_uring_enter and io_uring_register, or none",
                "container runtimes deny io_uring by default, and so do some filters of systemd: gdd then falls \
                 back to pread and pwrite",
            )
            .keep("gdd status names the way to the disk under io_mode: uring+direct, or what it fell back to"),
        "0" => {
            let none = "no seccomp filter";
            finding(Severity::Fine).say(none, none, "nothing keeps io_uring from the daemon here")
        }
        _ => return None,
    })
}
