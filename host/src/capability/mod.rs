//! What a plugin may import: one file per interface of the contract, and [`ALL`], the list.
//!
//! A capability turns words of the contract into calls of `outbound`, `store` and `vault`, and back. It decides nothing
//! and keeps nothing: what may be done stands in the grant, and what was spent in the [`Call`]. None knows another.

mod clock;
mod files;
mod http;
mod log;
mod rate_limit;
mod secrets;
mod state;
mod types;
pub(crate) mod wasi;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use http::TOO_MANY_AT_ONCE;
pub(crate) use log::Lines;
pub(crate) use secrets::MADE_MAX;
pub(crate) use state::KEY_BYTES_MAX;
pub(crate) use types::TEXT_BYTES_MAX;
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasSelf, Linker, ResourceTable};

use crate::bindings::wharfage::plugin::types as contract;
use crate::engine::Place as Alive;
use crate::error::{Error, Kind};
use crate::files::Files;
use crate::limits::Limits;
use crate::manifest::SecretFacts;
use crate::observe::states::Retired;
use crate::off_stack::OffStack;
use crate::outbound::cache::Mark;
use crate::outbound::secret_url::SecretUrl;
use crate::outbound::stream::Place;
use crate::outbound::{AnswerSource, CallContext, Made, Outbound};
use crate::store::Store;
use crate::time::Clock;
use crate::vault::Secrets;

/// One interface of the contract: its name, and how it is linked.
pub(crate) struct Capability {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) link: fn(&mut Linker<Call>) -> wasmtime::Result<()>,
}

macro_rules! capability {
    ($name:literal, $module:ident, $about:literal) => {
        capability!($name, $about, |linker| {
            crate::bindings::wharfage::plugin::$module::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
        })
    };
    ($name:literal, $about:literal, $link:expr) => {
        Capability { name: $name, about: $about, link: $link }
    };
}

/// Every capability there is.
pub(crate) const ALL: &[Capability] = &[
    capability!("clock", clock, "the time"),
    capability!("files", files, "files that a call brings along"),
    capability!("http", "requests to the origins below", http::link),
    capability!("log", log, "lines in the host's log"),
    capability!("rate-limit", rate_limit, "pacing for what the host cannot see"),
    capability!("secrets", secrets, "hashes and tokens with secrets it cannot read"),
    capability!("state", state, "small durable values of its own"),
];

/// Those that are linked without being asked for: they give nothing away, or only what comes with a call.
pub(crate) const ALWAYS: &[&str] = &["clock", "files", "log"];

/// One call of one instance: what the imports work with, and what was spent.
pub(crate) struct Call {
    pub(crate) plugin: Arc<str>,
    pub(crate) connection: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) context: CallContext,
    pub(crate) secrets: Arc<Secrets>,
    /// What the manifest says of them.
    pub(crate) facts: Arc<BTreeMap<String, SecretFacts>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What all calls of the connection log.
    pub(crate) lines: Arc<Lines>,
    pub(crate) spent: Spent,
    pub(crate) memory: Memory,
    pub(crate) wasi: wasmtime_wasi::WasiCtx,
    pub(crate) output: wasi::Output,
    pub(crate) table: ResourceTable,
    /// What it waits for.
    pub(crate) off_stack: OffStack,
    /// Its place among all instances that live.
    pub(crate) _alive: Alive,
}

/// What all calls of a plugin share.
pub(crate) struct Shared {
    pub(crate) plugin: Arc<str>,
    pub(crate) connection: Arc<str>,
    pub(crate) limits: Limits,
    /// Its secrets and its clock are the call's as well.
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) facts: Arc<BTreeMap<String, SecretFacts>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) lines: Arc<Lines>,
}

impl Call {
    /// A call of a fresh instance, which has used up nothing yet. On a tape its time and what is random are the tape's.
    pub(crate) fn new(shared: Shared, context: CallContext, alive: Alive) -> Self {
        let Shared { plugin, connection, limits, outbound, facts, store, lines } = shared;
        let output = wasi::Output::new(&limits);
        let guest_clock = outbound.guest_clock();
        let seed = outbound.tape.is_some().then(|| guest_clock.now().as_millis());
        Self {
            plugin,
            connection,
            limits,
            secrets: outbound.secrets.clone(),
            clock: outbound.clock.clone(),
            outbound,
            context,
            facts,
            store,
            lines,
            spent: Spent::default(),
            memory: Memory::new(&limits),
            wasi: wasi::context(&output, &guest_clock, seed, &limits),
            output,
            table: ResourceTable::new(),
            off_stack: OffStack::default(),
            _alive: alive,
        }
    }

    /// Tells of an error what the guest does not get.
    pub(crate) fn keep(&mut self, error: Error) -> contract::Error {
        if error.kind().name() == "policy-denied" {
            self.context.refused(&error);
            self.outbound.refusals.note(&error, self.context.name(), self.clock.now());
            tracing::debug!(
                target: "wharfage::outbound",
                plugin = &*self.plugin,
                connection = &*self.connection,
                "refused: {error}"
            );
        }
        self.spent.has_hit_limit |= matches!(error.kind(), Kind::LimitExceeded(_));
        self.spent.error = Some(error.clone());
        error.into()
    }
}

impl Call {
    /// Another call of an instance that stayed. What the instance is stays with it; what is of a call begins anew.
    pub(crate) fn begin(&mut self, context: CallContext) {
        self.context = context;
        if let Some(meter) = self.context.meter() {
            meter.reentered();
        }
    }

    /// Its end, for an instance that may stay: nothing that is of this call is left in it.
    pub(crate) fn end(&mut self) {
        self.leave();
        self.context = CallContext { deadline: self.context.deadline, observer: None, event: None, operation: None };
        self.spent = Spent::default();
        self.output.clear();
    }

    /// Why the instance must not stay for another call, as far as this one shows it.
    pub(crate) fn ends_it(&mut self, memory_bytes: u64) -> Option<Retired> {
        let Self { spent, memory, limits, table, .. } = self;
        let is_limited = spent.has_hit_limit
            || memory.refused.is_some()
            || spent.log_lines > limits.log_lines
            || spent.log_bytes > limits.log_bytes;
        if is_limited {
            return Some(Retired::Limit);
        }
        // What a runtime keeps for printing is no call's.
        let left = table.iter_mut().map(|entry| wasi::is_for_printing(entry));
        let (is_known, count) = left.fold((true, 0), |(all, count), one| (all && one, count + 1));
        if !is_known || count > LEFT_OPEN_MAX {
            return Some(Retired::Resources);
        }
        (memory.bytes() > memory_bytes).then_some(Retired::Memory)
    }

    /// Tells what it has used up.
    fn leave(&self) {
        if let Some(meter) = self.context.meter() {
            meter.left(self.spent.ticks * crate::engine::TICK_MS, self.memory.bytes());
        }
    }
}

/// Handles of printing that an instance may hold between two calls.
const LEFT_OPEN_MAX: usize = 8;

/// With the instance goes what it has used up.
impl Drop for Call {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What a call has used up, and where its answers came from.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    pub(crate) requests: u64,
    pub(crate) attempts: u32,
    pub(crate) source: AnswerSource,
    pub(crate) age_ms: u64,
    pub(crate) log_lines: u64,
    pub(crate) log_bytes: u64,
    pub(crate) unlogged: log::Unlogged,
    /// Bytes of writes to its state.
    pub(crate) state_bytes: u64,
    pub(crate) ticks: u64,
    /// Whether an import refused something because of a limit.
    pub(crate) has_hit_limit: bool,
    /// Held by every body that is read or written piece by piece.
    pub(crate) streams: Place,
    /// The last error that an import gave. Its details are for the operator, so the guest did not get them.
    pub(crate) error: Option<Error>,
    /// The tokens that were made, which requests of this call may carry.
    pub(crate) made: Vec<Arc<Made>>,
    /// The URLs that stay in the host, to which requests of this call may go.
    pub(crate) kept: Vec<Arc<SecretUrl>>,
    /// What the caller handed over.
    pub(crate) files: Files,
    /// The answers of this call that were kept.
    pub(crate) marks: Vec<Mark>,
    /// Bytes that these remember of what was kept before.
    pub(crate) marks_bytes: u64,
}

/// Bytes of answers that one call remembers in case what came in their place is no good.
const MARKS_BYTES_MAX: u64 = 4 << 20;

impl Spent {
    /// Remembers that an answer was kept.
    pub(crate) fn marked(&mut self, mark: Mark) {
        let bytes = self.marks_bytes + mark.weight();
        if bytes <= MARKS_BYTES_MAX {
            self.marks_bytes = bytes;
            self.marks.push(mark);
        } else {
            self.marks.push(mark.without_before());
        }
    }

    /// Whether an import gave this error, so that the plugin only hands it on.
    pub(crate) fn has_given(&self, error: &Error) -> bool {
        self.error.as_ref().is_some_and(|given| {
            let is_kind = match given.kind() {
                // As a guest is told it.
                Kind::Configuration => matches!(error.kind(), Kind::Internal(_)),
                kind => kind == error.kind(),
            };
            is_kind && given.message() == error.message()
        })
    }

    /// The guest's error, with the details that the host kept if it is the one that an import gave; as it was where the
    /// contract has no word for its kind.
    pub(crate) fn detailed(&self, error: Error) -> Error {
        let Some(given) = self.error.as_ref().filter(|_| self.has_given(&error)) else { return error };
        if *given.kind() == Kind::Configuration {
            return given.clone();
        }
        match given.details() {
            Some(details) => error.with_details(details),
            None => error,
        }
    }
}

/// The limiter of one instance. It remembers what it refused, so that the error can name the limit.
pub(crate) struct Memory {
    bytes: Grown,
    elements: Grown,
    instances: usize,
    memories: usize,
    tables: usize,
    pub(crate) refused: Option<&'static str>,
}

/// What all memories of an instance have grown to, or all its tables: they never shrink.
struct Grown {
    name: &'static str,
    total: usize,
    most: usize,
}

impl Grown {
    /// Whether one of them may grow. What it says of itself that it never exceeds is no limit of ours.
    fn grow(&mut self, current: usize, desired: usize, own_most: Option<usize>) -> Result<bool, &'static str> {
        let total = self.total.saturating_add(desired.saturating_sub(current));
        if own_most.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        if total > self.most {
            return Err(self.name);
        }
        self.total = total;
        Ok(true)
    }
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bounded = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let grown = |name, most| Grown { name, total: 0, most: bounded(most) };
        Self {
            bytes: grown("memory_bytes", limits.memory_bytes),
            elements: grown("table_elements", limits.table_elements),
            instances: bounded(limits.instances),
            memories: bounded(limits.memories),
            tables: bounded(limits.tables),
            refused: None,
        }
    }

    /// Bytes of all memories.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.total as u64
    }

    fn refuse(&mut self, grows: Result<bool, &'static str>) -> bool {
        grows.unwrap_or_else(|limit| {
            self.refused = Some(limit);
            false
        })
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grows = self.bytes.grow(current, desired, maximum);
        Ok(self.refuse(grows))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grows = self.elements.grow(current, desired, maximum);
        Ok(self.refuse(grows))
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
