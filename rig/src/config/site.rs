//! Where a rig's files lie and where its daemons listen.

use std::fs::{self, File};
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::settings::Device;
use crate::{Daemon, Error, Result, place};

/// Folder, address, ports and password of one rig.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    pub(crate) address: Ipv4Addr,
    pub(crate) password: String,
    pub(crate) director_port: u16,
    pub(crate) storage_port: u16,
    pub(crate) client_ports: Vec<u16>,
}

impl Site {
    /// Make the folders and find the ports.
    pub(crate) fn new(folder: &Path, clients: u8, devices: &[Device]) -> Result<Self> {
        let site = Self {
            folder: folder.to_owned(),
            address: place::address(),
            password: password()?,
            director_port: place::port()?,
            storage_port: place::port()?,
            client_ports: (0..clients).map(|_| place::port()).collect::<Result<_>>()?,
        };
        make(&site.folder.join("etc"))?;
        make(&site.folder.join("log"))?;
        for daemon in Daemon::all(clients) {
            make(&site.working(&daemon.name()))?;
        }
        for device in devices {
            make(&site.archive(device))?;
        }
        fs::set_permissions(folder, PermissionsExt::from_mode(0o700))
            .map_err(Error::io(format!("cannot close {} to others", folder.display())))?;
        Ok(site)
    }

    /// A configuration file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join("etc").join(name)
    }

    /// The log of the daemon `name`.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("log").join(format!("{name}.log"))
    }

    /// The working directory of the daemon `name`.
    pub(crate) fn working(&self, name: &str) -> PathBuf {
        self.folder.join("working").join(name)
    }

    /// Where the volumes of `device` lie.
    pub(crate) fn archive(&self, device: &Device) -> PathBuf {
        self.folder.join("volumes").join(&device.archive)
    }

    /// The port on which `daemon` listens.
    pub(crate) fn port(&self, daemon: Daemon) -> u16 {
        match daemon {
            Daemon::Director => self.director_port,
            Daemon::Storage => self.storage_port,
            Daemon::File(client) => self.client_ports[usize::from(client)],
        }
    }
}

pub(crate) fn make(folder: &Path) -> Result {
    fs::create_dir_all(folder).map_err(Error::io(format!("cannot make {}", folder.display())))
}

/// A new one each time: the file daemon reads every file of this machine for whoever knows it.
fn password() -> Result<String> {
    let mut bytes = [0; 24];
    let source = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    source.map_err(Error::io("cannot read /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
