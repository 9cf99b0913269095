//! Builds the guest.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=guest/src");
    println!("cargo:rerun-if-changed=guest/Cargo.toml");
    let out = std::env::var("OUT_DIR").unwrap();
    let target = format!("{out}/guest");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap());
    cargo.args(["build", "--release", "--target", "wasm32-unknown-unknown", "--manifest-path", "guest/Cargo.toml"]);
    cargo.args(["--target-dir", &target]).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
    assert!(cargo.status().unwrap().success(), "the guest does not build: rustup target add wasm32-unknown-unknown");
    println!("cargo:rustc-env=GUEST={target}/wasm32-unknown-unknown/release/extism_guest.wasm");
}
