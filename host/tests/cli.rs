//! The program as its user meets it: what it says, where it says it, and the code it ends with.
//!
//! Nothing here needs a component that runs; `tests/all/cli.rs` goes on with real ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where and stops")]

use std::path::Path;
use std::process::{Command, Output};

fn wharfage(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharfage"))
        .args(arguments)
        .args(["--state-dir", "state"])
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn failure(output: &Output) -> (i32, String) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "a failure wrote to standard output");
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn help_names_every_subcommand_and_what_exit_codes_mean() {
    let output = wharfage(Path::new("."), &["--help"]);
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = [
        "demo",
        "call",
        "explain",
        "audit",
        "inspect",
        "secret",
        "build",
        "check",
        "connect",
        "disconnect",
        "Exit codes",
    ];
    for name in names {
        assert!(help.contains(name), "{name} is missing in\n{help}");
    }
}

#[test]
fn a_wharfage_toml_that_cannot_be_read_shows_line_and_caret() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wharfage.toml"), "[connections.acme]\nplugin = \n").unwrap();
    let (code, text) = failure(&wharfage(folder.path(), &["call", "acme", "orders.list"]));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("wharfage.toml cannot be read") && text.contains("line 2") && text.contains('^'), "{text}");
}

#[test]
fn a_wrong_name_is_answered_with_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[plugins.p]\ncomponent = 'p.wasm'\n[connections.acme-orders]\nplugin = 'p'\n";
    std::fs::write(folder.path().join("wharfage.toml"), config).unwrap();
    let (code, text) = failure(&wharfage(folder.path(), &["explain", "acme-order"]));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("Did you mean acme-orders?"), "{text}");
}

#[test]
fn what_is_no_component_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page.wasm"), "<html>404</html>").unwrap();
    for arguments in [&["inspect", "page.wasm"][..], &["check", "page.wasm"], &["explain", "--suggest", "page.wasm"]] {
        let (code, text) = failure(&wharfage(folder.path(), arguments));
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("this is not a WebAssembly component"), "{arguments:?}: {text}");
    }
}

#[test]
fn without_a_wharfage_toml_the_way_to_one_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = failure(&wharfage(folder.path(), &["call", "acme", "orders.list"]));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("wharfage explain --suggest"), "{text}");
}

#[test]
fn a_wharfage_toml_that_is_there_is_not_to_be_written() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["explain", "acme", "--config", "b.toml"][..], &["call", "acme", "x", "--config", "b.toml"]] {
        let (code, text) = failure(&wharfage(folder.path(), arguments));
        assert!(code == 3 && text.contains(">> b.toml"), "{arguments:?}: {code} {text}");
    }
    std::fs::create_dir(folder.path().join("wharfage.toml")).unwrap();
    let (code, text) = failure(&wharfage(folder.path(), &["call", "acme", "x"]));
    assert!(code == 3 && text.contains("wharfage.toml cannot be read") && !text.contains("--suggest"), "{code} {text}");
}

#[test]
fn a_name_that_nothing_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wharfage.toml"), "").unwrap();
    for (arguments, expected, told) in [
        (&["status", "--connection", "nope"][..], 3, "there is no connection `nope`"),
        (&["demo", "--plugins", ".", "--only", "nope"], 1, "is called nope"),
        (&["call", "nope", "x", "--grant-needs"], 2, "--grant-needs is for a component's file"),
    ] {
        let (code, text) = failure(&wharfage(folder.path(), arguments));
        assert!(code == expected && text.contains(told), "{arguments:?}: {code} {text}");
    }
}

/// Service files leave variables that are set to nothing, and people write yes in many ways.
#[test]
fn a_variable_may_be_empty_and_a_yes_is_one_however_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfage"));
        let output = command.args(["alerts", "list"]).current_dir(folder.path()).env(name, value).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let mask = "WHARFAGE_MASK_PHONE_NUMBERS";
    for name in ["WHARFAGE_STATE_DIR", "WHARFAGE_LOG", "WHARFAGE_LOG_FORMAT", mask] {
        assert_eq!(run(name, "").0, 0, "{name}: {}", run(name, "").1);
    }
    for (value, code) in [("1", 0), ("yes", 0), ("off", 0), ("perhaps", 2)] {
        assert_eq!(run(mask, value).0, code, "{value}: {}", run(mask, value).1);
    }
}

#[test]
fn tapes_that_cannot_be_used_say_what_would_help() {
    let folder = tempfile::tempdir().unwrap();
    let call = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["call", "acme", "orders.list"].iter().chain(arguments).copied().collect();
        failure(&wharfage(folder.path(), &arguments))
    };
    let (code, text) = call(&["--replay", "none.json"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("there is no tape none.json") && text.contains("--record none.json"), "{text}");
    std::fs::write(folder.path().join("page.json"), "<html>").unwrap();
    let (code, text) = call(&["--replay", "page.json"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("page.json") && text.contains("line 1 column 1"), "{text}");
    let (code, text) = call(&["--record", "page.json"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("--force"), "{text}");
    assert_eq!(std::fs::read_to_string(folder.path().join("page.json")).unwrap(), "<html>");
    let (code, text) = call(&["--record", "no/such/folder.json"]);
    assert_eq!(code, 3, "{text}");
    for pair in [["--record", "a", "--replay", "b"], ["--record", "a", "--cursor", "b"]] {
        assert_eq!(call(&pair).0, 2);
    }
}
