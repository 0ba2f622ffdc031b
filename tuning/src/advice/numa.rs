//! Several memory nodes: where the disk is, and what the kernel does about memory that is far away.

use crate::facts::Facts;
use crate::facts::disks::Kind;
use crate::finding::{Finding, Severity, Sureness};

use super::{limits::unit, sysctl};

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    if facts.machine.nodes.len() < 2 {
        return;
    }
    findings.extend(place(facts));
    findings.extend(reclaim(facts));
    findings.extend(balancing(facts));
}

/// The node that a disk is attached to.
fn node_of(facts: &Facts<'_>, name: &str) -> Option<u32> {
    let nodes = ["device/numa_node", "device/device/numa_node"];
    nodes.iter().find_map(|file| facts.tree.text(&format!("/sys/block/{name}/{file}"))?.parse().ok())
}

fn place(facts: &Facts<'_>) -> Option<Finding> {
    let quick = facts.stack.disks.iter().filter(|disk| disk.kind == Kind::Nvme);
    let nodes: Vec<u32> = quick.filter_map(|disk| node_of(facts, &disk.name)).collect();
    let node = *nodes.first()?;
    let finding = |severity| Finding::new("numa.place", "gdd.service", severity, Sureness::RuleOfThumb);
    if nodes.iter().any(|other| *other != node) {
        let found = "the store's disks hang on several nodes";
        return Some(finding(Severity::Fine).say(found, found, "no node is nearer than another"));
    }
    let cpus = facts.tree.text(&format!("/sys/devices/system/node/node{node}/cpulist"))?;
    let count = crate::facts::machine::numbers(&cpus).len();
    if count == 0 {
        return None;
    }
    let allowed = facts.tree.text(&format!("{}/status", facts.process)).and_then(|status| {
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some(crate::facts::machine::numbers(list))
    });
    let inside = allowed.is_some_and(|allowed| {
        let near = crate::facts::machine::numbers(&cpus);
        facts.daemon_runs && allowed.iter().all(|cpu| near.contains(cpu))
    });
    let found = format!("{} nodes; the disk hangs on node {node}", facts.machine.nodes.len());
    if inside {
        let found = format!("{found}, and the daemon runs there");
        return Some(finding(Severity::Fine).say(&*found, &*found, "data stay in one node's memory"));
    }
    let why = "gdd pins a thread to every processor it may use; those of other nodes reach disk and buffers through \
               the link between them. With all processors busy in cutting and hashing more of them may still win: \
               measure with gdd bench ingest";
    let list = cpus.split(',').map(str::trim).collect::<Vec<_>>().join(" ");
    let finding = finding(Severity::Hint).say(found, format!("its {count} processors: {list}"), why);
    let safe = list.chars().all(|c| c.is_ascii_digit() || "- ".contains(c));
    Some(if safe { unit(finding, &format!("CPUAffinity={list}")) } else { finding })
}

fn reclaim(facts: &Facts<'_>) -> Option<Finding> {
    let found = facts.tree.number("/proc/sys/vm/zone_reclaim_mode")?;
    let severity = if found == 0 { Severity::Fine } else { Severity::Advice };
    let finding = Finding::new("numa.zone_reclaim", "vm", severity, Sureness::Documented);
    let why = "with it, a node that is full drops its page cache though others have memory left; the kernel's own \
               documentation advises file servers against it";
    Some(match found {
        0 => finding.say("0", "0", "a full node takes memory of another"),
        found => sysctl(finding.say(found.to_string(), "0", why), "vm.zone_reclaim_mode", "0"),
    })
}

fn balancing(facts: &Facts<'_>) -> Option<Finding> {
    let found = facts.tree.number("/proc/sys/kernel/numa_balancing")?;
    let severity = if found == 0 { Severity::Fine } else { Severity::Hint };
    let finding = Finding::new("numa.balancing", "kernel", severity, Sureness::RuleOfThumb);
    let why = "the kernel takes pages away to see who touches them; gdd's threads are pinned, and its caches are \
               everybody's";
    Some(match found {
        0 => finding.say("0", "0", "pages stay where they are"),
        found => sysctl(finding.say(found.to_string(), "0", why), "kernel.numa_balancing", "0"),
    })
}
