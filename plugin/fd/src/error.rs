//! What can go wrong between plugin and store. Every message has a stable id and names a remedy.

/// What kind of trouble the store, or the way to it, has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It cannot be reached, or went away.
    Lost,
    /// It was restarted since the session began: what it was told before may be gone.
    Stale,
    /// It does not let this client in, or not to this.
    Denied,
    /// It has no room.
    Full,
    /// What it has is not what it was given.
    Damaged,
    /// It does not have what was asked for.
    Missing,
    /// The job was cancelled meanwhile.
    Cancelled,
    /// The daemon cannot go on with the job, and says why.
    Daemon,
    /// The daemon cannot give one file, and says why.
    Withheld,
}

/// Why the store refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{}] {text}; {}", .kind.id(), .kind.remedy())]
pub struct StoreError {
    /// What kind of trouble.
    pub kind: Kind,
    /// What was tried, expected and found.
    pub text: String,
}

impl StoreError {
    /// Trouble of `kind`.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl Kind {
    /// Whether one file is concerned, and others may still come back.
    #[must_use]
    pub fn is_of_one_file(self) -> bool {
        matches!(self, Self::Damaged | Self::Missing | Self::Withheld)
    }

    fn id(self) -> &'static str {
        match self {
            Self::Lost => "GDD-FD-0101",
            Self::Stale => "GDD-FD-0102",
            Self::Denied => "GDD-FD-0103",
            Self::Full => "GDD-FD-0104",
            Self::Damaged => "GDD-FD-0105",
            Self::Missing => "GDD-FD-0106",
            Self::Cancelled => "GDD-FD-0107",
            Self::Daemon => "GDD-FD-0108",
            Self::Withheld => "GDD-FD-0109",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Lost => "see that the daemon runs and can be reached, then run the job again",
            Self::Stale => "run the job again",
            Self::Denied => "see that server and key_file belong together",
            Self::Full => "give the store room, then run the job again",
            Self::Damaged => "take the file from another job, and see `gdd fsck`",
            Self::Missing => "see that this is the store of the backup",
            Self::Cancelled => "run the job again",
            Self::Daemon => "the daemon's own log says more",
            Self::Withheld => "or take the file from another job",
        }
    }
}
