//! What runs on the daemon's store besides the control socket, such as the storage mode.

use std::time::Instant;

use serde_json::Value;

use super::metrics::Page;

/// A service with threads of its own.
pub trait Service: Send + Sync {
    /// Its name in `gdd status`, for example `storage`.
    fn name(&self) -> &'static str;
    /// Peers that are connected now; nothing of a service that has none.
    fn session_count(&self) -> Option<usize> {
        None
    }
    /// What `gdd status --json` shows of it, its sessions above all.
    fn status(&self) -> Value;
    /// The same for people: lines without their ends.
    fn lines(&self) -> Vec<String>;
    /// The same for monitoring.
    fn metrics(&self, page: &mut Page);
    /// End it: what runs may end until `deadline`, then it is cut off. `false` when something still runs then and holds
    /// the store.
    fn stop(self: Box<Self>, deadline: Instant) -> bool;
}
