//! Which Bacula this is, by the name of the library that its functions were loaded from.
//!
//! Debian's libraries carry the version in their names (`libbac-9.6.7.so`), and the loader has resolved exactly that
//! name; it cannot be stale as a compiled-in constant can.

use crate::error::Refused;
use crate::symbols;

/// A Bacula that was tried, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The version, or its beginning when it ends with a dot.
    pub version: &'static str,
    /// Size of the `file_dev` table in bytes; `None` where builds differ.
    pub file_dev_table_size: Option<usize>,
}

/// Every Bacula that was tried, newest first.
pub const KNOWN: [Known; 3] = [
    Known { version: "15.0.3", file_dev_table_size: Some(1136) },
    Known { version: "13.0.", file_dev_table_size: None },
    Known { version: "9.6.7", file_dev_table_size: Some(880) },
];

/// A symbol that libbac itself defines in every version.
const ANCHOR: &str = "_Z4JmsgP3JCRilPKcz";

/// The version that the running daemon's libbac names.
///
/// # Errors
/// When the library is not there, or its name has no version.
pub fn of_this_process() -> Result<String, Refused> {
    let library = symbols::library_of(symbols::address(ANCHOR)?.addr());
    let name = library.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    name.and_then(in_name).map(str::to_owned).ok_or_else(|| unknown(name.unwrap_or("of an unnamed library")))
}

/// `9.6.7` of `libbac-9.6.7.so`.
fn in_name(name: &str) -> Option<&str> {
    let version = name.strip_prefix("libbac-")?.split(".so").next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

/// What is known of `version`; with `accepted` equal to it, an unknown one passes.
///
/// # Errors
/// [`Refused::Version`] when it was never tried.
pub fn known(version: &str, accepted: Option<&str>) -> Result<Known, Refused> {
    let same = |known: &&Known| match known.version.strip_suffix('.') {
        Some(_) => version.starts_with(known.version),
        None => version == known.version,
    };
    match KNOWN.iter().find(same) {
        Some(known) => Ok(*known),
        None if accepted == Some(version) => Ok(Known { version: "accepted", file_dev_table_size: None }),
        None => Err(unknown(version)),
    }
}

fn unknown(found: &str) -> Refused {
    Refused::Version { found: found.to_owned(), known: KNOWN.map(|known| known.version).join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_name_tells_the_version() {
        assert_eq!(in_name("libbac-9.6.7.so"), Some("9.6.7"));
        assert_eq!(in_name("libbac-15.0.3.so.1"), Some("15.0.3"));
        for bad in ["libbac.so", "libbacsd-9.6.7.so", "libbac-.so", ""] {
            assert_eq!(in_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn unknown_versions_are_refused_unless_they_are_accepted_by_name() {
        assert_eq!(known("9.6.7", None).map(|known| known.file_dev_table_size), Ok(Some(880)));
        assert!(known("13.0.4", None).is_ok());
        for bad in ["9.6.70", "9.6", "13.1.0", "15.0.2", ""] {
            let refused = known(bad, Some("9.9.9")).expect_err("never tried");
            assert!(refused.to_string().contains("GDD_ACCEPT_BACULA="), "{refused}");
        }
        assert!(known("17.0.0", Some("17.0.0")).is_ok());
    }

    #[test]
    fn a_process_without_bacula_has_no_version() {
        assert!(matches!(of_this_process(), Err(Refused::Missing(_))));
    }
}
