//! Where the daemon is: `/etc/gdd/plugin.toml`, or the file that GDD_PLUGIN_CONFIG names; GDD_SOCKET overrides what it
//! says.
//!
//! How the file is written, and that it is the file daemon's as well: [`gdd_plugin_abi::settings`].

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use gdd_plugin_abi::settings::{self, CLIENT_KEYS};

use crate::store::StoreError;

/// Where the socket is unless file or GDD_SOCKET say otherwise.
pub const SOCKET_DEFAULT: &str = "/run/gdd/gdd.sock";

/// What the driver was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The daemon's socket; the one for plugins lies beside it.
    pub socket: PathBuf,
    /// Users that the daemon may run as: root, the one that the file names, and our own.
    pub users: Vec<u32>,
}

impl Config {
    /// Reads environment and file. A file that does not exist is empty, unless GDD_PLUGIN_CONFIG names it.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn load() -> Result<Self, StoreError> {
        let (path, text) = settings::read().map_err(|(path, why)| refuse(&path, &why))?;
        let mut config = Self::parse(&path, &text)?;
        if let Some(socket) = env::var_os("GDD_SOCKET").filter(|socket| !socket.is_empty()) {
            config.socket = socket.into();
        }
        Ok(config)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, StoreError> {
        let mut config = Self { socket: SOCKET_DEFAULT.into(), users: vec![0, own_user()] };
        let set = |key: &str, value: &str| {
            match key {
                "socket" if Path::new(value).is_absolute() => config.socket = value.into(),
                "socket" => return Err("expected an absolute path, found".to_owned()),
                "user" => config
                    .users
                    .push(user_of(value).ok_or("expected a number, or a user in /etc/passwd, found")?),
                _ => return Err("expected the key socket or user, found".to_owned()),
            }
            Ok(())
        };
        settings::each(text, &CLIENT_KEYS, set).map_err(|what| refuse(path, &what))?;
        Ok(config)
    }
}

/// The user that this process works as.
fn own_user() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").map_or(0, |process| process.uid())
}

/// The number of a user.
fn user_of(name: &str) -> Option<u32> {
    let listed = || {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse().ok()
    };
    name.parse().ok().or_else(listed)
}

fn refuse(path: &Path, what: &str) -> StoreError {
    StoreError {
        id: "GDD-SD-0002",
        text: format!("{}: {what}", path.display()),
        remedy: "correct the file, or let GDD_PLUGIN_CONFIG name another one, and restart bacula-sd"
            .to_owned(),
        lost: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, StoreError> {
        Config::parse(Path::new("/etc/gdd/plugin.toml"), text)
    }

    #[test]
    fn the_socket_is_read() {
        assert_eq!(parse("").map(|config| config.socket), Ok(SOCKET_DEFAULT.into()));
        let text = "# where\n\n socket = \"/run/x.sock\"  # here\nserver = \"of the client\"\n";
        assert_eq!(parse(text).map(|config| config.socket), Ok("/run/x.sock".into()));
    }

    #[test]
    fn the_daemon_may_be_root_or_who_is_named() {
        let users = |text| parse(text).map(|config| config.users);
        assert!(users("").is_ok_and(|users| users.starts_with(&[0]) && !users.contains(&4321)));
        assert!(users("user = \"4321\"").is_ok_and(|users| users.contains(&4321)));
        assert!(users("user = \"root\"").is_ok_and(|users| users.ends_with(&[0])));
        assert!(users("user = \"nobody there\"").is_err());
    }

    #[test]
    fn anything_else_is_refused_with_its_line() {
        for bad in
            ["sokcet = \"/x\"", "socket = /x", "socket", "socket = \"x\"", "socket = \"/x\" y", "[daemon]"]
        {
            let refused = parse(&format!("\n{bad}\n")).expect_err(bad).to_string();
            assert!(refused.contains("GDD-SD-0002") && refused.contains("line 2"), "{refused}");
        }
    }
}
