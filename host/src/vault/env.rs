//! The environment: the only place in this crate that reads it.

use zeroize::Zeroizing;

/// A variable's value, trimmed; nothing when it is unset, empty or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub(super) fn read(variable: &str) -> Option<Zeroizing<String>> {
    let value = Zeroizing::new(std::env::var(variable).ok()?);
    let trimmed = value.trim();
    (!trimmed.is_empty()).then(|| Zeroizing::new(trimmed.to_owned()))
}

/// A variable that holds no secret, as `HOME`.
pub(crate) fn variable(name: &str) -> Option<String> {
    read(name).map(|value| value.as_str().to_owned())
}

/// A variable as it is, to be handed on.
pub(super) fn os(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// The folders in which programs are looked for: those that have a place of their own, so that nothing is run of the
/// folder that one happens to be in.
pub(super) fn program_folders() -> Vec<std::path::PathBuf> {
    let folders = os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).filter(|folder| folder.is_absolute()).collect()
}
