//! What the machine is put through.

use gdd_uring::sim::{Faults, Rng, SimDisk};

/// Which kinds of bad luck a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weather {
    /// Power cuts only: nothing acknowledged may be lost.
    PowerCuts,
    /// Power cuts, and reads, writes and syncs that fail, and full disks: nothing acknowledged may be lost.
    Errors,
    /// A disk that damages what it holds: exact bytes or an error.
    Rot,
    /// As [`Weather::PowerCuts`], and the vacuum runs beside streams that are stored, restored and removed.
    Vacuum,
    /// As [`Weather::Errors`], with the vacuum.
    VacuumErrors,
    /// As [`Weather::Rot`], with the vacuum.
    VacuumRot,
}

impl Weather {
    /// Every weather.
    pub const ALL: [Self; 6] =
        [Self::PowerCuts, Self::Errors, Self::Rot, Self::Vacuum, Self::VacuumErrors, Self::VacuumRot];

    /// Nothing but power cuts: whatever else fails is a bug.
    #[must_use]
    pub fn is_kind(self) -> bool {
        matches!(self, Self::PowerCuts | Self::Vacuum)
    }

    /// Operations of the disk fail.
    #[must_use]
    pub fn fails(self) -> bool {
        matches!(self, Self::Errors | Self::VacuumErrors)
    }

    /// The disk damages what it holds.
    #[must_use]
    pub fn rots(self) -> bool {
        matches!(self, Self::Rot | Self::VacuumRot)
    }

    /// The vacuum runs, and several streams are open at once.
    #[must_use]
    pub fn vacuums(self) -> bool {
        matches!(self, Self::Vacuum | Self::VacuumErrors | Self::VacuumRot)
    }

    /// Its name in the file of regression seeds.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|weather| format!("{weather:?}") == name)
    }

    /// The faults of one life: each run has its own few kinds (swarm testing: Groce et al., ISSTA 2012), since one in
    /// which everything fails goes nowhere. Rates are per million operations; a life has some hundreds.
    #[must_use]
    pub fn faults(self, random: &mut Rng, disk: &SimDisk) -> Faults {
        let astray = [20_000, 50_000, 100_000][random.index(3)];
        let mut rate =
            |per_million: u32, one_in: u64| if random.below(one_in) == 0 { per_million } else { 0 };
        let (short, late) = (rate(100_000, 2), rate(100_000, 2));
        let slow = Faults { short, late, ..Faults::default() };
        match self {
            Self::PowerCuts | Self::Vacuum => slow,
            Self::Errors | Self::VacuumErrors => {
                let full = rate(1, 8) > 0;
                Faults {
                    read_error: rate(5_000, 4),
                    write_error: rate(10_000, 3),
                    sync_error: rate(50_000, 2),
                    dir_sync_error: rate(20_000, 3),
                    no_space: rate(10_000, 4),
                    fsyncgate: rate(1, 4) == 0,
                    capacity: full.then(|| disk.used_bytes() + random.below(512 << 10)),
                    ..slow
                }
            }
            Self::Rot | Self::VacuumRot => Faults {
                bit_flip: rate(20_000, 3),
                misdirected_write: rate(astray, 2),
                lost_write: rate(20_000, 3),
                latent_error: rate(20_000, 4),
                stale_read: rate(10_000, 4),
                ..slow
            },
        }
    }
}
