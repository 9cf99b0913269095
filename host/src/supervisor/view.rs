//! Everything at work, as the console and whoever else shows it see it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::alerts::Alert;
use crate::host::Host;
use crate::observe::metrics::Metrics;
use crate::plugin::Plugin;
use crate::supervisor::watch::Watch;
use crate::supervisor::watched::{Survey, Watched};
use crate::supervisor::{Running, Serving, ServingState};

/// Everything at work, for whoever shows it. It keeps nothing at work itself.
#[derive(Clone)]
pub(crate) struct ServingView {
    host: Host,
    running: Weak<tokio::sync::Mutex<Running>>,
    watched: Arc<Mutex<Arc<Watched>>>,
    watch: Arc<Watch>,
}

impl ServingView {
    /// Where nothing runs.
    #[cfg(test)]
    pub(crate) fn idle(host: Host) -> Self {
        let watch = Arc::new(Watch::new(host.publisher()));
        Self { host, running: Weak::new(), watched: Arc::default(), watch }
    }

    /// The host that it runs on.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// What is at work, as long as it is.
    fn serving(&self) -> Option<Serving> {
        let (host, running) = (self.host.clone(), self.running.upgrade()?);
        let (watched, watch) = (self.watched.clone(), self.watch.clone());
        Some(Serving { host, running, ending: Mutex::default(), watched, watch })
    }

    /// As [`Serving::state`], with polls as the last survey saw them; nothing, once it has ended.
    pub(crate) async fn state(&self) -> ServingState {
        let Some(running) = self.running.upgrade() else { return ServingState::default() };
        let polls = self.survey().await.polls.clone();
        let running = running.lock().await;
        running.state(polls)
    }

    /// As [`Serving::metrics`], by the last survey; what the host counted, once it has ended.
    pub(crate) async fn metrics(&self) -> Metrics {
        match self.serving() {
            Some(serving) => serving.measured(&*self.survey().await).await,
            None => self.host.metrics(),
        }
    }

    /// How everything stood, no longer ago than a few seconds.
    pub(crate) async fn survey(&self) -> Arc<Survey> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        watched.survey(&self.host).await
    }

    /// As [`Serving::alerts`].
    pub(crate) fn alerts(&self) -> Vec<Alert> {
        self.watch.alerts()
    }

    /// What `/healthz` answers, and `/readyz`: status and JSON.
    pub(crate) async fn told(&self, is_ready: bool) -> (u16, String) {
        match (self.serving(), is_ready) {
            (Some(serving), true) => serving.ready().await,
            (Some(serving), false) => serving.lived(),
            (None, true) => (503, r#"{"status":"stopping"}"#.to_owned()),
            (None, false) => (200, r#"{"status":"stopping"}"#.to_owned()),
        }
    }

    /// The connections at work.
    pub(crate) async fn plugins(&self) -> Vec<(String, Plugin)> {
        let Some(running) = self.running.upgrade() else { return Vec::new() };
        let running = running.lock().await;
        running.units.iter().map(|(name, unit)| (name.clone(), unit.ready.plugin.clone())).collect()
    }

    /// As [`Serving::wake`].
    pub(crate) async fn wake(&self) {
        if let Some(running) = self.running.upgrade() {
            running.lock().await.units.values().for_each(|unit| unit.ready.inbox.wake());
        }
    }
}

impl Serving {
    /// For whoever shows what runs.
    pub(crate) fn view(&self) -> ServingView {
        let (running, watched) = (Arc::downgrade(&self.running), self.watched.clone());
        ServingView { host: self.host.clone(), running, watched, watch: self.watch.clone() }
    }
}
