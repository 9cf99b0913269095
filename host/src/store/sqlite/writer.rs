//! The one writer: a thread that takes all writes that wait and commits them together, so that a burst pays for one
//! flush to the disk and not for one each. Nobody is answered before the commit has ended; a write that fails undoes
//! itself and nothing else.

use std::sync::Arc;
use std::thread;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::failed;
use crate::error::{Error, Result};
use crate::store::Seal;

/// Most writes of one commit.
const TOGETHER_MAX: usize = 256;

/// Does its part of a transaction, or hears why there is none. Answers whether to keep it, and what is told how the whole
/// ended.
type Job = Box<dyn FnOnce(Result<(&Connection, &Seal)>) -> (bool, Told) + Send>;
type Told = Box<dyn FnOnce(std::result::Result<(), &Error>) + Send>;

/// Where writes go; the thread ends when this does. What waits needs no bound of its own: whoever writes waits for it, and
/// calls, requests and webhooks under way are bounded.
pub(super) struct Writer(UnboundedSender<Job>);

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, seal: Arc<Seal>) -> Result<Self> {
        let (jobs, mut waiting) = unbounded_channel();
        let run = move || write_all(connection, &seal, &mut waiting);
        let started = thread::Builder::new().name("wharfage-store".into()).spawn(run);
        started
            .map_err(|error| Error::internal("the state's thread cannot be started").with_details(error.to_string()))?;
        Ok(Self(jobs))
    }

    /// Adds a write; `tell` is called once it is durable, or has failed.
    pub(super) fn add<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Seal) -> Result<T> + Send + 'static,
        tell: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<()> {
        self.0.send(job(work, tell)).map_err(|_| gone())
    }
}

fn job<T: Send + 'static>(
    work: impl FnOnce(&Connection, &Seal) -> Result<T> + Send + 'static,
    tell: impl FnOnce(Result<T>) + Send + 'static,
) -> Job {
    Box::new(move |transaction| match transaction.and_then(|(connection, seal)| work(connection, seal)) {
        Ok(done) => (true, Box::new(move |ended| tell(ended.map(|()| done).map_err(Error::clone)))),
        Err(error) => (false, Box::new(move |_| tell(Err(error)))),
    })
}

/// What a caller hears when the thread is not there any more.
pub(super) fn gone() -> Error {
    Error::internal("the state's thread failed")
}

fn write_all(mut connection: Connection, seal: &Seal, waiting: &mut UnboundedReceiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut jobs = vec![first];
        while let Some(job) = (jobs.len() < TOGETHER_MAX).then(|| waiting.try_recv().ok()).flatten() {
            jobs.push(job);
        }
        let mut told = Vec::with_capacity(jobs.len());
        let ended = together(&mut connection, seal, jobs, &mut told);
        for tell in told {
            tell(ended.as_ref().map(|()| ()));
        }
    }
}

fn together(connection: &mut Connection, seal: &Seal, jobs: Vec<Job>, told: &mut Vec<Told>) -> Result<()> {
    let refuse = |job: Job, error: &Error| job(Err(error.clone())).1;
    let mut all = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(all) => all,
        Err(error) => {
            let error = failed(error);
            told.extend(jobs.into_iter().map(|job| refuse(job, &error)));
            return Err(error);
        }
    };
    for job in jobs {
        match all.savepoint() {
            Ok(part) => {
                let (keeps, tell) = job(Ok((&part, seal)));
                told.push(tell);
                // Dropped, it is undone.
                if keeps {
                    part.commit().map_err(failed)?;
                }
            }
            Err(error) => told.push(refuse(job, &failed(error))),
        }
    }
    all.commit().map_err(failed)
}
