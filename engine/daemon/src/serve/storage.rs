//! Storage mode as a service of the daemon: where it listens, whom it serves, what `gdd status` shows of it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use gdd_daemon::storage::{Limits, StorageService};
use gdd_link::plugin_socket;
use serde_json::{Value, json};

use super::service::Service;
use super::state::State;
use super::status::cache_line;
use crate::failure::{Failure, Result};
use crate::size::grouped;

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
        json!({ "sessions": self.sessions(), "abandoned": self.abandoned(), "cache": self.cache() })
    }

    fn lines(&self) -> Vec<String> {
        let sessions = self.sessions();
        let head = format!("{} sessions, {} streams left unfinished", sessions.len(), self.abandoned());
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
        std::iter::once(head).chain(lines).chain([cache]).collect()
    }

    fn stop(self: Box<Self>, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        StorageService::stop(*self, left.max(SAVE_LIMIT))
    }
}
