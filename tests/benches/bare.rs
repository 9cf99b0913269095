//! The same component under nothing but wasmtime: no grant, no limit, no deadline, no WASI, no outbound path.
//!
//! The engine is set as the host sets its own, so that what differs is what the host does around a call.

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store};

/// The contract, generated for the calling side.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated from wit/, which documents it")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "plugin",
        exports: { default: async },
    });
}

use bindings::wharfage::plugin::clock;
use bindings::{Plugin as Exports, PluginPre};

/// A component, compiled and linked: the clock is there and all else is a trap.
pub(crate) struct Bare {
    engine: Engine,
    pre: PluginPre<State>,
}

/// What the store holds.
struct State;

impl clock::Host for State {
    /// A constant: this is about the way to the host and back, not about clocks.
    fn now(&mut self) -> u64 {
        1_795_337_377_000
    }
}

impl Bare {
    /// Compiles the component.
    ///
    /// # Errors
    /// When it is no plugin, or there is no room for a pool.
    pub(crate) fn new(component: &[u8], is_pooled: bool) -> wasmtime::Result<Self> {
        let engine = Engine::new(&wharfage::engine_config(is_pooled)?)?;
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        clock::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = PluginPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre })
    }

    /// A store with an instance in it, dropped.
    pub(crate) async fn instantiate(&self) {
        let _ = self.instance().await;
    }

    /// A store with an instance in it, one call, and all of it dropped.
    pub(crate) async fn call(&self, operation: &str, input: &String) -> String {
        let (mut store, exports) = self.instance().await;
        let called = exports.wharfage_plugin_operations().call_call(&mut store, operation, input, None).await;
        called.expect("the guest does not trap").expect("the guest finds no fault").output
    }

    async fn instance(&self) -> (Store<State>, Exports) {
        let mut store = Store::new(&self.engine, State);
        // Nobody turns the epoch of this engine; the code that looks at it is the same.
        store.set_epoch_deadline(1);
        let exports = self.pre.instantiate_async(&mut store).await.expect("there is room for an instance");
        (store, exports)
    }
}
