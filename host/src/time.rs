//! Time and jitter, through one door.
//!
//! Everything in this crate that asks for the time, waits or needs a die does it through a [`Clock`], so that a test
//! turns time by hand. Keys and nonces never come from here: they come from the operating system's generator.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// A future of unknown make.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Now. It never goes backwards.
    fn now(&self) -> Timestamp;

    /// What the wall clock says now, for a time that is told to others or comes from them: in signatures, tokens and
    /// deliveries. It follows a wall clock that is put right, and may go backwards.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// Waits until `at`; at once if that is over.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;

    /// Is over at `at`, for a deadline that races with work. Unlike a wait, it does not make the time pass.
    fn alarm(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.sleep_until(at)
    }

    /// A number from -1 to 1, drawn evenly.
    fn jitter(&self) -> f64;
}

impl Timestamp {
    /// The end of time: later than any other.
    pub const MAX: Self = Self(u64::MAX);

    /// From milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The time that RFC 3339 writes so, in any offset; nothing before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        // The crate's reader takes more than RFC 3339; what it takes more has no date, no time or a zone in brackets.
        let is_plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_digit() || b"TtZz:.+-".contains(&b));
        let read: jiff::Timestamp = text.parse().ok().filter(|_| is_plain)?;
        u64::try_from(read.as_millisecond()).ok().map(Self)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This much later, or the end of time.
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this; 0 if that is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// For crates that count in the standard library's times.
impl From<Timestamp> for SystemTime {
    fn from(at: Timestamp) -> Self {
        // Beyond what the platform counts, the end of what it surely does.
        UNIX_EPOCH + Duration::from_millis(at.0.min(LAST_MS))
    }
}

/// Of what the system wrote down, as a file's date; nothing before 1970.
impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(LAST_MS).min(LAST_MS))
    }
}

/// 9999-12-31T23:59:59Z, after which dates have more digits than formats.
const LAST_MS: u64 = 253_402_300_799_000;

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// As RFC 3339 writes it, in UTC: `2026-11-22T19:41:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Gregorian dates from day numbers, after Howard Hinnant's `civil_from_days`.
        let seconds = self.0 / 1000;
        let days = seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        // Every line and every row of the audit trail has one, so what follows the year is put together here.
        let parts = [month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60];
        let mut text = *b"-00-00T00:00:00.000Z";
        let mut put = |at: usize, value: u64| {
            text[at] = b'0' + (value / 10 % 10) as u8;
            text[at + 1] = b'0' + (value % 10) as u8;
        };
        (1..).step_by(3).zip(parts).for_each(|(at, part)| put(at, part));
        let millis = self.0 % 1000;
        put(17, millis % 100);
        put(16, millis / 10);
        if millis == 0 {
            text[15] = b'Z';
        }
        let text = &text[..if millis == 0 { 16 } else { 20 }];
        write!(f, "{year:04}{}", std::str::from_utf8(text).map_err(|_| fmt::Error)?)
    }
}

/// A time as RFC 3339 writes it, for serde.
pub(crate) mod rfc3339 {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Timestamp;

    pub(crate) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        Timestamp::parse(&text).ok_or_else(|| serde::de::Error::custom("no time"))
    }
}

/// The machine's clock.
///
/// It runs with the monotonic clock from the moment it was made, so setting the wall clock back does not stretch a
/// wait. Where the wall clock has gone ahead (the machine slept), it follows.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_wall_ms: u64,
    /// When the wall clock was looked at, in milliseconds since the start.
    looked_ms: AtomicU64,
    ahead_ms: AtomicU64,
    die: AtomicU64,
}

/// How far the wall clock must be ahead before [`SystemClock`] follows it, and how often it looks.
const FOLLOW_MS: u64 = 2_000;
const LOOK_MS: u64 = 100;

impl SystemClock {
    /// The machine's clock, from now on.
    pub fn new() -> Self {
        let wall = wall_ms();
        Self {
            started: Instant::now(),
            started_wall_ms: wall,
            looked_ms: AtomicU64::new(0),
            ahead_ms: AtomicU64::new(0),
            die: AtomicU64::new(wall),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let steady = self.started_wall_ms.saturating_add(elapsed);
        if elapsed >= self.looked_ms.load(Ordering::Relaxed).saturating_add(LOOK_MS) {
            self.looked_ms.store(elapsed, Ordering::Relaxed);
            let ahead = wall_ms().saturating_sub(steady);
            if ahead >= self.ahead_ms.load(Ordering::Relaxed).saturating_add(FOLLOW_MS) {
                self.ahead_ms.fetch_max(ahead, Ordering::Relaxed);
            }
        }
        Timestamp(steady.saturating_add(self.ahead_ms.load(Ordering::Relaxed)))
    }

    fn wall(&self) -> Timestamp {
        Timestamp(wall_ms())
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let wait = Duration::from_millis(at.since(self.now()));
        Box::pin(tokio::time::sleep(wait))
    }

    fn jitter(&self) -> f64 {
        roll(&self.die)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the door")]
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that a test turns by hand; clones show the same time.
///
/// [`ManualClock::advance`] moves it. With [`ManualClock::skipping`] it moves itself: whoever waits is there at once,
/// and the time has passed. A replay from a [`tape`](crate::tape) brings a clock of its own.
///
/// ```no_run
/// # async fn example(config: &wharfage::Config, transport: impl wharfage::Transport) -> wharfage::Result<()> {
/// use wharfage::{Clock as _, Host, ManualClock, Timestamp};
///
/// let start = Timestamp::from_millis(1_800_000_000_000);
/// let clock = ManualClock::skipping(start, 1);
/// let host = Host::builder().clock(clock.clone()).transport(transport).build()?;
/// let plugin = host.open(config, "acme").await?;
/// // The provider has nothing better to say than to come back in a minute, and the test takes no minute.
/// plugin.page("orders.list", "{}", None).await?;
/// assert!(clock.now().since(start) >= 60_000);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

#[derive(Debug)]
struct Manual {
    now_ms: AtomicU64,
    die: AtomicU64,
    skips: bool,
    sleepers: Mutex<Sleepers>,
}

#[derive(Debug, Default)]
struct Sleepers {
    next_id: u64,
    waiting: BTreeMap<(u64, u64), Waker>,
}

impl ManualClock {
    /// A clock that stands at `now` until it is moved.
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self::build(now, seed, false)
    }

    /// A clock on which every wait is over at once, with its time gone by.
    pub fn skipping(now: Timestamp, seed: u64) -> Self {
        Self::build(now, seed, true)
    }

    fn build(now: Timestamp, seed: u64, skips: bool) -> Self {
        Self(Arc::new(Manual {
            now_ms: AtomicU64::new(now.0),
            die: AtomicU64::new(seed),
            skips,
            sleepers: Mutex::default(),
        }))
    }

    /// Lets `millis` pass and wakes who waited for it.
    pub fn advance(&self, millis: u64) {
        self.move_to(self.now().plus(millis));
    }

    /// Moves on to the time the next sleeper waits for. False if nobody sleeps.
    pub fn advance_to_next(&self) -> bool {
        let next = self.sleepers().waiting.keys().next().map(|(at, _)| *at);
        match next {
            Some(at) => {
                self.move_to(Timestamp(at));
                true
            }
            None => false,
        }
    }

    fn move_to(&self, at: Timestamp) {
        let now = self.0.now_ms.fetch_max(at.0, Ordering::SeqCst).max(at.0);
        let mut sleepers = self.sleepers();
        let later = sleepers.waiting.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut sleepers.waiting, later);
        drop(sleepers);
        due.into_values().for_each(Waker::wake);
    }

    fn sleepers(&self) -> std::sync::MutexGuard<'_, Sleepers> {
        self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.now_ms.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        if self.0.skips {
            self.move_to(at);
        }
        self.alarm(at)
    }

    fn alarm(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(Sleep { clock: self.clone(), at, key: None })
    }

    fn jitter(&self) -> f64 {
        roll(&self.0.die)
    }
}

/// A wait on a [`ManualClock`]; dropping it takes it off the list.
struct Sleep {
    clock: ManualClock,
    at: Timestamp,
    key: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut sleepers = clock.sleepers();
        if clock.now() >= self.at {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            sleepers.next_id += 1;
            (self.at.0, sleepers.next_id)
        });
        sleepers.waiting.insert(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.sleepers().waiting.remove(&key);
        }
    }
}

/// SplitMix64, for jitter only.
fn roll(die: &AtomicU64) -> f64 {
    let mut z = die.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    // 53 bits fill a double's mantissa exactly.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let unit = (z >> 11) as f64 / (1u64 << 53) as f64;
    unit.mul_add(2.0, -1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_rfc3339() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_millis(1_709_164_800_000).to_string(), "2024-02-29T00:00:00Z");
        assert_eq!(Timestamp::from_millis(4_102_444_799_999).to_string(), "2099-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_millis(1_709_210_096_007).to_string(), "2024-02-29T12:34:56.007Z");
        assert_eq!(Timestamp::from_millis(1_709_210_096_120).to_string(), "2024-02-29T12:34:56.120Z");
        assert_eq!(Timestamp::MAX.to_string(), "584556019-04-03T14:25:51.615Z");
    }

    #[test]
    fn reads_rfc3339() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T00:00:00Z", "2099-12-31T23:59:59.999Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Timestamp::parse("2026-11-22T09:50:07+01:00"), Timestamp::parse("2026-11-22T08:50:07Z"));
        for text in ["", "2026-11-22", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z", "2026-11-22T08:50:07", "now"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn manual_clock_wakes_who_is_due_and_nobody_else() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000), 1);
        let due = tokio::spawn(clock.sleep_until(Timestamp::from_millis(1_500)));
        let later = tokio::spawn(clock.sleep_until(Timestamp::from_millis(2_500)));
        tokio::task::yield_now().await;
        clock.advance(500);
        due.await.unwrap();
        tokio::task::yield_now().await;
        assert!(!later.is_finished());
        assert!(clock.advance_to_next());
        later.await.unwrap();
        assert_eq!(clock.now(), Timestamp::from_millis(2_500));
        assert!(!clock.advance_to_next());
    }

    #[test]
    fn jitter_stays_inside_and_moves() {
        let clock = ManualClock::new(Timestamp::default(), 7);
        let rolls: Vec<f64> = (0..1000).map(|_| clock.jitter()).collect();
        assert!(rolls.iter().all(|r| (-1.0..=1.0).contains(r)));
        assert!(rolls.iter().any(|r| *r < -0.5) && rolls.iter().any(|r| *r > 0.5));
    }
}
