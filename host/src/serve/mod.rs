//! What listens: a stand-in provider for now; webhooks, console and API come beside it.

pub mod stand_in;
