//! What of the answers is in memory, and what of them is on its way to the disk (a write-behind queue).
//!
//! The ones that were used last stay, up to a number of bytes. All are written, one thing after another and off the path
//! of the call. What lies on the disk is known by its keys, so that nothing is looked for there in vain.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::Cache;
use super::kept::CachedAnswer;
use crate::store::Store;
use crate::time::Timestamp;

/// Answers that wait to be written; beyond, one is kept in memory only.
const WAITING_MAX: usize = 64;

/// Keys of the disk that are noted in any case before they are read again.
pub(super) const NOTED_MIN: usize = 1_024;

/// Keys that are forgotten one by one before any were read; beyond, all are forgotten at once.
pub(super) const FORGOTTEN_MAX: usize = 1_024;

/// Something for the disk. One after another, so that what is forgotten stays so.
pub(super) enum Job {
    Keep { lineage: Arc<str>, namespace: Arc<str>, key: Arc<str>, kept: Arc<CachedAnswer>, bytes_max: u64 },
    Forget { namespace: Arc<str>, key: Arc<str> },
    ForgetAll { lineage: Arc<str> },
    Tell(oneshot::Sender<()>),
}

/// The answers in memory, with what is known of those on the disk.
#[derive(Default)]
pub(super) struct Hot {
    pub(super) entries: HashMap<Arc<str>, (Arc<CachedAnswer>, u64)>,
    /// By when it was last used.
    order: BTreeMap<u64, Arc<str>>,
    clock: u64,
    bytes: u64,
    /// The keys that are on the disk, by namespace.
    pub(super) on_disk: HashMap<Arc<str>, OnDisk>,
    /// The namespaces that answers were looked for in, one for each credential, with their lineages.
    pub(super) namespaces: HashMap<Arc<str>, Arc<str>>,
    /// Who asks for something that will be kept; others wait for it.
    pub(super) flights: HashMap<Arc<str>, Arc<Flight>>,
}

/// The keys of a namespace that are on the disk, as far as is known.
#[derive(Default)]
pub(super) struct OnDisk {
    pub(super) keys: HashSet<Arc<str>>,
    /// Those that were forgotten before any were read.
    forgotten: HashSet<Arc<str>>,
    /// How many may be noted before they are read again, for the disk lets old answers go; nothing before they were read.
    pub(super) most: Option<usize>,
    /// How often the list began anew.
    round: u64,
}

/// What is to be forgotten on the disk.
#[derive(Debug, PartialEq, Eq)]
enum Forgets {
    Nothing,
    One,
    All,
}

/// A single-flight lock: one asks, and those that want the same wait for its answer.
#[derive(Default)]
pub(super) struct Flight {
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// Its answer serves nobody else, so nobody waits any more: in trouble, or where a provider has changed its mind, the
    /// others would stand in line behind one failure after the other.
    pub(super) is_in_vain: AtomicBool,
}

impl Cache {
    /// Waits until everything is written that was to be.
    pub(crate) async fn flush(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (told, is_done) = oneshot::channel();
        if writer.is_some_and(|writer| writer.send(Job::Tell(told)).is_ok()) {
            _ = is_done.await;
        }
    }

    /// Hands something to whoever writes.
    fn write(&self, disk: &Arc<dyn Store>, job: Job) {
        _ = self.writer(disk).send(job);
    }

    /// Where whoever writes takes what is to be written; they begin with the first and end with the cache.
    pub(super) fn writer(&self, disk: &Arc<dyn Store>) -> mpsc::UnboundedSender<Job> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writer.get_or_insert_with(|| {
            let (writer, jobs) = mpsc::unbounded_channel();
            tokio::spawn(work_off(disk.clone(), jobs, self.waiting.clone()));
            writer
        });
        writer.clone()
    }

    pub(super) fn put_on_disk(
        &self,
        hot: &mut Hot,
        lineage: &Arc<str>,
        namespace: &Arc<str>,
        key: &Arc<str>,
        kept: &Arc<CachedAnswer>,
    ) {
        let Some(disk) = &self.disk else { return };
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            // What is there may be an older one. It is forgotten once, so that these do not pile up either.
            self.forget_on_disk(hot, lineage, namespace, key);
            return;
        }
        let (lineage, namespace, key) = (lineage.clone(), namespace.clone(), key.clone());
        hot.on_disk.entry(namespace.clone()).or_default().keys.insert(key.clone());
        let bytes_max = self.bytes_max;
        self.write(disk, Job::Keep { lineage, namespace, key, kept: kept.clone(), bytes_max });
    }

    pub(super) fn forget_on_disk(&self, hot: &mut Hot, lineage: &Arc<str>, namespace: &Arc<str>, key: &Arc<str>) {
        let Some(disk) = &self.disk else { return };
        match hot.on_disk.entry(namespace.clone()).or_default().forget(key) {
            Forgets::Nothing => {}
            Forgets::One => self.write(disk, Job::Forget { namespace: namespace.clone(), key: key.clone() }),
            Forgets::All => self.write(disk, Job::ForgetAll { lineage: lineage.clone() }),
        }
    }
}

/// Writes one thing after another. What is forgotten one after the other is handed over together, for a store to commit
/// at once.
async fn work_off(disk: Arc<dyn Store>, mut jobs: mpsc::UnboundedReceiver<Job>, waiting: Arc<AtomicUsize>) {
    let mut next = None;
    loop {
        let job = match next.take() {
            Some(job) => job,
            None => match jobs.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let done = match job {
            Job::Keep { lineage, namespace, key, kept, bytes_max } => {
                let at = Timestamp::from_millis(kept.at_ms);
                let done = disk.keep(&lineage, &namespace, &key, kept.written(), at, bytes_max).await;
                waiting.fetch_sub(1, Ordering::SeqCst);
                done
            }
            Job::Forget { namespace, key } => {
                let mut all = vec![(namespace, key)];
                while let Ok(job) = jobs.try_recv() {
                    match job {
                        Job::Forget { namespace, key } => all.push((namespace, key)),
                        other => {
                            next = Some(other);
                            break;
                        }
                    }
                }
                let forgets: Vec<_> = all.iter().map(|(namespace, key)| disk.forget(namespace, key)).collect();
                join_all(forgets).await.into_iter().collect()
            }
            Job::ForgetAll { lineage } => disk.open_cache(&lineage, "").await.map(drop),
            Job::Tell(told) => {
                _ = told.send(());
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::debug!(target: "wharfage::outbound", "a kept answer was not written: {error}");
        }
    }
}

impl Hot {
    pub(super) fn touch(&mut self, key: &str) -> Option<Arc<CachedAnswer>> {
        self.clock += 1;
        let (kept, used) = self.entries.get_mut(key)?;
        if let Some(key) = self.order.remove(used) {
            self.order.insert(self.clock, key);
        }
        *used = self.clock;
        Some(kept.clone())
    }

    pub(super) fn put(&mut self, key: &Arc<str>, kept: Arc<CachedAnswer>, bytes_max: u64) {
        self.remove(key);
        self.clock += 1;
        self.bytes += kept.weight();
        self.order.insert(self.clock, key.clone());
        self.entries.insert(key.clone(), (kept, self.clock));
        while self.bytes > bytes_max {
            let Some((_, oldest)) = self.order.first_key_value().map(|(used, key)| (*used, key.clone())) else { break };
            self.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some((kept, used)) = self.entries.remove(key) {
            self.order.remove(&used);
            self.bytes = self.bytes.saturating_sub(kept.weight());
        }
    }
}

impl OnDisk {
    /// The round in which the keys are to be read, where they are. A list that has grown too long begins anew.
    pub(super) fn wanted_round(&mut self) -> Option<u64> {
        if self.most.is_some_and(|most| self.keys.len() > most) {
            *self = Self { round: self.round + 1, ..Self::default() };
        }
        self.most.is_none().then_some(self.round)
    }

    /// Notes what was read beside what was written meanwhile, without what was forgotten meanwhile. Of several who
    /// read, the first counts: what is forgotten after it, the others may have seen yet.
    pub(super) fn read(&mut self, round: u64, keys: Vec<String>) {
        if self.most.is_some() || self.round != round {
            return;
        }
        let forgotten = std::mem::take(&mut self.forgotten);
        self.keys.extend(keys.into_iter().map(Arc::<str>::from).filter(|key| !forgotten.contains(key)));
        self.most = Some(NOTED_MIN.max(2 * self.keys.len()));
    }

    /// Takes a key off, and answers what is to be forgotten: what nobody has looked for yet may lie there all the same,
    /// so it is forgotten once. With too many such keys everything is, and then it is known that nothing is there.
    fn forget(&mut self, key: &Arc<str>) -> Forgets {
        if self.keys.remove(key) {
            // Whoever is reading may have seen it yet.
            if self.most.is_none() {
                self.forgotten.insert(key.clone());
            }
            Forgets::One
        } else if self.most.is_some() || self.forgotten.contains(key) {
            Forgets::Nothing
        } else if self.forgotten.len() < FORGOTTEN_MAX {
            self.forgotten.insert(key.clone());
            Forgets::One
        } else {
            *self = Self { most: Some(NOTED_MIN), round: self.round, ..Self::default() };
            Forgets::All
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_while_the_keys_were_read_is_not_noted() {
        let mut on_disk = OnDisk::default();
        let (round, both) = (on_disk.wanted_round().unwrap(), || vec!["1".to_owned(), "2".to_owned()]);
        assert_eq!(on_disk.forget(&"2".into()), Forgets::One);
        on_disk.read(round, both());
        assert_eq!(on_disk.forget(&"2".into()), Forgets::Nothing);
        assert_eq!(on_disk.forget(&"1".into()), Forgets::One);
        // Whoever began to read at the same time has seen both.
        on_disk.read(round, both());
        assert!(on_disk.keys.is_empty());
        // What was written and forgotten while somebody read is not noted either.
        let (mut on_disk, key) = (OnDisk::default(), Arc::<str>::from("1"));
        on_disk.keys.insert(key.clone());
        assert_eq!(on_disk.forget(&key), Forgets::One);
        on_disk.read(round, both());
        assert!(!on_disk.keys.contains(&key));
    }
}
