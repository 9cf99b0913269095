//! Scoped -> Missed: a fresh kept answer would end here.
//!
//! Nothing is kept yet, so every request goes on. The step stands in its place so that the order of the path, and with
//! it what a cached answer may skip, does not change when the cache comes.

use super::Response;
use super::scope::Scoped;

/// A request no kept answer serves.
pub(super) struct Missed(Scoped);

/// What looking gave.
#[expect(clippy::large_enum_variant, reason = "made once a request and taken apart at once")]
pub(super) enum Looked {
    /// An answer that is still fresh.
    #[expect(dead_code, reason = "the cache that makes these is the next step of this path")]
    Fresh(Box<Response>),
    /// None.
    Missed(Missed),
}

/// Looks for a kept answer.
pub(super) fn look(scoped: Scoped) -> Looked {
    Looked::Missed(Missed(scoped))
}

/// For what is read or written piece by piece, of which nothing is kept.
pub(super) fn pass_by(scoped: Scoped) -> Missed {
    Missed(scoped)
}

impl Missed {
    pub(super) fn into_scoped(self) -> Scoped {
        self.0
    }
}
