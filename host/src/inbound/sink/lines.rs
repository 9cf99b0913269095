//! JSON Lines: an event is a line, on standard output or in a file.
//!
//! In a file no half line stays: what a kill or a full disk cut off is taken away before anything else is written. A file
//! that has grown large becomes `name.1`, the one before it `name.2`, and so on; each step is a rename, so that a kill
//! between two of them leaves every line in some file.

use std::ffi::OsString;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, OpenOptions};

use super::line::{Outlet, Trouble};
use crate::error::Result;
use crate::inbound::envelope::Emitted;
use crate::time::BoxFuture;

/// Lines written at once.
const LINES: usize = 100;

/// How every line of ours begins, by which one that was cut off is known from something else.
const BEGINNING: &[u8] = br#"{"specversion":"1.0""#;

/// Bytes read at once where the end of a file is looked at.
const LOOK_BYTES: usize = 64 << 10;

/// A sink of lines.
pub(crate) struct Lines(Arc<Mutex<Place>>);

enum Place {
    Stdout { is_torn: bool },
    File(Journal),
}

impl Lines {
    /// Lines on standard output.
    pub(crate) fn stdout() -> Self {
        Self(Arc::new(Mutex::new(Place::Stdout { is_torn: false })))
    }

    /// Lines in a file.
    pub(crate) fn file(journal: Journal) -> Self {
        Self(Arc::new(Mutex::new(Place::File(journal))))
    }
}

impl Outlet for Lines {
    fn batch(&self) -> usize {
        LINES
    }

    fn give<'a>(&'a mut self, events: &'a [Emitted]) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let mut lines = Vec::new();
            for event in events {
                line(event, &mut lines)?;
            }
            let place = self.0.clone();
            let written =
                tokio::task::spawn_blocking(move || match &mut *place.lock().unwrap_or_else(PoisonError::into_inner) {
                    Place::Stdout { is_torn } => write_all(&mut io::stdout().lock(), is_torn, &lines),
                    Place::File(journal) => journal.append(&lines),
                });
            let written = written.await.unwrap_or_else(|_| Err(io::Error::other("the writing thread failed")));
            written.map_err(|error| {
                let help = match error.kind() {
                    io::ErrorKind::StorageFull => "; its events wait, make room",
                    io::ErrorKind::NotFound => "; its folder must be there",
                    _ => "",
                };
                Trouble::Passing { why: format!("cannot be written: {error}{help}"), until: None }
            })
        })
    }
}

/// Adds an event as a line. Between the parts of a JSON text a plugin may have broken the line; inside a string none can
/// stand, so that only room between parts changes.
fn line(event: &Emitted, lines: &mut Vec<u8>) -> Result<()> {
    let text = event.to_cloud_event()?;
    lines.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    lines.push(b'\n');
    Ok(())
}

/// Writes whole lines. Where it failed in the middle, the next ones begin on a line of their own.
fn write_all(out: &mut impl Write, is_torn: &mut bool, lines: &[u8]) -> io::Result<()> {
    if *is_torn {
        out.write_all(b"\n")?;
    }
    *is_torn = true;
    out.write_all(lines)?;
    out.flush()?;
    *is_torn = false;
    Ok(())
}

/// A file of lines, with those before it.
pub(crate) struct Journal {
    folder: PathBuf,
    name: OsString,
    fsync: bool,
    rotate_bytes: u64,
    files: u64,
    open: Option<Open>,
    /// The file in which writing failed, and how long it was before.
    torn: Option<(Identity, u64)>,
}

struct Open {
    dir: Dir,
    file: File,
    is_regular: bool,
    identity: Identity,
    bytes: u64,
}

/// Which file it is, whatever it is called; the same for all where the system does not say.
type Identity = (u64, u64);

impl Journal {
    /// A file; nothing is opened yet. `path` names one, as its policy has checked.
    pub(crate) fn new(path: &std::path::Path, fsync: bool, rotate_bytes: u64, files: u64) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self {
            folder: folder.unwrap_or(std::path::Path::new(".")).to_owned(),
            name: path.file_name().unwrap_or_default().to_owned(),
            fsync,
            rotate_bytes,
            files,
            open: None,
            torn: None,
        }
    }

    /// Appends whole lines: all of them, or, as far as it can be seen in the file, none.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = self.opened()?;
        if open.is_regular && open.bytes > 0 && open.bytes + lines.len() as u64 > self.rotate_bytes {
            self.rotate(open)?;
            open = self.opened()?;
        }
        let written = open.file.write_all(lines).and_then(|()| match self.fsync && open.is_regular {
            true => open.file.sync_data(),
            false => Ok(()),
        });
        if let Err(error) = written {
            if open.is_regular && open.file.set_len(open.bytes).is_err() {
                // It is done before the next line is written.
                self.torn = Some((open.identity, open.bytes));
            }
            return Err(error);
        }
        open.bytes += lines.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// The file, as it is called now: somebody may have moved it away.
    fn opened(&mut self) -> io::Result<Open> {
        if let Some(open) = self.open.take()
            && open.dir.metadata(&self.name).is_ok_and(|now| identity(&now) == open.identity && now.len() == open.bytes)
        {
            return Ok(open);
        }
        let dir = Dir::open_ambient_dir(&self.folder, ambient_authority())?;
        let before = match dir.metadata(&self.name) {
            Ok(about) if about.is_file() || is_device(&about) => Some(about),
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_regular = before.as_ref().is_none_or(Metadata::is_file);
        let mut options = OpenOptions::new();
        options.append(true).read(is_regular).create(before.is_none());
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt as _;
            // What plugins tell is nobody else's.
            options.mode(0o600);
        }
        let mut file = dir.open_with(&self.name, &options)?;
        let about = file.metadata()?;
        let (identity, mut bytes) = (identity(&about), about.len());
        if before.is_none() && self.fsync {
            sync(&dir)?;
        }
        if is_regular {
            if let Some((_, good)) = self.torn.take_if(|(of, good)| *of == identity && *good < bytes) {
                file.set_len(good).inspect_err(|_| self.torn = Some((identity, good)))?;
                bytes = good;
            }
            bytes = whole_lines(&mut file, bytes)?;
        }
        Ok(Open { dir, file, is_regular, identity, bytes })
    }

    /// Begins a new file. The oldest goes where there are enough.
    fn rotate(&mut self, open: Open) -> io::Result<()> {
        let dir = open.dir;
        let numbered = |number: u64| {
            let mut name = self.name.clone();
            name.push(format!(".{number}"));
            name
        };
        let is_there = |number: u64| dir.symlink_metadata(numbered(number)).is_ok();
        let most = self.files - 1;
        // Up to the first gap: what a kill left half renamed needs no more than that.
        let free = (1..most).find(|number| !is_there(*number)).unwrap_or(most);
        for number in (1..free).rev() {
            dir.rename(numbered(number), &dir, numbered(number + 1))?;
        }
        match most {
            0 => dir.remove_file(&self.name)?,
            _ => dir.rename(&self.name, &dir, numbered(1))?,
        }
        // Where fewer are kept than before.
        for number in (most + 1..).take_while(|number| is_there(*number)) {
            dir.remove_file(numbered(number))?;
        }
        if self.fsync { sync(&dir) } else { Ok(()) }
    }
}

/// Takes away what follows the last whole line, if it is the beginning of one of ours. Answers how long the file is then.
fn whole_lines(file: &mut File, bytes: u64) -> io::Result<u64> {
    let mut end = bytes;
    let mut piece = vec![0; LOOK_BYTES];
    let whole = loop {
        if end == 0 {
            break 0;
        }
        let begin = end.saturating_sub(LOOK_BYTES as u64);
        let length = usize::try_from(end - begin).unwrap_or(LOOK_BYTES);
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut piece[..length])?;
        if let Some(at) = piece[..length].iter().rposition(|byte| *byte == b'\n') {
            break begin + at as u64 + 1;
        }
        end = begin;
    };
    if whole == bytes {
        return Ok(bytes);
    }
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(whole))?;
    file.take(BEGINNING.len() as u64).read_to_end(&mut tail)?;
    if !BEGINNING.starts_with(&tail) {
        let message = "it ends with half a line that is no event; name a file that holds nothing else";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    tracing::warn!(target: "wharfage::sink", bytes = bytes - whole, "half a line was taken away; its event follows");
    file.set_len(whole)?;
    Ok(whole)
}

fn sync(dir: &Dir) -> io::Result<()> {
    match cfg!(unix) {
        true => dir.open(".")?.sync_all(),
        false => Ok(()),
    }
}

#[cfg(unix)]
fn identity(about: &Metadata) -> Identity {
    use cap_std::fs::MetadataExt as _;
    (about.dev(), about.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    (0, 0)
}

#[cfg(unix)]
fn is_device(about: &Metadata) -> bool {
    use cap_std::fs::FileTypeExt as _;
    about.file_type().is_char_device()
}

#[cfg(not(unix))]
fn is_device(_: &Metadata) -> bool {
    false
}
