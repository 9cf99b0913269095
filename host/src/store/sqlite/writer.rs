//! The one writer: a thread that takes all writes that wait and commits them together, so that a burst pays for one
//! flush to the disk and not for one each. Nobody is answered before the commit has ended; a write that fails undoes
//! itself and nothing else, unless SQLite ends the whole transaction for it, as on a full disk: then all of them fail.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

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

/// Where writes go. Dropped, it waits for what was added and for the thread: afterwards the file is closed. What waits
/// needs no bound of its own: whoever writes waits for it, and calls, requests and webhooks under way are bounded.
pub(super) struct Writer {
    /// There until it is dropped: the thread ends when nobody can add any more.
    jobs: Option<UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, seal: Arc<Seal>) -> Result<Self> {
        let (jobs, mut waiting) = unbounded_channel();
        let run = move || write_all(connection, &seal, &mut waiting);
        let thread = thread::Builder::new()
            .name("wharfage-store".into())
            .spawn(run)
            .map_err(|error| Error::internal("the state's thread cannot be started").with_details(error.to_string()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Adds a write; `tell` is called once it is durable, or has failed.
    pub(super) fn add<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Seal) -> Result<T> + Send + 'static,
        tell: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<()> {
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job(work, tell)).map_err(|_| gone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        // Whoever is told of a write may hold the last of this: the thread cannot wait for itself.
        let thread = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id());
        // One that panicked has said so already.
        let _ = thread.map(JoinHandle::join);
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
            tell(ended.as_ref().copied());
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
    let mut jobs = jobs.into_iter();
    while let Some(job) = jobs.next() {
        let mut ended = Ok(());
        match all.savepoint() {
            Ok(part) => {
                let (keeps, tell) = job(Ok((&part, seal)));
                told.push(tell);
                // Dropped, it is undone.
                if keeps {
                    ended = part.commit().map_err(failed);
                }
            }
            Err(error) => told.push(refuse(job, &failed(error))),
        }
        // What followed would be a transaction of its own, and be kept.
        if ended.is_ok() && all.is_autocommit() {
            ended = Err(undone());
        }
        if let Err(error) = ended {
            told.extend(jobs.map(|job| refuse(job, &error)));
            return Err(error);
        }
    }
    all.commit().map_err(failed)
}

/// What those hear whose transaction SQLite ended because of another's write.
fn undone() -> Error {
    Error::internal("the state file could not be read or written")
        .with_details("Another write of the same moment failed and took this one with it, as where the disk is full")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn rows(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    /// Those that wait share one commit; one that fails takes nobody with it.
    #[test]
    fn writes_that_wait_are_committed_together_and_fail_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.sqlite");
        let open = || Connection::open(&path).unwrap();
        let reader = open();
        reader.pragma_update(None, "journal_mode", "WAL").unwrap();
        reader.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT").unwrap();
        let writer = Writer::start(open(), Arc::new(Seal::new(&[7; 32]))).unwrap();
        let ((go, gate), (begun, begins)) = (mpsc::channel::<()>(), mpsc::channel());
        let (tell, told) = mpsc::channel();
        // While this one is at it, the others come.
        let held = tell.clone();
        let wait = move |_: &Connection, _: &Seal| {
            begun.send(()).unwrap();
            Ok(gate.recv().is_ok())
        };
        writer.add(wait, move |done| held.send((0, done.is_ok())).unwrap()).unwrap();
        begins.recv().unwrap();
        for number in 1..=20i64 {
            let (tell, other) = (tell.clone(), open());
            let work = move |write: &Connection, _: &Seal| {
                write.execute("INSERT INTO t (n) VALUES (?1)", [number]).map_err(failed)?;
                assert_eq!(rows(&other), 0, "{number}: one was committed by itself");
                // After what it wrote: that goes with it.
                if number == 7 { Err(Error::internal("seven")) } else { Ok(()) }
            };
            writer.add(work, move |done| tell.send((number, done.is_ok())).unwrap()).unwrap();
        }
        go.send(()).unwrap();
        drop(tell);
        let mut all: Vec<(i64, bool)> = told.iter().take(21).collect();
        all.sort_unstable();
        let expected: Vec<(i64, bool)> = (0..=20).map(|number| (number, number != 7)).collect();
        assert_eq!(all, expected);
        assert_eq!(rows(&reader), 19);
    }

    /// SQLite itself ends a transaction where the disk is full: what follows in it is not kept by itself.
    #[test]
    fn a_write_that_ends_the_transaction_takes_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.sqlite");
        let open = || Connection::open(&path).unwrap();
        open().execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB) STRICT").unwrap();
        let writing = open();
        writing.pragma_update(None, "max_page_count", 8).unwrap();
        let writer = Writer::start(writing, Arc::new(Seal::new(&[7; 32]))).unwrap();
        let ((go, gate), (begun, begins)) = (mpsc::channel::<()>(), mpsc::channel());
        let wait = move |_: &Connection, _: &Seal| {
            begun.send(()).unwrap();
            Ok(gate.recv().is_ok())
        };
        writer.add(wait, |_| ()).unwrap();
        begins.recv().unwrap();
        let (tell, told) = mpsc::channel();
        let write = |number: i64, bytes: i64| {
            let tell = tell.clone();
            let work = move |write: &Connection, _: &Seal| {
                write.execute("INSERT INTO t VALUES (?1, zeroblob(?2))", [number, bytes]).map_err(failed)
            };
            writer.add(work, move |done| tell.send((number, done.is_ok())).unwrap()).unwrap();
        };
        [(1, 1), (2, 1 << 20), (3, 1)].into_iter().for_each(|(number, bytes)| write(number, bytes));
        go.send(()).unwrap();
        let all: Vec<(i64, bool)> = told.iter().take(3).collect();
        assert_eq!(all, [(1, false), (2, false), (3, false)]);
        assert_eq!(rows(&open()), 0);
        write(4, 1);
        assert_eq!((told.recv().unwrap(), rows(&open())), ((4, true), 1));
    }

    /// Where nothing can be written, everybody hears why, and the thread goes on.
    #[test]
    fn a_file_that_takes_nothing_is_an_error_for_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.sqlite");
        let open = || Connection::open(&path).unwrap();
        open().execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT").unwrap();
        let writing = open();
        writing.pragma_update(None, "max_page_count", 2).unwrap();
        let writer = Writer::start(writing, Arc::new(Seal::new(&[7; 32]))).unwrap();
        let write = |statement: &'static str| {
            let (tell, told) = mpsc::channel();
            let work = move |write: &Connection, _: &Seal| write.execute(statement, []).map(|_| ()).map_err(failed);
            writer.add(work, move |done| tell.send(done).unwrap()).unwrap();
            told.recv().unwrap()
        };
        let full = write(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 9999) INSERT INTO t SELECT n FROM c",
        );
        assert!(full.unwrap_err().details().unwrap().contains("full"));
        write("INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(rows(&open()), 1);
    }
}
