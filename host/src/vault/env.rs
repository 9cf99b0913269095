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
