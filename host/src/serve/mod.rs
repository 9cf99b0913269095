//! What listens: a stand-in provider, where a sign-in comes back to, and where webhooks arrive; console and API come
//! beside it.

pub(crate) mod callback;
pub(crate) mod listener;
pub mod stand_in;
pub(crate) mod webhooks;
