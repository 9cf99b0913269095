//! Why the run of an instance was stopped: the limit that it reached, in the words of whoever can change it.

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::capability;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits::Limits;
use crate::text::shown_lines;

/// What wasmtime says of limits that it has no type for, and their names.
const SAID: [(&str, &str); 7] = [
    ("fuel allocated for hostcalls has been exhausted", "hostcall_bytes"),
    ("store handle limit exceeded", "resources"),
    ("instance count too high", "instances"),
    ("memory count too high", "memories"),
    ("table count too high", "tables"),
    ("requested len", "random_bytes"),
    (capability::TOO_MANY_AT_ONCE, "requests"),
];

/// Whether the pool has no memory, table or stack left.
pub(super) fn is_pool_full(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::PoolConcurrencyLimitError>()
}

/// How Linux says that a process has as many mappings as it may have.
const NO_MAPPINGS: &str = "Cannot allocate memory (os error 12)";

/// Which limit ended a call, if one did. `refused` is what it wanted to grow beyond, at any time.
fn limit_of(error: &wasmtime::Error, refused: Option<&'static str>) -> Option<&'static str> {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => return Some("compute_ms"),
        Some(Trap::StackOverflow) => return Some("stack_bytes"),
        _ => {}
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        return Some("resources");
    }
    let text = format!("{error:#}");
    SAID.iter().find(|(said, _)| text.contains(said)).map(|(_, limit)| *limit).or(refused)
}

/// What a trap means, in the words of the limit that was reached.
pub(super) fn stopped(
    engine: &Engine,
    name: &str,
    limits: &Limits,
    refused: Option<&'static str>,
    error: &wasmtime::Error,
    printed: &str,
) -> Error {
    if is_pool_full(error) {
        return engine.busy(name);
    }
    if format!("{error:#}").contains(NO_MAPPINGS) {
        return Error::busy(
            "mappings",
            format!("{name} is busy: the system has no memory mapping left for an instance"),
        )
        .with_details(
            "Call again when others have ended. An instance takes six; to allow more, raise vm.max_map_count",
        );
    }
    let reached = |limit: &str, value: u64| {
        Error::limit(limit, format!("{name} reached the limit {limit} of {value}; its instance was dropped"))
    };
    match limit_of(error, refused) {
        Some(limit @ "stack_bytes") => reached(limit, engine.limits().stack_bytes)
            .with_details("It calls itself too deeply")
            .with_details("To allow more, set limits.stack_bytes in [engine] of wharfage.toml"),
        Some(limit) => {
            let value = limits.all().iter().find(|known| known.name == limit).map_or(0, |known| known.value);
            reached(limit, value).with_more(limit)
        }
        None => {
            let text = format!("{error:#}");
            let cause = shown_lines(if printed.is_empty() { &text } else { printed });
            Error::internal(format!("{name} failed; its instance was dropped")).with_details(cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmtime_wasi::p2::bindings::random::random::Host as _;

    use super::*;
    use crate::capability::wasi;
    use crate::error::Kind;
    use crate::time::{Clock, ManualClock};

    /// There is no type for it: should the words change, this says so.
    #[test]
    fn too_much_randomness_at_once_is_told_by_the_name_of_its_limit() {
        let limits = Limits { random_bytes: 100, ..Limits::default() };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(crate::time::Timestamp::from_millis(5), 1));
        let mut context = wasi::context(&wasi::Output::new(&limits), &clock, None, &limits);
        assert_eq!(context.random().get_random_bytes(100).unwrap().len(), 100);
        let error = context.random().get_random_bytes(101).unwrap_err();
        assert_eq!(limit_of(&error, None), Some("random_bytes"));
        let engine = Engine::new(crate::engine::EngineLimits::default()).unwrap();
        let error = stopped(&engine, "shop", &limits, None, &error, "");
        assert_eq!(*error.kind(), Kind::LimitExceeded("random_bytes".into()));
        assert!(error.message().contains("limit random_bytes of 100"), "{error}");
    }

    #[test]
    fn an_instance_that_the_system_has_no_mappings_for_is_refused_as_busy() {
        let engine = Engine::new(crate::engine::EngineLimits::default()).unwrap();
        let error = wasmtime::Error::from(std::io::Error::from_raw_os_error(12)).context("no memory");
        let error = stopped(&engine, "shop", &Limits::default(), None, &error, "");
        assert_eq!(*error.kind(), Kind::Busy("mappings".into()));
        assert!(error.details().unwrap().contains("raise vm.max_map_count"), "{error:?}");
    }

    /// What grew too large before says nothing about a call that ends for another limit, and explains any other end.
    #[test]
    fn the_limit_that_ended_a_call_is_named_before_one_that_was_met_on_the_way() {
        for (error, named) in [
            (wasmtime::Error::from(Trap::Interrupt), "compute_ms"),
            (Trap::StackOverflow.into(), "stack_bytes"),
            (ResourceTableError::Full.into(), "resources"),
            (Trap::UnreachableCodeReached.into(), "memory_bytes"),
        ] {
            assert_eq!(limit_of(&error, Some("memory_bytes")), Some(named));
        }
        assert_eq!(limit_of(&Trap::UnreachableCodeReached.into(), None), None);
    }
}
