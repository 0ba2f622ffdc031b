//! Which known chunks of a window are stored again. Pure: no I/O here.
//!
//! A disk pays for each place that it goes to with a seek, in the time of which it could read [`Limits::seek`] bytes.
//! So the chunks of a container that lie closer than that are one visit, and a window costs its visits and what they
//! span. While that is more than the window would cost in one piece, the smallest visits are given up, as far as the
//! seeks that this saves are worth more than the bytes that it writes. What is given up together becomes one visit per
//! worker; so small ones grow to large ones in few steps, like the runs of a log-structured merge tree (O'Neil et al.,
//! 1996).

use crate::shard::mailbox::Stored;

/// A window may cost so many hundredths of what it would cost in one piece.
const GOAL_PERCENT: u64 = 110;

/// Visits that bring more than so many seeks' worth are left alone.
const VISIT_SEEKS_MAX: u64 = 2;

/// A known chunk of a window, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Old {
    /// Where it lies.
    pub place: Stored,
    /// It is not stored again.
    pub stays: bool,
    /// Where it stands in the window, for the caller.
    pub at: (usize, usize),
}

/// What bounds the choice. Bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What the disk reads in the time of a seek.
    pub seek: u64,
    /// Containers that what is stored now goes to.
    pub workers: u64,
    /// What may be stored again.
    pub budget: u64,
}

/// Chunks of one container that are read in one go.
struct Visit {
    chunks: std::ops::Range<usize>,
    span: u64,
    bytes: u64,
    stays: bool,
}

/// Those of `olds` that are to be stored again, in a window that has `fresh` bytes of new chunks besides.
#[must_use]
pub fn choose(mut olds: Vec<Old>, fresh: u64, limits: &Limits) -> Vec<Old> {
    olds.sort_unstable_by_key(|old| (old.place.container, old.place.offset));
    let mut visits = visits(&olds, limits.seek);
    let known: u64 = visits.iter().map(|visit| visit.bytes).sum();
    let goal = (limits.workers * limits.seek + known + fresh) / 100 * GOAL_PERCENT;
    // What is stored now lies in one place for each worker; if nothing else is, the first chunk has that price.
    let own = limits.workers * limits.seek + fresh;
    let (mut cost, price) = if fresh > 0 { (own, 0) } else { (0, own) };
    cost += visits.iter().map(|visit| limits.seek + visit.span).sum::<u64>();
    visits.retain(|visit| !visit.stays && visit.bytes <= VISIT_SEEKS_MAX * limits.seek);
    visits.sort_by_key(|visit| (visit.bytes, visit.chunks.start));
    let (mut saved, mut bytes, mut count) = (0, 0, 0);
    for (at, visit) in visits.iter().enumerate() {
        if cost + price <= goal + saved || bytes + visit.bytes > limits.budget {
            break;
        }
        saved += limits.seek + visit.span.saturating_sub(visit.bytes);
        bytes += visit.bytes;
        if saved >= price + bytes {
            count = at + 1;
        }
    }
    visits.truncate(count);
    visits.into_iter().flat_map(|visit| olds[visit.chunks].to_vec()).collect()
}

/// The visits that bring `olds`, which are in the order of the disk.
fn visits(olds: &[Old], seek: u64) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    let (mut start, mut end, mut container) = (0, 0, None);
    for (at, old) in olds.iter().enumerate() {
        let (offset, len) = (u64::from(old.place.offset), u64::from(old.place.stored_len));
        match visits.last_mut() {
            Some(visit) if container == Some(old.place.container) && offset <= end + seek => {
                visit.chunks.end = at + 1;
                visit.stays |= old.stays;
            }
            _ => {
                visits.push(Visit { chunks: at..at + 1, span: 0, bytes: 0, stays: old.stays });
                (start, end, container) = (offset, offset, Some(old.place.container));
            }
        }
        end = end.max(offset + len);
        if let Some(visit) = visits.last_mut() {
            visit.span = end - start;
            visit.bytes += u64::from(old.place.raw_len);
        }
    }
    visits
}
