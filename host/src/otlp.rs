//! Spans and metrics to a receiver of OpenTelemetry's protocol, OTLP 1.x over HTTP with protocol buffers
//! (<https://opentelemetry.io/docs/specs/otlp/>, read 2026-11-29).
//!
//! [`Spans`] is a layer that keeps the host's own spans when they close, and no others; [`Exporting`] sends what was kept,
//! and a reading of the metrics now and then, by the path that every request takes, in a scope that holds one URL. So
//! there is no second HTTP client, and no proxy, redirect or variable of the environment that the path does not know. The
//! messages are some dozen fields, written here.
//!
//! Every text is redacted before it leaves. Nothing waits for a receiver: what it does not take in time is dropped and
//! counted.

mod message;
mod metrics;
mod path;
mod readings;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::error::Result;
use crate::host::Host;
use crate::observe::audit::AuditContext;
use crate::observe::lines::Fields;
use crate::observe::policy::ObservePolicy;
use crate::observe::redact::redact;
pub(crate) use crate::otlp::message::Message;
use crate::otlp::message::Rejected;
use crate::otlp::path::Path;
pub(crate) use crate::otlp::path::path_limits;
use crate::otlp::readings::{Readings, Source};
use crate::outbound::own::OwnPath;
use crate::random;
#[cfg(feature = "serve")]
use crate::supervisor::Serving;
use crate::time::{Clock, SystemClock};

/// Spans that are kept until they are sent; further ones are dropped and counted.
const KEPT_MAX: usize = 4_096;

/// Spans of one message.
const BATCH: usize = 512;

/// Milliseconds that a span is kept at most before it is sent.
const KEPT_MS: u64 = 5_000;

/// Keeps the host's spans until they are sent. Clones keep the same ones.
///
/// ```no_run
/// # fn example(host: &wharfage::Host, config: &wharfage::Config) -> wharfage::Result<()> {
/// use tracing_subscriber::prelude::*;
///
/// let spans = wharfage::otlp::Spans::new();
/// let _ = tracing_subscriber::registry().with(spans.layer()).try_init();
/// let exporting = host.export(&config.observe, &spans)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Spans(Arc<SpanBuffer>);

debug_shows!(Spans);

struct SpanBuffer {
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
        Self(Arc::new(SpanBuffer {
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

impl SpanBuffer {
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
struct WhileSent(Arc<SpanBuffer>);

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

struct Keeping(Arc<SpanBuffer>);

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

/// Sends spans and metrics, until it is ended or goes.
pub struct Exporting {
    spans: Spans,
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "only what serves gives it another"))]
    source: Arc<Mutex<Source>>,
    untaken: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

debug_shows!(Exporting);

impl Host {
    /// Sends the spans that are kept there to the receiver that `[observe]` names, and what is counted with them; nothing
    /// where it names none. They are sent until what this answers is ended or goes.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where the receiver cannot be reached as it is written.
    pub fn export(&self, policy: &ObservePolicy, spans: &Spans) -> Result<Option<Exporting>> {
        // Such a secret is none of a connection's. It is used every few seconds, and would push out of the trail what
        // others did.
        let own_path = self.own_path(&path_limits(), "observe", None, AuditContext::closed())?;
        Exporting::begin(policy, spans, &own_path, self)
    }
}

impl Exporting {
    /// Begins.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where the address of the receiver cannot be granted.
    pub(crate) fn begin(
        policy: &ObservePolicy,
        spans: &Spans,
        own_path: &OwnPath,
        host: &Host,
    ) -> Result<Option<Self>> {
        let Some(path) = Path::new(policy, "/v1/traces", own_path)? else { return Ok(None) };
        let metrics = Path::new(policy, "/v1/metrics", own_path)?.filter(|_| policy.otlp_metrics);
        let instance = random::name()?;
        let (stop, stopped) = watch::channel(false);
        let (source, untaken) = (Arc::new(Mutex::new(Source::Host(host.clone()))), Arc::default());
        let sender = Sender::new(spans.0.clone(), path, instance.clone());
        spans.0.is_sent.store(true, Ordering::Relaxed);
        let mut tasks = vec![tokio::spawn(sender.run(stopped.clone()))];
        if let Some(path) = metrics {
            let every_ms = policy.otlp_metrics_every_s.saturating_mul(1_000);
            let readings = Readings::new(path, instance, every_ms, Arc::clone(&source), Arc::clone(&untaken));
            tasks.push(tokio::spawn(readings.run(stopped)));
        }
        Ok(Some(Self { spans: spans.clone(), source, untaken, stop, tasks }))
    }

    /// From now on what runs here is told in the metrics too, as `Serving::metrics` has it.
    #[cfg(feature = "serve")]
    pub fn measure(&self, serving: &Serving) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Source::Serving(serving.view());
    }

    /// How many messages with metrics the receiver did not take, or not wholly. What they held is in the next ones.
    pub fn untaken(&self) -> u64 {
        self.untaken.load(Ordering::Relaxed)
    }

    /// Sends what is kept and a last reading, and ends.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            let _ = task.await;
        }
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        self.spans.0.is_sent.store(false, Ordering::Relaxed);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Sends spans, a batch at a time.
struct Sender {
    kept: Arc<SpanBuffer>,
    path: Path,
    instance: String,
    is_failing: bool,
    /// Whether it was told that some are rejected.
    has_rejected: bool,
}

impl Sender {
    fn new(kept: Arc<SpanBuffer>, path: Path, instance: String) -> Self {
        Self { kept, path, instance, is_failing: false, has_rejected: false }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let clock = self.kept.clock.clone();
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
                let sent = self.path.send(message(&batch, &self.instance)).await;
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

    /// A receiver that fails is told once, and once when it takes spans again; one that rejects some, once.
    fn tell(&mut self, count: usize, sent: Result<Option<Rejected>>) {
        let dropped = || self.kept.dropped.load(Ordering::Relaxed);
        match sent {
            Ok(rejected) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(target: "wharfage::observe", dropped = dropped(), "the receiver takes spans again");
                }
                let Some(Rejected { count: rejected, why }) = rejected else { return };
                self.kept.drop_some(usize::try_from(rejected).map_or(count, |rejected| rejected.min(count)));
                if !std::mem::replace(&mut self.has_rejected, true) {
                    let dropped = dropped();
                    tracing::warn!(target: "wharfage::observe", dropped, "{rejected} of {count} spans are not taken: {why}");
                }
            }
            Err(error) => {
                self.kept.drop_some(count);
                if !std::mem::replace(&mut self.is_failing, true) {
                    let (dropped, why) = (dropped(), path::why(&error));
                    tracing::warn!(target: "wharfage::observe", dropped, "spans are not taken: {why}");
                }
            }
        }
    }
}

/// Who sends, as every message says it.
pub(crate) fn resource(out: &mut Message, instance: &str) {
    out.attribute(1, "service.name", &"wharfage".into());
    out.attribute(1, "service.version", &env!("CARGO_PKG_VERSION").into());
    out.attribute(1, "service.instance.id", &instance.into());
}

/// An `ExportTraceServiceRequest`, by the numbers of `opentelemetry/proto/trace/v1/trace.proto` (1.7).
fn message(spans: &[Closed], instance: &str) -> Vec<u8> {
    let mut out = Message::default();
    out.message(1, |of_resource| {
        of_resource.message(1, |out| resource(out, instance));
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
