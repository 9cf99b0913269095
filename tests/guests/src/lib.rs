//! What every guest shares: the contract as Rust, and the words a tiny component needs to fulfil it.
//!
//! A guest is one file with one behaviour, named `<capability>_<behaviour>` or `hostile_<attack>`. It is an example of this
//! package, so `cargo test` builds none of them natively; the build script of the tests builds all of them as components
//! and makes a constant of each, and a guest without a test does not compile.

/// The contract, generated. It lowers and lifts values over the component ABI, which cannot be done without unsafe.
#[allow(unsafe_code, missing_debug_implementations, missing_docs, unreachable_pub, clippy::all, rust_2018_idioms)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "plugin",
        pub_export_macro: true,
        default_bindings_module: "wharfage_guests::bindings",
    });
}

pub use bindings::exports::wharfage::plugin::events;
pub use bindings::exports::wharfage::plugin::operations::{Effect, Guest as Operations, Operation, Page};
pub use bindings::wharfage::plugin::types::{Error, ErrorKind, Header, RequestSent};
pub use bindings::wharfage::plugin::{clock, files, http, log, rate_limit, secrets, state};
pub use serde_json::{Value, json};

/// An operation that reads, with schemas that let everything pass.
pub fn read(name: &str) -> Operation {
    Operation {
        name: name.to_owned(),
        description: "What a test asks for.".to_owned(),
        input_schema: r#"{"type":"object"}"#.to_owned(),
        output_schema: "{}".to_owned(),
        effect: Effect::Read,
        is_list: false,
    }
}

/// An operation that writes.
pub fn write(name: &str) -> Operation {
    Operation { effect: Effect::Write, ..read(name) }
}

/// An operation that lists.
pub fn list(name: &str) -> Operation {
    Operation { is_list: true, ..read(name) }
}

/// How an error is counted: its kind, and the rule or the limit that it names.
pub fn said(error: &Error) -> String {
    match &error.kind {
        ErrorKind::PolicyDenied(rule) => format!("denied {rule}"),
        ErrorKind::LimitExceeded(limit) => format!("limit {limit}"),
        other => {
            let text = format!("{other:?}");
            let name = text.trim_start_matches("ErrorKind::");
            name.split_once(['(', ' ']).map_or(name, |(name, _)| name).to_owned()
        }
    }
}

/// What came of many tries: how often each error, and how often none.
pub fn tally<T>(tries: impl IntoIterator<Item = Result<T, Error>>) -> Result<Page, Error> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for tried in tries {
        *counts.entry(tried.map_or_else(|error| said(&error), |_| "passed".to_owned())).or_default() += 1;
    }
    Ok(page(json!(counts)))
}

/// A GET of this URL.
pub fn get(url: &str) -> http::Request {
    http::Request { url: url.to_owned(), ..request(&Value::Null) }
}

/// A guest with one operation, `attack`, which gets its input.
#[macro_export]
macro_rules! attack {
    ($input:ident => $does:expr) => {
        struct Guest;

        impl $crate::Operations for Guest {
            fn describe() -> Vec<$crate::Operation> {
                vec![$crate::read("attack")]
            }

            fn call(_: String, $input: String, _: Option<String>) -> Result<$crate::Page, $crate::Error> {
                $does
            }
        }

        $crate::guest!(Guest);
    };
}

/// A guest that does nothing but describe itself.
#[macro_export]
macro_rules! describes {
    ($does:expr) => {
        struct Guest;

        impl $crate::Operations for Guest {
            fn describe() -> Vec<$crate::Operation> {
                $does
            }

            fn call(_: String, _: String, _: Option<String>) -> Result<$crate::Page, $crate::Error> {
                Ok($crate::page("null"))
            }
        }

        $crate::guest!(Guest);
    };
}

/// A guest that does nothing but handle events.
#[macro_export]
macro_rules! handles {
    ($event:ident => $does:expr) => {
        struct Guest;

        $crate::idle!(Guest);

        impl $crate::events::Guest for Guest {
            fn handle($event: $crate::events::Event) -> Result<$crate::events::Outcome, $crate::Error> {
                $does
            }
        }

        #[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
        mod export {
            use super::Guest;
            $crate::bindings::export!(Guest with_types_in $crate::bindings);
        }
    };
}

/// An event of the declared type.
pub fn emission(key: &str, data: String) -> events::Emission {
    events::Emission { event_type: "thing.seen".to_owned(), key: key.to_owned(), data }
}

/// These events and this cursor.
pub fn outcome(emit: Vec<events::Emission>, cursor: &str) -> events::Outcome {
    events::Outcome { emit, send: Vec::new(), cursor: Some(cursor.to_owned()), more: false }
}

/// The operations of a guest that is about events: one, which does nothing.
#[macro_export]
macro_rules! idle {
    ($guest:ident) => {
        impl $crate::Operations for $guest {
            fn describe() -> Vec<$crate::Operation> {
                vec![$crate::read("idle")]
            }

            fn call(_: String, _: String, _: Option<String>) -> Result<$crate::Page, $crate::Error> {
                Ok($crate::page("null"))
            }
        }
    };
}

/// The last page.
pub fn page(output: impl ToString) -> Page {
    Page { output: output.to_string(), next: None }
}

/// An error of a guest's own.
pub fn error(kind: ErrorKind, message: &str) -> Error {
    Error {
        kind,
        message: message.to_owned(),
        retry_at: None,
        request_sent: RequestSent::No,
        status: None,
        provider_code: None,
        request_id: None,
        endpoint: None,
        body: None,
        attempts: 0,
    }
}

/// The input as JSON. The host has checked it against the schema, so what cannot be read is a defect.
pub fn read_input(input: &str) -> Result<Value, Error> {
    serde_json::from_str(input).map_err(|wrong| error(ErrorKind::Internal(wrong.to_string()), "the input is no JSON"))
}

/// The text in a field, or none.
pub fn text(input: &Value, field: &str) -> Option<String> {
    input[field].as_str().map(str::to_owned)
}

/// The bytes in a field of text.
pub fn bytes(input: &Value, field: &str) -> Vec<u8> {
    input[field].as_str().unwrap_or_default().as_bytes().to_vec()
}

/// A request as a test writes it down: `method`, `url`, `headers` (pairs), `body`, `credential`, `repeat`, `costs` (pairs),
/// `timeout_ms`, `keep` (`immutable`, `never`, or seconds).
pub fn request(input: &Value) -> http::Request {
    let pairs = |field: &str| input[field].as_array().cloned().unwrap_or_default();
    http::Request {
        method: match input["method"].as_str() {
            Some("HEAD") => http::Method::Head,
            Some("POST") => http::Method::Post,
            Some("PUT") => http::Method::Put,
            Some("PATCH") => http::Method::Patch,
            Some("DELETE") => http::Method::Delete,
            _ => http::Method::Get,
        },
        url: text(input, "url").unwrap_or_else(|| "{api}/".to_owned()),
        headers: pairs("headers")
            .iter()
            .map(|pair| Header {
                name: pair[0].as_str().unwrap_or_default().to_owned(),
                value: pair[1].as_str().unwrap_or_default().to_owned(),
            })
            .collect(),
        body: text(input, "body").map(String::into_bytes),
        credential: match input["credential"].as_str() {
            None => http::Credential::Declared,
            Some("anonymous") => http::Credential::Anonymous,
            Some(name) => http::Credential::Named(name.to_owned()),
        },
        repeat: match input["repeat"].as_str() {
            Some("safe") => http::Repeat::Safe,
            Some("keyed") => http::Repeat::Keyed,
            Some("never") => http::Repeat::Never,
            _ => http::Repeat::ByMethod,
        },
        costs: pairs("costs")
            .iter()
            .map(|pair| http::Cost {
                bucket: pair[0].as_str().unwrap_or_default().to_owned(),
                units: u32::try_from(pair[1].as_u64().unwrap_or_default()).unwrap_or(u32::MAX),
            })
            .collect(),
        keep: match (&input["keep"], input["keep"].as_str()) {
            (_, Some("immutable")) => http::Keep::Immutable,
            (_, Some("never")) => http::Keep::Never,
            (seconds, None) if seconds.is_u64() => {
                http::Keep::Seconds(u32::try_from(seconds.as_u64().unwrap_or_default()).unwrap_or(u32::MAX))
            }
            _ => http::Keep::AsAnswered,
        },
        timeout_ms: input["timeout_ms"].as_u64().map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
    }
}

/// Everything of an answer that a test may ask for; of the body at most the start, so that a large one can be looked at.
pub fn told(response: http::Response) -> Value {
    const SHOWN_CHARS_MAX: usize = 4_000;
    json!({
        "status": response.status,
        "headers": response.headers.iter().map(|header| [&header.name, &header.value]).collect::<Vec<_>>(),
        "body": String::from_utf8_lossy(&response.body).chars().take(SHOWN_CHARS_MAX).collect::<String>(),
        "body_bytes": response.body.len(),
        "url": response.url,
        "source": match response.source {
            http::Source::Live => "live",
            http::Source::Cache => "cache",
            http::Source::Stale => "stale",
        },
        "age_ms": response.age_ms,
        "attempts": response.attempts,
        "request_id": response.request_id,
    })
}

/// Exports a guest that has no triggers.
#[macro_export]
macro_rules! guest {
    ($guest:ident) => {
        impl $crate::events::Guest for $guest {
            fn handle(_: $crate::events::Event) -> Result<$crate::events::Outcome, $crate::Error> {
                Err($crate::error($crate::ErrorKind::UnknownOperation, "this guest has no triggers"))
            }
        }
        #[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
        mod export {
            use super::$guest;
            $crate::bindings::export!($guest with_types_in $crate::bindings);
        }
    };
}
