//! `[[answers]]`, `[retry]`, `[request_id]` and `[idempotency]` of a manifest: what an answer means, whether a request
//! may be repeated, and by what it is known.

use serde::Deserialize;

use super::Manifest;
use crate::error::Kind;
use crate::text::{is_token, shown};

/// Most conditions of a row of `answers`.
pub(super) const CONDITIONS_MAX: usize = 8;
/// Most texts of a condition's `any_of`.
pub(super) const ANY_OF_MAX: usize = 64;

/// A header of an answer that overrules what its status says about trying again: `true` or `false`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RetryHeader {
    /// The header's name.
    pub header: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// A header of an answer that holds the provider's id of the request, to quote in a support case.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RequestIdHeader {
    /// The header's name.
    pub header: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// What an answer means.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AnswerRule {
    /// The origin it is about; any when absent.
    pub origin: Option<String>,
    /// Statuses it is about; any when empty.
    #[serde(default)]
    pub status: Vec<u16>,
    /// JSON Pointer to a text, number or boolean: its first condition. `*` stands for any one item or member.
    pub pointer: Option<String>,
    /// The name of a header: its first condition, instead of `pointer`.
    pub header: Option<String>,
    /// That value holds this, in any case of letters.
    pub contains: Option<String>,
    /// That value is exactly this.
    pub equals: Option<String>,
    /// That value is one of these.
    #[serde(default)]
    pub any_of: Vec<String>,
    /// Further conditions, all of which must hold.
    #[serde(default)]
    pub and: Vec<Condition>,
    /// The error kind it means.
    pub kind: String,
    /// The budget it is about, for limits; without it, every budget with a window that covers the origin.
    pub bucket: Option<String>,
    /// Seconds to wait, where the answer itself does not say.
    pub retry_after_s: Option<u64>,
    /// JSON Pointer to when to come back: seconds, a date, a duration, or a sentence that holds a date (RFC 3339).
    pub retry_at: Option<String>,
    /// JSON Pointer to the provider's code.
    pub code: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

impl AnswerRule {
    /// All its conditions.
    pub fn conditions(&self) -> impl Iterator<Item = Condition> + '_ {
        let has_first = self.pointer.is_some() || self.header.is_some();
        let first = has_first.then(|| Condition {
            pointer: self.pointer.clone(),
            header: self.header.clone(),
            contains: self.contains.clone(),
            equals: self.equals.clone(),
            any_of: self.any_of.clone(),
        });
        first.into_iter().chain(self.and.iter().cloned())
    }

    /// What is wrong with it, if anything is, in a sentence that names it.
    pub(super) fn check(&self, index: usize, manifest: &Manifest) -> Result<(), String> {
        if Kind::from_answer_name(&self.kind).is_none() {
            return Err(format!("answers[{index}].kind `{}` is no kind an answer can have", shown(&self.kind)));
        }
        if self.pointer.is_none() && self.header.is_none() && self.status.is_empty() {
            return Err(format!("answers[{index}] says nothing about when it holds: `status`, `pointer` or `header`"));
        }
        if self.conditions().count() > CONDITIONS_MAX {
            return Err(format!("answers[{index}] has more than {CONDITIONS_MAX} conditions"));
        }
        for condition in self.conditions() {
            condition.check().map_err(|why| format!("answers[{index}]: {why}"))?;
        }
        match self.bucket.as_ref().filter(|bucket| !manifest.budgets.contains_key(*bucket)) {
            Some(bucket) => {
                Err(format!("answers[{index}] is about the budget `{}`, which is not declared", shown(bucket)))
            }
            None => Ok(()),
        }
    }
}

/// A condition on one value of an answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Condition {
    /// JSON Pointer to a text, number or boolean of the body. `*` stands for any one item or member.
    pub pointer: Option<String>,
    /// The name of a header, instead.
    pub header: Option<String>,
    /// It holds this, in any case of letters.
    pub contains: Option<String>,
    /// It is exactly this.
    pub equals: Option<String>,
    /// It is one of these.
    #[serde(default)]
    pub any_of: Vec<String>,
}

impl Condition {
    /// What is wrong with it, if anything.
    fn check(&self) -> Result<(), String> {
        let tests = [self.contains.is_some(), self.equals.is_some(), !self.any_of.is_empty()];
        if tests.into_iter().filter(|is_there| *is_there).count() != 1 {
            return Err("a condition needs one of `contains`, `equals` and `any_of`".to_owned());
        }
        if self.pointer.is_some() == self.header.is_some() {
            return Err("a condition is about a `pointer` or a `header`, and not both".to_owned());
        }
        if self.header.as_ref().is_some_and(|name| !is_token(name)) {
            return Err("a condition is about a `header` of a name that no header can have".to_owned());
        }
        // Of a header it says that it is there; in a body it would be found at every byte.
        if self.pointer.is_some() && self.contains.as_ref().is_some_and(String::is_empty) {
            return Err("a condition about a `pointer` has an empty `contains`".to_owned());
        }
        if self.any_of.len() > ANY_OF_MAX {
            return Err(format!("a condition has more than {ANY_OF_MAX} texts in `any_of`"));
        }
        Ok(())
    }
}

/// Where an idempotency key goes: into a header or into the query.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Idempotency {
    /// The header's name.
    pub header: Option<String>,
    /// The query parameter's name.
    pub query: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}
