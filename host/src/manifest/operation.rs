//! `[operations.<name>]` of a manifest, and the operations themselves, which a component carries with their schemas.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::is_name;
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::text::{shown, shown_lines};

/// Most bytes of all operations with their schemas.
pub(crate) const OPERATIONS_BYTES_MAX: usize = 1 << 20;
/// Most operations of a plugin.
pub(crate) const OPERATIONS_MAX: usize = 500;

/// What the manifest adds to an operation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OperationFacts {
    /// What it does to the provider's data.
    pub effect: Effect,
    /// The columns a table shows, as dotted paths.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The scopes of an OAuth 2.0 credential with which it works: one of these is enough. The first is the least, which a
    /// sign-in asks for unless another of them is asked for anyway. Several that are needed together are written with a space
    /// between them (RFC 6749, 3.3).
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Scopes with which it does a part of what it says, as for objects that are the client's own. Nobody is asked for them,
    /// and who has one is not refused.
    #[serde(default)]
    pub partial_scopes: Vec<String>,
    /// The credential whose scopes these are; the only one of the scheme `oauth2` where it is left out.
    pub credential: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// What an operation does to the provider's data.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Effect {
    /// Nothing.
    #[default]
    Read,
    /// It changes something; twice is as once.
    Idempotent,
    /// It changes something each time.
    Write,
}

/// One operation, as `describe` names it and as the component carries it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Operation {
    /// Its name, as `orders.list`.
    pub name: String,
    /// A sentence.
    pub description: String,
    /// JSON Schema of the input.
    pub input_schema: serde_json::Value,
    /// JSON Schema of the output, of one item where it lists.
    pub output_schema: serde_json::Value,
    /// What it does.
    pub effect: Effect,
    /// Whether it is read page by page.
    pub is_list: bool,
}

impl Operation {
    /// The schema of its input, ready to be asked.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) when it cannot be used.
    pub(crate) fn read_input_schema(&self) -> Result<Schema> {
        Schema::new(&self.input_schema).map_err(|error| error.context(format!("operation `{}`: its input", self.name)))
    }

    /// The schema of its output, ready to be asked.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) when it cannot be used.
    pub(crate) fn read_output_schema(&self) -> Result<Schema> {
        Schema::new(&self.output_schema)
            .map_err(|error| error.context(format!("operation `{}`: its output", self.name)))
    }

    /// Whether the schemas of input and output can be used.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) when one of them cannot.
    pub(crate) fn check_schemas(&self) -> Result<()> {
        self.read_input_schema()?;
        self.read_output_schema().map(drop)
    }
}

/// Reads the operations a component carries.
pub(super) fn operations_from_bytes(bytes: &[u8]) -> Result<Vec<Operation>> {
    check_operations_size(0, bytes.len())?;
    let operations: Vec<Operation> = serde_json::from_slice(bytes).map_err(|error| {
        Error::component("the operations cannot be read").with_details(shown_lines(&error.to_string()))
    })?;
    check_operations(&operations)?;
    Ok(operations)
}

/// Refuses too many operations, and too many bytes of them, before any schema is read.
pub(crate) fn check_operations_size(number: usize, bytes: usize) -> Result<()> {
    if number > OPERATIONS_MAX {
        return Err(Error::component(format!(
            "the plugin names {number} operations; the limit operations_max is {OPERATIONS_MAX}"
        )));
    }
    if bytes > OPERATIONS_BYTES_MAX {
        return Err(Error::component(format!(
            "the operations are {bytes} bytes long; the limit operations_bytes_max is {OPERATIONS_BYTES_MAX}"
        )));
    }
    Ok(())
}

/// Checks names, number and doubles.
pub(crate) fn check_operations(operations: &[Operation]) -> Result<()> {
    check_operations_size(operations.len(), 0)?;
    let mut seen = BTreeSet::new();
    for operation in operations {
        let name = &operation.name;
        let is_plain = !name.is_empty() && name.len() <= 128 && name.split('.').all(is_name);
        if !is_plain {
            return Err(Error::component(format!(
                "the operation name `{}` must be words of lower-case letters, digits and hyphens, joined by dots",
                shown(name)
            )));
        }
        if !seen.insert(name) {
            return Err(Error::component(format!("the plugin names the operation `{name}` twice")));
        }
    }
    Ok(())
}
