//! A run of an instance: a place among the calls of its connection, a fresh instance or one that stayed, every limit
//! set, and what came of it.

use std::pin::pin;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::SemaphorePermit;
use wasmtime::component::Instance as Entered;
use wasmtime::{Store as Instance, UpdateDeadline};

use super::stopped::{is_pool_full, stopped};
use super::{Answer, EVENT, Loaded};
use crate::bindings::exports::wharfage::plugin::operations;
use crate::capability::{Call, Shared, Spent};
use crate::engine::{Engine, TICK_MS};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Outcome, Trigger};
use crate::files::Files;
use crate::limits::Limits;
use crate::manifest::Operation;
use crate::observe::pulse::{PROBE, Sign};
use crate::observe::states::Retired;
use crate::outbound::session::What;
use crate::outbound::{CallContext, Running};
use crate::text::shown_lines;
use crate::warm::{Lease, Warm};

/// A page of an operation, as an instance is called for it.
pub(crate) struct PageCall<'a> {
    pub(crate) operation: &'a Operation,
    /// As what is generated from the contract takes it.
    pub(crate) input: &'a String,
    pub(crate) cursor: Option<&'a str>,
    pub(crate) files: &'a Files,
    pub(crate) deadline: crate::time::Timestamp,
}

/// An instance with its operations.
pub(crate) struct LiveInstance {
    store: Instance<Call>,
    operations: operations::Guest,
}

/// An instance for one call, and how long it stays where it may.
struct Checkout<'a> {
    live: LiveInstance,
    lease: Option<Lease<'a, LiveInstance>>,
}

impl Checkout<'_> {
    /// The call came to its end.
    fn end<T>(self, result: &Result<T>, warm: Option<&Warm<LiveInstance>>, changes: u64) {
        let Self { mut live, lease } = self;
        let (Some(lease), Some(warm)) = (lease, warm) else { return };
        let call = live.store.data_mut();
        let why = match result {
            Ok(_) => call.ends_it(warm.memory_bytes()),
            Err(error) if matches!(error.kind(), Kind::LimitExceeded(_)) => Some(Retired::Limit),
            Err(_) => Some(Retired::Error),
        };
        call.end();
        lease.end(live, why, changes);
    }
}

impl Loaded {
    pub(crate) async fn run(&self, call: &PageCall<'_>) -> Result<Answer<Box<RawValue>>> {
        let _place = self.place().await?;
        self.run_as(&call.operation.name, call).await
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

    /// `name` is what the call is known as on its way.
    pub(crate) async fn run_as(&self, name: &str, call: &PageCall<'_>) -> Result<Answer<Box<RawValue>>> {
        let running = Running::metered(name, self.meter.operation(self.index(call.operation)));
        // A probe sees what a first call would see.
        let warm = self.warm.as_deref().filter(|_| name != PROBE);
        let mut visit = self.visit(warm, call.deadline, running).await?;
        visit.live.store.data_mut().spent.files = call.files.clone();
        let result = self.run_in(&mut visit.live, call).await;
        visit.end(&result, warm, self.outbound.credential_changes());
        result
    }

    /// An instance for a call of an operation: one that waits, or a fresh one, which may stay.
    async fn visit<'a>(
        &'a self,
        warm: Option<&'a Warm<LiveInstance>>,
        deadline: crate::time::Timestamp,
        running: Running,
    ) -> Result<Checkout<'a>> {
        let changes = self.outbound.credential_changes();
        if let Some((mut live, lease)) = warm.and_then(|warm| warm.take(changes)) {
            live.store.data_mut().begin(self.call_context(deadline, None, running));
            live.store.set_epoch_deadline(1);
            return Ok(Checkout { live, lease: Some(lease) });
        }
        let (store, operations) =
            self.fresh(deadline, None, running, |store, entered| self.operations.load(store, entered)).await?;
        Ok(Checkout { live: LiveInstance { store, operations }, lease: warm.map(|warm| warm.begin(changes)) })
    }

    async fn run_in(&self, live: &mut LiveInstance, call: &PageCall<'_>) -> Result<Answer<Box<RawValue>>> {
        let PageCall { operation, input, cursor, .. } = *call;
        let limits = &self.grant.limits;
        let LiveInstance { store: instance, operations } = live;
        let off_stack = instance.data().off_stack.clone();
        let called = operations.call_call(&mut *instance, &operation.name, input, cursor);
        let called = off_stack.drive(pin!(called)).await;
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
            let off_stack = store.data().off_stack.clone();
            let entered = off_stack.drive(pin!(self.pre.instantiate_async(&mut store))).await;
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

    pub(crate) async fn handle(&self, event: Event, deadline: crate::time::Timestamp) -> Result<Outcome> {
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
        let (off_stack, event) = (instance.data().off_stack.clone(), event.into());
        let called = off_stack.drive(pin!(events.call_handle(&mut instance, &event))).await;
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
        let shared = Shared {
            plugin: self.name.clone(),
            connection: self.connection.clone(),
            limits: *limits,
            outbound: self.outbound.clone(),
            facts: self.facts.clone(),
            store: self.store.clone(),
            lines: self.lines.clone(),
        };
        let call = Call::new(shared, self.call_context(deadline, event, running), alive);
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
}

/// A store with all limits of its call set.
pub(crate) fn bounded(engine: &Engine, mut call: Call) -> Instance<Call> {
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
