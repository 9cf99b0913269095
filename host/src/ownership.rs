//! Whose a file is, and who may read it: what holds a key, or code, is read only where it is one's own.

use std::path::Path;

/// Whose a file or a folder is. `mend` is what helps where it is to be one's own.
///
/// # Errors
/// With what is wrong and what mends it.
pub(crate) fn judge_owner(path: &Path, owner: u32, own: u32, mend: &str) -> Result<(), String> {
    let path = path.display();
    if owner == own {
        return Ok(());
    }
    // Most often it is right as it is and somebody else is at work, who would take it from a service that runs.
    let as_owner = match owner {
        0 => String::new(),
        _ => format!("run this as that user: sudo -u '#{owner}' wharfage …; or, if it is to be yours, "),
    };
    Err(format!("{path} belongs to another user (uid {owner}, not {own}); {as_owner}{mend}"))
}

/// Whose a file is and who may read it.
///
/// # Errors
/// With what is wrong and what mends it.
pub(crate) fn judge(path: &Path, mode: u32, owner: u32, own: u32) -> Result<(), String> {
    judge_owner(path, owner, own, &format!("run: sudo chown {own} {}", path.display()))?;
    let path = path.display();
    if mode & 0o077 != 0 {
        return Err(format!("{path} can be read by others (mode {:o}); run: chmod 600 {path}", mode & 0o777));
    }
    Ok(())
}
