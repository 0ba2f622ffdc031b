//! What runs on the daemon's store besides the control socket, such as the storage mode.

use std::time::Instant;

use serde_json::Value;

/// A service with threads of its own.
pub trait Service: Send + Sync {
    /// Its name in `gdd status`, for example `storage`.
    fn name(&self) -> &'static str;
    /// What `gdd status` shows of it, its sessions above all.
    fn status(&self) -> Value;
    /// End it: what runs may end until `deadline`, then it is cut off. It holds the store no more afterwards.
    fn stop(&self, deadline: Instant);
}
