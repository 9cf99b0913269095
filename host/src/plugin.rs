//! A loaded plugin: one component over one connection, ready to be called.
//!
//! Loading reads the manifest, judges the grant, compiles (or finds compiled code), links exactly what is granted and
//! asks `describe` whether it says what the component carries. Calling makes a fresh instance, so no call sees
//! another's memory, runs it within every limit, and drops it whole, whatever happened. Where the connection says so, an
//! instance stays for further calls of the same connection: `warm.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Span;
use tracing::field::Empty;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, Instance as Entered, InstancePre, Linker, ResourceTable, ResourceTableError};
use wasmtime::{Store as Instance, Trap, UpdateDeadline};

use crate::artifact::Digest;
use crate::auth::Credential;
use crate::auth::scopes::Needed;
use crate::bindings::exports::wharfage::plugin::{events, operations};
use crate::bindings::{Plugin as Exports, PluginPre};
use crate::capability::{self, Call, Lines, Memory, Spent, wasi};
use crate::connection::Limits;
use crate::drift::{Drift, Drifts, Watch};
use crate::engine::{Engine, Places, TICK_MS};
use crate::errand::Errands;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Outcome, Trigger};
use crate::files::Files;
use crate::grant::Grant;
#[cfg(feature = "serve")]
use crate::inbound::socket::{Listener, Socket, SocketPolicy};
use crate::manifest::{
    CONTRACT, Effect, HealthFacts, Needs, Operation, SecretFacts, check_operations, check_operations_size, shown,
    shown_lines,
};
#[cfg(feature = "serve")]
use crate::manifest::{SocketFacts, suggestion};
use crate::observe::health::{Facts, Health, PROBE, PROBE_EVERY_MS, PROBE_MS, Probe, Sign, Vitals, judge, short};
use crate::observe::metrics::Meter;
use crate::observe::trace::Here;
use crate::outbound::breaker::CircuitState;
use crate::outbound::session::{TokenState, What};
use crate::outbound::tape::Ended;
use crate::outbound::{CallContext, Observer, Outbound, Running, Source, Step};
use crate::schema::Schema;
use crate::store::{MemoryStore, Seal, Store};
use crate::time::Clock;
use crate::vault::Secrets;
use crate::warm::{Retired, Stay, Warm};

/// A plugin over a connection. Clones are the same plugin.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>, Files);

struct Loaded {
    engine: Engine,
    needs: Arc<Needs>,
    /// What its manifest says of secrets.
    facts: Arc<BTreeMap<String, SecretFacts>>,
    digest: Digest,
    grant: Grant,
    pre: InstancePre<Call>,
    /// Where its exports are. An instance serves one of them, and only that one is looked up in it.
    operations: operations::GuestIndices,
    events: events::GuestIndices,
    /// The host finds it again as long as this is held.
    _component: Arc<Component>,
    schemas: Vec<OnceLock<Result<Schema>>>,
    drift: Watch,
    outbound: Arc<Outbound>,
    store: Arc<dyn Store>,
    seal: Arc<Seal>,
    clock: Arc<dyn Clock>,
    calls: Semaphore,
    waiting: Arc<Places>,
    lines: Arc<Lines>,
    meter: Arc<Meter>,
    vitals: Vitals,
    observer: Option<Observer>,
    /// Instances that wait for another call, where the connection wants that.
    warm: Option<Arc<Warm<Live>>>,
    name: Arc<str>,
    connection: Arc<str>,
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

/// An instance with its operations.
struct Live {
    store: Instance<Call>,
    operations: operations::Guest,
}

/// An instance for one call, and how long it stays where it may.
struct Visit<'a> {
    live: Live,
    stay: Option<Stay<'a, Live>>,
}

impl Visit<'_> {
    /// The call came to its end.
    fn end<T>(self, result: &Result<T>, warm: Option<&Warm<Live>>, changes: u64) {
        let Self { mut live, stay } = self;
        let (Some(stay), Some(warm)) = (stay, warm) else { return };
        let call = live.store.data_mut();
        let why = match result {
            Ok(_) => call.ends_it(warm.memory_bytes()),
            Err(error) if matches!(error.kind(), Kind::LimitExceeded(_)) => Some(Retired::Limit),
            Err(_) => Some(Retired::Error),
        };
        call.end();
        stay.end(live, why, changes);
    }
}

/// An answer, with where it came from and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The output.
    pub output: T,
    /// What to pass to go on; `None` on the last page.
    pub next: Option<Cursor>,
    /// The least live of all answers it was made from.
    pub source: Source,
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
        self.0.outbound.lanes.take_up();
        self.0.meter.watch(&self.0.outbound);
    }

    /// Its outbound path.
    #[cfg(feature = "serve")]
    pub(crate) fn outbound(&self) -> &Arc<Outbound> {
        &self.0.outbound
    }

    /// How its connection is, by what calls have told and without asking the provider.
    pub async fn health(&self) -> Health {
        judge(&self.facts().await, self.0.clock.now())
    }

    /// The same, after the provider was asked, where nobody has seen it for a minute and the plugin says how: one cheap
    /// read, which takes at most 10 s, waits for nobody and leaves the last permit of a budget to calls.
    pub async fn probe(&self) -> Health {
        self.ask().await;
        self.health().await
    }

    async fn ask(&self) {
        let loaded = &*self.0;
        let Some(facts) = loaded.health_facts().await else { return };
        let _single = loaded.vitals.probing.lock().await;
        let began = loaded.clock.now();
        if loaded.outbound.tape.is_some() || !self.is_unseen(PROBE_EVERY_MS) {
            return;
        }
        let deadline = began.plus(PROBE_MS);
        // Inside, the same deadline is known by another name. Whoever notices it first, it is told as the probe's own.
        let asked = tokio::select! {
            biased;
            () = loaded.clock.alarm(deadline) => None,
            asked = loaded.ask(facts, deadline) => Some(asked),
        };
        let asked = asked.filter(|asked| asked.as_ref().err().map(Error::kind) != Some(&Kind::Deadline));
        let asked = asked.unwrap_or_else(|| {
            let message = format!("the provider did not answer a probe within {PROBE_MS} ms");
            Err(Error::new(Kind::Timeout, message).with_request_sent(crate::error::RequestSent::Maybe))
        });
        let now = loaded.clock.now();
        let has_given_way =
            |error: &Error| *error.kind() == Kind::RateLimited && error.request_sent() == crate::error::RequestSent::No;
        if !asked.as_ref().is_err_and(has_given_way) {
            loaded.vitals.pulse.ended(began, now, said(&asked));
        }
        let error = asked.err();
        loaded.vitals.probed(Probe {
            at: now,
            latency_ms: now.since(began),
            error: error.as_ref().map(|error| error.kind().name()),
            message: error.map(|error| short(&error.to_string())),
        });
    }

    /// Whether nobody has seen the provider for so long, nor tried to with a probe.
    pub(crate) fn is_unseen(&self, for_ms: u64) -> bool {
        self.0.vitals.is_due(self.0.clock.now(), for_ms)
    }

    /// What the connection is judged by.
    pub(crate) async fn facts(&self) -> Facts {
        let Loaded { needs, outbound, grant, vitals, clock, .. } = &*self.0;
        let (tokens, unreadable) = match self.token_states().await {
            Ok(tokens) => (tokens, None),
            Err(error) => (Vec::new(), Some(error.message().to_owned())),
        };
        let declared: Vec<&str> =
            outbound.scope.origins.iter().filter_map(|origin| origin.credential.as_deref()).collect();
        // Another credential than the one that goes on requests by itself is for a plugin that has several.
        let is_used = |name: &String| declared.is_empty() || declared.contains(&name.as_str());
        let is_key =
            |credential: &&Arc<Credential>| !credential.is_oauth2() && declared.contains(&credential.name.as_str());
        let key = outbound.credentials.iter().find(is_key).and_then(|credential| credential.secrets.last());
        Facts {
            connection: grant.connection.clone(),
            plugin: needs.manifest.plugin.name.clone(),
            traffic: vitals.pulse.read(clock.now()),
            probe: vitals.probe(),
            probes_with: self.0.health_facts().await.map(|health| health.operation.clone()),
            circuits: self.circuits(),
            budgets: outbound.lanes.all().map(|lane| lane.told()).collect(),
            tokens: tokens.into_iter().filter(|(name, _)| is_used(name)).collect(),
            secrets: self.secrets().states().await,
            key: key.cloned(),
            drifts: self.drift(),
            leaks: self.leaks(),
            unreadable,
            #[cfg(feature = "serve")]
            work: crate::observe::health::Work::default(),
        }
    }

    /// How answers differed from the operations' schemas since the connection was made.
    pub fn drift(&self) -> Drifts {
        self.0.drift.drifts()
    }

    /// Sends so many GETs of `url`, each through the first so many of [`STEPS`](Self::STEPS) and no further. For the benches of
    /// this repository, and for nobody else.
    ///
    /// # Errors
    /// As the path has them.
    #[doc(hidden)]
    pub async fn walk(&self, url: &str, steps: usize, times: usize) -> Result<()> {
        let outbound = &self.0.outbound;
        let context = CallContext { deadline: self.0.deadline(), observer: None, event: None, operation: None };
        for _ in 0..times {
            outbound.walk(&context, crate::outbound::Request::get(url), steps).await?;
        }
        Ok(())
    }

    /// The steps of the outbound path, in their order.
    #[doc(hidden)]
    pub const STEPS: [&str; 10] =
        ["begin", "scope", "cache", "ready", "admit", "address", "sign", "transport", "classify", "keep and decide"];

    /// Adds so many times what a call with one request adds to its numbers. For the benches as well.
    #[doc(hidden)]
    pub fn count(&self, times: usize) {
        (0..times).for_each(|_| self.0.meter.handling().rehearse(&*self.0.clock));
    }

    /// Waits until the answers that are kept and what the audit trail was told are written down, for a program that is
    /// about to end. Without a state folder there is nothing to wait for.
    pub async fn settle(&self) {
        self.0.outbound.book.settle().await;
        if let Some(cache) = &self.0.outbound.cache {
            cache.settle().await;
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
    /// # Errors
    /// [`Kind::UnknownOperation`] and [`Kind::InvalidRequest`] before anything is sent; any kind of the contract after.
    pub async fn call<O: DeserializeOwned>(&self, operation: &str, input: &impl Serialize) -> Result<Answer<O>> {
        let page = self.page(operation, &to_json(input)?, None).await?;
        let output = serde_json::from_str(page.output.get()).map_err(|error| {
            Error::new(Kind::SchemaViolation, format!("the output of {operation} is not what the caller expects"))
                .with_details(error.to_string())
        })?;
        Ok(Answer { output, next: page.next, source: page.source, age_ms: page.age_ms, attempts: page.attempts })
    }

    /// Reads a list lazily: a page is asked for when the items before it are used up. It ends after the first error.
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

    /// A socket of the plugin's manifest, for an embedder that has its own delivery: what comes over it goes to `listener`.
    /// It is opened when it is run.
    ///
    /// # Errors
    /// [`Kind::Configuration`] when the manifest has no such socket, or the policy does not fit it.
    #[cfg(feature = "serve")]
    pub fn socket(&self, name: &str, policy: &SocketPolicy, listener: impl Listener) -> Result<Socket> {
        let listener = Arc::new(listener);
        Socket::new(name, self.socket_facts(name)?, policy, self.0.outbound.clone(), listener)
    }

    #[cfg(feature = "serve")]
    fn socket_facts(&self, name: &str) -> Result<&SocketFacts> {
        let sockets = &self.0.needs.manifest.sockets;
        sockets.get(name).ok_or_else(|| {
            let names: Vec<&str> = sockets.keys().map(String::as_str).collect();
            let message = format!("{} has no socket `{}`", self.0.name, shown(name));
            Error::configuration(message).with_details(suggestion(name, &names))
        })
    }

    /// Hands one event to the plugin, for an embedder that has its own delivery. Handling it again with the same id
    /// repeats no keyed write.
    ///
    /// # Errors
    /// Any kind of the contract; the plugin's own where it has no such trigger.
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
    /// One page of an operation, within its deadline.
    async fn page(
        &self,
        operation: &Operation,
        input: &str,
        cursor: Option<Cursor>,
        files: &Files,
    ) -> Result<Answer<Box<RawValue>>> {
        self.grant.check_operation(&operation.name)?;
        let input = self.input(operation, input)?;
        let wanted = What::Operation(&operation.name);
        self.check_scopes(&wanted, self.needs.manifest.scopes_of_operation(&operation.name)).await?;
        let cursor = cursor.map(|cursor| self.open(operation, &cursor)).transpose()?;
        let deadline = self.deadline();
        let result = {
            let run = pin!(self.run(operation, &input, cursor.as_ref(), files, deadline));
            tokio::select! {
                biased;
                answer = run => answer,
                () = self.clock.alarm(deadline) => Err(match operation.effect {
                    Effect::Read => self.late(&operation.name),
                    _ => self.late(&operation.name).with_request_sent(crate::error::RequestSent::Maybe),
                }),
            }
        };
        if let Some(tape) = &self.outbound.tape {
            let result = result.as_ref().map(|answer| (&*answer.output, answer.next.is_some()));
            let is_continued = cursor.is_some();
            let ended =
                Ended { operation: &operation.name, is_list: operation.is_list, input: &input, is_continued, result };
            tape.ended(&self.outbound, &ended);
        }
        result
    }

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
    async fn check_scopes(&self, what: &What<'_>, needed: Option<Needed<'_>>) -> Result<()> {
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

    /// The input with the connection's defaults, checked against the operation's schema. Values go on as they were
    /// written, so that no number passes a float.
    fn input(&self, operation: &Operation, input: &str) -> Result<String> {
        let is_none = |error| Error::invalid("", format!("the input is no JSON object: {error}"));
        let written = if input.trim().is_empty() { "{}" } else { input };
        let given: Map<String, Value> = serde_json::from_str(written).map_err(is_none)?;
        let mut value = Value::Object(given);
        let mut text = Cow::Borrowed(written);
        let known = |name: &String| operation.input_schema.pointer("/properties").and_then(|known| known.get(name));
        let is_missing = |(name, _): &(&String, &Value)| known(name).is_some() && value.get(name.as_str()).is_none();
        let missing: Vec<_> = self.grant.defaults.iter().filter(is_missing).collect();
        if !missing.is_empty() {
            let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(written).map_err(is_none)?;
            for (name, default) in missing {
                let raw = RawValue::from_string(default.to_string());
                fields.insert(name.clone(), raw.map_err(|error| Error::internal(error.to_string()))?);
                value[name] = default.clone();
            }
            text = to_json(&fields)?.into();
        }
        let index = self.index(operation);
        match self.schemas[index].get_or_init(|| operation.read_input_schema()) {
            Ok(schema) => schema.check_input(&value).map_err(|error| error.context(&operation.name))?,
            Err(error) => return Err(error.clone()),
        }
        self.drift.ready(index, operation)?;
        Ok(text.into_owned())
    }

    /// Which of the operations it is.
    fn index(&self, operation: &Operation) -> usize {
        self.needs.operations.iter().position(|other| other.name == operation.name).unwrap_or(0)
    }

    /// Holds the output against its schema, as far as the connection wants that.
    fn look(&self, operation: &Operation, output: &str, attempts: u32) -> Result<()> {
        let tell = |drift: &Drift| {
            let (operation, path, kind) = (&drift.operation, &drift.path, drift.kind.name());
            tracing::warn!(
                target: "wharfage::drift", plugin = &*self.name, connection = &*self.connection, operation, path, kind,
                "an answer differs from its schema"
            );
            if let Some(observer) = &self.observer {
                observer(&Step::Drifted { operation: operation.clone(), path: path.clone(), kind, count: drift.count });
            }
        };
        let now = self.clock.now();
        let looked = self.drift.look(self.index(operation), operation, output, now, tell);
        looked.map_err(|error| {
            let sent = if attempts > 0 { crate::error::RequestSent::Yes } else { crate::error::RequestSent::No };
            // In the error only: whoever called may see it, and no log.
            error.with_attempts(attempts).with_request_sent(sent).with_body(Some(self.beginning(output)))
        })
    }

    /// The masked start of an output. More than the start is masked, so that no secret is cut in two and passes.
    fn beginning(&self, output: &str) -> String {
        const BYTES_MAX: usize = 500;
        const MASKED_BYTES_MAX: usize = 16 << 10;
        let masked = self.outbound.mask().text(&output[..output.floor_char_boundary(MASKED_BYTES_MAX)]).into_owned();
        masked[..masked.floor_char_boundary(BYTES_MAX)].to_owned()
    }

    async fn run(
        &self,
        operation: &Operation,
        input: &String,
        cursor: Option<&String>,
        files: &Files,
        deadline: crate::time::Timestamp,
    ) -> Result<Answer<Box<RawValue>>> {
        let _place = self.place().await?;
        self.run_as(&operation.name, operation, input, cursor, files, deadline).await
    }

    /// A place among the calls that run side by side. So many wait for one, and no more.
    async fn place(&self) -> Result<SemaphorePermit<'_>> {
        if let Ok(place) = self.calls.try_acquire() {
            return Ok(place);
        }
        let Limits { calls, calls_waiting, .. } = self.grant.limits;
        let Some(_waiting) = self.waiting.take() else {
            let name = &self.name;
            let message = format!(
                "{name} is busy: {calls} calls run on the connection, and as many wait as the limit calls_waiting of \
                 {calls_waiting} allows"
            );
            return Err(Error::busy("calls_waiting", message)
                .with_details("Call again when others have ended")
                .with_details("To allow more, set limits.calls or limits.calls_waiting on the connection"));
        };
        self.calls.acquire().await.map_err(|_| Error::internal("the plugin is being unloaded"))
    }

    /// How the provider is asked how it is. Where the connection may not call that, or no consent gave a scope for it, it
    /// would be refused however well the provider is: only calls tell then.
    async fn health_facts(&self) -> Option<&HealthFacts> {
        let facts = self.needs.manifest.health.as_ref()?;
        self.grant.check_operation(&facts.operation).ok()?;
        let needed = self.needs.manifest.scopes_of_operation(&facts.operation);
        match self.check_scopes(&What::Operation(&facts.operation), needed).await {
            Err(error) if *error.kind() == Kind::ReauthorizationNeeded => None,
            _ => Some(facts),
        }
    }

    /// Asks what the manifest asks to see how the provider is. It waits for no place.
    async fn ask(&self, facts: &HealthFacts, deadline: crate::time::Timestamp) -> Result<Answer<Box<RawValue>>> {
        let operation = self.needs.operation(&facts.operation)?;
        let input = facts.input_json().map_err(|why| Error::configuration(format!("[health] {why}")))?;
        let input = self.input(operation, &input.to_string())?;
        let busy = || Error::new(Kind::RateLimited, "the probe gives way: as many calls run as may");
        let _place = self.calls.try_acquire().map_err(|_| busy())?;
        self.run_as(PROBE, operation, &input, None, &Files::default(), deadline).await
    }

    /// `name` is what the call is known as on its way.
    async fn run_as(
        &self,
        name: &str,
        operation: &Operation,
        input: &String,
        cursor: Option<&String>,
        files: &Files,
        deadline: crate::time::Timestamp,
    ) -> Result<Answer<Box<RawValue>>> {
        let running = Running::metered(name, self.meter.operation(self.index(operation)));
        // A probe sees what a first call would see.
        let warm = self.warm.as_deref().filter(|_| name != PROBE);
        let mut visit = self.visit(warm, deadline, running).await?;
        visit.live.store.data_mut().spent.files = files.clone();
        let result = self.run_in(&mut visit.live, operation, input, cursor).await;
        visit.end(&result, warm, self.outbound.credential_changes());
        result
    }

    /// An instance for a call of an operation: one that waits, or a fresh one, which may stay.
    async fn visit<'a>(
        &'a self,
        warm: Option<&'a Warm<Live>>,
        deadline: crate::time::Timestamp,
        running: Running,
    ) -> Result<Visit<'a>> {
        let changes = self.outbound.credential_changes();
        if let Some((mut live, stay)) = warm.and_then(|warm| warm.take(changes)) {
            live.store.data_mut().begin(self.call_context(deadline, None, running));
            live.store.set_epoch_deadline(1);
            return Ok(Visit { live, stay: Some(stay) });
        }
        let (store, operations) =
            self.fresh(deadline, None, running, |store, entered| self.operations.load(store, entered)).await?;
        Ok(Visit { live: Live { store, operations }, stay: warm.map(|warm| warm.begin(changes)) })
    }

    async fn run_in(
        &self,
        live: &mut Live,
        operation: &Operation,
        input: &String,
        cursor: Option<&String>,
    ) -> Result<Answer<Box<RawValue>>> {
        let limits = &self.grant.limits;
        let Live { store: instance, operations } = live;
        let errands = instance.data().errands.clone();
        let called = operations.call_call(&mut *instance, &operation.name, input, cursor.map(String::as_str));
        let called = errands.attend(pin!(called)).await;
        let page = self.leave(instance, called)?;
        if page.output.len() as u64 > limits.output_bytes {
            return Err(Error::limit(
                "output_bytes",
                format!("the output is longer than the limit output_bytes of {}", limits.output_bytes),
            )
            .with_more("output_bytes"));
        }
        let output = RawValue::from_string(page.output)
            .map_err(|_| Error::internal(format!("{} answered something that is no JSON", self.name)))?;
        if operation.is_list && !output.get().trim_start().starts_with('[') {
            return Err(Error::internal(format!("{} lists and answered no array", operation.name)));
        }
        self.look(operation, output.get(), instance.data().spent.attempts)?;
        let next = page.next.map(|next| self.seal(operation, &next)).transpose()?;
        let Spent { source, age_ms, attempts, .. } = instance.data().spent;
        Ok(Answer { output, next, source, age_ms, attempts })
    }

    /// A fresh instance, and what is wanted of it. Those that wait for another call give way to it.
    async fn fresh<E>(
        &self,
        deadline: crate::time::Timestamp,
        event: Option<Arc<str>>,
        running: Running,
        find: impl Fn(&mut Instance<Call>, &Entered) -> wasmtime::Result<E>,
    ) -> Result<(Instance<Call>, E)> {
        loop {
            let mut store = self.instance(&self.grant.limits, deadline, event.clone(), running.clone())?;
            let errands = store.data().errands.clone();
            let entered = errands.attend(pin!(self.pre.instantiate_async(&mut store))).await;
            match entered.and_then(|entered| find(&mut store, &entered)) {
                Ok(found) => return Ok((store, found)),
                Err(error) if is_pool_full(&error) && self.engine.warm_room().make_way() => {}
                Err(error) => return Err(self.trapped(&mut store, &error)),
            }
        }
    }

    /// What came of an export: its answer, the plugin's own error with what the host knows about it, or a trap.
    fn leave<T>(
        &self,
        instance: &mut Instance<Call>,
        called: wasmtime::Result<std::result::Result<T, crate::bindings::wharfage::plugin::types::Error>>,
    ) -> Result<T> {
        match called {
            Ok(Ok(answer)) => {
                self.tell_output(instance);
                Ok(answer)
            }
            Ok(Err(error)) => {
                let spent = &mut instance.data_mut().spent;
                let error = Error::from(error);
                // What the plugin itself finds to be an error was no good answer, whatever its status said.
                if let Some(cache) = self.outbound.cache.as_ref().filter(|_| !spent.has_given(&error)) {
                    cache.take_back(std::mem::take(&mut spent.marks));
                }
                let attempts = spent.attempts.max(error.attempts());
                let error = spent.detailed(error).with_attempts(attempts);
                // It may have failed for want of memory and found words of its own for it.
                Err(match instance.data().memory.refused {
                    Some(limit) => {
                        error.with_details(format!("Meanwhile it reached the limit {limit}")).with_more(limit)
                    }
                    None => error,
                })
            }
            Err(error) => Err(self.trapped(instance, &error)),
        }
    }

    async fn handle(&self, event: Event, deadline: crate::time::Timestamp) -> Result<Outcome> {
        let _place = self.place().await?;
        if let Trigger::Poll(poll) = &event.trigger {
            self.check_scopes(&What::Poll(&poll.name), self.needs.manifest.scopes_of_poll(&poll.name)).await?;
        }
        let running = Running::metered(EVENT, self.meter.handling());
        // Always a fresh one: a run repeated after a kill must send the same requests under the same numbers, or a write
        // would get another key (R8), and what other calls left in memory may change them.
        let event_id = Some(event.id.as_str().into());
        let (mut instance, events) =
            self.fresh(deadline, event_id, running, |store, entered| self.events.load(store, entered)).await?;
        let began = self.clock.now();
        let (errands, event) = (instance.data().errands.clone(), event.into());
        let called = errands.attend(pin!(events.call_handle(&mut instance, &event))).await;
        let handled = self.leave(&mut instance, called)?;
        let Spent { source, attempts, .. } = instance.data().spent;
        self.vitals.pulse.ended(began, self.clock.now(), Sign::of_answer(source, attempts));
        let outcome = Outcome::read(&self.name, handled)?;
        outcome.check(&self.name, &self.grant.limits)?;
        Ok(outcome)
    }

    fn call_context(&self, deadline: crate::time::Timestamp, event: Option<Arc<str>>, running: Running) -> CallContext {
        CallContext { deadline, observer: self.observer.clone(), event, operation: Some(running) }
    }

    /// A store for one instance, with every limit set.
    fn instance(
        &self,
        limits: &Limits,
        deadline: crate::time::Timestamp,
        event: Option<Arc<str>>,
        running: Running,
    ) -> Result<Instance<Call>> {
        let alive = self.engine.admit(&self.name)?;
        let output = wasi::Output::new(limits);
        let guest_clock = self.outbound.guest_clock();
        let seed = self.outbound.tape.is_some().then(|| guest_clock.now().as_millis());
        let call = Call {
            plugin: self.name.clone(),
            connection: self.connection.clone(),
            limits: *limits,
            outbound: self.outbound.clone(),
            context: self.call_context(deadline, event, running),
            secrets: self.outbound.secrets.clone(),
            facts: self.facts.clone(),
            store: self.store.clone(),
            lines: self.lines.clone(),
            spent: Spent::default(),
            memory: Memory::new(limits),
            clock: self.clock.clone(),
            wasi: wasi::context(&output, &guest_clock, seed, limits),
            output,
            table: ResourceTable::new(),
            errands: Errands::default(),
            _alive: alive,
        };
        if let Some(meter) = call.context.meter() {
            meter.entered();
        }
        Ok(bounded(&self.engine, call))
    }

    /// What a guest printed, into the log.
    fn tell_output(&self, instance: &Instance<Call>) {
        let text = instance.data().output.text();
        if !text.is_empty() {
            let text = self.outbound.mask().text(&text).into_owned();
            tracing::debug!(target: "wharfage::plugin", plugin = &*self.name, connection = &*self.connection, output = ?shown_lines(&text), "printed");
        }
    }

    /// What a trap means. The instance is lost; nothing else is.
    fn trapped(&self, instance: &mut Instance<Call>, error: &wasmtime::Error) -> Error {
        let printed = self.outbound.mask().text(&instance.data().output.text()).into_owned();
        let Call { limits, memory, .. } = instance.data();
        let sent = if instance.data().spent.attempts > 0 {
            crate::error::RequestSent::Maybe
        } else {
            crate::error::RequestSent::No
        };
        stopped(&self.engine, &self.name, limits, memory.refused, error, &printed)
            .with_attempts(instance.data().spent.attempts)
            .with_request_sent(sent)
    }

    fn context<'a>(&'a self, operation: &'a Operation, contract: &'a str) -> [&'a str; 4] {
        ["cursor", &self.connection, &operation.name, contract]
    }

    fn seal(&self, operation: &Operation, cursor: &str) -> Result<Cursor> {
        let most = self.grant.limits.cursor_bytes;
        if cursor.len() as u64 > most {
            return Err(Error::limit(
                "cursor_bytes",
                format!("the cursor is longer than the limit cursor_bytes of {most}"),
            )
            .with_more("cursor_bytes"));
        }
        let sealed = self.seal.seal(&self.context(operation, &CONTRACT.to_string()), cursor.as_bytes())?;
        Ok(Cursor(URL_SAFE_NO_PAD.encode(sealed)))
    }

    fn open(&self, operation: &Operation, cursor: &Cursor) -> Result<String> {
        URL_SAFE_NO_PAD
            .decode(&cursor.0)
            .ok()
            .and_then(|sealed| self.seal.open(&self.context(operation, &CONTRACT.to_string()), &sealed))
            .and_then(|plain| String::from_utf8(plain).ok())
            .ok_or_else(|| {
                Error::new(
                    Kind::CursorInvalid,
                    format!("the cursor is not one that {} gave on this connection", operation.name),
                )
                .with_details("Start again without a cursor")
            })
    }
}

/// What a call says of its connection.
fn said<T>(result: &Result<Answer<T>>) -> Option<Sign> {
    match result {
        Ok(answer) => Sign::of_answer(answer.source, answer.attempts),
        Err(error) => Sign::of(error),
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

/// A store with all limits of its call set.
fn bounded(engine: &Engine, mut call: Call) -> Instance<Call> {
    let limits = call.limits;
    let resources = usize::try_from(limits.resources).unwrap_or(usize::MAX);
    call.table.set_max_capacity(resources);
    let mut instance = Instance::new(engine.raw(), call);
    instance.limiter(|call| &mut call.memory);
    instance.set_max_component_handles(resources);
    instance.set_hostcall_fuel(usize::try_from(limits.hostcall_bytes).unwrap_or(usize::MAX));
    let ticks_max = (limits.compute_ms / TICK_MS).max(1);
    instance.set_epoch_deadline(1);
    instance.epoch_deadline_callback(move |mut context| {
        let spent = &mut context.data_mut().spent;
        spent.ticks += 1;
        if spent.ticks > ticks_max {
            return Ok(UpdateDeadline::Interrupt);
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    instance
}

/// What a component is linked to.
pub(crate) type Linked = Linker<Call>;

/// What every component gets: what standard libraries need.
///
/// # Errors
/// [`Kind::Internal`] where it contradicts itself.
pub(crate) fn linker(engine: &Engine) -> Result<Linked> {
    let mut linker = Linker::new(engine.raw());
    wasi::link(&mut linker).map_err(|error| Error::internal(format!("WASI: {error}")))?;
    link_types(&mut linker).map_err(|error| Error::internal(format!("types: {error}")))?;
    Ok(linker)
}

fn link_types(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    use wasmtime::component::HasSelf;
    crate::bindings::wharfage::plugin::types::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
}

fn is_ours(import: &str) -> bool {
    import.starts_with("wharfage:plugin/")
}

fn is_types(import: &str) -> bool {
    import.starts_with("wharfage:plugin/types@")
}

/// What other languages' runtimes import of WASI without using it becomes a trap, and whatever else is not linked.
///
/// wasmtime's own `define_unknown_imports_as_traps` goes by exact names: for a component that was made for another 0.2
/// than the linked one it would put a trap in front of every interface, and printing a line would end the call.
fn trap_the_rest(
    engine: &Engine,
    linker: &mut Linker<Call>,
    component: &Component,
    is_linked: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut trap = |interface: &str, instance: &ComponentInstance| -> wasmtime::Result<()> {
        let mut linker = linker.instance(interface)?;
        for (name, item) in instance.exports(engine.raw()) {
            match item.ty {
                // Libraries look for folders before they print. There are none.
                ComponentItem::ComponentFunc(_)
                    if name == "get-directories" && interface.starts_with("wasi:filesystem/preopens@0.2.") =>
                {
                    linker.func_new(name, |_, _, _, results| {
                        results[0] = wasmtime::component::Val::List(Vec::new());
                        Ok(())
                    })?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let full_name = format!("{interface}#{name}");
                    linker.func_new(name, move |_, _, _, _| {
                        Err(wasmtime::Error::msg(format!("{full_name} is not there for a plugin")))
                    })?;
                }
                ComponentItem::Resource(_) => linker.resource(name, wasi::resource(name), |_, _| Ok(()))?,
                _ => {}
            }
        }
        Ok(())
    };
    for (name, item) in component.component_type().imports(engine.raw()) {
        if let ComponentItem::ComponentInstance(instance) = &item.ty
            && !is_linked(name)
        {
            if !name.starts_with("wasi:") && !is_ours(name) {
                let name = shown(name);
                return Err(Error::component(format!("the component imports `{name}`, which no host of plugins has"))
                    .with_details(
                        "A plugin imports interfaces of wharfage:plugin, and what its standard library needs of WASI",
                    ));
            }
            trap(name, instance).map_err(|error| {
                Error::component("an import of the component cannot be linked")
                    .with_details(shown_lines(&format!("{error:#}")))
            })?;
        }
    }
    Ok(())
}

/// Whether a component describes the operations that it carries. Its schemas it may leave to what it carries, as `{}`:
/// then the code that makes them is not in it.
pub(crate) fn says_the_same(described: &[Operation], carried: &[Operation]) -> bool {
    let is_left = |schema: &serde_json::Value| schema.as_object().is_some_and(serde_json::Map::is_empty);
    let leaves_them = described.iter().all(|one| is_left(&one.input_schema) && is_left(&one.output_schema));
    let same = |(one, other): (&Operation, &Operation)| {
        let named = (&one.name, &one.description, one.effect, one.is_list)
            == (&other.name, &other.description, other.effect, other.is_list);
        named && (leaves_them || (&one.input_schema, &one.output_schema) == (&other.input_schema, &other.output_schema))
    };
    described.len() == carried.len() && described.iter().zip(carried).all(same)
}

/// Milliseconds that a component has to describe itself, and those of computing among them.
pub(crate) const DESCRIBE_MS: u64 = 5_000;
pub(crate) const DESCRIBE_COMPUTE_MS: u64 = 2_000;

/// Asks a component what it can do, with every import a trap that is not in the linker. Its time is the same for all; the
/// other limits are the connection's, where there is one.
///
/// # Errors
/// [`Kind::LimitExceeded`] for a limit that can be set on the connection; [`Kind::Component`] when it does not answer, or
/// answers nonsense.
pub(crate) async fn describe(
    engine: &Engine,
    mut linker: Linked,
    component: &Component,
    clock: &Arc<dyn Clock>,
    granted: Option<&Limits>,
) -> Result<Vec<Operation>> {
    let limits =
        Limits { call_ms: DESCRIBE_MS, compute_ms: DESCRIBE_COMPUTE_MS, ..granted.copied().unwrap_or_default() };
    trap_the_rest(engine, &mut linker, component, |name| is_types(name) || wasi::is_linked(name))?;
    let pre = linker.instantiate_pre(component).and_then(PluginPre::new).map_err(|error| {
        Error::component("the component does not fit the contract").with_details(shown_lines(&format!("{error:#}")))
    })?;
    let alive = engine.admit("the component")?;
    let output = wasi::Output::new(&limits);
    let secrets = Arc::new(Secrets::new("", "describe", Default::default()));
    let call = Call {
        plugin: "".into(),
        connection: "describe".into(),
        limits,
        outbound: Arc::new(Outbound::nowhere(secrets.clone(), clock.clone())),
        context: CallContext {
            deadline: clock.now().plus(limits.call_ms),
            observer: None,
            event: None,
            operation: None,
        },
        secrets,
        facts: Arc::default(),
        store: Arc::new(MemoryStore::default()),
        clock: clock.clone(),
        lines: Arc::default(),
        spent: Spent::default(),
        memory: Memory::new(&limits),
        wasi: wasi::context(&output, clock, None, &limits),
        output: output.clone(),
        table: ResourceTable::new(),
        errands: Errands::default(),
        _alive: alive,
    };
    let mut instance = bounded(engine, call);
    let described = async {
        let exports: Exports = pre.instantiate_async(&mut instance).await?;
        exports.wharfage_plugin_operations().call_describe(&mut instance).await
    };
    let described = tokio::select! {
        biased;
        described = described => described,
        () = clock.alarm(clock.now().plus(limits.call_ms)) => {
            return Err(Error::component(format!(
                "the component's `describe` does not come to an end within the limit describe_ms of {DESCRIBE_MS}"
            )));
        }
    };
    let described = match described {
        Ok(described) => described,
        Err(error) => {
            let Call { limits, memory, .. } = instance.data();
            let stopped = stopped(engine, "the component", limits, memory.refused, &error, &output.text());
            let stopped = stopped.context("`describe` fails");
            return Err(match stopped.kind() {
                Kind::Busy(_) => stopped,
                Kind::LimitExceeded(limit) if limit == "compute_ms" => Error::component(format!(
                    "`describe` does not come to an end within the limit describe_compute_ms of {DESCRIBE_COMPUTE_MS}"
                )),
                Kind::LimitExceeded(_) if granted.is_some() => stopped,
                // There is no connection yet on which it could be set.
                Kind::LimitExceeded(_) => Error::component(stopped.message()),
                _ => Error::component(stopped.message()).with_details(stopped.details().unwrap_or_default()),
            });
        }
    };
    check_size(&described)?;
    let operations = described.into_iter().map(operation).collect::<Result<Vec<_>>>()?;
    check_operations(&operations)?;
    Ok(operations)
}

/// Refuses more operations, and more bytes of their texts, than a component may carry: a schema is many times larger when
/// it is read.
fn check_size(said: &[operations::Operation]) -> Result<()> {
    let bytes = said
        .iter()
        .map(|one| one.name.len() + one.description.len() + one.input_schema.len() + one.output_schema.len());
    check_operations_size(said.len(), bytes.sum())
}

fn operation(said: operations::Operation) -> Result<Operation> {
    use operations::Effect as Said;
    let schema = |text: &str| {
        serde_json::from_str(text)
            .map_err(|_| Error::component(format!("a schema of the operation `{}` is no JSON", shown(&said.name))))
    };
    Ok(Operation {
        input_schema: schema(&said.input_schema)?,
        output_schema: schema(&said.output_schema)?,
        effect: match said.effect {
            Said::Read => Effect::Read,
            Said::Idempotent => Effect::Idempotent,
            Said::Write => Effect::Write,
        },
        is_list: said.is_list,
        name: said.name,
        description: said.description,
    })
}

/// What wasmtime says of limits that it has no type for, and their names.
const SAID: [(&str, &str); 7] = [
    ("fuel allocated for hostcalls has been exhausted", "hostcall_bytes"),
    ("store handle limit exceeded", "resources"),
    ("instance count too high", "instances"),
    ("memory count too high", "memories"),
    ("table count too high", "tables"),
    ("requested len", "random_bytes"),
    (capability::TOO_MANY_AT_ONCE, "requests"),
];

/// Whether the pool has no memory, table or stack left.
fn is_pool_full(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::PoolConcurrencyLimitError>()
}

/// How Linux says that a process has as many mappings as it may have.
const NO_MAPPINGS: &str = "Cannot allocate memory (os error 12)";

/// Which limit ended a call, if one did. `refused` is what it wanted to grow beyond, at any time.
fn limit_of(error: &wasmtime::Error, refused: Option<&'static str>) -> Option<&'static str> {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => return Some("compute_ms"),
        Some(Trap::StackOverflow) => return Some("stack_bytes"),
        _ => {}
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        return Some("resources");
    }
    let text = format!("{error:#}");
    SAID.iter().find(|(said, _)| text.contains(said)).map(|(_, limit)| *limit).or(refused)
}

/// What a trap means, in the words of the limit that was reached.
fn stopped(
    engine: &Engine,
    name: &str,
    limits: &Limits,
    refused: Option<&'static str>,
    error: &wasmtime::Error,
    printed: &str,
) -> Error {
    if is_pool_full(error) {
        return engine.busy(name);
    }
    if format!("{error:#}").contains(NO_MAPPINGS) {
        return Error::busy(
            "mappings",
            format!("{name} is busy: the system has no memory mapping left for an instance"),
        )
        .with_details(
            "Call again when others have ended. An instance takes six; to allow more, raise vm.max_map_count",
        );
    }
    let reached = |limit: &str, value: u64| {
        Error::limit(limit, format!("{name} reached the limit {limit} of {value}; its instance was dropped"))
    };
    match limit_of(error, refused) {
        Some(limit @ "stack_bytes") => reached(limit, engine.limits().stack_bytes)
            .with_details("It calls itself too deeply")
            .with_details("To allow more, set limits.stack_bytes in [engine] of wharfage.toml"),
        Some(limit) => {
            let value = limits.all().iter().find(|known| known.name == limit).map_or(0, |known| known.value);
            reached(limit, value).with_more(limit)
        }
        None => {
            let text = format!("{error:#}");
            let cause = shown_lines(if printed.is_empty() { &text } else { printed });
            Error::internal(format!("{name} failed; its instance was dropped")).with_details(cause)
        }
    }
}

fn to_json(input: &impl Serialize) -> Result<String> {
    serde_json::to_string(input).map_err(|error| Error::invalid("", format!("the input is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi::p2::bindings::random::random::Host as _;

    use super::*;
    use crate::time::ManualClock;

    /// There is no type for it: should the words change, this says so.
    #[test]
    fn too_much_randomness_at_once_is_told_by_the_name_of_its_limit() {
        let limits = Limits { random_bytes: 100, ..Limits::default() };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(crate::time::Timestamp::from_millis(5), 1));
        let mut context = wasi::context(&wasi::Output::new(&limits), &clock, None, &limits);
        assert_eq!(context.random().get_random_bytes(100).unwrap().len(), 100);
        let error = context.random().get_random_bytes(101).unwrap_err();
        assert_eq!(limit_of(&error, None), Some("random_bytes"));
        let engine = Engine::new(crate::engine::EngineLimits::default()).unwrap();
        let error = stopped(&engine, "shop", &limits, None, &error, "");
        assert_eq!(*error.kind(), Kind::LimitExceeded("random_bytes".into()));
        assert!(error.message().contains("limit random_bytes of 100"), "{error}");
    }

    /// What a component says of itself may come to many megabytes, and is measured before any of it is read as JSON.
    #[test]
    fn what_is_described_at_too_great_length_is_refused_before_it_is_read() {
        let said = |schema: String| operations::Operation {
            name: "orders.list".to_owned(),
            description: String::new(),
            input_schema: schema,
            output_schema: "{}".to_owned(),
            effect: operations::Effect::Read,
            is_list: false,
        };
        check_size(&[said(" ".repeat(1 << 19)), said("{}".to_owned())]).unwrap();
        let long = check_size(&[said(" ".repeat(1 << 19)), said(" ".repeat(1 << 19))]).unwrap_err();
        assert!(long.message().contains("operations_bytes_max"), "{long}");
        let many: Vec<_> = (0..501).map(|_| said("{}".to_owned())).collect();
        check_size(&many[1..]).unwrap();
        let many = check_size(&many).unwrap_err();
        assert!(many.message().contains("501 operations") && many.message().contains("operations_max"), "{many}");
    }

    #[test]
    fn an_instance_that_the_system_has_no_mappings_for_is_refused_as_busy() {
        let engine = Engine::new(crate::engine::EngineLimits::default()).unwrap();
        let error = wasmtime::Error::from(std::io::Error::from_raw_os_error(12)).context("no memory");
        let error = stopped(&engine, "shop", &Limits::default(), None, &error, "");
        assert_eq!(*error.kind(), Kind::Busy("mappings".into()));
        assert!(error.details().unwrap().contains("raise vm.max_map_count"), "{error:?}");
    }

    /// What grew too large before says nothing about a call that ends for another limit, and explains any other end.
    #[test]
    fn the_limit_that_ended_a_call_is_named_before_one_that_was_met_on_the_way() {
        for (error, named) in [
            (wasmtime::Error::from(Trap::Interrupt), "compute_ms"),
            (Trap::StackOverflow.into(), "stack_bytes"),
            (ResourceTableError::Full.into(), "resources"),
            (Trap::UnreachableCodeReached.into(), "memory_bytes"),
        ] {
            assert_eq!(limit_of(&error, Some("memory_bytes")), Some(named));
        }
        assert_eq!(limit_of(&Trap::UnreachableCodeReached.into(), None), None);
    }
}
