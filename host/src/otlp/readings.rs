//! Readings of the metrics, sent now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::Result;
use crate::host::Host;
use crate::observe::metrics::Metrics;
use crate::otlp::message::Rejected;
use crate::otlp::path::{self, Path};
#[cfg(feature = "serve")]
use crate::supervisor::ServingView;

/// Whose numbers are sent.
#[derive(Clone)]
pub(super) enum Source {
    /// A host's.
    Host(Host),
    /// A host's, with what it serves.
    #[cfg(feature = "serve")]
    Serving(ServingView),
}

impl Source {
    async fn read(&self) -> Metrics {
        match self {
            Self::Host(host) => host.metrics(),
            #[cfg(feature = "serve")]
            Self::Serving(view) => view.metrics().await,
        }
    }
}

/// Sends a reading every so often, and the last one when it is stopped.
pub(super) struct Readings {
    path: Path,
    instance: String,
    every_ms: u64,
    source: Arc<Mutex<Source>>,
    untaken: Arc<AtomicU64>,
    is_failing: bool,
    /// Whether it was told that some are rejected.
    has_rejected: bool,
}

impl Readings {
    pub(super) fn new(
        path: Path,
        instance: String,
        every_ms: u64,
        source: Arc<Mutex<Source>>,
        untaken: Arc<AtomicU64>,
    ) -> Self {
        Self { path, instance, every_ms, source, untaken, is_failing: false, has_rejected: false }
    }

    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let clock = self.path.clock.clone();
            let is_over = tokio::select! {
                biased;
                _ = stop.wait_for(|stops| *stops) => true,
                () = clock.alarm(clock.now().plus(self.every_ms)) => false,
            };
            self.send().await;
            if is_over {
                return;
            }
        }
    }

    /// Nothing is kept of a reading that is not taken: the next one counts on.
    async fn send(&mut self) {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let messages = source.read().await.otlp(&self.instance);
        let mut left = messages.len() as u64;
        for message in messages {
            let sent = self.path.send(message).await;
            let is_taken = sent.is_ok();
            self.tell(left, sent);
            if !is_taken {
                return;
            }
            left -= 1;
        }
    }

    /// A receiver that fails is told once, and once when it takes metrics again; one that rejects some, once. `left` messages
    /// go no further with one that fails.
    fn tell(&mut self, left: u64, sent: Result<Option<Rejected>>) {
        let add = |count: u64| self.untaken.fetch_add(count, Ordering::Relaxed) + count;
        match sent {
            Ok(rejected) => {
                if std::mem::take(&mut self.is_failing) {
                    let untaken = add(0);
                    tracing::info!(target: "wharfage::observe", untaken, "the receiver takes metrics again");
                }
                let Some(Rejected { count, why }) = rejected else { return };
                let untaken = add(1);
                if !std::mem::replace(&mut self.has_rejected, true) {
                    tracing::warn!(target: "wharfage::observe", untaken, "{count} points of metrics are not taken: {why}");
                }
            }
            Err(error) => {
                let untaken = add(left);
                if !std::mem::replace(&mut self.is_failing, true) {
                    let why = path::why(&error);
                    tracing::warn!(target: "wharfage::observe", untaken, "metrics are not taken: {why}");
                }
            }
        }
    }
}
