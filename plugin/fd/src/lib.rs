//! The file daemon's plugin: stock bacula-fd loads it as an *option plugin*, files are taken to the store by the client
//! itself, and the Bacula volume gets a reference of 120 bytes for each.
//!
//! bacula-fd believes its plugins: an early end of file is a short file and "Backup OK", an error in the start of a
//! restore is "Restore OK" with the reference as content. Only a fatal message ends a job, so every doubt becomes one.
//!
//! # Invariants
//! - A reference is handed to Bacula only after the whole file was handed to the store, and "Backup OK" needs the
//!   store's receipt for exactly those files. References of a job without a receipt may lead nowhere.
//! - The reference is never as long as the file and never empty, so that a restore without the plugin fails.
//! - A restored file appears under its name only when its length and digest are right.
//! - Nothing unwinds into Bacula. A panic is first a fatal message, then an error.
//! - After the first fatal message a job takes and gives nothing more (`dead`).
//!
//! Layers, each knowing only those before: `reference`, `error`, `store`, `config`, `lock`, `breaker`, `written`,
//! `job`, `backup` and `restore`, `abi`.

pub mod abi;
pub mod backup;
pub mod breaker;
pub mod config;
pub mod error;
pub mod job;
pub mod lock;
pub mod restore;
pub mod store;
pub mod written;

pub use gdd_client::reference;
