//! Everything that a `wharfage.toml` declares, at work: webhooks, polls, sockets, workers and sinks.
//!
//! Nothing starts before all of it can: a plugin that does not load, a webhook without its secret or a sink without an
//! address keeps all of it from starting, and every reason is told at once. A change of the configuration is taken up the
//! same way or not at all; what it does not touch goes on, and what it ends finishes its work.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::envelope::Emitter;
use super::handler::{Handler, Parts};
use super::inbox::Inbox;
use super::policy::{ServeLimits, ServePolicy};
use super::poll::run::{PollHealth, Poller};
use super::sink::line::{Line, SinkState};
use super::socket::{Socket, SocketStatus};
use super::webhook::{Counts, Endpoint};
use crate::account::Account;
use crate::connection::{Config, Connection};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::manifest::Needs;
use crate::observe::alerts::Alert;
use crate::observe::alerts::watch::{Sources, Watch};
use crate::plugin::Plugin;
use crate::serve::webhooks::Webhooks;

/// How often what is over is forgotten.
const SWEEP_MS: u64 = 600_000;

/// Everything at work. Dropping it stops everything at once, which loses nothing; [`Serving::drain`] lets it finish.
pub struct Serving {
    host: Host,
    running: tokio::sync::Mutex<Running>,
    /// What reloads ended and what still finishes its work.
    ending: Mutex<Vec<JoinHandle<()>>>,
    /// What is seen of all of it, over reloads.
    watch: Arc<Watch>,
}

/// What runs now.
#[derive(Default)]
struct Running {
    policy: ServePolicy,
    webhooks: Option<Webhooks>,
    units: BTreeMap<String, Unit>,
    sinks: Option<Group>,
    sink_states: Vec<Arc<Mutex<SinkState>>>,
    sweeper: Option<Group>,
    watcher: Option<Group>,
}

/// Tasks that stop together.
struct Group {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// A connection at work.
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
    pub endpoints: Vec<(String, Counts)>,
    /// Sinks.
    pub sinks: Vec<SinkState>,
}

impl Group {
    fn new() -> Self {
        Self { stop: watch::channel(false).0, tasks: Vec::new() }
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    fn end(&self) {
        self.stop.send_replace(true);
    }

    async fn ended(&mut self) {
        for task in &mut self.tasks {
            let _ = task.await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Host {
    /// Starts everything that a `wharfage.toml` declares: what `wharfage serve` does.
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
    /// [`Kind::Configuration`](crate::Kind::Configuration) with everything that keeps it from starting; then nothing runs.
    pub async fn serve(&self, config: &Config) -> Result<Serving> {
        let watch = Arc::new(Watch::new(self.teller()));
        let (running, ending) = (tokio::sync::Mutex::default(), Mutex::default());
        let serving = Serving { host: self.clone(), running, ending, watch };
        serving.reload(config).await?;
        Ok(serving)
    }
}

impl Serving {
    /// Takes up another configuration: what it does not change goes on, what it ends or changes finishes its work beside
    /// what begins.
    ///
    /// # Errors
    /// As for [`Host::serve`]; then everything goes on as before.
    pub async fn reload(&self, config: &Config) -> Result<Reloaded> {
        let mut running = self.running.lock().await;
        let mut wrong = Vec::new();
        let mut ready = BTreeMap::new();
        let mut same = BTreeSet::new();
        for name in working(config) {
            match self.prepare(config, name, running.units.get(name)).await {
                Ok(Some(made)) => drop(ready.insert(name.to_owned(), made)),
                Ok(None) => drop(same.insert(name.to_owned())),
                Err(error) => wrong.push(error),
            }
        }
        let endpoints = self.endpoints(config, &running, &ready, &mut wrong).await;
        let webhooks = match self.listen(config, &running, &endpoints).await {
            Ok(webhooks) => webhooks,
            Err(error) => {
                wrong.push(error);
                None
            }
        };
        let lines = self.host.sinks(config).await.map_err(|error| wrong.push(error)).unwrap_or_default();
        if let Some(error) = together(wrong) {
            return Err(error);
        }

        // From here on nothing fails. What is received from now on is for the new ones.
        if let Some(webhooks) = webhooks
            && let Some(before) = running.webhooks.replace(webhooks)
        {
            self.ending().push(tokio::spawn(before.close()));
        }
        match endpoints.is_empty() {
            false => {
                running.webhooks.iter().for_each(|webhooks| webhooks.replace(endpoints.clone(), config.serve.limits))
            }
            true => {
                if let Some(before) = running.webhooks.take() {
                    self.ending().push(tokio::spawn(before.close()));
                }
            }
        }
        let mut reloaded = Reloaded::default();
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
        if let Some(mut sinks) = running.sinks.take() {
            sinks.end();
            sinks.ended().await;
        }
        running.sink_states = lines.iter().map(Line::state).collect();
        let mut sinks = Group::new();
        for line in lines {
            sinks.spawn(line.run(sinks.stop.subscribe()));
        }
        running.sinks = Some(sinks);
        running.sweeper = Some(self.sweeper(config));
        running.watcher = Some(self.watcher(config, &running));
        running.policy = config.serve.clone();
        Ok(reloaded)
    }

    /// Loads a connection and judges everything that it states, or finds that it runs as it is stated.
    async fn prepare(&self, config: &Config, name: &str, running: Option<&Unit>) -> Result<Option<Ready>> {
        let connection = config.connection(name)?;
        let account = connection.account.as_ref().and_then(|account| config.accounts.get(account));
        let limits = config.serve.limits;
        let stated = |digest| Stated { digest, connection: connection.clone(), account: account.cloned(), limits };
        if let Some(unit) = running
            && unit.ready.stated == stated(self.host.digest(config, name)?)
        {
            return Ok(None);
        }
        let plugin = self.host.open(config, name).await?;
        let stated = stated(plugin.digest());
        let handler = self.handler(name, connection, &plugin, &limits);
        let inbox = Inbox::new(handler.clone(), limits.inbox())?;
        let polls = polls(name, connection, plugin.needs(), &handler)?;
        let sockets = sockets(connection, &plugin, &handler)?;
        Ok(Some(Ready { stated, plugin, inbox, polls, sockets }))
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
        for (id, policy) in &config.endpoints {
            let unit = || running.units.get(&policy.connection).map(|unit| &unit.ready);
            // A connection that cannot start has said so.
            let Some(Ready { plugin, inbox, .. }) = ready.get(&policy.connection).or_else(unit) else { continue };
            match Endpoint::open(id, policy, plugin, Arc::new(inbox.clone())).await {
                Ok(endpoint) => endpoints.push(Arc::new(endpoint)),
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

    fn ending(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handler(&self, name: &str, connection: &Connection, plugin: &Plugin, limits: &ServeLimits) -> Handler {
        let manifest = &plugin.needs().manifest;
        let bell = self.host.bell().clone();
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
            told: Arc::new(move || bell.ring()),
        })
    }

    fn sweeper(&self, config: &Config) -> Group {
        let (store, clock) = (self.host.store().clone(), self.host.clock().clone());
        let (limits, sinks) = (config.serve.limits, config.sinks.keys().cloned().collect::<Vec<_>>());
        let mut group = Group::new();
        group.spawn(async move {
            loop {
                match store.sweep(limits.sweep(clock.now(), sinks.clone())).await {
                    Ok(gone) => tracing::debug!(target: "wharfage::inbound", gone, "what is over was forgotten"),
                    Err(error) => tracing::error!(target: "wharfage::inbound", "what is over is still there: {error}"),
                }
                clock.alarm(clock.now().plus(SWEEP_MS)).await;
            }
        });
        group
    }

    /// Watches what runs from now on.
    fn watcher(&self, config: &Config, running: &Running) -> Group {
        let units = || running.units.iter();
        let poll = |(name, poll): &(String, Arc<Poller<Handler>>)| (name.clone(), poll.clone());
        let sources = Sources {
            host: self.host.clone(),
            plugins: units().map(|(name, unit)| (name.clone(), unit.ready.plugin.clone())).collect(),
            inboxes: units().map(|(_, unit)| unit.ready.inbox.clone()).collect(),
            polls: units()
                .flat_map(|(connection, unit)| unit.ready.polls.iter().map(move |it| (connection.clone(), poll(it))))
                .map(|(connection, (name, poll))| (connection, name, poll))
                .collect(),
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
    fn finish(&self, mut unit: Unit) {
        unit.ready.sockets.iter().for_each(|(_, socket)| socket.drain());
        unit.group.end();
        let mut ending = self.ending();
        ending.retain(|task| !task.is_finished());
        ending.push(tokio::spawn(async move { unit.group.ended().await }));
    }

    /// Begins nothing new, lets what is under way end for as long as `serve.limits.drain_ms` says, and stops. Answers whether
    /// everything ended by itself; what did not begins again with the next start, and loses nothing.
    pub async fn drain(self) -> bool {
        let mut running = self.running.lock().await;
        let clock = self.host.clock();
        let over = clock.alarm(clock.now().plus(running.policy.limits.drain_ms));
        running.watcher = None;
        for (_, unit) in std::mem::take(&mut running.units) {
            self.finish(unit);
        }
        if let Some(webhooks) = running.webhooks.take() {
            self.ending().push(tokio::spawn(webhooks.close()));
        }
        let ending = std::mem::take(&mut *self.ending());
        let aborts: Vec<_> = ending.iter().map(JoinHandle::abort_handle).collect();
        let sinks = running.sinks.take();
        let all = async move {
            for task in ending {
                let _ = task.await;
            }
            // Last, for what was emitted until now.
            if let Some(mut sinks) = sinks {
                sinks.end();
                sinks.ended().await;
            }
        };
        let ended = tokio::select! {
            biased;
            () = all => true,
            () = over => false,
        };
        aborts.iter().for_each(tokio::task::AbortHandle::abort);
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
        let mut state = ServingState::default();
        for (connection, unit) in &running.units {
            for (name, poll) in &unit.ready.polls {
                state.polls.push((connection.clone(), name.clone(), poll.health().await?));
            }
            for (name, socket) in &unit.ready.sockets {
                state.sockets.push((connection.clone(), name.clone(), socket.status()));
            }
        }
        if let Some(webhooks) = &running.webhooks {
            let counted = |(id, endpoint): (&String, &Arc<Endpoint>)| (id.clone(), endpoint.counts());
            state.endpoints = webhooks.endpoints().iter().map(counted).collect();
        }
        let sink = |state: &Arc<Mutex<SinkState>>| state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        state.sinks = running.sink_states.iter().map(sink).collect();
        Ok(state)
    }
}

impl Ready {
    fn start(self) -> Unit {
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

/// Several reasons as one error: the first in the sentence, all of them in the details.
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
    Some(
        Error::configuration(format!("{} things keep this configuration from starting", wrong.len()))
            .with_details(details.trim_end()),
    )
}
