//! The one test program: a module per interface of the contract, and one per promise that belongs to none.
//!
//! Every guest is named in the module of its suite, or nothing compiles. Nothing here needs a network, an order or a
//! sleep.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where and stops")]

mod alerts;
mod audit;
mod breaker;
mod cache;
mod canary;
mod cli;
mod clock;
mod conformance;
mod console;
mod counts;
mod damaged;
mod drift;
mod embed;
mod events;
mod faults;
mod files;
mod fuzz;
mod graphql;
mod healing;
mod health;
mod hostile;
mod http;
mod kept;
mod limits;
mod load;
mod log;
mod messages;
mod metrics;
#[allow(unreachable_pub, reason = "it is the README's, and a library there")]
mod newcomer;
#[allow(unreachable_pub, reason = "it is the manual's, and a library there")]
mod newcomer_events;
mod oauth2;
mod oauth2_connect;
mod oauth2_exchange;
mod oauth2_killed;
mod oauth2_scopes;
mod operations;
mod pace;
mod rate_limit;
mod rules;
mod second_opinion;
mod secrets;
mod serve;
mod simulation;
mod sinks;
mod soak;
mod sockets;
mod state;
mod stream;
mod tape;
mod tidy;
mod traces;
mod uploads;
mod vault;
mod warm;
mod weather;
mod webhooks;

/// Fails to compile where a guest has no test of its name, and where a suite has no module.
macro_rules! assert_exists {
    ($name:ident) => {
        #[allow(unused_imports)]
        use self::$name as _;
    };
}
pub(crate) use assert_exists;

wharfage_tests::foreach_suite!(assert_exists);
