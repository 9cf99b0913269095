//! A file that only its owner can read.
//!
//! The file is opened once and judged by its own handle, so that nothing can be swapped between look and read. It must be
//! the user's own who runs this, so that nobody else chooses what is sent as a key; its folder must not be a symbolic
//! link, so that nobody else chooses which file it is.

use std::io::Read;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use zeroize::Zeroizing;

use super::SECRET_BYTES_MAX;
#[cfg(unix)]
use crate::ownership::judge;
use crate::time::Timestamp;

/// Most bytes of a file: those of a secret, and the blanks that editors put around it.
const FILE_BYTES_MAX: usize = SECRET_BYTES_MAX + 64;

/// A file's text, and when it was written.
pub(super) struct Found {
    pub(super) text: Zeroizing<String>,
    pub(super) at: Option<Timestamp>,
}

/// The file's text, trimmed; `None` when there is no such file.
///
/// # Errors
/// A sentence for the operator, with the command that mends it.
pub(super) fn read(path: &Path) -> Result<Option<Found>, String> {
    let Some(name) = path.file_name() else {
        return Err(format!("{} is no path of a file", path.display()));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match open_folder(folder) {
        Ok(dir) => read_in(&dir, Path::new(name), path),
        Err(Trouble::Absent) => Ok(None),
        Err(Trouble::Refused(why)) => Err(why),
    }
}

/// The same, of a file in a folder that is known. `path` is for messages.
///
/// # Errors
/// As for [`read`].
pub(super) fn read_in(dir: &Dir, name: &Path, path: &Path) -> Result<Option<Found>, String> {
    let file = match dir.open(name) {
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
        judge(path, about.mode(), about.uid(), rustix::process::geteuid().as_raw())?;
    }
    let at = about.modified().ok().map(|at| Timestamp::from(at.into_std()));
    // Room for all of it from the start: a text that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 64));
    let whole = file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    // What lies beyond would be taken for absent.
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("{} is longer than {FILE_BYTES_MAX} bytes, and is not read in part", path.display()));
    }
    let text = whole.ok().and_then(|_| std::str::from_utf8(&bytes).ok());
    let text = text.ok_or_else(|| format!("{} cannot be read as text", path.display()))?;
    Ok(Some(Found { text: Zeroizing::new(text.trim().to_owned()), at }))
}

enum Trouble {
    Absent,
    Refused(String),
}

/// Opens a folder that is no symbolic link.
fn open_folder(folder: &Path) -> Result<Dir, Trouble> {
    let wrong = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Trouble::Absent,
        _ => Trouble::Refused(format!("the folder {} cannot be opened: {error}", folder.display())),
    };
    let opened = Dir::open_ambient_dir(folder, ambient_authority()).map_err(wrong)?;
    // `.`, `..` and the root are where they are; everything else has a name in a folder above it.
    if let Some(name) = folder.file_name() {
        let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let above = Dir::open_ambient_dir(above, ambient_authority()).map_err(wrong)?;
        let named = above.symlink_metadata(name).map_err(wrong)?;
        if named.is_symlink() || !is_same(&named, &opened.dir_metadata().map_err(wrong)?) {
            return Err(Trouble::Refused(format!(
                "the folder {} is a symbolic link, and whoever sets it chooses the file; write the path it leads to",
                folder.display()
            )));
        }
    }
    Ok(opened)
}

#[cfg(unix)]
fn is_same(one: &cap_std::fs::Metadata, other: &cap_std::fs::Metadata) -> bool {
    use cap_std::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &cap_std::fs::Metadata, _: &cap_std::fs::Metadata) -> bool {
    true
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &Path, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(path: &Path) -> String {
        read(path).err().unwrap()
    }

    #[test]
    fn a_file_of_another_user_is_refused_with_the_command_that_mends_it() {
        let refused = judge(Path::new("/k"), 0o600, 7, 8).unwrap_err();
        assert!(refused.contains("uid 7") && refused.contains("sudo -u '#7' wharfage"), "{refused}");
        assert!(refused.ends_with("or, if it is to be yours, run: sudo chown 8 /k"), "{refused}");
        // Nobody is told to work as root.
        let refused = judge(Path::new("/k"), 0o600, 0, 8).unwrap_err();
        assert!(refused.contains("run: sudo chown 8 /k") && !refused.contains("sudo -u"), "{refused}");
        assert!(judge(Path::new("/k"), 0o600, 8, 8).is_ok() && judge(Path::new("/k"), 0o400, 8, 8).is_ok());
        for mode in [0o640, 0o604, 0o620, 0o601] {
            assert!(judge(Path::new("/k"), mode, 8, 8).unwrap_err().contains("chmod 600 /k"), "{mode:o}");
        }
    }

    #[test]
    fn a_folder_that_is_a_symbolic_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        written(&folder.path().join("real/key"), "value", 0o600);
        std::os::unix::fs::symlink("real", folder.path().join("linked")).unwrap();
        assert!(refusal(&folder.path().join("linked/key")).contains("symbolic link"));
        assert_eq!(read(&folder.path().join("real/key")).unwrap().unwrap().text.as_str(), "value");
        assert!(read(&folder.path().join("none/key")).unwrap().is_none());
        assert!(read(&folder.path().join("real/none")).unwrap().is_none());
    }

    #[test]
    fn what_is_no_text_or_no_file_is_called_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(refusal(&path).contains("cannot be read as text"));
        assert!(refusal(folder.path()).contains("is not a file"));
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        written(&path, &format!("{}\r\n", "x".repeat(SECRET_BYTES_MAX)), 0o600);
        assert_eq!(read(&path).unwrap().unwrap().text.len(), SECRET_BYTES_MAX);
        for character in ["x", "ü"] {
            written(&path, &format!("x{}", character.repeat(FILE_BYTES_MAX)), 0o600);
            assert!(refusal(&path).contains(&format!("longer than {FILE_BYTES_MAX} bytes")));
        }
    }
}
