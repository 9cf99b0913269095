//! Files that a caller hands over with a call, and takes back from it.
//!
//! A plugin reaches what is named here and nothing else, for as long as the call lasts. Nothing is held as a whole: it
//! is read and written in pieces, on threads that may wait for a disk.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::text::shown;

/// Most bytes that one reading answers.
const READ_BYTES_MAX: usize = 1 << 20;

/// Files by the names that a plugin knows them by. Clones are the same files.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::Cursor;
/// use wharfage::Files;
///
/// let files = Files::default().give("file", Cursor::new("a,b\n1,2\n"))?.take("copy", Vec::new());
/// # drop(files);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Files(BTreeMap<String, Arc<Mutex<Open>>>);

enum Open {
    Given { file: Box<dyn ReadSeek>, bytes: u64 },
    Taken { file: Box<dyn Write + Send>, bytes: u64 },
}

trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

impl Files {
    /// With a file that the plugin may read.
    ///
    /// # Errors
    /// When its end cannot be found.
    pub fn give(mut self, name: &str, mut file: impl Read + Seek + Send + 'static) -> io::Result<Self> {
        let bytes = file.seek(SeekFrom::End(0))?;
        self.0.insert(name.to_owned(), Arc::new(Mutex::new(Open::Given { file: Box::new(file), bytes })));
        Ok(self)
    }

    /// With a file that the plugin may write, from where it stands. It is whole when the call succeeds.
    pub fn take(mut self, name: &str, file: impl Write + Send + 'static) -> Self {
        self.0.insert(name.to_owned(), Arc::new(Mutex::new(Open::Taken { file: Box::new(file), bytes: 0 })));
        self
    }

    /// How many bytes a file has that is given.
    pub(crate) fn length(&self, name: &str, bytes_max: u64) -> Result<u64> {
        match &*lock(self.open(name, "--file")?) {
            Open::Given { bytes, .. } if *bytes > bytes_max => {
                let message =
                    format!("the file `{}` is longer than the limit upload_bytes of {bytes_max} bytes", shown(name));
                Err(Error::limit("upload_bytes", message).with_more("upload_bytes"))
            }
            Open::Given { bytes, .. } => Ok(*bytes),
            Open::Taken { .. } => Err(unknown(name, "--file")),
        }
    }

    /// Bytes of a file that is given.
    pub(crate) async fn read(&self, name: &str, offset: u64, most: u32, bytes_max: u64) -> Result<Vec<u8>> {
        let length = self.length(name, bytes_max)?;
        let wanted = length.saturating_sub(offset).min(u64::from(most)).min(READ_BYTES_MAX as u64);
        self.at_work(name, "--file", move |open| match open {
            Open::Given { file, .. } => {
                let mut read = Vec::with_capacity(usize::try_from(wanted).unwrap_or(READ_BYTES_MAX));
                file.seek(SeekFrom::Start(offset))?;
                file.take(wanted).read_to_end(&mut read)?;
                Ok(read)
            }
            Open::Taken { .. } => Ok(Vec::new()),
        })
        .await
    }

    /// Adds to a file that is taken.
    pub(crate) async fn write(&self, name: &str, more: Vec<u8>, bytes_max: u64) -> Result<()> {
        match &mut *lock(self.open(name, "--save")?) {
            Open::Taken { bytes, .. } => {
                *bytes = bytes.saturating_add(more.len() as u64);
                if *bytes > bytes_max {
                    let message = format!(
                        "the file `{}` grows longer than the limit stream_bytes of {bytes_max} bytes",
                        shown(name)
                    );
                    return Err(Error::limit("stream_bytes", message).with_more("stream_bytes"));
                }
            }
            Open::Given { .. } => return Err(unknown(name, "--save")),
        }
        self.at_work(name, "--save", move |open| match open {
            Open::Taken { file, .. } => file.write_all(&more).and_then(|()| file.flush()),
            Open::Given { .. } => Ok(()),
        })
        .await
    }

    fn open(&self, name: &str, flag: &str) -> Result<&Arc<Mutex<Open>>> {
        self.0.get(name).ok_or_else(|| unknown(name, flag))
    }

    /// Does this with a file where a disk keeps no call waiting.
    async fn at_work<T: Send + 'static>(
        &self,
        name: &str,
        flag: &str,
        work: impl FnOnce(&mut Open) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let open = self.open(name, flag)?.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut lock(&open))).await;
        let failed = |why: String| Error::internal(format!("the file `{}` failed: {why}", shown(name)));
        done.map_err(|_| failed("its thread ended".to_owned()))?.map_err(|error| failed(error.to_string()))
    }
}

fn unknown(name: &str, flag: &str) -> Error {
    let name = shown(name);
    Error::invalid("", format!("nobody handed over a file of the name `{name}` for this"))
        .with_details(format!("To hand one over:   wharfage call … {flag} {name}=PATH"))
}

fn lock(open: &Mutex<Open>) -> std::sync::MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Their names.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
