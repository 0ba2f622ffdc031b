//! The store of a build without any: every session is refused, so that no job can end well.

use crate::config::Config;
use crate::error::{Kind, StoreError};
use crate::store::{About, Session, Store};

/// Refuses.
#[derive(Debug)]
pub struct Refusing;

impl Store for Refusing {
    fn connect(&self, config: &Config, _: &About) -> Result<Box<dyn Session>, StoreError> {
        let text = format!("there is no way to the server {:?} in this build of the plugin", config.server);
        Err(StoreError::new(Kind::Lost, text))
    }
}
