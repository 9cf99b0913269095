//! `[connections.<name>.sockets.<socket>]`: what an operator states about a socket that is kept open.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::manifest::SocketFacts;
use crate::text::shown;

/// `[connections.<name>.sockets.<socket>]` of a `wharfage.toml`: this socket is kept open.
///
/// ```toml
/// [connections.acme.sockets.trades]
/// values = { market = "BTC-EUR" }   # what the manifest's parameters stand for
/// overflow = "drop-oldest"          # or "drop-newest", "reconnect"
/// queue_messages_max = 1000
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SocketPolicy {
    /// What the parameters of the manifest stand for.
    pub values: BTreeMap<String, String>,
    /// What happens to messages that come faster than the plugin handles them.
    pub overflow: Overflow,
    /// Messages that wait for the plugin.
    pub queue_messages_max: u64,
    /// Bytes of all these.
    pub queue_bytes_max: u64,
    /// Bytes of one message.
    pub message_bytes_max: u64,
    /// Milliseconds of the shortest wait before it is opened again.
    pub wait_ms_min: u64,
    /// Milliseconds of the longest one.
    pub wait_ms_max: u64,
    /// Times that a message is handed to the plugin before it is given up.
    pub attempts: u32,
}

impl Default for SocketPolicy {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
            overflow: Overflow::default(),
            queue_messages_max: 1_000,
            queue_bytes_max: 16 << 20,
            message_bytes_max: 1 << 20,
            wait_ms_min: 1_000,
            wait_ms_max: 60_000,
            attempts: 5,
        }
    }
}

/// What happens to messages that come faster than the plugin handles them. Whatever is dropped, the plugin is told of a
/// gap.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest that waits gives way.
    #[default]
    DropOldest,
    /// The new one is dropped.
    DropNewest,
    /// The socket is closed, and opened again after a wait.
    Reconnect,
}

/// Waits are from a second to a minute, unless the operator wants them longer: an hour at most.
const WAIT_MS: (u64, u64) = (1_000, 3_600_000);

impl SocketPolicy {
    /// What is wrong with it by itself, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let least = [
            ("queue_messages_max", self.queue_messages_max),
            ("queue_bytes_max", self.queue_bytes_max),
            ("message_bytes_max", self.message_bytes_max),
            ("attempts", u64::from(self.attempts)),
        ];
        if let Some((name, _)) = least.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("has a {name} of 0, which would let nothing pass; leave it out for the default"));
        }
        if self.queue_bytes_max < self.message_bytes_max {
            return Err(format!(
                "has a message_bytes_max of {}, more than its queue_bytes_max of {}",
                self.message_bytes_max, self.queue_bytes_max
            ));
        }
        let (least_ms, most_ms) = WAIT_MS;
        if self.wait_ms_min < least_ms || self.wait_ms_max > most_ms || self.wait_ms_min > self.wait_ms_max {
            return Err(format!(
                "has waits of {} to {} ms; they are within {least_ms} to {most_ms}, the least first",
                self.wait_ms_min, self.wait_ms_max
            ));
        }
        Ok(())
    }

    /// What is wrong with it for a socket of these facts, if anything is.
    pub(crate) fn check_against(&self, facts: &SocketFacts) -> Result<(), String> {
        if let Some(name) = facts.stranger(&self.values) {
            let known = if facts.parameters.is_empty() { "none".to_owned() } else { facts.parameters.join(", ") };
            return Err(format!("says values.{}, which the plugin does not ask for; it asks for {known}", shown(name)));
        }
        facts.url(&self.values)?;
        facts.first_messages(&self.values).map(|_| ())
    }
}

#[cfg(test)]
mod policy_tests {
    use super::*;

    #[test]
    fn what_could_not_work_is_refused_in_a_sentence() {
        let policy = |text: &str| toml::from_str::<SocketPolicy>(text).unwrap();
        policy("").check().unwrap();
        policy("overflow = 'reconnect'\nwait_ms_max = 1000").check().unwrap();
        for (text, says) in [
            ("queue_messages_max = 0", "queue_messages_max of 0"),
            ("attempts = 0", "attempts of 0"),
            ("message_bytes_max = 100000000", "queue_bytes_max"),
            ("wait_ms_min = 0", "within 1000"),
            ("wait_ms_min = 5000\nwait_ms_max = 4000", "the least first"),
            ("wait_ms_max = 99999999", "within 1000"),
        ] {
            let why = policy(text).check().unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        assert!(toml::from_str::<SocketPolicy>("overflow = 'drop'").is_err());
    }
}
