//! `gdd export` and `gdd import`: sealed sets, which go where no store can be reached.

use std::path::Path;

use gdd_engine::options::{Access, Options};
use gdd_engine::sealed::{self, Sealed};
use gdd_engine::store::Store;
use serde::Serialize;
use serde_json::json;

use super::copy::{self, Asked, Copied};
use crate::args;
use crate::control::order::Kind;
use crate::failure::{Failure, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::signals::Signals;
use crate::size::{grouped, show};

/// What an export or import did.
#[derive(Debug, Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    copied: &'a Copied,
    /// The set; none when the export did not end well.
    set: Option<&'a Sealed>,
}

/// Make a set.
///
/// # Errors
/// The store cannot be read, a name is unknown, or the set cannot be written.
pub fn export(arguments: &args::Export, common: &args::Common) -> Result<Outcome> {
    copy::demand_two(&arguments.from, &arguments.set)?;
    let (from, set, which) = (&arguments.from, &arguments.set, &arguments.which);
    if let Some(outcome) = copy::served(common, from, set, which, Kind::Set)? {
        return Ok(outcome);
    }
    let signals = Signals::note()?;
    let options = copy::half(&common.options());
    super::reading(from, &options, |from| {
        let asked = copy::wanted(from, which)?;
        make(from, set, &asked, &options, &mut copy::watching(&signals), copy::signal_code(&signals))
    })
}

/// Copy the streams of `asked` to a new set, and seal it.
///
/// # Errors
/// The set cannot be written.
pub(crate) fn make(
    from: &Store,
    set: &Path,
    asked: &Asked,
    options: &Options,
    watch: &mut copy::Watch<'_>,
    on_stop: impl FnOnce() -> Option<u8>,
) -> Result<Outcome> {
    // One worker fills one container after the other.
    let options = Options { workers: Some(1), ..options.clone() };
    Store::init(set, &from.core().settings, &options)?;
    let store = Store::open(set, Access::ReadWrite, &options)?;
    let copied = copy::between(from, &store, asked, false, watch)?;
    let code = copied.code(on_stop());
    if code != 0 {
        store.close()?;
        let text = copied.text();
        let why = format!("UNFINISHED   {} is not sealed; remove it\n", set.display());
        let mut outcome = Outcome::new(&Done { copied: &copied, set: None }, text + &why)?;
        outcome.code = code;
        return Ok(outcome);
    }
    let mut done = 0;
    let sealed = sealed::seal(store, &mut |bytes| {
        done += bytes;
        watch(done, done);
    })?;
    Outcome::new(&Done { copied: &copied, set: Some(&sealed) }, copied.text() + &line(&sealed))
}

/// Check a set, and store what is in it.
///
/// # Errors
/// The set is not whole, or not the one that was meant; or the store cannot be opened, or failed.
pub fn import(arguments: &args::Import, common: &args::Common) -> Result<Outcome> {
    let signals = Signals::note()?;
    let sealed = check(&arguments.set, &signals)?;
    if let Some(seal) = arguments.seal.as_ref().filter(|seal| !seal.eq_ignore_ascii_case(&sealed.seal)) {
        let why = format!("the set has the seal {}, not {seal}: it is another one", sealed.seal);
        return Err(Failure::Usage(why));
    }
    let Some(to) = &arguments.to else {
        return Outcome::new(&json!({ "set": sealed }), line(&sealed));
    };
    copy::demand_two(&arguments.set, to)?;
    let copied =
        match copy::served(common, &arguments.set, to, &arguments.which, Kind::Copy { check: false })? {
            Some(outcome) => outcome,
            None => {
                let options = copy::half(&common.options());
                super::reading(&arguments.set, &options, |set| {
                    let asked = copy::wanted(set, &arguments.which)?;
                    let on_stop = copy::signal_code(&signals);
                    copy::into(set, to, &asked, false, &options, &mut copy::watching(&signals), on_stop)
                })?
            }
        };
    let mut outcome = copied;
    outcome.text.push_str(&line(&sealed));
    outcome.json["set"] = json!(sealed);
    Ok(outcome)
}

fn check(set: &Path, signals: &Signals) -> Result<Sealed> {
    let (bar, mut done) = (Bar::bytes("check", None), 0);
    let sealed = sealed::verify(set, &mut |bytes| {
        done += bytes;
        bar.set(done);
        signals.check().is_ok()
    });
    signals.check()?;
    Ok(sealed?)
}

fn line(sealed: &Sealed) -> String {
    let Sealed { seal, files, bytes } = sealed;
    format!("set          {} files with {}, seal {seal}\n", grouped(*files), show(*bytes))
}
