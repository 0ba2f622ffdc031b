//! A whole Bacula of the distribution in a folder of its own: director, storage daemon, file daemon and console, each
//! the unmodified program of Debian's package, on free ports of a loopback address that no other process uses.
//!
//! It is for tests and demonstrations of a storage or file daemon plugin, and knows nothing about any of them but the
//! folder, the device type and the environment that it is told. The failure it answers: a plugin that passes every test
//! of its own and then loses a file because the real daemons do things in another order.
//!
//! Rules that hold everywhere:
//! - Nothing waits for ever. Every console call, tool and job has a deadline; past it the processes are killed and the
//!   error says what was printed until then.
//! - Nothing outlives its [`Rig`]: daemons are killed on drop, and by the kernel when this process dies.
//! - A job has succeeded only when catalog and console both say so.
//! - Nothing is skipped in silence; see [`switched_off`].
//!
//! [`tree`], [`snapshot`], [`stream`] and [`random`] make seeded test data and compare what came back.
//!
//! ```no_run
//! use gdd_rig::{Device, Level, Pool, Rig};
//!
//! # fn main() -> gdd_rig::Result {
//! let rig = Rig::builder()
//!     .device(Device::new("Dedup", "Cloud"))
//!     .pool(Pool::new("Daily", "Dedup"))
//!     .backup("bin", "/usr/bin".as_ref())
//!     .storage_plugins("/usr/lib/gdd/plugins".as_ref())
//!     .start()?;
//! rig.label("Daily-1", "Daily")?;
//! let full = rig.run("bin", Level::Full)?.demand_ok()?;
//! let back = rig.restore(&[full.id])?;
//! back.result.clone().demand_ok()?;
//! assert_eq!(gdd_rig::compare("/usr/bin".as_ref(), &back.path("/usr/bin".as_ref()))?, Vec::<String>::new());
//! # Ok(())
//! # }
//! ```

pub mod random;
pub mod snapshot;
pub mod stream;
pub mod tree;

mod builder;
mod catalog;
mod config;
mod console;
mod daemon;
mod error;
mod execution;
mod jobs;
mod packages;
mod place;
mod progress;
mod restore;
mod rig;
mod settings;
mod spawner;
mod tools;
mod trixie;
mod volumes;
mod xattrs;

pub use builder::Builder;
pub use daemon::{Daemon, Signal};
pub use error::{Error, Result};
pub use execution::Printed;
pub use jobs::{JobId, JobResult, Level};
pub use packages::{Packages, Release};
pub use progress::Progress;
pub use restore::Restored;
pub use rig::Rig;
pub use settings::{Device, FileSet, Job, Pool};
pub use snapshot::compare;
pub use tools::Scanned;

/// Why tests that need Bacula are not to run here: the environment has `GDD_RIG=off`. The caller prints it.
///
/// Only that value switches them off; a machine on which Bacula cannot be installed fails them instead.
#[must_use]
pub fn switched_off() -> Option<&'static str> {
    let off = std::env::var_os("GDD_RIG").is_some_and(|value| value == "off");
    off.then_some("skipped: GDD_RIG=off in the environment; nothing that needs Bacula is tested")
}
