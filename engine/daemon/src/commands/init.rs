//! `gdd init`.

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
    let (directory, settings) = (&arguments.directory, arguments.settings());
    let store = Store::init(directory, &settings, options)?;
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
