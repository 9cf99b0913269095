//! Instances that stay between the calls of a connection, where its operator wants that.
//!
//! A fresh instance has seen no other call. A warm one keeps what its plugin left in memory, so that a call may see what
//! another one of the same connection left there. It sees no more than that: a [`Warm`] belongs to one loaded plugin,
//! which is one component over one connection with one grant, and goes with it. Only after a call that ended well, hit no
//! limit and left nothing open does an instance stay; whatever else happens ends it, a caller that goes away included.
//! Nothing here knows of WebAssembly: it keeps things, counts how often they were used, and lets them go.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::observe::metrics::Meter;
use crate::observe::states::Retired;
use crate::time::{Clock, Timestamp};

/// `[connections.<name>.warm]`: whether instances stay between calls, and when one that stayed goes all the same.
///
/// A plugin's globals live on in such an instance: what one call of the connection left in memory, the next one may see.
/// Another connection's calls never do. Events, probes and what runs on a tape get a fresh instance in any case.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WarmPolicy {
    /// Instances that wait for another call; 0 for a fresh one each time.
    pub instances: u64,
    /// Calls after which one goes: between half as many and so many, drawn for each.
    pub calls: u64,
    /// Milliseconds after which one goes, however busy.
    pub age_ms: u64,
    /// Milliseconds without a call after which one goes.
    pub idle_ms: u64,
    /// Bytes of memory beyond which one goes.
    pub memory_bytes: u64,
}

impl Default for WarmPolicy {
    fn default() -> Self {
        Self { instances: 0, calls: 1_000, age_ms: 300_000, idle_ms: 60_000, memory_bytes: 8 << 20 }
    }
}

impl WarmPolicy {
    /// Refuses what would let none stay and does not say so.
    pub(crate) fn check(&self) -> Result<()> {
        let all = [
            ("calls", self.calls),
            ("age_ms", self.age_ms),
            ("idle_ms", self.idle_ms),
            ("memory_bytes", self.memory_bytes),
        ];
        match all.into_iter().find(|(_, value)| *value == 0) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::configuration(format!("warm.{name} is 0, with which no instance would stay"))
                    .with_details("Leave it out for the default. For a fresh instance each time:   warm.instances = 0"))
            }
        }
    }

    /// What it comes to, for [`explain`](crate::explain).
    pub(crate) fn lines(&self) -> Vec<String> {
        if self.instances == 0 {
            return vec!["is fresh for each call (warm.instances = 0)".to_owned()];
        }
        vec![
            format!("stays for further calls of this connection, up to {} at once (warm.instances)", self.instances),
            "    what one call leaves in the plugin's memory, the next one of this connection may see".to_owned(),
            format!("    for {} to {} calls (warm.calls), which is drawn for each", self.calls_min(), self.calls),
            format!(
                "    for {} s, and {} s without a call (warm.age_ms, warm.idle_ms)",
                self.age_ms / 1_000,
                self.idle_ms / 1_000
            ),
            format!("    while its memory has at most {} bytes (warm.memory_bytes)", self.memory_bytes),
            "    and not after an error, a limit, or a caller that went away".to_owned(),
        ]
    }

    fn calls_min(&self) -> u64 {
        self.calls.div_ceil(2)
    }

    /// For how many calls one stays, by a die from -1 to 1.
    fn drawn(&self, die: f64) -> u64 {
        let (least, most) = (self.calls_min(), self.calls);
        #[expect(clippy::cast_precision_loss, reason = "a number of calls needs no more than a double's 53 bits")]
        let more = f64::midpoint(die, 1.0) * (most - least + 1) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of 0 to the span")]
        let more = more as u64;
        least.saturating_add(more).clamp(least, most)
    }
}

/// How many may wait in the whole host, so that they leave room for those that work, and all that do.
pub(crate) struct Room {
    free: AtomicU64,
    most: u64,
    shelves: Mutex<Vec<Weak<dyn GivesWay>>>,
}

/// Instances that wait, of whatever plugin.
trait GivesWay: Send + Sync {
    /// Since when the one waits that was not wanted for the longest time.
    fn waits_since(&self) -> Option<Timestamp>;

    /// That one goes, and its place is free. False where none waits any more.
    fn gives_way(&self) -> bool;
}

impl Room {
    pub(crate) fn new(most: u64) -> Self {
        Self { free: AtomicU64::new(most), most, shelves: Mutex::default() }
    }

    /// Lets the instance go that was not wanted for the longest time, for a call that needs its place. False where none
    /// waits.
    pub(crate) fn make_way(&self) -> bool {
        while self.free.load(Ordering::Relaxed) < self.most {
            let shelves = self.shelves();
            let waiting = shelves.iter().filter_map(Weak::upgrade).filter_map(|of| Some((of.waits_since()?, of)));
            let longest = waiting.min_by_key(|(since, _)| *since);
            drop(shelves);
            match longest {
                None => return false,
                Some((_, shelf)) if shelf.gives_way() => return true,
                // Somebody else was faster.
                Some(_) => {}
            }
        }
        false
    }

    fn enter(&self) -> bool {
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1)).is_ok()
    }

    fn leave(&self, how_many: usize) {
        self.free.fetch_add(how_many as u64, Ordering::Relaxed);
    }

    fn add(&self, shelf: Weak<dyn GivesWay>) {
        let mut shelves = self.shelves();
        // Before it grows, so that this stays cheap however many there are.
        if shelves.len() == shelves.capacity() {
            shelves.retain(|shelf| shelf.strong_count() > 0);
        }
        shelves.push(shelf);
    }

    fn shelves(&self) -> MutexGuard<'_, Vec<Weak<dyn GivesWay>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The instances of one loaded plugin that wait for another call.
pub(crate) struct Warm<T> {
    policy: WarmPolicy,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
    room: Arc<Room>,
    shelf: Mutex<Shelf<T>>,
    me: Weak<Self>,
}

struct Shelf<T> {
    /// The one that was used last is at the back, and is used next: so those beyond what is needed become idle.
    waiting: VecDeque<Waiting<T>>,
    /// Whether a task looks when the next one's time is over.
    is_watched: bool,
}

struct Waiting<T> {
    instance: T,
    life: Life,
    since: Timestamp,
}

#[derive(Clone, Copy)]
struct Life {
    made_at: Timestamp,
    calls_left: u64,
    /// How often the connection's credentials had changed.
    changes: u64,
}

/// A lease: one call's use of an instance. Dropped without an end, it says that the call was interrupted.
pub(crate) struct Lease<'a, T: Send + 'static> {
    warm: &'a Warm<T>,
    life: Life,
    has_ended: bool,
}

impl<T: Send + 'static> Warm<T> {
    pub(crate) fn new(policy: WarmPolicy, clock: Arc<dyn Clock>, meter: Arc<Meter>, room: Arc<Room>) -> Arc<Self> {
        let warm = Arc::new_cyclic(|me| Self {
            policy,
            clock,
            meter,
            room,
            shelf: Mutex::new(Shelf { waiting: VecDeque::new(), is_watched: false }),
            me: me.clone(),
        });
        let shelf: Weak<Self> = Arc::downgrade(&warm);
        warm.room.add(shelf);
        warm
    }

    /// Most bytes of memory with which an instance stays.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.policy.memory_bytes
    }

    /// An instance that waits, for one more call. The connection's credentials have changed so often by now.
    pub(crate) fn take(&self, changes: u64) -> Option<(T, Lease<'_, T>)> {
        let now = self.clock.now();
        let mut over = Vec::new();
        let taken = {
            let mut shelf = self.shelf();
            loop {
                let Some(waiting) = shelf.waiting.pop_back() else { break None };
                match self.is_over(&waiting, now, changes) {
                    None => break Some(waiting),
                    Some(why) => over.push((waiting, why)),
                }
            }
        };
        self.leave(over.len() + usize::from(taken.is_some()));
        over.into_iter().for_each(|(waiting, why)| self.retire(waiting, why));
        taken.map(|Waiting { instance, life, .. }| (instance, Lease { warm: self, life, has_ended: false }))
    }

    /// The first call of an instance that was made for it.
    pub(crate) fn begin(&self, changes: u64) -> Lease<'_, T> {
        let life = Life { made_at: self.clock.now(), calls_left: self.policy.drawn(self.clock.jitter()), changes };
        Lease { warm: self, life, has_ended: false }
    }

    fn is_over(&self, waiting: &Waiting<T>, now: Timestamp, changes: u64) -> Option<Retired> {
        if waiting.life.changes != changes {
            return Some(Retired::Credential);
        }
        self.is_too_old(waiting, now)
    }

    fn is_too_old(&self, waiting: &Waiting<T>, now: Timestamp) -> Option<Retired> {
        if now >= waiting.life.made_at.plus(self.policy.age_ms) {
            return Some(Retired::Age);
        }
        (now >= waiting.since.plus(self.policy.idle_ms)).then_some(Retired::Idle)
    }

    fn keep(&self, instance: T, life: Life, now: Timestamp) {
        let waiting = Waiting { instance, life, since: now };
        let mut shelf = self.shelf();
        if shelf.waiting.len() as u64 >= self.policy.instances || !self.room.enter() {
            drop(shelf);
            self.retire(waiting, Retired::Full);
            return;
        }
        shelf.waiting.push_back(waiting);
        // Before anybody can take it, so that the number never falls below none.
        self.meter.instance_kept();
        let is_watched = std::mem::replace(&mut shelf.is_watched, true);
        drop(shelf);
        if !is_watched {
            self.watch();
        }
    }

    /// Lets those go whose time is over, as long as any wait.
    fn watch(&self) {
        let (warm, clock) = (self.me.clone(), self.clock.clone());
        let watching = async move {
            while let Some(at) = warm.upgrade().and_then(|warm| warm.next_end()) {
                clock.alarm(at).await;
                if let Some(warm) = warm.upgrade() {
                    warm.sweep();
                }
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(watching)),
            Err(_) => self.shelf().is_watched = false,
        }
    }

    /// When the next one's time is over; nothing, and nobody watches any more, where none waits.
    fn next_end(&self) -> Option<Timestamp> {
        let mut shelf = self.shelf();
        let end = |waiting: &Waiting<T>| {
            waiting.since.plus(self.policy.idle_ms).min(waiting.life.made_at.plus(self.policy.age_ms))
        };
        let next = shelf.waiting.iter().map(end).min();
        shelf.is_watched = next.is_some();
        next
    }

    fn sweep(&self) {
        let now = self.clock.now();
        let mut over = Vec::new();
        let mut shelf = self.shelf();
        for _ in 0..shelf.waiting.len() {
            let Some(waiting) = shelf.waiting.pop_front() else { break };
            match self.is_too_old(&waiting, now) {
                Some(why) => over.push((waiting, why)),
                None => shelf.waiting.push_back(waiting),
            }
        }
        drop(shelf);
        self.leave(over.len());
        over.into_iter().for_each(|(waiting, why)| self.retire(waiting, why));
    }

    fn retire(&self, waiting: Waiting<T>, why: Retired) {
        self.meter.instance_retired(why);
        drop(waiting);
    }

    /// So many wait no more.
    fn leave(&self, how_many: usize) {
        if how_many > 0 {
            self.room.leave(how_many);
            self.meter.instances_unkept(how_many as u64);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<T>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> GivesWay for Warm<T> {
    fn waits_since(&self) -> Option<Timestamp> {
        self.shelf().waiting.front().map(|waiting| waiting.since)
    }

    fn gives_way(&self) -> bool {
        let oldest = self.shelf().waiting.pop_front();
        let Some(waiting) = oldest else { return false };
        self.leave(1);
        self.retire(waiting, Retired::Full);
        true
    }
}

impl<T> Drop for Warm<T> {
    fn drop(&mut self) {
        let shelf = self.shelf.get_mut().unwrap_or_else(PoisonError::into_inner);
        let waiting = shelf.waiting.len();
        self.room.leave(waiting);
        self.meter.instances_unkept(waiting as u64);
        (0..waiting).for_each(|_| self.meter.instance_retired(Retired::Closed));
    }
}

impl<T: Send + 'static> Lease<'_, T> {
    /// The call came to its end. The instance stays unless there is a reason, by the call or by itself, why it does not.
    pub(crate) fn end(mut self, instance: T, why: Option<Retired>, changes: u64) {
        self.has_ended = true;
        let (warm, now) = (self.warm, self.warm.clock.now());
        self.life.calls_left = self.life.calls_left.saturating_sub(1);
        let life = self.life;
        let why = why
            .or((life.changes != changes).then_some(Retired::Credential))
            .or((life.calls_left == 0).then_some(Retired::Calls))
            .or((now >= life.made_at.plus(warm.policy.age_ms)).then_some(Retired::Age));
        match why {
            Some(why) => warm.retire(Waiting { instance, life, since: now }, why),
            None => warm.keep(instance, life, now),
        }
    }
}

impl<T: Send + 'static> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.warm.meter.instance_retired(Retired::Interrupted);
        }
    }
}
