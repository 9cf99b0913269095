//! A file that only its owner can read.
//!
//! The file is opened once and judged by its own handle, so that nothing can be swapped between look and read.

use std::io::Read;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use zeroize::Zeroizing;

use super::SECRET_BYTES_MAX;

/// The file's text, trimmed; `None` when there is no such file.
///
/// # Errors
/// A sentence for the operator, with the command that mends it.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, String> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("{} is no path of a file", path.display()));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let file = match Dir::open_ambient_dir(folder, ambient_authority()).and_then(|dir| dir.open(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be opened: {error}", path.display())),
    };
    let about = file.metadata().map_err(|error| format!("{} cannot be looked at: {error}", path.display()))?;
    if !about.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    #[cfg(unix)]
    {
        use cap_std::fs::MetadataExt;
        if about.mode() & 0o077 != 0 {
            return Err(format!(
                "{path} can be read by others (mode {:o}); run: chmod 600 {path}",
                about.mode() & 0o777,
                path = path.display()
            ));
        }
    }
    let mut text = Zeroizing::new(String::new());
    file.take(SECRET_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|_| format!("{} cannot be read as text", path.display()))?;
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}
