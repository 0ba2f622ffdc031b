//! Collect what an operator installs under target/dist: the binary, Bacula's driver and plugin, examples, and
//! the licences.
//!
//! The driver is one library under the name that each supported release of Bacula looks for.
//! The folder is made afresh each time, so that nothing of an older build stays in it.

use std::fs;
use std::path::Path;

use crate::shell::{Run, root};
use crate::{Result, flags, setup};

const DIST: &str = "target/dist";
const GDD: &str = "target/dist/bin/gdd";
const DRIVER: &str = "target/release/libgdd_sd.so";
const PLUGIN: &str = "target/release/libgdd_fd.so";

/// The releases of Bacula that the driver was tested with. Each looks for a file with its own version in the name.
const BACULA: [&str; 2] = ["9.6.7", "15.0.3"];

/// Copied as they are.
const PAPERS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// From the source tree, and where each goes below the prefix.
const SYSTEM: [(&str, &str); 9] = [
    ("docs/operator-guide.md", "share/doc/gdd/operator-guide.md"),
    ("docs/examples/gdd.toml", "share/doc/gdd/examples/gdd.toml"),
    ("docs/examples/plugin.toml", "share/doc/gdd/examples/plugin.toml"),
    ("docs/examples/bacula-sd-device.conf", "share/doc/gdd/examples/bacula-sd-device.conf"),
    ("docs/examples/bacula-dir-fileset.conf", "share/doc/gdd/examples/bacula-dir-fileset.conf"),
    ("docs/examples/bacula-dir-storage.conf", "share/doc/gdd/examples/bacula-dir-storage.conf"),
    // The licence of driver and plugin: they are loaded into daemons under the same one.
    ("plugin/sd/LICENSE-AGPL-3.0", "LICENSE-AGPL-3.0"),
    ("dist/systemd/gdd.service", "lib/systemd/system/gdd.service"),
    ("dist/systemd/bacula-sd-gdd.conf", "lib/systemd/system/bacula-sd.service.d/gdd.conf"),
];

/// Shell, and where its completions go below the prefix.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/gdd"),
    ("zsh", "share/zsh/site-functions/_gdd"),
    ("fish", "share/fish/vendor_completions.d/gdd.fish"),
];

/// The chore `dist`.
pub fn run(arguments: &[String]) -> Result {
    flags(arguments, [])?;
    setup::for_build()?;
    Run::cargo().words("build --release --package gdd --package gdd-sd --package gdd-fd").run()?;
    let folder = root().join(DIST);
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
    }
    Run::new("mkdir").words("--parents target/dist/bin target/dist/lib").run()?;
    // Debug symbols go; the symbol table stays, so that an operator's backtrace names functions.
    Run::new("strip").words("--strip-debug -o").arg(GDD).arg("target/release/gdd").run()?;
    for version in BACULA {
        let driver = format!("{DIST}/lib/bacula-sd-cloud-driver-{version}.so");
        Run::new("strip").words("--strip-debug -o").arg(driver).arg(DRIVER).run()?;
    }
    let plugin = format!("{DIST}/lib/gdd-fd.so");
    Run::new("strip").words("--strip-debug -o").arg(plugin).arg(PLUGIN).run()?;
    let version = Run::new(GDD).arg("--version").read()?;
    let commit = Run::new("git").words("describe --always --dirty --abbrev=12").answer();
    let rustc = Run::new("rustc").arg("--version").answer();
    write(
        &folder.join("VERSION"),
        &format!("{}\ncommit {}\n{}\n", version.trim(), commit.trim(), rustc.trim()),
    )?;
    for paper in PAPERS {
        fs::copy(root().join(paper), folder.join(paper))
            .map_err(|error| format!("cannot copy {paper}: {error}"))?;
    }
    for (from, to) in SYSTEM {
        let text =
            fs::read_to_string(root().join(from)).map_err(|error| format!("cannot read {from}: {error}"))?;
        write(&folder.join(to), &text)?;
    }
    let papers = [
        third_party("gdd", "RocksDB (in librocksdb-sys) is used under its Apache-2.0 licence.")?,
        third_party("gdd-sd", "The driver itself is under AGPL-3.0-or-later.")?,
        third_party("gdd-fd", "The plugin itself is under AGPL-3.0-or-later.")?,
    ];
    write(&folder.join("LICENSES-THIRD-PARTY"), &papers.join("\n"))?;
    about_itself(&folder)?;
    Run::new("find").arg(DIST).words("-type f -size +0 -printf").arg("%10s  %p\\n").run()
}

/// One line per crate that is linked into `package`, with its licence; `note` stands before them.
fn third_party(package: &str, note: &str) -> Result<String> {
    let tree = Run::cargo()
        .words("tree --locked --edges normal --prefix none --package")
        .arg(package)
        .arg("--format")
        .arg("{p}  {l}  {r}")
        .read()?;
    let mut lines: Vec<_> =
        tree.lines().map(|line| line.replace(" (*)", "")).filter(|line| !is_ours(line)).collect();
    lines.sort();
    lines.dedup();
    let head =
        format!("Crates linked into {package}, each with its licence and where its source is.\n{note}\n\n");
    Ok(format!("{head}{}\n", lines.join("\n")))
}

/// A crate of this workspace is shown with its path.
fn is_ours(line: &str) -> bool {
    line.contains(" (/") || line.trim().is_empty()
}

/// Manual pages and completions, from a `gdd` that can print them.
fn about_itself(folder: &Path) -> Result {
    for (shell, path) in COMPLETIONS {
        let text = Run::new(GDD).arg("completions").arg(shell).answer();
        if text.is_empty() {
            println!("dist: this gdd prints no completions for {shell}; skipped");
        } else {
            write(&folder.join(path), &text)?;
        }
    }
    let pages = "target/dist/share/man/man1";
    if Run::new(GDD).words("man --help").succeeds() {
        Run::new("mkdir").arg("--parents").arg(pages).run()?;
        return Run::new(GDD).arg("man").arg(pages).run();
    }
    println!("dist: this gdd writes no manual pages; skipped");
    Ok(())
}

fn write(path: &Path, text: &str) -> Result {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_this_workspace_are_not_third_parties() {
        assert!(is_ours("gdd v0.1.0 (/somewhere/engine/daemon)  Apache-2.0 OR MIT  "));
        assert!(!is_ours("libc v0.2.0  MIT OR Apache-2.0  https://example.org"));
    }
}
