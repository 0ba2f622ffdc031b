//! Bacula's volume tools, which read volumes without the director: with the storage daemon's configuration, plugins and
//! environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::execution::Execution;
use crate::{Daemon, Error, Printed, Result, Rig, catalog};

/// A catalog that bscan made from volumes alone.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// What bscan printed.
    pub printed: Printed,
    /// The new catalog's file; [`Rig::query_scanned`] reads it.
    pub catalog: PathBuf,
}

impl Rig {
    /// List what is on `volume` (several are joined by `|`); `arguments` such as `-j`, `-L`, `-k`, `-v`.
    ///
    /// # Errors
    /// It cannot be started or does not end in time; its failure is in the answer.
    pub fn bls(&self, device: &str, volume: &str, arguments: &[&str]) -> Result<Printed> {
        let mut command = self.tool("bls")?;
        command.args(arguments).args(["-V", volume, device]);
        self.finish(command)
    }

    /// Extract `paths` (all when empty) from `volume` into a new folder, which is returned.
    ///
    /// # Errors
    /// It cannot be started or does not end in time; its failure is in the answer.
    pub fn bextract(&self, device: &str, volume: &str, paths: &[&Path]) -> Result<(Printed, PathBuf)> {
        let folder = self.new_folder("extracted")?;
        let mut command = self.tool("bextract")?;
        if !paths.is_empty() {
            command.arg("-i").arg(self.list(paths)?);
        }
        command.args(["-V", volume, device]).arg(&folder);
        Ok((self.finish(command)?, folder))
    }

    /// Make a new catalog of what is on `volume`.
    ///
    /// # Errors
    /// It cannot be started or does not end in time; its failure is in the answer.
    pub fn bscan(&self, device: &str, volume: &str) -> Result<Scanned> {
        let folder = self.new_folder("scanned")?;
        let catalog = folder.join("scanned.db");
        catalog::create(&catalog, &self.packages.catalog_sql(), self.call_limit)?;
        let mut command = self.tool("bscan")?;
        command.args(["-s", "-S", "-m", "-v", "-n", "scanned", "-u", "", "-P", "", "-w"]).arg(&folder);
        command.args(["-V", volume, device]);
        Ok(Scanned { printed: self.finish(command)?, catalog })
    }

    /// Rows of a catalog that bscan made.
    ///
    /// # Errors
    /// sqlite3 refuses.
    pub fn query_scanned(&self, scanned: &Scanned, sql: &str) -> Result<Vec<Vec<String>>> {
        catalog::query(&scanned.catalog, sql, self.call_limit)
    }

    /// Append what is on volume `from` (device, volume) to volume `to`, which must be labelled. The source is named by
    /// a bootstrap file: named by `-i`, bcopy 9.6.7 takes the target for a volume to be read, refuses it, and asks for
    /// another for ever.
    ///
    /// # Errors
    /// It cannot be started or does not end in time; its failure is in the answer.
    pub fn bcopy(&self, from: (&str, &str), to: (&str, &str)) -> Result<Printed> {
        let bootstrap = self.new_folder("lists")?.join("volume.bsr");
        let text = format!("Volume=\"{}\"\n", from.1);
        fs::write(&bootstrap, text).map_err(Error::io(format!("cannot write {}", bootstrap.display())))?;
        let mut command = self.tool("bcopy")?;
        command.arg("-b").arg(&bootstrap).args(["-o", to.1, from.0, to.0]);
        self.finish(command)
    }

    /// A tool with the storage daemon's configuration and environment.
    ///
    /// # Errors
    /// The tree of Bacula 15 is damaged.
    pub fn tool(&self, program: &str) -> Result<Command> {
        let mut command = self.packages.tied(program)?;
        command.arg("-c").arg(self.site.file(&Daemon::Storage.configuration()));
        command.envs(self.environment(Daemon::Storage));
        command.current_dir(self.site.working(&Daemon::Storage.name()));
        Ok(command)
    }

    fn finish(&self, command: Command) -> Result<Printed> {
        Execution::new(command, self.job_limit).finish()
    }
}
