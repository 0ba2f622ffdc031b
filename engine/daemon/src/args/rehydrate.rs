//! What was typed after `gdd rehydrate`.

use std::path::PathBuf;

use clap::Args;

/// `gdd rehydrate`.
#[derive(Args, Debug)]
#[command(after_help = "\
In bothsides mode a Bacula volume holds, for each file of 512 bytes or more, a reference of 120 bytes; the file's data
are in gdd's store. The plugin in bacula-fd makes files of them while it restores. bextract reads volumes without a
file daemon, and so without the plugin, and a restore to a client that lacks the plugin does the same: both leave the
reference as the content of the file. This command then asks the daemon for each such file, verifies its length and
BLAKE3, and puts it in the reference's place, with the owner, mode, times and extended attributes that were restored.
What is no reference is left alone, so it may be run again, and on whole trees. Symbolic links are not followed.

A restore without the plugin ends with errors, as the lengths differ: Bacula may then not have set owner, mode and
times, and there is nothing here to take them from.

Examples:
  bextract -V Full-0001 /srv/bacula /restore      files appear, many of 120 bytes
  gdd rehydrate --dry-run /restore                which of them are references
  gdd rehydrate --server backup:9205 --key /etc/gdd/site.key /restore

Exit codes: 0 all references are files now, 1 some are not, 3 the daemon gave damaged data for some.")]
pub struct Rehydrate {
    /// Files, and directories with all that is below them
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// The daemon [default: `server` in /etc/gdd/plugin.toml, or in the file that GDD_PLUGIN_CONFIG names]
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// The key file of the clients [default: `key_file` there, or /etc/gdd/site.key]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Change nothing and ask no daemon; list the references
    #[arg(long)]
    pub dry_run: bool,
}
