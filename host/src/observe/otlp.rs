//! Spans to a receiver of OpenTelemetry's protocol, OTLP 1.x over HTTP with protocol buffers
//! (<https://opentelemetry.io/docs/specs/otlp/>, read 2026-11-29).
//!
//! [`Spans`] is a layer that keeps the host's own spans when they close, and no others; [`Exporting`] sends what was kept
//! by the path that every request takes, in a scope that holds one URL. So there is no second HTTP client, and no proxy,
//! redirect or variable of the environment that the path does not know. The messages are a dozen fields, written here.
//!
//! Every text is redacted before it leaves. Nothing waits for a receiver: what it does not take in time is dropped and
//! counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::instrument::WithSubscriber as _;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::lines::Fields;
use super::policy::ObservePolicy;
use super::redact::{is_secret_name, redact};
use crate::account::SecretSource;
use crate::auth::Credential;
use crate::connection::Limits;
use crate::error::{Error, Kind, Result};
use crate::manifest::Purpose;
use crate::outbound::address::Resolver;
use crate::outbound::mask::MASKED;
use crate::outbound::scope::{OriginScope, PathPattern, Scope};
use crate::outbound::transport::Transport;
use crate::outbound::{CallContext, Method, Outbound, Repeat, Request};
use crate::random;
use crate::time::{Clock, SystemClock};
use crate::vault::{Granted, Means, Secrets};

/// Spans that are kept until they are sent; further ones are dropped and counted.
const KEPT_MAX: usize = 4_096;

/// Spans of one message.
const BATCH: usize = 512;

/// Milliseconds that a span is kept at most before it is sent.
const KEPT_MS: u64 = 5_000;

/// Milliseconds for sending one message, waits and further attempts included.
const SEND_MS: u64 = 30_000;

/// Most bytes of one text.
const TEXT_BYTES_MAX: usize = 1_024;

/// Keeps the host's spans until they are sent. Clones keep the same ones.
///
/// ```no_run
/// # fn example(host: &wharfage::Host, config: &wharfage::Config) -> wharfage::Result<()> {
/// use tracing_subscriber::prelude::*;
///
/// let spans = wharfage::Spans::new();
/// let _ = tracing_subscriber::registry().with(spans.layer()).try_init();
/// let exporting = host.export(&config.observe, &spans)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Spans(Arc<Kept>);

struct Kept {
    /// Whether somebody sends them. Otherwise none is made.
    is_sent: AtomicBool,
    closed: Mutex<VecDeque<Closed>>,
    dropped: AtomicU64,
    is_enough: Notify,
    clock: Arc<dyn Clock>,
}

/// A span that is open.
struct Open {
    trace_id: u128,
    span_id: u64,
    parent_id: Option<u64>,
    name: &'static str,
    began_ms: u64,
    fields: Fields,
}

struct Closed {
    open: Open,
    ended_ms: u64,
}

impl Default for Spans {
    fn default() -> Self {
        Self::new()
    }
}

impl Spans {
    /// None yet, and none is kept until they are sent.
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock::new()))
    }

    /// The same, with the time from here.
    pub fn timed(clock: impl Clock) -> Self {
        Self::with(Arc::new(clock))
    }

    fn with(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Kept {
            is_sent: AtomicBool::new(false),
            closed: Mutex::default(),
            dropped: AtomicU64::new(0),
            is_enough: Notify::new(),
            clock,
        }))
    }

    /// What keeps them, for a subscriber. It has a filter of its own: what other layers want to see is theirs to say.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        Keeping(self.0.clone()).with_filter(WhileSent(self.0.clone()))
    }

    /// How many were dropped because the receiver did not take them in time.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Kept {
    fn closed(&self) -> MutexGuard<'_, VecDeque<Closed>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_some(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn batch(&self) -> Vec<Closed> {
        let mut closed = self.closed();
        let count = closed.len().min(BATCH);
        closed.drain(..count).collect()
    }
}

/// The host's own spans, while they are sent.
struct WhileSent(Arc<Kept>);

impl WhileSent {
    fn is_ours(about: &Metadata<'_>) -> bool {
        about.is_span() && (about.target() == OURS || about.target().starts_with(BELOW_OURS))
    }
}

const OURS: &str = "wharfage";
const BELOW_OURS: &str = "wharfage::";

impl<S> Filter<S> for WhileSent {
    fn enabled(&self, about: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        Self::is_ours(about) && self.0.is_sent.load(Ordering::Relaxed)
    }

    fn callsite_enabled(&self, about: &'static Metadata<'static>) -> Interest {
        if Self::is_ours(about) { Interest::sometimes() } else { Interest::never() }
    }

    /// No span of the host's is finer.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}

struct Keeping(Arc<Kept>);

impl<S> Layer<S> for Keeping
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Open>().map(|open| (open.trace_id, open.span_id))
        });
        let trace_id = take(&mut fields, "trace_id").and_then(|id| u128::from_str_radix(&id, 16).ok());
        let span_id = take(&mut fields, "span_id").and_then(|id| u64::from_str_radix(&id, 16).ok());
        let parent_id = take(&mut fields, "parent_id").and_then(|id| u64::from_str_radix(&id, 16).ok());
        let Some(trace_id) = trace_id.or(above.map(|(trace_id, _)| trace_id)) else { return };
        let above = above.filter(|(above, _)| *above == trace_id).map(|(_, span_id)| span_id);
        span.extensions_mut().replace(Open {
            trace_id,
            span_id: span_id.unwrap_or_else(random::unlike),
            parent_id: above.or(parent_id),
            name: span.name(),
            began_ms: self.0.clock.now().as_millis(),
            fields,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(open) = context.span(&id).and_then(|span| span.extensions_mut().remove::<Open>()) else { return };
        let ended_ms = self.0.clock.now().as_millis();
        let count = {
            let mut closed = self.0.closed();
            if closed.len() < KEPT_MAX {
                closed.push_back(Closed { open, ended_ms });
            } else {
                self.0.drop_some(1);
            }
            closed.len()
        };
        if count >= BATCH {
            self.0.is_enough.notify_one();
        }
    }
}

/// A field that is text, taken out.
fn take(fields: &mut Fields, name: &str) -> Option<String> {
    let at = fields.0.iter().position(|(other, _)| *other == name)?;
    match fields.0.remove(at).1 {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// What a receiver is reached with.
pub(crate) struct Way {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) means: Means,
}

/// Sends spans, until it is ended or goes.
pub struct Exporting {
    spans: Spans,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Exporting {
    /// Begins.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where the address of the receiver cannot be granted.
    pub(crate) fn begin(policy: &ObservePolicy, spans: &Spans, way: Way) -> Result<Option<Self>> {
        let Some(sender) = Sender::new(policy, spans.0.clone(), way)? else { return Ok(None) };
        spans.0.is_sent.store(true, Ordering::Relaxed);
        let (stop, stopped) = watch::channel(false);
        let task = Some(tokio::spawn(sender.run(stopped)));
        Ok(Some(Self { spans: spans.clone(), stop, task }))
    }

    /// Sends what is kept, and ends.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        self.spans.0.is_sent.store(false, Ordering::Relaxed);
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The path to exactly the URL that the operator wrote.
struct Sender {
    kept: Arc<Kept>,
    outbound: Outbound,
    url: String,
    instance: String,
    is_failing: bool,
}

/// The name of the one origin, credential and secret.
const NAME: &str = "otlp";

impl Sender {
    fn new(policy: &ObservePolicy, kept: Arc<Kept>, way: Way) -> Result<Option<Self>> {
        let Some(base) = &policy.otlp else { return Ok(None) };
        let limits = path_limits();
        let mut url = base.clone();
        url.set_path(&format!("{}/v1/traces", base.path().trim_end_matches('/')));
        let secret = policy.otlp_secret.as_ref();
        let credential = secret.map(|_| Credential::header(NAME, vec![NAME.to_owned()], &policy.otlp_header, NAME));
        let secrets = Secrets::new(NAME, "observe", secret.map(granted).unwrap_or_default()).with(way.means);
        let scope = scope(&url, credential.is_some(), &limits)?;
        let outbound = Outbound {
            scope,
            private_addresses: policy.private_addresses.clone(),
            credentials: credential.into_iter().collect(),
            limits,
            resolver: way.resolver,
            transport: way.transport,
            ..Outbound::nowhere(Arc::new(secrets), way.clock)
        };
        Ok(Some(Self { kept, outbound, url: url.into(), instance: random::name()?, is_failing: false }))
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let clock = self.outbound.clock.clone();
            let is_over = tokio::select! {
                biased;
                _ = stop.wait_for(|stops| *stops) => true,
                () = self.kept.is_enough.notified() => false,
                () = clock.alarm(clock.now().plus(KEPT_MS)) => false,
            };
            loop {
                let batch = self.kept.batch();
                if batch.is_empty() {
                    break;
                }
                let count = batch.len();
                // What sending does is no part of any trace: it would be sent, and so on for ever.
                let sent = self.send(message(&batch, &self.instance)).with_subscriber(NoSubscriber::default()).await;
                self.tell(count, sent);
                if self.is_failing {
                    break;
                }
            }
            if is_over {
                return;
            }
        }
    }

    async fn send(&self, message: Vec<u8>) -> Result<()> {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            method: Method::Post,
            headers: vec![header("content-type", "application/x-protobuf"), header("accept", "application/x-protobuf")],
            body: Some(Bytes::from(message)),
            // A span that comes twice is the same span.
            repeat: Repeat::Safe,
            ..Request::get(&self.url)
        };
        let deadline = self.outbound.clock.now().plus(SEND_MS);
        let context = CallContext { deadline, observer: None, event: None, operation: None };
        self.outbound.send(&context, request).await.map(drop)
    }

    /// A receiver that fails is told once, and once when it takes spans again.
    fn tell(&mut self, count: usize, sent: Result<()>) {
        let dropped = self.kept.dropped.load(Ordering::Relaxed);
        match (sent, self.is_failing) {
            (Ok(()), false) => {}
            (Ok(()), true) => tracing::info!(target: "wharfage::observe", dropped, "the receiver takes spans again"),
            (Err(error), was_failing) => {
                self.kept.drop_some(count);
                if !was_failing {
                    let dropped = dropped + count as u64;
                    tracing::warn!(target: "wharfage::observe", dropped, "spans are not taken: {}", why(&error));
                }
                self.is_failing = true;
                return;
            }
        }
        self.is_failing = false;
    }
}

/// What failed, with what would help.
fn why(error: &Error) -> String {
    match error.kind() {
        Kind::PolicyDenied(_) => {
            format!("{}; to allow it, in wharfage.toml:   [observe] private_addresses = [\"…\"]", error.message())
        }
        Kind::CredentialUnavailable => format!("{error}"),
        _ => error.message().to_owned(),
    }
}

/// The limits of the path to a receiver.
pub(crate) fn path_limits() -> Limits {
    Limits { attempts: 3, redirects: 0, attempt_ms: 10_000, response_body_bytes: 64 << 10, ..Limits::default() }
}

fn granted(source: &SecretSource) -> BTreeMap<String, Granted> {
    let granted = Granted { purpose: Purpose::Credential, source: Some(source.clone()), max_age_days: None };
    BTreeMap::from([(NAME.to_owned(), granted)])
}

/// A grant of one method at one path of one origin.
fn scope(url: &url::Url, has_credential: bool, limits: &Limits) -> Result<Scope> {
    let path = PathPattern::parse(url.path())
        .map_err(|why| Error::configuration("[observe]: the path of otlp cannot be granted").with_details(why))?;
    let mut base = url.clone();
    base.set_path("");
    let mut origin = OriginScope::of_own(NAME, base, Method::Post, path);
    origin.credential = has_credential.then(|| NAME.to_owned());
    Ok(Scope::of_own("[observe]", "observe", origin, limits))
}

/// An `ExportTraceServiceRequest`, by the numbers of `opentelemetry/proto/trace/v1/trace.proto` (1.7).
fn message(spans: &[Closed], instance: &str) -> Vec<u8> {
    let mut out = Message::default();
    out.message(1, |of_resource| {
        of_resource.message(1, |resource| {
            resource.attribute(1, "service.name", &"wharfage".into());
            resource.attribute(1, "service.version", &env!("CARGO_PKG_VERSION").into());
            resource.attribute(1, "service.instance.id", &instance.into());
        });
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| scope.bytes(1, b"wharfage"));
            for span in spans {
                of_scope.message(2, |out| write(out, span));
            }
        });
    });
    out.0
}

fn write(out: &mut Message, Closed { open, ended_ms }: &Closed) {
    const NANOSECONDS: u64 = 1_000_000;
    const SAMPLED: u32 = 1;
    out.bytes(1, &open.trace_id.to_be_bytes());
    out.bytes(2, &open.span_id.to_be_bytes());
    if let Some(parent_id) = open.parent_id {
        out.bytes(4, &parent_id.to_be_bytes());
    }
    let text =
        |name: &str| open.fields.0.iter().find(|(other, _)| *other == name).and_then(|(_, value)| value.as_str());
    out.bytes(5, redact(text("otel.name").unwrap_or(open.name)).as_bytes());
    out.number(
        6,
        match text("otel.kind") {
            Some("server") => 2,
            Some("client") => 3,
            Some("producer") => 4,
            Some("consumer") => 5,
            _ => 1,
        },
    );
    out.fixed64(7, open.began_ms.saturating_mul(NANOSECONDS));
    out.fixed64(8, ended_ms.saturating_mul(NANOSECONDS));
    for (name, value) in open.fields.0.iter().filter(|(name, _)| !name.starts_with("otel.")) {
        out.attribute(9, name, value);
    }
    if text("error.type").is_some() {
        out.message(15, |status| status.number(3, 2));
    }
    out.fixed32(16, SAMPLED);
}

/// A message of protocol buffers (<https://protobuf.dev/programming-guides/encoding/>, read 2026-11-29).
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, number: u32) {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// A name with a value, redacted.
    fn attribute(&mut self, field: u64, name: &str, value: &Value) {
        self.message(field, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, |any| match value {
                Value::Bool(value) => any.number(2, u64::from(*value)),
                Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                    // A negative one is written as its two's complement.
                    (Some(number), _) => any.number(3, number as u64),
                    (None, number) => any.fixed64(4, number.unwrap_or_default().to_bits()),
                },
                Value::String(_) if is_secret_name(name) => any.bytes(1, MASKED.as_bytes()),
                Value::String(text) => {
                    let text = redact(text);
                    any.bytes(1, text[..text.floor_char_boundary(TEXT_BYTES_MAX)].as_bytes());
                }
                other => any.bytes(1, redact(&other.to_string()).as_bytes()),
            });
        });
    }
}
