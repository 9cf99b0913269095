//! The contract as Rust types: the one place where they are generated.

#![allow(
    missing_debug_implementations,
    missing_docs,
    unnameable_types,
    unreachable_pub,
    clippy::all,
    reason = "generated from wit/, which documents it"
)]

wasmtime::component::bindgen!({
    path: "wit",
    world: "plugin",
    imports: {
        "wharfage:plugin/http.send": async,
        "wharfage:plugin/http.send-all": async | trappable,
        "wharfage:plugin/http.open": async,
        "wharfage:plugin/http.start": async,
        "wharfage:plugin/http.[method]body.read": async,
        "wharfage:plugin/http.[method]upload.write": async,
        "wharfage:plugin/http.[static]upload.finish": async,
        "wharfage:plugin/files.read": async,
        "wharfage:plugin/files.write": async,
        "wharfage:plugin/rate-limit.acquire": async,
        "wharfage:plugin/secrets": async,
        "wharfage:plugin/state": async,
    },
    exports: { default: async },
    with: {
        "wharfage:plugin/http.body": crate::outbound::stream::Stream,
        "wharfage:plugin/http.upload": crate::outbound::stream::Upload,
    },
});
