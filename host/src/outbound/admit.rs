//! Ready -> Admitted: a permit from every bucket the request spends of, then leave from the origin's breaker.
//!
//! The breaker is asked before the wait, so that nobody queues in vain, and again after it, for it may have opened
//! meanwhile; only what is asked last counts as a probe.
//!
//! A [`BucketQueue`] is one bucket with its queue. Several connections share a bucket when they share an account, so a limit
//! holds across all plugins and calls of a host. A request takes its place in the queue of each of its buckets, in one
//! fixed order, which makes every queue first come first served and no two requests wait for each other in a ring;
//! at the head of all it reserves in all buckets or in none. The order is from the narrowest to the widest, and whoever
//! waits for room in one bucket has no place in the wider ones behind it: a user who is over its own budget keeps nobody
//! from the project's. A wait that could not end before the call's deadline is refused at once, with the time when coming
//! back helps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use tokio::sync::{Mutex as Turn, Notify};

use super::buckets::{Bucket, BucketSpec, Reservation, Shape, Standing, Wait};
use super::circuit::Leave;
use super::path_pattern::PathPattern;
use super::ready::Ready;
use super::{CallContext, Method, Outbound, PathEvent};
use crate::error::{Error, Kind, Result};
use crate::manifest::BudgetScope;
use crate::observe::metrics::BudgetMetrics;
use crate::store::Ledger;
use crate::time::{Clock, Timestamp};

/// One bucket, shared by all who draw on it.
pub(crate) struct BucketQueue {
    name: String,
    /// As the manifest calls its budget.
    budget: String,
    width: Width,
    terms: RwLock<Terms>,
    claims: Mutex<Vec<Claim>>,
    /// Whoever holds this is the head of the queue; tokio's mutex hands it on in order.
    turn: Turn<()>,
    bucket: Mutex<Bucket>,
    changed: Notify,
    clock: Arc<dyn Clock>,
}

/// How wide a bucket is. What needs a narrow one mostly needs a wider one as well. Where it does not, as with one for all that
/// a connection has under way and one of its account for searches alone, who waits for the second keeps others from the
/// first: those who share it, and nobody else. It stays as it was when the bucket was made, so that all connections enter
/// their buckets in one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Width {
    /// By who shares it.
    owners: u8,
    /// How many origins it covers.
    origins: usize,
    /// Whether every request to them costs something.
    is_whole: bool,
    /// How many units pass in so long a time; without end where it counts what is in flight.
    pace: u64,
}

/// What [`Width::owners`] is of a bucket of one account; of those of its connections it is less, of others more.
const ACCOUNT_OWNERS: u8 = 1;

/// How large a bucket is now.
#[derive(Clone)]
struct Terms {
    spec: Arc<BucketSpec>,
    /// Where a long quota is written down, so that a restart does not forget it.
    ledger: Option<Arc<Ledger>>,
}

/// What a connection says that a bucket is.
struct Claim {
    holder: Weak<Holder>,
    spec: Arc<BucketSpec>,
}

/// A connection, as its buckets know it.
#[derive(Default)]
pub(crate) struct Holder {
    connection: String,
    /// Whether another one takes its place.
    is_leaving: AtomicBool,
}

/// Connections that others take the place of: what they say of a budget does not bind those. Dropped before it is certain
/// that they go, they stay.
#[cfg(feature = "serve")]
#[derive(Default)]
#[must_use = "dropped, it lets them stay"]
pub(crate) struct Leaving(Vec<Arc<Holder>>);

/// The buckets of one connection, in the order in which they are entered.
#[derive(Clone, Default)]
pub(crate) struct BucketQueues {
    holder: Arc<Holder>,
    queues: Vec<(Arc<BucketQueue>, Coverage)>,
    wanted: Vec<(Arc<BucketQueue>, Terms)>,
}

/// Which requests take units of a bucket, and how many each takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    /// The origins, by their names in the manifest; all when empty.
    pub(crate) origins: Vec<String>,
    /// What some requests cost instead of one unit; the first that fits decides.
    pub(crate) weights: Vec<Weight>,
}

/// What some requests cost.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    /// Methods; any when empty.
    pub(crate) methods: Vec<Method>,
    /// Paths of each origin; any when absent.
    pub(crate) paths: Option<Vec<(String, PathPattern)>>,
    /// The units.
    pub(crate) units: u32,
}

impl Coverage {
    /// What a request to this origin costs of the bucket.
    fn units(&self, origin: &str, method: Method, path: &str) -> u32 {
        if !self.covers(origin) {
            return 0;
        }
        let fits = |weight: &&Weight| {
            (weight.methods.is_empty() || weight.methods.contains(&method))
                && weight
                    .paths
                    .as_ref()
                    .is_none_or(|paths| paths.iter().any(|(name, pattern)| name == origin && pattern.matches(path)))
        };
        self.weights.iter().find(fits).map_or(1, |weight| weight.units)
    }

    fn covers(&self, origin: &str) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|name| name == origin)
    }
}

/// Leave to send one request. Dropping it settles what it took, as if the answer had come now.
pub(crate) struct Permit {
    held: Vec<Held>,
}

struct Held {
    queue: Arc<BucketQueue>,
    reservation: Option<Reservation>,
    units: u32,
}

/// A request with leave to go.
pub(super) struct Admitted {
    ready: Ready,
    permit: Permit,
    leave: Option<Leave>,
}

impl Admitted {
    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    pub(super) fn into_parts(self) -> (Ready, Permit, Option<Leave>) {
        (self.ready, self.permit, self.leave)
    }
}

impl BucketQueue {
    /// An empty bucket with nobody in its queue. `name` is for messages.
    pub(crate) fn new(name: &str, spec: BucketSpec, clock: Arc<dyn Clock>) -> Self {
        Self {
            name: name.to_owned(),
            budget: spec.name.clone(),
            width: Width::default(),
            bucket: Mutex::new(Bucket::new(spec.clone())),
            terms: RwLock::new(Terms { spec: Arc::new(spec), ledger: None }),
            claims: Mutex::default(),
            turn: Turn::new(()),
            changed: Notify::new(),
            clock,
        }
    }

    /// The same, as wide as its first connection says.
    pub(crate) fn shared(self, scope: BudgetScope, coverage: &Coverage) -> Self {
        const WHILE_MS: u64 = 1_000_000_000;
        let owners = match scope {
            BudgetScope::Connection => 0,
            BudgetScope::Account => ACCOUNT_OWNERS,
            BudgetScope::User => 2,
            BudgetScope::Plugin => 3,
            BudgetScope::Project => 4,
        };
        let width = Width {
            owners,
            origins: if coverage.origins.is_empty() { usize::MAX } else { coverage.origins.len() },
            is_whole: coverage.weights.iter().all(|weight| weight.units > 0),
            pace: match self.spec().shape {
                Shape::Window { limit, window_ms } => u64::from(limit) * WHILE_MS / window_ms.max(1),
                Shape::Concurrency { .. } => u64::MAX,
            },
        };
        Self { width, ..self }
    }

    /// What it is now.
    pub(crate) fn spec(&self) -> Arc<BucketSpec> {
        self.terms().spec.clone()
    }

    fn ledger(&self) -> Option<Arc<Ledger>> {
        self.terms().ledger.clone()
    }

    fn terms(&self) -> std::sync::RwLockReadGuard<'_, Terms> {
        self.terms.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection may say so of it: none that stays says otherwise. Where nobody else has it, it is so at once.
    fn claim(&self, holder: &Arc<Holder>, terms: &Terms) -> bool {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.retain(|claim| claim.holder.strong_count() > 0);
        let differs = |claim: &Claim| {
            claim.spec != terms.spec
                && claim.holder.upgrade().is_some_and(|other| {
                    other.connection != holder.connection && !other.is_leaving.load(Ordering::Relaxed)
                })
        };
        if claims.iter().any(differs) {
            return false;
        }
        if claims.is_empty() {
            self.take_up(terms);
        }
        claims.push(Claim { holder: Arc::downgrade(holder), spec: terms.spec.clone() });
        true
    }

    /// It is so from now on. What was spent of it stays spent.
    fn take_up(&self, terms: &Terms) {
        let mut now = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        if now.spec == terms.spec {
            // What is written down goes on where there is something.
            now.ledger = now.ledger.take().or_else(|| terms.ledger.clone());
            return;
        }
        *now = terms.clone();
        // One lock at a time.
        drop(now);
        self.bucket().reshape(terms.spec.shape);
        self.changed.notify_waiters();
    }

    /// Nothing leaves before `until`; a later time than one already set wins.
    pub(crate) fn block_until(&self, until: Timestamp) {
        self.bucket().block_until(until);
        if let Some(ledger) = self.ledger() {
            ledger.block_until(until);
        }
        self.changed.notify_waiters();
    }

    /// The provider says that this much is left; it lowers the count and never raises it.
    pub(crate) fn remaining(&self, left: u32, reset_at: Option<Timestamp>) {
        let now = self.clock.now();
        self.bucket().remaining(left, now, reset_at);
    }

    /// The provider says that its window holds so much; only a smaller figure than ours is believed, for one window.
    pub(crate) fn told_limit(&self, limit: u32) {
        let now = self.clock.now();
        self.bucket().told_limit(limit, now);
    }

    /// How it stands.
    fn reading(&self, now: Timestamp) -> BudgetMetrics {
        let Standing { limit, used, left, blocked_until } = self.bucket().standing(now);
        let (budget, window_ms) = (self.budget.clone(), self.spec().window_ms());
        let owner = self.name.strip_suffix(&budget).unwrap_or(&self.name).trim_end_matches('/').to_owned();
        BudgetMetrics { budget, owner, limit, window_ms, used, left, blocked_until }
    }

    /// Its budget's name, until when a provider's word has stopped it, and how long its window is.
    pub(crate) fn told(&self) -> (String, Timestamp, u64) {
        let until = self.bucket().blocked_until();
        (self.budget.clone(), until, self.spec().window_ms().unwrap_or_default())
    }

    /// Whether nothing of it is spent and nothing stops it, so that a new one would be the same.
    pub(crate) fn is_at_rest(&self, now: Timestamp) -> bool {
        let Standing { limit, used, blocked_until, .. } = self.bucket().standing(now);
        used == 0 && limit == u64::from(self.spec().limit()) && blocked_until.is_none()
    }

    /// Whether something would be left of it after so many units.
    fn has_spare(&self, now: Timestamp, units: u32) -> bool {
        self.bucket().ready_at(now, units.saturating_add(1)).is_ok()
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BucketQueues {
    /// None yet, for a connection of this name.
    pub(crate) fn of(connection: &str) -> Self {
        let holder = Holder { connection: connection.to_owned(), is_leaving: AtomicBool::new(false) };
        Self { holder: Arc::new(holder), ..Self::default() }
    }

    /// Adds a bucket that this connection wants to be so, from [`BucketQueues::take_up`] on. False where another connection that
    /// stays says otherwise.
    #[must_use]
    pub(crate) fn claim(
        &mut self,
        queue: Arc<BucketQueue>,
        coverage: Coverage,
        spec: &BucketSpec,
        ledger: Option<Ledger>,
    ) -> bool {
        let terms = Terms { spec: Arc::new(spec.clone()), ledger: ledger.map(Arc::new) };
        let may = queue.claim(&self.holder, &terms);
        if may {
            self.wanted.push((queue.clone(), terms));
            self.add(queue, coverage);
        }
        may
    }

    /// The buckets are what this connection says, from now on.
    pub(crate) fn take_up(&self) {
        self.wanted.iter().for_each(|(queue, terms)| queue.take_up(terms));
    }

    /// Adds a bucket with what it covers. The order of widths, and of names among the same, is the order of entering, the
    /// same for every connection.
    pub(crate) fn add(&mut self, queue: Arc<BucketQueue>, coverage: Coverage) {
        self.queues.push((queue, coverage));
        self.queues.sort_by(|(a, _), (b, _)| (a.width, &a.name).cmp(&(b.width, &b.name)));
    }

    /// The bucket that this connection knows by the manifest's name of its budget.
    pub(crate) fn named(&self, budget: &str) -> Option<&Arc<BucketQueue>> {
        self.queues.iter().map(|(queue, _)| queue).find(|queue| queue.budget == budget)
    }

    /// The buckets that requests to this origin enter.
    pub(crate) fn covering<'a>(&'a self, origin: &'a str) -> impl Iterator<Item = &'a Arc<BucketQueue>> + 'a {
        self.queues.iter().filter(move |(_, coverage)| coverage.covers(origin)).map(|(queue, _)| queue)
    }

    /// What a request spends, bucket by bucket. A cost that the request states for a bucket stands instead of the bucket's own.
    fn costs(
        &self,
        origin: &str,
        method: Method,
        path: &str,
        stated: &[(String, u32)],
    ) -> Vec<(Arc<BucketQueue>, u32)> {
        let mut sums: BTreeMap<&str, u32> = BTreeMap::new();
        for (name, units) in stated {
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(*units);
        }
        let units = |(queue, coverage): &(Arc<BucketQueue>, Coverage)| match sums.get(queue.budget.as_str()) {
            Some(units) if *units > 0 => *units,
            _ => coverage.units(origin, method, path),
        };
        self.queues.iter().map(|queue| (queue.0.clone(), units(queue))).filter(|(_, units)| *units > 0).collect()
    }

    /// Writes down what the provider said of long quotas, so that a restart knows.
    pub(crate) async fn write_down(&self) -> Result<()> {
        for ledger in self.queues.iter().filter_map(|(queue, _)| queue.ledger()) {
            ledger.write_down().await?;
        }
        Ok(())
    }

    /// How each stands, in the order of names.
    pub(crate) fn readings(&self, now: Timestamp) -> impl Iterator<Item = BudgetMetrics> + '_ {
        let mut queues: Vec<_> = self.all().collect();
        queues.sort_by(|a, b| a.name.cmp(&b.name));
        queues.into_iter().map(move |queue| queue.reading(now))
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<BucketQueue>> {
        self.queues.iter().map(|(queue, _)| queue)
    }

    /// Those that no other account shares.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Arc<BucketQueue>> {
        self.all().filter(|queue| queue.width.owners <= ACCOUNT_OWNERS)
    }
}

#[cfg(feature = "serve")]
impl Leaving {
    /// These are to go.
    pub(crate) fn of<'a>(connections: impl IntoIterator<Item = &'a BucketQueues>) -> Self {
        let holders = connections.into_iter().map(|queues| queues.holder.clone());
        Self(holders.inspect(|holder| holder.is_leaving.store(true, Ordering::Relaxed)).collect())
    }

    /// They go.
    pub(crate) fn go(mut self) {
        self.0.clear();
    }
}

#[cfg(feature = "serve")]
impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.iter().for_each(|holder| holder.is_leaving.store(false, Ordering::Relaxed));
    }
}

impl Permit {
    /// The head of the answer is here (or the attempt failed): quotas age from now.
    pub(super) fn settle_windows(&mut self) {
        for held in &mut self.held {
            if held.queue.spec().is_window() {
                held.settle();
            }
        }
    }

    /// Provably nothing left: what was taken goes back.
    pub(super) fn cancel(self) {
        let ledgers = self.held.iter().filter(|held| held.reservation.is_some());
        for (ledger, units) in ledgers.filter_map(|held| Some((held.queue.ledger()?, held.units))) {
            ledger.give_back(units);
        }
        self.give_back(|queue| queue.changed.notify_waiters());
    }

    fn give_back(mut self, tell: impl Fn(&BucketQueue)) {
        for held in &mut self.held {
            if let Some(reservation) = held.reservation.take() {
                held.queue.bucket().cancel(reservation);
                tell(&held.queue);
            }
        }
    }
}

impl Held {
    fn settle(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            let now = self.queue.clock.now();
            self.queue.bucket().settle(reservation, now);
            self.queue.changed.notify_waiters();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Waits for leave from every bucket, and from the origin's breaker.
pub(super) async fn acquire(outbound: &Outbound, context: &CallContext, ready: Ready) -> Result<Admitted> {
    let request = ready.scoped.request();
    if let Some((name, _)) = request.costs.iter().find(|(name, _)| outbound.queues.named(name).is_none()) {
        return Err(Error::invalid("/costs", format!("the manifest has no budget `{}`", crate::text::shown(name))));
    }
    let circuit = outbound.circuits.of(ready.scoped.origin());
    if let Some(circuit) = circuit {
        circuit.check()?;
    }
    let origin = &outbound.scope.origin_of(&ready.scoped).name;
    let wanted = outbound.queues.costs(origin, request.method, ready.scoped.url().path(), &request.costs);
    let permit = match context.is_probe() {
        true => spare(outbound.clock.as_ref(), &wanted).await?,
        false => wait(outbound.clock.as_ref(), context, &wanted).await?,
    };
    let leave = match circuit.map(|circuit| circuit.ask()).transpose() {
        Ok(leave) => leave,
        Err(error) => {
            permit.cancel();
            return Err(error);
        }
    };
    Ok(Admitted { ready, permit, leave })
}

/// Waits until `wanted` is free in every bucket, in order, and takes it.
///
/// # Errors
/// [`Kind::RateLimited`] with the time to come back, when that is after the call's deadline;
/// [`Kind::LimitExceeded`] when the bucket can never hold as much.
pub(crate) async fn wait(
    clock: &dyn Clock,
    context: &CallContext,
    wanted: &[(Arc<BucketQueue>, u32)],
) -> Result<Permit> {
    let waited = take_turns(clock, context, wanted).await;
    if let (Err(error), Some(meter)) = (&waited, context.meter())
        && matches!(error.kind(), Kind::RateLimited | Kind::QuotaExhausted)
    {
        meter.is_over_budget();
    }
    waited
}

async fn take_turns(clock: &dyn Clock, context: &CallContext, wanted: &[(Arc<BucketQueue>, u32)]) -> Result<Permit> {
    let began = clock.now();
    let mut turns = Vec::with_capacity(wanted.len());
    let mut from = 0;
    let (permit, now) = loop {
        // Whoever waits for a bucket has the turn of that one and of those before it, and of none behind it.
        for (index, (queue, units)) in wanted.iter().enumerate().skip(from) {
            if index == turns.len() {
                turns.push(enter(clock, context, queue, *units).await?);
            }
            room(clock, context, queue, *units).await?;
        }
        let now = clock.now();
        match reserve(now, wanted) {
            Ok(permit) => break (permit, now),
            // A bucket was blocked, or told a smaller figure, while those behind it were entered.
            Err((full, _)) => {
                turns.truncate(full + 1);
                from = full;
            }
        }
    };
    let ledgers = wanted.iter().filter_map(|(queue, units)| Some((queue.ledger()?, units)));
    ledgers.for_each(|(ledger, units)| ledger.spend(*units));
    let waited_ms = now.since(began);
    if let Some(meter) = context.meter().filter(|_| !wanted.is_empty()) {
        meter.waited(waited_ms);
    }
    if waited_ms > 0 {
        context.observe(|| PathEvent::Paced { waited_ms });
    }
    Ok(permit)
}

/// Waits to be the head of a bucket's queue, and there until what is written down of it leaves so much.
async fn enter<'a>(
    clock: &dyn Clock,
    context: &CallContext,
    queue: &'a BucketQueue,
    units: u32,
) -> Result<tokio::sync::MutexGuard<'a, ()>> {
    let turn = tokio::select! {
        biased;
        turn = queue.turn.lock() => turn,
        () = clock.alarm(context.deadline) => return Err(too_late(queue, context.deadline)),
    };
    if let Some(ledger) = queue.ledger() {
        while let Err(at) = ledger.afford(units, clock.now()).await? {
            if at > context.deadline {
                return Err(spent(queue, at));
            }
            clock.sleep_until(at).await;
        }
    }
    Ok(turn)
}

/// Waits at the head of a bucket's queue until it has so much room.
async fn room(clock: &dyn Clock, context: &CallContext, queue: &BucketQueue, units: u32) -> Result<()> {
    loop {
        // Registered before looking, so that a change in between is not missed.
        let changed = queue.changed.notified();
        let ready = queue.bucket().ready_at(clock.now(), units);
        match ready {
            Ok(()) => return Ok(()),
            Err(Wait::Never) => {
                return Err(Error::limit(
                    &queue.budget,
                    format!("one request may not cost more than the whole budget `{}`", queue.budget),
                )
                .with_details(format!("To allow more, set budgets.{} on the account", queue.budget)));
            }
            Err(Wait::Until(at)) if at > context.deadline => return Err(too_late(queue, at)),
            Err(Wait::Until(at)) => {
                // A bucket may be blocked further while we wait, or what was reserved may come back; the loop looks again.
                tokio::select! {
                    biased;
                    () = changed => {}
                    () = clock.sleep_until(at) => {}
                }
            }
            Err(Wait::Release) => {
                tokio::select! {
                    () = changed => {}
                    () = clock.alarm(context.deadline) => return Err(too_late(queue, context.deadline)),
                }
            }
        }
    }
}

/// Takes what nobody needs now: a probe gives way to whoever waits, waits for nothing, and leaves the last permit of a
/// bucket that has more than it takes.
///
/// # Errors
/// [`Kind::RateLimited`], with nothing sent.
async fn spare(clock: &dyn Clock, wanted: &[(Arc<BucketQueue>, u32)]) -> Result<Permit> {
    let gives_way = |queue: &BucketQueue| {
        Error::new(Kind::RateLimited, format!("the probe gives way: calls need the budget `{}`", queue.budget))
    };
    let mut turns = Vec::with_capacity(wanted.len());
    for (queue, _) in wanted {
        turns.push(queue.turn.try_lock().map_err(|_| gives_way(queue))?);
    }
    let now = clock.now();
    for (queue, units) in wanted {
        if queue.spec().limit() > *units && !queue.has_spare(now, *units) {
            return Err(gives_way(queue));
        }
        if let Some(ledger) = queue.ledger()
            && ledger.afford(*units, now).await?.is_err()
        {
            return Err(gives_way(queue));
        }
    }
    let permit = reserve(now, wanted).map_err(|(full, _)| gives_way(&wanted[full].0))?;
    let ledgers = wanted.iter().filter_map(|(queue, units)| Some((queue.ledger()?, units)));
    ledgers.for_each(|(ledger, units)| ledger.spend(*units));
    Ok(permit)
}

/// Takes from all buckets or from none; then the index of the one that is full, and what it waits for.
fn reserve(now: Timestamp, wanted: &[(Arc<BucketQueue>, u32)]) -> std::result::Result<Permit, (usize, Wait)> {
    let mut permit = Permit { held: Vec::with_capacity(wanted.len()) };
    for (index, (queue, units)) in wanted.iter().enumerate() {
        let reserved = queue.bucket().reserve(now, *units);
        match reserved {
            Ok(reservation) => {
                permit.held.push(Held { queue: queue.clone(), reservation: Some(reservation), units: *units })
            }
            Err(wait) => {
                // Nobody else could see what we took, for we are the head of each queue; so nobody is told either.
                permit.give_back(|_| {});
                return Err((index, wait));
            }
        }
    }
    Ok(permit)
}

/// A quota over a long time that was spent before this process began, or by another one beside it.
fn spent(queue: &BucketQueue, at: Timestamp) -> Error {
    Error::new(Kind::QuotaExhausted, format!("the budget `{}` is spent", queue.budget))
        .with_retry_at(Some(at))
        .with_details("It is counted over restarts and over all processes that share the state folder")
}

fn too_late(queue: &BucketQueue, at: Timestamp) -> Error {
    Error::new(Kind::RateLimited, format!("the budget `{}` has no room before the call's deadline", queue.budget))
        .with_retry_at(Some(at))
        .with_details("Wait until then, raise limits.call_ms, or send less")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::store::MemoryStore;
    use crate::time::ManualClock;

    fn queue(name: &str, shape: Shape, clock: &ManualClock) -> Arc<BucketQueue> {
        Arc::new(BucketQueue::new(name, BucketSpec { name: name.to_owned(), shape }, Arc::new(clock.clone())))
    }

    fn context(clock: &ManualClock, ms: u64) -> CallContext {
        CallContext { deadline: clock.now().plus(ms), observer: None, event: None, operation: None }
    }

    /// Whoever unloads and loads again has no more of a quota than before.
    #[test]
    fn a_lane_is_at_rest_only_where_a_new_one_would_be_the_same() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let queue = queue("a", Shape::Window { limit: 2, window_ms: 1_000 }, &clock);
        let is_at_rest = || queue.is_at_rest(clock.now());
        assert!(is_at_rest());
        let reservation = queue.bucket().reserve(clock.now(), 1).unwrap();
        assert!(!is_at_rest(), "one is under way");
        queue.bucket().settle(reservation, clock.now());
        clock.advance(999);
        assert!(!is_at_rest(), "it counts yet");
        clock.advance(1_000);
        assert!(is_at_rest());
        queue.block_until(clock.now().plus(10));
        assert!(!is_at_rest(), "it is blocked");
        clock.advance(10);
        assert!(is_at_rest());
        queue.told_limit(1);
        assert!(!is_at_rest(), "the provider told a smaller limit");
    }

    /// Waiting for the second bucket gave back what was taken of the first, which woke the waiter itself: it span until
    /// its deadline, and everything on its thread stood still.
    #[tokio::test]
    async fn who_waits_for_one_lane_does_not_wake_itself_through_another() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let window = queue("a", Shape::Window { limit: 10, window_ms: 1_000 }, &clock);
        let one = queue("b", Shape::Concurrency { limit: 1 }, &clock);
        let wanted = [(window, 1), (one, 1)];
        let context = context(&clock, 10_000);
        let first = wait(&clock, &context, &wanted).await.unwrap();
        let mut second = pin!(wait(&clock, &context, &wanted));
        let mut poll = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut poll).is_pending());
        drop(first);
        assert!(matches!(second.as_mut().poll(&mut poll), Poll::Ready(Ok(_))));
    }

    #[test]
    fn all_or_none() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let window = queue("a", Shape::Window { limit: 10, window_ms: 1_000 }, &clock);
        let one = queue("b", Shape::Concurrency { limit: 1 }, &clock);
        let take = |units| reserve(clock.now(), &[(window.clone(), units), (one.clone(), 1)]);
        let held = take(4).unwrap();
        assert!(matches!(take(1), Err((1, Wait::Release))));
        assert!(matches!(take(11), Err((0, Wait::Never))));
        drop(held);
        // Nothing of the refused ones was kept.
        assert!(take(6).is_ok());
    }

    #[tokio::test]
    async fn first_come_first_served_and_nobody_past_the_deadline() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let wanted = [(queue("a", Shape::Window { limit: 1, window_ms: 1_000 }, &clock), 1)];
        let context = context(&clock, 1_500);
        drop(wait(&clock, &context, &wanted).await.unwrap());
        let mut poll = Context::from_waker(Waker::noop());
        let (mut second, mut third) =
            (Box::pin(wait(&clock, &context, &wanted)), Box::pin(wait(&clock, &context, &wanted)));
        assert!(second.as_mut().poll(&mut poll).is_pending());
        assert!(third.as_mut().poll(&mut poll).is_pending());
        clock.advance(1_100);
        assert!(third.as_mut().poll(&mut poll).is_pending(), "the third overtook the second");
        let Poll::Ready(Ok(permit)) = second.as_mut().poll(&mut poll) else { panic!("the second waits on") };
        drop(permit);
        let Poll::Ready(Err(error)) = third.as_mut().poll(&mut poll) else { panic!("the third waits for nothing") };
        assert_eq!(error.kind(), &Kind::RateLimited);
        assert_eq!(error.retry_at(), Some(Timestamp::from_millis(2_200)), "{error}");
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let wanted = [(queue("a", Shape::Concurrency { limit: 1 }, &clock), 1)];
        let context = context(&clock, 10_000);
        let first = wait(&clock, &context, &wanted).await.unwrap();
        let mut poll = Context::from_waker(Waker::noop());
        let mut second = Box::pin(wait(&clock, &context, &wanted));
        assert!(second.as_mut().poll(&mut poll).is_pending());
        drop(second);
        first.cancel();
        assert!(wait(&clock, &context, &wanted).await.is_ok());
    }

    /// A bucket that is as wide as this says.
    fn wide(
        name: &str,
        scope: BudgetScope,
        coverage: &Coverage,
        shape: Shape,
        clock: &ManualClock,
    ) -> Arc<BucketQueue> {
        let spec = BucketSpec { name: name.to_owned(), shape };
        Arc::new(BucketQueue::new(name, spec, Arc::new(clock.clone())).shared(scope, coverage))
    }

    #[test]
    fn lanes_are_entered_from_the_narrowest_to_the_widest() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let window = |limit, window_ms| Shape::Window { limit, window_ms };
        let all = Coverage::default();
        let of =
            |names: &[&str]| Coverage { origins: names.iter().map(|name| (*name).into()).collect(), ..all.clone() };
        let free = Weight { methods: vec![Method::Get], paths: None, units: 0 };
        let (one, two) = (of(&["search"]), of(&["api", "search"]));
        let partly = Coverage { weights: vec![free], ..two.clone() };
        let in_order = [
            ("j", BudgetScope::Connection, &all, window(9, 1_000)),
            ("i", BudgetScope::Account, &one, window(30, 60_000)),
            ("h", BudgetScope::Account, &partly, window(5_000, 60_000)),
            ("g", BudgetScope::Account, &two, window(1_000, 86_400_000)),
            ("f", BudgetScope::Account, &two, window(900, 60_000)),
            ("e", BudgetScope::Account, &two, Shape::Concurrency { limit: 1 }),
            ("d", BudgetScope::Account, &all, window(1, 60_000)),
            ("c", BudgetScope::User, &one, window(1, 60_000)),
            ("b", BudgetScope::Plugin, &one, window(1, 60_000)),
            ("a2", BudgetScope::Project, &one, window(1, 60_000)),
            ("a3", BudgetScope::Project, &one, window(1, 60_000)),
        ];
        let made = in_order.map(|(name, scope, coverage, shape)| wide(name, scope, coverage, shape, &clock));
        for first in 0..made.len() {
            let mut queues = BucketQueues::default();
            for index in (0..made.len()).rev() {
                queues.add(made[(first + index) % made.len()].clone(), all.clone());
            }
            let entered: Vec<&str> = queues.all().map(|queue| queue.name.as_str()).collect();
            assert_eq!(entered, in_order.map(|(name, ..)| name));
        }
    }

    /// Two users of one project, the first of them over its own budget: the second stood still with it.
    #[tokio::test]
    async fn who_waits_for_its_own_budget_keeps_nobody_from_a_wider_one() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let (all, minute) = (Coverage::default(), |limit| Shape::Window { limit, window_ms: 60_000 });
        let project = wide("project p/all", BudgetScope::Project, &all, minute(3), &clock);
        let of = |user: &str| {
            let mut queues = BucketQueues::default();
            queues.add(project.clone(), all.clone());
            queues.add(wide(&format!("user {user}/each"), BudgetScope::User, &all, minute(1), &clock), all.clone());
            queues.costs("api", Method::Get, "/x", &[])
        };
        let (ada, eve, context) = (of("ada"), of("eve"), context(&clock, 200_000));
        drop(wait(&clock, &context, &ada).await.unwrap());
        let mut poll = Context::from_waker(Waker::noop());
        let mut over = pin!(wait(&clock, &context, &ada));
        assert!(over.as_mut().poll(&mut poll).is_pending());
        spare(&clock, &eve).now_or_never().unwrap().unwrap().cancel();
        drop(wait(&clock, &context, &eve).now_or_never().unwrap().unwrap());
        clock.advance(60_100);
        // Nor does it come before those who were there first, once it goes on.
        let (whole, most) = ([(project.clone(), 3)], [(project.clone(), 2)]);
        let held = wait(&clock, &context, &whole).await.unwrap();
        let mut before = pin!(wait(&clock, &context, &most));
        assert!(before.as_mut().poll(&mut poll).is_pending());
        assert!(over.as_mut().poll(&mut poll).is_pending());
        held.cancel();
        assert!(over.as_mut().poll(&mut poll).is_pending(), "it overtook");
        assert!(matches!(before.as_mut().poll(&mut poll), Poll::Ready(Ok(_))));
        assert!(matches!(over.as_mut().poll(&mut poll), Poll::Ready(Ok(_))));
        assert_eq!(project.bucket().standing(clock.now()).used, 3);
    }

    #[tokio::test]
    async fn who_waits_for_a_long_quota_keeps_nobody_from_a_wider_one() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let shape = Shape::Window { limit: 10, window_ms: 3_600_000 };
        let own = wide("own", BudgetScope::User, &Coverage::default(), shape, &clock);
        let project = wide("all", BudgetScope::Project, &Coverage::default(), shape, &clock);
        let ledger = Ledger::new(Arc::new(MemoryStore::default()), "own", 1, 3_600_000);
        let mut queues = BucketQueues::of("acme");
        assert!(queues.claim(own.clone(), Coverage::default(), &own.spec(), Some(ledger)));
        queues.add(project.clone(), Coverage::default());
        let (wanted, context) = (queues.costs("api", Method::Get, "/x", &[]), context(&clock, 86_400_000));
        drop(wait(&clock, &context, &wanted).await.unwrap());
        let mut second = pin!(wait(&clock, &context, &wanted));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(wait(&clock, &context, &[(project, 1)]).now_or_never().unwrap().unwrap());
        clock.advance(8_000_000);
        assert!(second.await.is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Requests that take any of some buckets, whichever were added first, while buckets are blocked over and over: all are
        /// admitted, those that take the same in their order, and everything is spent once.
        #[test]
        fn nobody_waits_in_a_ring_or_for_ever(wants in prop::collection::vec((1..16usize, any::<bool>()), 1..60)) {
            let clock = ManualClock::new(Timestamp::from_millis(0), 1);
            let all = Coverage::default();
            let made = [
                ("d", BudgetScope::User, Shape::Window { limit: 2, window_ms: 1_000 }),
                ("c", BudgetScope::Account, Shape::Window { limit: 3, window_ms: 700 }),
                ("b", BudgetScope::Account, Shape::Concurrency { limit: 2 }),
                ("a", BudgetScope::Project, Shape::Window { limit: 1_000, window_ms: 1_000_000_000 }),
            ]
            .map(|(name, scope, shape)| wide(name, scope, &all, shape, &clock));
            let costs = |(subset, is_reversed): &(usize, bool)| {
                let mut queues = BucketQueues::default();
                for index in 0..made.len() {
                    let index = if *is_reversed { made.len() - 1 - index } else { index };
                    if *subset & (1usize << index) > 0 {
                        queues.add(made[index].clone(), all.clone());
                    }
                }
                queues.costs("api", Method::Get, "/x", &[])
            };
            let wanted: Vec<Vec<(Arc<BucketQueue>, u32)>> = wants.iter().map(costs).collect();
            let context = context(&clock, 900_000_000);
            let waits: Vec<_> = wanted.iter().map(|wanted| wait(&clock, &context, wanted)).collect();
            let mut stops = 0;
            let (admitted, _) = drive(&clock, waits, || {
                stops += 1;
                made[stops % 3].block_until(clock.now().plus(700));
            });
            for subset in 1..16 {
                let same: Vec<_> = admitted.iter().filter(|index| wants[**index].0 == subset).collect();
                prop_assert!(same.is_sorted(), "of those that take {}: {:?}", subset, same);
            }
            let takers = wants.iter().filter(|(subset, _)| *subset & 8 > 0).count();
            prop_assert_eq!(made[3].bucket().standing(clock.now()).used, takers as u64);
            clock.advance(10_000);
            prop_assert!(made[..3].iter().all(|queue| queue.is_at_rest(clock.now())), "something did not come back");
        }
    }

    /// Notes who was woken.
    struct Woken(usize, Arc<Mutex<VecDeque<usize>>>);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push_back(self.0);
        }
    }

    /// Looks at who was woken until all are admitted. When nobody can go on, the oldest permit comes back, and something
    /// may happen; when none is left, time passes. Answers who was admitted, in order, and how often one was looked at.
    fn drive<F: Future<Output = Result<Permit>>>(
        clock: &ManualClock,
        waits: Vec<F>,
        mut happens: impl FnMut(),
    ) -> (Vec<usize>, usize) {
        let mut waits: Vec<_> = waits.into_iter().map(|wait| Some(Box::pin(wait))).collect();
        let woken = Arc::new(Mutex::new(VecDeque::from_iter(0..waits.len())));
        let (mut polls, mut admitted, mut held) = (0, Vec::new(), VecDeque::new());
        while admitted.len() < waits.len() {
            let next = woken.lock().unwrap().pop_front();
            let Some(next) = next else {
                // Nobody can go on: an answer comes, or time passes.
                match held.pop_front() {
                    Some(permit) => {
                        drop::<Permit>(permit);
                        happens();
                    }
                    None => assert!(clock.advance_to_next(), "everybody waits for nothing"),
                }
                continue;
            };
            let Some(mut waiting) = waits[next].take() else { continue };
            polls += 1;
            let waker = Waker::from(Arc::new(Woken(next, woken.clone())));
            match waiting.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(permit) => {
                    held.push_back(permit.unwrap());
                    admitted.push(next);
                }
                Poll::Pending => waits[next] = Some(waiting),
            }
        }
        (admitted, polls)
    }

    /// Ten thousand wait; a decision wakes one of them and looks at none of the others, so the work for all of them grows
    /// with their number and not with its square.
    #[test]
    fn who_waits_costs_nothing_until_it_is_its_turn() {
        const WAITERS: usize = 10_000;
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let wanted = [
            (queue("a", Shape::Window { limit: 100, window_ms: 1_000 }, &clock), 1),
            (queue("b", Shape::Concurrency { limit: 10 }, &clock), 1),
        ];
        let context = context(&clock, 3_600_000);
        let waits: Vec<_> = (0..WAITERS).map(|_| wait(&clock, &context, &wanted)).collect();
        let (admitted, polls) = drive(&clock, waits, || {});
        assert!(admitted.is_sorted(), "somebody overtook");
        assert!(polls <= 5 * WAITERS, "{polls} looks for {WAITERS} waiters");
    }
}
