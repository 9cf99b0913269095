//! What is known of work that starts by itself: polls, sockets, webhooks, dead letters and sinks; and all of it together.

use serde::Serialize;

use crate::error::Error;
use crate::health::{Cause, Facts, Finding, Found, Health, HealthState, Subject, short};
use crate::inbound::poll::PollHealth;
use crate::inbound::sink::worker::{SinkDoing, SinkState};
use crate::inbound::socket::{SocketState, SocketStatus};
use crate::inbound::webhook::WebhookCounts;
use crate::observe::pulse::FRESH_MS;
use crate::time::Timestamp;

/// Milliseconds for which a poll may be due before that is told, and before what it brings is too old.
const LATE_MS: u64 = 300_000;
const OLD_MS: u64 = 3_600_000;

/// Milliseconds that a socket may take to be opened.
const OPENING_MS: u64 = 60_000;

/// Most dead letters that are counted.
pub(crate) const DEAD_MAX: u64 = 100;

/// What is declared for a connection, and how it stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    pub(crate) polls: Vec<(String, PollHealth)>,
    pub(crate) sockets: Vec<(String, SocketStatus)>,
    /// Endpoints: id, the secret that deliveries are verified with, and what became of them.
    pub(crate) endpoints: Vec<(String, String, WebhookCounts)>,
    /// Events that were given up, up to [`DEAD_MAX`].
    pub(crate) dead: u64,
    /// When what was emitted found no room last.
    pub(crate) full_at: Option<Timestamp>,
}

/// How several connections and sinks are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The worst of them; healthy where there is nothing.
    pub state: HealthState,
    /// When this was judged.
    #[serde(with = "crate::time::rfc3339")]
    pub at: Timestamp,
    /// Each of them, connections first.
    pub all: Vec<Health>,
}

impl HealthReport {
    pub(crate) fn new(at: Timestamp, all: Vec<Health>) -> Self {
        let state = all.iter().map(|health| health.state).max().unwrap_or(HealthState::Healthy);
        Self { state, at, all }
    }
}

/// What speaks against a connection's work.
pub(super) fn judge(found: &mut Found, facts: &Facts, now: Timestamp) {
    let (connection, work) = (&facts.connection, &facts.work);
    for (name, poll) in &work.polls {
        let is_old = poll.succeeded_at.is_some_and(|at| now.since(at) > OLD_MS);
        let state = if is_old { HealthState::Unhealthy } else { HealthState::Degraded };
        if let Some((at, why)) = poll.failed.as_ref().filter(|_| poll.failures > 0) {
            let message = format!(
                "it failed {}, without a success in between, at {at} last: {why}",
                times(u64::from(poll.failures))
            );
            let help = format!("It runs again at {}. To look now:   wharfage health {connection}", poll.due);
            found.tell(Cause::PollFailing, state, name, message, help).until = Some(poll.due);
        } else if poll.lag_ms > LATE_MS {
            let state = if poll.lag_ms > OLD_MS { HealthState::Unhealthy } else { HealthState::Degraded };
            let message = format!("it has been due since {}", poll.due);
            let help = "It runs under `wharfage serve`: look whether that runs, and what it says".to_owned();
            found.tell(Cause::PollLate, state, name, message, help);
        } else if poll.is_behind {
            let message = "there is more to read than one run may; the next goes on".to_owned();
            let help = format!("If it stays so:   [connections.{connection}.polls.{name}] pages_max = 1000");
            found.tell(Cause::PollLate, HealthState::Healthy, name, message, help);
        }
    }
    for (name, socket) in &work.sockets {
        let last = socket.last_end.as_deref().unwrap_or("nothing is known of why");
        let again = || format!("It is opened again by itself. To look:   wharfage health {connection}");
        match &socket.state {
            SocketState::Open | SocketState::StandBy => {}
            SocketState::Connecting if now.since(socket.since) <= OPENING_MS => {}
            SocketState::Connecting => {
                let message = format!("it has been opening since {}: {last}", socket.since);
                found.tell(Cause::SocketClosed, HealthState::Degraded, name, message, again());
            }
            SocketState::Backoff(at) => {
                let message = format!("it is closed until {at}: {last}");
                let told = found.tell(Cause::SocketClosed, HealthState::Degraded, name, message, again());
                told.until = Some(*at);
            }
            SocketState::Closed(why) => {
                let help = "Start it again: send SIGHUP to `wharfage serve`".to_owned();
                found.tell(Cause::SocketClosed, HealthState::Unhealthy, name, format!("it stays closed: {why}"), help);
            }
        }
    }
    for (id, secret, counts) in &work.endpoints {
        // Strangers knock at every door; only where nobody else does, the secret may be the wrong one.
        if counts.refused > 0 && counts.proven == 0 {
            let message = format!("{} deliveries came, and none was the provider's own", counts.refused);
            let help = format!("If the provider says it sends some:   wharfage secret set {connection} {secret}");
            found.tell(Cause::WebhooksRefused, HealthState::Degraded, id, message, help);
        }
    }
    if work.dead > 0 {
        let help = format!("wharfage events dead --connection {connection}   then:   wharfage events replay ID");
        let message = format!("{} given up by {}", events(work.dead), facts.plugin);
        found.tell(Cause::DeadLetters, HealthState::Degraded, "", message, help);
    }
    if let Some(at) = work.full_at.filter(|at| now.since(*at) <= FRESH_MS) {
        let message = format!("what {} emitted found no room at {at}; it waits until sinks take more", facts.plugin);
        let help = "See what sinks do:   wharfage status   To keep more: serve.limits.outbox_bytes".to_owned();
        found.tell(Cause::OutboxFull, HealthState::Degraded, "", message, help);
    }
}

/// How a sink is; `None` for one that nobody runs here. `dead` is how many events it did not take.
pub(crate) fn of_sink(name: &str, state: Option<&SinkState>, dead: u64, now: Timestamp) -> Health {
    let mut found = Found::default();
    match state.map(|state| &state.doing) {
        Some(SinkDoing::Well | SinkDoing::Elsewhere) => {}
        Some(SinkDoing::Waiting { until, why }) => {
            let help = format!("It is asked again by itself. What it waits for:   wharfage events dead --sink {name}");
            found.tell(Cause::SinkWaiting, HealthState::Degraded, name, why.clone(), help).until = Some(*until);
        }
        Some(SinkDoing::Disabled { why }) => {
            let help = format!("Mend [sinks.{name}], then send SIGHUP to `wharfage serve`; its events wait");
            found.tell(Cause::SinkDisabled, HealthState::Unhealthy, name, why.clone(), help);
        }
        None => {
            let help = "wharfage serve".to_owned();
            found.tell(Cause::NoTraffic, HealthState::Unknown, name, "nobody runs it here".to_owned(), help);
        }
    }
    if dead > 0 {
        let help = format!("wharfage events dead --sink {name}   then:   wharfage events replay NUMBER --sink {name}");
        found.tell(Cause::DeadLetters, HealthState::Degraded, name, format!("{} not taken", events(dead)), help);
    }
    found.0.sort_by_key(|finding| std::cmp::Reverse(finding.state));
    let state = found.worst();
    Health { subject: Subject::Sink, name: name.to_owned(), state, findings: found.0, at: now, ..Health::default() }
}

impl Health {
    /// Of a connection that does not open.
    pub(crate) fn not_opening(connection: &str, error: &Error, now: Timestamp) -> Self {
        let (message, help) = (short(error.message()), short(error.details().unwrap_or_default()));
        let help = if help.is_empty() { format!("wharfage explain {connection}") } else { help };
        let (cause, state) = (Cause::NotOpening, HealthState::Unhealthy);
        let finding = Finding { cause, state, about: String::new(), message, help, until: None };
        Self { name: connection.to_owned(), state, findings: vec![finding], at: now, ..Self::default() }
    }
}

/// What `/healthz` answers: the process lives. Status and JSON.
pub(crate) fn lived(now: Timestamp) -> (u16, String) {
    (200, serde_json::json!({"alive": true, "at": now.to_string()}).to_string())
}

/// What keeps the host itself from its work, whatever providers do. The names are stable, for rules and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hindrance {
    hindrance: &'static str,
    message: String,
    help: String,
}

impl Hindrance {
    /// It has not begun yet.
    pub(crate) fn starting() -> Self {
        let message = "not everything that is declared runs yet".to_owned();
        Self { hindrance: "starting", message, help: "Ask again in a moment".to_owned() }
    }

    /// It is about to end.
    pub(crate) fn stopping() -> Self {
        let message = "it was asked to stop, and finishes what is under way".to_owned();
        Self { hindrance: "stopping", message, help: "Ask another host".to_owned() }
    }

    /// Nothing can be kept, so nothing may be acknowledged.
    pub(crate) fn store(error: &Error) -> Self {
        let help = "Look at the state folder: its owner, its room".to_owned();
        Self { hindrance: "store-unwritable", message: short(error.message()), help }
    }

    /// Something that goes on for ever has ended.
    pub(crate) fn worker(name: &str) -> Self {
        let message = format!("{} has ended by a defect of wharfage", short(name));
        let help = "Start it again, which loses nothing; and tell its authors what the log says".to_owned();
        Self { hindrance: "worker-ended", message, help }
    }
}

/// What `/readyz` answers: 200 where nothing keeps the host from its work, else 503; and how connections and sinks are, with
/// every cause. One provider that is down takes no host out of service, which would lose what arrives for the others.
/// Status and JSON.
pub(crate) fn ready(report: &HealthReport, hindrances: &[Hindrance]) -> (u16, String) {
    let is_ready = hindrances.is_empty();
    let cause = |(health, finding): (&Health, &Finding)| {
        serde_json::json!({
            "subject": health.subject, "name": health.name, "state": finding.state, "cause": finding.cause,
            "about": finding.about, "message": finding.message, "help": finding.help,
        })
    };
    let told = report.all.iter().flat_map(|health| health.findings.iter().map(move |finding| (health, finding)));
    let causes: Vec<_> = told.filter(|(_, finding)| finding.state > HealthState::Healthy).map(cause).collect();
    let all = serde_json::json!({
        "ready": is_ready, "hindrances": hindrances, "state": report.state, "at": report.at.to_string(), "causes": causes,
    });
    (if is_ready { 200 } else { 503 }, all.to_string())
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn events(count: u64) -> String {
    match count {
        1 => "1 event was".to_owned(),
        DEAD_MAX.. => format!("{DEAD_MAX} events or more were"),
        _ => format!("{count} events were"),
    }
}
