//! Watches everything that is served: a reading every so often, its changes into the log, and to whoever is to be told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::alerts::evaluate::{AlertChange, Evaluator, PollReading, Reading, SinkReading};
use crate::alerts::{Alert, AlertPolicy, AlertState};
use crate::health::{HealthState, Subject};
use crate::host::Host;
use crate::inbound::handler::Keeping;
use crate::inbound::inbox::Inbox;
use crate::inbound::sink::worker::{SinkDoing, SinkState};
use crate::observe::states::CircuitState;
use crate::outbound::session::TokenState;
use crate::plugin::Plugin;
use crate::supervisor::publish::AlertPublisher;
use crate::supervisor::watched::Watched;

/// How often a reading is taken, in milliseconds.
pub(crate) const EVERY_MS: u64 = 15_000;

/// What a credential is called that has no name.
const ANY: &str = "(any)";

/// What readings are taken from: everything that is served.
pub(crate) struct Sources {
    pub(crate) host: Host,
    pub(crate) plugins: Vec<(String, Plugin)>,
    pub(crate) inboxes: Vec<Inbox>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) sinks: Vec<Arc<Mutex<SinkState>>>,
}

/// What is watched, over all reloads.
pub(crate) struct Watch {
    publisher: AlertPublisher,
    /// Nothing before the store was asked what was firing.
    evaluator: tokio::sync::Mutex<Option<Evaluator>>,
    alerts: Mutex<Vec<Alert>>,
}

impl Watch {
    /// With nothing seen yet.
    pub(crate) fn new(publisher: AlertPublisher) -> Self {
        Self { publisher, evaluator: tokio::sync::Mutex::default(), alerts: Mutex::default() }
    }

    /// Every alert that is pending or firing.
    pub(crate) fn alerts(&self) -> Vec<Alert> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes readings for as long as nobody stops it.
    pub(crate) async fn run(&self, policy: &AlertPolicy, keeping: Keeping, sources: &Sources) {
        let clock = self.publisher.clock.clone();
        loop {
            let reading = sources.read().await;
            self.look(policy, keeping, &reading).await;
            clock.alarm(clock.now().plus(EVERY_MS)).await;
        }
    }

    /// Judges a reading and tells what came of it.
    async fn look(&self, policy: &AlertPolicy, keeping: Keeping, reading: &Reading) {
        let now = self.publisher.clock.now();
        let mut place = self.evaluator.lock().await;
        let evaluator = match &mut *place {
            Some(evaluator) => {
                evaluator.set_policy(policy.clone());
                evaluator
            }
            None => {
                let firing = match self.publisher.firing().await {
                    Ok(firing) => firing,
                    // What was told is not told again, so nothing is told before that is known.
                    Err(error) => return unwritten(&error),
                };
                let mut evaluator = Evaluator::new(policy.clone(), now);
                evaluator.restore(firing);
                place.insert(evaluator)
            }
        };
        for change in evaluator.observe(reading, now) {
            log(&change);
        }
        let alerts: Vec<Alert> = evaluator.alerts().cloned().collect();
        let firing: Vec<Alert> = alerts.iter().filter(|alert| alert.state == AlertState::Firing).cloned().collect();
        *self.alerts.lock().unwrap_or_else(PoisonError::into_inner) = alerts;
        if let Err(error) = self.publisher.tell(&firing, policy, keeping).await {
            unwritten(&error);
        }
    }
}

impl Sources {
    /// How everything stands. What cannot be read is left out, and known the next time.
    async fn read(&self) -> Reading {
        let mut reading = Reading { metrics: self.host.metrics(), ..Reading::default() };
        let mut credentials = BTreeMap::new();
        for (connection, plugin) in &self.plugins {
            let circuits = plugin.circuits().into_iter();
            reading.circuits.extend(
                circuits
                    .map(|(origin, state)| (connection.clone(), origin, matches!(state, CircuitState::Open { .. }))),
            );
            for (credential, state) in plugin.token_states().await.unwrap_or_else(|error| unread(&error)) {
                let why = match state {
                    TokenState::NeedsConnecting { why } => Some(why),
                    _ => None,
                };
                credentials.insert((connection.clone(), credential), why);
            }
        }
        let survey = self.watched.survey(&self.host).await;
        // A key that is missing or refused is given by a person too.
        for health in survey.report.all.iter().filter(|health| health.subject == Subject::Connection) {
            for finding in health.findings.iter().filter(|it| it.state == HealthState::NeedsConnecting) {
                let name = if finding.about.is_empty() { ANY } else { &finding.about };
                let why = credentials.entry((health.name.clone(), name.to_owned())).or_default();
                why.get_or_insert_with(|| finding.message.clone());
            }
        }
        reading.credentials = credentials.into_iter().map(|((of, name), why)| (of, name, why)).collect();
        reading.dead = self.inboxes.iter().map(|inbox| (inbox.connection().to_owned(), inbox.dead())).collect();
        reading.polls.extend(survey.polls.iter().map(|(connection, poll, health)| PollReading {
            connection: connection.clone(),
            poll: poll.clone(),
            succeeded_at: health.succeeded_at,
            is_overdue: health.lag_ms > 0 || health.failures > 0,
        }));
        if let Some(error) = &survey.unread {
            unread(error)
        }
        for state in &self.sinks {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let disabled = match &state.doing {
                SinkDoing::Disabled { why } => Some(why.clone()),
                _ => None,
            };
            reading.sinks.push(SinkReading { sink: state.name.clone(), dead: state.dead, disabled });
        }
        reading
    }
}

fn unread<T: Default>(error: &crate::error::Error) -> T {
    tracing::warn!(target: "wharfage::alerts", "not everything can be watched: {error}");
    T::default()
}

fn unwritten(error: &crate::error::Error) {
    tracing::error!(target: "wharfage::alerts", "alerts cannot be told, and are the next time: {error}");
}

/// A line for whoever reads the log only.
fn log(change: &AlertChange) {
    let Alert { rule, since, .. } = &change.alert;
    let (rule, summary) = (rule.name(), change.alert.summary());
    match change.state {
        AlertState::Pending => {
            tracing::debug!(target: "wharfage::alerts", rule, "alert pending: {summary}");
        }
        AlertState::Firing => tracing::warn!(
            target: "wharfage::alerts", rule, %since, "alert firing: {summary}; what to do: wharfage alerts runbook {rule}"
        ),
        AlertState::Resolved => {
            tracing::info!(target: "wharfage::alerts", rule, %since, "alert resolved: {summary}");
        }
    }
}
