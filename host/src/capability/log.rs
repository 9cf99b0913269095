//! `log`: a plugin's lines in the host's log.
//!
//! Known secrets are masked, control characters escaped, and what goes over the call's allowance is dropped with one
//! line that says so.

use super::Call;
use crate::bindings::wharfage::plugin::log::{Host, Level};

/// Most fields of one line.
const FIELDS_MAX: usize = 32;

impl Host for Call {
    fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) {
        let bytes = message.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if !self.may_log(bytes) {
            return;
        }
        let mask = self.secrets.mask();
        let mut line = escaped(&mask.text(&message));
        for (name, value) in fields.iter().take(FIELDS_MAX) {
            line.push(' ');
            line.push_str(&escaped(&mask.text(name)));
            line.push('=');
            line.push_str(&escaped(&mask.text(value)));
        }
        let (plugin, connection) = (&*self.plugin, &*self.connection);
        match level {
            Level::Trace => tracing::trace!(target: "wharfage::plugin", plugin, connection, "{line}"),
            Level::Debug => tracing::debug!(target: "wharfage::plugin", plugin, connection, "{line}"),
            Level::Info => tracing::info!(target: "wharfage::plugin", plugin, connection, "{line}"),
            Level::Warn => tracing::warn!(target: "wharfage::plugin", plugin, connection, "{line}"),
            Level::Error => tracing::error!(target: "wharfage::plugin", plugin, connection, "{line}"),
        }
    }
}

impl Call {
    /// Whether `bytes` more fit the allowance. The first line that does not is told, once.
    fn may_log(&mut self, bytes: usize) -> bool {
        let was_inside = self.spent.log_lines <= self.limits.log_lines && self.spent.log_bytes <= self.limits.log_bytes;
        self.spent.log_lines += 1;
        self.spent.log_bytes = self.spent.log_bytes.saturating_add(bytes as u64);
        let is_inside = self.spent.log_lines <= self.limits.log_lines && self.spent.log_bytes <= self.limits.log_bytes;
        if was_inside && !is_inside {
            tracing::warn!(
                target: "wharfage::plugin",
                plugin = &*self.plugin,
                connection = &*self.connection,
                "further lines of this call are dropped: log_lines {} or log_bytes {} is reached",
                self.limits.log_lines,
                self.limits.log_bytes
            );
        }
        is_inside
    }
}

/// Control characters as escapes, so that a line stays one line and a terminal stays sane.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(super::escaped("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
    }
}
