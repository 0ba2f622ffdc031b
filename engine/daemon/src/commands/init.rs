//! `gdd init`.

use std::path::Path;

use gdd_engine::format::StoreId;
use gdd_engine::format::superblock::Settings;
use gdd_engine::options::Options;
use gdd_engine::store::Store;
use serde_json::json;

use crate::args::Init;
use crate::failure::Result;
use crate::output::Outcome;
use crate::size::show_binary;

/// Make an empty store.
///
/// # Errors
/// The directory is not empty, the settings are unusable, or the disk refused.
pub fn run(arguments: &Init, options: &Options) -> Result<Outcome> {
    let directory = &arguments.directory;
    let (store, settings) = match &arguments.replica_of {
        Some(original) => replica(original, directory, options)?,
        None => {
            let settings = arguments.settings();
            (Store::init(directory, &settings, options)?, settings)
        }
    };
    let sizes = [settings.chunk_size_min, settings.chunk_size_avg, settings.chunk_size_max];
    let sizes = sizes.map(|size| show_binary(u64::from(size))).join("/");
    let directory = directory.display();
    let text = format!(
        "made a store in {directory}: chunks of {sizes}, containers of {}\n\
         use it with --store {directory}, or set GDD_STORE={directory}\n",
        show_binary(settings.container_size)
    );
    let object = json!({
        "store": store.to_string(), "directory": arguments.directory.to_string_lossy(), "settings": settings,
    });
    Outcome::new(&object, text)
}

fn replica(original: &Path, directory: &Path, options: &Options) -> Result<(StoreId, Settings)> {
    super::reading(original, options, |original| {
        let (store, settings) = (original.core().store, original.core().settings.clone());
        Store::init_as(directory, &settings, options, store)?;
        Ok((store, settings))
    })
}
