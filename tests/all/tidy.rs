//! The rules of the house that a program can check: who may name what, which files must exist, what nobody may know.
//!
//! The tables here are the house's own. Where a row stops being true, either the code went astray or the plan did; the
//! commit that changes a row says which.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wharfage_tests::{PLUGINS, root};

/// A word of the host's code, and the only files below `host/src` that may say it.
const DOORS: &[(&str, &[&str])] = &[
    ("reqwest", &[]),
    ("http_body", &["outbound/body.rs", "outbound/client.rs"]),
    ("wasmtime", &["bindings.rs", "engine.rs", "plugin", "artifact.rs", "capability/"]),
    ("wasmtime_wasi", &["capability/"]),
    ("wasmparser", &["component.rs"]),
    ("wasm_encoder", &["component.rs"]),
    ("rusqlite", &["store/sqlite.rs", "store/sqlite/arrival.rs", "store/sqlite/writer.rs"]),
    ("axum", &["serve/", "supervisor/console"]),
    ("hyper", &["outbound/client.rs", "outbound/wires.rs", "serve/listener.rs"]),
    ("hyper_util", &["outbound/client.rs", "outbound/wires.rs", "serve/listener.rs"]),
    ("h2", &["outbound/wires.rs"]),
    ("clap", &["cli/", "main.rs"]),
    ("anyhow", &["cli/", "main.rs"]),
    ("regex", &["schema", "observe/redact.rs"]),
    ("tracing_subscriber", &["observe/lines.rs", "otlp.rs", "cli/"]),
    ("jsonschema", &["schema/tests.rs"]),
    ("rustls", &["outbound/wires.rs"]),
    ("tokio_rustls", &["outbound/wires.rs"]),
    ("http_cache_semantics", &["outbound/cache/kept.rs"]),
    ("jsonwebtoken", &["auth/jwt.rs"]),
    ("std::env", &["vault/env.rs", "cli/", "main.rs"]),
    ("env::var", &["vault/env.rs", "cli/", "main.rs"]),
    ("rand::fill", &[]),
    ("getrandom", &["random.rs"]),
    ("RandomizedNonceKey", &[]),
    ("SystemTime", &["time.rs"]),
    ("Instant", &["time.rs"]),
    ("tokio::time", &["time.rs", "serve/"]),
    ("thread::sleep", &["engine.rs"]),
    ("lookup_host", &["outbound/address.rs"]),
    ("ToSocketAddrs", &[]),
    ("tokio_websockets", &["inbound/socket"]),
    ("TcpStream", &["outbound/wires.rs"]),
    ("socket2", &["outbound/wires.rs"]),
    ("TcpListener", &["serve/"]),
    ("UdpSocket", &[]),
    ("process::exit", &["cli/", "main.rs"]),
    ("process::Command", &["vault/exec.rs", "cli/"]),
    ("Command::new", &["vault/exec.rs", "cli/"]),
    ("open::", &["cli/connect.rs"]),
    ("std::fs", &["cli/", "main.rs"]),
    ("cap_std", &["vault/", "artifact.rs", "host.rs", "outbound/tape.rs", "inbound/sink/", "store/", "cli/"]),
    ("Credential::placement", &["outbound/sign.rs"]),
    ("unsafe", &["artifact.rs"]),
    ("println", &["cli/", "main.rs"]),
    // These panic where standard error cannot be written: see `note!`.
    ("eprint", &[]),
    ("eprintln", &[]),
    // R5: a proxy that nobody configures is not there, and there is no way to configure one.
    ("proxy", &[]),
    ("Proxy", &[]),
    ("danger_", &["policy/serve.rs", "supervisor/console/access.rs"]),
];

/// Below this folder of the host, these words never stand.
const NEVER: &[(&str, &[&str])] = &[
    (
        "outbound/",
        &["wasmtime", "crate::plugin", "crate::capability", "crate::bindings", "crate::engine", "crate::host"],
    ),
    ("auth/", &["tokio", "cap_std", "std::fs", "crate::outbound", "crate::store", "crate::vault", "crate::capability"]),
    ("capability/", &["crate::plugin", "crate::host", "crate::cli", "crate::serve"]),
    ("store/", &["crate::outbound", "crate::capability", "crate::plugin", "wasmtime"]),
    ("vault/", &["tracing", "crate::capability", "crate::plugin", "wasmtime"]),
    ("inbound/", &["wasmtime"]),
    ("error.rs", &["crate::outbound", "crate::plugin", "tokio", "wasmtime"]),
    ("time.rs", &["crate::"]),
    ("", &["crate::main", "wharfage_sdk"]),
];

/// The modules of the host from the bottom up: each knows only those before it. What stands outside is the crate's root,
/// which shows everything, and the program.
const LAYERS: &[&str] = &[
    "text",
    "hex",
    "percent",
    "time",
    "error",
    "random",
    "files",
    "off_stack",
    "limits",
    "ownership",
    "store",
    "mask",
    "schema",
    "auth",
    "component",
    "manifest",
    "account",
    "observe",
    "warm",
    "engine",
    "artifact",
    "drift",
    "vault",
    "outbound",
    "bindings",
    "event",
    "policy",
    "alerts",
    "connection",
    "capability",
    "grant",
    "plugin",
    "inbound",
    "health",
    "explain",
    "serve",
    "host",
    "connect",
    "supervisor",
    "otlp",
    "fuzz",
];

/// Crates that do I/O. Neither the SDK nor a plugin may depend on one.
const IO_CRATES: &[&str] = &[
    "reqwest",
    "hyper",
    "ureq",
    "curl",
    "isahc",
    "axum",
    "tokio",
    "async-std",
    "smol",
    "mio",
    "socket2",
    "rusqlite",
    "sqlx",
    "rustls",
    "native-tls",
    "openssl",
    "wasi",
    "wstd",
    "wharfage",
];

const TOP: &[&str] = &["Cargo.lock", "Cargo.toml", "README.md", "host", "plugins", "sdk", "tests", "wit"];

const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of the repository: its path from the top, and its text where it is text.
struct File {
    path: String,
    bytes: u64,
    text: Option<String>,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The text without comments, without what strings hold, and without the tests at its end.
    fn code(&self) -> String {
        let text = self.text.as_deref().unwrap_or_default();
        bare(text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default())
    }
}

/// Rust without the contents of its comments and strings.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw = rest.strip_prefix('r').filter(|after| after.trim_start_matches('#').starts_with('"'));
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(after) = raw.filter(|_| !out.ends_with(|c: char| c.is_alphanumeric() || c == '_')) {
            let end = format!("\"{}", &after[..after.find('"').unwrap_or(0)]);
            let inside = &after[end.len()..];
            out.push_str("\"\"");
            rest = inside.find(&end).map_or("", |at| &inside[at + end.len()..]);
        } else if c == '"' {
            let mut is_escaped = false;
            let length = rest[1..].find(|c| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            });
            out.push_str("\"\"");
            rest = length.map_or("", |length| &rest[length + 2..]);
        } else if let Some(literal) = ["'\"'", "'\\\"'", "'\\''"].into_iter().find(|literal| rest.starts_with(literal))
        {
            rest = &rest[literal.len()..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Every file that belongs to the repository: what cargo and git make is not.
fn files() -> Vec<File> {
    fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let about = fs::symlink_metadata(&path).unwrap();
            let is_made = matches!(&*name, "target" | ".git" | "proptest-regressions");
            if about.is_symlink() || is_made || (folder == root && is_tried(&name)) {
                continue;
            }
            if about.is_dir() {
                walk(root, &path, files);
            } else {
                let shown = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                files.push(File { path: shown, bytes: about.len(), text: fs::read_to_string(&path).ok() });
            }
        }
    }
    let root = root();
    let mut files = Vec::new();
    walk(&root, &root, &mut files);
    files
}

fn host_files() -> Vec<(String, String)> {
    let files = files().into_iter().filter(File::is_rust);
    files.filter_map(|file| Some((file.path.strip_prefix("host/src/")?.to_owned(), file.code()))).collect()
}

/// Whether `word` stands in `text` by itself and not as a part of a longer word.
fn says(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let begins_open = !word.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let ends_open = word.ends_with(['_', ':']);
    text.match_indices(word).any(|(at, _)| {
        (begins_open || !is_part(text[..at].chars().next_back()))
            && (ends_open || !is_part(text[at + word.len()..].chars().next()))
    })
}

/// Fails with everything that is wrong, not only the first.
fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn who_may_say_what_in_the_host() {
    let mut wrong = Vec::new();
    for (path, code) in host_files() {
        for (word, allowed) in DOORS {
            if says(&code, word) && !allowed.iter().any(|place| path.starts_with(place)) {
                wrong.push(format!("host/src/{path} says `{word}`; only {allowed:?} may"));
            }
        }
        for (place, words) in NEVER.iter().filter(|(place, _)| path.starts_with(place)) {
            for word in words.iter().filter(|word| says(&code, word)) {
                wrong.push(format!("host/src/{path} says `{word}`, which nothing in {place} may"));
            }
        }
    }
    assert_none(wrong);
}

/// No module knows one above it, so there is no circle between any of them.
#[test]
fn the_host_is_built_in_layers() {
    let level = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let mut wrong = Vec::new();
    for (path, code) in host_files() {
        let own = path.split(['/', '.']).next().unwrap_or_default();
        if ["lib", "main", "cli"].contains(&own) {
            continue;
        }
        let Some(at) = level(own) else {
            wrong.push(format!("host/src/{path}: `{own}` has no place in LAYERS"));
            continue;
        };
        wrong.extend(
            LAYERS[at + 1..]
                .iter()
                .filter(|above| says(&code, &format!("crate::{above}")))
                .map(|above| format!("host/src/{path} knows `{above}`, which is above it")),
        );
        // Through the root everything could be reached.
        let roots = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with('$'));
        let of_root = |at: usize| code[at + 7..].starts_with(|c: char| c.is_uppercase() || c == '{' || c == '*');
        wrong.extend(roots.filter(|(at, _)| of_root(*at)).map(|(at, _)| {
            format!("host/src/{path} goes through the root: {}", code[at..].lines().next().unwrap_or_default())
        }));
    }
    assert_none(wrong);
}

#[test]
fn capabilities_do_not_know_each_other() {
    let files = host_files();
    let names: Vec<&str> =
        files.iter().filter_map(|(path, _)| path.strip_prefix("capability/")?.strip_suffix(".rs")).collect();
    let mut wrong = Vec::new();
    for (path, code) in files.iter().filter(|(path, _)| path.starts_with("capability/") && !path.ends_with("mod.rs")) {
        for other in names.iter().filter(|other| !path.ends_with(&format!("/{other}.rs"))) {
            if [format!("super::{other}"), format!("capability::{other}")].iter().any(|word| says(code, word)) {
                wrong.push(format!("host/src/{path} knows the capability `{other}`"));
            }
        }
    }
    assert_none(wrong);
}

/// A provider is one folder. Who greps the host for its name finds nothing, in code, comments or tests.
#[test]
fn nothing_in_the_host_knows_a_provider() {
    let mut wrong = Vec::new();
    assert!(PLUGINS.len() >= 2);
    for file in files().iter().filter(|file| file.path.starts_with("host/") && !file.path.ends_with(".md")) {
        // Where a specification is read is no knowledge of whoever keeps it.
        let text = file.text.as_deref().unwrap_or_default().to_lowercase().replace("<https://github.com/", "<");
        for plugin in PLUGINS {
            for (at, line) in text.lines().enumerate().filter(|(_, line)| line.contains(plugin.name)) {
                wrong.push(format!("{}:{} knows `{}`: {}", file.path, at + 1, plugin.name, line.trim()));
            }
        }
    }
    for file in files().iter().filter(|file| ["wit/", "sdk/"].iter().any(|place| file.path.starts_with(place))) {
        let code = if file.is_rust() { file.code() } else { file.text.clone().unwrap_or_default() };
        for plugin in PLUGINS.iter().filter(|plugin| code.to_lowercase().contains(plugin.name)) {
            wrong.push(format!("{} knows `{}`", file.path, plugin.name));
        }
    }
    assert_none(wrong);
}

/// Whether whoever follows the README has it at the top: it is nobody's to keep.
fn is_tried(name: &str) -> bool {
    name == "wharfage.toml" || name.starts_with("events.jsonl")
}

#[test]
fn what_the_readme_leads_to_is_ignored_by_git() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (readme, ignored) = (read("README.md"), read(".gitignore"));
    for (said, line) in [("> wharfage.toml", "/wharfage.toml"), ("path = \"events.jsonl\"", "/events.jsonl*")] {
        assert!(readme.contains(said) && ignored.lines().any(|ignored| ignored == line), "{line}");
    }
}

#[test]
fn the_top_level_stays_as_it_is() {
    let names: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target" && !is_tried(name))
        .collect();
    let allowed: BTreeSet<String> = TOP.iter().map(|name| (*name).to_owned()).collect();
    let wrong = names.difference(&allowed).map(|name| format!("`{name}` stands at the top"));
    let missing = allowed.difference(&names).map(|name| format!("`{name}` is missing at the top"));
    assert_none(wrong.chain(missing).collect());
}

/// One word, one file name, in every layer.
#[test]
fn every_interface_has_its_file_in_every_layer() {
    let root = root();
    let world = fs::read_to_string(root.join("wit/world.wit")).unwrap();
    let named = |what: &str| -> Vec<String> {
        let lines = world.lines().filter_map(|line| line.trim().strip_prefix(what));
        lines.map(|rest| rest.trim().trim_end_matches(';').to_owned()).collect()
    };
    let (imports, exports) = (named("import "), named("export "));
    assert!(!imports.is_empty() && !exports.is_empty());
    let mut wrong = Vec::new();
    let mut need = |path: String| {
        if !root.join(&path).is_file() {
            wrong.push(format!("{path} is missing"));
        }
    };
    for interface in imports.iter().chain(&exports) {
        need(format!("wit/{interface}.wit"));
        need(format!("sdk/src/{}.rs", interface.replace('-', "_")));
    }
    for interface in &imports {
        need(format!("host/src/capability/{}.rs", interface.replace('-', "_")));
    }
    let list = fs::read_to_string(root.join("host/src/capability/mod.rs")).unwrap();
    let listed: BTreeSet<&str> =
        list.split("capability!(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let imported: BTreeSet<&str> = imports.iter().map(String::as_str).collect();
    for interface in imported.symmetric_difference(&listed) {
        wrong.push(format!("`{interface}` is not both in world.wit and in capability::ALL"));
    }
    for entry in fs::read_dir(root.join("wit")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let interface = name.trim_end_matches(".wit");
        let is_known = imports.iter().chain(&exports).any(|known| known == interface);
        if !is_known && !matches!(interface, "world" | "types") {
            wrong.push(format!("wit/{name} is in no world"));
        }
    }
    assert_none(wrong);
}

/// Every item of the contract says what it is and since when.
#[test]
fn the_contract_is_documented() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path.starts_with("wit/")) {
        let lines: Vec<&str> = file.text.as_deref().unwrap().lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let is_item = ["interface ", "resource ", "record ", "variant ", "enum ", "type ", "world "]
                .iter()
                .any(|word| line.starts_with(word))
                || line.contains(": func(");
            let is_part = !is_item
                && line.ends_with(',')
                && line.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '%');
            if !is_item && !is_part {
                continue;
            }
            let before: Vec<&&str> =
                lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with('@')).collect();
            if !before.iter().any(|line| line.starts_with("///")) {
                wrong.push(format!("{}:{} has no word about `{line}`", file.path, at + 1));
            }
            if is_item
                && !line.starts_with("world")
                && !line.starts_with("interface")
                && !before.iter().any(|line| line.starts_with("@since"))
            {
                wrong.push(format!("{}:{} does not say since when `{line}`", file.path, at + 1));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn a_file_says_first_what_it_is() {
    let wrong = files()
        .into_iter()
        .filter(File::is_rust)
        .filter(|file| {
            let text = file.text.as_deref().unwrap_or_default();
            !text.starts_with("//! ") && !text.starts_with("#![doc = include_str!(")
        })
        .map(|file| format!("{} does not begin with //!", file.path));
    assert_none(wrong.collect());
}

#[test]
fn no_file_is_large_and_no_two_words_for_one_thing() {
    const AVOIDED: [&str; 4] = ["helper", "manager", "util", "utils"];
    let mut wrong = Vec::new();
    for file in files() {
        if file.bytes > FILE_BYTES_MAX {
            wrong.push(format!("{} is {} bytes long", file.path, file.bytes));
        }
        let stem = Path::new(&file.path).file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        if AVOIDED.iter().any(|word| stem.split(['_', '-', '.']).any(|part| part == *word)) {
            wrong.push(format!("{} has a name the dictionary avoids", file.path));
        }
    }
    assert_none(wrong);
}

#[test]
fn only_generated_code_is_unsafe() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() && !file.path.starts_with("host/")) {
        let code = file.code();
        // One reads all of its own memory, which is what it is there for; the other is a guest of Extism, whose host functions
        // are called so.
        let allowed = ["tests/guests/hostile_dumps_memory.rs", "tests/benches/peers/extism/guest/src/lib.rs"];
        if says(&code, "unsafe") && !allowed.contains(&file.path.as_str()) {
            wrong.push(format!("{} says `unsafe`", file.path));
        }
    }
    assert_none(wrong);
}

/// The arrows between the packages: plugins → sdk → wit ← host ← tests.
#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let manifest: toml::Table = file.text.as_deref().unwrap().parse().unwrap();
        let mut names = BTreeSet::new();
        collect_dependencies(&toml::Value::Table(manifest), &mut names);
        let forbidden: Vec<&str> = match file.path.split('/').next().unwrap() {
            "host" => vec!["wharfage-sdk", "wharfage-tests"],
            "sdk" => IO_CRATES.to_vec(),
            "plugins" => IO_CRATES.to_vec(),
            _ => Vec::new(),
        };
        let own_kin = |name: &String| {
            name.starts_with("wharfage-") && !matches!(&**name, "wharfage-sdk") && file.path.starts_with("plugins/")
        };
        wrong.extend(
            names
                .iter()
                .filter(|name| forbidden.contains(&name.as_str()) || own_kin(name))
                .map(|name| format!("{} depends on {name}", file.path)),
        );
    }
    assert_none(wrong);
}

/// The names in every table of dependencies but those for development.
fn collect_dependencies(value: &toml::Value, names: &mut BTreeSet<String>) {
    let Some(table) = value.as_table() else { return };
    for (key, value) in table {
        if key == "dependencies" {
            names.extend(value.as_table().into_iter().flatten().map(|(name, _)| name.clone()));
        } else if key == "target" || value.as_table().is_some_and(|inner| inner.contains_key("dependencies")) {
            collect_dependencies(value, names);
            value.as_table().into_iter().flatten().for_each(|(_, inner)| collect_dependencies(inner, names));
        }
    }
}

/// What the SDK's native kit has of the host's rules, and where they are: it must not depend on the host.
const COPIED: &[(&str, &[&str])] = &[
    ("outbound/path_pattern.rs", &["fn check_path("]),
    (
        "outbound/fields.rs",
        &["fn is_same_header(", "fn is_host_header(", "const HOST_HEADERS:", "const HOST_HEADER_PREFIXES:"],
    ),
    ("mask.rs", &["fn header_is_secret(", "const SECRET_HEADERS:", "const SECRET_ENDS:", "const SECRET_HEADER_ENDS:"]),
    ("text.rs", &["fn is_token("]),
    ("capability/state.rs", &["const KEY_BYTES_MAX:"]),
    ("event.rs", &["const EVENT_NAME_BYTES_MAX:"]),
];

/// A plugin's tests are green where the host would do what they say, and not where it would refuse.
#[test]
fn the_native_kit_has_the_rules_of_the_host_to_the_letter() {
    let copy = fs::read_to_string(root().join("sdk/src/testing/rules.rs")).unwrap();
    let mut wrong = Vec::new();
    for (file, items) in COPIED {
        let text = fs::read_to_string(root().join("host/src").join(file)).unwrap();
        for item in *items {
            let end = if item.starts_with("fn") { "\n}\n" } else { ";\n" };
            let start = text.find(item).unwrap_or_else(|| panic!("{file} has no {item}"));
            let length = text[start..].find(end).unwrap() + end.len();
            if !copy.contains(&text[start..start + length]) {
                wrong.push(format!("sdk/src/testing/rules.rs has another `{item}` than host/src/{file}"));
            }
        }
    }
    let limits = fs::read_to_string(root().join("host/src/limits.rs")).unwrap();
    let copied = copy.lines().filter_map(|line| line.strip_prefix("    (\"")?.strip_suffix("),")?.split_once("\", "));
    let copied: Vec<(&str, &str)> = copied.collect();
    assert_eq!(copied.len(), 7);
    let others = copied.iter().filter(|(name, most)| !limits.contains(&format!("\n    {name}: {most}, \"")));
    wrong.extend(others.map(|(name, _)| format!("sdk/src/testing/rules.rs has another limit {name} than the host")));
    assert_none(wrong);
}

#[test]
fn every_fixture_says_where_it_is_from() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path.contains("/fixtures/") && file.path.ends_with(".json")) {
        let fixture: Value = match serde_json::from_str(file.text.as_deref().unwrap_or_default()) {
            Ok(fixture) => fixture,
            Err(error) => {
                wrong.push(format!("{}: {error}", file.path));
                continue;
            }
        };
        if !matches!(fixture["from"].as_str(), Some("recorded" | "from-spec" | "from-docs")) {
            wrong.push(format!("{}: `from` is recorded, from-spec or from-docs", file.path));
        }
        if fixture["source"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("{}: `source` is missing", file.path));
        }
        let date = fixture["date"].as_str().unwrap_or_default();
        let is_date = date.len() == 10
            && date.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
        if !is_date {
            wrong.push(format!("{}: `date` is YYYY-MM-DD", file.path));
        }
    }
    assert_none(wrong);
}

/// A plugin's folder reads like every other's.
#[test]
fn every_plugin_folder_has_what_it_must() {
    let mut wrong = Vec::new();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for plugin in PLUGINS {
        for name in ["Cargo.toml", "plugin.toml", "README.md", "src/lib.rs", "fixtures", "demo.toml"] {
            if !Path::new(plugin.folder).join(name).exists() {
                wrong.push(format!("plugins/{} has no {name}", plugin.name));
            }
        }
        let manifest: toml::Table = plugin.manifest().parse().unwrap();
        let row = format!("| [`{0}`](plugins/{0}/README.md) |", plugin.name);
        if !readme.contains(&row) {
            wrong.push(format!("README.md has no row that begins with {row}"));
        }
        if manifest["plugin"]["name"].as_str() != Some(plugin.name) {
            wrong.push(format!("plugins/{} calls itself {}", plugin.name, manifest["plugin"]["name"]));
        }
    }
    let listed = fs::read_dir(root().join("plugins"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().join("Cargo.toml").is_file());
    assert_eq!(listed.count(), PLUGINS.len(), "a plugin was added after the last build; build again");
    assert_none(wrong);
}

/// Who reads how a plugin was tried reads the truth.
#[test]
fn the_readmes_count_the_fixtures_that_are_there() {
    let files = files();
    let text = |path: &str| files.iter().find(|file| file.path == path).and_then(|file| file.text.as_deref()).unwrap();
    let mut wrong = Vec::new();
    for plugin in PLUGINS {
        let folder = format!("plugins/{}/fixtures/", plugin.name);
        let fixtures = files.iter().filter(|file| file.path.starts_with(&folder) && file.path.ends_with(".json"));
        let from: Vec<Value> = fixtures
            .filter_map(|file| serde_json::from_str::<Value>(file.text.as_deref()?).ok())
            .map(|fixture| fixture["from"].clone())
            .collect();
        let count = |kind: &str| from.iter().filter(|from| **from == kind).count();
        let kinds = ["recorded", "from-spec", "from-docs"].map(|kind| (count(kind), kind));
        let kinds: Vec<String> =
            kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}")).collect();
        let told = format!("| {} fixtures ({})", from.len(), kinds.join(", "));
        let row = format!("| [`{}`](", plugin.name);
        if !text("README.md").lines().any(|line| line.starts_with(&row) && line.contains(&told)) {
            wrong.push(format!("README.md does not say of {}: {told}", plugin.name));
        }
        let own = format!("plugins/{}/README.md", plugin.name);
        let counted = text(&own).lines().filter_map(|line| line.split_once(" fixtures")?.0.parse::<usize>().ok());
        let others = counted.filter(|count| *count != from.len());
        wrong.extend(others.map(|count| format!("{own} says {count} fixtures; there are {}", from.len())));
    }
    assert_none(wrong);
}

/// A text without its blocks of code, where `#` begins a comment.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// What a link to this heading ends with.
fn anchor(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Each names a file that is there, and a heading of it where it names one.
#[test]
fn every_link_between_texts_leads_somewhere() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with(".md")) {
        let here = root().join(&file.path);
        let text = prose(file.text.as_deref().unwrap());
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("https://")) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let there = if path.is_empty() { here.clone() } else { here.parent().unwrap().join(path) };
            let has = |text: String| prose(&text).lines().any(|line| is_heading(line, heading));
            let is_right = there.exists() && (heading.is_empty() || fs::read_to_string(&there).is_ok_and(has));
            if !is_right {
                wrong.push(format!("{}: `{link}` leads nowhere", file.path));
            }
        }
    }
    assert_none(wrong);
}

/// Whether this line is the heading that a link with this end leads to.
fn is_heading(line: &str, end: &str) -> bool {
    line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == end
}

/// What is not found by its contents is not found.
#[test]
fn the_contents_of_the_manual_name_every_section() {
    let manual = fs::read_to_string(root().join("host/MANUAL.md")).unwrap();
    let contents = manual.split("\n## ").next().unwrap();
    let text = prose(&manual);
    let sections = text.lines().filter_map(|line| line.strip_prefix("## "));
    let missing = sections.filter(|section| !contents.contains(&format!("(#{})", anchor(section))));
    assert_none(missing.map(|section| format!("the manual's contents do not name {section}")).collect());
}

/// What a newcomer copies: the block of this kind in what the README says of writing a plugin, counted from 1.
fn block(kind: &str, number: usize) -> String {
    block_of("README.md", "Writing a plugin", kind, number)
}

fn block_of(file: &str, section: &str, kind: &str, number: usize) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let section = text.split(&format!("\n## {section}\n")).nth(1).unwrap();
    let from = section.split(&format!("```{kind}\n")).nth(number).unwrap();
    from.split("```").next().unwrap().to_owned()
}

/// What the manual writes into a `plugin.toml`: a trigger with its event, a budget, and what an answer means.
pub(crate) fn manifest_of_the_manual() -> String {
    ["Triggers in a plugin", "Plugins in depth"].map(|section| block_of("host/MANUAL.md", section, "toml", 1)).concat()
}

#[test]
fn the_smallest_manifest_of_the_readme_is_one() {
    wharfage::Manifest::parse(&block("toml", 2)).unwrap();
}

/// `newcomer.rs` is what the README has for `src/lib.rs`, so that it compiles.
#[test]
fn the_plugin_of_the_readme_is_one_and_plays_its_fixture() {
    assert_eq!(block("rust,ignore", 1), fs::read_to_string(root().join("tests/all/newcomer.rs")).unwrap());
    wharfage_sdk::testing::replay(&block("toml", 2), crate::newcomer::OPERATIONS, &block("json", 1));
}

/// `newcomer_events.rs` is what the manual has for `src/events.rs`, so that it compiles; its own test plays it.
#[test]
fn the_trigger_of_the_manual_is_one() {
    wharfage::Manifest::parse(&manifest_of_the_manual()).unwrap();
    let told = block_of("host/MANUAL.md", "Triggers in a plugin", "rust,ignore", 1);
    let told = told.replace("include_str!(\"../plugin.toml\")", "&crate::tidy::manifest_of_the_manual()");
    assert_eq!(told, fs::read_to_string(root().join("tests/all/newcomer_events.rs")).unwrap());
}

/// It stands by itself outside of this repository, and asks for what the plugins here ask for.
#[test]
fn the_cargo_toml_of_the_readme_needs_no_workspace() {
    let text = block("toml", 1);
    let own: toml::Table = text.parse().unwrap();
    let table = |path: &str| -> toml::Table { fs::read_to_string(root().join(path)).unwrap().parse().unwrap() };
    let ours = &table("Cargo.toml")["workspace"];
    assert_eq!(own["package"]["edition"], ours["package"]["edition"]);
    let plugin = Path::new(PLUGINS[0].folder).join("Cargo.toml");
    assert_eq!(own["lib"], fs::read_to_string(plugin).unwrap().parse::<toml::Table>().unwrap()["lib"]);
    let dependencies = own["dependencies"].as_table().unwrap();
    for (name, wanted) in dependencies.iter().filter(|(name, _)| *name != "wharfage-sdk") {
        assert_eq!(*wanted, ours["dependencies"][name.as_str()], "{name}");
    }

    let sdk = dependencies["wharfage-sdk"]["path"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/lib.rs"), "").unwrap();
    let here = text.replace(sdk, &root().join("sdk").display().to_string());
    fs::write(folder.path().join("Cargo.toml"), here).unwrap();
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(folder.path());
    let read = cargo.output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

/// A promise whose test was renamed or taken away is a promise of nobody.
#[test]
fn every_test_that_the_threat_model_names_exists() {
    let files = files();
    let model = files.iter().find(|file| file.path == ".github/SECURITY.md").and_then(|file| file.text.as_deref());
    let model = model.expect("there is a threat model");
    let is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    let named: BTreeSet<(&str, &str)> = model
        .split('`')
        .filter_map(|word| word.split_once("::"))
        .filter(|(module, test)| module.split('/').all(is_name) && is_name(test))
        .collect();
    assert!(named.len() > 100, "only {} tests are named", named.len());
    let attacks =
        files.iter().find(|file| file.path == "tests/hostile/forged.rs").and_then(|file| file.text.as_deref());
    let is_attack = |test: &str| {
        let guest = format!("tests/guests/{test}.rs");
        files.iter().any(|file| file.path == guest) || attacks.is_some_and(|text| says(text, test))
    };
    let exists = |module: &str, test: &str| {
        // These are made from a table.
        if module == "hostile" && is_attack(test) {
            return true;
        }
        let declared = format!("fn {test}(");
        let here = ["tests/all", "host/src"].map(|folder| format!("{folder}/{module}"));
        files.iter().any(|file| {
            let is_there = here.iter().any(|path| {
                file.path.strip_prefix(path.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
            is_there && file.text.as_deref().is_some_and(|text| text.contains(&declared))
        })
    };
    let missing = named.into_iter().filter(|(module, test)| !exists(module, test));
    assert_none(
        missing.map(|(module, test)| format!("SECURITY.md names {module}::{test}, which does not exist")).collect(),
    );
}

/// Every lesson that others' bugs taught has its row.
#[test]
fn every_lesson_has_its_row_in_the_threat_model() {
    let model = fs::read_to_string(root().join(".github/SECURITY.md")).unwrap();
    let missing = (1..=25).filter(|lesson| !model.contains(&format!("| L{lesson} |")));
    assert_none(missing.map(|lesson| format!("SECURITY.md has no row L{lesson}")).collect());
}

/// S41 of the guide is about its own language.
#[test]
fn each_rule_and_each_defect_of_the_guide_has_a_test_of_its_name() {
    let files = files();
    let is_there = |name: &String| {
        let declared = format!("fn {name}");
        files.iter().any(|file| file.is_rust() && file.text.as_deref().is_some_and(|text| text.contains(&declared)))
    };
    let rules = (1..=24).map(|rule| format!("r{rule}_"));
    let defects = (1..=43).filter(|defect| *defect != 41).map(|defect| format!("guide_s{defect:02}_"));
    let missing = rules.chain(defects).filter(|name| !is_there(name));
    assert_none(missing.map(|name| format!("no test is named {name}…")).collect());
}

/// What must not be told outside stays outside: paths of the machines this was written on.
#[test]
fn no_file_names_a_machine() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path != "Cargo.lock") {
        for word in [concat!("/wo", "rk/main"), concat!("/wo", "rk/shared"), concat!("/Us", "ers/")] {
            if file.text.as_deref().is_some_and(|text| text.contains(word)) {
                wrong.push(format!("{} says `{word}`", file.path));
            }
        }
    }
    assert_none(wrong);
}

/// Nor does a component: where its parts were compiled shows in the messages of panics.
#[test]
fn no_component_tells_where_it_was_built() {
    let home = std::env::home_dir().unwrap();
    let homes = [home.display().to_string(), root().display().to_string(), ".cargo/registry".to_owned()];
    for plugin in PLUGINS {
        let (component, _) = plugin.compiled();
        for word in &homes {
            let is_there = component.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(!is_there, "the component of {} says {word}", plugin.name);
        }
    }
}

#[test]
fn the_checks_themselves_see() {
    assert!(says("use reqwest::Client;", "reqwest") && !says("my_reqwest", "reqwest") && says("a.Instant", "Instant"));
    assert!(
        !says("Instantly", "Instant") && says("crate::plugin::x", "crate::plugin") && !says("unsafe_code", "unsafe")
    );
    assert_eq!(bare("let a = \"http://x\\\"\"; // reqwest\nb('\"', r#\"c\"d\"#)"), "let a = \"\"; \nb(, \"\")");
}
