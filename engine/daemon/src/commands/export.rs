//! `gdd export` and `gdd import`: sealed sets, which go where no store can be reached.

use std::path::Path;

use gdd_engine::options::{Access, Options};
use gdd_engine::sealed::{self, Sealed};
use gdd_engine::store::Store;
use serde::Serialize;
use serde_json::json;

use super::copy::{self, Copied};
use crate::args;
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
pub fn export(arguments: &args::Export, options: &Options) -> Result<Outcome> {
    let signals = Signals::note()?;
    copy::demand_two(&arguments.from, &arguments.set)?;
    let from = Store::open(&arguments.from, Access::ReadOnly, &copy::half(options))?;
    let rows = copy::wanted(&from, &arguments.which)?;
    // One worker fills one container after the other.
    let options = Options { workers: Some(1), ..copy::half(options) };
    Store::init(&arguments.set, &from.core().settings, &options)?;
    let set = Store::open(&arguments.set, Access::ReadWrite, &options)?;
    let copied = copy::between(&from, &set, &rows, false, &signals)?;
    let code = copied.code(&signals);
    if code != 0 {
        set.close()?;
        let text = copied.text();
        let why = format!("UNFINISHED   {} is not sealed; remove it\n", arguments.set.display());
        let mut outcome = Outcome::new(&Done { copied: &copied, set: None }, text + &why)?;
        outcome.code = code;
        return Ok(outcome);
    }
    let (bar, mut done) = (Bar::bytes("seal", None), 0);
    let sealed = sealed::seal(set, &mut |bytes| {
        done += bytes;
        bar.set(done);
    })?;
    drop(bar);
    from.close()?;
    Outcome::new(&Done { copied: &copied, set: Some(&sealed) }, copied.text() + &line(&sealed))
}

/// Check a set, and store what is in it.
///
/// # Errors
/// The set is not whole, or not the one that was meant; or the store cannot be opened, or failed.
pub fn import(arguments: &args::Import, options: &Options) -> Result<Outcome> {
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
    let options = copy::half(options);
    super::reading(&arguments.set, &options, |set| {
        let rows = copy::wanted(set, &arguments.which)?;
        let ((copied, code), notes) = super::writing(to, &options, |to| {
            let copied = copy::between(set, to, &rows, false, &signals)?;
            let code = copied.code(&signals);
            Ok((copied, code))
        })?;
        let text = copied.text() + &line(&sealed);
        let mut outcome =
            Outcome::new(&Done { copied: &copied, set: Some(&sealed) }, text)?.with_notes(notes);
        outcome.code = code;
        Ok(outcome)
    })
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
