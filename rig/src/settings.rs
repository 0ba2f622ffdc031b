//! What a rig is made of: devices, pools, file sets and jobs, each with the few settings that tests turn, and a `line`
//! for all others, which goes into the resource as it is (`Name = value`, one directive).

use std::path::{Path, PathBuf};

/// A device of the storage daemon, and the director's storage of the same name.
#[derive(Clone, Debug)]
pub struct Device {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) media_type: String,
    pub(crate) archive: PathBuf,
    pub(crate) jobs_at_once: u32,
    pub(crate) spool_size_max: Option<u64>,
    pub(crate) lines: Vec<String>,
}

impl Device {
    /// A device of Bacula's `kind` (`File`, `Cloud`, ...), with a media type and an archive folder of its own name.
    #[must_use]
    pub fn new(name: &str, kind: &str) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            media_type: format!("{name}-media"),
            archive: name.into(),
            jobs_at_once: 20,
            spool_size_max: None,
            lines: Vec::new(),
        }
    }

    /// The plain disk device.
    #[must_use]
    pub fn file(name: &str) -> Self {
        Self::new(name, "File")
    }

    /// Its volumes lie in `folder`; a relative path starts at the rig's own folder for volumes. It is made if missing.
    #[must_use]
    pub fn archive(mut self, folder: impl AsRef<Path>) -> Self {
        folder.as_ref().clone_into(&mut self.archive);
        self
    }

    /// Devices of the same media type and archive read each other's volumes.
    #[must_use]
    pub fn media_type(mut self, media_type: &str) -> Self {
        media_type.clone_into(&mut self.media_type);
        self
    }

    /// Jobs that write to it at the same time, interleaved; 20 unless said.
    #[must_use]
    pub fn jobs_at_once(mut self, count: u32) -> Self {
        self.jobs_at_once = count;
        self
    }

    /// Blocks of at most `size` bytes (Bacula's own default is 64512).
    #[must_use]
    pub fn block_size_max(self, size: u32) -> Self {
        self.line(&format!("Maximum Block Size = {size}"))
    }

    /// It may spool up to `size` bytes; a job spools with [`Job::spool_data`].
    #[must_use]
    pub fn spool(mut self, size: u64) -> Self {
        self.spool_size_max = Some(size);
        self
    }

    /// Any other directive of a device.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.into());
        self
    }
}

/// A pool of volumes on one device.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(crate) name: String,
    pub(crate) device: String,
    pub(crate) lines: Vec<String>,
}

impl Pool {
    /// A pool of backups whose volumes are labelled by hand ([`crate::Rig::label`]); nothing is pruned or recycled.
    #[must_use]
    pub fn new(name: &str, device: &str) -> Self {
        Self { name: name.into(), device: device.into(), lines: Vec::new() }
    }

    /// Bacula labels volumes when it needs them, as `prefix` and a number.
    #[must_use]
    pub fn label_format(self, prefix: &str) -> Self {
        self.line(&format!("Label Format = \"{prefix}\""))
    }

    /// A volume is full at `size` logical bytes.
    #[must_use]
    pub fn volume_bytes_max(self, size: u64) -> Self {
        self.line(&format!("Maximum Volume Bytes = {size}"))
    }

    /// A volume takes `count` jobs.
    #[must_use]
    pub fn volume_jobs_max(self, count: u32) -> Self {
        self.line(&format!("Maximum Volume Jobs = {count}"))
    }

    /// The pool has `count` volumes at most.
    #[must_use]
    pub fn volumes_max(self, count: u32) -> Self {
        self.line(&format!("Maximum Volumes = {count}"))
    }

    /// Purged volumes are used again, the oldest first.
    #[must_use]
    pub fn recycle(self) -> Self {
        self.line("Recycle = yes").line("Recycle Oldest Volume = yes")
    }

    /// A purged volume may be truncated ([`crate::Rig::truncate`]).
    #[must_use]
    pub fn truncate_on_purge(self) -> Self {
        self.line("Action On Purge = Truncate")
    }

    /// Copies and virtual fulls of this pool's jobs go to `pool`.
    #[must_use]
    pub fn next(self, pool: &str) -> Self {
        self.line(&format!("Next Pool = \"{pool}\""))
    }

    /// Any other directive of a pool.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.into());
        self
    }
}

/// What a backup takes.
#[derive(Clone, Debug)]
pub struct FileSet {
    pub(crate) name: String,
    pub(crate) options: Vec<String>,
    pub(crate) includes: Vec<String>,
    pub(crate) excludes: Vec<String>,
}

impl FileSet {
    /// An empty one, with MD5 signatures, extended attributes and ACLs.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let options = ["xattrsupport = yes", "aclsupport = yes"].map(str::to_owned).into();
        let empty = Self { name: name.into(), options, includes: Vec::new(), excludes: Vec::new() };
        empty.option("signature = MD5")
    }

    /// The tree at `path`.
    #[must_use]
    pub fn include(mut self, path: &Path) -> Self {
        self.includes.push(format!("File = \"{}\"", path.display()));
        self
    }

    /// A plugin's command: `name:arguments`.
    #[must_use]
    pub fn plugin(mut self, command: &str) -> Self {
        self.includes.push(format!("Plugin = \"{command}\""));
        self
    }

    /// Not the tree at `path`.
    #[must_use]
    pub fn exclude(mut self, path: &Path) -> Self {
        self.excludes.push(format!("File = \"{}\"", path.display()));
        self
    }

    /// A directive of Options: `compression = GZIP`, `sparse = yes`, `signature = SHA256`. It replaces one of the
    /// same name.
    #[must_use]
    pub fn option(mut self, line: &str) -> Self {
        let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_lowercase();
        self.options.retain(|other| name(other) != name(line));
        self.options.push(line.into());
        self
    }
}

/// A job of the director. Every rig has one named `Restore` beside these.
#[derive(Clone, Debug)]
pub struct Job {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) level: Option<&'static str>,
    pub(crate) file_set: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) client: u8,
    pub(crate) lines: Vec<String>,
}

impl Job {
    /// A backup of the file set `file_set` to the first pool.
    #[must_use]
    pub fn backup(name: &str, file_set: &str) -> Self {
        Self { level: Some("Full"), file_set: Some(file_set.into()), ..Self::empty(name, "Backup") }
    }

    /// A copy of the jobs in `pool` that have no copy yet, to that pool's next one.
    #[must_use]
    pub fn copy(name: &str, pool: &str) -> Self {
        Self::empty(name, "Copy").pool(pool).line("Selection Type = PoolUncopiedJobs")
    }

    /// A comparison of the last backup by job `of`: [`crate::Level::VolumeToCatalog`] and its relatives.
    #[must_use]
    pub fn verify(name: &str, of: &Job) -> Self {
        let like =
            Self { file_set: of.file_set.clone(), pool: of.pool.clone(), ..Self::empty(name, "Verify") };
        let like = Self { level: Some("VolumeToCatalog"), client: of.client, ..like };
        like.line(&format!("Verify Job = \"{}\"", of.name))
    }

    fn empty(name: &str, kind: &'static str) -> Self {
        Self {
            name: name.into(),
            kind,
            level: None,
            file_set: None,
            pool: None,
            client: 0,
            lines: Vec::new(),
        }
    }

    /// It uses `pool`, and the storage of that pool.
    #[must_use]
    pub fn pool(mut self, pool: &str) -> Self {
        self.pool = Some(pool.into());
        self
    }

    /// It runs on file daemon number `index` ([`crate::Builder::clients`]).
    #[must_use]
    pub fn client(mut self, index: u8) -> Self {
        self.client = index;
        self
    }

    /// Incrementals see renamed, deleted and old-dated files.
    #[must_use]
    pub fn accurate(self) -> Self {
        self.line("Accurate = yes")
    }

    /// Data is spooled first; the device needs [`Device::spool`].
    #[must_use]
    pub fn spool_data(self) -> Self {
        self.line("Spool Data = yes")
    }

    /// Any other directive of a job.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.into());
        self
    }
}
