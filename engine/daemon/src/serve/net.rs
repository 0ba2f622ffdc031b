//! Bothsides mode as a service of the daemon: its keys, where it listens, what `gdd status` shows of it.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use gdd_daemon::jobs::JobSums;
use gdd_daemon::net::{Counts, Limits, NetService, SessionStatus};
use gdd_wire::{Domain, Key, KeyRing};
use serde_json::{Value, json};

use super::metrics::{self, Page};
use super::service::Service;
use super::state::State;
use crate::config::Net;
use crate::failure::{Failure, Result};
use crate::size::{grouped, to_float};

/// Sessions that are told to end get this long at least.
pub const TELL_LIMIT: Duration = Duration::from_secs(5);
/// Jobs that people are shown; programs get all that are remembered.
const LAST_JOBS: usize = 10;

/// The keys of the configuration; none when nobody can connect.
///
/// # Errors
/// A key file cannot be read or is not closed to others, or a domain's name is none.
pub fn ring(net: &Net) -> Result<Option<KeyRing>> {
    if net.listen.is_empty() {
        return Ok(None);
    }
    let load = |path: &Path| {
        Key::load(path).map_err(|error| Failure::Usage(format!("{error}; `gdd key check` says more")))
    };
    let mut domains = Vec::new();
    for (name, files) in &net.domains {
        let previous = files.previous.as_deref().map(load).transpose()?;
        domains.push(Domain { name: name.clone(), current: load(&files.key)?, previous });
    }
    KeyRing::new(domains).map(Some).map_err(|error| Failure::Usage(format!("net.domains: {error}")))
}

/// Serve clients with the store that `state` has.
///
/// # Errors
/// An address cannot be listened at.
pub fn start(state: &State, ring: Option<KeyRing>) -> Result<()> {
    let Some(ring) = ring else { return Ok(()) };
    let net = &state.config.net;
    let limits = Limits {
        sessions_max: net.sessions_max,
        silence_max: Duration::from_secs(net.silence_max),
        domains: net.domains.iter().map(|(name, domain)| (name.clone(), domain.rules())).collect(),
        ..Limits::default()
    };
    let service = NetService::start(state.store()?, &net.listen, ring, limits)?;
    for address in service.addresses() {
        tracing::info!("clients of bothsides mode may connect at {address}");
    }
    state.services.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(service));
    Ok(())
}

impl Service for NetService {
    fn name(&self) -> &'static str {
        "net"
    }

    fn session_count(&self) -> Option<usize> {
        Some(self.sessions().len())
    }

    fn status(&self) -> Value {
        json!({
            "listen": self.addresses(), "sessions": self.sessions(), "refused": self.refusals(),
            "done": self.counts(), "jobs": self.reports(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let (sessions, refused) = (self.sessions(), self.refusals());
        let reasons: Vec<_> = refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let head = format!(
            "{} sessions, refused: {}",
            sessions.len(),
            if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") },
        );
        let reports = self.reports();
        let last = reports.iter().rev().take(LAST_JOBS).map(|report| format!("done: {}", report.line()));
        [head, done(&self.counts())].into_iter().chain(sessions.iter().map(session)).chain(last).collect()
    }

    fn metrics(&self, page: &mut Page) {
        let counts = self.counts();
        metrics::sessions(page, "net", self.sessions().len());
        let sums = JobSums {
            receipts: counts.receipts,
            logical_bytes: counts.logical_bytes,
            wire_bytes: counts.wire_bytes,
            new_bytes: counts.new_bytes,
            stored_bytes: counts.stored_bytes,
            bytes_back: counts.bytes_back, // Of sessions that have ended: a sum over both could fall.
        };
        metrics::jobs(page, "net", &sums);
        metrics::cache(page, "net", &self.cache());
        let help = "Sessions that did not end well.";
        page.counter("gdd_sessions_broken_total", help, &[], to_float(counts.broken));
        let help = "Time in which rates held sessions up that have ended.";
        page.counter("gdd_held_up_seconds_total", help, &[], counts.held_up_seconds);
        for (reason, count) in self.refusals() {
            let help = "Connections that did not become sessions.";
            page.counter("gdd_refusals_total", help, &[("reason", reason)], to_float(count));
        }
    }

    fn stop(self: Box<Self>, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        NetService::stop(*self, left.max(TELL_LIMIT))
    }
}

fn done(done: &Counts) -> String {
    format!(
        "since the start: {} backups of {} files and {} bytes, {} over the network, {} new, {} on disk; {} restores, \
         {} bytes given back; {} sessions broken; held up {:.1} s",
        grouped(done.receipts),
        grouped(done.files),
        grouped(done.logical_bytes),
        grouped(done.wire_bytes),
        grouped(done.new_bytes),
        grouped(done.stored_bytes),
        grouped(done.restores),
        grouped(done.bytes_back),
        grouped(done.broken),
        done.held_up_seconds,
    )
}

fn session(session: &SessionStatus) -> String {
    format!(
        "{}, client {}, job {}: {} bytes, {} over the network, {} new, {} on disk, {} given back, held up {:.1} s",
        session.address,
        session.client,
        session.job,
        grouped(session.logical_bytes),
        grouped(session.wire_bytes),
        grouped(session.new_bytes),
        grouped(session.stored_bytes),
        grouped(session.bytes_back),
        session.held_up_seconds,
    )
}
