//! What listens: a stand-in provider, where a sign-in comes back to, and where webhooks arrive; console and API come
//! beside it, and who asks them.

pub(crate) mod ask;
pub(crate) mod callback;
pub mod stand_in;
pub(crate) mod webhooks;
