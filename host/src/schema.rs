//! JSON Schema: does a value fit, and if not, where and why.
//!
//! The one module that names the validator. Schemas come from plugins, so they are bounded: no references to files or
//! the network, and patterns run on a linear-time engine.

use serde_json::Value;

use crate::error::{Error, FieldError, Kind, Result};
use crate::manifest::{shown, shown_lines};

/// Most reasons that are told at once.
const REASONS_MAX: usize = 10;

/// A compiled schema.
pub(crate) struct Schema(jsonschema::Validator);

impl Schema {
    /// Compiles a schema of the 2020-12 draft.
    pub(crate) fn new(schema: &Value) -> Result<Self> {
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(schema)
            .map(Self)
            .map_err(|error| {
                Error::component("a schema of the plugin is not valid").with_details(shown_lines(&error.to_string()))
            })
    }

    /// Checks a value.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] with path and reason of each misfit.
    pub(crate) fn check(&self, value: &Value) -> Result<()> {
        let fields: Vec<FieldError> = self
            .0
            .iter_errors(value)
            .take(REASONS_MAX)
            // The validator quotes the value, which may be anything and as long as an input may be.
            .map(|error| FieldError { path: shown(error.instance_path().as_str()), message: shown(&error.to_string()) })
            .collect();
        if fields.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = fields
            .iter()
            .map(|field| format!("{}: {}", if field.path.is_empty() { "(input)" } else { &field.path }, field.message))
            .collect();
        Err(Error::new(Kind::InvalidRequest(fields), "the input does not fit").with_details(shown.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_misfit_names_path_and_reason() {
        let schema = json!({"type": "object", "properties": {"limit": {"type": "integer", "maximum": 100}}, "additionalProperties": false});
        let schema = Schema::new(&schema).unwrap();
        assert!(schema.check(&json!({"limit": 5})).is_ok());
        let error = schema.check(&json!({"limit": 500})).unwrap_err();
        let Kind::InvalidRequest(fields) = error.kind() else { panic!("{error:?}") };
        assert_eq!(fields[0].path, "/limit");
        assert!(schema.check(&json!({"limt": 5})).unwrap_err().to_string().contains("limt"));
    }

    /// Found by the byte fuzzer: what was said about a misfit held the whole value, whatever was in it.
    #[test]
    fn a_misfit_is_told_in_short_and_plain_text() {
        let value = json!({"long": "x".repeat(1 << 20), "odd": "\u{1b}[2J\u{7f}"});
        let schema = json!({"properties": {"long": {"type": "null"}, "odd": {"type": "null"}}, "required": ["\u{1b}"]});
        let error = Schema::new(&schema).unwrap().check(&value).unwrap_err().to_string();
        assert!(error.len() < 2_000 && !error.contains(['\u{1b}', '\u{7f}']), "{error:.2000?}");
        let wrong = json!({"$ref": format!("http://x/\u{7f}{}", "y".repeat(1 << 20))});
        let error = Schema::new(&wrong).err().unwrap().to_string();
        assert!(error.len() < 3_000 && !error.contains('\u{7f}'), "{error:.3000?}");
    }

    #[test]
    fn a_schema_does_not_reach_out() {
        assert!(Schema::new(&json!({"$ref": "http://127.0.0.1:1/schema.json"})).is_err());
    }
}
