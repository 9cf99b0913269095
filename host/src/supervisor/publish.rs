//! Who is told of an alert, once: what was told stands in the store, and goes there together with the event that tells it.
//!
//! What is to be told is the difference between what fires and what was told as firing, so that neither a store that could
//! not be written nor a kill between two steps loses or repeats anything. An event is addressed to the rule's sink, and
//! goes nowhere else.
//!
//! Where several processes serve one state folder, each judges what it sees itself, and all of them stand in the store as
//! who sees an alert fire. The first tells that it began, the others join without a word, and whoever leaves last tells
//! that it is over. Who has not said for [`HOLD_MS`] that it goes on has gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::alerts::evaluate::key_of;
use crate::alerts::{Alert, AlertPolicy, AlertRule, AlertState, AlertSubject};
use crate::error::{Error, Result};
use crate::event::Emission;
use crate::host::Host;
use crate::inbound::envelope::{Emitter, HOST_EVENTS};
use crate::inbound::handler::Keeping;
use crate::store::Store;
use crate::store::arrival::{Commit, Committed, Emit, Standing, Step};
use crate::time::{Clock, Timestamp, rfc3339};

/// Whose cursor says what was told: no connection's.
const OWNER: &str = "(alerts)";

/// What it is kept under.
const TOLD: &str = "alerts";

/// Milliseconds for which a process counts as one that sees an alert fire; after half of them it says so again.
const HOLD_MS: u64 = 120_000;

/// How often it is tried where another process is telling too.
const TRIES: usize = 3;

/// An alert that was told as firing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    rule: AlertRule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    subject: AlertSubject,
    #[serde(with = "rfc3339")]
    since: Timestamp,
    value: f64,
    threshold: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Who was told; nobody where no sink is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sink: Option<String>,
    /// Who sees it fire, and until which millisecond that counts.
    #[serde(default)]
    seen_until_ms: BTreeMap<String, u64>,
}

/// What is emitted about an alert.
#[derive(Serialize)]
struct Content<'a> {
    rule: AlertRule,
    state: AlertState,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    subject: &'a AlertSubject,
    value: f64,
    threshold: f64,
    unit: &'static str,
    #[serde(with = "rfc3339")]
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    summary: String,
    runbook: String,
}

/// Tells what fires and what was resolved.
pub(crate) struct AlertPublisher {
    /// This process among those over the same store.
    pub(crate) holder: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Rung when something was emitted.
    pub(crate) told: Arc<dyn Fn() + Send + Sync>,
}

impl Host {
    /// What fires now, as whoever serves over this state folder has told it; see
    /// [`AlertPolicy`](crate::alerts::AlertPolicy).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        self.publisher().firing().await
    }

    /// Tells who is to be told of alerts.
    pub(crate) fn publisher(&self) -> AlertPublisher {
        let (wake, holder) = (self.wake().clone(), format!("{:016x}", crate::random::unlike()));
        let (store, clock) = (self.store().clone(), self.clock().clone());
        AlertPublisher { holder, store, clock, told: Arc::new(move || wake.ring()) }
    }
}

impl AlertPublisher {
    /// What was told as firing and not as resolved, whoever told it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn firing(&self) -> Result<Vec<Alert>> {
        let (_, told) = self.read().await?;
        Ok(told.into_iter().map(Told::alert).collect())
    }

    /// Tells what was not told yet, to whom the policy says. At most once over all processes, where the store keeps its
    /// promises; where it cannot be written, nothing was told, and it is told the next time.
    ///
    /// # Errors
    /// When the store cannot be read or written, or has no room.
    pub(crate) async fn tell(&self, firing: &[Alert], policy: &AlertPolicy, keeping: Keeping) -> Result<()> {
        for _ in 0..TRIES {
            let (version, before) = self.read().await?;
            let at = self.clock.now();
            let (after, emissions) = self.difference(&before, firing, policy, at);
            if after == before {
                return Ok(());
            }
            let mut emit = Vec::new();
            for (alert, sink) in &emissions {
                emit.push(emitted(alert, sink, at)?);
            }
            let cursor = serde_json::to_string(&after).map_err(|_| Error::internal("alerts could not be written"))?;
            let commit = Commit {
                connection: OWNER.to_owned(),
                at,
                event: None,
                step: Some(Step { trigger: TOLD.to_owned(), expected: version, cursor: Some(cursor) }),
                emit,
                known_until: at.plus(keeping.known_ms),
                bytes_max: keeping.bytes_max,
            };
            match self.store.commit(commit).await? {
                Committed::Kept { emitted } => {
                    if emitted > 0 {
                        (self.told)();
                    }
                    return Ok(());
                }
                Committed::Stale => {}
                Committed::Full => return Err(keeping.exceeded("alerts")),
            }
        }
        // Another process is at it; the next time is soon.
        Ok(())
    }

    /// What is told after this, and the events that say so, each with its sink. What was told as firing stays so for as
    /// long as anybody sees it fire, however much else does.
    fn difference(
        &self,
        before: &[Told],
        firing: &[Alert],
        policy: &AlertPolicy,
        now: Timestamp,
    ) -> (Vec<Told>, Vec<(Alert, String)>) {
        let (mut after, mut emissions) = (Vec::<Told>::new(), Vec::new());
        let most = usize::try_from(policy.firing_max).unwrap_or(usize::MAX);
        let is_same = |told: &Told, alert: &Alert| key_of(&told.clone().alert()) == key_of(alert);
        for told in before {
            let mut told = told.clone();
            told.seen_until_ms.retain(|_, until_ms| *until_ms > now.as_millis());
            let is_alone = told.seen_until_ms.keys().all(|who| *who == self.holder);
            let goes_on = match firing.iter().find(|alert| is_same(&told, alert)) {
                // Where another sink is named than before, the one is told that it is over for them, the other that it
                // began; not while somebody else sees it, who may name the one.
                Some(alert) if policy.sink_of(alert.rule) == told.sink.as_deref() || !is_alone => {
                    told.seen_by(&self.holder, now);
                    true
                }
                _ => {
                    told.seen_until_ms.remove(&self.holder);
                    !is_alone
                }
            };
            match goes_on {
                true => after.push(told),
                false => emissions.extend(told.sink.clone().map(|sink| (resolved(&told), sink))),
            }
        }
        for alert in firing {
            if after.iter().any(|told| is_same(told, alert)) {
                continue;
            }
            if after.len() >= most {
                tracing::warn!(
                    target: "wharfage::alerts", firing = firing.len(), most,
                    "more alerts fire than are told; to tell more, set alerts.firing_max"
                );
                break;
            }
            let sink = policy.sink_of(alert.rule).map(str::to_owned);
            emissions.extend(sink.clone().map(|sink| (alert.clone(), sink)));
            let mut told = Told::of(alert, sink);
            told.seen_by(&self.holder, now);
            after.push(told);
        }
        (after, emissions)
    }

    async fn read(&self) -> Result<(u64, Vec<Told>)> {
        let Standing { version, cursor } = self.store.cursor(OWNER, TOLD).await?;
        // What another version wrote and this one cannot read is told anew.
        let told = cursor.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok((version, told))
    }
}

fn resolved(told: &Told) -> Alert {
    Alert { state: AlertState::Resolved, ..told.clone().alert() }
}

/// An event of the host's own, with the same id whenever it is about the same firing.
fn emitted(alert: &Alert, sink: &str, at: Timestamp) -> Result<Emit> {
    let (kind, name) = alert.subject.parts();
    let connection = alert.connection.clone().unwrap_or_default();
    let emitter =
        Emitter { connection: connection.clone(), account: None, plugin: alert.plugin.clone().unwrap_or_default() };
    let key = format!("{} {connection} {kind} {name} {}", alert.rule.name(), alert.since);
    let emission = Emission {
        event_type: format!("{HOST_EVENTS}alert.{}", alert.state.name()),
        key: key.split_whitespace().collect::<Vec<_>>().join(" "),
        data: content(alert)?,
    };
    let mut emitted = emitter.emitted(emission, at, None);
    emitted.sink = Some(sink.to_owned());
    // Whoever is told later is told by an event of their own.
    let name = format!("{} {sink}", emitted.id);
    let content = serde_json::to_vec(&emitted).map_err(|_| Error::internal("an alert could not be written"))?;
    Ok(Emit { name, content })
}

fn content(alert: &Alert) -> Result<Box<RawValue>> {
    let content = Content {
        rule: alert.rule,
        state: alert.state,
        severity: alert.rule.severity().name(),
        connection: alert.connection.as_deref(),
        plugin: alert.plugin.as_deref(),
        subject: &alert.subject,
        value: alert.value,
        threshold: alert.threshold,
        unit: alert.rule.unit(),
        since: alert.since,
        why: alert.why.as_deref(),
        summary: alert.summary(),
        runbook: alert.rule.runbook(),
    };
    to_raw_value(&content).map_err(|_| Error::internal("an alert could not be written"))
}

impl Told {
    fn of(alert: &Alert, sink: Option<String>) -> Self {
        Self {
            rule: alert.rule,
            connection: alert.connection.clone(),
            plugin: alert.plugin.clone(),
            subject: alert.subject.clone(),
            since: alert.since,
            value: alert.value,
            threshold: alert.threshold,
            why: alert.why.clone(),
            sink,
            seen_until_ms: BTreeMap::new(),
        }
    }

    /// Somebody sees it fire, and has not said so lately.
    fn seen_by(&mut self, holder: &str, now: Timestamp) {
        let said = self.seen_until_ms.get(holder).copied().unwrap_or_default();
        if said < now.plus(HOLD_MS / 2).as_millis() {
            self.seen_until_ms.insert(holder.to_owned(), now.plus(HOLD_MS).as_millis());
        }
    }

    fn alert(self) -> Alert {
        let Self { rule, connection, plugin, subject, since, value, threshold, why, .. } = self;
        Alert { rule, connection, plugin, subject, state: AlertState::Firing, since, value, threshold, why }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::store::MemoryStore;
    use crate::time::ManualClock;

    const KEEPING: Keeping = Keeping { known_ms: 1_000_000, bytes_max: 100_000 };

    fn alert(operation: &str, since: u64) -> Alert {
        Alert {
            rule: AlertRule::Errors,
            connection: Some("acme".into()),
            plugin: Some("shop".into()),
            subject: AlertSubject::Operation(operation.into()),
            state: AlertState::Firing,
            since: Timestamp::from_millis(since),
            value: 12.5,
            threshold: 1.0,
            why: None,
        }
    }

    const NOW_MS: u64 = 1_700_000_000_000;

    fn publisher(store: &Arc<dyn Store>) -> AlertPublisher {
        process(store, "one", 0)
    }

    /// A process so many milliseconds later.
    fn process(store: &Arc<dyn Store>, holder: &str, later_ms: u64) -> AlertPublisher {
        let clock = ManualClock::new(Timestamp::from_millis(NOW_MS + later_ms), 1);
        AlertPublisher { holder: holder.into(), store: store.clone(), clock: Arc::new(clock), told: Arc::new(|| ()) }
    }

    async fn events(store: &Arc<dyn Store>) -> Vec<Value> {
        let rows = store.outbox(0, 1_000).await.unwrap();
        rows.iter().map(|row| serde_json::from_slice(&row.content).unwrap()).collect()
    }

    fn policy(text: &str) -> AlertPolicy {
        AlertPolicy::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_firing_is_told_once_and_its_end_once_over_any_number_of_restarts() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let ops = policy("sink = 'ops'");
        for start in 0..3 {
            let publisher = process(&store, &format!("start {start}"), start);
            publisher.tell(&[alert("orders.list", 5_000)], &ops, KEEPING).await.unwrap();
            assert_eq!(publisher.firing().await.unwrap(), [alert("orders.list", 5_000)]);
        }
        assert_eq!(events(&store).await.len(), 1);
        // Those before are gone when they have not said for long enough that it goes on.
        for start in 3..6 {
            let publisher = process(&store, &format!("start {start}"), HOLD_MS + start);
            publisher.tell(&[], &ops, KEEPING).await.unwrap();
        }
        let told = events(&store).await;
        let types: Vec<&str> = told.iter().filter_map(|event| event["event_type"].as_str()).collect();
        assert_eq!(types, ["wharfage.alert.firing", "wharfage.alert.resolved"]);
        for event in &told {
            assert_eq!((&event["sink"], &event["connection"]), (&"ops".into(), &"acme".into()));
            assert_eq!(event["key"], "errors acme operation orders.list 1970-01-01T00:00:05Z", "one story, one key");
            let data = &event["data"];
            assert_eq!(data["subject"]["operation"], "orders.list");
            assert_eq!((&data["value"], &data["threshold"]), (&12.5.into(), &1.0.into()));
            assert_eq!(
                (&data["rule"], &data["severity"], &data["unit"]),
                (&"errors".into(), &"warning".into(), &"percent".into())
            );
            assert_eq!(data["since"], "1970-01-01T00:00:05Z");
            assert_eq!(data["runbook"], "RUNBOOK.md#alert-errors");
            assert_eq!(data["summary"], "orders.list of acme: 12.5 % of calls fail, more than 1 %");
        }
        assert_eq!((&told[0]["data"]["state"], &told[1]["data"]["state"]), (&"firing".into(), &"resolved".into()));
        // The next time is another story.
        publisher(&store).tell(&[alert("orders.list", 9_000)], &ops, KEEPING).await.unwrap();
        assert_eq!(events(&store).await.len(), 3);
    }

    #[tokio::test]
    async fn without_a_sink_nobody_is_told_and_it_is_remembered() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let firing = [alert("orders.list", 5_000)];
        publisher(&store).tell(&firing, &policy(""), KEEPING).await.unwrap();
        assert!(events(&store).await.is_empty());
        assert_eq!(publisher(&store).firing().await.unwrap(), firing);
        // Whoever is named later is told of what fires then, and the one before that it is over for them.
        publisher(&store).tell(&firing, &policy("sink = 'ops'"), KEEPING).await.unwrap();
        publisher(&store).tell(&firing, &policy("sink = 'night'"), KEEPING).await.unwrap();
        let told: Vec<(String, String)> = events(&store)
            .await
            .iter()
            .map(|event| (event["sink"].as_str().unwrap().to_owned(), event["event_type"].as_str().unwrap().to_owned()))
            .collect();
        let expected = [("ops", "firing"), ("ops", "resolved"), ("night", "firing")];
        assert_eq!(told, expected.map(|(sink, what)| (sink.to_owned(), format!("wharfage.alert.{what}"))));
    }

    /// Two processes over one state folder: what one has told the other does not tell again, nor take back.
    #[tokio::test]
    async fn who_sees_it_too_joins_and_who_leaves_last_tells_that_it_is_over() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let ops = policy("sink = 'ops'");
        let firing = [alert("orders.list", 5_000)];
        let tell = async |who: &str, later_ms: u64, firing: &[Alert]| {
            process(&store, who, later_ms).tell(firing, &ops, KEEPING).await.unwrap();
            events(&store).await.len()
        };
        assert_eq!(tell("one", 0, &firing).await, 1);
        assert_eq!(tell("other", 1, &[]).await, 1, "who does not see it took it back");
        assert_eq!(tell("other", 2, &[alert("orders.list", 9_000)]).await, 1, "it was told twice");
        assert_eq!(tell("one", 3, &[]).await, 1, "it is over for one only");
        assert_eq!(tell("one", 4, &[]).await, 1);
        assert_eq!(tell("other", 5, &[]).await, 2);
        let told = events(&store).await;
        assert_eq!((&told[0]["key"], &told[1]["event_type"]), (&told[1]["key"], &"wharfage.alert.resolved".into()));

        // One that is killed counts for a while, and one that goes on counts on.
        let firing = [alert("orders.list", 20_000)];
        assert_eq!(tell("killed", 10, &firing).await, 3);
        for minute in 0..10 {
            assert_eq!(tell("other", 11 + minute * 60_000, &firing).await, 3);
        }
        assert_eq!(tell("other", 12 + 9 * 60_000, &[]).await, 4);
        assert_eq!(tell("killed", 1_000_000, &[alert("orders.list", 30_000)]).await, 5);
        assert_eq!(tell("other", 1_000_000 + HOLD_MS - 1, &[]).await, 5);
        assert_eq!(tell("other", 1_000_000 + HOLD_MS, &[]).await, 6);

        // Another sink is told when nobody else may name the one before.
        let firing = [alert("orders.list", 40_000)];
        assert_eq!(tell("one", 2_000_000, &firing).await, 7);
        tell("other", 2_000_001, &firing).await;
        let night = policy("sink = 'night'");
        let moved = async |later_ms| {
            process(&store, "one", later_ms).tell(&firing, &night, KEEPING).await.unwrap();
            events(&store).await.len()
        };
        assert_eq!(moved(2_000_002).await, 7);
        assert_eq!(moved(2_000_001 + HOLD_MS).await, 9);
    }

    /// What an earlier version told has nobody who sees it, and is over where it is not seen.
    #[tokio::test]
    async fn what_was_told_before_there_were_several_is_taken_up() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let mut told = serde_json::to_value([Told::of(&alert("orders.list", 5_000), Some("ops".into()))]).unwrap();
        told[0].as_object_mut().unwrap().remove("seen_until_ms");
        let told: Vec<Told> = serde_json::from_value(told).unwrap();
        let (after, emissions) =
            publisher(&store).difference(&told, &[], &policy("sink = 'ops'"), Timestamp::from_millis(NOW_MS));
        assert_eq!((after.len(), emissions.len()), (0, 1));
    }

    #[tokio::test]
    async fn no_more_fire_at_once_than_the_limit_and_those_that_do_go_on() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let two = policy("sink = 'ops'\nfiring_max = 2");
        let all = |names: &[&str]| names.iter().map(|name| alert(name, 5_000)).collect::<Vec<_>>();
        publisher(&store).tell(&all(&["c", "d"]), &two, KEEPING).await.unwrap();
        publisher(&store).tell(&all(&["a", "b", "c", "d"]), &two, KEEPING).await.unwrap();
        assert_eq!(events(&store).await.len(), 2, "what was told was taken back for another");
        publisher(&store).tell(&all(&["a", "b", "c"]), &two, KEEPING).await.unwrap();
        let names: Vec<AlertSubject> =
            publisher(&store).firing().await.unwrap().into_iter().map(|alert| alert.subject).collect();
        assert_eq!(names, ["c", "a"].map(|name| AlertSubject::Operation(name.into())));
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_told_the_next_time() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let ops = policy("sink = 'ops'");
        let firing = [alert("orders.list", 5_000)];
        let full = Keeping { bytes_max: 10, ..KEEPING };
        let error = publisher(&store).tell(&firing, &ops, full).await.unwrap_err().to_string();
        assert!(error.contains("alerts would exceed the limit outbox_bytes: 10 bytes of all"), "{error}");
        assert!(publisher(&store).firing().await.unwrap().is_empty(), "it counts as told");
        publisher(&store).tell(&firing, &ops, KEEPING).await.unwrap();
        assert_eq!(events(&store).await.len(), 1);
    }
}
