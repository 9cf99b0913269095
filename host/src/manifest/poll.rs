//! `[polls.<name>]` of a manifest: what the plugin asks for anew from time to time, how often that makes sense, and what
//! helps when its cursor is not understood any more.

use serde::Deserialize;

use super::dated;

/// A polled trigger: what the plugin asks for anew from time to time.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PollFacts {
    /// What it tells of, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Seconds from one run to the next where the operator says nothing.
    pub every_s: u64,
    /// Seconds below which nobody may set that.
    #[serde(default = "one")]
    pub least_s: u64,
    /// What follows when the plugin answers `cursor-invalid`.
    #[serde(default)]
    pub cursor_invalid: Recovery,
    /// The scopes with which it works, as an operation has them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Scopes with which it does a part of what it says.
    #[serde(default)]
    pub partial_scopes: Vec<String>,
    /// The credential whose scopes these are; the only one of the scheme `oauth2` where it is left out.
    pub credential: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// How a polled trigger goes on whose cursor has become invalid.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Recovery {
    /// With everything there is. What was emitted before is known by its key, so nothing comes twice and nothing is lost.
    #[default]
    Restart,
    /// With what happens from now on. What happened since the last run is lost, and health says so.
    FromNow,
}

fn one() -> u64 {
    1
}

/// 366 days: a schedule that is longer is a slip of the pen.
pub(crate) const EVERY_S_MAX: u64 = 366 * 86_400;

impl PollFacts {
    /// What is wrong with it, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=EVERY_S_MAX).contains(&self.every_s) {
            return Err(format!("has an every_s that is not of 1 to {EVERY_S_MAX}"));
        }
        if !(1..=self.every_s).contains(&self.least_s) {
            return Err(format!("has a least_s that is not of 1 to its every_s of {}", self.every_s));
        }
        dated(&self.source, &self.date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &str) -> Result<(), String> {
        toml::from_str::<PollFacts>(&format!("source = 's'\ndate = '2026-11-24'\n{lines}")).unwrap().check()
    }

    #[test]
    fn a_pace_is_stated_and_makes_sense() {
        check("every_s = 30").unwrap();
        check("every_s = 30\nleast_s = 30\ncursor_invalid = 'from-now'").unwrap();
        for (lines, why) in [
            ("every_s = 0", "every_s"),
            ("every_s = 99999999999", "every_s"),
            ("every_s = 30\nleast_s = 31", "every_s of 30"),
            ("every_s = 30\nleast_s = 0", "least_s"),
            ("every_s = 30\n[unused]", "unused"),
        ] {
            match toml::from_str::<PollFacts>(&format!("source = 's'\ndate = 'd'\n{lines}")) {
                Ok(facts) => assert!(facts.check().unwrap_err().contains(why), "{lines}"),
                Err(error) => assert!(error.to_string().contains(why), "{error}"),
            }
        }
        assert!(toml::from_str::<PollFacts>("every_s = 30").unwrap().check().unwrap_err().contains("source and date"));
    }
}
