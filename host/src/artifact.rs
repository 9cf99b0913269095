//! Compiled code on disk: keyed, authenticated, never somebody else's.
//!
//! Loading compiled code trusts it as much as this program itself, so a file is used only if its tag, made with a key
//! that this installation drew for itself, covers exactly the bytes that are then mapped: they are read into memory once,
//! checked there and deserialised from there (R19). The tag is that of AES-256-GCM over data that is not encrypted (GMAC,
//! NIST SP 800-38D), which takes a fraction of what a hash takes. The key to a file is the component's digest together with
//! everything of the engine that shapes code, so an update simply finds nothing. A file that does not open is deleted and
//! made anew; nothing is ever taken from outside this folder.

use std::io::{Read, Write};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use wasmtime::component::Component;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::text::shown_lines;

/// Compiled code.
pub(crate) type Code = Component;

const TAG_BYTES: usize = 16;
/// How a file begins: nonce and tag, then code.
const HEAD_BYTES: usize = NONCE_LEN + TAG_BYTES;
/// Goes into a file's name, so that another form of file is another file.
const FORM: &[u8] = b"nonce, tag, code";
const KEY_FILE: &str = "artifact.key";
/// How the name of a file of code begins, with so many hexadecimal digits, and how it ends; while it is written, more follows.
const NAME_DIGITS: usize = 64;
const SUFFIX: &str = ".code";

/// Where the private listener's token is kept, in the state folder.
#[cfg(feature = "serve")]
pub(crate) const TOKEN_FILE: &str = "console.token";

#[cfg(feature = "serve")]
const TOKEN_DIGITS: usize = 64;
/// Most bytes of compiled code that are read back.
const ARTIFACT_BYTES_MAX: u64 = 512 << 20;
/// Bytes of compiled code that a folder keeps: that of some thousand plugins. Beyond them goes what was compiled first; where
/// it is asked for, it is compiled again.
const FOLDER_BYTES_MAX: u64 = 4 << 30;

/// Code is made of a component, which takes a moment; see [`HostBuilder::compiling`](crate::HostBuilder::compiling).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compiling<'a> {
    /// It begins.
    #[non_exhaustive]
    Begun {
        /// The plugin, as its manifest calls it.
        plugin: &'a str,
        /// Bytes of its component.
        component_bytes: usize,
    },
    /// It is over, whatever came of it.
    #[non_exhaustive]
    Ended {
        /// Milliseconds that it took.
        taken_ms: u64,
    },
}

/// Who is told of it.
pub(crate) type CompilingListener = std::sync::Arc<dyn Fn(Compiling<'_>) + Send + Sync>;

/// SHA-256 of a component's bytes, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut out = [0; 32];
        out.copy_from_slice(digest.as_ref());
        Self(out)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", hex(&self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// The folder of compiled code.
pub(crate) struct Artifacts {
    dir: Dir,
    key: LessSafeKey,
}

impl Artifacts {
    /// Opens the folder, making it and its key if they are not there.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) when the folder cannot be used or is open to others.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let dir = private_dir(path)?;
        let key = derived(&read_or_make_key(&dir, path)?, b"code");
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| Error::internal("no key for compiled code"))?;
        Ok(Self { dir, key: LessSafeKey::new(key) })
    }

    /// The component's code, if it was compiled before.
    pub(crate) fn find(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let found = deserialise(engine, self.read(&self.name(engine, digest))?.code());
        found.inspect_err(|error| tracing::warn!(target: "wharfage::artifact", %digest, %error, "compiled anew")).ok()
    }

    /// The component's code, compiled now and kept.
    pub(crate) fn make(&self, engine: &Engine, digest: Digest, bytes: &[u8]) -> Result<Component> {
        let component = compile(engine, bytes)?;
        match component.serialize() {
            Ok(code) => {
                if let Err(error) = self.write(&self.name(engine, digest), &code) {
                    tracing::warn!(target: "wharfage::artifact", %digest, %error, "compiled code could not be kept");
                }
            }
            Err(error) => {
                tracing::warn!(target: "wharfage::artifact", %digest, %error, "compiled code could not be kept")
            }
        }
        if let Err(error) = self.prune(FOLDER_BYTES_MAX) {
            tracing::warn!(target: "wharfage::artifact", %error, "old compiled code could not be removed");
        }
        Ok(component)
    }

    /// The file's name: a hash of the component and of everything that shapes its code.
    fn name(&self, engine: &Engine, digest: Digest) -> String {
        use std::hash::{Hash, Hasher};
        let mut shape = Shape(Vec::new());
        engine.raw().precompile_compatibility_hash().hash(&mut shape);
        shape.write(&digest.0);
        shape.write(FORM);
        let _ = shape.finish();
        format!("{}{SUFFIX}", hex(&Digest::of(&shape.0).0))
    }

    /// The code in a file whose tag is right. A wrong one is removed.
    fn read(&self, name: &str) -> Option<Covered> {
        let mut file = self.dir.open(name).ok()?;
        let length = file.metadata().ok()?.len();
        if (HEAD_BYTES as u64..=HEAD_BYTES as u64 + ARTIFACT_BYTES_MAX).contains(&length) {
            let mut head = [0; HEAD_BYTES];
            let mut covered = Covered::new(name, usize::try_from(length).ok()? - HEAD_BYTES);
            match file.read_exact(&mut head).and_then(|()| file.read_exact(covered.code_mut())) {
                Ok(()) if self.is_ours(&head, &covered) => return Some(covered),
                Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return None,
                Ok(()) | Err(_) => {}
            }
        }
        tracing::warn!(target: "wharfage::artifact", file = name, "compiled code on disk was not ours or was changed; compiled anew");
        let _ = self.dir.remove_file(name);
        None
    }

    fn is_ours(&self, head: &[u8; HEAD_BYTES], covered: &Covered) -> bool {
        let (nonce, tag) = head.split_at(NONCE_LEN);
        Nonce::try_assume_unique_for_key(nonce).is_ok_and(|nonce| {
            self.key.open_separate_gather(nonce, Aad::from(&covered.bytes), &[], tag, &mut []).is_ok()
        })
    }

    /// Writes beside and renames, so that no half file is ever read.
    fn write(&self, name: &str, code: &[u8]) -> Result<()> {
        let mut covered = Covered::new(name, code.len());
        covered.code_mut().copy_from_slice(code);
        // Drawn, and so unlike all others: an installation makes far fewer than 2^32 tags.
        let nonce = crate::random::bytes::<NONCE_LEN>()?;
        let unique = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(unique, Aad::from(&covered.bytes), &mut []);
        let tag = tag.map_err(|_| Error::internal("the code has no tag"))?;
        // Under a name that neither another process nor one that was killed has.
        let beside = format!("{name}.{}", crate::random::name()?);
        let written = self.dir.open_with(&beside, &private_file()).and_then(|mut file| {
            file.write_all(&nonce)?;
            file.write_all(tag.as_ref())?;
            file.write_all(code)
        });
        written.and_then(|()| self.dir.rename(&beside, &self.dir, name)).map_err(|error| {
            let _ = self.dir.remove_file(&beside);
            Error::internal(format!("the file cannot be written: {error}"))
        })
    }

    /// Keeps the newest code, of that many bytes. What a process that was killed left beside goes like the rest.
    fn prune(&self, bytes_max: u64) -> Result<()> {
        let unusable = |error: std::io::Error| Error::internal(format!("the folder cannot be used: {error}"));
        let mut files = Vec::new();
        for entry in self.dir.entries().map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let name = entry.file_name();
            // Another process may have taken it away since.
            if is_of_code(&name.to_string_lossy())
                && let Ok(facts) = entry.metadata()
                && let Ok(written_at) = facts.modified()
            {
                files.push((written_at, facts.len(), name));
            }
        }
        files.sort_by(|one, other| other.cmp(one));
        let mut kept_bytes: u64 = 0;
        for (_, bytes, name) in files {
            kept_bytes = kept_bytes.saturating_add(bytes);
            if kept_bytes > bytes_max {
                match self.dir.remove_file(name) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(error)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a file of that name holds code, or what became none: others may have files in the folder too.
fn is_of_code(name: &str) -> bool {
    let Some((digits, rest)) = name.split_at_checked(NAME_DIGITS) else { return false };
    let rest = rest.strip_prefix(SUFFIX);
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What a tag covers: a file's name, so that none can stand in for another, and its code. All names are equally long, so no
/// two of these read alike.
struct Covered {
    bytes: Vec<u8>,
    name_bytes: usize,
}

impl Covered {
    /// With room for so many bytes of code.
    fn new(name: &str, code_bytes: usize) -> Self {
        let mut bytes = vec![0; name.len() + code_bytes];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Self { bytes, name_bytes: name.len() }
    }

    fn code(&self) -> &[u8] {
        &self.bytes[self.name_bytes..]
    }

    fn code_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.name_bytes..]
    }
}

/// Compiles, without keeping anything.
pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component> {
    // The bytes are anybody's: a compiler that gives up on them must not take the host along.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Component::from_binary(engine.raw(), bytes)))
        .map_err(|_| Error::component("the compiler gave up on the component"))?
        .map_err(|error| {
            // It quotes names that anybody may have written.
            Error::component("the component does not compile").with_details(shown_lines(&format!("{error:#}")))
        })
}

#[expect(unsafe_code, reason = "the one place: maps code that this installation compiled and authenticated")]
fn deserialise(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was read into memory once and its tag verified over these very bytes; only `write` above makes such
    // a tag, over what `Component::serialize` of the same wasmtime gave.
    unsafe { Component::deserialize(engine.raw(), code) }
}

/// The folder at `path`, ours alone.
pub(crate) fn private_dir(path: &Path) -> Result<Dir> {
    let wrong = |error: std::io::Error| {
        Error::configuration(format!("the state folder {} cannot be used: {error}", path.display()))
    };
    let mut builder = cap_std::fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use cap_std::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    if !path.exists() {
        // The parents are made as everything is; the folder itself is ours alone.
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Dir::create_ambient_dir_all(parent, ambient_authority()).map_err(wrong)?;
            let parent = Dir::open_ambient_dir(parent, ambient_authority()).map_err(wrong)?;
            if let Some(name) = path.file_name() {
                match parent.create_dir_with(name, &builder) {
                    Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(wrong(error)),
                    _ => {}
                }
            }
        } else {
            Dir::create_ambient_dir_all(path, ambient_authority()).map_err(wrong)?;
        }
    }
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(wrong)?;
    #[cfg(unix)]
    {
        use cap_std::fs::MetadataExt;
        let about = dir.dir_metadata().map_err(wrong)?;
        let own = rustix::process::geteuid().as_raw();
        crate::ownership::judge_owner(path, about.uid(), own, &mend(path, &dir, about.uid(), own))
            .map_err(|why| Error::configuration(format!("the state folder cannot be used: {why}")))?;
        let mode = about.mode();
        if mode & 0o022 != 0 {
            return Err(Error::configuration(format!(
                "the state folder {path} can be written by others (mode {:o}); run: chmod 700 {path}",
                mode & 0o777,
                path = path.display()
            )));
        }
    }
    Ok(dir)
}

/// What helps where a folder of another user is to be one's own. Only what is a state folder is given away with all that is
/// in it: whatever else was named may be the system's.
#[cfg(unix)]
fn mend(path: &Path, dir: &Dir, owner: u32, own: u32) -> String {
    // One that nobody else may look into is known by its name.
    let is_state = path.file_name().is_some_and(|name| name == "wharfage")
        || ["state.sqlite", KEY_FILE].iter().any(|name| dir.exists(name));
    match owner {
        _ if is_state => format!("run: sudo chown -R {own} {}", path.display()),
        0 => "name one of your own: --state-dir FOLDER".to_owned(),
        _ => format!("run: sudo chown {own} {}", path.display()),
    }
}

/// A key of this installation: read if it is there, drawn from the operating system if not.
///
/// # Errors
/// [`Kind::Configuration`](crate::Kind::Configuration) when others can know it: what it vouches for could be theirs.
pub(crate) fn read_or_make_key(dir: &Dir, path: &Path) -> Result<[u8; 32]> {
    let help = "What is kept beside it opens with it alone: put it back from a copy, or name another folder:   \
                --state-dir FOLDER";
    let key = read_or_make(dir, path, KEY_FILE, help, crate::random::bytes)?;
    #[cfg(unix)]
    {
        use cap_std::fs::MetadataExt;
        let file = path.join(KEY_FILE);
        let wrong = |why: String| Error::configuration(format!("the key {} cannot be used: {why}", file.display()));
        let about = dir.metadata(KEY_FILE).map_err(|error| wrong(error.to_string()))?;
        crate::ownership::judge(&file, about.mode(), about.uid(), rustix::process::geteuid().as_raw())
            .map_err(wrong)?;
    }
    Ok(key)
}

/// A key for one purpose: HMAC-SHA-256 of the purpose, under the installation's key.
pub(crate) fn derived(key: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&key, purpose).as_ref());
    out
}

/// The token of this installation's private listener, likewise: 32 bytes as hexadecimal digits on a line, so that a person
/// and a `credentials_file` can take it from there. Without it in the folder there is another.
#[cfg(feature = "serve")]
pub(crate) fn read_or_make_token(path: &Path) -> Result<String> {
    let dir = private_dir(path)?;
    let file = path.join(TOKEN_FILE);
    let help = format!("Remove it, and the next start makes another:   rm {}", file.display());
    let unusable = |why: &str| {
        Error::configuration(format!("the console's token in {} {why}", file.display())).with_details(&help)
    };
    let line = read_or_make(&dir, path, TOKEN_FILE, &help, || {
        let mut line = [b'\n'; TOKEN_DIGITS + 1];
        line[..TOKEN_DIGITS].copy_from_slice(hex(&crate::random::bytes::<{ TOKEN_DIGITS / 2 }>()?).as_bytes());
        Ok(line)
    })?;
    #[cfg(unix)]
    {
        use cap_std::fs::MetadataExt;
        let about = dir.metadata(TOKEN_FILE).map_err(|error| unusable(&format!("cannot be used: {error}")))?;
        if about.mode() & 0o077 != 0 || about.uid() != rustix::process::geteuid().as_raw() {
            return Err(unusable("can be read by others, who may have it by now"));
        }
    }
    let token = line.strip_suffix(b"\n").filter(|token| token.iter().all(u8::is_ascii_hexdigit));
    token.map(|token| String::from_utf8_lossy(token).into_owned()).ok_or_else(|| unusable("is none"))
}

/// Bytes of a file of this installation: read if it is there, made if not. What helps is told where it holds fewer.
fn read_or_make<const N: usize>(
    dir: &Dir,
    path: &Path,
    name: &str,
    help: &str,
    make: impl Fn() -> Result<[u8; N]>,
) -> Result<[u8; N]> {
    let wrong = |error: std::io::Error| {
        Error::configuration(format!("the key {}/{name} cannot be used: {error}", path.display()))
    };
    for _ in 0..2 {
        match dir.open(name) {
            Ok(mut file) => {
                let mut bytes = [0u8; N];
                return match file.read_exact(&mut bytes) {
                    Ok(()) => Ok(bytes),
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        let held = file.metadata().map_or(0, |about| about.len());
                        let why = format!("it holds {held} bytes and not {N}");
                        Err(wrong(std::io::Error::new(error.kind(), why)).with_details(help))
                    }
                    Err(error) => Err(wrong(error)),
                };
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(wrong(error)),
        }
        // Written beside and linked, so that of two processes starting at once one wins and both use its bytes whole; on
        // the disk, before anything is there that opens with them only.
        let beside = format!("{name}.{}", crate::random::name()?);
        let bytes = make()?;
        let written = dir.open_with(&beside, &private_file()).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(wrong)?;
        let linked = dir.hard_link(&beside, dir, name);
        let _ = dir.remove_file(&beside);
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(wrong(error)),
            _ => settle(dir).map_err(wrong)?,
        }
    }
    Err(Error::configuration(format!("the key {}/{name} vanished while it was made", path.display())))
}

/// Names in a folder are on the disk.
pub(crate) fn settle(dir: &Dir) -> std::io::Result<()> {
    match cfg!(unix) {
        true => dir.open(".")?.sync_all(),
        false => Ok(()),
    }
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// Collects what is hashed into it.
struct Shape(Vec<u8>);

impl std::hash::Hasher for Shape {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_sha256() {
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn changed_and_renamed_files_do_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(&folder.path().join("state")).unwrap();
        artifacts.write("a.code", b"code").unwrap();
        assert_eq!(artifacts.read("a.code").unwrap().code(), b"code");
        let path = folder.path().join("state/a.code");
        std::fs::copy(&path, folder.path().join("state/b.code")).unwrap();
        assert!(artifacts.read("b.code").is_none(), "a copy under another name opened");
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), HEAD_BYTES + 4);
        let changed = (0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        });
        let cut = (0..whole.len()).map(|end| whole[..end].to_vec());
        for bytes in changed.chain(cut).chain([[&whole[..], b"!"].concat()]) {
            std::fs::write(&path, &bytes).unwrap();
            assert!(artifacts.read("a.code").is_none(), "{bytes:?} opened instead of {whole:?}");
            assert!(!path.exists(), "a changed file stayed");
        }
        std::fs::write(&path, whole).unwrap();
        assert_eq!(artifacts.read("a.code").unwrap().code(), b"code");
    }

    fn make_older(path: &Path, age_s: u64) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - age_s)).unwrap();
    }

    #[test]
    fn the_oldest_code_goes_where_there_is_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let artifacts = Artifacts::open(&state).unwrap();
        let of = |digit: &str, rest: &str| format!("{}.code{rest}", digit.repeat(NAME_DIGITS));
        let others =
            ["state.sqlite", "notes.code-workspace", &of("e", "x"), &of("g", ""), &of("a", "")[1..]].map(String::from);
        let code = [of("d", ""), of("a", ""), of("c", ".4711"), of("b", "")];
        for (age_s, name) in (0..).zip(code.iter().chain(&others)) {
            artifacts.write(name, &[7; 100]).unwrap();
            make_older(&state.join(name), age_s);
        }
        let left = |names: &[String]| names.iter().filter(|name| state.join(name).exists()).count();
        let each = HEAD_BYTES as u64 + 100;
        for (bytes_max, count) in [(4 * each, 4), (4 * each - 1, 3), (2 * each, 2), (each - 1, 0)] {
            artifacts.prune(bytes_max).unwrap();
            assert_eq!((left(&code[..count]), left(&code), left(&others)), (count, count, others.len()), "{bytes_max}");
        }
        assert!(state.join(KEY_FILE).exists());
    }

    #[test]
    fn what_is_made_makes_room_and_is_kept_whatever_was_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(&folder.path().join("state")).unwrap();
        let engine = Engine::new(crate::engine::EngineLimits::default()).unwrap();
        let component = b"\0asm\x0d\0\x01\0";
        let digest = Digest::of(component);
        let name = artifacts.name(&engine, digest);
        assert!(is_of_code(&name), "{name}");
        let old = folder.path().join("state").join(format!("{name}.{}", std::process::id()));
        std::fs::File::create(&old).unwrap().set_len(FOLDER_BYTES_MAX).unwrap();
        make_older(&old, 1);
        artifacts.make(&engine, digest, component).unwrap();
        assert!(!old.exists() && artifacts.find(&engine, digest).is_some());
    }

    #[test]
    fn another_installation_cannot_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let ours = Artifacts::open(&folder.path().join("ours")).unwrap();
        let theirs = Artifacts::open(&folder.path().join("theirs")).unwrap();
        theirs.write("a.code", b"code").unwrap();
        std::fs::copy(folder.path().join("theirs/a.code"), folder.path().join("ours/a.code")).unwrap();
        assert!(ours.read("a.code").is_none());
    }

    #[test]
    fn the_key_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let dir = private_dir(&path).unwrap();
        assert_eq!(read_or_make_key(&dir, &path).unwrap(), read_or_make_key(&dir, &path).unwrap());
        // One that was lost is no new one: what it sealed would not open.
        std::fs::write(path.join(KEY_FILE), "").unwrap();
        let error = read_or_make_key(&dir, &path).unwrap_err().to_string();
        assert!(error.contains("it holds 0 bytes and not 32") && error.contains("put it back"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn r19_a_key_that_others_can_read_opens_nothing_and_the_command_that_mends_it_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (state, file) = (folder.path().join("state"), folder.path().join("state").join(KEY_FILE));
        Artifacts::open(&state).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o622] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Artifacts::open(&state).err().unwrap().to_string();
            assert!(error.contains("read by others") && error.contains("chmod 600"), "{mode:o}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn r19_a_folder_of_another_user_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        // Only root may give one away; to whoever else runs this, root's own is another's.
        let path = match std::os::unix::fs::chown(folder.path(), Some(4_711), None) {
            Ok(()) => folder.path(),
            Err(_) => Path::new("/"),
        };
        let help = if path == folder.path() { "sudo chown " } else { "--state-dir FOLDER" };
        let error = private_dir(path).err().unwrap().to_string();
        assert!(error.contains("belongs to another user") && error.contains(help), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn only_a_state_folder_is_to_be_given_away_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let told = |name: &str, owner| {
            let path = folder.path().join(name);
            let told = mend(&path, &private_dir(&path).unwrap(), owner, 8);
            told.replace(path.to_str().unwrap(), "PATH")
        };
        assert_eq!(told("lib", 0), "name one of your own: --state-dir FOLDER");
        assert_eq!(told("lib", 7), "run: sudo chown 8 PATH");
        assert_eq!(told("wharfage", 0), "run: sudo chown -R 8 PATH");
        std::fs::write(folder.path().join("lib/state.sqlite"), "").unwrap();
        assert_eq!((told("lib", 0), told("lib", 7)), (told("wharfage", 0), told("wharfage", 0)));
    }

    #[cfg(all(unix, feature = "serve"))]
    #[test]
    fn the_consoles_token_is_its_owners_alone_and_stays_the_same() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (state, file) = (folder.path().join("state"), folder.path().join("state").join(TOKEN_FILE));
        let token = read_or_make_token(&state).unwrap();
        assert_eq!((token.len(), read_or_make_token(&state).unwrap()), (TOKEN_DIGITS, token.clone()));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(read_or_make_token(&folder.path().join("other")).unwrap(), token);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = read_or_make_token(&state).unwrap_err().to_string();
        assert!(error.contains("read by others") && error.contains("rm ") && !error.contains(&token), "{error}");
        std::fs::remove_file(&file).unwrap();
        assert_ne!(read_or_make_token(&state).unwrap(), token);
        std::fs::write(&file, format!("{}\n", "x".repeat(TOKEN_DIGITS))).unwrap();
        assert!(read_or_make_token(&state).unwrap_err().to_string().contains("is none"));
        std::fs::write(&file, "short").unwrap();
        let error = read_or_make_token(&state).unwrap_err().to_string();
        assert!(error.contains("it holds 5 bytes and not 65") && error.contains("rm "), "{error}");
    }
}
