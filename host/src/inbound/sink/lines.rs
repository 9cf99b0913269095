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

use super::worker::{SinkTarget, Trouble};
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
pub(crate) struct LineTarget(Arc<Mutex<Place>>);

enum Place {
    Stdout { is_torn: bool },
    File(RotatingFile),
}

impl LineTarget {
    /// Lines on standard output.
    pub(crate) fn stdout() -> Self {
        Self(Arc::new(Mutex::new(Place::Stdout { is_torn: false })))
    }

    /// Lines in a file.
    pub(crate) fn file(rotating: RotatingFile) -> Self {
        Self(Arc::new(Mutex::new(Place::File(rotating))))
    }
}

impl SinkTarget for LineTarget {
    fn batch(&self) -> usize {
        LINES
    }

    fn give<'a>(&'a mut self, events: &'a [Emitted]) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let mut lines = Vec::new();
            for event in events {
                worker(event, &mut lines)?;
            }
            let place = self.0.clone();
            let written =
                tokio::task::spawn_blocking(move || match &mut *place.lock().unwrap_or_else(PoisonError::into_inner) {
                    Place::Stdout { is_torn } => write_all(&mut io::stdout().lock(), is_torn, &lines),
                    Place::File(rotating) => rotating.append(&lines),
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
fn worker(event: &Emitted, lines: &mut Vec<u8>) -> Result<()> {
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
pub(crate) struct RotatingFile {
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

impl RotatingFile {
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
        let dir = Dir::open_ambient_dir(&self.folder, ambient_authority()).map_err(|error| {
            io::Error::new(error.kind(), format!("the folder {} cannot be opened: {error}", self.folder.display()))
        })?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;
    use crate::event::Emission;
    use crate::inbound::envelope::Emitter;
    use crate::time::Timestamp;

    fn event(key: u64, data: &str) -> Emitted {
        let emitter = Emitter { connection: "acme".into(), account: None, plugin: "shop".into() };
        let data = RawValue::from_string(data.into()).unwrap();
        let emission = Emission { event_type: "order".into(), key: key.to_string(), data };
        emitter.emitted(emission, Timestamp::from_millis(1_700_000_000_000), None)
    }

    fn lines(keys: std::ops::Range<u64>) -> Vec<u8> {
        let mut lines = Vec::new();
        keys.for_each(|key| worker(&event(key, "{}"), &mut lines).unwrap());
        lines
    }

    /// The keys of a file, each line of which must be an event.
    fn keys(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "half a line stayed: {text}");
        let key =
            |worker: &str| serde_json::from_str::<Value>(worker).unwrap()["key"].as_str().unwrap().parse().unwrap();
        text.lines().map(key).collect()
    }

    fn rotating(path: &Path) -> RotatingFile {
        RotatingFile::new(path, false, u64::MAX, 3)
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = rotating(&missing.join("events.jsonl")).append(&lines(0..1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
    }

    #[test]
    fn an_event_is_one_line_however_its_content_is_written() {
        let mut out = Vec::new();
        worker(&event(1, "{\r\n  \"a\": \"x\\ny\",\n  \"b\": 1.50\n}"), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with("\"data\":{    \"a\": \"x\\ny\",   \"b\": 1.50 }}\n"), "{text}");
    }

    /// A kill may leave any part of what was being written.
    #[test]
    fn wherever_a_kill_cut_the_file_only_whole_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let (before, torn) = (lines(0..2), lines(2..4));
        for cut in 0..torn.len() {
            std::fs::write(&path, [&before, &torn[..cut]].concat()).unwrap();
            rotating(&path).append(&lines(7..8)).unwrap();
            let whole = torn[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
            let expected: Vec<u64> = (0..2 + whole).chain([7]).collect();
            assert_eq!(keys(&path), expected, "cut at {cut}");
        }
        // Also where the line is longer than what is looked at once.
        let mut long = Vec::new();
        worker(&event(2, &format!("\"{}\"", "x".repeat(3 * LOOK_BYTES))), &mut long).unwrap();
        std::fs::write(&path, [&before, &long[..long.len() - 1]].concat()).unwrap();
        rotating(&path).append(&lines(7..8)).unwrap();
        assert_eq!(keys(&path), [0, 1, 7]);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        for text in ["my notes", "{\"specversion\":\"1.0\"}\nmy notes", "{\"specversion\":\"0.3\",\"id\""] {
            std::fs::write(&path, text).unwrap();
            let error = rotating(&path).append(&lines(0..1)).unwrap_err().to_string();
            assert!(error.contains("name a file that holds nothing else"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        assert!(rotating(&folder.path().join("folder")).append(&lines(0..1)).is_err());
        let missing = rotating(&folder.path().join("none/e.jsonl")).append(&lines(0..1)).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    /// R22: the disk that a sink takes is bounded by `rotate_bytes` and `files`.
    #[test]
    fn r22_files_are_rotated_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let size = lines(0..1).len() as u64;
        let numbered = |number: u64| folder.path().join(format!("events.jsonl.{number}"));
        let mut rotating = RotatingFile::new(&path, true, 2 * size, 3);
        for key in 0..9 {
            rotating.append(&lines(key..key + 1)).unwrap();
        }
        assert_eq!(keys(&path), [8]);
        assert_eq!((keys(&numbered(1)), keys(&numbered(2))), (vec![6, 7], vec![4, 5]));
        assert!(!numbered(3).exists());
        // Fewer are kept from now on; and one that is larger than a file is still written.
        let mut rotating = RotatingFile::new(&path, true, 1, 2);
        rotating.append(&lines(0..1)).unwrap();
        assert_eq!((keys(&path), keys(&numbered(1))), (vec![0], vec![8]));
        assert!(!numbered(2).exists());
        let mut rotating = RotatingFile::new(&path, true, 1, 1);
        rotating.append(&lines(1..2)).unwrap();
        assert_eq!(keys(&path), [1]);
        assert!(!numbered(1).exists());
    }

    /// A kill between two renames leaves a gap; nothing that is there is written over.
    #[test]
    fn a_rotation_that_was_cut_short_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let numbered = |number: u64| folder.path().join(format!("events.jsonl.{number}"));
        std::fs::write(&path, lines(3..4)).unwrap();
        std::fs::write(numbered(2), lines(2..3)).unwrap();
        RotatingFile::new(&path, false, 1, 4).append(&lines(4..5)).unwrap();
        assert_eq!((keys(&path), keys(&numbered(1)), keys(&numbered(2))), (vec![4], vec![3], vec![2]));
        // And one that was moved away without a new one beginning.
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        RotatingFile::new(&path, false, 1, 4).append(&lines(5..6)).unwrap();
        assert_eq!((keys(&path), keys(&numbered(1))), (vec![5], vec![3]));
    }

    #[test]
    fn a_file_that_somebody_moved_or_emptied_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut rotating = rotating(&path);
        rotating.append(&lines(0..1)).unwrap();
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        rotating.append(&lines(1..2)).unwrap();
        assert_eq!((keys(&folder.path().join("moved")), keys(&path)), (vec![0], vec![1]));
        std::fs::write(&path, "").unwrap();
        rotating.append(&lines(2..3)).unwrap();
        assert_eq!(keys(&path), [2]);
    }

    #[cfg(unix)]
    #[test]
    fn what_plugins_tell_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        rotating(&path).append(&lines(0..1)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// The disk is full: that is said, and the event waits.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_trouble_that_passes() {
        let mut sink = LineTarget::file(RotatingFile::new(Path::new("/dev/full"), true, 10, 2));
        for _ in 0..2 {
            let Err(Trouble::Passing { why, .. }) = sink.give(&[event(1, "{}")]).await else { panic!("it was taken") };
            assert!(why.contains("its events wait, make room"), "{why}");
        }
    }

    /// What cannot be taken back at once is taken back before the next line.
    #[test]
    fn what_a_failed_write_left_is_not_there_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut rotating = rotating(&path);
        rotating.append(&lines(0..1)).unwrap();
        let open = rotating.open.take().unwrap();
        rotating.torn = Some((open.identity, open.bytes));
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&lines(1..3)).unwrap();
        rotating.append(&lines(1..4)).unwrap();
        assert_eq!(keys(&path), [0, 1, 2, 3]);
    }

    #[test]
    fn a_stream_that_broke_goes_on_with_a_line_of_its_own() {
        struct Narrow(Vec<u8>, usize);
        impl Write for Narrow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let room = self.1.min(bytes.len());
                if room == 0 {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe));
                }
                self.0.extend(&bytes[..room]);
                self.1 -= room;
                Ok(room)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut out, mut is_torn) = (Narrow(Vec::new(), 5), false);
        assert!(write_all(&mut out, &mut is_torn, b"first\n").is_err());
        out.1 = 100;
        write_all(&mut out, &mut is_torn, b"first\n").unwrap();
        write_all(&mut out, &mut is_torn, b"second\n").unwrap();
        assert_eq!(out.0, b"first\nfirst\nsecond\n");
    }
}
