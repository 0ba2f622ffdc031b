//! What was typed after `gdd reconcile`.

use std::path::PathBuf;

use clap::Args;

use crate::span;

/// `gdd reconcile`.
#[derive(Args, Debug)]
#[command(after_help = "\
Storage mode: a volume that is truncated or recycled gives its streams up. One that was deleted, or whose file was
removed, does not: its streams stay for ever. --volumes names the Archive Devices, all of them; streams whose volume
is in none are orphans. Each must have a volume in it: an empty one is most likely not mounted. A file that cannot be
read, or a volume whose header is damaged or cut, ends it. Whether all were named is not known without the catalog, so
--apply then needs --force to remove streams whose volume is in no folder. The other way round, streams that a volume
has a receipt of and the store does not have are named, with exit code 3; restores of those jobs would end in error.

Bothsides mode: the client's jobs own their streams, and a job that the catalog has pruned cannot be restored any more.
--jobs-older-than takes a span that is longer than every job and volume retention: streams stored before are orphans.

--catalog takes what the catalog knows, of all directors together. While it has a volume that is in none of the
folders, no stream counts as one whose volume is gone: it may be that volume's. So the list leaves out the Media Types
of devices that are not gdd's; Devices have them in bacula-sd.conf. Streams of a volume that is in a folder and not in
the catalog are orphans; so are streams of bothsides mode that are more than a day older than every job that the
catalog has of the same client, job and file set, if it has one under the names that the client knows: stock Bacula
tells its plugins other ones, so --jobs-older-than is for those. Streams of a volume that the catalog knows stay, as
its blocks refer to them, also where their job was pruned: purge and truncate the volume. Give neither --catalog nor
--jobs-older-than where VirtualFull, Copy or Migration jobs carry references of bothsides mode from older jobs along:
those need the older jobs' streams. The list, from SQLite and from PostgreSQL:

  O=\"'File','LTO-8'\"             # Media Types of all other devices; '' if there are none
  V=\"SELECT 'V',VolumeName FROM Media WHERE MediaType NOT IN ($O)\"
  J=\"SELECT 'J',JobId,Job.Name,Client.Name,FileSet,VolSessionId,VolSessionTime,START FROM Job
     LEFT JOIN Client USING (ClientId) LEFT JOIN FileSet USING (FileSetId)\"
  S=\"strftime('%s',StartTime)\"
  sqlite3 -readonly bacula.db \"$V; ${J/START/$S}\" > list
  S=\"extract(epoch FROM StartTime)::bigint\"
  psql -At -c \"$V\" -c \"${J/START/$S}\" bacula > list

Young streams are never orphans: their job may be running. Nothing is removed without --apply, and nothing when it is
more than half of all streams of the kind, unless --force says that this is right.

Examples:
  gdd reconcile --volumes /srv/bacula                      what would go
  gdd reconcile --volumes /srv/bacula --catalog list       what the catalog does not know either
  gdd reconcile --volumes /srv/bacula --catalog list --apply
                                                           and let it go; gdd vacuum frees the space
  gdd reconcile --jobs-older-than 400d --apply             bothsides mode, retention of a year

Exit codes: 0 all is well, or removed as asked; 3 a volume refers to what the store does not have.")]
pub struct Reconcile {
    /// An Archive Device with volumes of storage mode; may be given several times
    #[arg(long, value_name = "DIR", required_unless_present_any = ["jobs_older_than", "catalog"])]
    pub volumes: Vec<PathBuf>,
    /// What the catalog knows, as made by the command below; - is standard input
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// Streams of bothsides mode that were stored before this are orphans, e.g. 400d
    #[arg(long, value_name = "SPAN", value_parser = age)]
    pub jobs_older_than: Option<u64>,
    /// A stream that is younger is kept in any case
    #[arg(long, value_name = "SPAN", value_parser = age, default_value = "1d")]
    pub keep_newer: u64,
    /// Remove the orphans
    #[arg(long)]
    pub apply: bool,
    /// Also when they are more than half; and without --catalog, also streams whose volume is in no folder
    #[arg(long, requires = "apply")]
    pub force: bool,
}

fn age(text: &str) -> Result<u64, String> {
    span::parse(text)?.ok_or_else(|| "a span is needed, such as 400d".to_owned())
}
