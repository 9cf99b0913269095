//! What a component is linked to: WASI and the contract's types, and a trap for whatever else it imports.

use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, Linker};

use crate::capability::{Call, wasi};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::text::{shown, shown_lines};

/// What a component is linked to.
pub(crate) type Linked = Linker<Call>;

/// What every component gets: what standard libraries need.
///
/// # Errors
/// [`Kind::Internal`](crate::Kind::Internal) where it contradicts itself.
pub(crate) fn linker(engine: &Engine) -> Result<Linked> {
    let mut linker = Linker::new(engine.raw());
    wasi::link(&mut linker).map_err(|error| Error::internal(format!("WASI: {error}")))?;
    link_types(&mut linker).map_err(|error| Error::internal(format!("types: {error}")))?;
    Ok(linker)
}

fn link_types(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    use wasmtime::component::HasSelf;
    crate::bindings::wharfage::plugin::types::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
}

pub(super) fn is_ours(import: &str) -> bool {
    import.starts_with("wharfage:plugin/")
}

pub(super) fn is_types(import: &str) -> bool {
    import.starts_with("wharfage:plugin/types@")
}

/// What other languages' runtimes import of WASI without using it becomes a trap, and whatever else is not linked.
///
/// wasmtime's own `define_unknown_imports_as_traps` goes by exact names: for a component that was made for another 0.2
/// than the linked one it would put a trap in front of every interface, and printing a line would end the call.
pub(super) fn trap_the_rest(
    engine: &Engine,
    linker: &mut Linker<Call>,
    component: &Component,
    is_linked: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut trap = |interface: &str, instance: &ComponentInstance| -> wasmtime::Result<()> {
        let mut linker = linker.instance(interface)?;
        for (name, item) in instance.exports(engine.raw()) {
            match item.ty {
                // Libraries look for folders before they print. There are none.
                ComponentItem::ComponentFunc(_)
                    if name == "get-directories" && interface.starts_with("wasi:filesystem/preopens@0.2.") =>
                {
                    linker.func_new(name, |_, _, _, results| {
                        results[0] = wasmtime::component::Val::List(Vec::new());
                        Ok(())
                    })?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let full_name = format!("{interface}#{name}");
                    linker.func_new(name, move |_, _, _, _| {
                        Err(wasmtime::Error::msg(format!("{full_name} is not there for a plugin")))
                    })?;
                }
                ComponentItem::Resource(_) => linker.resource(name, wasi::resource(name), |_, _| Ok(()))?,
                _ => {}
            }
        }
        Ok(())
    };
    for (name, item) in component.component_type().imports(engine.raw()) {
        if let ComponentItem::ComponentInstance(instance) = &item.ty
            && !is_linked(name)
        {
            if !name.starts_with("wasi:") && !is_ours(name) {
                let name = shown(name);
                return Err(Error::component(format!("the component imports `{name}`, which no host of plugins has"))
                    .with_details(
                        "A plugin imports interfaces of wharfage:plugin, and what its standard library needs of WASI",
                    ));
            }
            trap(name, instance).map_err(|error| {
                Error::component("an import of the component cannot be linked")
                    .with_details(shown_lines(&format!("{error:#}")))
            })?;
        }
    }
    Ok(())
}
