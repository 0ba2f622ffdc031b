//! bacula-sd.conf.

use super::resource::Resource;
use super::{Site, lines, messages, peer};
use crate::builder::Builder;
use crate::settings::Device;
use crate::{Daemon, Result};

pub(super) fn text(site: &Site, settings: &Builder) -> Result<String> {
    let name = Daemon::Storage.name();
    let mut own = Resource::new("Storage").text("Name", &name)?.set("SDPort", site.storage_port)?;
    own = own.set("SDAddress", site.address)?.path("WorkingDirectory", &site.working(&name))?;
    own = own.path("Pid Directory", &site.working(&name))?.set("Maximum Concurrent Jobs", 40)?;
    if let Some(folder) = &settings.storage_plugins {
        own = own.path("Plugin Directory", folder)?;
    }
    let own = own.lines(lines(settings, Daemon::Storage))?;
    let mut text = [own.end(), peer(site)?, messages(settings, Daemon::Storage)?].concat();
    for device in &settings.devices {
        text.push_str(&device_text(site, device)?);
    }
    Ok(text)
}

fn device_text(site: &Site, device: &Device) -> Result<String> {
    let mut own =
        Resource::new("Device").text("Name", &device.name)?.text("Media Type", &device.media_type)?;
    own = own.set("Device Type", &device.kind)?.path("Archive Device", &site.archive(device))?;
    own = own.lines(["LabelMedia = yes", "Random Access = yes", "AutomaticMount = yes"])?;
    // A device that is kept open keeps the state of its last use, which a storage driver need not expect.
    own = own.lines(["RemovableMedia = no", "AlwaysOpen = no"])?;
    own = own.set("Maximum Concurrent Jobs", device.jobs_at_once)?;
    if let Some(size) = device.spool_size_max {
        let folder = site.working(&Daemon::Storage.name()).join(format!("spool-{}", device.name));
        super::make(&folder)?;
        own = own.path("Spool Directory", &folder)?.set("Maximum Spool Size", size)?;
    }
    Ok(own.lines(device.lines.iter().map(String::as_str))?.end())
}
