//! Panics in every export that runs.

use wharfage_guests::events::{Event, Guest as Events, Outcome};
use wharfage_guests::{Error, Operation, Operations, Page, bindings, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("attack")]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        panic!("\u{1b}[2J{}", input.repeat(10_000))
    }
}

impl Events for Guest {
    fn handle(event: Event) -> Result<Outcome, Error> {
        panic!("{event:?}")
    }
}

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
mod export {
    use super::{Guest, bindings};
    bindings::export!(Guest with_types_in bindings);
}
