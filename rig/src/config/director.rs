//! bacula-dir.conf.

use super::resource::Resource;
use super::{DIRECTOR, Site, lines};
use crate::builder::Builder;
use crate::settings::{Device, FileSet, Job, Pool};
use crate::{Daemon, Result};

/// Jobs at once, everywhere but on a device: more than any test starts.
const JOBS_MAX: u32 = 40;

/// The file set of jobs that need one and take nothing.
const NOTHING: &str = "rig-nothing";

pub(super) fn text(site: &Site, settings: &Builder) -> Result<String> {
    let mut text = own(site, settings)?;
    text += &Resource::new("Catalog")
        .text("Name", "Catalog")?
        .text("dbname", "bacula")?
        .text("dbuser", "")?
        .end();
    text += &messages(site)?;
    for client in 0..settings.clients {
        text += &self::client(site, client)?;
    }
    for device in &settings.devices {
        text += &storage(site, device)?;
    }
    for pool in &settings.pools {
        text += &self::pool(pool)?;
    }
    let nothing = FileSet::new(NOTHING);
    for file_set in settings.file_sets.iter().chain([&nothing]) {
        text += &self::file_set(file_set)?;
    }
    for job in &settings.jobs {
        text += &self::job(settings, job)?;
    }
    Ok(text + &restore_job(site, settings)?)
}

fn own(site: &Site, settings: &Builder) -> Result<String> {
    let folder = site.working(&Daemon::Director.name());
    let mut own = Resource::new("Director").text("Name", DIRECTOR)?.set("DIRport", site.director_port)?;
    own = own.set("DirAddress", site.address)?.text("Password", &site.password)?;
    own = own.path("QueryFile", &site.file("query.sql"))?.path("WorkingDirectory", &folder)?;
    own = own.path("PidDirectory", &folder)?.set("Maximum Concurrent Jobs", JOBS_MAX)?;
    // The defaults, minutes, would let a test of a dead daemon take as long.
    own = own.lines(["FD Connect Timeout = 10", "SD Connect Timeout = 10", "Messages = All"])?;
    Ok(own.lines(lines(settings, Daemon::Director))?.end())
}

/// All that jobs say goes to the catalog, where the rig reads it, and to a file for people.
fn messages(site: &Site) -> Result<String> {
    let file = site.log("jobs");
    let mut own = Resource::new("Messages").text("Name", "All")?.set("catalog", "all, !skipped, !saved")?;
    own = own.line(&format!("append = \"{}\" = all, !skipped", file.display()))?;
    Ok(own.end())
}

fn client(site: &Site, client: u8) -> Result<String> {
    let mut own = Resource::new("Client").text("Name", &Daemon::File(client).name())?;
    own = own.text("Address", &site.address.to_string())?.text("Password", &site.password)?;
    own = own.set("FDPort", site.client_ports[usize::from(client)])?.text("Catalog", "Catalog")?;
    own = own.lines(["AutoPrune = no", "File Retention = 10 years", "Job Retention = 10 years"])?;
    Ok(own.set("Maximum Concurrent Jobs", JOBS_MAX)?.end())
}

fn storage(site: &Site, device: &Device) -> Result<String> {
    let mut own = Resource::new("Storage").text("Name", &device.name)?;
    own = own.text("Address", &site.address.to_string())?.set("SDPort", site.storage_port)?;
    own = own.text("Password", &site.password)?.text("Device", &device.name)?;
    own = own.text("Media Type", &device.media_type)?;
    Ok(own.set("Maximum Concurrent Jobs", JOBS_MAX)?.end())
}

fn pool(pool: &Pool) -> Result<String> {
    let mut own = Resource::new("Pool").text("Name", &pool.name)?.text("Storage", &pool.device)?;
    own = own.line("Pool Type = Backup")?;
    for (name, line) in [
        ("Recycle", "Recycle = no"),
        ("AutoPrune", "AutoPrune = no"),
        ("Volume Retention", "Volume Retention = 10 years"),
    ] {
        let named = |line: &String| line.split('=').next().is_some_and(|found| found.trim() == name);
        if !pool.lines.iter().any(named) {
            own = own.line(line)?;
        }
    }
    Ok(own.lines(pool.lines.iter().map(String::as_str))?.end())
}

fn file_set(file_set: &FileSet) -> Result<String> {
    let own = Resource::new("FileSet").text("Name", &file_set.name)?;
    // A test may change what it backs up between two levels; that must not turn the second into a full.
    let own = own.line("Ignore FileSet Changes = yes")?.open("Include")?.open("Options")?;
    let own = own.lines(file_set.options.iter().map(String::as_str))?.close()?;
    let own = own.lines(file_set.includes.iter().map(String::as_str))?.close()?;
    let own = own.open("Exclude")?.lines(file_set.excludes.iter().map(String::as_str))?.close()?;
    Ok(own.end())
}

fn job(settings: &Builder, job: &Job) -> Result<String> {
    let mut own = Resource::new("Job").text("Name", &job.name)?.set("Type", job.kind)?;
    if let Some(level) = job.level {
        own = own.set("Level", level)?;
    }
    own = own.text("FileSet", job.file_set.as_deref().unwrap_or(NOTHING))?;
    own = own.text("Client", &Daemon::File(job.client).name())?;
    own = own.text("Pool", job.pool.as_deref().unwrap_or(&settings.pools[0].name))?;
    own = own.lines(["Messages = All", "Allow Duplicate Jobs = yes"])?;
    own = own.set("Maximum Concurrent Jobs", JOBS_MAX)?;
    Ok(own.lines(job.lines.iter().map(String::as_str))?.end())
}

fn restore_job(site: &Site, settings: &Builder) -> Result<String> {
    let mut own = Resource::new("Job").text("Name", "Restore")?.line("Type = Restore")?;
    own = own.text("FileSet", NOTHING)?.text("Client", &Daemon::File(0).name())?;
    own = own.text("Pool", &settings.pools[0].name)?.text("Storage", &settings.pools[0].device)?;
    own = own.path("Where", &site.folder.join("restored"))?.lines(["Messages = All", "Replace = always"])?;
    Ok(own.set("Maximum Concurrent Jobs", JOBS_MAX)?.end())
}
