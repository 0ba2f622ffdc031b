//! What the plugin was told: `/etc/gdd/plugin.toml`, or the file that GDD_PLUGIN_CONFIG names; the options in the
//! FileSet's plugin string (`gdd:key=value:key=value`) override it.
//!
//! Anything that is not understood is refused with the list of what is: a typing error must not silently lead to
//! another store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gdd_plugin_abi::settings::{self, STORAGE_KEYS};

/// Where the key is unless told.
pub const KEY_FILE_DEFAULT: &str = "/etc/gdd/site.key";
/// The options that the plugin string knows.
pub const KNOWN: &str =
    "server=HOST:PORT, key_file=/PATH, client=NAME, zero_read=fatal|error, patience=SECONDS";
/// Bytes of a client's name at most; Bacula's have fewer.
const CLIENT_SIZE_MAX: usize = gdd_wire::limits::NAME_SIZE_MAX;
/// Longest and shortest time to wait for an answer, in seconds.
const PATIENCE: std::ops::RangeInclusive<u64> = 1..=3600;

/// What the plugin was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Host and port of the daemon. Without one no job can do anything.
    pub server: Option<String>,
    /// The file with the key.
    pub key_file: PathBuf,
    /// What this client is called at the daemon; the host's name unless told.
    pub client: Option<String>,
    /// Whether a file that has bytes, but gives none, ends the job. Otherwise it is an error of that file.
    pub zero_read_is_fatal: bool,
    /// How long an answer may take.
    pub patience: Duration,
}

/// Why settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The plugin string.
    #[error("[GDD-FD-0001] Plugin = {string:?}: {what}; the options are: {KNOWN}")]
    Option {
        /// All of it.
        string: String,
        /// Expected and found.
        what: String,
    },
    /// The file.
    #[error("[GDD-FD-0002] {path}: {what}; correct the file, or let GDD_PLUGIN_CONFIG name another one")]
    File {
        /// Its path.
        path: PathBuf,
        /// Expected and found.
        what: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: None,
            key_file: KEY_FILE_DEFAULT.into(),
            client: None,
            zero_read_is_fatal: true,
            patience: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Reads the file, then `string`, which is the FileSet's plugin string.
    ///
    /// # Errors
    /// When either is not understood, or a named file cannot be read.
    pub fn load(string: &str) -> Result<Self, Refused> {
        let (path, text) = settings::read().map_err(|(path, what)| Refused::File { path, what })?;
        let mut config = Self::default();
        config.read_file(&path, &text)?;
        config.read_string(string)?;
        Ok(config)
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), Refused> {
        settings::each(text, &STORAGE_KEYS, |key, value| self.set(key, value))
            .map_err(|what| Refused::File { path: path.to_owned(), what })
    }

    fn read_string(&mut self, string: &str) -> Result<(), Refused> {
        let refuse = |what: String| Refused::Option { string: string.to_owned(), what };
        let mut parts = string.split(':');
        if parts.next() != Some("gdd") {
            return Err(refuse("expected gdd: at the start".to_owned()));
        }
        // A part without `=` belongs to the value before it, which had a colon.
        let mut options: Vec<String> = Vec::new();
        for part in parts {
            match options.last_mut() {
                Some(last) if !part.contains('=') => {
                    last.push(':');
                    last.push_str(part);
                }
                _ if part.is_empty() => {}
                _ => options.push(part.to_owned()),
            }
        }
        for option in options {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| refuse(format!("expected key=value, found {option:?}")))?;
            self.set(key.trim(), value.trim()).map_err(refuse)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = |expected: &str| Err(format!("expected {key}={expected}, found {value:?}"));
        match (key, value) {
            ("server", _) => match value.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                    self.server = Some(value.to_owned());
                }
                _ => return wrong("HOST:PORT"),
            },
            ("key_file", _) if Path::new(value).is_absolute() => self.key_file = value.into(),
            ("key_file", _) => return wrong("an absolute path"),
            ("client", _) if (1..=CLIENT_SIZE_MAX).contains(&value.len()) => {
                self.client = Some(value.to_owned());
            }
            ("client", _) => return wrong("a name of 1 to 128 bytes"),
            ("zero_read", "fatal") => self.zero_read_is_fatal = true,
            ("zero_read", "error") => self.zero_read_is_fatal = false,
            ("zero_read", _) => return wrong("fatal or error"),
            ("patience", _) => match value.parse() {
                Ok(seconds) if PATIENCE.contains(&seconds) => self.patience = Duration::from_secs(seconds),
                _ => return wrong("1 to 3600 seconds"),
            },
            _ => return Err(format!("expected a known option, found {key:?}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(string: &str) -> Result<Config, Refused> {
        let mut config = Config::default();
        config.read_string(string).map(|()| config)
    }

    #[test]
    fn options_are_read() {
        assert_eq!(of("gdd:"), Ok(Config::default()));
        assert_eq!(of("gdd"), Ok(Config::default()));
        let config =
            of("gdd:server=a.b:77:zero_read=error:patience=5:key_file=/k:client=c-fd").unwrap_or_default();
        assert_eq!(config.server.as_deref(), Some("a.b:77"));
        assert_eq!(config.client.as_deref(), Some("c-fd"));
        assert!(!config.zero_read_is_fatal && config.key_file == Path::new("/k"));
        assert_eq!(config.patience, Duration::from_secs(5));
        assert_eq!(of("gdd:server=[::1]:77").map(|config| config.server), Ok(Some("[::1]:77".to_owned())));
    }

    #[test]
    fn anything_else_is_refused_with_what_is_known() {
        for bad in [
            "gddx:",
            "",
            "gdd:sever=a:1",
            "gdd:server",
            "gdd:server=a",
            "gdd:server=a:0",
            "gdd:server=a:1:typo",
            "gdd:zero_read=no",
            "gdd:patience=0",
            "gdd:key_file=k",
            "gdd:client=",
            "gdd:/etc",
        ] {
            let text = of(bad).expect_err(bad).to_string();
            assert!(text.contains("GDD-FD-0001") && text.contains(KNOWN), "{text}");
        }
    }

    #[test]
    fn the_file_is_read_and_overridden() {
        let mut config = Config::default();
        let path = Path::new("/etc/gdd/plugin.toml");
        assert_eq!(config.read_file(path, "# x\nsocket = \"/s\"\nserver = \"h:1\" # y\n"), Ok(()));
        assert_eq!(config.server.as_deref(), Some("h:1"));
        assert_eq!(config.read_string("gdd:server=i:2"), Ok(()));
        assert_eq!(config.server.as_deref(), Some("i:2"));
        let example = include_str!("../../../docs/examples/plugin.toml").replace("#: ", "");
        let mut of_example = Config::default();
        assert_eq!((of_example.read_file(path, &example), of_example), (Ok(()), Config::default()));
        for bad in ["server = h:1", "sever = \"h:1\"", "server", "[x]"] {
            let text = config.read_file(path, &format!("\n{bad}\n")).expect_err(bad).to_string();
            assert!(text.contains("GDD-FD-0002") && text.contains("line 2"), "{text}");
        }
    }
}
