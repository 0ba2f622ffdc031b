//! Which containers hold so much that nobody needs that they are worth emptying.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Vacuum, VacuumOptions};
use crate::error::Result;
use crate::format::record::RecordHeader;
use crate::ids::ContainerId;
use crate::index::{ContainerRow, ContainerState, Status};
use crate::progress::Progress;

/// Chunks between two looks at whether to go on.
const CHECK_EVERY: u64 = 1 << 16;

impl Vacuum<'_> {
    /// The sealed containers of whose bytes more than a share is dead, and those in which something is damaged.
    pub(super) fn survey(&mut self, options: &VacuumOptions) -> Result<BTreeMap<ContainerId, ContainerRow>> {
        let started = Instant::now();
        let mut needed: BTreeMap<ContainerId, u64> = BTreeMap::new();
        let (total, mut seen) = (self.core.index.chunk_count_estimate()?, 0);
        let (core, marks) = (self.core, &self.needed);
        let (pace, progress) = (&mut self.pace, &mut self.progress);
        progress(Progress { stage: "survey", done: 0, total: Some(total) });
        core.index.for_each_chunk(&mut |hash, entry| {
            if entry.status == Status::Live && marks.may_have(&hash) {
                *needed.entry(entry.container).or_default() += record_len(entry.stored_len);
            }
            seen += 1;
            if seen % CHECK_EVERY == 0 {
                progress(Progress { stage: "survey", done: seen, total: Some(total) });
                pace.check()?;
            }
            Ok(())
        })?;
        let mut chosen = BTreeMap::new();
        for (id, row) in core.index.containers()? {
            let broken = self.broken.contains(&id);
            let stays = match row.state {
                ContainerState::Sealed => false,
                ContainerState::Open => !core.damaged.contains(&id), // A damaged one is not filled further.
                _ => true,
            };
            if stays {
                continue;
            }
            let used = row.stored_bytes + u64::from(row.record_count) * RecordHeader::SIZE as u64;
            let live = needed.get(&id).copied().unwrap_or(0).min(used);
            self.report.containers += 1;
            self.report.container_bytes += row.durable_len;
            self.report.needed_bytes += live;
            self.report.dead_bytes += used - live;
            if broken || (!options.broken_only && share(used - live, used) > options.dead_share) {
                self.report.chosen += 1;
                self.report.chosen_dead_bytes += used - live;
                chosen.insert(id, row);
            } else {
                self.report.below_limit_dead_bytes += used - live;
            }
        }
        self.live = needed;
        self.report.seconds_surveying += started.elapsed().as_secs_f64();
        Ok(chosen)
    }
}

/// Bytes of a record with its header.
fn record_len(stored_len: u32) -> u64 {
    RecordHeader::SIZE as u64 + u64::from(stored_len)
}

#[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
