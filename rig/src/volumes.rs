//! Volumes: label, recycle, truncate, and what the catalog says about them.

use std::path::PathBuf;

use crate::settings::{Device, Pool};
use crate::{Error, Result, Rig};

impl Rig {
    /// Label a new volume of `pool`, on that pool's device.
    ///
    /// # Errors
    /// The director or the storage daemon refuses.
    pub fn label(&self, volume: &str, pool: &str) -> Result<String> {
        let storage = &self.pool(pool)?.device;
        let command = format!("label volume={volume} pool={pool} storage={storage} slot=0 drive=0");
        self.console_expecting(&command, "successfully created")
    }

    /// Give a volume a new name.
    ///
    /// # Errors
    /// The director or the storage daemon refuses; the volume must be purged.
    pub fn relabel(&self, old: &str, new: &str, pool: &str) -> Result<String> {
        let storage = &self.pool(pool)?.device;
        let command =
            format!("relabel oldvolume={old} volume={new} pool={pool} storage={storage} slot=0 drive=0");
        self.console_expecting(&command, "successfully created")
    }

    /// Forget the jobs on a volume, whatever their age.
    ///
    /// # Errors
    /// The director refuses.
    pub fn purge(&self, volume: &str) -> Result<String> {
        let answer = self.console(&format!("purge volume={volume} yes"))?;
        match self.volume_column(volume, "VolStatus")?.as_str() {
            "Purged" => Ok(answer),
            other => {
                let expected = format!("VolStatus Purged, which is {other}");
                Err(Error::Console { command: format!("purge volume={volume}"), expected, answer })
            }
        }
    }

    /// Forget the jobs on a volume that are past their retention.
    ///
    /// # Errors
    /// The director does not answer.
    pub fn prune(&self, volume: &str) -> Result<String> {
        self.console(&format!("prune volume={volume} yes"))
    }

    /// Truncate a purged volume of a pool with [`Pool::truncate_on_purge`].
    ///
    /// # Errors
    /// The director or the storage daemon refuses.
    pub fn truncate(&self, volume: &str, pool: &str) -> Result<String> {
        let storage = &self.pool(pool)?.device;
        let command = format!("truncate volume={volume} pool={pool} storage={storage} drive=0 yes");
        self.console_expecting(&command, "truncated")
    }

    /// Remove a volume from the catalog; its file stays.
    ///
    /// # Errors
    /// The director refuses.
    pub fn delete_volume(&self, volume: &str) -> Result<String> {
        self.console(&format!("delete volume={volume} yes"))
    }

    /// The console's `update` with `arguments`, such as `volume=V volstatus=Used`.
    ///
    /// # Errors
    /// The director does not answer.
    pub fn update(&self, arguments: &str) -> Result<String> {
        self.console(&format!("update {arguments} yes"))
    }

    /// A column of the catalog's row for `volume`: `VolStatus`, `VolBytes`, `VolJobs`, ...
    ///
    /// # Errors
    /// There is no such volume or column.
    pub fn volume_column(&self, volume: &str, column: &str) -> Result<String> {
        let query = format!("SELECT {column} FROM Media WHERE VolumeName='{volume}'");
        let rows = self.query_catalog(&query)?;
        match rows.as_slice() {
            [row] if row.len() == 1 => Ok(row[0].clone()),
            _ => Err(Error::Catalog { query, expected: "one volume", found: format!("{rows:?}") }),
        }
    }

    /// The file of `volume` in the folder of `device`.
    ///
    /// # Errors
    /// There is no such device.
    pub fn volume_file(&self, device: &str, volume: &str) -> Result<PathBuf> {
        Ok(self.site.archive(self.device(device)?).join(volume))
    }

    pub(crate) fn device(&self, name: &str) -> Result<&Device> {
        let found = self.devices.iter().find(|device| device.name == name);
        found.ok_or_else(|| Error::Settings(format!("there is no device {name:?}")))
    }

    fn pool(&self, name: &str) -> Result<&Pool> {
        let found = self.pools.iter().find(|pool| pool.name == name);
        found.ok_or_else(|| Error::Settings(format!("there is no pool {name:?}")))
    }
}
