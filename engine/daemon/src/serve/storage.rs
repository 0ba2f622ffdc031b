//! Storage mode as a service of the daemon: where it listens, whom it serves, what `gdd status` shows of it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use gdd_daemon::storage::{Limits, StorageService};
use gdd_link::plugin_socket;
use serde_json::{Value, json};

use super::metrics::{self, Page};
use super::service::Service;
use super::state::State;
use super::status::cache_line;
use crate::failure::{Failure, Result};
use crate::size::{grouped, to_float};

/// Sessions that were told to end save what came; they get this long at least.
pub const SAVE_LIMIT: Duration = Duration::from_secs(5);

/// Serve Bacula's storage daemons with the store that `state` has.
///
/// # Errors
/// The socket cannot be made, or the store not be listed.
pub fn start(state: &State) -> Result<()> {
    let users = state.config.uids().map_err(Failure::Usage)?;
    let socket = plugin_socket(&state.config.socket);
    let service = StorageService::start(state.store()?, &socket, Limits { users, ..Limits::default() })?;
    tracing::info!("bacula-sd may connect at {}", socket.display());
    state.services.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(service));
    Ok(())
}

impl Service for StorageService {
    fn name(&self) -> &'static str {
        "storage"
    }

    fn session_count(&self) -> Option<usize> {
        Some(self.sessions().len())
    }

    fn status(&self) -> Value {
        json!({
            "sessions": self.sessions(), "abandoned": self.abandoned(), "cache": self.cache(),
            "done": self.sums(), "jobs": self.reports(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let sessions = self.sessions();
        let (done, left) = (grouped(self.sums().receipts), self.abandoned());
        let head = format!("{} sessions, {done} streams done, {left} left unfinished", sessions.len());
        let lines = sessions.iter().map(|session| {
            format!(
                "process {}, {}, job {}: {} bytes in, {} out, {} streams open, ring {} of {} bytes",
                session.pid,
                session.program,
                if session.job.is_empty() { "none" } else { &session.job },
                grouped(session.bytes_in),
                grouped(session.bytes_out),
                session.streams,
                grouped(session.ring_held),
                grouped(session.ring_capacity),
            )
        });
        let cache = format!("cache: {}", cache_line(&self.cache()));
        let last = self.reports().last().map(|report| format!("done: {}", report.line()));
        std::iter::once(head).chain(lines).chain([cache]).chain(last).collect()
    }

    fn metrics(&self, page: &mut Page) {
        metrics::sessions(page, "storage", self.sessions().len());
        metrics::jobs(page, "storage", &self.sums());
        metrics::cache(page, "storage", &self.cache());
        let help = "Streams that their drivers left unfinished.";
        page.counter("gdd_streams_abandoned_total", help, &[], to_float(self.abandoned()));
        let held: u64 = self.sessions().iter().map(|session| session.ring_held).sum();
        page.gauge("gdd_ring_held_bytes", "Bytes in rings that are not durable yet.", &[], to_float(held));
    }

    fn stop(self: Box<Self>, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        StorageService::stop(*self, left.max(SAVE_LIMIT))
    }
}
