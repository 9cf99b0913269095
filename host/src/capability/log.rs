//! `log`: a plugin's lines in the host's log.
//!
//! Known secrets are masked, control characters escaped. What goes over the allowance of the call, or of the connection in
//! one second, is dropped, counted and told: once when it begins, and once when the call ends. What is told comes out of
//! the same allowance, so that no plugin makes the host write more than that. A line with too many fields says how many it
//! has lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Call;
use crate::bindings::wharfage::plugin::log::{Host, Level};
use crate::mask::Mask;
use crate::time::Timestamp;

/// What a line counts in its second besides its text, in bytes: what stands around it in the log. A line of the host's
/// own about dropped ones counts so much alone.
const LINE_BYTES: u64 = 256;

impl Host for Call {
    fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) {
        let bytes = message.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if !self.may_log(bytes as u64) || !is_heard(level) {
            return;
        }
        let line = written(&message, &fields, self.limits.log_fields, &self.secrets.mask());
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

/// The line without secrets, with at most so many of its fields.
fn written(message: &str, fields: &[(String, String)], most: u64, mask: &Mask) -> String {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut line = escaped(&mask.text(message));
    for (name, value) in fields.iter().take(most) {
        line.push(' ');
        line.push_str(&escaped(&mask.text(name)));
        line.push('=');
        line.push_str(&escaped(&mask.text(value)));
    }
    if fields.len() > most {
        line.push_str(&format!(" log_fields_dropped={}", fields.len() - most));
    }
    line
}

/// Whether anybody listens to a plugin's lines of this level.
fn is_heard(level: Level) -> bool {
    use tracing::{Level as Heard, enabled};
    match level {
        Level::Trace => enabled!(target: "wharfage::plugin", Heard::TRACE),
        Level::Debug => enabled!(target: "wharfage::plugin", Heard::DEBUG),
        Level::Info => enabled!(target: "wharfage::plugin", Heard::INFO),
        Level::Warn => enabled!(target: "wharfage::plugin", Heard::WARN),
        Level::Error => enabled!(target: "wharfage::plugin", Heard::ERROR),
    }
}

impl Call {
    /// Whether `bytes` more fit the allowances. That one does not is told for the first line.
    fn may_log(&mut self, bytes: u64) -> bool {
        self.spent.log_lines += 1;
        self.spent.log_bytes = self.spent.log_bytes.saturating_add(bytes);
        let is_inside = self.spent.log_lines <= self.limits.log_lines && self.spent.log_bytes <= self.limits.log_bytes;
        let most = self.limits.log_second_bytes;
        let now = self.clock.now();
        if is_inside && self.lines.takes(now, bytes.saturating_add(LINE_BYTES), most) {
            return true;
        }
        self.lines.dropped.fetch_add(1, Ordering::Relaxed);
        if self.spent.unlogged.add(bytes) && self.lines.takes(now, LINE_BYTES, most.saturating_add(LINE_BYTES)) {
            let (plugin, connection) = (&*self.plugin, &*self.connection);
            match is_inside {
                false => tracing::warn!(
                    target: "wharfage::plugin", plugin, connection,
                    "further lines of this call are dropped: log_lines {} or log_bytes {} is reached",
                    self.limits.log_lines, self.limits.log_bytes
                ),
                true => tracing::warn!(
                    target: "wharfage::plugin", plugin, connection,
                    "lines are dropped until the second is over: log_second_bytes {most} is reached"
                ),
            }
            self.spent.unlogged.whose = Some((self.plugin.clone(), self.connection.clone()));
        }
        false
    }
}

/// What all calls of a connection log, second by second.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    second: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

impl Lines {
    /// Whether so many bytes fit into this second. Those who meet the end of a second may get a few more.
    fn takes(&self, now: Timestamp, bytes: u64, most: u64) -> bool {
        let second = now.as_millis() / 1_000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.bytes.store(0, Ordering::Relaxed);
        }
        let fits = self.bytes.load(Ordering::Relaxed).saturating_add(bytes) <= most;
        if fits {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// What a call wanted to log and may not. Where that was told, its end tells how much it was.
#[derive(Debug, Default)]
pub(crate) struct Unlogged {
    lines: u64,
    bytes: u64,
    whose: Option<(Arc<str>, Arc<str>)>,
}

impl Unlogged {
    /// One more line of so many bytes; whether it is the first.
    fn add(&mut self, bytes: u64) -> bool {
        self.lines += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.lines == 1
    }
}

impl Drop for Unlogged {
    fn drop(&mut self) {
        if let Some((plugin, connection)) = &self.whose {
            let (lines, bytes) = (self.lines, self.bytes);
            tracing::warn!(target: "wharfage::plugin", plugin = &**plugin, connection = &**connection, lines, bytes, "lines were dropped");
        }
    }
}

/// Control characters as escapes, so that a line stays one line and a terminal stays sane.
fn escaped(text: &str) -> String {
    crate::observe::redact::one_line(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(escaped("a\nb\u{1b}[2J\u{202e}"), "a\\nb\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn a_line_says_how_many_fields_it_has_lost() {
        let fields: Vec<(String, String)> = (1..=3).map(|at| (format!("f{at}"), "x\n".to_owned())).collect();
        let line = |most| written("m", &fields, most, &Mask::default());
        assert_eq!(line(1), "m f1=x\\n log_fields_dropped=2");
        assert_eq!(line(3), "m f1=x\\n f2=x\\n f3=x\\n");
    }

    #[test]
    fn a_second_takes_so_much_and_the_next_one_again() {
        let (lines, at) = (Lines::default(), |ms| Timestamp::from_millis(ms));
        assert!(lines.takes(at(5_000), 60, 100) && lines.takes(at(5_999), 40, 100) && !lines.takes(at(5_999), 1, 100));
        assert!(lines.takes(at(6_000), 100, 100) && !lines.takes(at(6_001), 1, 100));
    }
}
