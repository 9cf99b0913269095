//! `[serve]` of a `wharfage.toml`: how `wharfage serve` listens, how patiently events are handed over, and for how long
//! they are kept (R22).

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

#[cfg(feature = "serve")]
use super::handler::Keeping;
#[cfg(feature = "serve")]
use super::inbox::InboxPolicy;
use crate::connection::limits;
#[cfg(feature = "serve")]
use crate::outbound::retry::RetryPolicy;
#[cfg(feature = "serve")]
use crate::store::arrival::{Room, Sweep};
#[cfg(feature = "serve")]
use crate::time::Timestamp;

/// `[serve]` of a `wharfage.toml`.
///
/// ```toml
/// [serve]
/// listen = "127.0.0.1:8790"      # where webhooks arrive; a proxy in front of it speaks TLS
/// reload = true                  # take up changes of this file and of components by itself
/// limits.drain_ms = 60000
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ServePolicy {
    /// Where webhooks arrive. Nothing else is served there.
    pub listen: SocketAddr,
    /// Whether a change of the file or of a component is taken up by itself; SIGHUP does it in any case.
    pub reload: bool,
    /// Whether a connection that nobody called for four minutes is asked how it is, where its plugin says how.
    pub probe: bool,
    /// Limits that differ from the defaults.
    pub limits: ServeLimits,
}

impl Default for ServePolicy {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 8790).into(), reload: true, probe: true, limits: ServeLimits::default() }
    }
}

limits! {
    /// Everything about arriving and leaving events that has a limit. Units stand last in the names.
    ServeLimits;

    connections: 1_024, "Connections of the webhooks' listener at once; further ones wait.";
    head_ms: 10_000, "Milliseconds that the first head of a connection may take.";
    idle_ms: 30_000, "Milliseconds from an answer to the end of the next head.";
    head_bytes: 32 << 10, "Bytes of a head.";
    headers: 100, "Header fields of one.";
    drain_ms: 30_000, "Milliseconds that work under way has to end when the host stops.";
    side_by_side: 8, "Stored events of one connection that are handled at once.";
    held_ms: 30_000, "Milliseconds after which a stored event goes to another process than one that gives no sign any more.";
    attempts: 15, "Times that an event is handed to its plugin before it becomes a dead letter.";
    retry_ms: 1_000, "Milliseconds before the second time; each further wait is twice as long.";
    retry_wait_ms: 3_600_000, "Milliseconds that one such wait may last.";
    waiting_events: 100_000, "Events of one webhook that wait; further ones are refused, for the provider to send again.";
    waiting_bytes: 256 << 20, "Bytes of all these.";
    handled_kept_ms: 604_800_000, "Milliseconds for which a handled event's content is kept, for a replay.";
    dead_kept_ms: 2_592_000_000, "Milliseconds for which dead letters are kept.";
    emitted_kept_ms: 604_800_000, "Milliseconds for which an emitted event is kept, whoever has not read it.";
    emitted_known_ms: 2_592_000_000, "Milliseconds for which an emitted event is known by name, and not emitted again.";
    outbox_bytes: 1 << 30, "Bytes of all emitted events that are kept; beyond them no event is handled.";
}

#[cfg(feature = "serve")]
impl ServeLimits {
    /// For inboxes.
    pub(crate) fn inbox(&self) -> InboxPolicy {
        InboxPolicy {
            retry: RetryPolicy {
                attempts_max: u32::try_from(self.attempts).unwrap_or(u32::MAX),
                base_ms: self.retry_ms,
                delay_ms_max: self.retry_wait_ms,
                jitter: RetryPolicy::default().jitter,
            },
            side_by_side: usize::try_from(self.side_by_side).unwrap_or(usize::MAX),
            held_ms: self.held_ms,
            room: Room { events_max: self.waiting_events, bytes_max: self.waiting_bytes },
        }
    }

    /// For handlers.
    pub(crate) fn keeping(&self) -> Keeping {
        Keeping { known_ms: self.emitted_known_ms, bytes_max: self.outbox_bytes }
    }

    /// What is over now.
    pub(crate) fn sweep(&self, now: Timestamp, sinks: Vec<String>) -> Sweep {
        let before = |kept_ms: u64| Timestamp::from_millis(now.as_millis().saturating_sub(kept_ms));
        Sweep {
            now,
            handled_before: before(self.handled_kept_ms),
            dead_before: before(self.dead_kept_ms),
            emitted_before: before(self.emitted_kept_ms),
            sinks,
        }
    }
}
