//! What a component says that it can do, asked of the component itself before it may do any of it.

use std::sync::Arc;

use wasmtime::component::Component;

use super::link::{Linked, is_types, trap_the_rest};
use super::run::bounded;
use super::stopped::stopped;
use crate::bindings::exports::wharfage::plugin::operations;
use crate::bindings::{Plugin as Exports, PluginPre};
use crate::capability::{Call, Shared, wasi};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::manifest::{Effect, Operation, check_operations, check_operations_size};
use crate::outbound::{CallContext, Outbound};
use crate::store::MemoryStore;
use crate::text::{shown, shown_lines};
use crate::time::Clock;
use crate::vault::Secrets;

/// Whether a component describes the operations that it carries. Its schemas it may leave to what it carries, as `{}`:
/// then the code that makes them is not in it.
pub(crate) fn says_the_same(described: &[Operation], carried: &[Operation]) -> bool {
    let is_left = |schema: &serde_json::Value| schema.as_object().is_some_and(serde_json::Map::is_empty);
    let leaves_them = described.iter().all(|one| is_left(&one.input_schema) && is_left(&one.output_schema));
    let same = |(one, other): (&Operation, &Operation)| {
        let named = (&one.name, &one.description, one.effect, one.is_list)
            == (&other.name, &other.description, other.effect, other.is_list);
        named && (leaves_them || (&one.input_schema, &one.output_schema) == (&other.input_schema, &other.output_schema))
    };
    described.len() == carried.len() && described.iter().zip(carried).all(same)
}

/// Milliseconds that a component has to describe itself, and those of computing among them.
pub(crate) const DESCRIBE_MS: u64 = 5_000;
pub(crate) const DESCRIBE_COMPUTE_MS: u64 = 2_000;

/// Asks a component what it can do, with every import a trap that is not in the linker. Its time is the same for all; the
/// other limits are the connection's, where there is one.
///
/// # Errors
/// [`Kind::LimitExceeded`] for a limit that can be set on the connection; [`Kind::Component`] when it does not answer, or
/// answers nonsense.
pub(crate) async fn describe(
    engine: &Engine,
    mut linker: Linked,
    component: &Component,
    clock: &Arc<dyn Clock>,
    granted: Option<&Limits>,
) -> Result<Vec<Operation>> {
    let limits =
        Limits { call_ms: DESCRIBE_MS, compute_ms: DESCRIBE_COMPUTE_MS, ..granted.copied().unwrap_or_default() };
    trap_the_rest(engine, &mut linker, component, |name| is_types(name) || wasi::is_linked(name))?;
    let pre = linker.instantiate_pre(component).and_then(PluginPre::new).map_err(|error| {
        Error::component("the component does not fit the contract").with_details(shown_lines(&format!("{error:#}")))
    })?;
    let alive = engine.admit("the component")?;
    let secrets = Arc::new(Secrets::new("", "describe", Default::default()));
    let shared = Shared {
        plugin: "".into(),
        connection: "describe".into(),
        limits,
        outbound: Arc::new(Outbound::nowhere(secrets, clock.clone())),
        facts: Arc::default(),
        store: Arc::new(MemoryStore::default()),
        lines: Arc::default(),
    };
    let context =
        CallContext { deadline: clock.now().plus(limits.call_ms), observer: None, event: None, operation: None };
    let mut instance = bounded(engine, Call::new(shared, context, alive));
    let described = async {
        let exports: Exports = pre.instantiate_async(&mut instance).await?;
        exports.wharfage_plugin_operations().call_describe(&mut instance).await
    };
    let described = tokio::select! {
        biased;
        described = described => described,
        () = clock.alarm(clock.now().plus(limits.call_ms)) => {
            return Err(Error::component(format!(
                "the component's `describe` does not come to an end within the limit describe_ms of {DESCRIBE_MS}"
            )));
        }
    };
    let described = match described {
        Ok(described) => described,
        Err(error) => {
            let Call { limits, memory, output, .. } = instance.data();
            let stopped = stopped(engine, "the component", limits, memory.refused, &error, &output.text());
            let stopped = stopped.context("`describe` fails");
            return Err(match stopped.kind() {
                Kind::Busy(_) => stopped,
                Kind::LimitExceeded(limit) if limit == "compute_ms" => Error::component(format!(
                    "`describe` does not come to an end within the limit describe_compute_ms of {DESCRIBE_COMPUTE_MS}"
                )),
                Kind::LimitExceeded(_) if granted.is_some() => stopped,
                // There is no connection yet on which it could be set.
                Kind::LimitExceeded(_) => Error::component(stopped.message()),
                _ => Error::component(stopped.message()).with_details(stopped.details().unwrap_or_default()),
            });
        }
    };
    check_size(&described)?;
    let operations = described.into_iter().map(operation).collect::<Result<Vec<_>>>()?;
    check_operations(&operations)?;
    Ok(operations)
}

/// Refuses more operations, and more bytes of their texts, than a component may carry: a schema is many times larger when
/// it is read.
fn check_size(said: &[operations::Operation]) -> Result<()> {
    let bytes = said
        .iter()
        .map(|one| one.name.len() + one.description.len() + one.input_schema.len() + one.output_schema.len());
    check_operations_size(said.len(), bytes.sum())
}

fn operation(said: operations::Operation) -> Result<Operation> {
    use operations::Effect as Said;
    let schema = |text: &str| {
        serde_json::from_str(text)
            .map_err(|_| Error::component(format!("a schema of the operation `{}` is no JSON", shown(&said.name))))
    };
    Ok(Operation {
        input_schema: schema(&said.input_schema)?,
        output_schema: schema(&said.output_schema)?,
        effect: match said.effect {
            Said::Read => Effect::Read,
            Said::Idempotent => Effect::Idempotent,
            Said::Write => Effect::Write,
        },
        is_list: said.is_list,
        name: said.name,
        description: said.description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a component says of itself may come to many megabytes, and is measured before any of it is read as JSON.
    #[test]
    fn what_is_described_at_too_great_length_is_refused_before_it_is_read() {
        let said = |schema: String| operations::Operation {
            name: "orders.list".to_owned(),
            description: String::new(),
            input_schema: schema,
            output_schema: "{}".to_owned(),
            effect: operations::Effect::Read,
            is_list: false,
        };
        check_size(&[said(" ".repeat(1 << 19)), said("{}".to_owned())]).unwrap();
        let long = check_size(&[said(" ".repeat(1 << 19)), said(" ".repeat(1 << 19))]).unwrap_err();
        assert!(long.message().contains("operations_bytes_max"), "{long}");
        let many: Vec<_> = (0..501).map(|_| said("{}".to_owned())).collect();
        check_size(&many[1..]).unwrap();
        let many = check_size(&many).unwrap_err();
        assert!(many.message().contains("501 operations") && many.message().contains("operations_max"), "{many}");
    }
}
