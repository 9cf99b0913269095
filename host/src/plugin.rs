//! A loaded plugin: one component over one connection, ready to be called.
//!
//! Loading reads the manifest, judges the grant, compiles (or finds compiled code), links exactly what is granted and
//! asks `describe` whether it says what the component carries. Calling makes a fresh instance, so no call sees
//! another's memory, runs it within every limit, and drops it whole, whatever happened. Where the connection says so, an
//! instance stays for further calls of the same connection: `warm.rs`.

mod describe;
#[cfg(feature = "internals")]
mod internals;
mod link;
mod page;
pub(crate) mod run;
mod stopped;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};

use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tracing::Span;
use tracing::field::Empty;
use wasmtime::component::{Component, InstancePre};

use self::link::{is_ours, trap_the_rest};
use self::run::LiveInstance;
use crate::artifact::Digest;
use crate::auth::scopes::Needed;
use crate::bindings::exports::wharfage::plugin::{events, operations};
use crate::capability::{self, Call, Lines, wasi};
use crate::drift::{Drifts, Watch};
use crate::engine::{Engine, Places};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Outcome};
use crate::files::Files;
use crate::grant::Grant;
use crate::manifest::{Needs, Operation, SecretFacts};
use crate::observe::metrics::Meter;
use crate::observe::pulse::{Sign, Vitals};
use crate::observe::states::CircuitState;
use crate::observe::trace::Here;
use crate::outbound::session::{TokenState, What};
use crate::outbound::{AnswerSource, Observer, Outbound};
use crate::schema::Schema;
use crate::store::{Seal, Store};
use crate::text::shown_lines;
use crate::time::Clock;
use crate::vault::Secrets;
use crate::warm::Warm;

pub(crate) use describe::{DESCRIBE_COMPUTE_MS, DESCRIBE_MS, describe, says_the_same};
pub(crate) use link::{Linked, linker};

/// A plugin over a connection. Clones are the same plugin.
#[derive(Clone)]
pub struct Plugin(pub(crate) Arc<Loaded>, Files);

debug_shows!(Plugin, |this| plugin = this.0.name, connection = this.0.connection);

pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) needs: Arc<Needs>,
    /// What its manifest says of secrets.
    pub(crate) facts: Arc<BTreeMap<String, SecretFacts>>,
    pub(crate) digest: Digest,
    pub(crate) grant: Grant,
    pub(crate) pre: InstancePre<Call>,
    /// Where its exports are. An instance serves one of them, and only that one is looked up in it.
    pub(crate) operations: operations::GuestIndices,
    pub(crate) events: events::GuestIndices,
    /// The host finds it again as long as this is held.
    pub(crate) _component: Arc<Component>,
    pub(crate) schemas: Vec<OnceLock<Result<Schema>>>,
    pub(crate) drift: Watch,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) seal: Arc<Seal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) calls: Semaphore,
    pub(crate) waiting: Arc<Places>,
    pub(crate) lines: Arc<Lines>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) vitals: Vitals,
    pub(crate) observer: Option<Observer>,
    /// Instances that wait for another call, where the connection wants that.
    pub(crate) warm: Option<Arc<Warm<LiveInstance>>>,
    pub(crate) name: Arc<str>,
    pub(crate) connection: Arc<str>,
}

/// What a plugin is made of: everything that the host brings.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) linker: Linked,
    pub(crate) component: Arc<Component>,
    pub(crate) needs: Arc<Needs>,
    pub(crate) digest: Digest,
    pub(crate) grant: Grant,
    pub(crate) outbound: Outbound,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) seal: Arc<Seal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Option<Observer>,
}

/// An answer, with where it came from and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The output.
    pub output: T,
    /// What to pass to go on; `None` on the last page.
    pub next: Option<Cursor>,
    /// The least live of all answers it was made from.
    pub source: AnswerSource,
    /// The age of the oldest of them, in milliseconds.
    pub age_ms: u64,
    /// How many requests left the host for it.
    pub attempts: u32,
}

/// Where a list stands. It is sealed to its connection and operation, and means nothing anywhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(String);

impl Cursor {
    /// From the text that [`Cursor::as_str`] gave. Whether it is one of ours shows when it is used.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for keeping.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Plugin {
    pub(crate) async fn load(parts: Parts) -> Result<Self> {
        let Parts { engine, mut linker, component, needs, digest, grant, outbound, store, seal, clock, observer } =
            parts;
        grant.check(&needs)?;
        let described = describe(&engine, linker.clone(), &component, &clock, Some(&grant.limits)).await?;
        if !says_the_same(&described, &needs.operations) {
            return Err(Error::component(
                "the component carries other operations than its `describe` names, so one of the two is forged or old",
            )
            .with_details("Build it again: wharfage build"));
        }
        for capability in capability::ALL.iter().filter(|capability| grant.imports.contains(capability.name)) {
            (capability.link)(&mut linker).map_err(|error| Error::internal(format!("{}: {error}", capability.name)))?;
        }
        // What is ours and was not granted is refused above, so the rest is WASI.
        trap_the_rest(&engine, &mut linker, &component, |name| is_ours(name) || wasi::is_linked(name))?;
        let unfit = |error: wasmtime::Error| {
            Error::component("the component does not fit the contract").with_details(shown_lines(&format!("{error:#}")))
        };
        let pre = linker.instantiate_pre(&component).map_err(unfit)?;
        let meter = outbound.meter.clone().ok_or_else(|| Error::internal("a connection has no meter"))?;
        let outbound = Arc::new(outbound);
        let waiting = grant.limits.calls_waiting;
        let calls =
            Semaphore::new(usize::try_from(grant.limits.calls).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS));
        // What is recorded must come again, from an instance that has seen nothing.
        let may_stay = grant.warm.instances > 0 && outbound.tape.is_none();
        let warm = may_stay.then(|| Warm::new(grant.warm, clock.clone(), meter.clone(), engine.warm_room().clone()));
        Ok(Self(
            Arc::new(Loaded {
                name: needs.manifest.plugin.name.as_str().into(),
                connection: grant.connection.as_str().into(),
                schemas: needs.operations.iter().map(|_| OnceLock::new()).collect(),
                drift: Watch::new(grant.drift, &needs).counted(&meter),
                engine,
                operations: operations::GuestIndices::new(&pre).map_err(unfit)?,
                events: events::GuestIndices::new(&pre).map_err(unfit)?,
                facts: Arc::new(needs.manifest.secrets.clone()),
                needs,
                digest,
                grant,
                pre,
                _component: component,
                outbound,
                store,
                seal,
                clock,
                calls,
                lines: Arc::default(),
                meter,
                vitals: Vitals::default(),
                observer,
                warm,
                waiting: Places::new(waiting),
            }),
            Files::default(),
        ))
    }

    /// What the component says about itself.
    pub fn needs(&self) -> &Needs {
        &self.0.needs
    }

    /// What it may do.
    pub fn grant(&self) -> &Grant {
        &self.0.grant
    }

    /// The component's digest.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// How the tokens of its accounts stand, by credential, without asking the provider.
    ///
    /// # Errors
    /// When what is stored cannot be read.
    pub async fn token_states(&self) -> Result<Vec<(String, TokenState)>> {
        let mut states = Vec::new();
        for (name, session) in &self.0.outbound.sessions {
            states.push((name.clone(), session.state().await?));
        }
        Ok(states)
    }

    /// The secrets of its connection, as far as they may be told: names and places.
    pub fn secrets(&self) -> &Secrets {
        &self.0.outbound.secrets
    }

    /// Each origin of its grant with what its breaker does now; nothing where the operator wants no breaker.
    pub fn circuits(&self) -> Vec<(String, CircuitState)> {
        self.0.outbound.circuits.states()
    }

    /// It is the one of its connection from now on: what it says of budgets holds, and its numbers are told.
    pub(crate) fn take_up(&self) {
        self.0.outbound.queues.take_up();
        let outbound: Weak<Outbound> = Arc::downgrade(&self.0.outbound);
        self.0.meter.watch(outbound);
    }

    /// Its outbound path.
    #[cfg(feature = "serve")]
    pub(crate) fn outbound(&self) -> &Arc<Outbound> {
        &self.0.outbound
    }

    /// How answers differed from the operations' schemas since the connection was made.
    pub fn drift(&self) -> Drifts {
        self.0.drift.drifts()
    }

    /// Waits until no tokens of its accounts are being renewed, and until the answers that are kept and what the audit trail
    /// was told are written down, for a program that is about to end. One that ends before may lose a token that its provider
    /// gives once. A renewal ends within a minute or two, also where the provider does not answer.
    pub async fn flush(&self) {
        for (_, session) in &self.0.outbound.sessions {
            session.settled().await;
        }
        self.0.outbound.audit_context.flush().await;
        if let Some(cache) = &self.0.outbound.cache {
            cache.flush().await;
        }
    }

    /// How many answers held a secret of the connection, which was masked. More than none is worth a look.
    pub fn leaks(&self) -> u64 {
        self.0.outbound.leaks.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// How many lines the plugin logged beyond what it may; they were dropped.
    pub fn dropped_lines(&self) -> u64 {
        self.0.lines.dropped()
    }

    /// The same plugin, whose calls get these files: content too large for an input or an output. An input names them as
    /// they are named here.
    #[must_use]
    pub fn with_files(&self, files: Files) -> Self {
        Self(self.0.clone(), files)
    }

    /// Runs an operation. A list answers its first page; see [`Plugin::stream`] for all of it.
    ///
    /// ```no_run
    /// # async fn example(plugin: &wharfage::Plugin) -> wharfage::Result<()> {
    /// use wharfage::{Answer, Kind};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     number: String,
    /// }
    ///
    /// let input = serde_json::json!({ "number": "SO-7" });
    /// let answer: wharfage::Result<Answer<Order>> = plugin.call("orders.get", &input).await;
    /// match answer {
    ///     Ok(answer) => println!("{} ({:?})", answer.output.number, answer.source),
    ///     Err(error) => match error.kind() {
    ///         Kind::NotFound => println!("there is no such order"),
    ///         Kind::OutcomeUnknown => println!("of a write: look first whether it was done"),
    ///         _ if error.may_retry() => println!("come back at {:?}", error.retry_at()),
    ///         _ => return Err(error),
    ///     },
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::UnknownOperation`] and [`Kind::InvalidRequest`] before anything is sent; any kind of the contract after.
    ///
    /// # Cancellation
    /// Dropping the future breaks the call off at once: its instance goes, what it held of budgets goes back, and it is
    /// counted as `cancelled`. What had left may have been done, a write as well, and what the plugin kept until then
    /// stays kept. The plugin may be called again.
    pub async fn call<O: DeserializeOwned>(&self, operation: &str, input: &impl Serialize) -> Result<Answer<O>> {
        let page = self.page(operation, &to_json(input)?, None).await?;
        let output = serde_json::from_str(page.output.get()).map_err(|error| {
            Error::new(Kind::SchemaViolation, format!("the output of {operation} is not what the caller expects"))
                .with_details(error.to_string())
        })?;
        Ok(Answer { output, next: page.next, source: page.source, age_ms: page.age_ms, attempts: page.attempts })
    }

    /// Reads a list lazily: a page is asked for when the items before it are used up. It ends after the first error.
    ///
    /// # Cancellation
    /// A wait for the next item may be dropped: the page that is asked for goes on with the next wait. Dropping the stream
    /// breaks it off, as for [`Plugin::call`].
    pub fn stream<T, I>(&self, operation: &str, input: &I) -> impl Stream<Item = Result<T>> + Send + use<T, I>
    where
        T: DeserializeOwned + Send + 'static,
        I: Serialize,
    {
        let input = to_json(input);
        let pages = match input {
            Ok(input) => self.pages(operation, input, None).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        };
        let operation = operation.to_owned();
        pages.flat_map(move |page| {
            let items = page.and_then(|page| {
                serde_json::from_str::<Vec<T>>(page.output.get()).map_err(|error| {
                    Error::new(Kind::SchemaViolation, format!("a page of {operation} is not what the caller expects"))
                        .with_details(error.to_string())
                })
            });
            match items {
                Ok(items) => stream::iter(items).map(Ok).left_stream(),
                Err(error) => stream::iter([Err(error)]).right_stream(),
            }
        })
    }

    /// The pages of a list, from `cursor` on, each as JSON text. It ends after the first error.
    pub fn pages(
        &self,
        operation: &str,
        input: String,
        cursor: Option<Cursor>,
    ) -> impl Stream<Item = Result<Answer<Box<RawValue>>>> + Send + use<> {
        let plugin = self.clone();
        let operation = operation.to_owned();
        stream::unfold(Some((cursor, plugin, operation, input)), |state| async move {
            let (cursor, plugin, operation, input) = state?;
            let page = plugin.page(&operation, &input, cursor).await;
            let next = page.as_ref().ok().and_then(|page| page.next.clone());
            Some((page, next.map(|next| (Some(next), plugin, operation, input))))
        })
    }

    /// Runs an operation on JSON text, and answers its output as the plugin wrote it: no number passes a float.
    ///
    /// # Errors
    /// As for [`Plugin::call`].
    ///
    /// # Cancellation
    /// As for [`Plugin::call`]. The cursor still holds.
    pub async fn page(&self, operation: &str, input: &str, cursor: Option<Cursor>) -> Result<Answer<Box<RawValue>>> {
        let loaded = &*self.0;
        let about = loaded.needs.operation(operation)?;
        let began = loaded.clock.now();
        let call = loaded.meter.operation(loaded.index(about)).begin(&*loaded.clock);
        let here = Here::begin();
        let span = loaded.span(&here, &about.name, None);
        // It is large, and each layer around it would move it: it stays where it is, here and below.
        let page = pin!(loaded.page(about, input, cursor, &self.1));
        let result = here.run(span.clone(), page).await;
        if let Ok(answer) = &result {
            span.record("attempts", answer.attempts);
        }
        tell_span(&span, &result);
        call.ended(&result, |text| loaded.masked(text));
        loaded.vitals.pulse.ended(began, loaded.clock.now(), said(&result));
        result
    }

    /// Hands one event to the plugin, for an embedder that has its own delivery. Handling it again with the same id
    /// repeats no keyed write.
    ///
    /// ```no_run
    /// # async fn example(plugin: &wharfage::Plugin, mut cursor: Option<String>) -> wharfage::Result<()> {
    /// # fn keep(_: &[wharfage::Emission], _: &Option<String>) {}
    /// use wharfage::{Event, Poll, Trigger};
    ///
    /// let trigger = Trigger::Poll(Poll::new("orders-changed"));
    /// let event = Event { id: "orders-changed/7".to_owned(), trigger, cursor: cursor.clone() };
    /// let outcome = plugin.handle(event).await?;
    /// if outcome.cursor.is_some() {
    ///     cursor = outcome.cursor;
    /// }
    /// // Both in one transaction, or neither: then the event is handed over again, with the same id.
    /// keep(&outcome.emit, &cursor);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Any kind of the contract; the plugin's own where it has no such trigger.
    ///
    /// # Cancellation
    /// As for [`Plugin::call`]. Nothing came of the event: hand it over again, with the same id.
    pub async fn handle(&self, event: Event) -> Result<Outcome> {
        let loaded = &*self.0;
        let began = loaded.clock.now();
        let call = loaded.meter.handling().begin(&*loaded.clock);
        let deadline = loaded.deadline();
        let here = Here::begin();
        let span = loaded.span(&here, EVENT, Some(&event.id));
        let handled = async {
            tokio::select! {
                biased;
                outcome = loaded.handle(event, deadline) => outcome,
                () = loaded.clock.alarm(deadline) => {
                    Err(loaded.late("handling an event").with_request_sent(crate::error::RequestSent::Maybe))
                }
            }
        };
        let result = here.run(span.clone(), handled).await;
        tell_span(&span, &result);
        call.ended(&result, |text| loaded.masked(text));
        loaded.vitals.pulse.ended(began, loaded.clock.now(), result.as_ref().err().and_then(Sign::of));
        result
    }
}

impl Loaded {
    /// The span of a call, or of the handling of an event.
    fn span(&self, here: &Here, operation: &str, event: Option<&str>) -> Span {
        tracing::error_span!(
            target: "wharfage::call", "call",
            trace_id = %here.trace_id(), span_id = %here.span_id(), parent_id = here.parent_id(),
            plugin = &*self.name, connection = &*self.connection, operation, event,
            attempts = Empty, error.type = Empty
        )
    }

    /// Refuses before anything is sent what needs scopes that no consent gave.
    pub(crate) async fn check_scopes(&self, what: &What<'_>, needed: Option<Needed<'_>>) -> Result<()> {
        let Some(needed) = needed else { return Ok(()) };
        match self.outbound.sessions.iter().find(|(name, _)| name == needed.credential) {
            Some((_, session)) => session.check_scopes(what, needed).await,
            None => Ok(()),
        }
    }

    /// When a call that begins now must be over.
    fn deadline(&self) -> crate::time::Timestamp {
        self.clock.now().plus(self.grant.limits.call_ms)
    }

    /// A text without the connection's secrets.
    fn masked(&self, text: &str) -> String {
        self.outbound.mask().text(text).into_owned()
    }

    fn late(&self, what: &str) -> Error {
        let most = self.grant.limits.call_ms;
        Error::new(Kind::Deadline, format!("{what} took longer than the limit call_ms of {most}")).with_more("call_ms")
    }

    /// Which of the operations it is.
    fn index(&self, operation: &Operation) -> usize {
        self.needs.operations.iter().position(|other| other.name == operation.name).unwrap_or(0)
    }
}

/// What the audit trail calls the handling of an event.
const EVENT: &str = "(event)";

/// What came of a call, in its span. It is there whenever errors are listened to, so that a line of what went wrong says
/// whose it is.
fn tell_span<T>(span: &Span, result: &Result<T>) {
    if let Err(error) = result {
        span.record("attempts", error.attempts());
        span.record("error.type", error.kind().name());
    }
}

fn to_json(input: &impl Serialize) -> Result<String> {
    serde_json::to_string(input).map_err(|error| Error::invalid("", format!("the input is no JSON: {error}")))
}

/// What a call says of its connection.
pub(crate) fn said<T>(result: &Result<Answer<T>>) -> Option<Sign> {
    match result {
        Ok(answer) => Sign::of_answer(answer.source, answer.attempts),
        Err(error) => Sign::of(error),
    }
}
