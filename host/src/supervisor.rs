//! Everything that a `wharfage.toml` declares, at work: webhooks, polls, sockets and sinks.
//!
//! Nothing starts before all of it can: a plugin that does not load, a webhook without its secret or a sink without an
//! address keeps all of it from starting, and every reason is told at once. A change of the configuration is taken up the
//! same way or not at all; what it does not touch goes on, and what it ends finishes its work.

mod address;
mod approved;
pub(crate) mod ask;
pub(crate) mod console;
mod group;
pub(crate) mod publish;
mod view;
mod watch;
pub(crate) mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{AbortHandle, JoinHandle};

use crate::account::Account;
use crate::alerts::Alert;
use crate::connection::{Config, Connection};
use crate::error::{Error, Kind, Result};
use crate::health::{self, DEAD_MAX, Health, HealthReport, Subject};
use crate::host::Host;
use crate::inbound::envelope::Emitter;
use crate::inbound::handler::{Handler, Parts};
use crate::inbound::inbox::Inbox;
use crate::inbound::poll::{PollHealth, Poller};
use crate::inbound::sink::worker::{SinkState, SinkWorker, Stop};
use crate::inbound::socket::{Socket, SocketState, SocketStatus};
use crate::inbound::webhook::{Endpoint, WebhookCounts};
use crate::manifest::Needs;
use crate::observe::metrics::{EndpointMetrics, Metrics, PollMetrics, SinkMetrics, SocketMetrics};
use crate::outbound::admit::Leaving;
use crate::plugin::Plugin;
use crate::policy::serve::{ServeLimits, ServePolicy};
use crate::serve::webhooks::Webhooks;
use crate::store::arrival::NAMES_AT_ONCE;
use crate::supervisor::console::Console;
use crate::supervisor::group::Group;
use crate::supervisor::watch::{Sources, Watch};
use crate::supervisor::watched::{Looked, Phase, Survey, Watched, WatchedConnection, side_by_side};

pub use crate::supervisor::address::ConsoleAddress;
pub(crate) use crate::supervisor::view::ServingView;

/// How often what is over is forgotten.
const SWEEP_MS: u64 = 600_000;
/// The same while there is more of it than goes at once.
const SWEEP_AGAIN_MS: u64 = 5_000;

/// How often it is looked whether a connection is to be probed, and for how long nobody has seen it then.
const PROBE_EVERY_MS: u64 = 60_000;
const UNSEEN_MS: u64 = 240_000;

/// Everything at work. Dropping it stops everything at once, which loses nothing; [`Serving::drain`] lets it finish.
pub struct Serving {
    host: Host,
    running: Arc<tokio::sync::Mutex<Running>>,
    /// What reloads ended and what still finishes its work.
    ending: Mutex<Vec<JoinHandle<()>>>,
    /// What health looks at, which waits for no reload.
    watched: Arc<Mutex<Arc<Watched>>>,
    /// What is seen of all of it, over reloads.
    watch: Arc<Watch>,
}

debug_shows!(Serving);

/// What runs now.
#[derive(Default)]
struct Running {
    policy: ServePolicy,
    webhooks: Option<Webhooks>,
    console: Option<Console>,
    units: BTreeMap<String, Unit>,
    sinks: Option<Group<Stop>>,
    sink_states: Vec<Arc<Mutex<SinkState>>>,
    sweeper: Option<Group>,
    prober: Option<Group>,
    watcher: Option<Group>,
}

/// A connection at work: what was made ready, and the tasks that drive it.
struct Unit {
    ready: Ready,
    group: Group,
}

/// What a unit was made from; where it is the same, it goes on.
#[derive(PartialEq)]
struct Stated {
    digest: crate::artifact::Digest,
    connection: Connection,
    account: Option<Account>,
    limits: ServeLimits,
}

/// A connection that can start.
struct Ready {
    stated: Stated,
    plugin: Plugin,
    inbox: Inbox,
    polls: Vec<(String, Arc<Poller<Handler>>)>,
    sockets: Vec<(String, Socket)>,
}

/// What a reload is to change.
struct Change {
    /// The connections that go on.
    same: BTreeSet<String>,
    /// The others: what they say of a budget does not bind those that begin.
    leaving: Leaving,
    /// The connections that begin, or begin anew.
    ready: BTreeMap<String, Ready>,
    /// Every endpoint.
    endpoints: Vec<Arc<Endpoint>>,
    /// A listener, where none is there that goes on.
    webhooks: Option<Webhooks>,
    /// A private listener, likewise.
    console: Option<Console>,
    /// Every sink.
    workers: Vec<SinkWorker>,
}

/// What a reload changed, by connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// These began.
    pub started: Vec<String>,
    /// These began anew.
    pub changed: Vec<String>,
    /// These ended.
    pub ended: Vec<String>,
    /// These settings hold from the next start on.
    pub after_restart: Vec<String>,
}

/// How it stands with everything at work.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServingState {
    /// Polled triggers, by connection and name.
    pub polls: Vec<(String, String, PollHealth)>,
    /// Sockets, by connection and name.
    pub sockets: Vec<(String, String, SocketStatus)>,
    /// Endpoints of webhooks, by id.
    pub endpoints: Vec<(String, WebhookCounts)>,
    /// Sinks.
    pub sinks: Vec<SinkState>,
}

impl Host {
    /// Starts everything that a `wharfage.toml` declares: what `wharfage serve` does. What arrives is acknowledged when it is
    /// stored: without a state folder ([`HostBuilder::state_dir`](crate::HostBuilder::state_dir)) that is in memory, and ends
    /// with the host.
    ///
    /// ```no_run
    /// # async fn example(host: &wharfage::Host, config: &wharfage::Config) -> wharfage::Result<()> {
    /// let serving = host.serve(config).await?;
    /// tokio::signal::ctrl_c().await.ok();
    /// serving.drain().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Configuration`] with everything that keeps it from starting, or the kind that all of it has; then nothing
    /// runs.
    pub async fn serve(&self, config: &Config) -> Result<Serving> {
        let serving = Serving::idle(self);
        serving.reload(config).await?;
        Ok(serving)
    }

    /// How connections of a `wharfage.toml` are, all where none is named: each is opened, with its polls as the state folder
    /// has them, and probed where `probe` says so. All of that happens side by side, and what hangs or breaks holds nobody
    /// up. Where none is named, sinks with dead letters are told too. Nothing of it needs a `wharfage serve` that runs.
    pub async fn health(&self, config: &Config, names: &[String], probe: bool) -> HealthReport {
        let wanted: Vec<String> = match names {
            [] => config.connections.keys().cloned().collect(),
            names => names.to_vec(),
        };
        let (config, backlog) = (Arc::new(config.clone()), Arc::new(self.store().backlog().await));
        let look = |name: String| {
            let (serving, config, backlog) = (Serving::idle(self), config.clone(), backlog.clone());
            async move {
                let broken = |error: &Error| Looked::from(Health::not_opening(&name, error, now(&serving.host)));
                let ready = match serving.prepare(&config, &name).await {
                    Ok(ready) => ready,
                    Err(error) => return broken(&error),
                };
                if probe {
                    ready.plugin.probe().await;
                    ready.plugin.flush().await;
                }
                // Nothing was begun, so a socket that is not open tells nothing.
                let manifest = &ready.plugin.needs().manifest;
                let own = config.endpoints.values().filter(|policy| policy.connection == name);
                let facts = own.filter_map(|policy| manifest.webhooks.get(&policy.webhook));
                let verifying = facts.map(|facts| facts.verify.secret().to_owned()).collect();
                let watched = WatchedConnection { sockets: Vec::new(), verifying, ..ready.watched(&name, &[]) };
                watched.look(&serving.host, &backlog).await
            }
        };
        let looked = side_by_side(self, wanted.iter().map(|name| (name.clone(), look(name.clone())))).await;
        let mut all: Vec<Health> = looked.into_iter().map(|looked| looked.health).collect();
        if names.is_empty() {
            let dead = backlog.as_ref().as_ref().map(|backlog| backlog.letters.clone()).unwrap_or_default();
            let letters = |name: &String| dead.get(name).copied().unwrap_or_default().min(DEAD_MAX);
            let sinks = config.sinks.keys().filter(|name| letters(name) > 0);
            all.extend(sinks.map(|name| health::of_sink(name, None, letters(name), now(self))));
        }
        HealthReport::new(now(self), all)
    }
}

fn now(host: &Host) -> crate::time::Timestamp {
    host.clock().now()
}

impl Serving {
    /// Nothing at work yet.
    fn idle(host: &Host) -> Self {
        let (running, ending, watched) = Default::default();
        let watch = Arc::new(Watch::new(host.publisher()));
        Self { host: host.clone(), running, ending, watched, watch }
    }

    /// How everything at work is: each connection with its polls, sockets and webhooks, and each sink. No provider is asked,
    /// and nothing is waited for but the store.
    pub async fn health(&self) -> HealthReport {
        self.watched().look(&self.host).await.report
    }

    /// The same, after every provider was asked that nobody has seen for a minute, all side by side: see [`Plugin::probe`].
    pub async fn probe(&self) -> HealthReport {
        self.watched().probe(&self.host, 0).await;
        self.health().await
    }

    /// What `/healthz` answers, status and JSON: the process lives.
    pub fn lived(&self) -> (u16, String) {
        health::lived(now(&self.host))
    }

    /// What `/readyz` answers, status and JSON: 200 where the host does its own work, else 503 with what keeps it from that:
    /// everything declared runs, no worker has ended, and the store can be written. A provider that is down does not make it
    /// 503; how connections are stands in the answer all the same. All of it was seen within the last five seconds.
    pub async fn ready(&self) -> (u16, String) {
        let watched = self.watched();
        health::ready(&watched.survey(&self.host).await.report, &watched.hindrances(&self.host).await)
    }

    fn watched(&self) -> Arc<Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn watch_over(&self, watched: Arc<Watched>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }

    /// Asks how connections are that nobody called.
    fn prober(&self) -> Group {
        let (host, watched) = (self.host.clone(), self.watched.clone());
        let mut group = Group::new();
        group.spawn(async move {
            let clock = host.clock().clone();
            loop {
                clock.alarm(clock.now().plus(PROBE_EVERY_MS)).await;
                let watched = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
                watched.probe(&host, UNSEEN_MS).await;
            }
        });
        group
    }

    /// Takes up another configuration: what it does not change goes on, what it ends or changes finishes its work beside
    /// what begins. A connection with a socket that stays closed begins anew, so that it is opened once more.
    ///
    /// # Errors
    /// As for [`Host::serve`], and [`Kind::PolicyDenied`] where another component, which nobody has pinned, takes a secret of a
    /// running connection elsewhere or trusts other keys, and nothing else is wrong; then everything goes on as before.
    ///
    /// # Cancellation
    /// It is taken up whole or not at all. Where the future is dropped before it answers, everything goes on as before.
    pub async fn reload(&self, config: &Config) -> Result<Reloaded> {
        let mut running = self.running.lock().await;
        let change = self.prepared(config, &running).await?;
        Ok(self.take_up(config, &mut running, change))
    }

    /// Everything that a configuration changes of what runs, all of which can start. What runs goes on meanwhile.
    ///
    /// # Errors
    /// As for [`Host::serve`].
    async fn prepared(&self, config: &Config, running: &Running) -> Result<Change> {
        let mut wrong = Vec::new();
        let mut ready = BTreeMap::new();
        let working = working(config);
        let is_same = |(name, unit): &(&String, &Unit)| {
            working.contains(name.as_str())
                && !unit.has_closed_socket()
                && self.stated(config, name).is_ok_and(|stated| stated == unit.ready.stated)
        };
        let same: BTreeSet<String> = running.units.iter().filter(is_same).map(|(name, _)| name.clone()).collect();
        let going = running.units.iter().filter(|(name, _)| !same.contains(*name));
        let leaving = Leaving::of(going.map(|(_, unit)| &unit.ready.plugin.outbound().queues));
        for name in working.into_iter().filter(|name| !same.contains(*name)) {
            let before = running.units.get(name).map(|unit| &unit.ready);
            let made = self.prepare(config, name).await.and_then(|made| {
                approved::check(config, name, before, &made.plugin)?;
                Ok(made)
            });
            match made {
                Ok(made) => drop(ready.insert(name.to_owned(), made)),
                Err(error) => wrong.push(error),
            }
        }
        let endpoints = self.endpoints(config, running, &ready, &mut wrong).await;
        let webhooks = match self.listen(config, running, &endpoints).await {
            Ok(webhooks) => webhooks,
            Err(error) => {
                wrong.push(error);
                None
            }
        };
        let console = self.console_at(config, running).await.map_err(|error| wrong.push(error)).unwrap_or_default();
        let workers = self.host.sinks(config).await.map_err(|error| wrong.push(error)).unwrap_or_default();
        match together(wrong) {
            Some(error) => Err(error),
            None => Ok(Change { same, leaving, ready, endpoints, webhooks, console, workers }),
        }
    }

    /// Takes up a change. It waits for nothing and nothing of it fails, so a change is taken up as a whole, also where
    /// whoever reloads goes away.
    fn take_up(&self, config: &Config, running: &mut Running, change: Change) -> Reloaded {
        let Change { same, leaving, ready, endpoints, webhooks, console, workers } = change;
        leaving.go();
        // What is received from now on is for the new ones.
        self.take_up_listeners(config, running, &endpoints, webhooks, console);
        let mut reloaded = Reloaded { after_restart: self.after_restart(config), ..Reloaded::default() };
        let gone: Vec<String> = running.units.keys().filter(|name| !same.contains(*name)).cloned().collect();
        for name in gone {
            if !ready.contains_key(&name) {
                reloaded.ended.push(name.clone());
            }
            if let Some(unit) = running.units.remove(&name) {
                if ready.contains_key(&name) {
                    reloaded.changed.push(name);
                }
                self.finish(unit);
            }
        }
        for (name, ready) in ready {
            if !reloaded.changed.contains(&name) {
                reloaded.started.push(name.clone());
            }
            running.units.insert(name, ready.start());
        }
        // Each finishes what it is giving, which lasts as long as its receiver takes. Its successor waits for its lease.
        if let Some(sinks) = running.sinks.take() {
            self.end(sinks, Stop::Soon);
        }
        let workers: Vec<SinkWorker> = workers.into_iter().map(|worker| worker.after(&running.sink_states)).collect();
        running.sink_states = workers.iter().map(SinkWorker::state).collect();
        let mut sinks = Group::new();
        for worker in workers {
            sinks.spawn(worker.run(sinks.stop.subscribe()));
        }
        running.sinks = Some(sinks);
        running.sweeper = Some(self.sweeper(config));
        let watched = |(name, unit): (&String, &Unit)| unit.ready.watched(name, &endpoints);
        let watched = Arc::new(Watched {
            connections: running.units.iter().map(watched).collect(),
            sinks: running.sink_states.clone(),
            phase: Phase::Serving,
            workers: running.workers(),
            ..Watched::default()
        });
        self.watch_over(watched);
        running.prober = config.serve.probe.then(|| self.prober());
        running.watcher = Some(self.watcher(config, running));
        running.policy = config.serve.clone();
        reloaded
    }

    /// Puts new listeners in the place of those before, has those that stay serve what is stated now, and closes the
    /// others.
    fn take_up_listeners(
        &self,
        config: &Config,
        running: &mut Running,
        endpoints: &[Arc<Endpoint>],
        webhooks: Option<Webhooks>,
        console: Option<Console>,
    ) {
        if let Some(webhooks) = webhooks
            && let Some(before) = running.webhooks.replace(webhooks)
        {
            self.ending().push(tokio::spawn(before.close()));
        }
        match endpoints.is_empty() {
            false => {
                running.webhooks.iter().for_each(|webhooks| webhooks.replace(endpoints.to_vec(), config.serve.limits))
            }
            true => {
                if let Some(before) = running.webhooks.take() {
                    self.ending().push(tokio::spawn(before.close()));
                }
            }
        }
        let before = match (&config.serve.console, console) {
            (_, Some(console)) => running.console.replace(console),
            (Some(policy), None) => {
                running.console.iter().for_each(|console| console.replace(policy.clone()));
                None
            }
            (None, None) => running.console.take(),
        };
        self.ending().extend(before.map(|before| tokio::spawn(before.close())));
    }

    /// The settings that the host was started with and that are others now.
    fn after_restart(&self, config: &Config) -> Vec<String> {
        let (now, stated) = (self.host.engine_limits().all(), config.engine.limits.all());
        let differ = now.iter().zip(&stated).filter(|(now, stated)| now.value != stated.value);
        differ.map(|(now, _)| format!("[engine] limits.{}", now.name)).collect()
    }

    /// What a connection states, with its component as it lies there.
    fn stated(&self, config: &Config, name: &str) -> Result<Stated> {
        Stated::of(config, name, self.host.digest(config, name)?)
    }

    /// Loads a connection and judges everything that it states.
    async fn prepare(&self, config: &Config, name: &str) -> Result<Ready> {
        let connection = config.connection(name)?;
        let limits = config.serve.limits;
        let plugin = self.host.open_beside(config, name).await?;
        let stated = Stated::of(config, name, plugin.digest())?;
        let handler = self.handler(name, connection, &plugin, &limits);
        let inbox = Inbox::new(handler.clone(), limits.inbox())?;
        let polls = polls(name, connection, plugin.needs(), &handler)?;
        let sockets = sockets(connection, &plugin, &handler)?;
        Ok(Ready { stated, plugin, inbox, polls, sockets })
    }

    /// Opens every endpoint over the connection as it runs, or as it will.
    async fn endpoints(
        &self,
        config: &Config,
        running: &Running,
        ready: &BTreeMap<String, Ready>,
        wrong: &mut Vec<Error>,
    ) -> Vec<Arc<Endpoint>> {
        let mut endpoints = Vec::new();
        let before = running.webhooks.as_ref().map(Webhooks::endpoints).unwrap_or_default();
        for (id, policy) in &config.endpoints {
            let unit = || running.units.get(&policy.connection).map(|unit| &unit.ready);
            // A connection that cannot start has said so.
            let Some(Ready { plugin, inbox, .. }) = ready.get(&policy.connection).or_else(unit) else { continue };
            match Endpoint::open(id, policy, plugin, Arc::new(inbox.clone())).await {
                Ok(endpoint) => endpoints.push(Arc::new(match before.get(id) {
                    Some(before) => endpoint.after(before),
                    None => endpoint,
                })),
                Err(error) => wrong.push(error),
            }
        }
        endpoints
    }

    /// A listener where there is none yet, or at another address than before.
    async fn listen(
        &self,
        config: &Config,
        running: &Running,
        endpoints: &[Arc<Endpoint>],
    ) -> Result<Option<Webhooks>> {
        let policy = &config.serve;
        let is_there = running.webhooks.is_some() && running.policy.listen == policy.listen;
        if is_there || endpoints.is_empty() {
            return Ok(None);
        }
        let clock = self.host.clock().clone();
        Webhooks::listen(policy.listen, endpoints.to_vec(), policy.limits, clock).await.map(Some)
    }

    /// A private listener where there is none yet, or at another address than before.
    async fn console_at(&self, config: &Config, running: &Running) -> Result<Option<Console>> {
        let Some(policy) = &config.serve.console else { return Ok(None) };
        let before = running.policy.console.as_ref().filter(|_| running.console.is_some());
        if before.is_some_and(|before| before.listen == policy.listen) {
            return Ok(None);
        }
        Console::listen(policy.clone(), self.view()).await.map(Some)
    }

    fn ending(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handler(&self, name: &str, connection: &Connection, plugin: &Plugin, limits: &ServeLimits) -> Handler {
        let manifest = &plugin.needs().manifest;
        let wake = self.host.wake().clone();
        Handler::new(Parts {
            handles: Arc::new(plugin.clone()),
            emitter: Emitter {
                connection: name.to_owned(),
                account: connection.account.clone(),
                plugin: manifest.plugin.name.clone(),
            },
            event_types: manifest.events.keys().cloned().collect(),
            limits: connection.limits,
            keeping: limits.keeping(),
            store: self.host.store().clone(),
            clock: self.host.clock().clone(),
            told: Arc::new(move || wake.ring()),
        })
    }

    fn sweeper(&self, config: &Config) -> Group {
        let (store, clock) = (self.host.store().clone(), self.host.clock().clone());
        let (limits, sinks) = (config.serve.limits, config.sinks.keys().cloned().collect::<Vec<_>>());
        let mut group = Group::new();
        group.spawn(async move {
            loop {
                let swept = store.sweep(limits.sweep(clock.now(), sinks.clone())).await;
                match &swept {
                    Ok(gone) => tracing::debug!(target: "wharfage::inbound", gone, "what is over was forgotten"),
                    Err(error) => tracing::error!(target: "wharfage::inbound", "what is over is still there: {error}"),
                }
                let may_be_more = swept.is_ok_and(|gone| gone >= NAMES_AT_ONCE);
                let wait_ms = if may_be_more { SWEEP_AGAIN_MS } else { SWEEP_MS };
                clock.alarm(clock.now().plus(wait_ms)).await;
            }
        });
        group
    }

    /// Watches what runs from now on.
    fn watcher(&self, config: &Config, running: &Running) -> Group {
        let units = || running.units.iter();
        let sources = Sources {
            host: self.host.clone(),
            plugins: units().map(|(name, unit)| (name.clone(), unit.ready.plugin.clone())).collect(),
            inboxes: units().map(|(_, unit)| unit.ready.inbox.clone()).collect(),
            watched: self.watched(),
            sinks: running.sink_states.clone(),
        };
        let (watch, policy, keeping) = (self.watch.clone(), config.alerts.clone(), config.serve.limits.keeping());
        let mut group = Group::new();
        group.spawn(async move { watch.run(&policy, keeping, &sources).await });
        group
    }

    /// Every alert that is about to fire, or fires, in order.
    pub fn alerts(&self) -> Vec<Alert> {
        self.watch.alerts()
    }

    /// Lets a unit finish beside whatever runs.
    fn finish(&self, unit: Unit) {
        unit.ready.sockets.iter().for_each(|(_, socket)| socket.drain());
        self.end(unit.group, true);
    }

    /// Lets a group end, and waits for it when everything is to end.
    fn end<S: Default + Send + Sync + 'static>(&self, mut group: Group<S>, how: S) {
        group.end(how);
        let mut ending = self.ending();
        ending.retain(|task| !task.is_finished());
        ending.push(tokio::spawn(async move { group.ended().await }));
    }

    /// Begins nothing new, lets what is under way end for as long as `serve.limits.drain_ms` says, and stops. Answers whether
    /// everything ended by itself; what did not begins again with the next start, and loses nothing. A renewal of tokens is
    /// waited for beyond that, for a provider may give its answer once: a minute or two, where it does not answer.
    ///
    /// # Cancellation
    /// Where the future is dropped, nobody waits any more: sinks stop at once, and all else that was told to end goes on to
    /// its end by itself. Nothing is lost, unless the process ends while tokens are being renewed.
    pub async fn drain(self) -> bool {
        let mut running = self.running.lock().await;
        let clock = self.host.clock();
        let over = clock.alarm(clock.now().plus(running.policy.limits.drain_ms));
        running.watcher = None;
        self.watch_over(Arc::new(Watched::at(Phase::Stopping)));
        for (_, unit) in std::mem::take(&mut running.units) {
            self.finish(unit);
        }
        if let Some(webhooks) = running.webhooks.take() {
            self.ending().push(tokio::spawn(webhooks.close()));
        }
        let ending = std::mem::take(&mut *self.ending());
        let aborts: Vec<_> = ending.iter().map(JoinHandle::abort_handle).collect();
        let (sinks, console) = (running.sinks.take(), running.console.take());
        // Whoever looks meanwhile sees that nothing runs any more.
        drop(running);
        let all = async move {
            for task in ending {
                let _ = task.await;
            }
            // Last, for what was emitted until now.
            if let Some(mut sinks) = sinks {
                sinks.end(Stop::Last);
                sinks.ended().await;
            }
            if let Some(console) = console {
                console.close().await;
            }
        };
        let ended = tokio::select! {
            biased;
            () = all => true,
            () = over => false,
        };
        aborts.iter().for_each(AbortHandle::abort);
        self.host.settle_tokens().await;
        ended
    }

    /// What runs, in words: one line each.
    pub async fn declared(&self) -> Vec<String> {
        let running = self.running.lock().await;
        let mut all = Vec::new();
        if let Some(webhooks) = &running.webhooks {
            let (address, endpoints) = (webhooks.address(), webhooks.endpoints());
            all.extend(endpoints.keys().map(|id| format!("webhook http://{address}/webhooks/{id}")));
        }
        for (connection, unit) in &running.units {
            all.extend(unit.ready.polls.iter().map(|(name, _)| format!("poll {name} of {connection}")));
            all.extend(unit.ready.sockets.iter().map(|(name, _)| format!("socket {name} of {connection}")));
        }
        let sink = |state: &Arc<Mutex<SinkState>>| {
            format!("sink {}", state.lock().unwrap_or_else(PoisonError::into_inner).name)
        };
        all.extend(running.sink_states.iter().map(sink));
        all
    }

    /// Where webhooks arrive, if any do.
    pub async fn address(&self) -> Option<SocketAddr> {
        self.running.lock().await.webhooks.as_ref().map(Webhooks::address)
    }

    /// Where console, health and metrics are asked for, if they are.
    pub async fn console(&self) -> Option<ConsoleAddress> {
        self.running.lock().await.console.as_ref().map(Console::address)
    }

    /// Looks at once for stored events that are due, as after a replay.
    pub async fn wake(&self) {
        self.running.lock().await.units.values().for_each(|unit| unit.ready.inbox.wake());
    }

    /// How it stands with everything.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn state(&self) -> Result<ServingState> {
        let running = self.running.lock().await;
        let polls = running.polls().await?;
        Ok(running.state(polls))
    }

    /// What was counted and timed, as [`Host::metrics`] has it, with what runs here: endpoints, polls, sockets, sinks, and
    /// how many events wait or were given up. What the store does not tell is left out.
    ///
    /// # Errors
    /// None so far.
    pub async fn metrics(&self) -> Result<Metrics> {
        Ok(self.measured(&self.watched().look(&self.host).await).await)
    }

    /// The same, with what is judged and read from the store as this survey has it.
    async fn measured(&self, survey: &Survey) -> Metrics {
        let backlog = survey.backlog.as_ref().ok();
        let state = self.running.lock().await.state(survey.polls.clone());
        let mut metrics = self.host.metrics();
        let now = metrics.at;
        for connection in &mut metrics.connections {
            let judged = survey
                .report
                .all
                .iter()
                .find(|of| of.subject == Subject::Connection && of.name == connection.connection);
            connection.health = judged.map(|of| of.state.name());
            let count = |counts: &BTreeMap<String, u64>| counts.get(&connection.connection).copied().unwrap_or(0);
            let counts = backlog.map(|backlog| (count(&backlog.waiting), count(&backlog.dead)));
            (connection.waiting, connection.dead_letters) = counts.unzip();
        }
        let endpoint = |(endpoint, counts): (String, WebhookCounts)| {
            let WebhookCounts { received, repeated, refused, turned_away, .. } = counts;
            EndpointMetrics { endpoint, received, repeated, refused, turned_away }
        };
        metrics.endpoints = state.endpoints.into_iter().map(endpoint).collect();
        let poll = |(connection, poll, health): (String, String, PollHealth)| PollMetrics {
            connection,
            poll,
            succeeded_at: health.succeeded_at,
            age_ms: health.succeeded_at.map(|at| now.since(at)),
            lag_ms: health.lag_ms,
            failures: health.failures,
            is_behind: health.is_behind,
        };
        metrics.polls = state.polls.into_iter().map(poll).collect();
        let socket = |(connection, socket, status): (String, String, SocketStatus)| SocketMetrics {
            connection,
            socket,
            state: status.state.name(),
            since: status.since,
            openings: status.openings,
            dropped: status.dropped,
            given_up: status.given_up,
        };
        metrics.sockets = state.sockets.into_iter().map(socket).collect();
        let sink = |sink: SinkState| SinkMetrics {
            state: sink.doing.name(),
            given: sink.given,
            dead: sink.dead,
            dead_letters: backlog.map(|backlog| backlog.letters.get(&sink.name).copied().unwrap_or(0)),
            position: sink.position,
            sink: sink.name,
        };
        metrics.sinks = state.sinks.into_iter().map(sink).collect();
        metrics
    }
}

impl Running {
    async fn polls(&self) -> Result<Vec<(String, String, PollHealth)>> {
        let mut polls = Vec::new();
        for (connection, unit) in &self.units {
            for (name, poll) in &unit.ready.polls {
                polls.push((connection.clone(), name.clone(), poll.health().await?));
            }
        }
        Ok(polls)
    }

    fn state(&self, polls: Vec<(String, String, PollHealth)>) -> ServingState {
        let mut state = ServingState { polls, ..ServingState::default() };
        for (connection, unit) in &self.units {
            for (name, socket) in &unit.ready.sockets {
                state.sockets.push((connection.clone(), name.clone(), socket.status()));
            }
        }
        if let Some(webhooks) = &self.webhooks {
            let counted = |(id, endpoint): (&String, &Arc<Endpoint>)| (id.clone(), endpoint.counts());
            state.endpoints = webhooks.endpoints().iter().map(counted).collect();
        }
        let sink = |state: &Arc<Mutex<SinkState>>| state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        state.sinks = self.sink_states.iter().map(sink).collect();
        state
    }

    /// What goes on until it is ended, in words. A socket may close for good.
    fn workers(&self) -> Vec<(String, AbortHandle)> {
        let mut all = Vec::new();
        for (connection, unit) in &self.units {
            let polls = unit.ready.polls.iter().map(|(name, _)| format!("the poll {name} of {connection}"));
            let names = [format!("the inbox of {connection}")].into_iter().chain(polls);
            all.extend(names.zip(unit.group.tasks.iter().map(JoinHandle::abort_handle)));
        }
        let sink = |state: &Arc<Mutex<SinkState>>| {
            format!("the sink {}", state.lock().unwrap_or_else(PoisonError::into_inner).name)
        };
        let tasks = self.sinks.iter().flat_map(|sinks| sinks.tasks.iter().map(JoinHandle::abort_handle));
        all.extend(self.sink_states.iter().map(sink).zip(tasks));
        all.extend(self.webhooks.iter().map(|webhooks| ("the listener of webhooks".to_owned(), webhooks.worker())));
        all
    }
}

impl Unit {
    /// Whether a socket of it stays closed.
    fn has_closed_socket(&self) -> bool {
        self.ready.sockets.iter().any(|(_, socket)| matches!(socket.status().state, SocketState::Closed(_)))
    }
}

impl Stated {
    fn of(config: &Config, name: &str, digest: crate::artifact::Digest) -> Result<Self> {
        let connection = config.connection(name)?.clone();
        let account = connection.account.as_ref().and_then(|account| config.accounts.get(account)).cloned();
        Ok(Self { digest, connection, account, limits: config.serve.limits })
    }
}

impl Ready {
    fn watched(&self, name: &str, endpoints: &[Arc<Endpoint>]) -> WatchedConnection {
        let own: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.connection() == name).cloned().collect();
        WatchedConnection {
            name: name.to_owned(),
            plugin: self.plugin.clone(),
            inbox: self.inbox.clone(),
            polls: self.polls.clone(),
            sockets: self.sockets.clone(),
            verifying: own.iter().map(|endpoint| endpoint.secret().to_owned()).collect(),
            endpoints: own,
        }
    }

    fn start(self) -> Unit {
        self.plugin.take_up();
        let mut group = Group::new();
        let (inbox, stop) = (self.inbox.clone(), group.stop.subscribe());
        group.spawn(async move { inbox.run(stop).await });
        for (_, poll) in &self.polls {
            let (poll, stop) = (poll.clone(), group.stop.subscribe());
            group.spawn(async move { poll.run(stop).await });
        }
        for (name, socket) in &self.sockets {
            let (name, socket, connection) = (name.clone(), socket.clone(), self.inbox.connection().to_owned());
            group.spawn(async move {
                if let Err(error) = socket.run().await {
                    tracing::error!(target: "wharfage::inbound", connection, socket = name, "it cannot run: {error}");
                }
            });
        }
        Unit { ready: self, group }
    }
}

/// The connections that something is declared for.
fn working(config: &Config) -> BTreeSet<&str> {
    let polled = config.connections.iter().filter(|(_, all)| !all.polls.is_empty() || !all.sockets.is_empty());
    let endpoints = config.endpoints.values().map(|endpoint| endpoint.connection.as_str());
    polled.map(|(name, _)| name.as_str()).chain(endpoints).collect()
}

/// The polls that a connection wants to run; that its plugin declares them, its grant has seen to.
fn polls(
    connection: &str,
    stated: &Connection,
    needs: &Needs,
    handler: &Handler,
) -> Result<Vec<(String, Arc<Poller<Handler>>)>> {
    let poll = |(name, policy): (&String, _)| {
        let facts = needs.manifest.polls.get(name)?;
        let (store, clock) = (handler.store().clone(), handler.clock().clone());
        let poller = Poller::new((connection, name), facts, policy, handler.clone(), store, clock);
        Some(poller.map(|poller| (name.clone(), Arc::new(poller))))
    };
    stated.polls.iter().filter_map(poll).collect()
}

/// The sockets, likewise.
fn sockets(stated: &Connection, plugin: &Plugin, handler: &Handler) -> Result<Vec<(String, Socket)>> {
    let socket = |(name, policy): (&String, _)| {
        let facts = plugin.needs().manifest.sockets.get(name)?;
        let socket = Socket::handled(name, facts, policy, plugin.outbound().clone(), handler.clone());
        Some(socket.map(|socket| (name.clone(), socket)))
    };
    stated.sockets.iter().filter_map(socket).collect()
}

/// Several reasons as one error: the first in the sentence, all of them in the details. Where all are of one kind, it is
/// of that kind.
fn together(mut wrong: Vec<Error>) -> Option<Error> {
    if wrong.len() < 2 {
        return wrong.pop();
    }
    let mut details = String::new();
    for error in &wrong {
        details.push_str("- ");
        details.push_str(&error.to_string().replace('\n', "\n  "));
        details.push('\n');
    }
    let kind = wrong.first().map(Error::kind).filter(|kind| wrong.iter().all(|error| error.kind() == *kind));
    let message = format!("{} things keep this configuration from starting", wrong.len());
    Some(Error::new(kind.cloned().unwrap_or(Kind::Configuration), message).with_details(details.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::rule;

    #[test]
    fn reasons_of_one_kind_are_one_error_of_that_kind() {
        let denied = || Error::denied(rule::CREDENTIAL, "the key goes elsewhere", "a digest");
        let error = together(vec![denied(), denied()]).unwrap();
        assert_eq!(error.kind(), denied().kind());
        assert!(error.message().starts_with("2 things") && error.details().unwrap().contains("a digest"), "{error}");
        let error = together(vec![denied(), Error::configuration("no such poll")]).unwrap();
        assert_eq!(error.kind(), &Kind::Configuration);
    }
}
