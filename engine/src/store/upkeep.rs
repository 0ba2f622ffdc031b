//! What keeps a store whole: vacuum, scrub, their rhythm, and the ballast.

use super::Store;
use crate::ballast;
use crate::driver::Sleep;
use crate::error::Result;
use crate::fsck;
use crate::get::Shelf;
use crate::index::{Batch, MetaKey};
use crate::options::Trust;
use crate::pace::Rest;
use crate::progress::Progress;
use crate::scrub::blame::Blame;
use crate::scrub::{self, ScrubOptions, ScrubReport};
use crate::vacuum::{self, Caller, VacuumOptions, VacuumReport};

/// Bytes of containers that the vacuum holds in memory while it moves what is in them.
const VACUUM_SHELF_BYTES: usize = 64 << 20;

impl Store {
    /// Find what no stream needs any more, and free it, beside whatever else goes on; see [`vacuum::run`]. `rest`
    /// waits, and says whether to go on. A dry run is content with a store that is open for reading only.
    ///
    /// # Errors
    /// The store is open for reading only and this is no dry run, or as [`vacuum::run`].
    pub fn vacuum<'a>(
        &'a self,
        options: &VacuumOptions,
        progress: &'a mut dyn FnMut(Progress),
        rest: &'a mut Rest<'a>,
    ) -> Result<VacuumReport> {
        if !options.dry_run {
            self.writable()?;
        }
        let shelf = Shelf::new(VACUUM_SHELF_BYTES, Trust::Hash);
        vacuum::run(
            &self.core,
            options,
            Caller { shelf: &shelf, patience: &|| Box::new(Sleep), progress, rest },
        )
    }

    /// Read all containers that are due and check what they hold, beside whatever else goes on; see [`scrub::run`].
    ///
    /// # Errors
    /// The store is open for reading only, or as [`scrub::run`].
    pub fn scrub<'a>(
        &'a self,
        options: &ScrubOptions,
        progress: &'a mut dyn FnMut(Progress),
        rest: &'a mut Rest<'a>,
    ) -> Result<ScrubReport> {
        self.writable()?;
        scrub::run(&self.core, options, scrub::Caller { progress, rest })
    }

    /// Check the store up to `level`, beside whatever else goes on, changing nothing; see [`fsck::check_open`]. `go_on`
    /// is asked now and then.
    ///
    /// # Errors
    /// As [`fsck::check_open`].
    pub fn check(
        &self,
        level: u8,
        progress: &mut dyn FnMut(Progress),
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<fsck::Report> {
        fsck::check_open(&self.core, level, progress, go_on)
    }

    /// The streams that need chunks which cannot be given back.
    ///
    /// # Errors
    /// As [`scrub::blame::blame`].
    pub fn blame(&self, progress: &mut dyn FnMut(Progress)) -> Result<Blame> {
        scrub::blame::blame(&self.core, progress)
    }

    /// When work that has a rhythm was last done, in seconds since 1970. If it never was, it counts as done now, so
    /// that a new store has its rhythm whenever its daemon starts.
    ///
    /// # Errors
    /// The index failed.
    pub fn done_at(&self, key: MetaKey) -> Result<u64> {
        if let Some(value) = self.core.index.meta(key)?
            && let Ok(seconds) = value.as_slice().try_into()
        {
            return Ok(u64::from_le_bytes(seconds));
        }
        let now = self.core.unix_seconds();
        let noted = Batch { meta: vec![(key, now.to_le_bytes().to_vec())], ..Batch::default() };
        self.core.index.commit(noted)?;
        Ok(now)
    }

    /// Remember `value` under `key`, for people. It is in the index, and gone when that is made anew.
    ///
    /// # Errors
    /// The index failed.
    pub fn note(&self, key: MetaKey, value: Vec<u8>) -> Result<()> {
        self.writable()?;
        self.core.poison.check()?;
        self.core.index.commit(Batch { meta: vec![(key, value)], ..Batch::default() })
    }

    /// What was remembered last under `key`.
    ///
    /// # Errors
    /// The index failed.
    pub fn noted(&self, key: MetaKey) -> Result<Option<Vec<u8>>> {
        self.core.index.meta(key)
    }

    /// Whether the disk was so full when the store was opened that its ballast was given up: the vacuum is due.
    #[must_use]
    pub fn is_short_of_space(&self) -> bool {
        self.is_short
    }

    /// Keep a ballast, where there is plenty of room: space to give up when the disk is full.
    pub fn keep_ballast(&self) {
        ballast::make(&self.core.paths, self.core.settings.container_size);
    }
}
