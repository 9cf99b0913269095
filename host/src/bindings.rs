//! The contract as Rust types: the one place where they are generated.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from wit/, which documents it")]

wasmtime::component::bindgen!({
    path: "wit",
    world: "plugin",
    imports: {
        "wharfage:plugin/http.send": async,
        "wharfage:plugin/http.send-all": async,
        "wharfage:plugin/rate-limit.acquire": async,
        "wharfage:plugin/state": async,
    },
    exports: { default: async },
});
