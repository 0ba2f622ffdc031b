//! Get the rivals: Debian packages by apt-get, crates by cargo into target/tools. Who cannot be had is left out.

use super::field::{FIELD, Origin, Rival};
use super::options::Options;
use crate::shell::{Run, TOOLS, has, root, search_path};
use crate::{Result, setup};

/// What the crates' C libraries need, beside what our own build needs.
const LIBRARIES: &str = "libsodium-dev pkg-config cmake";

/// Everybody who takes part and is there, with what each says of its version.
pub fn field(options: &Options) -> Result<Vec<(&'static Rival, String)>> {
    if !has("time") {
        setup::packages("time")?;
    }
    let mut field = Vec::new();
    for rival in FIELD.iter().filter(|rival| options.wants(rival.name)) {
        match one(rival, options.install) {
            Ok(version) => field.push((rival, version)),
            Err(error) if rival.origin == Origin::Here => return Err(error),
            Err(error) => eprintln!("rivals: {} is left out: {error}", rival.name),
        }
    }
    Ok(field)
}

fn one(rival: &Rival, install: bool) -> Result<String> {
    match rival.origin {
        _ if !install => {}
        Origin::Here => {
            setup::for_build()?;
            Run::cargo().words("build --release").run()?;
        }
        Origin::Debian(package) => {
            if !has(rival.name) {
                setup::packages(package)?;
            }
        }
        Origin::Crate(name, version, rest) => {
            if !root().join(TOOLS).join("bin").join(rival.name).exists() {
                crate_of(name, version, rest)?;
            }
        }
    }
    let version = Run::new("sh").arg("-c").arg(rival.version).env("PATH", search_path()).answer();
    match version.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.replace('\t', " ")),
        _ => Err(format!("`{}` says nothing", rival.version)),
    }
}

/// Minutes of compiling, so what was compiled stays until it is whole.
fn crate_of(name: &str, version: &str, rest: &str) -> Result {
    if !has("pkg-config") || !has("cmake") {
        setup::packages(LIBRARIES)?;
    }
    Run::cargo()
        .words("install --locked --root")
        .arg(root().join(TOOLS))
        .words("--version")
        .arg(version)
        .words(rest)
        .arg(name)
        .env("CARGO_TARGET_DIR", root().join(TOOLS).join("build"))
        .run()
}
