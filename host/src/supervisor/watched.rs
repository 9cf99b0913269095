//! What everything at work is seen by, without waiting for a reload: how connections and sinks are, what the store holds,
//! and whether the host itself is ready.
//!
//! Whoever looks often, as a scraper, a page, a load balancer and the watch over alerts, is told how it stood
//! [`SURVEY_MS`] ago at most: it is judged once for all of them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;

use crate::error::{Error, Result};
use crate::health::{self, DEAD_MAX, Health, HealthReport, Hindrance};
use crate::host::Host;
use crate::inbound::inbox::Inbox;
use crate::inbound::poll::{PollHealth, Poller};
use crate::inbound::sink::worker::SinkState;
use crate::inbound::socket::Socket;
use crate::inbound::webhook::Endpoint;
use crate::plugin::Plugin;
use crate::store::arrival::Backlog;
use crate::supervisor::Handler;
use crate::time::Timestamp;

/// Milliseconds for which one survey serves everybody who looks.
pub(super) const SURVEY_MS: u64 = 5_000;

/// What it is tried with whether the store can be written. Everybody who tries is the same holder, so nobody waits.
const TRIAL: &str = "(ready)";

/// Everything that has a health.
#[derive(Default)]
pub(crate) struct Watched {
    pub(super) connections: Vec<WatchedConnection>,
    pub(super) sinks: Vec<Arc<Mutex<SinkState>>>,
    pub(super) phase: Phase,
    /// What must go on for as long as anything is declared, in words.
    pub(super) workers: Vec<(String, AbortHandle)>,
    pub(super) survey: tokio::sync::Mutex<Option<Arc<Survey>>>,
    pub(super) trial: tokio::sync::Mutex<Option<(Timestamp, Result<()>)>>,
}

/// Where the host stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not everything that is declared runs yet.
    #[default]
    Starting,
    /// All of it does.
    Serving,
    /// What is under way ends.
    Stopping,
}

#[derive(Clone)]
pub(super) struct WatchedConnection {
    pub(super) name: String,
    pub(super) plugin: Plugin,
    pub(super) inbox: Inbox,
    pub(super) polls: Vec<(String, Arc<Poller<Handler>>)>,
    pub(super) sockets: Vec<(String, Socket)>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// The secrets that deliveries are checked with.
    pub(super) verifying: Vec<String>,
}

/// How everything stood at one time.
pub(crate) struct Survey {
    /// When this was begun.
    pub(crate) at: Timestamp,
    /// Polled triggers, by connection and name; none of a connection with one that cannot be read.
    pub(crate) polls: Vec<(String, String, PollHealth)>,
    /// What the store holds that nobody has taken.
    pub(crate) backlog: Result<Backlog>,
    /// Why something of it is left out.
    pub(crate) unread: Option<Error>,
    /// How everything is.
    pub(crate) report: HealthReport,
}

/// What was seen of one connection.
pub(super) struct Looked {
    pub(super) health: Health,
    polls: Result<Vec<(String, PollHealth)>>,
}

impl From<Health> for Looked {
    fn from(health: Health) -> Self {
        Self { health, polls: Ok(Vec::new()) }
    }
}

impl WatchedConnection {
    /// How it is, with everything that is declared for it.
    pub(super) async fn look(&self, host: &Host, backlog: &Result<Backlog>) -> Looked {
        let mut facts = self.plugin.facts().await;
        facts.needed.extend(self.verifying.iter().map(|secret| (secret.clone(), true)));
        let polls = self.polls().await;
        match (&polls, backlog) {
            (Ok(polls), Ok(backlog)) => {
                facts.work.polls.clone_from(polls);
                facts.work.dead = backlog.dead.get(&self.name).copied().unwrap_or_default().min(DEAD_MAX);
            }
            (Err(error), _) | (_, Err(error)) => facts.unreadable = Some(error.message().to_owned()),
        }
        facts.work.full_at = self.inbox.full_at();
        facts.work.sockets = self.sockets.iter().map(|(name, socket)| (name.clone(), socket.status())).collect();
        let counted =
            |endpoint: &Arc<Endpoint>| (endpoint.id().to_owned(), endpoint.secret().to_owned(), endpoint.counts());
        facts.work.endpoints = self.endpoints.iter().map(counted).collect();
        Looked { health: health::judge(&facts, host.clock().now()), polls }
    }

    async fn polls(&self) -> Result<Vec<(String, PollHealth)>> {
        let mut polls = Vec::new();
        for (name, poll) in &self.polls {
            polls.push((name.clone(), poll.health().await?));
        }
        Ok(polls)
    }
}

impl Watched {
    /// Nothing but where it stands.
    pub(super) fn at(phase: Phase) -> Self {
        Self { phase, ..Self::default() }
    }

    /// How everything stood, no longer ago than [`SURVEY_MS`]. Who asks meanwhile waits for the same answer.
    pub(crate) async fn survey(&self, host: &Host) -> Arc<Survey> {
        let mut kept = self.survey.lock().await;
        let now = host.clock().now();
        match &*kept {
            Some(survey) if now.since(survey.at) < SURVEY_MS => survey.clone(),
            _ => kept.insert(Arc::new(self.look(host).await)).clone(),
        }
    }

    /// How everything stands now. No provider is asked, and nothing is waited for but the store.
    pub(super) async fn look(&self, host: &Host) -> Survey {
        let at = host.clock().now();
        let backlog = Arc::new(host.store().backlog().await);
        let looks = self.connections.iter().cloned().map(|connection| {
            let (host, backlog) = (host.clone(), backlog.clone());
            (connection.name.clone(), async move { connection.look(&host, &backlog).await })
        });
        let (mut all, mut polls) = (Vec::new(), Vec::new());
        let mut unread = backlog.as_ref().as_ref().err().cloned();
        for Looked { health, polls: own } in side_by_side(host, looks).await {
            match own {
                Ok(own) => polls.extend(own.into_iter().map(|(poll, it)| (health.name.clone(), poll, it))),
                Err(error) => unread = unread.or(Some(error)),
            }
            all.push(health);
        }
        let letters = backlog.as_ref().as_ref().map(|backlog| backlog.letters.clone()).unwrap_or_default();
        for state in &self.sinks {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let dead = letters.get(&state.name).copied().unwrap_or_default().min(DEAD_MAX);
            all.push(health::of_sink(&state.name, Some(&state), dead, host.clock().now()));
        }
        let backlog = Arc::try_unwrap(backlog).unwrap_or_else(|shared| (*shared).clone());
        Survey { at, polls, backlog, unread, report: HealthReport::new(host.clock().now(), all) }
    }

    /// What keeps the host itself from its work. A provider that is down is not among it.
    pub(super) async fn hindrances(&self, host: &Host) -> Vec<Hindrance> {
        let mut all = Vec::new();
        match self.phase {
            Phase::Starting => all.push(Hindrance::starting()),
            Phase::Serving => {}
            Phase::Stopping => all.push(Hindrance::stopping()),
        }
        if let Err(error) = self.trial(host).await {
            all.push(Hindrance::store(&error));
        }
        let ended = self.workers.iter().filter(|(_, worker)| self.phase == Phase::Serving && worker.is_finished());
        all.extend(ended.map(|(name, _)| Hindrance::worker(name)));
        all
    }

    /// Whether the store can be written, tried no longer ago than [`SURVEY_MS`].
    async fn trial(&self, host: &Host) -> Result<()> {
        let mut kept = self.trial.lock().await;
        let now = host.clock().now();
        if let Some((at, tried)) = &*kept
            && now.since(*at) < SURVEY_MS
        {
            return tried.clone();
        }
        // It ends as it begins, and holds nothing.
        let tried = host.store().lease(TRIAL, TRIAL, now, now).await.map(drop);
        *kept = Some((now, tried.clone()));
        tried
    }

    /// Asks how connections are that nobody has seen for so long, all side by side.
    pub(super) async fn probe(&self, host: &Host, unseen_ms: u64) {
        let unseen = self.connections.iter().filter(|connection| connection.plugin.is_unseen(unseen_ms));
        let looks = unseen.map(|connection| {
            let plugin = connection.plugin.clone();
            (connection.name.clone(), async move { plugin.probe().await })
        });
        side_by_side::<Health>(host, looks).await;
    }
}

/// Runs what looks at connections, each for itself: one that panics is told of and takes nobody along.
pub(super) async fn side_by_side<T: From<Health> + Send + 'static>(
    host: &Host,
    looks: impl Iterator<Item = (String, impl Future<Output = T> + Send + 'static)>,
) -> Vec<T> {
    let looks: Vec<_> = looks.map(|(name, look)| (name, tokio::spawn(look))).collect();
    let mut all = Vec::with_capacity(looks.len());
    for (name, look) in looks {
        all.push(look.await.unwrap_or_else(|_| {
            let broken = Error::internal("looking at it ended in a defect of wharfage");
            Health::not_opening(&name, &broken, host.clock().now()).into()
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::time::ManualClock;

    fn host(folder: &std::path::Path) -> (ManualClock, Host) {
        let clock = ManualClock::new(Timestamp::from_millis(1_764_000_000_000), 1);
        let host = Host::builder().clock(clock.clone()).state_dir(folder.join("state")).build().unwrap();
        (clock, host)
    }

    async fn ready(watched: &Watched, host: &Host) -> (u16, Value) {
        let (status, text) = health::ready(&watched.survey(host).await.report, &watched.hindrances(host).await);
        (status, serde_json::from_str(&text).unwrap())
    }

    #[tokio::test]
    async fn a_host_that_begins_or_ends_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let (_, host) = host(folder.path());
        for (phase, status, hindrance) in
            [(Phase::Starting, 503, "starting"), (Phase::Serving, 200, ""), (Phase::Stopping, 503, "stopping")]
        {
            let (answered, told) = ready(&Watched::at(phase), &host).await;
            assert_eq!((answered, told["ready"].as_bool()), (status, Some(status == 200)), "{told}");
            assert_eq!(told["hindrances"][0]["hindrance"].as_str().unwrap_or_default(), hindrance, "{told}");
        }
    }

    /// A worker ends by a defect only, and nobody else would say that what it did is not done any more.
    #[tokio::test]
    async fn a_worker_that_has_ended_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (_, host) = host(folder.path());
        let (ended, goes_on) = (tokio::spawn(async {}), tokio::spawn(std::future::pending::<()>()));
        let workers = vec![
            ("the inbox of acme".to_owned(), ended.abort_handle()),
            ("the sink out".to_owned(), goes_on.abort_handle()),
        ];
        ended.await.unwrap();
        let watched = Watched { phase: Phase::Serving, workers, ..Watched::default() };
        let (status, told) = ready(&watched, &host).await;
        assert_eq!((status, told["hindrances"].as_array().map(Vec::len)), (503, Some(1)), "{told}");
        assert!(told["hindrances"][0]["message"].as_str().unwrap().contains("the inbox of acme"), "{told}");
        // What is to end is not missed.
        let stopping = Watched { phase: Phase::Stopping, ..watched };
        assert_eq!(ready(&stopping, &host).await.1["hindrances"].as_array().map(Vec::len), Some(1));
    }

    #[cfg(feature = "store-sqlite")]
    #[tokio::test]
    async fn a_store_that_cannot_be_written_is_told_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, host) = host(folder.path());
        let watched = Watched::at(Phase::Serving);
        assert_eq!(ready(&watched, &host).await.0, 200);
        let file = std::fs::read_dir(folder.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "sqlite")).unwrap();
        let aside = rusqlite::Connection::open(file).unwrap();
        aside.execute_batch("ALTER TABLE lease RENAME TO away").unwrap();
        assert_eq!(ready(&watched, &host).await.0, 200, "it is tried anew before its time");
        clock.advance(SURVEY_MS);
        let (status, told) = ready(&watched, &host).await;
        let hindrance = &told["hindrances"][0];
        assert_eq!((status, hindrance["hindrance"].as_str()), (503, Some("store-unwritable")), "{told}");
        assert!(hindrance["help"].as_str().unwrap().contains("state folder"), "{told}");
        aside.execute_batch("ALTER TABLE away RENAME TO lease").unwrap();
        clock.advance(SURVEY_MS);
        assert_eq!(ready(&watched, &host).await.0, 200);
    }

    /// What is counted in memory, and what else can be read, is told all the same.
    #[cfg(feature = "store-sqlite")]
    #[tokio::test]
    async fn what_the_store_does_not_tell_is_left_out_of_the_metrics() {
        let folder = tempfile::tempdir().unwrap();
        let (_, host) = host(folder.path());
        let serving = super::super::Serving::idle(&host);
        let doing = crate::inbound::sink::worker::SinkDoing::Well;
        let sink = SinkState { name: "billing".into(), doing, given: 0, dead: 0, position: 0 };
        serving.running.lock().await.sink_states.push(Arc::new(Mutex::new(sink)));
        let letters = async || serving.metrics().await.unwrap().sinks[0].dead_letters;
        assert_eq!(letters().await, Some(0));
        let file = std::fs::read_dir(folder.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "sqlite")).unwrap();
        rusqlite::Connection::open(file).unwrap().execute_batch("ALTER TABLE dead_letter RENAME TO away").unwrap();
        assert_eq!(letters().await, None);
        assert!(Watched::default().look(&host).await.unread.is_some(), "nobody is told why");
    }

    /// However many look, it is judged once.
    #[tokio::test]
    async fn whoever_looks_often_is_told_the_same_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, host) = host(folder.path());
        let watched = Watched::at(Phase::Serving);
        let first = watched.survey(&host).await;
        clock.advance(SURVEY_MS - 1);
        assert!(Arc::ptr_eq(&first, &watched.survey(&host).await));
        clock.advance(1);
        let second = watched.survey(&host).await;
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(second.at.since(first.at), SURVEY_MS);
    }
}
