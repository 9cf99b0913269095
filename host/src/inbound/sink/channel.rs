//! A sink of the embedding program's own: emitted events, one after the other, until they are acknowledged.

use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::{Mutex, watch};

use super::worker::SinkContext;
use crate::error::{Error, Result};
use crate::inbound::envelope::Emitted;
use crate::policy::sink::{check_pattern, is_meant};
use crate::store::arrival::{Outgoing, READER};

/// Events read from the outbox at once.
const ROWS: u64 = 100;

/// How often somebody looks for events that another process emitted, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// Emitted events in the order in which they were committed; see [`Host::emitted`](crate::Host::emitted).
pub struct Events {
    place: Arc<Place>,
    wake: watch::Receiver<()>,
    connections: Vec<String>,
    types: Vec<String>,
    /// Up to here everything was handed over, or is not meant.
    read: u64,
    rows: std::vec::IntoIter<Outgoing>,
}

debug_shows!(Events, |this| connections = this.connections, types = this.types);

/// What a name stands for in the store.
struct Place {
    name: String,
    context: SinkContext,
    /// Up to here everything is acknowledged.
    done: Mutex<u64>,
}

/// An event, handed over until it is acknowledged.
pub struct Delivery {
    /// The event.
    pub event: Emitted,
    number: u64,
    place: Arc<Place>,
}

debug_shows!(Delivery, |this| event = this.event.id);

impl Events {
    /// Under this name of a reader.
    pub(crate) async fn open(name: &str, context: SinkContext) -> Result<Self> {
        // A name of its own kind, so that it is never a sink's of a file.
        let name = format!("{READER}{name}");
        let done = context.store.sink_position(&name).await?;
        // From now on nothing goes that it has not read.
        context.store.advance_sink(&name, done, None).await?;
        let wake = context.wake.listen();
        let place = Arc::new(Place { name, context, done: Mutex::new(done) });
        Ok(Self { place, wake, connections: Vec::new(), types: Vec::new(), read: done, rows: Vec::new().into_iter() })
    }

    /// Only events of these connections; a `*` at the end stands for anything.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where one is no pattern.
    pub fn connections<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Result<Self> {
        self.connections = checked(patterns)?;
        Ok(self)
    }

    /// Only events of these types, likewise.
    ///
    /// # Errors
    /// As for [`Events::connections`].
    pub fn types<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Result<Self> {
        self.types = checked(patterns)?;
        Ok(self)
    }

    /// Waits for the next event. It is handed over once here, and again by whoever opens the same name later, until it is
    /// acknowledged. Cancel-safe.
    ///
    /// # Errors
    /// When the store cannot be read; nothing is lost, and asking again goes on.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            while let Some(row) = self.rows.as_slice().first() {
                let number = row.number;
                let Ok(event) = serde_json::from_slice::<Emitted>(&row.content) else {
                    // Nobody could say whom it is for.
                    tracing::error!(target: "wharfage::sink", reader = self.place.name, number, "cannot be read; passed");
                    self.passed(number);
                    continue;
                };
                self.passed(number);
                // What the host tells a sink is for nobody else, unless somebody asks for its type.
                let is_ours = event.sink.is_none() || !self.types.is_empty();
                if is_ours && is_meant(&self.connections, &event.connection) && is_meant(&self.types, &event.event_type)
                {
                    return Ok(Delivery { event, number, place: self.place.clone() });
                }
            }
            let rows = self.place.context.store.outbox(self.read, ROWS).await?;
            if !rows.is_empty() {
                self.rows = rows.into_iter();
                continue;
            }
            let clock = &self.place.context.clock;
            tokio::select! {
                _ = self.wake.changed() => {}
                () = clock.sleep_until(clock.now().plus(LOOK_MS)) => {}
            }
        }
    }

    /// The same as a stream, which never ends.
    pub fn into_stream(self) -> impl Stream<Item = Result<Delivery>> + Send {
        futures_util::stream::unfold(self, async |mut events| {
            let next = events.next().await;
            Some((next, events))
        })
    }

    fn passed(&mut self, number: u64) {
        self.read = number;
        self.rows.next();
    }
}

impl Delivery {
    /// This event and all before it are done with, also those that are not meant for this reader; durable when this ends.
    ///
    /// # Errors
    /// When the store cannot be written: then they come again.
    pub async fn acknowledge(self) -> Result<()> {
        self.place.settle(self.number).await
    }
}

impl Place {
    /// Moves on, never back, in whatever order it is asked to.
    async fn settle(&self, to: u64) -> Result<()> {
        let mut done = self.done.lock().await;
        if to > *done {
            self.context.store.advance_sink(&self.name, to, None).await?;
            *done = to;
        }
        Ok(())
    }
}

fn checked<T: Into<String>>(patterns: impl IntoIterator<Item = T>) -> Result<Vec<String>> {
    let patterns: Vec<String> = patterns.into_iter().map(Into::into).collect();
    patterns.iter().try_for_each(|pattern| check_pattern(pattern)).map_err(Error::configuration)?;
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use serde_json::value::RawValue;

    use super::*;
    use crate::event::Emission;
    use crate::inbound::envelope::Emitter;
    use crate::inbound::sink::worker::WakeSignal;
    use crate::store::arrival::{Commit, Emit};
    use crate::store::{MemoryStore, Store};
    use crate::time::{ManualClock, Timestamp};

    async fn emit(context: &SinkContext, event_type: &str, key: &str) {
        let emitter = Emitter { connection: "acme".into(), account: None, plugin: "shop".into() };
        let data = RawValue::from_string("{}".into()).unwrap();
        let emission = Emission { event_type: event_type.into(), key: key.into(), data };
        let content = serde_json::to_vec(&emitter.emitted(emission, context.clock.now(), None)).unwrap();
        let commit = Commit {
            connection: "acme".into(),
            at: context.clock.now(),
            event: None,
            step: None,
            emit: vec![Emit { name: format!("{event_type} {key}"), content }],
            known_until: Timestamp::MAX,
            bytes_max: u64::MAX,
        };
        context.store.commit(commit).await.unwrap();
        context.wake.ring();
    }

    fn context() -> SinkContext {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        SinkContext {
            store,
            clock: Arc::new(ManualClock::new(Timestamp::from_millis(1_000), 1)),
            wake: WakeSignal::new(),
        }
    }

    #[tokio::test]
    async fn what_is_not_acknowledged_comes_again() {
        let context = context();
        for key in ["1", "2", "3"] {
            emit(&context, "order", key).await;
        }
        let open = || Events::open("billing", context.clone());
        let mut events = open().await.unwrap();
        let (first, second) = (events.next().await.unwrap(), events.next().await.unwrap());
        assert_eq!((&*first.event.key, &*second.event.key), ("1", "2"));
        let mut again = open().await.unwrap();
        let repeated = again.next().await.unwrap();
        assert_eq!((&*repeated.event.key, repeated.event.id), ("1", first.event.id.clone()));
        // Whatever is acknowledged last, it never goes back.
        second.acknowledge().await.unwrap();
        first.acknowledge().await.unwrap();
        assert_eq!(open().await.unwrap().next().await.unwrap().event.key, "3");
        assert_eq!(Events::open("other", context.clone()).await.unwrap().next().await.unwrap().event.key, "1");
    }

    #[tokio::test]
    async fn only_what_is_meant_comes_and_whoever_waits_is_woken() {
        let context = context();
        emit(&context, "order.paid", "1").await;
        let events = Events::open("billing", context.clone()).await.unwrap().types(["stock.*"]).unwrap();
        let mut events = std::pin::pin!(events.connections(["acme"]).unwrap().into_stream());
        let (_, delivery) = tokio::join!(emit(&context, "stock.low", "2"), events.next());
        assert_eq!(delivery.unwrap().unwrap().event.event_type, "stock.low");
        assert!(Events::open("x", context.clone()).await.unwrap().types(["a*b"]).is_err());
    }
}
