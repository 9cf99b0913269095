//! What listens: a stand-in provider, and where a sign-in comes back to; webhooks, console and API come beside it.

pub(crate) mod callback;
pub mod stand_in;
