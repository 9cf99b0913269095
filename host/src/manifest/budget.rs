//! `[budgets.<name>]` and `[[rate_headers]]` of a manifest: how fast the provider allows requests, and how it says so.

use serde::Deserialize;

use super::{Manifest, dated};
use crate::text::shown;

/// Most weights of a budget.
pub(super) const WEIGHTS_MAX: usize = 64;

/// A quota: how many per time, or how many at once.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BudgetFacts {
    /// Units per window.
    pub limit: Option<u32>,
    /// The window, in seconds.
    pub window_s: Option<u64>,
    /// Requests at once, instead of a window.
    pub concurrency: Option<u32>,
    /// Who shares it.
    #[serde(default)]
    pub scope: BudgetScope,
    /// The origins whose every request takes one unit; all when empty.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Requests that cost something else than one unit; the first that fits decides.
    #[serde(default)]
    pub weights: Vec<WeightFacts>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

impl BudgetFacts {
    /// What is wrong with it, if anything is, in words that follow its name.
    pub(super) fn check(&self, manifest: &Manifest) -> Result<(), String> {
        match (self.limit, self.window_s, self.concurrency) {
            (Some(1..), Some(1..), None) | (None, None, Some(1..)) => {}
            _ => return Err("needs `limit` and `window_s`, or `concurrency`, each at least 1".to_owned()),
        }
        dated(&self.source, &self.date)?;
        if let Some(origin) = self.origins.iter().find(|origin| !manifest.origins.contains_key(*origin)) {
            return Err(format!("covers the origin `{}`, which is not declared", shown(origin)));
        }
        if self.weights.len() > WEIGHTS_MAX {
            return Err(format!("has more than {WEIGHTS_MAX} weights"));
        }
        let whole = self.limit.or(self.concurrency).unwrap_or(1);
        match self.weights.iter().find(|weight| weight.units > whole) {
            Some(weight) => Err(format!("has a weight of {}, more than all of it", weight.units)),
            None => Ok(()),
        }
    }
}

/// What some requests cost of a budget.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WeightFacts {
    /// Methods; any when empty.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Path patterns below the base URL's own path; any when empty.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What such a request costs; 0 is nothing.
    pub units: u32,
}

/// Who shares a budget.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BudgetScope {
    /// Everything that uses the account.
    #[default]
    Account,
    /// One connection.
    Connection,
    /// Every account that names the same `user`; an account that names none is a user of its own.
    User,
    /// Every account that names the same `project`; an account that names none is a project of its own.
    Project,
    /// Every connection of the plugin.
    Plugin,
}

/// Headers of an answer that say how much of a budget is left.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RateHeaders {
    /// The budget they are about; without it, the one with a window if there is only one.
    pub bucket: Option<String>,
    /// The header with the units of the whole window.
    pub limit: Option<String>,
    /// The header with the units that are left.
    pub remaining: Option<String>,
    /// The header with the time when the window begins anew, in any of the usual forms.
    pub reset: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

impl RateHeaders {
    /// The headers it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.limit, &self.remaining, &self.reset].into_iter().filter_map(|name| name.as_deref())
    }

    /// What is wrong with them, if anything is, in words that follow their place in the list.
    pub(super) fn check(&self, manifest: &Manifest) -> Result<(), String> {
        if self.names().next().is_none() {
            return Err("names no header: `limit`, `remaining` or `reset`".to_owned());
        }
        match self.bucket.as_ref().filter(|bucket| !manifest.budgets.contains_key(*bucket)) {
            Some(bucket) => Err(format!("is about the budget `{}`, which is not declared", shown(bucket))),
            None => Ok(()),
        }
    }
}
