//! Restore jobs, each into a new folder, so that nothing of an earlier one can be mistaken for its work.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::Builder;

use crate::{Error, JobId, JobResult, Result, Rig};

/// What a restore job left behind.
#[derive(Clone, Debug)]
pub struct Restored {
    /// How it ended.
    pub result: JobResult,
    /// The folder that it restored to.
    pub folder: PathBuf,
}

impl Restored {
    /// Where `original` (an absolute path) was restored to.
    #[must_use]
    pub fn path(&self, original: &Path) -> PathBuf {
        self.folder.join(original.strip_prefix("/").unwrap_or(original))
    }
}

impl Rig {
    /// Restore everything in `jobs`; later ones win where they hold the same file (a full and its incrementals).
    ///
    /// # Errors
    /// The director does not take it, or it does not end in time. A job that fails is no error.
    pub fn restore(&self, jobs: &[JobId]) -> Result<Restored> {
        self.restore_with(&format!("{} all done", self.chosen(jobs)?))
    }

    /// Restore the newest state of what client `index` backed up with `file_set`.
    ///
    /// # Errors
    /// As [`Rig::restore`].
    pub fn restore_latest(&self, index: u8, file_set: &str) -> Result<Restored> {
        let client = crate::Daemon::File(index).name();
        self.restore_with(&format!("client={client} fileset={file_set} select current all done"))
    }

    /// Restore single files of `jobs`, by absolute path.
    ///
    /// # Errors
    /// As [`Rig::restore`]; a path with a newline cannot be named.
    pub fn restore_files(&self, jobs: &[JobId], paths: &[&Path]) -> Result<Restored> {
        let list = self.list(paths)?;
        self.restore_with(&format!("{} file=<{} done", self.chosen(jobs)?, list.display()))
    }

    /// The console's `restore` with `arguments` that answer all its questions but where to and whether.
    ///
    /// # Errors
    /// As [`Rig::restore`].
    pub fn restore_with(&self, arguments: &str) -> Result<Restored> {
        let began = Instant::now();
        let folder = self.new_folder("restored")?;
        let id = self.queue(&format!("restore where={} {arguments} yes", folder.display()))?;
        Ok(Restored { result: self.wait_since(id, began)?, folder })
    }

    /// The arguments that choose `jobs`, and the client of the first of them, which the console asks for otherwise.
    fn chosen(&self, jobs: &[JobId]) -> Result<String> {
        let list: Vec<_> = jobs.iter().map(ToString::to_string).collect();
        let list = list.join(",");
        let query = format!(
            "SELECT Client.Name FROM Job JOIN Client ON Client.ClientId=Job.ClientId WHERE JobId IN ({list}) \
             ORDER BY JobId LIMIT 1"
        );
        let rows = self.query_catalog(&query)?;
        match rows.first().and_then(|row| row.first()) {
            Some(client) => Ok(format!("jobid={list} client={client}")),
            None => Err(Error::Catalog { query, expected: "a client", found: format!("{rows:?}") }),
        }
    }

    /// A file with one of `paths` on each line.
    pub(crate) fn list(&self, paths: &[&Path]) -> Result<PathBuf> {
        let mut text = Vec::new();
        for path in paths {
            let bytes = path.as_os_str().as_bytes();
            if bytes.contains(&b'\n') {
                return Err(Error::Settings(format!(
                    "{} has a newline, and is to stand on one",
                    path.display()
                )));
            }
            text.extend_from_slice(bytes);
            text.push(b'\n');
        }
        let file = self.new_folder("lists")?.join("paths");
        fs::write(&file, text).map_err(Error::io(format!("cannot write {}", file.display())))?;
        Ok(file)
    }

    /// A folder that was not there before.
    pub(crate) fn new_folder(&self, kind: &str) -> Result<PathBuf> {
        let parent = self.site.folder.join(kind);
        crate::config::make(&parent)?;
        let folder = Builder::new().prefix("").disable_cleanup(true).tempdir_in(&parent);
        Ok(folder.map_err(Error::io(format!("cannot make a folder in {}", parent.display())))?.keep())
    }
}
