//! What the host refused lately, each with the line that would allow it.
//!
//! Every connection has a ring of its own, so that a plugin that asks for ten thousand things it may not have pushes out
//! nothing but its own, and nobody who is refused waits for another connection. What comes again counts up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::error::{Error, Kind};
use crate::text::{shown, shown_lines};
use crate::time::{Timestamp, rfc3339};

/// Most refusals that are kept of one connection; the one that came longest ago gives way.
pub const REFUSALS_PER_CONNECTION: usize = 20;

/// So many connections are remembered without a look at which of them are closed.
const RINGS_MIN: usize = 256;

/// Something that the grant does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The connection.
    pub connection: String,
    /// The operation that ran, `(event)`, or the socket that was to be opened.
    pub operation: Option<String>,
    /// The rule that refused it.
    pub rule: String,
    /// The sentence.
    pub message: String,
    /// The line that would allow it, or why none can.
    pub help: String,
    /// When it was refused first.
    #[serde(with = "rfc3339")]
    pub first_at: Timestamp,
    /// When it was refused last.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// How often.
    pub count: u64,
}

/// The refusals of a host.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<String, Arc<Ring>>>);

/// Those of a connection.
#[derive(Default)]
pub(crate) struct Ring {
    connection: String,
    kept: Mutex<VecDeque<Refusal>>,
}

impl Refusals {
    /// The ring of a connection: the one it had, where it is opened again.
    pub(crate) fn of(&self, connection: &str) -> Arc<Ring> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Seldom, so that opening stays cheap however many there are.
        if all.len() >= RINGS_MIN && all.len().is_power_of_two() {
            all.retain(|_, ring| Arc::strong_count(ring) > 1);
        }
        let made = || Arc::new(Ring { connection: connection.to_owned(), kept: Mutex::default() });
        all.entry(connection.to_owned()).or_insert_with(made).clone()
    }

    /// All of them, the latest first.
    pub(crate) fn read(&self) -> Vec<Refusal> {
        let rings: Vec<Arc<Ring>> = self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut all: Vec<Refusal> =
            rings.iter().flat_map(|ring| ring.kept().iter().cloned().collect::<Vec<_>>()).collect();
        all.sort_by_key(|refusal| std::cmp::Reverse(refusal.at));
        all
    }
}

impl Ring {
    /// Notes an error, where it is a refusal.
    pub(crate) fn note(&self, error: &Error, operation: Option<&str>, at: Timestamp) {
        let Kind::PolicyDenied(rule) = error.kind() else { return };
        let message = shown_lines(error.message());
        let mut kept = self.kept();
        let before = kept.iter().position(|known| known.message == message && known.operation.as_deref() == operation);
        let before = before.and_then(|place| kept.remove(place));
        let again = before.map(|known| Refusal { at, count: known.count.saturating_add(1), ..known });
        let refusal = again.unwrap_or_else(|| Refusal {
            connection: self.connection.clone(),
            operation: operation.map(str::to_owned),
            rule: shown(rule),
            message,
            help: shown_lines(error.details().unwrap_or_default()),
            first_at: at,
            at,
            count: 1,
        });
        if kept.len() == REFUSALS_PER_CONNECTION {
            kept.pop_front();
        }
        kept.push_back(refusal);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Refusal>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(what: &str) -> Error {
        Error::denied("origin", format!("acme wanted {what}"), "To allow it:   origins = []")
    }

    #[test]
    fn whoever_opens_under_ten_thousand_names_leaves_few_behind() {
        let refusals = Refusals::default();
        let open = refusals.of("open");
        for number in 0..10_000 {
            refusals.of(&number.to_string());
        }
        assert!(refusals.0.lock().unwrap().len() <= RINGS_MIN);
        assert!(Arc::ptr_eq(&open, &refusals.of("open")));
    }

    #[test]
    fn what_comes_again_counts_up_and_who_asks_for_much_pushes_out_only_its_own() {
        let refusals = Refusals::default();
        let (quiet, loud) = (refusals.of("quiet"), refusals.of("loud"));
        quiet.note(&denied("one"), Some("orders.list"), Timestamp::from_millis(1));
        for number in 0..10_000 {
            loud.note(&denied(&number.to_string()), None, Timestamp::from_millis(2 + number));
        }
        quiet.note(&denied("one"), Some("orders.list"), Timestamp::from_millis(9));
        quiet.note(&Error::internal("no refusal"), None, Timestamp::from_millis(9));
        let all = refusals.read();
        assert_eq!(all.len(), REFUSALS_PER_CONNECTION + 1);
        assert_eq!(all[0].message, "acme wanted 9999");
        let Refusal { connection, count, first_at, at, rule, help, .. } = all.last().unwrap();
        assert_eq!((connection.as_str(), *count, rule.as_str()), ("quiet", 2, "origin"));
        assert_eq!((first_at.as_millis(), at.as_millis()), (1, 9));
        assert!(help.contains("origins = []"));
        assert!(Arc::ptr_eq(&quiet, &refusals.of("quiet")), "a connection that is opened again keeps its ring");
    }

    #[test]
    fn what_a_plugin_says_is_bounded_and_writes_nothing_but_text() {
        let refusals = Refusals::default();
        let long = format!("\u{1b}[2J\u{202e}{}", "x".repeat(100_000));
        refusals.of("c").note(&denied(&long), None, Timestamp::from_millis(1));
        let message = &refusals.read()[0].message;
        assert!(message.len() < 10_000 && !message.contains(['\u{1b}', '\u{202e}']), "{message}");
    }
}
