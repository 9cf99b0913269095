//! Write wharfage plugins: one provider's quirks, and nothing else.
//!
//! A plugin is a list of operations. The host holds everything that breaks in production: credentials, pace, retries,
//! circuit breakers, recordings. What is left is a function from an input to an output:
//!
//! ```
//! mod rates {
//!     use wharfage_sdk::{Error, http::Request, schemars, serde};
//!
//!     wharfage_sdk::input! {
//!         /// Which rate.
//!         pub struct Input {
//!             /// The currency, as `EUR`.
//!             currency: String,
//!         }
//!     }
//!
//!     #[derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
//!     #[serde(crate = "wharfage_sdk::serde")]
//!     #[schemars(crate = "wharfage_sdk::schemars")]
//!     pub struct Rate {
//!         /// Units of it for one US dollar; text, because money is never a float.
//!         rate: String,
//!     }
//!
//!     pub fn find(input: Input) -> Result<Rate, Error> {
//!         Request::get("{api}/rates").query("currency", input.currency).send()?.json()
//!     }
//! }
//!
//! wharfage_sdk::operations! {
//!     /// The exchange rate of one currency.
//!     read "rates.get" => rates::find;
//! }
//! wharfage_sdk::plugin!();
//!
//! # fn main() {
//! // The same function runs natively against a fixture, which stands in for host and provider:
//! wharfage_sdk::testing::replay(
//!     r#"
//!         [origins.api]
//!         url = "https://rates.example"
//!         methods = ["GET"]
//!         paths = ["/rates"]
//!         [operations."rates.get"]
//!         effect = "read"
//!     "#,
//!     OPERATIONS,
//!     r#"{
//!         "operation": "rates.get", "input": {"currency": "EUR"},
//!         "from": "from-docs", "source": "rates.example", "date": "2026-08-12",
//!         "exchanges": [{
//!             "request": {"method": "GET", "url": "{api}/rates?currency=EUR"},
//!             "response": {"status": 200, "json": {"rate": "0.92"}}
//!         }],
//!         "expect": {"output": {"rate": "0.92"}}
//!     }"#,
//! );
//! # }
//! ```
//!
//! (A plugin that lists `serde` and `schemars` among its own dependencies leaves out the two `crate = …` lines.)
//!
//! # What outlives a call
//!
//! Keep what belongs to one call in its function. Whether a `static` or a `thread_local` outlives the call is the
//! operator's choice: by default each call gets a fresh instance, and where a connection keeps warm instances, a later
//! call of the same connection finds what an earlier one left there, perhaps one that was made for somebody else. So a
//! global may hold what is dear to make and the same for every call, as a parsed table, and nothing that an input or an
//! answer put there. What is to be found again for certain belongs into [`state`], a cursor, or the answer.
//!
//! # Where to find what
//!
//! The modules bear the names of the contract's files: [`http`], [`files`], [`secrets`], [`rate_limit`],
//! [`state`], [`clock`], [`log`] are what a plugin may call, [`mod@operations`] and [`events`] what it answers. [`stream`] and [`multipart`] are
//! for bodies piece by piece; [`page`], [`graphql`], [`time`], [`money`], [`base64`] and [`json`] help with what providers have in common; [`testing`] runs a plugin natively,
//! its operations from fixtures and its triggers in a [`testing::Scene`].
//!
//! What an operation reads is made with [`input!`](crate::input!), what a provider answers with [`answer!`](crate::answer!),
//! and what is one of some words with [`words!`](crate::words!): each does what serde derives, in a fraction of the code, and
//! so of the component.

// What the macros make names this crate as a plugin does.
#[cfg(test)]
extern crate self as wharfage_sdk;

pub mod base64;
#[doc(hidden)]
pub mod bindings;
pub mod clock;
pub mod error;
pub mod events;
pub mod files;
pub mod graphql;
pub mod http;
pub mod json;
pub mod log;
pub mod money;
pub mod multipart;
pub mod operations;
pub mod page;
pub mod rate_limit;
pub mod secrets;
pub mod state;
pub mod stream;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;

pub use {schemars, serde, serde_json};

pub use error::{Error, ErrorKind, Severity};
pub use http::{Request, Response};
pub use operations::Operation;
pub use page::{Cursor, Page};
pub use stream::{Stream, Upload};
pub use time::Timestamp;

/// Lists the plugin's operations as `OPERATIONS`: effect, name and function, described by the comment above.
///
/// ```ignore
/// wharfage_sdk::operations! {
///     /// Orders, the latest change first.
///     list "orders.list" => orders::list;          // fn(Input, Option<Cursor>) -> Result<Page<Item>, Error>
///     /// One order by its number.
///     read "orders.get" => orders::find;           // fn(Input) -> Result<Output, Error>
///     /// Sets the note of an order; twice is as once.
///     idempotent "orders.note" => orders::note;
///     /// Cancels an order.
///     write "orders.cancel" => orders::cancel;
/// }
/// ```
#[macro_export]
macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $effect:ident $name:literal => $run:path;)+) => {
        /// What this plugin can do: one row for each operation.
        #[allow(unreachable_pub)] // it depends on where the plugin puts the list
        pub const OPERATIONS: &[$crate::Operation] = &[
            $($crate::__operation!($effect $name, concat!($($doc, "\n"),+), $run)),+
        ];
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __operation {
    (list $name:literal, $description:expr, $run:path) => {
        $crate::Operation::list(
            $name,
            $description,
            |input, cursor| $crate::operations::run_list($run, input, cursor),
            || $crate::operations::schemas_of_list($run),
        )
    };
    (read $name:literal, $description:expr, $run:path) => {
        $crate::__operation!(@one Read, $name, $description, $run)
    };
    (idempotent $name:literal, $description:expr, $run:path) => {
        $crate::__operation!(@one Idempotent, $name, $description, $run)
    };
    (write $name:literal, $description:expr, $run:path) => {
        $crate::__operation!(@one Write, $name, $description, $run)
    };
    (@one $effect:ident, $name:literal, $description:expr, $run:path) => {
        $crate::Operation::one(
            $crate::operations::Effect::$effect,
            $name,
            $description,
            |input| $crate::operations::run_one($run, input),
            || $crate::operations::schemas_of_one($run),
        )
    };
}

/// Makes the crate a plugin: exports `describe`, `call` and `handle` over the `OPERATIONS` beside it.
///
/// With triggers, name the function that takes them: `plugin!(handle = events::handle)`, where `handle` is
/// `fn(events::Event) -> Result<events::Outcome, Error>`. Natively it exports nothing.
#[macro_export]
macro_rules! plugin {
    () => {
        $crate::plugin!(handle = $crate::events::no_triggers);
    };
    (handle = $handle:path) => {
        // The glue that wit-bindgen makes for exports is the only unsafe code of a plugin.
        #[allow(unsafe_code)]
        const _: () = {
            #[allow(dead_code)]
            struct Component;

            impl $crate::bindings::exports::wharfage::plugin::operations::Guest for Component {
                fn describe() -> Vec<$crate::bindings::exports::wharfage::plugin::operations::Operation> {
                    $crate::operations::describe(OPERATIONS)
                }

                fn call(
                    operation: String,
                    input: String,
                    cursor: Option<String>,
                ) -> ::std::result::Result<
                    $crate::bindings::exports::wharfage::plugin::operations::Page,
                    $crate::bindings::wharfage::plugin::types::Error,
                > {
                    $crate::operations::answer(OPERATIONS, &operation, &input, cursor)
                }
            }

            impl $crate::bindings::exports::wharfage::plugin::events::Guest for Component {
                fn handle(
                    event: $crate::bindings::exports::wharfage::plugin::events::Event,
                ) -> ::std::result::Result<
                    $crate::bindings::exports::wharfage::plugin::events::Outcome,
                    $crate::bindings::wharfage::plugin::types::Error,
                > {
                    $crate::events::answer($handle, event)
                }
            }

            #[cfg(target_arch = "wasm32")]
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
