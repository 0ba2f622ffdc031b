//! The other way round: what volumes refer to, and the store does not have.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::failure::{Failure, Result};
use crate::volumes::Volume;
use crate::volumes::references;

/// A stream that a volume has a receipt of, and the store does not have whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// As Bacula calls it.
    pub volume: String,
    /// The stream's number.
    pub stream: String,
    /// As the receipt has it.
    pub bytes: u64,
    /// What the store has of it.
    pub found: Option<u64>,
}

/// A volume with a hole.
#[derive(Clone, Debug, Serialize)]
pub struct Damaged {
    /// As Bacula calls it.
    pub volume: String,
    /// Where in its file.
    pub offset: u64,
}

/// What was found in volumes. Fields are only ever added.
#[derive(Debug, Default, Serialize)]
pub struct Referred {
    /// See [`Lacking`].
    pub lacking: Vec<Lacking>,
    /// Volumes that were damaged since they were written: what they refer to there is not known.
    pub volumes_damaged: Vec<Damaged>,
    /// Streams that stay with their volume, though the catalog has pruned their job.
    pub volume_streams_pruned: u64,
}

/// Read `volumes`, and compare them with the streams that there are, by number.
///
/// # Errors
/// A volume cannot be read.
pub fn of(volumes: &[Volume], streams: &BTreeMap<u64, u64>, catalog: Option<&Catalog>) -> Result<Referred> {
    let mut referred = Referred::default();
    for volume in volumes {
        let read = references::of(volume).map_err(Failure::file("read", &volume.path))?;
        if let Some(offset) = read.damaged {
            referred.volumes_damaged.push(Damaged { volume: volume.name(), offset });
        }
        for (number, named) in read.streams {
            let found = streams.get(&number).copied();
            let is_pruned = catalog.is_some_and(|catalog| !catalog.has_session(named.session));
            referred.volume_streams_pruned += u64::from(is_pruned && found.is_some());
            if let Some(bytes) = named.receipt.filter(|bytes| found.is_none_or(|found| found < *bytes)) {
                let (volume, stream) = (volume.name(), format!("{number:016x}"));
                referred.lacking.push(Lacking { volume, stream, bytes, found });
            }
        }
    }
    Ok(referred)
}
