//! The daemon's socket: bound once, and closed to strangers.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::users;

/// Listen at `path`. What a dead daemon left there is replaced. Everybody may connect; [`is_allowed`] says who stays.
///
/// # Errors
/// A living daemon listens there, something else is there, or the folder refuses.
pub fn listen(path: &Path) -> Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            let what = format!("{} exists and is no socket; name another path", path.display());
            return Err(Failure::Usage(what));
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(Failure::file("replace", path))?;
            }
            Ok(_) | Err(_) => {
                let what =
                    format!("another daemon listens at {}; stop it, or name another path", path.display());
                return Err(Failure::Busy(what));
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::file("look at", path)(error)),
    }
    let listener = UnixListener::bind(path).map_err(Failure::file("listen at", path))?;
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(path, mode).map_err(Failure::file("open to users", path))?;
    Ok(listener)
}

/// Whether the process at the other end runs as root, as we do, or as a user of the configuration.
///
/// # Errors
/// As `getsockopt(2)`.
pub fn is_allowed(stream: &UnixStream, config: &Config) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?.uid;
    let is_named = config.users.iter().any(|user| users::uid_of(user) == Ok(peer.as_raw()));
    Ok(peer.is_root() || peer == rustix::process::geteuid() || is_named)
}
