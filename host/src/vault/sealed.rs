//! Sealed records: what a store keeps of secrets and tokens, readable for this installation only.
//!
//! A record is sealed with AES-256-GCM and bound to its owner, its name and its version, so that one which was edited,
//! copied elsewhere or put back in an older state does not open. In front stands which key sealed it. A record that does
//! not open is an error that says which one and what to do next; it is never deleted and never taken for absent.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::ring::{Key, Keys, Ring, VARIABLE};
use crate::error::{Error, Kind, Result};
use crate::store::{Record, Store};
use crate::time::{Clock, Timestamp};

/// What a sealed record begins with; the last digit is the form's version.
const MARK: &[u8; 4] = b"whs1";

/// Most bytes of a record's value.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// How long a change of the key holds its lease between two records.
const CHANGE_MS: u64 = 60_000;

/// The name of that lease.
const CHANGE_LEASE: &str = "sealing key";

/// Records of a store, sealed.
#[derive(Clone)]
pub(crate) struct Sealed {
    store: Arc<dyn Store>,
    ring: Arc<Ring>,
    clock: Arc<dyn Clock>,
}

/// How a change of the sealing key went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyChange {
    /// Records that the new key seals now.
    pub resealed: usize,
    /// Records that do not open, with why. They stay as they are.
    pub unopened: Vec<String>,
    /// Whether the environment still holds keys that nothing needs any more.
    pub environment_holds_old: bool,
}

impl Sealed {
    /// Records of this store; the keys belong to the state folder, or to nobody.
    pub(crate) fn new(store: Arc<dyn Store>, folder: Option<&Path>, clock: Arc<dyn Clock>) -> Self {
        Self { store, ring: Arc::new(Ring::new(folder)), clock }
    }

    /// The record under `name` of `owner`, opened.
    ///
    /// # Errors
    /// [`Kind::CredentialUnavailable`] where it does not open, with what to do next.
    pub(crate) async fn read(&self, owner: &str, name: &str) -> Result<Option<Record>> {
        let Some(record) = self.there(owner, name).await? else { return Ok(None) };
        let value = self.open(owner, name, &record).await?;
        Ok(Some(Record { value, ..record }))
    }

    /// Keeps a record, durable when this ends, if the version that is there is still `expected` (0: none). Answers the
    /// new version, or nothing where somebody else was faster.
    ///
    /// # Errors
    /// [`Kind::CredentialUnavailable`] where there is no key to seal with.
    pub(crate) async fn write(&self, owner: &str, name: &str, expected: u64, value: &[u8]) -> Result<Option<u64>> {
        if value.len() > RECORD_BYTES_MAX {
            return Err(Error::limit("record_bytes", format!("a record may have {RECORD_BYTES_MAX} bytes")));
        }
        let mut last = match expected {
            0 => match self.store.record(owner, name).await? {
                Some(gone) if gone.value.is_empty() => gone.version,
                Some(_) => return Ok(None),
                None => 0,
            },
            known => known,
        };
        let at = self.clock.now();
        let mut written = None;
        loop {
            let keys = self.ring.now(true).await?;
            let key = keys.first().ok_or_else(|| Error::internal("there is no sealing key"))?;
            // What was written before was sealed again by the change of the key, or somebody wrote after it.
            let Some(version) = self.put(key, owner, name, last, at, value).await? else { return Ok(written) };
            // A change of the key that began while this was written may not have seen the record: it is sealed again.
            if self.ring.now(false).await?.first().is_some_and(|first| first.id == key.id) {
                return Ok(Some(version));
            }
            (last, written) = (version, Some(version));
        }
    }

    /// The version of what is there, whether it opens or not; 0 where nothing is.
    pub(crate) async fn version(&self, owner: &str, name: &str) -> Result<u64> {
        Ok(self.there(owner, name).await?.map_or(0, |record| record.version))
    }

    /// Takes a record away.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn remove(&self, owner: &str, name: &str) -> Result<bool> {
        self.store.remove_record(owner, name).await
    }

    /// Takes a lease for `millis` from now, or keeps on holding it. False while another holder has it.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn lease(&self, name: &str, holder: &str, millis: u64) -> Result<bool> {
        let now = self.clock.now();
        self.store.lease(name, holder, now, now.plus(millis)).await
    }

    /// Gives a lease back, if the holder still has it.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn release(&self, name: &str, holder: &str) -> Result<()> {
        self.store.release(name, holder).await
    }

    /// Seals everything with a new key and forgets the old one. Cut short anywhere, nothing is lost: both keys stay until
    /// the last record is sealed with the new one, and run again it goes on.
    ///
    /// # Errors
    /// [`Kind::Configuration`] where the key is the environment's and the new one does not stand there yet;
    /// [`Kind::Conflict`] while another process is at it.
    pub(crate) async fn change_key(&self) -> Result<KeyChange> {
        let holder = crate::random::name()?;
        self.hold(&holder).await?;
        let result = self.change_key_held(&holder).await;
        self.release(CHANGE_LEASE, &holder).await?;
        result
    }

    async fn change_key_held(&self, holder: &str) -> Result<KeyChange> {
        self.ring.begin_change().await?;
        let mut change = KeyChange::default();
        // Once more after a round that found something, so that what others wrote meanwhile is not forgotten.
        loop {
            let mut found = 0;
            change.unopened.clear();
            for (owner, name, ..) in self.store.records().await? {
                self.hold(holder).await?;
                match self.reseal(&owner, &name).await {
                    Ok(is_new) => found += usize::from(is_new),
                    Err(error) if *error.kind() == Kind::CredentialUnavailable => {
                        change.unopened.push(error.message().to_owned());
                    }
                    Err(error) => return Err(error),
                }
            }
            change.resealed += found;
            if found == 0 {
                break;
            }
        }
        change.environment_holds_old = self.ring.end_change().await?;
        Ok(change)
    }

    async fn hold(&self, holder: &str) -> Result<()> {
        if self.lease(CHANGE_LEASE, holder, CHANGE_MS).await? {
            return Ok(());
        }
        Err(Error::new(Kind::Conflict, "another process is changing the sealing key")
            .with_details(format!("If it was killed, run this again in {} s: it goes on.", CHANGE_MS / 1000)))
    }

    /// Seals one record with the first key, and says whether it was another's.
    async fn reseal(&self, owner: &str, name: &str) -> Result<bool> {
        loop {
            let keys = self.ring.known().await?;
            let key = keys.first().ok_or_else(|| Error::internal("there is no sealing key"))?;
            let Some(record) = self.there(owner, name).await? else { return Ok(false) };
            if parts(&record.value).is_some_and(|(id, _)| id == key.id) {
                return Ok(false);
            }
            let value = self.open(owner, name, &record).await?;
            // Its age stays: only the key is another.
            if self.put(key, owner, name, record.version, record.at, &value).await?.is_some() {
                return Ok(true);
            }
        }
    }

    /// The record as it lies there; one that was taken away is not there.
    async fn there(&self, owner: &str, name: &str) -> Result<Option<Record>> {
        Ok(self.store.record(owner, name).await?.filter(|record| !record.value.is_empty()))
    }

    async fn put(
        &self,
        key: &Key,
        owner: &str,
        name: &str,
        last: u64,
        at: Timestamp,
        value: &[u8],
    ) -> Result<Option<u64>> {
        let mut sealed = Zeroizing::new(MARK.to_vec());
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&key.seal.seal(&context(owner, name, &(last + 1).to_string()), value)?);
        self.store.put_record(owner, name, last, at, sealed).await
    }

    async fn open(&self, owner: &str, name: &str, record: &Record) -> Result<Zeroizing<Vec<u8>>> {
        let refused = |why: &str, help: &str| {
            let message = format!("the sealed record `{name}` of {owner} {why}");
            Error::new(Kind::CredentialUnavailable, message).with_details(format!(
                "{help} The record was left as it is. Where there is no way back, put the value in anew: wharfage secret set, \
                 or wharfage connect for a sign-in."
            ))
        };
        let Some((id, body)) = parts(&record.value) else {
            return Err(refused("is cut short or was not written by wharfage", "Put state.sqlite back from a backup."));
        };
        let mut keys = self.ring.known().await?;
        if keys.of(id).is_none() {
            // Another process may have changed the key.
            keys = self.ring.now(false).await?;
        }
        let Some(key) = keys.of(id) else {
            return Err(refused(
                "was sealed with another key",
                &format!(
                    "It needs the key {}; here {}. Put that key back into the state folder's sealing.key or {VARIABLE}.",
                    crate::hex::hex(id),
                    shown(&keys)
                ),
            ));
        };
        let opened = key.seal.open(&context(owner, name, &record.version.to_string()), body);
        opened.map(Zeroizing::new).ok_or_else(|| {
            refused("was changed, or copied here from elsewhere", "Put state.sqlite back from a backup.")
        })
    }
}

/// Which keys there are, by their ids.
fn shown(keys: &Keys) -> String {
    match keys.ids() {
        ids if ids.is_empty() => "there is none".to_owned(),
        ids => format!("there is {}", ids.join(", ")),
    }
}

/// What a record is bound to.
fn context<'a>(owner: &'a str, name: &'a str, version: &'a str) -> [&'a str; 4] {
    ["record", owner, name, version]
}

/// The key's id, and what it sealed.
fn parts(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    sealed.strip_prefix(MARK)?.split_at_checked(size_of::<super::ring::KeyId>())
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll};

    use super::*;
    use crate::store::MemoryStore;
    use crate::time::ManualClock;

    /// A store and a state folder that outlive the hosts that use them.
    struct Setup {
        store: Arc<dyn Store>,
        folder: tempfile::TempDir,
        clock: ManualClock,
    }

    impl Setup {
        fn new() -> Self {
            Self {
                store: Arc::new(MemoryStore::default()),
                folder: tempfile::tempdir().unwrap(),
                clock: ManualClock::new(Timestamp::from_millis(1_000), 1),
            }
        }

        /// As a new process sees it.
        fn sealed(&self) -> Sealed {
            Sealed::new(self.store.clone(), Some(self.folder.path()), Arc::new(self.clock.clone()))
        }

        fn key_file(&self) -> std::path::PathBuf {
            self.folder.path().join("sealing.key")
        }

        async fn raw(&self, owner: &str, name: &str) -> Record {
            self.store.record(owner, name).await.unwrap().unwrap()
        }
    }

    fn refusal(result: Result<Option<Record>>) -> String {
        let error = result.err().unwrap();
        assert_eq!(error.kind(), &Kind::CredentialUnavailable);
        error.to_string()
    }

    #[tokio::test]
    async fn a_record_is_sealed_and_opens_in_another_process() {
        let setup = Setup::new();
        let sealed = setup.sealed();
        assert!(sealed.read("a", "n").await.unwrap().is_none());
        assert!(!setup.key_file().exists(), "a key was made before there was something to seal");
        assert_eq!(sealed.write("a", "n", 0, b"the value").await.unwrap(), Some(1));
        assert_eq!(sealed.write("a", "n", 0, b"again").await.unwrap(), None);
        assert_eq!(sealed.write("a", "n", 1, b"the other").await.unwrap(), Some(2));
        assert!(!setup.raw("a", "n").await.value.windows(9).any(|bytes| bytes == b"the other"));
        let read = setup.sealed().read("a", "n").await.unwrap().unwrap();
        assert_eq!((read.version, read.value.as_slice()), (2, b"the other".as_slice()));
        assert!(sealed.remove("a", "n").await.unwrap());
        assert_eq!(sealed.write("a", "n", 2, b"an old hand").await.unwrap(), None);
        assert_eq!(sealed.write("a", "n", 0, b"anew").await.unwrap(), Some(4));
        assert_eq!(setup.sealed().read("a", "n").await.unwrap().unwrap().value.as_slice(), b"anew");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(setup.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_copied_edited_or_older_record_does_not_open_and_stays() {
        let setup = Setup::new();
        let sealed = setup.sealed();
        sealed.write("a", "n", 0, b"one").await.unwrap();
        let first = setup.raw("a", "n").await.value;
        sealed.write("a", "n", 1, b"two").await.unwrap();
        let at = Timestamp::default();
        let put = async |owner: &str, name: &str, last: u64, value: Zeroizing<Vec<u8>>| {
            setup.store.put_record(owner, name, last, at, value).await.unwrap().unwrap()
        };
        // To another owner, to another name, and the older one back in its place.
        put("b", "n", 0, first.clone()).await;
        put("a", "m", 0, first.clone()).await;
        put("a", "n", 2, first.clone()).await;
        for (owner, name) in [("b", "n"), ("a", "m"), ("a", "n")] {
            let text = refusal(sealed.read(owner, name).await);
            assert!(text.contains(&format!("`{name}` of {owner} was changed, or copied")), "{text}");
            assert!(text.contains("wharfage secret set"), "{text}");
        }
        let mut version = 1;
        for bit in 0..first.len() {
            let mut edited = first.clone();
            edited[bit] ^= 1;
            version = put("b", "n", version, edited).await;
            refusal(sealed.read("b", "n").await);
        }
        assert!(!setup.raw("b", "n").await.value.is_empty(), "a record that does not open was deleted");
    }

    #[tokio::test]
    async fn a_truncated_or_foreign_record_says_what_to_do_next() {
        let setup = Setup::new();
        let sealed = setup.sealed();
        sealed.write("a", "n", 0, b"one").await.unwrap();
        let whole = setup.raw("a", "n").await.value;
        for (last, length) in (1..).zip(1..whole.len()) {
            let cut = Zeroizing::new(whole[..length].to_vec());
            setup.store.put_record("a", "n", last, Timestamp::default(), cut).await.unwrap().unwrap();
            let text = refusal(sealed.read("a", "n").await);
            assert!(text.contains("from a backup"), "{length}: {text}");
        }
    }

    #[tokio::test]
    async fn another_key_is_named_and_the_record_is_not_taken_for_absent() {
        let setup = Setup::new();
        setup.sealed().write("a", "n", 0, b"one").await.unwrap();
        let key = std::fs::read(setup.key_file()).unwrap();
        std::fs::remove_file(setup.key_file()).unwrap();
        let text = refusal(setup.sealed().read("a", "n").await);
        assert!(text.contains("sealed with another key") && text.contains("there is none"), "{text}");
        setup.sealed().write("b", "n", 0, b"sealed with a new key").await.unwrap();
        assert!(refusal(setup.sealed().read("a", "n").await).contains("sealing.key"));
        // The old key is put back beside the new one, and both open.
        let new = std::fs::read(setup.key_file()).unwrap();
        std::fs::write(setup.key_file(), [new, key].concat()).unwrap();
        assert_eq!(setup.sealed().read("a", "n").await.unwrap().unwrap().value.as_slice(), b"one");
        assert!(setup.sealed().read("b", "n").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_truncated_key_says_what_to_do_next_and_is_never_replaced() {
        let setup = Setup::new();
        setup.sealed().write("a", "n", 0, b"one").await.unwrap();
        let whole = std::fs::read_to_string(setup.key_file()).unwrap();
        for text in ["", "\n", &whole[..20], "<html>", &format!("{whole}x")] {
            std::fs::write(setup.key_file(), text).unwrap();
            for result in
                [setup.sealed().read("a", "n").await.map(drop), setup.sealed().write("c", "n", 0, b"x").await.map(drop)]
            {
                let told = result.unwrap_err().to_string();
                assert!(told.contains("holds no sealing key") && told.contains("backup"), "{text:?}: {told}");
            }
            assert_eq!(std::fs::read_to_string(setup.key_file()).unwrap(), text);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        use std::os::unix::fs::PermissionsExt;
        let setup = Setup::new();
        setup.sealed().write("a", "n", 0, b"one").await.unwrap();
        std::fs::set_permissions(setup.key_file(), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refusal(setup.sealed().read("a", "n").await).contains("chmod 600"));
    }

    #[tokio::test]
    async fn a_new_key_seals_everything_and_the_old_one_is_gone() {
        let setup = Setup::new();
        let running = setup.sealed();
        running.write("a", "n", 0, b"one").await.unwrap();
        running.write("b", "n", 0, b"two").await.unwrap();
        let old = std::fs::read(setup.key_file()).unwrap();
        let change = setup.sealed().change_key().await.unwrap();
        assert_eq!((change.resealed, change.unopened.len()), (2, 0));
        let new = std::fs::read(setup.key_file()).unwrap();
        assert!(new != old && new.len() == old.len(), "the old key is still there");
        // A process that began before goes on, reading and writing.
        assert_eq!(running.read("a", "n").await.unwrap().unwrap().value.as_slice(), b"one");
        assert_eq!(running.write("b", "n", 2, b"three").await.unwrap(), Some(3));
        assert_eq!(setup.sealed().read("b", "n").await.unwrap().unwrap().value.as_slice(), b"three");
        std::fs::write(setup.key_file(), old).unwrap();
        assert!(refusal(setup.sealed().read("a", "n").await).contains("another key"));
    }

    /// Two of one key were taken for a change under way, and the one that was to be replaced went on sealing.
    #[tokio::test]
    async fn a_key_that_stands_there_twice_is_changed_as_well() {
        let setup = Setup::new();
        setup.sealed().write("a", "n", 0, b"one").await.unwrap();
        let old = std::fs::read(setup.key_file()).unwrap();
        std::fs::write(setup.key_file(), [&*old, &*old].concat()).unwrap();
        assert_eq!(setup.sealed().change_key().await.unwrap().resealed, 1);
        let new = std::fs::read(setup.key_file()).unwrap();
        assert!(new != old && new.len() == old.len(), "the old key is still there");
    }

    /// A future that is given up after so many polls: a process killed there.
    struct Killed<F>(Pin<Box<F>>, usize);

    impl<F: Future> Future for Killed<F> {
        type Output = Option<F::Output>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            if self.1 == 0 {
                return Poll::Ready(None);
            }
            self.1 -= 1;
            self.0.as_mut().poll(context).map(Some)
        }
    }

    /// In a real file, whose every read and write is a place to die.
    #[cfg(feature = "store-sqlite")]
    #[test]
    fn killed_at_any_step_of_a_change_of_the_key_nothing_is_lost() {
        let mut kills = 0;
        for polls in 0.. {
            let mut setup = Setup::new();
            let path = setup.folder.path().join("state.sqlite");
            setup.store = Arc::new(crate::store::SqliteStore::open(&path, crate::store::Seal::new(&[7; 32])).unwrap());
            let run = || tokio::runtime::Builder::new_current_thread().build().unwrap();
            run().block_on(async {
                for (owner, value) in [("a", b"one"), ("b", b"two"), ("c", b"six")] {
                    setup.sealed().write(owner, "n", 0, value).await.unwrap();
                }
            });
            // The runtime ends with what it had under way on other threads, as a file half written elsewhere would not.
            let sealed = setup.sealed();
            let done = run().block_on(Killed(Box::pin(async move { sealed.change_key().await }), polls));
            let all_there = async || {
                for (owner, value) in [("a", b"one"), ("b", b"two"), ("c", b"six")] {
                    let record = setup.sealed().read(owner, "n").await.unwrap().unwrap();
                    assert_eq!(record.value.as_slice(), value, "after {polls} polls");
                }
            };
            run().block_on(async {
                all_there().await;
                // What a write of the key left behind does no harm.
                std::fs::write(setup.folder.path().join("sealing.key.new"), "half a ke").unwrap();
                setup.clock.advance(CHANGE_MS);
                let again = setup.sealed().change_key().await.unwrap();
                assert!(again.unopened.is_empty());
                all_there().await;
                assert_eq!(std::fs::read_to_string(setup.key_file()).unwrap().lines().count(), 1);
            });
            if done.is_some() {
                break;
            }
            kills += 1;
        }
        assert!(kills > 15, "only {kills} places to die were tried");
    }

    #[tokio::test]
    async fn two_changes_at_once_are_one_after_the_other() {
        let setup = Setup::new();
        setup.sealed().write("a", "n", 0, b"one").await.unwrap();
        assert!(
            setup
                .store
                .lease(CHANGE_LEASE, "another", setup.clock.now(), setup.clock.now().plus(CHANGE_MS))
                .await
                .unwrap()
        );
        let error = setup.sealed().change_key().await.unwrap_err();
        assert_eq!(error.kind(), &Kind::Conflict);
        assert!(error.to_string().contains("run this again in 60 s"), "{error}");
    }

    /// Between its last look at the records and its end, a change of the key has both keys, and sees no record any more.
    #[test]
    fn a_write_after_the_last_look_of_a_change_of_the_key_is_not_lost() {
        let setup = Setup::new();
        // The keys are read on one thread, one reader after the other.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (running, changing) = (setup.sealed(), setup.sealed());
            running.write("a", "n", 0, b"one").await.unwrap();
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let held = tokio::task::spawn_blocking(move || wait.recv());
            let mut write = pin!(running.write("a", "n", 1, b"two"));
            assert!(write.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
            go.send(()).unwrap();
            held.await.unwrap().unwrap();
            changing.ring.begin_change().await.unwrap();
            assert_eq!(write.await.unwrap(), Some(3), "sealed with the old key, and with the new one");
            changing.ring.end_change().await.unwrap();
            assert_eq!(setup.sealed().read("a", "n").await.unwrap().unwrap().value.as_slice(), b"two");
        });
    }

    #[tokio::test]
    async fn a_write_during_a_change_of_the_key_is_not_lost() {
        let setup = Setup::new();
        setup.sealed().write("a", "n", 0, b"one").await.unwrap();
        let (one, other) = (setup.sealed(), setup.sealed());
        let change = pin!(one.change_key());
        let writes = async {
            for at in 0..20u64 {
                let name = format!("n{at}");
                other.write("b", &name, 0, b"new").await.unwrap().unwrap();
            }
        };
        let (change, ()) = tokio::join!(change, writes);
        change.unwrap();
        for at in 0..20u64 {
            assert!(setup.sealed().read("b", &format!("n{at}")).await.unwrap().is_some());
        }
    }
}
