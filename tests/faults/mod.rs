//! What providers really do, one behaviour a row, and what a client does then: ours beside another.
//!
//! [`list::GROUPS`] names each behaviour, who is known for it and the rule by which a client does well or badly in it. The
//! provider is the plain socket of the harness, scripted, and counts what arrives. Both clients meet the same script from
//! the same program: ours as a plugin's component in a real host ([`ours`]), the other composed of `reqwest` and what its
//! users put around it ([`composed`]). `cargo run -p wharfage-tests --bin faults` prints the table, `--write` renews the one
//! in `tests/faults/README.md`, and a test fails where our column there is not what happens now.
//!
//! Time is cheap on both sides. Ours runs on a clock that turns when nothing else happens. Theirs cannot be told the time,
//! so it waits for real, [`TIMES`] as fast: every second in its settings, and every second of its provider, is a hundredth.

pub mod composed;
pub mod list;
pub mod ours;
pub mod rule;
pub mod table;

use std::sync::Arc;

use wharfage::{Clock, Timestamp};

use crate::provider::{Answer, Count};
use crate::{API_KEY, Provider, Reply};

pub use rule::Must;

/// How many times faster than the machine's the clock of the composed client and its provider runs.
pub const TIMES: u32 = 100;

/// What both clients are given for one attempt, in milliseconds of their clock.
pub const ATTEMPT_MS: u64 = 10_000;

/// What both clients are told of the provider's limit, where it has one: requests a second.
pub const PER_SECOND: u32 = 5;

/// Behaviours that belong together.
pub struct Group {
    /// What they have in common.
    pub title: &'static str,
    /// The behaviours.
    pub faults: &'static [Fault],
}

/// One behaviour.
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// What the provider does.
    pub does: &'static str,
    /// Who does that, and where that is written.
    pub who: &'static str,
    /// What the client is asked for.
    pub task: Task,
    /// What a good client does.
    pub must: &'static [Must],
    /// The provider's script.
    pub answer: fn(World) -> Box<Answer>,
}

/// What a client is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One GET.
    Read,
    /// One GET whose key is in a header of the provider's own making.
    ReadWithKeyHeader,
    /// One POST with a body.
    Write,
    /// One POST with a body that may be sent again under its key.
    WriteWithKey,
    /// A GET, and then what `next` in its body says.
    Pages,
    /// So many GETs, one begun every so many milliseconds whatever became of those before.
    Reads {
        /// How many.
        calls: usize,
        /// Milliseconds between their beginnings.
        apart_ms: u64,
        /// Where.
        place: Place,
    },
}

/// Which part of the provider is asked: they differ in what its documentation says about limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It says nothing.
    Api,
    /// [`PER_SECOND`].
    Paced,
    /// Two at once.
    Narrow,
}

/// What a script knows of the world.
#[derive(Clone)]
pub struct World {
    /// The provider's clock.
    pub clock: Arc<dyn Clock>,
    /// Another origin that the client may talk to, without this provider's credential.
    pub elsewhere: String,
    /// An origin that the client was never meant to talk to.
    pub nowhere: String,
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Whether it writes.
    pub writes: bool,
    /// Whether it has an idempotency key.
    pub keyed: bool,
    /// Whether its key stands in `X-Api-Key`.
    pub key_header: bool,
    /// Where.
    pub place: Place,
    /// A whole URL, where a page said so.
    pub url: Option<String>,
}

/// What a client was told for it.
#[derive(Clone, Debug)]
pub struct Told {
    /// How it ended.
    pub ended: Ended,
    /// Everything that the client's user sees of it.
    pub shown: String,
    /// The body, as far as it is text.
    pub body: String,
    /// Bytes of the body in memory.
    pub body_bytes: u64,
}

/// How a request ended for who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A success, and whether it is the provider's good answer, whole.
    Success {
        /// The status.
        status: u16,
        /// Whether the body is the good one.
        good: bool,
    },
    /// Anything else, as its user sees it.
    Failure(String),
}

/// What came of a fault.
#[derive(Clone, Debug)]
pub struct Account {
    /// Whose it is.
    pub side: Side,
    /// How each call ended.
    pub ended: Vec<Ended>,
    /// Requests that the provider saw.
    pub requests: usize,
    /// Writes that it did.
    pub executed: usize,
    /// Requests beyond its limit.
    pub over_limit: usize,
    /// Requests while it had trouble.
    pub in_trouble: usize,
    /// Milliseconds on the client's clock.
    pub waited_ms: u64,
    /// Bytes that were sent to the client or that it held.
    pub bytes: u64,
    /// Requests at an origin that the client was never meant to talk to.
    pub at_nowhere: usize,
    /// Writes that were sent on to another origin.
    pub bodies_elsewhere: usize,
    /// Requests with the credential at an origin that it is not for.
    pub leaks: usize,
    /// Everything that the client's user saw.
    pub shown: String,
}

/// Who is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Ours.
    Ours,
    /// The composed one.
    Composed,
}

/// What stands in the good answer.
pub const GOOD: &str = "\"ok\":true";

/// Something both clients can do.
enum Client {
    Ours(ours::Ours),
    Composed(composed::Composed),
}

impl Client {
    async fn ask(&self, ask: &Ask) -> Told {
        match self {
            Self::Ours(ours) => ours.ask(ask).await,
            Self::Composed(composed) => composed.ask(ask).await,
        }
    }
}

/// Runs one fault against one client. It wants a runtime of one thread.
pub async fn run(fault: &Fault, side: Side) -> Account {
    match side {
        Side::Ours => {
            let clock = crate::clocks::TurningClock::default();
            clock.clone().run(play(fault, side, Arc::new(clock))).await
        }
        Side::Composed => play(fault, side, Arc::new(crate::clocks::FastClock::new(TIMES))).await,
    }
}

async fn play(fault: &Fault, side: Side, clock: Arc<dyn Clock>) -> Account {
    let elsewhere = Provider::answering_at(clock.clone(), Box::new(|_| list::good())).await;
    let nowhere = Provider::answering_at(clock.clone(), Box::new(|_| list::good())).await;
    let world = World { clock: clock.clone(), elsewhere: elsewhere.url(), nowhere: nowhere.url() };
    let provider = Provider::answering_at(clock.clone(), (fault.answer)(world)).await;
    let client = match side {
        Side::Ours => Client::Ours(ours::Ours::open(clock.clone(), &provider, &elsewhere).await),
        Side::Composed => Client::Composed(composed::Composed::new(&provider, &nowhere)),
    };
    let began = clock.now();
    let told = perform(&client, clock.as_ref(), fault.task).await;
    let waited_ms = clock.now().since(began);
    let strangers = [elsewhere.seen(), nowhere.seen()].concat();
    Account {
        side,
        requests: provider.count(),
        executed: provider.counted(Count::Executed),
        over_limit: provider.counted(Count::OverLimit),
        in_trouble: provider.counted(Count::InTrouble),
        waited_ms,
        bytes: told.iter().map(|told| told.body_bytes).sum::<u64>().max(provider.bytes_written()),
        at_nowhere: nowhere.count(),
        bodies_elsewhere: strangers.iter().filter(|seen| !seen.body.is_empty()).count(),
        leaks: strangers.iter().filter(|seen| seen.text().contains(API_KEY)).count(),
        shown: told.iter().map(|told| told.shown.as_str()).collect::<Vec<_>>().join("\n"),
        ended: told.into_iter().map(|told| told.ended).collect(),
    }
}

async fn perform(client: &Client, clock: &dyn Clock, task: Task) -> Vec<Told> {
    let read = |place| Ask { writes: false, keyed: false, key_header: false, place, url: None };
    match task {
        Task::Read => vec![client.ask(&read(Place::Api)).await],
        Task::ReadWithKeyHeader => vec![client.ask(&Ask { key_header: true, ..read(Place::Api) }).await],
        Task::Write => vec![client.ask(&Ask { writes: true, ..read(Place::Api) }).await],
        Task::WriteWithKey => vec![client.ask(&Ask { writes: true, keyed: true, ..read(Place::Api) }).await],
        Task::Pages => {
            let first = client.ask(&read(Place::Api)).await;
            let page: serde_json::Value = serde_json::from_str(&first.body).unwrap_or_default();
            let next = page["next"].as_str().expect("the script has a next page").to_owned();
            vec![first, client.ask(&Ask { url: Some(next), ..read(Place::Api) }).await]
        }
        Task::Reads { calls, apart_ms, place } => {
            let began = clock.now();
            let calls = (0..calls as u64).map(|number| async move {
                if number > 0 && apart_ms > 0 {
                    clock.sleep_until(began.plus(number * apart_ms)).await;
                }
                client.ask(&read(place)).await
            });
            futures_util::future::join_all(calls).await
        }
    }
}

impl Ended {
    /// Whether it is the good answer.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Success { good: true, .. })
    }

    /// What a status with a body means for whoever made the request.
    pub(crate) fn of(status: u16, body: &str) -> Self {
        match status {
            200..300 => Self::Success { status, good: body.contains(GOOD) },
            _ => Self::Failure(format!("HTTP {status}")),
        }
    }
}

impl Account {
    /// Calls that ended with the good answer.
    pub fn answered(&self) -> usize {
        self.ended.iter().filter(|ended| ended.is_good()).count()
    }
}

impl World {
    /// The provider's time as HTTP writes it.
    pub fn date(&self, at: Timestamp) -> String {
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_millis(at.as_millis()))
    }

    /// Whole seconds from now, rounded up.
    pub fn seconds_to(&self, at: Timestamp) -> u64 {
        at.since(self.clock.now()).div_ceil(1_000)
    }

    /// One reply until so many milliseconds after the first request, and then the good answer.
    pub fn until(self, ms: u64, reply: impl Fn(&World, Timestamp) -> Reply + Send + Sync + 'static) -> Box<Answer> {
        let end = std::sync::OnceLock::new();
        Box::new(move |_| {
            let now = self.clock.now();
            let end = *end.get_or_init(|| Timestamp::from_millis(now.plus(ms).as_millis().next_multiple_of(500)));
            if now < end { reply(&self, end) } else { list::good() }
        })
    }
}
