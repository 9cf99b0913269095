//! `[serve]` of a `wharfage.toml`: how `wharfage serve` listens, how patiently events are handed over, and for how long
//! they are kept (R22).

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::limits::limits;
#[cfg(feature = "serve")]
use crate::store::arrival::Sweep;
use crate::store::rules::PUT_OFF_MS_MAX;
use crate::text::shown;
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
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Whether a change of the file or of a component is taken up by itself; SIGHUP does it in any case.
    pub reload: bool,
    /// Whether a connection that nobody called for four minutes is asked how it is, where its plugin says how.
    pub probe: bool,
    /// Limits that differ from the defaults.
    pub limits: ServeLimits,
    /// The private listener: console, health and metrics. There is none where nothing is stated.
    pub console: Option<ConsolePolicy>,
}

impl Default for ServePolicy {
    fn default() -> Self {
        let listen = (Ipv4Addr::LOCALHOST, 8790).into();
        Self { listen, reload: true, probe: true, limits: ServeLimits::default(), console: None }
    }
}

impl ServePolicy {
    /// Refuses what makes no sense or gives away what is private.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with the line that would be right.
    pub(crate) fn check(&self) -> Result<()> {
        self.limits.check().map_err(|error| error.context("[serve]"))?;
        let Some(console) = &self.console else { return Ok(()) };
        console.check().map_err(|error| error.context("[serve.console]"))?;
        if console.listen == self.listen && self.listen.port() != 0 {
            let message = format!("[serve.console] would listen at {}, where webhooks arrive", self.listen);
            let port = if self.listen.port() == CONSOLE_PORT { CONSOLE_PORT + 1 } else { CONSOLE_PORT };
            return Err(Error::configuration(message).with_details(format!(
                "What is private shares no listener with what is public. Set another address in [serve.console]:   \
                 listen = \"127.0.0.1:{port}\""
            )));
        }
        Ok(())
    }
}

/// An address with its port. A name may stand for several addresses, so none is taken.
fn address<'de, D: serde::Deserializer<'de>>(written: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(written)?;
    text.parse().map_err(|_| {
        let text = shown(&text);
        serde::de::Error::custom(format!("`{text}` is no address with a port; write it as 127.0.0.1:8790"))
    })
}

/// Where the private listener is, where nothing is stated.
const CONSOLE_PORT: u16 = 7422;

/// `[serve.console]` of a `wharfage.toml`: the private listener.
///
/// ```toml
/// [serve.console]
/// listen = "127.0.0.1:7422"      # the default; another machine does not reach it
/// metrics_open = true            # /metrics without the token
/// hosts = ["ops.example.org"]    # names under which a proxy in front of it is asked
/// limits.streams = 16
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ConsolePolicy {
    /// Where console, health and metrics are asked for.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Whether it may listen where other machines reach it: whoever has the token there sees and replays everything, and
    /// the token is readable on the way unless a proxy speaks TLS.
    pub danger_beyond_loopback: bool,
    /// Whether `/metrics` is answered without the token.
    pub metrics_open: bool,
    /// Names under which it is asked, beside those of this machine's own loopback.
    pub hosts: Vec<String>,
    /// Limits that differ from the defaults.
    pub limits: ConsoleLimits,
}

impl Default for ConsolePolicy {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, CONSOLE_PORT).into(),
            danger_beyond_loopback: false,
            metrics_open: false,
            hosts: Vec::new(),
            limits: ConsoleLimits::default(),
        }
    }
}

impl ConsolePolicy {
    fn check(&self) -> Result<()> {
        self.limits.check()?;
        if !self.listen.ip().is_loopback() && !self.danger_beyond_loopback {
            let message = format!("other machines could reach the console at {}", self.listen);
            return Err(Error::configuration(message).with_details(format!(
                "Keep it on this machine, and come to it through ssh -L:   listen = \"127.0.0.1:{port}\"\n\
                 To let others reach it, with a proxy before it that speaks TLS:   danger_beyond_loopback = true",
                port = self.listen.port()
            )));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let is_name = |host: &String| (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(is_plain);
        match self.hosts.iter().find(|host| !is_name(host)) {
            None => Ok(()),
            Some(host) => {
                let message = format!("hosts names `{}`, which is no host's name", shown(host));
                Err(Error::configuration(message)
                    .with_details("Write it without scheme, port and path:   hosts = [\"ops.example.org\"]"))
            }
        }
    }
}

/// Most bytes of a host's name (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;

limits! {
    /// Everything about the private listener that has a limit. Units stand last in the names.
    ConsoleLimits;

    connections: 64, "Connections of the private listener at once; further ones wait.";
    head_ms: 10_000, "Milliseconds that the first head of a connection may take.";
    idle_ms: 30_000, "Milliseconds from an answer to the end of the next head, and those for which nobody may read what is sent.";
    head_bytes: 16 << 10, "Bytes of a head.";
    headers: 100, "Header fields of one.";
    streams: 8, "Pages that are kept up to date at once; further ones are refused.";
    stream_ms: 1_000, "Milliseconds from one state that such a page is told to the next.";
    rows: 200, "Rows of one answer: events, dead letters.";
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
    retry_wait_ms: 3_600_000 => PUT_OFF_MS_MAX, "Milliseconds that one such wait may last.";
    waiting_events: 100_000, "Events of one webhook that wait; further ones are refused, for the provider to send again.";
    waiting_bytes: 256 << 20, "Bytes of all these.";
    handled_kept_ms: 604_800_000, "Milliseconds for which a handled event's content is kept, for a replay.";
    dead_kept_ms: 2_592_000_000, "Milliseconds for which dead letters are kept.";
    emitted_kept_ms: 604_800_000, "Milliseconds for which an emitted event is kept that a sink has not read, or that has no sink; one that all have read goes within ten minutes, and one that a sink refused stays as long as its dead letter, while there is room.";
    emitted_known_ms: 2_592_000_000, "Milliseconds for which an emitted event is known by name, and not emitted again.";
    known_events: 3_000_000, "Emitted events of one connection that are known by name after their content has gone; beyond them the oldest are forgotten, every ten minutes, and 50,000 at a time.";
    outbox_bytes: 2 << 30, "Bytes of all emitted events that are kept, half of them of one connection; beyond them no event is handled.";
}

#[cfg(feature = "serve")]
impl ServeLimits {
    /// What is over now.
    pub(crate) fn sweep(&self, now: Timestamp, sinks: Vec<String>) -> Sweep {
        let before = |kept_ms: u64| Timestamp::from_millis(now.as_millis().saturating_sub(kept_ms));
        Sweep {
            now,
            handled_before: before(self.handled_kept_ms),
            dead_before: before(self.dead_kept_ms),
            emitted_before: before(self.emitted_kept_ms),
            known_events: Some(self.known_events),
            sinks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> ServePolicy {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn there_is_no_console_where_nothing_is_stated() {
        assert_eq!(policy("").console, None);
        let console = policy("[console]").console.unwrap();
        assert_eq!((console.listen.to_string().as_str(), console.metrics_open), ("127.0.0.1:7422", false));
    }

    /// R20: private faces are on loopback, and share no listener with webhooks.
    #[test]
    fn r20_what_is_private_stays_on_this_machine_unless_a_line_says_otherwise() {
        for text in [
            "[console]\nlisten='0.0.0.0:7422'",
            "[console]\nlisten='192.168.1.7:7422'",
            "[console]\nlisten='[::]:7422'",
        ] {
            let error = policy(text).check().unwrap_err().to_string();
            assert!(error.contains("danger_beyond_loopback = true") && error.contains("ssh -L"), "{error}");
            policy(&format!("{text}\ndanger_beyond_loopback=true")).check().unwrap();
        }
        for text in [
            "[console]\nlisten='127.0.0.2:1'",
            "[console]\nlisten='[::1]:7422'",
            "listen='127.0.0.1:0'\n[console]\nlisten='127.0.0.1:0'",
        ] {
            policy(text).check().unwrap();
        }
        let error = policy("listen='127.0.0.1:7422'\n[console]").check().unwrap_err().to_string();
        assert!(error.contains("where webhooks arrive"), "{error}");
        // What is told as the mend is none of the same.
        let mend = error.rsplit("   ").next().unwrap();
        policy(&format!("listen='127.0.0.1:7422'\n[console]\n{mend}")).check().unwrap();
    }

    #[test]
    fn a_name_is_no_address_to_listen_at() {
        for text in ["listen='localhost:8790'", "[console]\nlisten='8790'"] {
            let error = toml::from_str::<ServePolicy>(text).unwrap_err().to_string();
            assert!(error.contains("is no address with a port; write it as 127.0.0.1:8790"), "{error}");
        }
    }

    #[test]
    fn a_name_that_is_none_and_a_limit_of_nothing_are_refused() {
        for host in ["", "http://ops.test", "ops.test:80", "a b"] {
            let error = policy(&format!("[console]\nhosts=['{host}']")).check().unwrap_err().to_string();
            assert!(error.contains("hosts = [\"ops.example.org\"]"), "{error}");
        }
        let error = policy("[console]\nlimits.streams=0").check().unwrap_err().to_string();
        assert!(error.contains("[serve.console]") && error.contains("limits.streams is 0"), "{error}");
        // Nobody believes that an event was put off by more than a day.
        policy("limits.retry_wait_ms=86400000").check().unwrap();
        assert!(policy("limits.retry_wait_ms=86400001").check().is_err());
    }
}
