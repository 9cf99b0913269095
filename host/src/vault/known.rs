//! What is known of one connection's secrets: the values in use, those that are accepted and those that were refused,
//! and every one that the mask keeps out of what goes back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::source;
use super::versions::Versions;
use crate::mask::Current;
use crate::time::Timestamp;

/// How many obtained values of one kind the mask remembers.
pub(super) const LEARNED_MAX: usize = 8;

/// What is known of one connection's secrets.
#[derive(Default)]
pub(super) struct Known {
    /// The value in use, by name.
    pub(super) values: BTreeMap<String, Zeroizing<String>>,
    /// What tells the versions in use apart, by name, where somebody asked.
    pub(super) versions: BTreeMap<String, Arc<str>>,
    /// All that are accepted of a secret for checking, and when they were looked for.
    pub(super) accepted: BTreeMap<String, (Timestamp, Vec<Zeroizing<String>>)>,
    /// What was refused since something worked, by name.
    pub(super) refused: BTreeMap<String, Vec<Zeroizing<String>>>,
    /// Until when nobody looks for another value.
    pub(super) quiet_until: BTreeMap<String, Timestamp>,
    /// What was made or obtained, by label; the newest last.
    learned: BTreeMap<String, VecDeque<Zeroizing<String>>>,
    pub(super) mask: Arc<Current>,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { mask: Current::open(), ..Self::default() }
    }

    /// Uses this value from now on, and remembers every version, so that none of them comes back.
    pub(super) fn adopt(&mut self, name: &str, chosen: Zeroizing<String>, versions: &Versions) {
        self.remember(&source::record_name(name), versions.values());
        self.versions.remove(name);
        self.values.insert(name.to_owned(), chosen);
        self.renew_mask();
    }

    /// Remembers what must not come back.
    pub(super) fn learn<'a>(&mut self, label: &str, values: impl IntoIterator<Item = &'a Zeroizing<String>>) {
        if self.remember(label, values) {
            self.renew_mask();
        }
    }

    /// Puts these with the last ones of their label; says whether one was new.
    fn remember<'a>(&mut self, label: &str, values: impl IntoIterator<Item = &'a Zeroizing<String>>) -> bool {
        let learned = self.learned.entry(label.to_owned()).or_default();
        let mut is_new = false;
        for value in values {
            if value.is_empty() || learned.contains(value) {
                continue;
            }
            if learned.len() == LEARNED_MAX {
                learned.pop_front();
            }
            learned.push_back(value.clone());
            is_new = true;
        }
        is_new
    }

    fn renew_mask(&mut self) {
        self.mask.renew(self.values.values().chain(self.learned.values().flatten()).cloned().collect());
    }
}
