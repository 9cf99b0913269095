//! What is added to while calls run: numbers, and nothing that two operations share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::histogram::Timings;
use super::recent::Recent;
use super::{
    AnswerCounts, BudgetMetrics, CANCELLED, CircuitMetrics, ConnectionMetrics, HANDLE, Metrics, OperationMetrics,
    SIGN_IN, SOCKET,
};
use crate::error::{Error, Kind};
use crate::observe::states::{AnswerSource, Retired};
use crate::text::shown;
use crate::time::{Clock, Timestamp};

/// Connections that are closed and still told of. Of more, the one that was opened longest ago is forgotten.
const CLOSED_MAX: usize = 256;

/// The meters of a host: one for each connection that was opened.
pub(crate) struct Meters {
    since: Timestamp,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    /// With the number of its last opening.
    all: BTreeMap<String, (u64, Arc<Meter>)>,
    openings: u64,
}

/// What is paced, as far as it is counted: the path of a connection.
pub(crate) trait Paced: Send + Sync {
    /// Its breakers, by origin.
    fn circuits(&self) -> Vec<CircuitMetrics>;

    /// Its budgets, in the order of their names.
    fn budgets(&self, now: Timestamp) -> Vec<BudgetMetrics>;
}

/// The meter of a connection.
pub(crate) struct Meter {
    plugin: String,
    account: Option<String>,
    /// The plugin's operations in their order, then those of [`BESIDE`].
    operations: Vec<Arc<OperationMeter>>,
    instances_kept: Count,
    instances_retired: [Count; Retired::NAMES.len()],
    /// Where breakers and budgets are looked at.
    outbound: Mutex<Option<Weak<dyn Paced>>>,
}

/// What is counted beside a plugin's operations, in the order of the places below.
const BESIDE: [&str; 3] = [HANDLE, SIGN_IN, SOCKET];

/// The meter of one operation.
#[derive(Default)]
pub(crate) struct OperationMeter {
    name: String,
    succeeded: Count,
    failed: Kinds,
    under_way: Count,
    duration: Timings,
    recent: Recent,
    succeeded_at_ms: AtomicU64,
    failure: Mutex<Option<Failure>>,
    requests: Count,
    attempts: Count,
    attempts_failed: Kinds,
    retries: Count,
    redirects: Count,
    live: Count,
    cache: Count,
    stale: Count,
    waited: Timings,
    over_budget: Count,
    sent: Count,
    received: Count,
    instances: Count,
    instances_reused: Count,
    instances_live: Count,
    compute_ms: Count,
    memory_bytes_max: AtomicU64,
    drifts: Count,
    leaks: Count,
    refusals: Count,
}

struct Failure {
    at: Timestamp,
    kind: &'static str,
    message: String,
}

/// A call under way. Dropping it without an end says that its caller went away.
pub(crate) struct UnderWay<'a> {
    meter: &'a OperationMeter,
    clock: &'a dyn Clock,
    began: Timestamp,
    has_ended: bool,
}

/// A number that is added to.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn less(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number for each kind of error.
#[derive(Default)]
struct Kinds([Count; Kind::NAMES.len()]);

impl Kinds {
    fn add(&self, kind: &'static str) {
        let place = Kind::NAMES.iter().position(|known| *known == kind);
        if let Some(count) = place.and_then(|place| self.0.get(place)) {
            count.add(1);
        }
    }

    fn read(&self) -> BTreeMap<&'static str, u64> {
        let counts = Kind::NAMES.iter().zip(&self.0).map(|(name, count)| (*name, count.read()));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl Meters {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { since: clock.now(), connections: Mutex::default() }
    }

    /// The meter of a connection. Where it is opened again, operations of the same names count on.
    pub(crate) fn of<'a>(
        &self,
        connection: &str,
        account: Option<&str>,
        plugin: &str,
        operations: impl Iterator<Item = &'a str> + Clone,
    ) -> Arc<Meter> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.openings += 1;
        let opening = connections.openings;
        let names = || operations.clone().chain(BESIDE);
        let before = connections.all.get(connection).map(|(_, meter)| meter.clone());
        let before = before.filter(|meter| meter.plugin == plugin);
        let is_same = |meter: &&Arc<Meter>| {
            meter.account.as_deref() == account && meter.operations.iter().map(|meter| meter.name.as_str()).eq(names())
        };
        let meter = match before.as_ref().filter(is_same) {
            Some(meter) => meter.clone(),
            None => {
                let known = |name: &str| before.as_ref()?.operations.iter().find(|meter| meter.name == name).cloned();
                let made = |name: &str| Arc::new(OperationMeter { name: name.to_owned(), ..OperationMeter::default() });
                Arc::new(Meter {
                    plugin: plugin.to_owned(),
                    account: account.map(ToOwned::to_owned),
                    operations: names().map(|name| known(name).unwrap_or_else(|| made(name))).collect(),
                    instances_kept: Count::default(),
                    instances_retired: Default::default(),
                    outbound: Mutex::default(),
                })
            }
        };
        connections.all.insert(connection.to_owned(), (opening, meter.clone()));
        drop(before);
        connections.forget();
        meter
    }

    pub(crate) fn read(&self, now: Timestamp) -> Metrics {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = connections.all.iter().map(|(name, (_, meter))| (name.clone(), meter.clone())).collect();
        drop(connections);
        let connections = all.iter().map(|(connection, meter)| meter.read(connection, now)).collect();
        Metrics { at: now, since: self.since, connections, ..Metrics::default() }
    }
}

impl Connections {
    /// Forgets connections that are closed, as far as there are too many.
    fn forget(&mut self) {
        if self.all.len() <= CLOSED_MAX {
            return;
        }
        // Whoever uses one holds it too.
        let closed = self.all.iter().filter(|(_, (_, meter))| Arc::strong_count(meter) == 1);
        let mut closed: Vec<(u64, String)> = closed.map(|(name, (opening, _))| (*opening, name.clone())).collect();
        closed.sort_unstable();
        for (_, name) in closed.iter().take(closed.len().saturating_sub(CLOSED_MAX)) {
            self.all.remove(name);
        }
    }
}

impl Meter {
    /// The meter of the operation at this place in the plugin's needs.
    pub(crate) fn operation(&self, place: usize) -> &Arc<OperationMeter> {
        &self.operations[place]
    }

    /// The meter of the handling of events.
    pub(crate) fn handling(&self) -> &Arc<OperationMeter> {
        self.beside(0)
    }

    /// The meter of the host's own requests for tokens and keys.
    pub(crate) fn sign_in(&self) -> &Arc<OperationMeter> {
        self.beside(1)
    }

    /// The meter of the opening of sockets.
    pub(crate) fn socket(&self) -> &Arc<OperationMeter> {
        self.beside(2)
    }

    fn beside(&self, place: usize) -> &Arc<OperationMeter> {
        &self.operations[self.operations.len() - BESIDE.len() + place]
    }

    /// Breakers and budgets are looked at there from now on.
    pub(crate) fn watch(&self, outbound: Weak<dyn Paced>) {
        *self.outbound.lock().unwrap_or_else(PoisonError::into_inner) = Some(outbound);
    }

    /// An instance waits for another call.
    pub(crate) fn instance_kept(&self) {
        self.instances_kept.add(1);
    }

    /// So many wait no more.
    pub(crate) fn instances_unkept(&self, how_many: u64) {
        self.instances_kept.less(how_many);
    }

    /// An instance does not stay.
    pub(crate) fn instance_retired(&self, why: Retired) {
        self.instances_retired[why as usize].add(1);
    }

    fn read(&self, connection: &str, now: Timestamp) -> ConnectionMetrics {
        let outbound = self.outbound.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        ConnectionMetrics {
            connection: connection.to_owned(),
            plugin: self.plugin.clone(),
            account: self.account.clone(),
            is_open: outbound.is_some(),
            operations: self.operations.iter().map(|meter| meter.read(now)).collect(),
            circuits: outbound.as_ref().map(|outbound| outbound.circuits()).unwrap_or_default(),
            instances_kept: self.instances_kept.read(),
            instances_retired: {
                let counts = Retired::NAMES.iter().zip(&self.instances_retired);
                counts.map(|(name, count)| (*name, count.read())).filter(|(_, count)| *count > 0).collect()
            },
            budgets: outbound.as_ref().map(|outbound| outbound.budgets(now)).unwrap_or_default(),
            ..ConnectionMetrics::default()
        }
    }
}

impl OperationMeter {
    /// A call begins.
    pub(crate) fn begin<'a>(&'a self, clock: &'a dyn Clock) -> UnderWay<'a> {
        self.under_way.add(1);
        UnderWay { meter: self, clock, began: clock.now(), has_ended: false }
    }

    /// A plugin wants a request to be sent.
    pub(crate) fn requested(&self) {
        self.requests.add(1);
    }

    /// An attempt leaves, with so many bytes of a body.
    pub(crate) fn attempted(&self, body_bytes: usize) {
        self.attempts.add(1);
        self.sent(body_bytes);
    }

    /// So many bytes of a body left.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.add(bytes as u64);
    }

    /// So many bytes of a body came.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.add(bytes as u64);
    }

    /// An attempt failed.
    pub(crate) fn attempt_failed(&self, error: &Error) {
        self.attempts_failed.add(error.kind().name());
    }

    /// An attempt follows one that failed.
    pub(crate) fn retried(&self) {
        self.retries.add(1);
    }

    /// A redirect is followed.
    pub(crate) fn redirected(&self) {
        self.redirects.add(1);
    }

    /// A request has its answer.
    pub(crate) fn answered(&self, source: AnswerSource) {
        match source {
            AnswerSource::Live => self.live.add(1),
            AnswerSource::Cache => self.cache.add(1),
            AnswerSource::Stale => self.stale.add(1),
        }
    }

    /// A request has its permits.
    pub(crate) fn waited(&self, ms: u64) {
        self.waited.add(ms);
    }

    /// A request is not sent, because a budget has no room.
    pub(crate) fn is_over_budget(&self) {
        self.over_budget.add(1);
    }

    /// An instance begins to live.
    pub(crate) fn entered(&self) {
        self.instances.add(1);
        self.instances_live.add(1);
    }

    /// A call begins in an instance that was there.
    pub(crate) fn reentered(&self) {
        self.instances_reused.add(1);
        self.instances_live.add(1);
    }

    /// A call is out of its instance, which has computed for so long and had so much memory.
    pub(crate) fn left(&self, compute_ms: u64, memory_bytes: u64) {
        self.instances_live.less(1);
        self.compute_ms.add(compute_ms);
        self.memory_bytes_max.fetch_max(memory_bytes, Ordering::Relaxed);
    }

    /// An answer differs from its schema in so many places.
    pub(crate) fn drifted(&self, differences: u64) {
        self.drifts.add(differences);
    }

    /// An answer held a secret.
    pub(crate) fn leaked(&self) {
        self.leaks.add(1);
    }

    /// The grant refused something.
    pub(crate) fn refused(&self) {
        self.refusals.add(1);
    }

    /// Adds what a call with one request adds, for the benches.
    #[cfg(feature = "internals")]
    pub(crate) fn rehearse(&self, clock: &dyn Clock) {
        let call = self.begin(clock);
        self.entered();
        self.requested();
        self.waited(0);
        self.attempted(100);
        self.received(1_000);
        self.answered(AnswerSource::Live);
        self.left(0, 1 << 20);
        call.ended(&Ok::<_, Error>(()), str::to_owned);
    }

    fn read(&self, now: Timestamp) -> OperationMetrics {
        let succeeded_at_ms = self.succeeded_at_ms.load(Ordering::Relaxed);
        let attempts_failed = self.attempts_failed.read();
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        OperationMetrics {
            operation: self.name.clone(),
            succeeded: self.succeeded.read(),
            failed: self.failed.read(),
            under_way: self.under_way.read(),
            duration: self.duration.read(),
            recent: self.recent.read(),
            windows: self.recent.windows(now),
            succeeded_at: (succeeded_at_ms > 0).then(|| Timestamp::from_millis(succeeded_at_ms)),
            failed_at: failure.as_ref().map(|failure| (failure.at, failure.kind)),
            failure: failure.as_ref().map(|failure| failure.message.clone()),
            requests: self.requests.read(),
            attempts: self.attempts.read(),
            rate_limited: attempts_failed.get(Kind::RateLimited.name()).copied().unwrap_or(0),
            attempts_failed,
            retries: self.retries.read(),
            redirects: self.redirects.read(),
            answers: AnswerCounts { live: self.live.read(), cache: self.cache.read(), stale: self.stale.read() },
            waited: self.waited.read(),
            over_budget: self.over_budget.read(),
            body_bytes_sent: self.sent.read(),
            body_bytes_received: self.received.read(),
            instances: self.instances.read(),
            instances_reused: self.instances_reused.read(),
            instances_live: self.instances_live.read(),
            compute_ms: self.compute_ms.read(),
            memory_bytes_max: self.memory_bytes_max.load(Ordering::Relaxed),
            drifts: self.drifts.read(),
            leaks: self.leaks.read(),
            refusals: self.refusals.read(),
        }
    }
}

impl UnderWay<'_> {
    /// It came to its end. `masked` takes the connection's secrets out of an error's sentence.
    pub(crate) fn ended<T>(mut self, result: &Result<T, Error>, masked: impl FnOnce(&str) -> String) {
        self.has_ended = true;
        let (meter, now) = (self.meter, self.clock.now());
        let ms = now.since(self.began);
        meter.duration.add(ms);
        meter.recent.add(now, ms, result.is_err());
        match result {
            Ok(_) => {
                meter.succeeded.add(1);
                meter.succeeded_at_ms.fetch_max(now.as_millis(), Ordering::Relaxed);
            }
            Err(error) => {
                let kind = error.kind().name();
                meter.failed.add(kind);
                // A plugin may have written it.
                let failure = Failure { at: now, kind, message: shown(&masked(error.message())) };
                *meter.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            }
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.meter.under_way.less(1);
        if !self.has_ended {
            self.meter.failed.add(CANCELLED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    #[test]
    fn who_opens_again_counts_on_and_nothing_grows() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000), 1);
        let meters = Meters::new(&clock);
        for round in 0..1_000u64 {
            let operations: &[&str] = if round % 2 == 0 { &["get", "list"] } else { &["list", "put"] };
            let meter = meters.of("acme", Some("shop"), "leaf", operations.iter().copied());
            let list = operations.iter().position(|name| *name == "list").unwrap();
            meter.operation(list).begin(&clock).ended(&Ok::<_, Error>(()), str::to_owned);
        }
        let read = meters.read(clock.now());
        assert_eq!(read.connections.len(), 1);
        let names: Vec<_> = read.connections[0].operations.iter().map(|one| one.operation.as_str()).collect();
        assert_eq!(names, ["list", "put", HANDLE, SIGN_IN, SOCKET]);
        assert_eq!(read.connections[0].operations[0].succeeded, 1_000);
        // Another plugin under the same name is another one.
        meters.of("acme", None, "other", ["list"].into_iter());
        assert_eq!(meters.read(clock.now()).connections[0].operations[0].succeeded, 0);
    }

    #[test]
    fn what_is_closed_is_forgotten_in_the_end_and_what_is_open_never() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000), 1);
        let meters = Meters::new(&clock);
        let of = |connection: &str| meters.of(connection, None, "leaf", ["get"].into_iter());
        let _open = of("first");
        for number in 0..5_000 {
            drop(of(&format!("tenant-{number}")));
        }
        let names: Vec<_> = meters.read(clock.now()).connections.into_iter().map(|one| one.connection).collect();
        assert!(names.len() <= CLOSED_MAX + 2, "{} are kept", names.len());
        assert!(names.iter().any(|name| name == "first") && names.iter().any(|name| name == "tenant-4999"));
        assert!(!names.iter().any(|name| name == "tenant-0"));
    }

    /// What the documentation of this module says a meter takes.
    #[test]
    fn a_meter_is_small() {
        assert!(size_of::<OperationMeter>() <= 2 << 10, "{} bytes", size_of::<OperationMeter>());
    }

    #[test]
    fn who_goes_away_is_no_error_and_nothing_stays_under_way() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000), 1);
        let meter = OperationMeter::default();
        let (one, other) = (meter.begin(&clock), meter.begin(&clock));
        assert_eq!(meter.read(clock.now()).under_way, 2);
        drop(one);
        clock.advance(40);
        let error = Error::new(Kind::Timeout, "no \u{1b}[31mkey-1\u{202e}".repeat(100));
        other.ended(&Err::<(), _>(error), |text| text.replace("key-1", "***"));
        let read = meter.read(clock.now());
        assert_eq!((read.under_way, read.calls(), read.errors(), read.error_rate()), (0, 2, 1, Some(1.0)));
        assert_eq!((read.failed["cancelled"], read.failed["timeout"]), (1, 1));
        assert_eq!((read.recent.calls, read.recent.p50_ms, read.duration.count()), (1, Some(40), 1));
        let told = read.failure.unwrap();
        assert!(told.starts_with("no \u{fffd}[31m***\u{fffd}no") && told.chars().count() < 200, "{told}");
        assert_eq!(read.failed_at, Some((Timestamp::from_millis(1_040), "timeout")));
    }
}
