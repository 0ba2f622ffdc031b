//! A stock Bacula whose file daemon loads our plugin, built with the directory store: what the tests of bothsides mode
//! run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use gdd_rig::{Builder, Daemon, FileSet, Job, Level, Packages, Progress, Release, Rig};
use tempfile::TempDir;

use crate::workspace;

/// The plugin with the directory store, built once per test process into a folder of its own, so that it can never be
/// taken for the product.
///
/// # Panics
/// When cargo cannot build it.
pub fn plugin() -> &'static Path {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    PLUGIN.get_or_init(|| build("target/fd-test", &["--features", "directory-store"]))
}

/// The plugin as it is in the product, which `cargo build --release --workspace` makes.
#[must_use]
pub fn product() -> PathBuf {
    workspace::root().join("target/release/libgdd_fd.so")
}

fn build(target: &str, features: &[&str]) -> PathBuf {
    let target = workspace::root().join(target);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "-q", "-p", "gdd-fd"])
        .args(features)
        .arg("--target-dir")
        .arg(&target);
    let built = command.current_dir(workspace::root()).status();
    assert!(built.expect("cargo runs").success(), "the plugin cannot be built");
    target.join("release/libgdd_fd.so")
}

/// The directory store, and a folder of plugins.
#[derive(Debug)]
pub struct ClientSite {
    packages: Packages,
    folder: TempDir,
    /// More environment of the file daemon.
    environment: Vec<(String, String)>,
}

impl ClientSite {
    /// A new store. `None`, with the reason printed, when the environment switches these tests off.
    ///
    /// # Panics
    /// When Bacula cannot be installed, or the plugin cannot be built.
    #[must_use]
    pub fn new(release: Release) -> Option<Self> {
        Self::with(release, plugin)
    }

    /// The same with the plugin of the product.
    ///
    /// # Panics
    /// As [`ClientSite::new`]; the plugin must be there.
    #[must_use]
    pub fn with_product(release: Release) -> Option<Self> {
        Self::with(release, product)
    }

    fn with<P: AsRef<Path>>(release: Release, plugin: impl FnOnce() -> P) -> Option<Self> {
        if let Some(reason) = gdd_rig::switched_off() {
            println!("{reason}");
            return None;
        }
        let packages = Packages::of(release, &Progress::printed()).expect("Bacula is there");
        let site = Self { packages, folder: workspace::scratch("client"), environment: Vec::new() };
        for folder in ["plugins", "store/files", "tree"] {
            std::fs::create_dir_all(site.folder().join(folder)).expect("a new folder takes a folder");
        }
        std::fs::write(site.store().join("id"), "one").expect("the store takes a file");
        std::fs::copy(plugin(), site.plugin_file())
            .expect("the plugin was built: `cargo build --release --workspace`");
        Some(site)
    }

    /// The folder of everything that is not Bacula's.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The store's folder; its switches are files in it.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder().join("store")
    }

    /// The tree that is backed up.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.folder().join("tree")
    }

    /// The installed plugin.
    #[must_use]
    pub fn plugin_file(&self) -> PathBuf {
        self.folder().join("plugins/gdd-fd.so")
    }

    /// Turn a switch of the store on.
    ///
    /// # Panics
    /// When the store's folder is gone.
    pub fn switch_on(&self, switch: &str, value: &str) {
        std::fs::write(self.store().join(switch), value).expect("the store takes a switch");
    }

    /// Turn it off again.
    ///
    /// # Panics
    /// When it was not on.
    pub fn switch_off(&self, switch: &str) {
        std::fs::remove_file(self.store().join(switch)).expect("the switch was on");
    }

    /// The file daemon has this in its environment from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A Bacula with a job `files` of the tree, with `string` as its plugin string and more `options`.
    pub fn bacula(&self, string: &str, options: &[&str]) -> Builder {
        let mut set = FileSet::new("files").include(&self.tree()).option(&format!("Plugin = \"{string}\""));
        for option in options {
            set = set.option(option);
        }
        let builder = Rig::builder().packages(self.packages.clone());
        let environment = self.environment.iter();
        environment
            .fold(builder, |builder, (name, value)| builder.env(Daemon::File(0), name, value))
            .folder(self.folder())
            .file_plugins(&self.folder().join("plugins"))
            .env(Daemon::File(0), "GDD_FD_TEST_STORE", &self.store().to_string_lossy())
            .file_set(set)
    }

    /// The same, running, with an ordinary job.
    ///
    /// # Panics
    /// When Bacula does not start.
    #[must_use]
    pub fn start(&self, string: &str, options: &[&str]) -> Rig {
        self.bacula(string, options).job(Job::backup("files", "files")).start().expect("Bacula starts")
    }

    /// A full backup that must end without an error but with the test store's warning.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn full(&self, rig: &Rig) -> gdd_rig::JobResult {
        let job = rig.run("files", Level::Full).expect("a job runs").demand_ok().expect("it ends well");
        assert!(job.log.contains("gdd: ") && job.log.contains(" savings "), "no report in\n{}", job.log);
        job
    }
}
