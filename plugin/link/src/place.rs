//! Where the plugins' socket is.

use std::path::{Path, PathBuf};

/// The socket for plugins of the daemon that listens at `daemon`: beside it, with `.plugin` behind its name. The first
/// one carries bytes, this one packets, and one path cannot be both.
#[must_use]
pub fn plugin_socket(daemon: &Path) -> PathBuf {
    let mut path = daemon.as_os_str().to_owned();
    path.push(".plugin");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_the_daemons() {
        assert_eq!(plugin_socket(Path::new("/run/gdd/gdd.sock")), Path::new("/run/gdd/gdd.sock.plugin"));
    }
}
