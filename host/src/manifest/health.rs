//! `[health]` of a manifest: the operation by which the host sees whether a connection works.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Effect, Operation, dated, json_of};
use crate::error::Kind;
use crate::schema::Schema;
use crate::text::shown;

/// How a connection is probed: one cheap read.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthFacts {
    /// The operation: one that reads. The cheapest that needs the credential.
    pub operation: String,
    /// Its input. What is missing of it, a connection's `defaults` may fill in. An answer that there is no such thing says
    /// that the provider is well, too.
    #[serde(default)]
    pub input: BTreeMap<String, toml::Value>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

impl HealthFacts {
    /// What is wrong with it, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        dated(&self.source, &self.date)?;
        self.input_json().map(drop)
    }

    /// The input as JSON.
    pub(crate) fn input_json(&self) -> Result<serde_json::Value, String> {
        json_of(&self.input).map_err(|why| format!("has an input that is no JSON: {why}"))
    }

    /// What does not fit the operations, if anything does not.
    pub(super) fn check_against(&self, operations: &[Operation]) -> Result<(), String> {
        let name = shown(&self.operation);
        let Some(operation) = operations.iter().find(|operation| operation.name == self.operation) else {
            return Err(format!("asks for the operation `{name}`, which the plugin does not have"));
        };
        if operation.effect != Effect::Read {
            return Err(format!("asks for the operation `{name}`, which does not only read"));
        }
        // What a connection fills in is not known yet.
        let mut schema = operation.input_schema.clone();
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("required");
        }
        let schema = Schema::new(&schema).map_err(|error| error.message().to_owned())?;
        let input = self.input_json()?;
        schema.check_input(&input, input.to_string().len()).map_err(|error| {
            // What does not fit stands in the details, and a limit in the sentence.
            let why = match error.kind() {
                Kind::InvalidRequest(_) => error.details().unwrap_or_default(),
                _ => error.message(),
            };
            format!("has an input that `{name}` does not take: {}", why.replace('\n', "; "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str, effect: Effect) -> Operation {
        Operation {
            name: name.to_owned(),
            description: String::new(),
            input_schema: serde_json::json!({
                "type": "object", "required": ["account"], "additionalProperties": false,
                "properties": {"limit": {"type": "integer"}, "account": {"type": "string"}},
            }),
            output_schema: serde_json::json!({}),
            effect,
            is_list: false,
        }
    }

    fn check(lines: &str) -> Result<(), String> {
        let facts: HealthFacts = toml::from_str(&format!("source = 's'\ndate = '2026-11-29'\n{lines}")).unwrap();
        facts.check()?;
        facts.check_against(&[operation("orders.list", Effect::Read), operation("orders.create", Effect::Write)])
    }

    #[test]
    fn a_probe_reads_and_its_input_fits() {
        check("operation = 'orders.list'").unwrap();
        check("operation = 'orders.list'\ninput = { limit = 1 }").unwrap();
        for (lines, why) in [
            ("operation = 'orders.get'", "does not have"),
            ("operation = 'orders.create'", "does not only read"),
            ("operation = 'orders.list'\ninput = { limit = 'one' }", "/limit"),
            ("operation = 'orders.list'\ninput = { account = 2026-01-01 }", "write it as text:   \"2026-01-01\""),
            ("operation = 'orders.list'\ninput = { first = 1 }", "first"),
        ] {
            assert!(check(lines).unwrap_err().contains(why), "{lines}");
        }
        let bare: HealthFacts = toml::from_str("operation = 'orders.list'").unwrap();
        assert!(bare.check().unwrap_err().contains("source and date"));
    }
}
