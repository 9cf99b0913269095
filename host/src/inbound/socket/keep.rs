//! Keeps one socket open: the loop over opening, talking, waiting, until the host stops.
//!
//! One task does all of it, so that a quiet socket costs one task, its buffers and nothing else. Whoever handles messages
//! is asked one at a time, over all openings, in their order. What it answers leaves on the opening that the message came
//! from, and on no other: a provider that was away has forgotten what it asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_websockets::{CloseCode, Message};

use super::frames::{Came, FrameStream};
use super::machine::{End, Machine, Pace, State, Why};
use super::queue::{Item, Put, Queue, Queued};
use crate::error::{Error, Kind, RequestSent, Result, rule};
use crate::event::Trigger;
use crate::inbound::handler::{Handler, is_outbox_full};
use crate::manifest::SocketFacts;
use crate::observe::trace::Here;
use crate::outbound::retry::{RetryPolicy, backoff_ms};
use crate::outbound::upgrade::{Carried, Upgraded};
use crate::outbound::{CallContext, Outbound};
use crate::plugin::Plugin;
use crate::policy::socket::SocketPolicy;
use crate::store::Store;
use crate::text::{shown, suggestion};
use crate::time::{BoxFuture, Clock, Timestamp};

/// Whoever takes what comes over a socket.
pub trait SocketHandler: Send + Sync + 'static {
    /// Whether anything was kept of an earlier run, so that something may have been missed since then.
    fn has_begun(&self) -> BoxFuture<'_, Result<bool>>;

    /// Takes a message or a gap, keeps what comes of it and answers the messages to send. `id` is the same over all
    /// attempts, and for a gap that is told again unless more is missing by then.
    fn take(&self, id: &str, trigger: Trigger) -> BoxFuture<'_, Result<Vec<Vec<u8>>>>;
}

/// The plugin's own handling, with its cursor.
struct Handled {
    handler: Handler,
    /// What the cursor is kept under.
    name: String,
}

impl SocketHandler for Handled {
    fn has_begun(&self) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async { Ok(self.handler.cursor(&self.name).await?.cursor.is_some()) })
    }

    fn take(&self, id: &str, trigger: Trigger) -> BoxFuture<'_, Result<Vec<Vec<u8>>>> {
        let id = id.to_owned();
        Box::pin(async move { Ok(self.handler.handle(&self.name, &id, trigger).await?.send) })
    }
}

/// A socket that is kept open. Clones are the same one.
#[derive(Clone)]
pub struct Socket(Arc<Parts>);

debug_shows!(Socket, |this| name = this.0.name);

struct Parts {
    name: String,
    facts: SocketFacts,
    policy: SocketPolicy,
    url: String,
    first: Vec<String>,
    outbound: Arc<Outbound>,
    handler: Arc<dyn SocketHandler>,
    /// Nothing where nobody else could open it.
    lease: Option<Lease>,
    stop: watch::Sender<bool>,
    status: Mutex<SocketStatus>,
}

/// By which one of the processes over a state folder keeps it open, and the others stand by.
struct Lease {
    store: Arc<dyn Store>,
    name: String,
    holder: String,
}

/// How a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStatus {
    /// Where it stands.
    pub state: SocketState,
    /// Since when.
    pub since: Timestamp,
    /// How often it was opened.
    pub openings: u64,
    /// Messages that found no room.
    pub dropped: u64,
    /// Messages and gaps that the plugin could not handle.
    pub given_up: u64,
    /// Why it ended the last time.
    pub last_end: Option<String>,
}

/// Where a socket stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketState {
    /// It is being opened.
    Connecting,
    /// It is open.
    Open,
    /// Another process over the same state folder keeps it open; this one opens it when that one ends.
    StandBy,
    /// It is opened again at that time.
    Backoff(Timestamp),
    /// It stays closed; what the operator can do about it.
    Closed(String),
}

impl SocketState {
    /// In a word: `connecting`, `open`, `stand-by`, `backoff` or `closed`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::StandBy => "stand-by",
            Self::Backoff(_) => "backoff",
            Self::Closed(_) => "closed",
        }
    }
}

/// How long it is waited for the other end to close, when this one stops.
const GOODBYE_MS: u64 = 2_000;

/// How long a lease holds, and how often it is renewed. Whoever was killed makes room after this.
const LEASE_MS: u64 = 30_000;
const RENEW_MS: u64 = 10_000;

/// How long is waited until it is looked again who keeps the socket open: at first, when the one before may just be
/// closing it, and at most.
const STAND_BY_MS: (u64, u64) = (1_000, 10_000);

/// The longest wait before something is handed over anew.
const RETRY_WAIT_MS_MAX: u64 = 60_000;

/// After how long the plugin is told once more of a gap that it could not handle. A gap is never forgotten, for nobody else
/// knows that something is missing.
const GAP_AGAIN_MS: u64 = 60_000;

impl Plugin {
    /// A socket of the plugin's manifest, for an embedder that has its own delivery: what comes over it goes to
    /// `handler`. It is opened when it is run.
    ///
    /// # Errors
    /// [`Kind::Configuration`] when the manifest has no such socket, or the policy does not fit it.
    pub fn socket(&self, name: &str, policy: &SocketPolicy, handler: impl SocketHandler) -> Result<Socket> {
        let handler = Arc::new(handler);
        Socket::new(name, self.socket_facts(name)?, policy, self.0.outbound.clone(), handler)
    }

    fn socket_facts(&self, name: &str) -> Result<&SocketFacts> {
        let sockets = &self.0.needs.manifest.sockets;
        sockets.get(name).ok_or_else(|| {
            let names: Vec<&str> = sockets.keys().map(String::as_str).collect();
            let message = format!("{} has no socket `{}`", self.0.name, shown(name));
            Error::configuration(message).with_details(suggestion(name, &names))
        })
    }
}

impl Socket {
    /// The socket of this name, as its manifest has it and the operator wants it.
    ///
    /// # Errors
    /// [`Kind::Configuration`] when one of them does not fit the other.
    pub(crate) fn new(
        name: &str,
        facts: &SocketFacts,
        policy: &SocketPolicy,
        outbound: Arc<Outbound>,
        handler: Arc<dyn SocketHandler>,
    ) -> Result<Self> {
        Self::leased(name, facts, policy, outbound, handler, None)
    }

    fn leased(
        name: &str,
        facts: &SocketFacts,
        policy: &SocketPolicy,
        outbound: Arc<Outbound>,
        handler: Arc<dyn SocketHandler>,
        lease: Option<Lease>,
    ) -> Result<Self> {
        let connection = &outbound.scope.connection;
        let wrong = |why: String| Error::configuration(format!("[connections.{connection}.sockets.{name}] {why}"));
        policy.check().and_then(|()| policy.check_against(facts)).map_err(wrong)?;
        let (url, first) = (facts.url(&policy.values).map_err(wrong)?, facts.first_messages(&policy.values));
        let (stop, _) = watch::channel(false);
        let status = SocketStatus {
            state: SocketState::Connecting,
            since: outbound.clock.now(),
            openings: 0,
            dropped: 0,
            given_up: 0,
            last_end: None,
        };
        Ok(Self(Arc::new(Parts {
            name: name.to_owned(),
            facts: facts.clone(),
            policy: policy.clone(),
            url,
            first: first.map_err(wrong)?,
            outbound,
            handler,
            lease,
            stop,
            status: Mutex::new(status),
        })))
    }

    /// The same, handled by the plugin: cursor and events are kept together, and what it answers leaves afterwards. Of
    /// several processes over one state folder one keeps it open.
    ///
    /// # Errors
    /// As for [`Socket::new`].
    pub(crate) fn handled(
        name: &str,
        facts: &SocketFacts,
        policy: &SocketPolicy,
        outbound: Arc<Outbound>,
        handler: Handler,
    ) -> Result<Self> {
        let lease = Lease {
            store: handler.store().clone(),
            name: format!("socket {} {name}", outbound.scope.connection),
            holder: crate::random::name()?,
        };
        let handler = Handled { handler, name: format!("socket {name}") };
        Self::leased(name, facts, policy, outbound, Arc::new(handler), Some(lease))
    }

    /// Keeps it open until [`Socket::drain`]. Dropping the future breaks it off.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the operating system gives no random bytes.
    pub async fn run(&self) -> Result<()> {
        let deliverer = Deliverer {
            queue: Queue::new(self.0.policy.queue_messages_max, self.0.policy.queue_bytes_max, self.0.policy.overflow),
            running: None,
            gap_again: None,
            id: format!("{}/{}/{}", self.0.outbound.scope.connection, self.0.name, crate::random::name()?),
            number: 0,
            parts: self.0.clone(),
        };
        let machine = Machine::new(self.0.pace());
        Keeper { machine, deliverer, opening: 0, has_begun: false, before: None, parts: self.0.clone() }.run().await;
        Ok(())
    }

    /// Opens it no more, and closes it as going away (1001) where it is open. [`Socket::run`] ends when what came is
    /// handled.
    pub fn drain(&self) {
        self.0.stop.send_replace(true);
    }

    /// How it is.
    pub fn status(&self) -> SocketStatus {
        self.0.status().clone()
    }
}

impl Parts {
    fn pace(&self) -> Pace {
        Pace {
            wait_ms_min: self.policy.wait_ms_min,
            wait_ms_max: self.policy.wait_ms_max,
            stable_ms: self.facts.stable_after_s.saturating_mul(1_000),
            stop_codes: self.facts.stop_codes.clone(),
            sign_in_codes: self.facts.sign_in_codes.clone(),
        }
    }

    fn clock(&self) -> &dyn Clock {
        self.outbound.clock.as_ref()
    }

    fn connection(&self) -> &str {
        &self.outbound.scope.connection
    }

    fn status(&self) -> std::sync::MutexGuard<'_, SocketStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &State) {
        let state = match state {
            State::Connecting => SocketState::Connecting,
            State::Open(_) => SocketState::Open,
            State::Backoff(at) => SocketState::Backoff(*at),
            State::Closed(why) => SocketState::Closed(self.advice(*why)),
        };
        let mut status = self.status();
        status.since = self.clock().now();
        status.state = state;
    }

    /// Whether this process may keep it open, for a while from now on; nothing where that cannot be known.
    async fn holds(&self) -> Option<bool> {
        let Some(Lease { store, name, holder }) = &self.lease else { return Some(true) };
        let now = self.clock().now();
        let held = store.lease(name, holder, now, now.plus(LEASE_MS)).await;
        held.inspect_err(|error| self.warn(&format!("who keeps it open cannot be known: {error}"))).ok()
    }

    /// Another process may open it.
    async fn release(&self) {
        if let Some(Lease { store, name, holder }) = &self.lease
            && let Err(error) = store.release(name, holder).await
        {
            self.warn(&format!("another process opens it later: {error}"));
        }
    }

    fn warn(&self, what: &str) {
        tracing::warn!(target: "wharfage::inbound", connection = self.connection(), socket = self.name, "{what}");
    }

    /// What the operator can do about a socket that stays closed.
    fn advice(&self, why: Why) -> String {
        let connection = self.connection();
        match why {
            Why::Refused => "what it needs is not granted; change wharfage.toml as its last end says".to_owned(),
            Why::Told(code) => format!("the provider closed it for good, by the code {code}"),
            Why::SignIn(code) => format!(
                "the provider does not take the credential, by the code {code}; connect again:   wharfage connect {connection}   \
                 and send SIGHUP to `wharfage serve`"
            ),
        }
    }
}

/// Hands on what came, one after the other.
struct Deliverer {
    queue: Queue,
    running: Option<BoxFuture<'static, Answered>>,
    /// When a gap that was given up is told again, of which opening it is, and its number.
    gap_again: Option<(Timestamp, u64, u64)>,
    /// What the ids of its events begin with.
    id: String,
    /// How many events there were.
    number: u64,
    parts: Arc<Parts>,
}

/// What came of one item.
struct Answered {
    opening: u64,
    number: u64,
    send: Vec<Vec<u8>>,
    given_up: Option<GivenUp>,
}

/// What was given up.
enum GivenUp {
    Message,
    Gap,
}

impl Deliverer {
    /// Of one more event.
    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Something may be missing, up to this opening. What waits to be told again is told with it.
    fn gap(&mut self, opening: u64) {
        self.gap_again = None;
        let number = self.number();
        self.queue.gap(opening, number);
    }

    /// Waits for the next that is done. Cancel-safe.
    async fn done(&mut self) -> Answered {
        loop {
            if let Some(running) = &mut self.running {
                let answered = running.await;
                self.running = None;
                match answered.given_up {
                    Some(GivenUp::Gap) => {
                        let at = self.parts.clock().now().plus(GAP_AGAIN_MS);
                        self.gap_again = Some((at, answered.opening, answered.number));
                    }
                    Some(GivenUp::Message) => match self.gap_again {
                        // This one is told with it, which is another gap than before.
                        Some((at, opening, _)) => self.gap_again = Some((at, opening, self.number())),
                        None => self.gap(answered.opening),
                    },
                    None => {}
                }
                return answered;
            }
            let now = self.parts.clock().now();
            if let Some((_, opening, number)) = self.gap_again.take_if(|(at, ..)| *at <= now) {
                // Under the same number, so that a keyed write of its handling is not made again (R8).
                self.queue.gap(opening, number);
            }
            match (self.queue.pop(), self.gap_again) {
                (Some(next), _) => self.running = Some(Box::pin(hand(self.parts.clone(), self.id.clone(), next))),
                (None, Some((at, ..))) => self.parts.clock().alarm(at).await,
                (None, None) => std::future::pending().await,
            }
        }
    }

    /// Goes on while there is no line; what is answered has nowhere to go.
    async fn work(&mut self) -> Infallible {
        loop {
            let answered = self.done().await;
            self.forget(&answered);
        }
    }

    /// Handles all that is left.
    async fn finish(&mut self) {
        while self.running.is_some() || !self.queue.is_empty() {
            let answered = self.done().await;
            self.forget(&answered);
        }
    }

    fn forget(&self, answered: &Answered) {
        if !answered.send.is_empty() {
            let (connection, socket) = (self.parts.connection(), &self.parts.name);
            let messages = answered.send.len();
            tracing::warn!(target: "wharfage::inbound", connection, socket, messages, "answers were not sent: their socket is closed");
        }
    }
}

/// Hands one item over until it is taken or given up, as a trace of its own.
async fn hand(parts: Arc<Parts>, id: String, next: Queued) -> Answered {
    let id = format!("{id}/{}", next.number);
    let here = Here::begin();
    let span = tracing::error_span!(
        target: "wharfage::inbound", "message", otel.kind = "consumer",
        trace_id = %here.trace_id(), span_id = %here.span_id(), connection = parts.connection(), socket = parts.name, id
    );
    here.run(span, hand_over(parts, id, next)).await
}

async fn hand_over(parts: Arc<Parts>, id: String, next: Queued) -> Answered {
    let Queued { item, opening, number } = next;
    let (trigger, what) = match item {
        Item::Message(message) => (Trigger::Message { socket: parts.name.clone(), message }, GivenUp::Message),
        Item::Gap => (Trigger::Gap(parts.name.clone()), GivenUp::Gap),
    };
    let policy = RetryPolicy {
        attempts_max: parts.policy.attempts,
        base_ms: 1_000,
        delay_ms_max: RETRY_WAIT_MS_MAX,
        ..RetryPolicy::default()
    };
    let (connection, socket) = (parts.connection(), &parts.name);
    let mut stop = parts.stop.subscribe();
    let (mut waits, mut attempt) = (0, 0);
    loop {
        let error = match parts.handler.take(&id, trigger.clone()).await {
            Ok(send) => return Answered { opening, number, send, given_up: None },
            Err(error) => error,
        };
        // What waits until sinks have made room counts nothing. Where the host stops, nothing waits for them.
        let is_full = is_outbox_full(&error);
        let is_waiting = is_full && !*stop.borrow();
        let tries = if is_waiting { &mut waits } else { &mut attempt };
        *tries += 1;
        let tries = *tries;
        if !is_waiting && (is_full || !may_pass(&error) || attempt >= policy.attempts_max) {
            parts.status().given_up += 1;
            let then = match what {
                GivenUp::Message => "a gap is told for it".to_owned(),
                GivenUp::Gap => format!("the gap is told again in {GAP_AGAIN_MS} ms"),
            };
            tracing::error!(target: "wharfage::inbound", connection, socket, id, attempt, "given up, {then}: {error}");
            return Answered { opening, number, send: Vec::new(), given_up: Some(what) };
        }
        let now = parts.clock().now();
        let asked_ms = error.retry_at().map_or(0, |at| at.since(now)).min(RETRY_WAIT_MS_MAX);
        let wait_ms = backoff_ms(&policy, tries, parts.clock().jitter()).max(asked_ms);
        tracing::warn!(target: "wharfage::inbound", connection, socket, id, attempt, wait_ms, "not handled: {error}");
        let over = parts.clock().sleep_until(now.plus(wait_ms));
        tokio::select! {
            biased;
            () = stopped(&mut stop), if is_waiting => {}
            () = over => {}
        }
    }
}

/// Whether the same message may be handled another time.
fn may_pass(error: &Error) -> bool {
    error.may_retry() || matches!(error.kind(), Kind::Conflict | Kind::Deadline)
}

/// The loop.
struct Keeper {
    machine: Machine,
    deliverer: Deliverer,
    /// Which opening it is.
    opening: u64,
    has_begun: bool,
    /// What the provider does not take any more.
    before: Option<Carried>,
    parts: Arc<Parts>,
}

/// When something must be done on an open line.
struct Times {
    /// When the lease is renewed.
    renew_at: Timestamp,
    heard_at: Timestamp,
    /// The host has asked whether anybody is there.
    asked_at: Option<Timestamp>,
    /// When the provider's own question is due.
    ping_at: Option<Timestamp>,
    /// That was asked, and an answer is waited for.
    pinged_at: Option<Timestamp>,
}

impl Keeper {
    async fn run(mut self) {
        let mut stop = self.parts.stop.subscribe();
        self.has_begun = self.parts.handler.has_begun().await.unwrap_or_else(|error| {
            let (connection, socket) = (self.parts.connection(), &self.parts.name);
            tracing::error!(target: "wharfage::inbound", connection, socket, "its cursor cannot be read: {error}");
            true
        });
        loop {
            self.parts.tell(self.machine.state());
            match self.machine.state() {
                State::Connecting => {
                    if !self.stand_by(&mut stop).await || self.open(&mut stop).await.is_none() {
                        break;
                    }
                }
                State::Backoff(at) => {
                    let over = self.parts.clock().sleep_until(*at);
                    tokio::select! {
                        biased;
                        () = stopped(&mut stop) => break,
                        () = over => self.machine.connecting(),
                        never = self.deliverer.work() => match never {},
                    }
                }
                State::Open(_) | State::Closed(_) => {
                    tokio::select! {
                        biased;
                        () = stopped(&mut stop) => break,
                        never = self.deliverer.work() => match never {},
                    }
                }
            }
        }
        {
            let mut status = self.parts.status();
            status.state = SocketState::Closed("the host has stopped it".to_owned());
            status.since = self.parts.clock().now();
        }
        self.parts.release().await;
        self.deliverer.finish().await;
    }

    /// Waits while another process keeps it open. False when the host stops.
    async fn stand_by(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        let parts = self.parts.clone();
        let mut wait_ms = STAND_BY_MS.0;
        loop {
            let held = parts.holds().await;
            let now = parts.clock().now();
            let stands_by = matches!(parts.status().state, SocketState::StandBy);
            match held {
                Some(true) => break,
                Some(false) if !stands_by => {
                    let (connection, socket) = (parts.connection(), &parts.name);
                    tracing::info!(
                        target: "wharfage::inbound", connection, socket, "another process keeps the socket open"
                    );
                    let mut status = parts.status();
                    (status.state, status.since) = (SocketState::StandBy, now);
                }
                // Who keeps it open is not known any more.
                None if stands_by => parts.tell(self.machine.state()),
                _ => {}
            }
            // What came until the other one ended may be missing.
            self.has_begun = true;
            tokio::select! {
                biased;
                () = stopped(stop) => return false,
                () = parts.clock().sleep_until(now.plus(wait_ms)) => {}
                never = self.deliverer.work() => match never {},
            }
            wait_ms = (wait_ms * 2).min(STAND_BY_MS.1);
        }
        parts.tell(self.machine.state());
        true
    }

    /// Opens it and talks until its end; nothing when the host stops.
    async fn open(&mut self, stop: &mut watch::Receiver<bool>) -> Option<()> {
        let parts = self.parts.clone();
        let deadline = parts.clock().now().plus(parts.outbound.limits.call_ms);
        let context = CallContext { deadline, observer: None, event: None, operation: None };
        let opened = {
            // On the heap, for a quiet socket shall not carry the room that opening takes.
            let protocol = parts.facts.protocol.as_ref();
            let opening = Box::pin(parts.outbound.upgrade(&context, &parts.url, protocol, self.before.as_ref()));
            tokio::select! {
                biased;
                () = stopped(stop) => return None,
                opened = opening => opened,
                never = self.deliverer.work() => match never {},
            }
        };
        let (end, carried) = match opened {
            Ok(Upgraded { wire, carried }) => {
                // An opening that failed may have failed at renewing it.
                self.before = None;
                let line = FrameStream::over(wire, parts.policy.message_bytes_max);
                (self.talk(line, stop).await?, Some(carried))
            }
            Err(error) => (self.not_opened(&error), None),
        };
        let next = self.machine.ended(parts.clock().now(), end, parts.clock().jitter());
        if next.signs_in
            && let (Some(carried), End::Closed(Some(code))) = (carried, end)
        {
            if parts.outbound.has_replacement(&carried).await {
                self.before = Some(carried);
            } else {
                self.machine.cannot_sign_in(code);
            }
        }
        let (connection, socket) = (parts.connection(), &parts.name);
        let why = parts.status().last_end.clone().unwrap_or_default();
        match self.machine.state() {
            State::Closed(stays) => {
                let advice = parts.advice(*stays);
                tracing::error!(target: "wharfage::inbound", connection, socket, "the socket stays closed: {advice} ({why})");
            }
            State::Backoff(at) => {
                tracing::warn!(target: "wharfage::inbound", connection, socket, again = %at, "the socket ended: {why}");
            }
            State::Connecting | State::Open(_) => {}
        }
        Some(())
    }

    /// What keeps it from being opened, and whether that passes.
    fn not_opened(&self, error: &Error) -> End {
        let parts = &self.parts;
        let details = error.details().map_or_else(String::new, |details| format!("\n{details}"));
        parts.status().last_end = Some(format!("{}{details}", error.message()));
        parts.outbound.refusals.note(error, Some(&format!("socket {}", parts.name)), parts.clock().now());
        match error.kind() {
            // A name may lead somewhere else in a minute, and then be granted.
            Kind::PolicyDenied(rule) if rule == rule::ADDRESS => End::Kept,
            // It left, and the provider led it elsewhere, where it may not lead in a minute.
            Kind::PolicyDenied(_) | Kind::LimitExceeded(_) if error.request_sent() == RequestSent::Yes => End::Kept,
            Kind::PolicyDenied(_) | Kind::Configuration | Kind::LimitExceeded(_) => End::Refused,
            _ if error.may_retry() || *error.kind() == Kind::Deadline => {
                let latest = parts.clock().now().plus(parts.outbound.limits.block_ms);
                End::Lost(error.retry_at().map(|at| at.min(latest)))
            }
            // Somebody may connect the account again, or the provider mend what it broke; asking faster helps nobody.
            _ => End::Kept,
        }
    }

    /// Talks on an open line until its end; nothing when the host stops.
    async fn talk(&mut self, mut line: FrameStream, stop: &mut watch::Receiver<bool>) -> Option<End> {
        let parts = self.parts.clone();
        let now = parts.clock().now();
        self.opening += 1;
        self.machine.opened(now);
        parts.tell(self.machine.state());
        parts.status().openings += 1;
        let (connection, socket) = (parts.connection(), &parts.name);
        tracing::info!(target: "wharfage::inbound", connection, socket, opening = self.opening, "the socket is open");
        for text in &parts.first {
            line.send(Message::text(text.clone()), now);
        }
        // The gap is told when the subscriptions have left, so that what happens from then on comes by itself.
        let is_taken = tokio::select! {
            biased;
            () = stopped(stop) => {
                line.close(CloseCode::GOING_AWAY);
                self.goodbye(line).await;
                return None;
            }
            is_taken = line.flush() => is_taken,
            () = parts.clock().alarm(now.plus(parts.facts.pong_s.saturating_mul(1_000))) => false,
            never = self.deliverer.work() => match never {},
        };
        if !is_taken {
            parts.status().last_end = Some("the provider did not take the first messages".to_owned());
            return Some(End::Lost(None));
        }
        if self.opening > 1 || self.has_begun {
            self.deliverer.gap(self.opening);
        }
        let every_ms = |ping: &crate::manifest::PingFacts| ping.every_s.saturating_mul(1_000);
        let ping_at = parts.facts.ping.as_ref().map(|ping| now.plus(every_ms(ping)));
        let renew_at = if parts.lease.is_some() { now } else { Timestamp::MAX };
        let mut times = Times { renew_at, heard_at: now, asked_at: None, ping_at, pinged_at: None };
        let (end, why) = loop {
            tokio::select! {
                biased;
                () = stopped(stop) => {
                    line.close(CloseCode::GOING_AWAY);
                    self.goodbye(line).await;
                    return None;
                }
                () = parts.clock().alarm(times.next(&parts.facts, &line)) => {
                    if let Some(why) = times.act(&parts, &mut line) {
                        line.close(CloseCode::GOING_AWAY);
                        break (End::Lost(None), why.to_owned());
                    }
                    if times.renews(parts.clock().now()) && !parts.holds().await.unwrap_or(true) {
                        line.close(CloseCode::GOING_AWAY);
                        break (End::Lost(None), "another process keeps it open".to_owned());
                    }
                }
                answered = self.deliverer.done() => self.answer(&mut line, answered),
                came = line.next(|| parts.clock().now()) => {
                    times.heard_at = parts.clock().now();
                    times.asked_at = None;
                    match came {
                        Came::Sign => {}
                        Came::Message(message) => {
                            if !self.take_in(message, &mut times) {
                                line.close(CloseCode::GOING_AWAY);
                                break (End::Lost(None), "messages came faster than they were handled".to_owned());
                            }
                        }
                        Came::Closed(code) => {
                            let said = code.map_or_else(|| "no code".to_owned(), |code| format!("the code {code}"));
                            break (End::Closed(code), format!("the provider closed it, with {said}"));
                        }
                        Came::Broken(why) => break (End::Lost(None), why),
                    }
                }
            }
        };
        parts.status().last_end = Some(why);
        self.goodbye(line).await;
        Some(end)
    }

    /// Lets the last frames leave, for a moment.
    async fn goodbye(&mut self, mut line: FrameStream) {
        let until = self.parts.clock().now().plus(GOODBYE_MS);
        tokio::select! {
            biased;
            () = line.end() => {}
            () = self.parts.clock().alarm(until) => {}
            never = self.deliverer.work() => match never {},
        }
    }

    /// Takes a message in. False where there is no room and it must end for it.
    fn take_in(&mut self, message: Vec<u8>, times: &mut Times) -> bool {
        let parts = self.parts.clone();
        if parts.facts.ping.as_ref().is_some_and(|ping| ping.is_answer(&message)) {
            times.pinged_at = None;
            return true;
        }
        self.machine.heard();
        // What a provider sends back must not reach the plugin here either.
        let message = parts.outbound.masked(message, &parts.url);
        let number = self.deliverer.number();
        let (dropped, goes_on) = match self.deliverer.queue.put(message, self.opening, number) {
            Put::Kept => return true,
            Put::Dropped(dropped) => (dropped, true),
            Put::Reconnect => (1, false),
        };
        let before = {
            let mut status = parts.status();
            let before = status.dropped;
            status.dropped = before.saturating_add(dropped);
            before
        };
        if before == 0 {
            let (connection, socket) = (parts.connection(), &parts.name);
            tracing::warn!(
                target: "wharfage::inbound", connection, socket, overflow = ?parts.policy.overflow,
                "messages come faster than they are handled; to let more wait, raise queue_messages_max and queue_bytes_max"
            );
        }
        goes_on
    }

    /// Sends what the plugin answered, where its opening is still this one.
    fn answer(&self, line: &mut FrameStream, answered: Answered) {
        if answered.opening != self.opening {
            self.deliverer.forget(&answered);
            return;
        }
        let now = self.parts.clock().now();
        for message in answered.send {
            let message = match self.parts.facts.binary {
                true => Message::binary(message),
                false => match String::from_utf8(message) {
                    Ok(text) => Message::text(text),
                    Err(_) => {
                        let (connection, socket) = (self.parts.connection(), shown(&self.parts.name));
                        tracing::error!(
                            target: "wharfage::inbound", connection, socket,
                            "a message that is no text was not sent; in plugin.toml:   binary = true"
                        );
                        continue;
                    }
                },
            };
            line.send(message, now);
        }
    }
}

impl Times {
    /// When the next of them is.
    fn next(&self, facts: &SocketFacts, line: &FrameStream) -> Timestamp {
        let pong_ms = facts.pong_s.saturating_mul(1_000);
        let late = |since: Option<Timestamp>| since.map(|at| at.plus(pong_ms));
        let asks_at = self.heard_at.plus(facts.ping_s.saturating_mul(1_000));
        let all =
            [late(self.asked_at).or(Some(asks_at)), self.ping_at, late(self.pinged_at), late(line.waiting_since())];
        all.into_iter().flatten().min().unwrap_or(Timestamp::MAX).min(self.renew_at)
    }

    /// Whether the lease is to be renewed now.
    fn renews(&mut self, now: Timestamp) -> bool {
        let is_due = now >= self.renew_at;
        if is_due {
            self.renew_at = now.plus(RENEW_MS);
        }
        is_due
    }

    /// Asks what is due; the end of it where an answer is.
    fn act(&mut self, parts: &Parts, line: &mut FrameStream) -> Option<&'static str> {
        let now = parts.clock().now();
        let pong_ms = parts.facts.pong_s.saturating_mul(1_000);
        let is_late = |since: Option<Timestamp>| since.is_some_and(|at| now >= at.plus(pong_ms));
        if is_late(line.waiting_since()) {
            return Some("the provider took nothing within pong_s");
        }
        if is_late(self.asked_at) || is_late(self.pinged_at) {
            return Some("the provider did not answer within pong_s");
        }
        if self.asked_at.is_none() && now >= self.heard_at.plus(parts.facts.ping_s.saturating_mul(1_000)) {
            self.asked_at = Some(now);
            line.send(Message::ping(""), now);
        }
        if let (Some(ping), Some(at)) = (&parts.facts.ping, self.ping_at)
            && now >= at
        {
            self.ping_at = Some(now.plus(ping.every_s.saturating_mul(1_000)));
            if ping.answer.is_some() {
                self.pinged_at.get_or_insert(now);
            }
            line.send(Message::text(ping.message.clone()), now);
        }
        None
    }
}

/// Waits until the host stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::store::MemoryStore;
    use crate::time::ManualClock;
    use crate::vault::Secrets;

    struct Nobody;

    impl SocketHandler for Nobody {
        fn has_begun(&self) -> BoxFuture<'_, Result<bool>> {
            Box::pin(async { Ok(false) })
        }

        fn take(&self, _: &str, _: Trigger) -> BoxFuture<'_, Result<Vec<Vec<u8>>>> {
            Box::pin(async { Ok(Vec::new()) })
        }
    }

    /// What nobody can say is trouble, and no other process that does well.
    #[tokio::test]
    async fn a_store_that_cannot_be_asked_is_no_other_process() {
        let (clock, store) = (ManualClock::new(Timestamp::from_millis(1), 1), Arc::new(MemoryStore::default()));
        let secrets = Arc::new(Secrets::new("p", "acme", BTreeMap::new()));
        let outbound = Arc::new(Outbound::nowhere(secrets, Arc::new(clock.clone())));
        let facts: SocketFacts = toml::from_str("origin = 'api'\npath = '/ws'").unwrap();
        let lease = Lease { store: store.clone(), name: "socket".to_owned(), holder: "here".to_owned() };
        let policy = SocketPolicy::default();
        let socket = Socket::leased("s", &facts, &policy, outbound, Arc::new(Nobody), Some(lease)).unwrap();
        store.lease("socket", "there", clock.now(), clock.now().plus(LEASE_MS)).await.unwrap();
        let running = socket.clone();
        let running = tokio::spawn(async move { running.run().await });
        for (is_full, state) in
            [(true, SocketState::Connecting), (false, SocketState::StandBy), (true, SocketState::Connecting)]
        {
            store.is_full.store(is_full, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            clock.advance(STAND_BY_MS.0 * 4);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(socket.status().state, state, "{is_full}");
        }
        running.abort();
    }

    #[test]
    fn what_is_too_much_is_not_handed_over_again() {
        assert!(!may_pass(&Error::limit("emitted_bytes", "they never find room")));
    }

    #[test]
    fn a_quiet_socket_carries_little() {
        // What runs on is one of these, in its task, beside the line's buffer of 8 KiB.
        assert!(size_of::<Keeper>() < 1 << 10, "{}", size_of::<Keeper>());
        assert!(size_of::<FrameStream>() < 1 << 10, "{}", size_of::<FrameStream>());
    }
}
