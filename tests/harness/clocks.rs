//! Two clocks for tests in which many things happen at once: one that moves on when nothing else does, and one that runs
//! faster than the machine's.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wharfage::{BoxFuture, Clock, ManualClock, Timestamp};

use crate::NOW;

/// A clock that goes to the next thing waited for as soon as nothing else happens.
///
/// Whoever waits for its turn or its time is woken in the order of time, however many there are, and a minute of waiting
/// costs a millisecond or two. Real sockets work beside it: it goes on only when nobody has asked it anything for a moment,
/// and for a longer moment before it lets a deadline pass, for then the network may be what is waited for. It wants a
/// runtime of one thread, where whatever is ready has run before this looks again.
#[derive(Clone)]
pub struct TurningClock(Arc<Turning>);

struct Turning {
    clock: ManualClock,
    /// What is waited for, by time: whether it is a wait rather than a deadline.
    pending: Mutex<BTreeMap<(u64, u64), bool>>,
    next_id: AtomicU64,
    /// Grows with everything that is asked of this clock.
    stirred: AtomicU64,
}

/// Looks at an idle world before it goes on to a wait.
const QUIET_BEFORE_A_WAIT: u32 = 2;
/// Looks at an idle world before it lets a deadline pass.
const QUIET_BEFORE_A_DEADLINE: u32 = 25;

impl Default for TurningClock {
    fn default() -> Self {
        Self(Arc::new(Turning {
            clock: ManualClock::new(NOW, 1),
            pending: Mutex::default(),
            next_id: AtomicU64::new(0),
            stirred: AtomicU64::new(0),
        }))
    }
}

impl TurningClock {
    /// Does the work and lets time pass for it.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            () = self.turn() => unreachable!("the clock turns as long as it is wanted"),
        }
    }

    async fn turn(&self) {
        let mut quiet = 0;
        loop {
            let before = self.0.stirred.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
            quiet = if self.0.stirred.load(Ordering::SeqCst) == before { quiet + 1 } else { 0 };
            let later = (self.0.clock.now().as_millis() + 1, 0);
            let next = self.pending().range(later..).next().map(|((at, _), is_a_wait)| (*at, *is_a_wait));
            let Some((at, is_a_wait)) = next else { continue };
            if quiet >= if is_a_wait { QUIET_BEFORE_A_WAIT } else { QUIET_BEFORE_A_DEADLINE } {
                self.0.clock.advance(Timestamp::from_millis(at).since(self.0.clock.now()));
                quiet = 0;
            }
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeMap<(u64, u64), bool>> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stir(&self) {
        self.0.stirred.fetch_add(1, Ordering::SeqCst);
    }

    fn wait(&self, at: Timestamp, is_a_wait: bool) -> BoxFuture<'static, ()> {
        self.stir();
        let key = (at.as_millis(), self.0.next_id.fetch_add(1, Ordering::SeqCst));
        self.pending().insert(key, is_a_wait);
        Box::pin(Pending { clock: self.clone(), key, inner: self.0.clock.alarm(at) })
    }
}

impl Clock for TurningClock {
    fn now(&self) -> Timestamp {
        self.stir();
        self.0.clock.now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.wait(at, true)
    }

    fn alarm(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.wait(at, false)
    }

    fn jitter(&self) -> f64 {
        self.0.clock.jitter()
    }
}

/// A wait that is known as long as somebody wants it.
struct Pending {
    clock: TurningClock,
    key: (u64, u64),
    inner: BoxFuture<'static, ()>,
}

impl Future for Pending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.inner.as_mut().poll(cx);
        if polled.is_ready() {
            self.clock.pending().remove(&self.key);
        }
        polled
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.clock.stir();
        self.clock.pending().remove(&self.key);
    }
}

/// The machine's clock, so many times as fast: for what cannot be told the time.
#[derive(Clone, Copy)]
pub struct FastClock {
    started: Instant,
    times: u32,
}

impl FastClock {
    /// It begins at [`NOW`].
    pub fn new(times: u32) -> Self {
        Self { started: Instant::now(), times }
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let passed = self.started.elapsed().saturating_mul(self.times);
        NOW.plus(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let wait = Duration::from_millis(at.since(self.now())) / self.times;
        Box::pin(tokio::time::sleep(wait))
    }

    fn jitter(&self) -> f64 {
        0.0
    }
}
