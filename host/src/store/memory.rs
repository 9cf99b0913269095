//! State that lives as long as the host.

mod arrival;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::rules::{ends_at, may_hold, may_write};
use super::{Anchor, Chain, Link, Listed, Place, Record, Reserved, Store, Wish, over};
use crate::error::Result;
use crate::time::{BoxFuture, Timestamp};

type Values = BTreeMap<String, Vec<u8>>;

/// A store without a disk.
#[derive(Default)]
pub(crate) struct MemoryStore {
    values: Mutex<BTreeMap<String, Values>>,
    quotas: Mutex<BTreeMap<String, Quota>>,
    answers: Mutex<Answers>,
    records: Mutex<BTreeMap<(String, String), Record>>,
    leases: Mutex<BTreeMap<String, (String, Timestamp)>>,
    trail: Mutex<Trail>,
    events: arrival::MemoryEvents,
    /// As a disk can be, for tests.
    #[cfg(test)]
    pub(crate) is_full: std::sync::atomic::AtomicBool,
}

/// The audit trail: where it begins, and its rows.
#[derive(Default)]
struct Trail {
    anchor: Option<Anchor>,
    rows: VecDeque<Link>,
}

/// Kept answers, by namespace and key.
type Answers = BTreeMap<(String, String), Answer>;

struct Answer {
    lineage: String,
    at: Timestamp,
    answer: Vec<u8>,
}

/// What is reserved of a bucket: by row, until when it counts and how many units.
#[derive(Default)]
struct Quota {
    next_row: i64,
    rows: BTreeMap<i64, (Timestamp, u32)>,
    blocked_until: Timestamp,
}

impl MemoryStore {
    fn answers(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn has_room(&self) -> Result<()> {
        match self.is_full.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(crate::error::Error::internal("the disk is full")),
            false => Ok(()),
        }
    }

    fn with<T>(&self, connection: &str, work: impl FnOnce(&mut Values) -> T) -> T {
        let mut all = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(connection.to_owned()).or_default())
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, connection: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async move { Ok(self.with(connection, |values| values.get(key).cloned())) })
    }

    fn set<'a>(
        &'a self,
        connection: &'a str,
        key: &'a str,
        value: Vec<u8>,
        bytes_max: u64,
        keys_max: u64,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.with(connection, |values| {
                let others = values.iter().filter(|(name, _)| *name != key);
                let (count, bytes) =
                    others.fold((0u64, 0u64), |(count, bytes), (_, value)| (count + 1, bytes + value.len() as u64));
                if count + 1 > keys_max {
                    return Err(over("state_keys", keys_max));
                }
                if bytes + value.len() as u64 > bytes_max {
                    return Err(over("state_bytes", bytes_max));
                }
                values.insert(key.to_owned(), value);
                Ok(())
            })
        })
    }

    fn delete<'a>(&'a self, connection: &'a str, key: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.with(connection, |values| values.remove(key));
            Ok(())
        })
    }

    fn keys<'a>(&'a self, connection: &'a str, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            Ok(self.with(connection, |values| values.keys().filter(|key| key.starts_with(prefix)).cloned().collect()))
        })
    }

    fn reserve<'a>(&'a self, bucket: &'a str, wish: Wish) -> BoxFuture<'a, Result<Reserved>> {
        let mut quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let quota = quotas.entry(bucket.to_owned()).or_default();
        if let Some((row, units, until)) = wish.settle
            && quota.rows.contains_key(&row)
        {
            quota.rows.insert(row, (until, units));
        }
        quota.rows.values_mut().for_each(|(until, _)| *until = ends_at(*until, wish.until));
        quota.rows.retain(|_, (until, units)| *until > wish.now && *units > 0);
        let used = quota.rows.values().map(|(_, units)| *units).fold(0, u32::saturating_add);
        let units = wish.limit.saturating_sub(used).min(wish.most);
        let reserved = if quota.blocked_until > wish.now {
            Reserved::Full { until: quota.blocked_until }
        } else if units < wish.least {
            let until = quota.rows.values().map(|(until, _)| *until).min();
            Reserved::Full { until: until.unwrap_or(wish.until) }
        } else {
            quota.next_row += 1;
            quota.rows.insert(quota.next_row, (wish.until, units));
            Reserved::Units { row: quota.next_row, units }
        };
        Box::pin(std::future::ready(Ok(reserved)))
    }

    fn block<'a>(&'a self, bucket: &'a str, until: Timestamp) -> BoxFuture<'a, Result<()>> {
        let mut quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let quota = quotas.entry(bucket.to_owned()).or_default();
        quota.blocked_until = quota.blocked_until.max(until);
        Box::pin(std::future::ready(Ok(())))
    }

    fn open_cache<'a>(&'a self, lineage: &'a str, namespace: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        let mut answers = self.answers();
        answers.retain(|(own, _), kept| kept.lineage != lineage || own == namespace);
        let keys = answers.keys().filter(|(own, _)| own == namespace).map(|(_, key)| key.clone()).collect();
        Box::pin(std::future::ready(Ok(keys)))
    }

    fn keep<'a>(
        &'a self,
        lineage: &'a str,
        namespace: &'a str,
        key: &'a str,
        answer: Vec<u8>,
        at: Timestamp,
        bytes_max: u64,
    ) -> BoxFuture<'a, Result<()>> {
        let mut answers = self.answers();
        let kept = Answer { lineage: lineage.to_owned(), at, answer };
        answers.insert((namespace.to_owned(), key.to_owned()), kept);
        loop {
            let own = answers.iter().filter(|(_, kept)| kept.lineage == lineage);
            let bytes: u64 = own.clone().map(|(_, kept)| kept.answer.len() as u64).sum();
            let oldest = own.min_by_key(|(_, kept)| kept.at).map(|(place, _)| place.clone());
            match oldest {
                Some(oldest) if bytes > bytes_max => drop(answers.remove(&oldest)),
                _ => break,
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn recall<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        let kept = self.answers().get(&(namespace.to_owned(), key.to_owned())).map(|kept| kept.answer.clone());
        Box::pin(std::future::ready(Ok(kept)))
    }

    fn forget<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<()>> {
        self.answers().remove(&(namespace.to_owned(), key.to_owned()));
        Box::pin(std::future::ready(Ok(())))
    }

    fn record<'a>(&'a self, owner: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>>> {
        Box::pin(async move {
            let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(records.get(&(owner.to_owned(), name.to_owned())).cloned())
        })
    }

    fn put_record<'a>(
        &'a self,
        owner: &'a str,
        name: &'a str,
        expected: u64,
        at: Timestamp,
        value: Zeroizing<Vec<u8>>,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (owner.to_owned(), name.to_owned());
            if !may_write(records.get(&key).map_or(0, |record| record.version), expected) {
                return Ok(None);
            }
            records.insert(key, Record { version: expected + 1, at, value });
            Ok(Some(expected + 1))
        })
    }

    fn remove_record<'a>(&'a self, owner: &'a str, name: &'a str) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(record) = records.get_mut(&(owner.to_owned(), name.to_owned())) else { return Ok(false) };
            let was_there = !record.value.is_empty();
            if was_there {
                record.version += 1;
                record.value = Zeroizing::default();
            }
            Ok(was_there)
        })
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Listed>>> {
        Box::pin(async move {
            let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            let there = records.iter().filter(|(_, record)| !record.value.is_empty());
            Ok(there.map(|((owner, name), record)| (owner.clone(), name.clone(), record.version, record.at)).collect())
        })
    }

    fn lease<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            #[cfg(test)]
            self.has_room()?;
            let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, ends)) = leases.get_mut(name) {
                *ends = ends_at(*ends, until);
            }
            let held = leases.get(name);
            if !may_hold(held.map(|(other, ends)| (other.as_str(), *ends)), holder, now) {
                return Ok(false);
            }
            leases.insert(name.to_owned(), (holder.to_owned(), until));
            Ok(true)
        })
    }

    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
            if leases.get(name).is_some_and(|(other, _)| other == holder) {
                leases.remove(name);
            }
            Ok(())
        })
    }

    fn append_audit(&self, chain: &Chain, texts: &[String], rows_max: u64) -> Result<()> {
        #[cfg(test)]
        self.has_room()?;
        let mut trail = self.trail.lock().unwrap_or_else(PoisonError::into_inner);
        let Place { mut number, mut hash } = match (trail.rows.back(), &trail.anchor) {
            (Some(last), _) => Place { number: last.number, hash: last.hash.clone() },
            (None, Some(anchor)) => Place { number: anchor.number, hash: anchor.hash.clone() },
            (None, None) => Place::default(),
        };
        for text in texts {
            number += 1;
            hash = chain.hash(&hash, number, text).to_vec();
            trail.rows.push_back(Link { number, text: text.clone(), hash: hash.clone() });
        }
        let most = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let too_many = trail.rows.len().saturating_sub(most);
        let gone = trail.rows.drain(..too_many).next_back();
        if let Some(gone) = gone {
            trail.anchor = Some(chain.anchor(gone.number, &gone.hash));
        }
        Ok(())
    }

    fn audit(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<(Option<Anchor>, Vec<Link>)>> {
        let trail = self.trail.lock().unwrap_or_else(PoisonError::into_inner);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let rows = trail.rows.iter().filter(|row| row.number > after).take(most).cloned().collect();
        Box::pin(std::future::ready(Ok((trail.anchor.clone(), rows))))
    }
}
