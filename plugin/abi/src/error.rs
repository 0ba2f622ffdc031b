//! Why a plugin does not go on. Each refusal has a stable id, and names what an operator can do.

/// A daemon that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The daemon does not export something that is needed.
    #[error(
        "[GDD-ABI-0001] this daemon does not export {0}: it was built with hidden symbols or is not a known \
         Bacula; use the distribution's bacula-sd 9.6.7 or 15.0.3"
    )]
    Missing(String),
    /// A function was to be found in exactly one slot of a table.
    #[error(
        "[GDD-ABI-0002] {method} is in {count} slots of {table}, expected 1: the daemon's classes changed; \
         install the gdd driver that was made for this Bacula"
    )]
    Slots {
        /// The function.
        method: String,
        /// The table.
        table: String,
        /// How often it was found.
        count: usize,
    },
    /// A table whose size says nothing usable.
    #[error(
        "[GDD-ABI-0003] {table} has {found} bytes, expected {expected}: the daemon's classes changed; \
         install the gdd driver that was made for this Bacula"
    )]
    Table {
        /// The table.
        table: String,
        /// Its size by the ELF symbol, in bytes.
        found: usize,
        /// What is expected.
        expected: String,
    },
    /// The probe of a field gave nothing plausible.
    #[error(
        "[GDD-ABI-0004] the probe for {field} answered {found:#x}: the daemon's classes changed; \
         install the gdd driver that was made for this Bacula"
    )]
    Probe {
        /// The field.
        field: &'static str,
        /// What came back.
        found: u32,
    },
    /// A version that nobody has tried.
    #[error(
        "[GDD-ABI-0005] Bacula {found} is not known, expected {known}; install a gdd for it, or set \
         GDD_ACCEPT_BACULA={found} after a test restore"
    )]
    Version {
        /// What the daemon says.
        found: String,
        /// What is known.
        known: String,
    },
}
