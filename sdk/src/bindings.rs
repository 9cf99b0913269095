//! The contract as Rust, generated once from `wit/`. Plugins see it only through the macros and the modules beside it.

// Generated code: it lowers and lifts values over the component ABI, which cannot be done without unsafe.
#![allow(unsafe_code, missing_debug_implementations, missing_docs, unreachable_pub, clippy::all, rust_2018_idioms)]

wit_bindgen::generate!({
    path: "wit",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "wharfage_sdk::bindings",
});
