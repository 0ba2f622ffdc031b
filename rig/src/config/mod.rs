//! Bacula's four configuration files, written from the settings.
//!
//! Bacula's parser takes a `}` that follows a size or a time on the same line for a part of it, and ends a value at
//! another place than a reader would. So each directive stands on a line of its own, and so does each brace.

mod director;
mod resource;
mod site;
mod storage;

use std::fs;
use std::os::unix::fs::PermissionsExt;

pub(crate) use site::{Site, make};

use crate::builder::Builder;
use crate::{Daemon, Error, Result};
use resource::Resource;

/// The director's name, which the other daemons know it by.
const DIRECTOR: &str = "rig-dir";

/// Write every file.
pub(crate) fn write(site: &Site, settings: &Builder) -> Result {
    save(site, "bacula-dir.conf", &director::text(site, settings)?)?;
    save(site, "bacula-sd.conf", &storage::text(site, settings)?)?;
    save(site, "bconsole.conf", &console(site)?)?;
    for client in 0..settings.clients {
        save(site, &format!("bacula-fd-{client}.conf"), &file_daemon(site, settings, client)?)?;
    }
    save(site, "query.sql", "")
}

fn save(site: &Site, name: &str, text: &str) -> Result {
    let path = site.file(name);
    let what = || format!("cannot write {}", path.display());
    fs::write(&path, text).map_err(Error::io(what()))?;
    // It holds the password of a daemon that reads every file of this machine.
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(Error::io(what()))
}

fn console(site: &Site) -> Result<String> {
    let director = Resource::new("Director").text("Name", DIRECTOR)?.set("DIRport", site.director_port)?;
    Ok(director.text("Address", &site.address.to_string())?.text("Password", &site.password)?.end())
}

fn file_daemon(site: &Site, settings: &Builder, client: u8) -> Result<String> {
    let name = Daemon::File(client).name();
    let port = site.client_ports[usize::from(client)];
    let mut own = Resource::new("FileDaemon").text("Name", &name)?.set("FDport", port)?;
    own = own.set("FDAddress", site.address)?.path("WorkingDirectory", &site.working(&name))?;
    own = own.path("Pid Directory", &site.working(&name))?.set("Maximum Concurrent Jobs", 40)?;
    if let Some(folder) = &settings.file_plugins {
        own = own.path("Plugin Directory", folder)?;
    }
    let own = own.lines(lines(settings, Daemon::File(client)))?;
    Ok([own.end(), peer(site)?, messages(settings, Daemon::File(client))?].concat())
}

/// The director as storage and file daemons see it.
fn peer(site: &Site) -> Result<String> {
    Ok(Resource::new("Director").text("Name", DIRECTOR)?.text("Password", &site.password)?.end())
}

/// What storage and file daemons send to the job's log in the director: all of it, unless the settings say otherwise.
fn messages(settings: &Builder, daemon: Daemon) -> Result<String> {
    let own = settings.messages.iter().rfind(|own| own.0 == daemon);
    let types = own.map_or("all, !skipped, !restored", |own| own.1.as_str());
    let messages = Resource::new("Messages").text("Name", &format!("{}-messages", daemon.name()))?;
    Ok(messages.line(&format!("Director = {DIRECTOR} = {types}"))?.end())
}

/// The further directives that the settings have for `daemon`.
fn lines(settings: &Builder, daemon: Daemon) -> impl Iterator<Item = &str> {
    settings.lines.iter().filter(move |line| line.0 == daemon).map(|line| line.1.as_str())
}
