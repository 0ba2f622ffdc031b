//! The network: how much TCP may have on its way to a client that is far away.

use crate::facts::Facts;
use crate::finding::{Finding, Severity, Sureness};

use super::{show, sysctl};

/// At this much, 50 ms away, a line of 1 Gbit/s is full.
const ENOUGH: u64 = 16 << 20;
/// What is wanted; taken only by connections that need it.
const WANTED: u64 = 64 << 20;

pub(super) fn look(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let why = |sides: &str| {
        format!(
            "a connection of bothsides mode has at most so much on its way, of which TCP uses a part: over a round \
             trip of 50 ms that bounds a restore; {sides}. Backups of known data do not notice"
        )
    };
    let sending = why("it is this side's; the client's side is net.ipv4.tcp_rmem there");
    findings.extend(bound(facts, "net.tcp_wmem", "net.ipv4.tcp_wmem", Sureness::Measured, &sending));
    let receiving =
        why("it is for what clients send, new data; the client's side is net.ipv4.tcp_wmem there");
    findings.extend(bound(facts, "net.tcp_rmem", "net.ipv4.tcp_rmem", Sureness::RuleOfThumb, &receiving));
}

/// The last of a sysctl's three numbers.
fn bound(facts: &Facts<'_>, id: &'static str, name: &str, sure: Sureness, why: &str) -> Option<Finding> {
    let text = facts.tree.text(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    let numbers: Vec<u64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let &[least, default, most] = numbers.as_slice() else { return None };
    let found = format!("{name} = {least} {default} {most}, {} at most", show(most));
    let severity = if most < ENOUGH { Severity::Hint } else { Severity::Fine };
    let finding = Finding::new(id, "tcp", severity, sure);
    if severity == Severity::Fine {
        return Some(finding.say(&*found, &*found, why));
    }
    let value = format!("{least} {default} {WANTED}");
    Some(sysctl(finding.say(found, format!("{} at most", show(WANTED)), why), name, &value))
}
