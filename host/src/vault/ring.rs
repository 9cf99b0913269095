//! The sealing keys: the one that seals, and those that still open.
//!
//! They come from `WHARFAGE_SEALING_KEY` (base64 of 32 bytes; several with commas between them, the first one seals),
//! and from the file `sealing.key` in the state folder, which is drawn on first use and its owner's alone from the moment
//! it is opened. A line of the file is a key, the first one seals. During a change there are two, so that every record
//! opens whenever the change is cut short.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use zeroize::Zeroizing;

use super::{env, file};
use crate::error::{Error, Kind, Result};
use crate::store::Seal;

/// The variable that holds the keys where no file shall.
pub(crate) const VARIABLE: &str = "WHARFAGE_SEALING_KEY";

/// The file in the state folder.
const FILE: &str = "sealing.key";

/// Most keys that there are at once.
const KEYS_MAX: usize = 8;

/// Says which key sealed something, and nothing about the key.
pub(super) type KeyId = [u8; 8];

/// The keys of a host.
pub(super) struct Ring {
    place: Place,
    keys: Mutex<Arc<Keys>>,
}

/// Where keys come from.
enum Place {
    /// The state folder, behind the environment.
    Folder(PathBuf),
    /// Nowhere: they end with the host.
    Memory,
}

/// The keys as they were read last.
#[derive(Default)]
pub(super) struct Keys {
    keys: Vec<Key>,
    /// How many of them, the first ones, came from the environment.
    of_environment: usize,
}

/// One key.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) seal: Seal,
    bytes: Zeroizing<[u8; 32]>,
}

impl Key {
    fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let hash = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, bytes.as_slice());
        let mut id = KeyId::default();
        id.copy_from_slice(&aws_lc_rs::hmac::sign(&hash, b"wharfage sealing key id").as_ref()[..8]);
        Self { id, seal: Seal::new(&bytes), bytes }
    }

    fn drawn() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        crate::random::fill(bytes.as_mut_slice())?;
        Ok(Self::new(bytes))
    }
}

impl Keys {
    /// The key that seals.
    pub(super) fn first(&self) -> Option<&Key> {
        self.keys.first()
    }

    /// Which keys there are.
    pub(super) fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| crate::hex::hex(&key.id)).collect()
    }

    /// The key of that id.
    pub(super) fn of(&self, id: &[u8]) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl Ring {
    /// The keys that belong to a state folder; without one, a key that nobody keeps.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        let place = folder.map_or(Place::Memory, |folder| Place::Folder(folder.to_owned()));
        Self { place, keys: Mutex::default() }
    }

    /// The keys as they were read last, or as they are now.
    pub(super) async fn known(self: &Arc<Self>) -> Result<Arc<Keys>> {
        let known = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.keys.is_empty() { self.now(false).await } else { Ok(known) }
    }

    /// The keys as they are now. Where there is none, `make` draws one.
    ///
    /// # Errors
    /// [`Kind::CredentialUnavailable`] where the keys cannot be read, with what mends it.
    pub(super) async fn now(self: &Arc<Self>, make: bool) -> Result<Arc<Keys>> {
        let ring = self.clone();
        off_the_runtime(move || ring.read(make)).await
    }

    fn read(&self, make: bool) -> Result<Arc<Keys>> {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let Place::Folder(folder) = &self.place else {
            if known.keys.is_empty() {
                *known = Arc::new(Keys { keys: vec![Key::drawn()?], of_environment: 0 });
            }
            return Ok(known.clone());
        };
        let mut keys = match env::read(VARIABLE) {
            Some(text) => parse(text.split(','), &format!("the environment variable {VARIABLE}"))?,
            None => Vec::new(),
        };
        once(&mut keys);
        let of_environment = keys.len();
        keys.extend(read_file(folder)?);
        if keys.is_empty() && make {
            make_file(folder)?;
            keys = read_file(folder)?;
        }
        once(&mut keys);
        *known = Arc::new(Keys { keys, of_environment });
        Ok(known.clone())
    }

    /// Begins a change: from here on a new key seals and the others open. Where a change was begun before, it goes on. Where
    /// the keys are the environment's, the new one must stand there already.
    pub(super) async fn begin_change(self: &Arc<Self>) -> Result<()> {
        let ring = self.clone();
        off_the_runtime(move || {
            let keys = ring.read(true)?;
            if keys.keys.len() > 1 {
                return Ok(());
            }
            if keys.of_environment > 0 {
                return Err(Error::configuration(format!(
                    "the sealing key stands in {VARIABLE}, which is not ours to change"
                ))
                .with_details(format!(
                    "Draw a new one (openssl rand -base64 32) and set both, the new one first:   {VARIABLE}=NEW,OLD\n\
                         then run this again, and take the old one away after it."
                )));
            }
            let new = Key::drawn()?;
            ring.replace([&new].into_iter().chain(&keys.keys))?;
            ring.read(false).map(drop)
        })
        .await
    }

    /// Ends a change: only the key that seals is left, and none in the file where it is the environment's. Answers whether
    /// the environment still holds others.
    pub(super) async fn end_change(self: &Arc<Self>) -> Result<bool> {
        let ring = self.clone();
        off_the_runtime(move || {
            let keys = ring.read(false)?;
            let first = keys.first().ok_or_else(|| Error::internal("there is no sealing key"))?;
            if keys.of_environment > 0 {
                ring.remove_file()?;
                ring.read(false)?;
                return Ok(keys.of_environment > 1);
            }
            ring.replace([first].into_iter())?;
            ring.read(false)?;
            Ok(false)
        })
        .await
    }

    /// Takes the file's keys away.
    fn remove_file(&self) -> Result<()> {
        let Place::Folder(folder) = &self.place else { return Ok(()) };
        let wrong = |error: std::io::Error| unusable(folder, &format!("cannot be taken away: {error}"));
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(wrong)?;
        match dir.remove_file(FILE) {
            Ok(()) => crate::artifact::settle(&dir).map_err(wrong),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(wrong(error)),
        }
    }

    /// Writes the keys beside and puts them in place in one step.
    fn replace<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Result<()> {
        let Place::Folder(folder) = &self.place else { return Ok(()) };
        let wrong = |error: std::io::Error| unusable(folder, &format!("cannot be written: {error}"));
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(wrong)?;
        let beside = format!("{FILE}.new");
        match dir.remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(error)),
            _ => {}
        }
        write(&dir, &beside, keys).map_err(wrong)?;
        dir.rename(&beside, &dir, FILE).map_err(wrong)?;
        crate::artifact::settle(&dir).map_err(wrong)
    }
}

/// Each key once, where it stands first.
fn once(keys: &mut Vec<Key>) {
    let mut ids = BTreeSet::new();
    keys.retain(|key| ids.insert(key.id));
}

/// Runs work that blocks where it may.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("the keys' thread failed"))?
}

fn read_file(folder: &Path) -> Result<Vec<Key>> {
    let path = folder.join(FILE);
    let dir = Dir::open_ambient_dir(folder, ambient_authority());
    let dir = dir.map_err(|error| unusable(folder, &format!("its folder cannot be opened: {error}")))?;
    match file::read_in(&dir, Path::new(FILE), &path).map_err(|why| unusable(folder, &why))? {
        None => Ok(Vec::new()),
        Some(found) => parse(found.text.lines(), &format!("the file {}", path.display())),
    }
}

/// Draws the first key. Written beside and linked, so that of two processes starting at once one wins and both use its
/// key whole.
fn make_file(folder: &Path) -> Result<()> {
    let wrong = |error: std::io::Error| unusable(folder, &format!("cannot be made: {error}"));
    let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(wrong)?;
    let key = Key::drawn()?;
    let beside = format!("{FILE}.{}", u64::from_be_bytes(key.id));
    write(&dir, &beside, [&key].into_iter()).map_err(wrong)?;
    let linked = dir.hard_link(&beside, &dir, FILE);
    let _ = dir.remove_file(&beside);
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(wrong(error)),
        _ => crate::artifact::settle(&dir).map_err(wrong),
    }
}

fn write<'a>(dir: &Dir, name: &str, keys: impl Iterator<Item = &'a Key>) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = dir.open_with(name, &options)?;
    for key in keys {
        let line = Zeroizing::new(STANDARD.encode(key.bytes.as_slice()));
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.sync_all()
}

/// Keys from their texts; `from` says whose they are.
fn parse<'a>(texts: impl Iterator<Item = &'a str>, from: &str) -> Result<Vec<Key>> {
    let texts = texts.map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('#'));
    let mut keys = Vec::new();
    for text in texts {
        let mut bytes = Zeroizing::new([0; 32]);
        let decoded = STANDARD.decode(text).map(Zeroizing::new).ok().filter(|decoded| decoded.len() == bytes.len());
        let is_full = keys.len() == KEYS_MAX;
        let Some(decoded) = decoded.filter(|_| !is_full) else {
            let message = format!("{from} holds no sealing key");
            return Err(Error::new(Kind::CredentialUnavailable, message).with_details(format!(
                "It must hold 1 to {KEYS_MAX} keys, each 32 bytes in base64, as `openssl rand -base64 32` prints one. If it was \
                 cut short, put it back from a backup: without its key nothing that was sealed opens."
            )));
        };
        bytes.copy_from_slice(&decoded);
        keys.push(Key::new(bytes));
    }
    if keys.is_empty() {
        return Err(Error::new(Kind::CredentialUnavailable, format!("{from} holds no sealing key")).with_details(
            "It is empty. Put it back from a backup; if nothing was sealed yet, take it away and a new one is made.",
        ));
    }
    Ok(keys)
}

fn unusable(folder: &Path, why: &str) -> Error {
    let message = format!("the sealing key {} cannot be used", folder.join(FILE).display());
    Error::new(Kind::CredentialUnavailable, message).with_details(why)
}
