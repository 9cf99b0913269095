//! A component's bytes, before any of them is compiled or run: what it imports and exports, and the sections that
//! `wharfage build` writes into it.
//!
//! Only this file reads or writes WebAssembly's binary format. What our sections say is judged in `manifest.rs`.

use std::collections::BTreeSet;

use wasmparser::{Encoding, Parser, Payload};

use crate::error::{Error, Result};
use crate::text::{is_unshowable, shown, shown_lines};

/// The contract this host speaks.
pub(crate) const CONTRACT: semver::Version = semver::Version::new(0, 1, 0);

/// The custom section that holds `plugin.toml`.
const MANIFEST_SECTION: &str = "wharfage:manifest";
/// The custom section that holds the operations.
const OPERATIONS_SECTION: &str = "wharfage:operations";

/// Most bytes of a component.
pub(crate) const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// Most bytes of code in a component, and in one function of it: what is made to be hard to compile takes ten times as long
/// in a function that is four times as large.
pub(crate) const CODE_BYTES_MAX: usize = 24 << 20;
pub(crate) const FUNCTION_BYTES_MAX: usize = 256 << 10;

const PACKAGE: &str = "wharfage:plugin/";

/// The outline of a component: its imports and our sections, without judging them.
#[derive(Debug, Default)]
pub(crate) struct Outline<'a> {
    imports: Vec<&'a str>,
    exports: Vec<&'a str>,
    manifests: Vec<&'a [u8]>,
    operations: Vec<&'a [u8]>,
}

impl<'a> Outline<'a> {
    /// Reads the outline of a component.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) for anything that is not a whole component, or that hides one of our
    /// sections inside.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(Error::component(format!(
                "the component is {} bytes long; the limit component_bytes_max is {COMPONENT_BYTES_MAX}",
                bytes.len()
            )));
        }
        let mut outline = Self::default();
        let (mut depth, mut code_bytes) = (0usize, 0usize);
        let too_much = |what: &str, limit: &str, most: usize| {
            Err(Error::component(format!("{what} than the limit {limit} of {most} allows"))
                .with_details("Build it with optimisation, for size, and leave out what is not used"))
        };
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| not_a_component(bytes, &error.to_string()))?;
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(Error::component("this is a core module, not a component").with_details(
                        "Build for the target wasm32-wasip2, or wrap it: wasm-tools component new module.wasm",
                    ));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CodeSectionEntry(body) => {
                    let bytes = body.range().len();
                    code_bytes += bytes;
                    if bytes > FUNCTION_BYTES_MAX {
                        return too_much(
                            "a function of the component is longer",
                            "function_bytes_max",
                            FUNCTION_BYTES_MAX,
                        );
                    }
                    if code_bytes > CODE_BYTES_MAX {
                        return too_much("the component has more code", "code_bytes_max", CODE_BYTES_MAX);
                    }
                }
                Payload::CustomSection(section) if [MANIFEST_SECTION, OPERATIONS_SECTION].contains(&section.name()) => {
                    if depth > 0 {
                        return Err(Error::component(format!(
                            "a section `{}` is hidden inside a nested module; only one at the top level is read",
                            section.name()
                        )));
                    }
                    match section.name() {
                        MANIFEST_SECTION => outline.manifests.push(section.data()),
                        _ => outline.operations.push(section.data()),
                    }
                }
                Payload::ComponentImportSection(reader) if depth == 0 => {
                    for import in reader {
                        let import = import.map_err(|error| not_a_component(bytes, &error.to_string()))?;
                        outline.imports.push(import.name.name);
                    }
                }
                Payload::ComponentExportSection(reader) if depth == 0 => {
                    for export in reader {
                        let export = export.map_err(|error| not_a_component(bytes, &error.to_string()))?;
                        outline.exports.push(export.name.name);
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    /// Whether `wharfage build` has been over it.
    pub(crate) fn is_built(&self) -> bool {
        !self.manifests.is_empty() || !self.operations.is_empty()
    }

    /// Checks that the component speaks this host's contract.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) naming the version it was made for, or what it does not export.
    pub(crate) fn check_contract(&self) -> Result<()> {
        // Names are read before the component is known to be valid, and shown by whoever looks at it.
        if let Some(name) = self.imports.iter().chain(&self.exports).find(|name| name.chars().any(is_unshowable)) {
            return Err(Error::component(format!(
                "the component names `{}`, which no interface is called",
                shown(name)
            )));
        }
        for name in self.imports.iter().chain(&self.exports) {
            let Some((interface, version)) = contract_item(name) else { continue };
            let version = semver::Version::parse(version).map_err(|_| {
                Error::component(format!("the component names `{}` without a version", shown(interface)))
            })?;
            if version != CONTRACT {
                let help = if version > CONTRACT { "Update wharfage" } else { "Build the plugin again with this SDK" };
                return Err(Error::component(format!(
                    "the component was made for contract {version}; this host speaks {CONTRACT}"
                ))
                .with_details(help));
            }
        }
        for interface in ["operations", "events"] {
            if !self.exports.iter().any(|name| contract_item(name).is_some_and(|(item, _)| item == interface)) {
                return Err(Error::component(format!(
                    "the component does not export wharfage:plugin/{interface}@{CONTRACT}, so it is not a plugin"
                )));
            }
        }
        Ok(())
    }

    /// The one manifest it carries.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) where it carries none, or several.
    pub(crate) fn manifest(&self) -> Result<&'a [u8]> {
        only(&self.manifests, "manifest")
    }

    /// The one list of operations it carries.
    ///
    /// # Errors
    /// As for [`Outline::manifest`].
    pub(crate) fn operations(&self) -> Result<&'a [u8]> {
        only(&self.operations, "operations")
    }

    /// The names of the contract's interfaces it imports, and of everything else.
    pub(crate) fn imports(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut ours = BTreeSet::new();
        let mut foreign = BTreeSet::new();
        for name in &self.imports {
            match contract_item(name) {
                Some(("types", _)) => {}
                Some((interface, _)) => drop(ours.insert(interface.to_owned())),
                None => drop(foreign.insert((*name).to_owned())),
            }
        }
        (ours, foreign)
    }
}

/// Puts a manifest and operations, as JSON, into a component, at its top level. That they are right is the caller's part.
///
/// # Errors
/// [`Kind::Component`](crate::Kind::Component) if the component carries some already, or is not one.
pub(crate) fn embed(component: &[u8], manifest: &str, operations: &[u8]) -> Result<Vec<u8>> {
    let outline = Outline::read(component)?;
    if outline.is_built() {
        return Err(Error::component("the component carries a manifest already; build from the compiler's output"));
    }
    let mut out = component.to_vec();
    for (name, data) in [(MANIFEST_SECTION, manifest.as_bytes()), (OPERATIONS_SECTION, operations)] {
        let section = wasm_encoder::CustomSection { name: name.into(), data: data.into() };
        wasm_encoder::ComponentSection::append_to_component(&section, &mut out);
    }
    Ok(out)
}

fn only<'a>(sections: &[&'a [u8]], what: &str) -> Result<&'a [u8]> {
    match sections {
        [one] => Ok(one),
        [] => Err(Error::component(format!("the component carries no {what}")).with_details(
            "It was compiled but not built. Run `wharfage build` in the plugin's folder, or `wharfage build --component FILE --manifest plugin.toml`",
        )),
        several => Err(Error::component(format!(
            "the component carries {} {what} sections; what was read must be what is enforced, so only one is allowed",
            several.len()
        ))),
    }
}

fn not_a_component(bytes: &[u8], error: &str) -> Error {
    match bytes.starts_with(b"\0asm") {
        true => Error::component("the component is broken").with_details(shown_lines(error)),
        false => Error::component("this is not a WebAssembly component").with_details(
            "A component begins with a zero byte and `asm`. To make one of a plugin's folder:   wharfage build FOLDER",
        ),
    }
}

fn contract_item(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_component() {
        let error = Outline::read(b"<html>not found</html>").unwrap_err();
        assert_eq!(error.message(), "this is not a WebAssembly component");
    }
}
