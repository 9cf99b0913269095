//! Structured lines in the host's log. The host masks known secrets and adds connection and call.
//!
//! Fields are for ids and counts. Names, addresses and bodies of other people have no place in a log.

use std::fmt::Display;

pub use crate::bindings::wharfage::plugin::log::Level;

#[cfg(target_arch = "wasm32")]
use crate::bindings::wharfage::plugin::log as import;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::log as import;

/// For finding a defect.
pub fn debug(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Debug, message, fields);
}

/// Worth knowing.
pub fn info(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Info, message, fields);
}

/// Something unexpected that was handled.
pub fn warn(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Warn, message, fields);
}

/// Something failed.
pub fn error(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Error, message, fields);
}

/// Writes one line with named fields.
pub fn write(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    let fields: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    import::write(level, message, &fields);
}
