//! What listens: a stand-in provider, where a sign-in comes back to, where webhooks arrive, and the private listener with
//! console, health and metrics, and who asks them.

pub(crate) mod callback;
pub(crate) mod listener;
pub mod stand_in;
pub(crate) mod webhooks;
