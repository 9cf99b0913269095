//! The program with a real plugin behind it: what a pipe gets, what a person is told, and the exit code.
//!
//! The program is the one that this test run has built; `host/tests/cli.rs` sees to it that there is one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use wharfage::stand_in::{Manner, StandIn};
use wharfage::tape::Fixture;
use wharfage::{Digest, Needs};
use wharfage_tests::fixture::{Theatre, compare};
use wharfage_tests::{PLUGINS, PluginFolder, Provider, Reply, Scene, component, guests, until};

/// A folder with a component, a key and a `wharfage.toml` that leads to a stand-in.
pub(crate) struct Setup {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) needs: Needs,
    pub(crate) stand_in: StandIn,
    pub(crate) fixture: Fixture,
}

pub(crate) const KEY: &str = "a-key-for-the-command-line-only";

impl Setup {
    /// For a fixture of a plugin that has one: a list over several pages that succeeds.
    pub(crate) async fn of(plugin: &PluginFolder) -> Option<Self> {
        let bytes = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
        let needs = Needs::read(&bytes).unwrap();
        // It has keys, and nobody to sign in.
        if plugin.manifest().contains("scheme = \"oauth2\"") {
            return None;
        }
        let files = std::fs::read_dir(Path::new(plugin.folder).join("fixtures")).unwrap();
        let mut fixtures: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
        fixtures.sort();
        let fixture = fixtures
            .iter()
            .map(|path| Fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap())
            .find(|fixture| fixture.expect.pages.is_some_and(|pages| pages > 1) && fixture.expect.error.is_none())?;
        let manner = Manner::default().repeating().signed_with(KEY);
        let stand_in = StandIn::start(fixture.exchanges.clone(), manner).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
        let setup = Self { folder, needs, stand_in, fixture };
        setup.write_config(&Digest::of(&bytes).to_string());
        Some(setup)
    }

    /// For the first plugin that has one; what is done for each that has one is done for this one at least.
    async fn first() -> Self {
        for plugin in PLUGINS {
            if let Some(setup) = Self::of(plugin).await {
                return setup;
            }
        }
        panic!("no plugin has a desk");
    }

    fn write_config(&self, digest: &str) {
        self.write_config_with(digest, "{ env = 'DESK_KEY' }");
    }

    /// With another source of every secret.
    pub(crate) fn write_config_with(&self, digest: &str, source: &str) {
        let mut text = format!("[plugins.p]\ncomponent = 'plugin.wasm'\ndigest = '{digest}'\n[accounts.a.secrets]\n");
        for name in self.needs.manifest.secrets.keys() {
            text += &format!("{name} = {source}\n");
        }
        text += "[connections.desk]\nplugin = 'p'\naccount = 'a'\nprivate_addresses = ['127.0.0.1/32']\n";
        let secrets: Vec<String> = self.needs.manifest.secrets.keys().map(|name| format!("'{name}'")).collect();
        let imports: Vec<String> = self.needs.imports.iter().map(|name| format!("'{name}'")).collect();
        text += &format!("secrets = [{}]\nimports = [{}]\n", secrets.join(", "), imports.join(", "));
        text += &format!("origins = ['{}']\n[connections.desk.base]\n", self.stand_in.origin());
        for name in self.needs.manifest.origins.keys() {
            text += &format!("{name} = '{}'\n", self.stand_in.base(name));
        }
        std::fs::write(self.folder.path().join("wharfage.toml"), text).unwrap();
    }

    /// Runs the program here, while the stand-in goes on answering.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(arguments, "").await
    }

    /// With something on standard input.
    pub(crate) async fn run_with(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut command = Command::new(program());
        command.args(arguments).args(["--state-dir", "state"]).current_dir(self.folder.path());
        command.env("NO_COLOR", "1").env("DESK_KEY", KEY);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = move || {
            let mut child = command.spawn().unwrap();
            // Who reads nothing has ended before all of it was written.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        };
        said(&tokio::task::spawn_blocking(run).await.unwrap())
    }
}

/// Runs the program in a folder, with its state in it; exit code and what it printed.
pub(crate) fn wharfage(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    ended(Command::new(program()).args(arguments).current_dir(folder).arg("--state-dir").arg(folder.join("state")))
}

/// Runs a program to its end, without colours.
pub(crate) fn ended(command: &mut Command) -> (i32, String, String) {
    said(&command.env("NO_COLOR", "1").output().unwrap())
}

/// Exit code and what was printed.
pub(crate) fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The program beside this test's own.
pub(crate) fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let program = own.parent().and_then(Path::parent).unwrap().join("wharfage");
    assert!(program.is_file(), "{} is missing: run cargo test --workspace, which builds it", program.display());
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_gets_json_lines_of_every_page_and_no_key() {
    for plugin in PLUGINS {
        let Some(setup) = Setup::of(plugin).await else { continue };
        let input = setup.fixture.input.get();
        let (code, out, err) = setup.run(&["call", "desk", &setup.fixture.operation, "--input", input, "--all"]).await;
        assert_eq!(code, 0, "{err}");
        let items: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(serde_json::Value::Array(items), setup.fixture.expect.output_value().unwrap());
        assert!(!out.contains(KEY) && !err.contains(KEY));
        assert!(setup.stand_in.seen().iter().all(|seen| seen.is_signed), "a request left without its credential");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_ends_a_list_and_tells_how_to_go_on() {
    for plugin in PLUGINS {
        let Some(setup) = Setup::of(plugin).await else { continue };
        let (operation, input) = (setup.fixture.operation.as_str(), setup.fixture.input.get());
        let (code, out, err) = setup.run(&["call", "desk", operation, "--input", input, "--limit", "1"]).await;
        assert_eq!((code, out.lines().count()), (0, 1), "{err}");
        assert!(!setup.stand_in.unused().is_empty(), "one item was asked for and every page was read");
        let cursor = err.split("--cursor ").nth(1).unwrap().split_whitespace().next().unwrap();
        let (code, rest, err) = setup.run(&["call", "desk", operation, "--input", input, "--cursor", cursor]).await;
        assert_eq!(code, 0, "{err}");
        assert!(!rest.is_empty() && rest.lines().next() != out.lines().next());
        let (code, _, err) = setup.run(&["call", "desk", operation, "--input", input, "--cursor", "AAAA"]).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("cursor-invalid"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_is_not_the_pinned_one_is_refused() {
    let setup = Setup::first().await;
    setup.write_config(&format!("sha256:{}", "0".repeat(64)));
    let (code, out, err) = setup.run(&["call", "desk", &setup.fixture.operation]).await;
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("is not the pinned one") && err.contains("digest = \"sha256:"), "{err}");
    assert!(setup.stand_in.seen().is_empty());
}

/// Hexadecimal digits are the same in any case of letters, for who loads and for who explains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_in_capitals_is_the_same_pin() {
    let setup = Setup::first().await;
    let digest = Digest::of(&std::fs::read(setup.folder.path().join("plugin.wasm")).unwrap()).to_string();
    setup.write_config(&digest.to_uppercase());
    let (code, out, err) = setup.run(&["explain", "desk"]).await;
    assert!(code == 0 && out.contains(&format!("\nPinned: {digest}")), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suggested_lines_are_enough() {
    let setup = Setup::first().await;
    let (code, lines, err) = setup.run(&["explain", "--suggest", "plugin.wasm"]).await;
    assert_eq!(code, 0, "{err}");
    std::fs::write(setup.folder.path().join("wharfage.toml"), lines).unwrap();
    let name = setup.needs.manifest.plugin.name.clone();
    let (code, out, err) = setup.run(&["explain", &name]).await;
    assert_eq!(code, 0, "{err}");
    assert!(!out.contains("Not granted") && out.contains("Pinned:"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_recorded_and_replayed_without_its_provider() {
    for plugin in PLUGINS {
        let Some(setup) = Setup::of(plugin).await else { continue };
        let theatre = Theatre::of(*plugin).await;
        let (operation, input) = (setup.fixture.operation.as_str(), setup.fixture.input.get());
        let run = async |target: &str, more: &[&str]| {
            let arguments = ["call", target, operation, "--input", input];
            setup.run(&arguments.iter().chain(more).copied().collect::<Vec<_>>()).await
        };
        let read = |name: &str| std::fs::read_to_string(setup.folder.path().join(name)).unwrap();

        let (code, live, err) = run("desk", &["--all", "--record", "tape.json"]).await;
        assert_eq!(code, 0, "{err}");
        assert!(err.contains("on tape: tape.json"), "{err}");
        let text = read("tape.json");
        assert!(!text.contains(KEY) && text.contains("\"recorded\""), "{text}");
        // It is a fixture like any other.
        let (fixture, played) = theatre.replay(&text).await;
        assert_eq!((compare(&fixture.expect, &played), played.troubles), (Ok(()), Vec::new()));

        // What is there is not replaced unasked.
        let asked = setup.stand_in.seen().len();
        let (code, _, err) = run("desk", &["--record", "tape.json"]).await;
        assert_eq!((code, setup.stand_in.seen().len()), (2, asked), "{err}");
        assert!(err.contains("is there already") && err.contains("--force") && err.contains("--record-new"), "{err}");
        let (code, ..) = run("desk", &["--all", "--record", "tape.json", "--force"]).await;
        assert_eq!((code, setup.stand_in.seen().len()), (0, 2 * asked));

        // Neither wharfage.toml nor key nor provider.
        let (code, out, err) = run("plugin.wasm", &["--all", "--replay", "tape.json"]).await;
        assert_eq!((code, out.as_str(), setup.stand_in.seen().len()), (0, live.as_str(), 2 * asked), "{err}");
        let (code, _, err) = run("desk", &["--replay", "tape.json"]).await;
        assert_eq!(code, 0, "{err}");
        assert!(err.contains("on the tape not asked for"), "{err}");

        // One page is recorded as a list that goes on; what is missing of the rest is told, and added when asked to.
        let (code, _, err) = run("desk", &["--record", "first.json"]).await;
        assert_eq!(code, 0, "{err}");
        let (fixture, played) = theatre.replay(&read("first.json")).await;
        assert!(fixture.expect.goes_on && fixture.expect.pages == Some(1));
        assert_eq!((compare(&fixture.expect, &played), played.troubles), (Ok(()), Vec::new()));
        let (code, _, err) = run("desk", &["--all", "--replay", "first.json"]).await;
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("which is not on the tape first.json") && err.contains("--record-new"), "{err}");
        let (code, out, err) = run("desk", &["--all", "--record-new", "first.json"]).await;
        assert_eq!((code, out.as_str()), (0, live.as_str()), "{err}");
        let (fixture, played) = theatre.replay(&read("first.json")).await;
        assert!(!fixture.expect.goes_on && fixture.expect.pages > Some(1));
        assert_eq!((compare(&fixture.expect, &played), played.troubles), (Ok(()), Vec::new()));
    }
}

/// Nothing is taken that would be kept nowhere, and nothing that lies elsewhere is said not to be there.
#[test]
fn without_a_state_folder_nothing_is_served_and_nothing_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[plugins.gone]\ncomponent = 'gone.wasm'\n[connections.acme]\nplugin = 'gone'\n";
    std::fs::write(folder.path().join("wharfage.toml"), config).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program());
        for variable in ["HOME", "XDG_STATE_HOME", "WHARFAGE_STATE_DIR"] {
            command.env_remove(variable);
        }
        ended(command.args(arguments).current_dir(folder.path()))
    };
    for arguments in [
        &["serve"][..],
        &["events", "list"],
        &["events", "dead"],
        &["audit"],
        &["alerts", "firing"],
        &["health"],
        &["connect", "acme"],
        &["disconnect", "acme"],
        &["secret", "list"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (3, ""), "{arguments:?}: {err}");
        assert!(err.contains("there is no state folder") && err.contains("--state-dir FOLDER"), "{arguments:?}: {err}");
    }
    for arguments in
        [&["alerts", "list"][..], &["call", "acme", "x"], &["check", "gone.wasm"], &["inspect", "gone.wasm"]]
    {
        let (_, _, err) = run(arguments);
        assert!(!err.contains("state folder"), "{arguments:?}: {err}");
    }
}

/// How an answer differs from its schema is told beside it, once for each place, and the answer is whole all the same.
#[test]
fn drift_is_told_beside_the_answer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bytes = runtime.block_on(Scene::of(guests::OPERATIONS_DRIFT).component());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
    let config = "[plugins.p]\ncomponent = 'plugin.wasm'\n[connections.desk]\nplugin = 'p'\nimports = ['http']\n";
    for (policy, expected) in [("warn", 0), ("strict", 5), ("off", 0)] {
        std::fs::write(folder.path().join("wharfage.toml"), format!("{config}drift = '{policy}'\n")).unwrap();
        let answer = r#"[{"id":"1"},{"id":2},{"id":3,"new":1.10}]"#;
        let input = serde_json::json!({"answer": answer}).to_string();
        let (code, out, err) = wharfage(folder.path(), &["call", "desk", "orders.list", "--input", &input]);
        assert_eq!(code, expected, "{err}");
        assert_eq!(out.contains("1.10"), policy != "strict", "{out}");
        let told = ["drift: orders.list /id type, 2 times", "drift: orders.list /new new, once"];
        assert_eq!(told.iter().all(|line| err.contains(line)), policy != "off", "{err}");
    }
}

/// A folder with a guest that sends what it is told.
async fn sending() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let bytes = Scene::of(guests::HTTP_SEND).component().await;
    std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
    folder
}

/// What it was asked for may have been done, and whoever breaks it off learns that; what it did is in the audit trail.
#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_breaks_a_call_off_and_says_what_may_have_been_done() {
    let provider = Provider::scripted([Reply::never()]).await;
    let folder = sending().await;
    let config = format!(
        "[plugins.p]\ncomponent = 'plugin.wasm'\n[accounts.a.secrets]\napi_key = {{ env = 'DESK_KEY' }}\n\
         [connections.desk]\nplugin = 'p'\naccount = 'a'\nimports = ['http']\nsecrets = ['api_key']\n\
         private_addresses = ['127.0.0.1/32']\norigins = ['{url}']\nbase = {{ api = '{url}' }}\n",
        url = provider.url()
    );
    std::fs::write(folder.path().join("wharfage.toml"), config).unwrap();
    for (number, (operation, writes)) in [("send", false), ("write", true)].into_iter().enumerate() {
        let mut command = tokio::process::Command::new(program());
        command.args(["call", "desk", operation, "--input", r#"{"method": "POST", "url": "{api}/x"}"#]);
        command.args(["--state-dir", "state"]).current_dir(folder.path()).kill_on_drop(true);
        command.env("NO_COLOR", "1").env("DESK_KEY", KEY).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        until!(provider.count() > number);
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let (code, out, err) = said(&child.wait_with_output().await.unwrap());
        assert!((code, out.as_str()) == (130, "") && err.contains("interrupted"), "{code} {out} {err}");
        assert_eq!(err.contains("may have been done"), writes, "{err}");
    }
    let (code, out, err) = wharfage(folder.path(), &["audit", "--json"]);
    assert_eq!((code, out.matches(r#""error":"cancelled""#).count()), (0, 2), "{out} {err}");
}

#[tokio::test]
async fn what_would_be_passed_over_is_refused() {
    let folder = sending().await;
    for (more, told) in [
        (&["--cursor", "AAAA"][..], "send is no list, and --cursor is for lists"),
        (&["--set", "a=1", "--set", "a=2"], "--set a stands twice"),
        (&["--set", "=1"], "write KEY=VALUE"),
    ] {
        let arguments = [&["call", "plugin.wasm", "send", "--grant-needs"][..], more].concat();
        let (code, _, err) = wharfage(folder.path(), &arguments);
        assert!(code == 2 && err.contains(told), "{more:?}: {code} {err}");
    }
    // One answer is every page, and at most so many items.
    let (_, _, err) =
        wharfage(folder.path(), &["call", "plugin.wasm", "send", "--grant-needs", "--limit", "1", "--all"]);
    assert!(!err.is_empty() && !err.contains("for lists"), "{err}");
    let config = "[plugins.p]\ncomponent = 'plugin.wasm'\n[accounts.a.secrets]\napi_key = { sealed = true }\n\
                  [connections.desk]\nplugin = 'p'\naccount = 'a'\nsecrets = ['api_key']\n";
    std::fs::write(folder.path().join("wharfage.toml"), config).unwrap();
    // Nothing is on standard input.
    let (code, _, err) = wharfage(folder.path(), &["secret", "set", "desk", "api_key"]);
    assert!(code == 2 && err.contains("the value of api_key is empty"), "{code} {err}");
    // What is read of it ends within a letter.
    let long = folder.path().join("long.txt");
    std::fs::write(&long, "é".repeat(40_000)).unwrap();
    let mut command = Command::new(program());
    command.args(["secret", "set", "desk", "api_key", "--state-dir", "state"]).current_dir(folder.path());
    let (code, _, err) = ended(command.stdin(std::fs::File::open(&long).unwrap()));
    assert!(code == 2 && err.contains("is longer than 65536 bytes"), "{code} {err}");
}

/// What another language's tool made may bear the plugin's name already.
#[test]
fn a_component_is_not_written_over_by_what_is_built_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::of(guests::STATE_ROUNDTRIP);
    let name = wharfage::Manifest::parse(scene.manifest_text()).unwrap().plugin.name;
    let (component, compiled) = (format!("{name}.wasm"), scene.compiled());
    std::fs::write(folder.path().join(&component), &compiled).unwrap();
    std::fs::write(folder.path().join("plugin.toml"), scene.manifest_text()).unwrap();
    let build = |more: &[&str]| {
        let first = ["build", "--component", component.as_str()];
        wharfage(folder.path(), &first.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let (code, out, err) = build(&[]);
    assert!(code == 1 && out.is_empty() && err.contains("--out FILE"), "{code} {out} {err}");
    let (code, _, err) = build(&["--out", "built.wasm"]);
    assert!(code == 0 && folder.path().join("built.wasm").is_file(), "{err}");
    assert!(std::fs::read(folder.path().join(&component)).unwrap() == compiled, "it was written over");
}

/// A plugin's folder may state a toolchain of its own, so the target is looked for where it is compiled; and what cargo
/// cannot read is not said to be no package.
#[cfg(unix)]
#[test]
fn a_plugin_is_built_by_the_toolchain_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    // What stands in for the tools is written by a program that ends: of a file that is open elsewhere none could be made.
    let tools = r#"
        mkdir tools plugin plugin/libdir
        cat > tools/rustc <<'END'
#!/bin/sh
echo "$PWD/libdir"
END
        cat > tools/rustup <<'END'
#!/bin/sh
echo rustup was run; exit 1
END
        cat > tools/cargo <<'END'
#!/bin/sh
[ "$1" = metadata ] && [ -e readable ] && echo '{"target_directory": "target"}'
END
        chmod +x tools/rustc tools/rustup tools/cargo"#;
    assert!(Command::new("/bin/sh").args(["-c", tools]).current_dir(folder.path()).status().unwrap().success());
    let plugin = folder.path().join("plugin");
    std::fs::write(plugin.join("plugin.toml"), Scene::of(guests::STATE_ROUNDTRIP).manifest_text()).unwrap();
    let build = || {
        let mut build = Command::new(program());
        build.args(["build", "plugin", "--state-dir", "state"]).current_dir(folder.path());
        ended(build.env("PATH", folder.path().join("tools")))
    };
    let (code, _, err) = build();
    assert!(code == 1 && err.contains("cargo cannot read the package in plugin"), "{code} {err}");
    std::fs::write(plugin.join("readable"), "").unwrap();
    let (code, out, err) = build();
    assert!(code == 1 && err.contains("does not compile") && !(out + &err).contains("rustup"), "{code} {err}");
}

/// A file goes in piece by piece and comes out whole or not at all, and nothing that is there is replaced.
#[tokio::test]
async fn files_are_handed_over_and_saved_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = Scene::of(guests::FILES_ROUNDTRIP).component().await;
    std::fs::write(folder.path().join("guest.wasm"), bytes.as_slice()).unwrap();
    std::fs::write(folder.path().join("in.txt"), "hello").unwrap();
    let run = |save: &str| {
        let arguments = ["call", "guest.wasm", "copy", "--grant-needs", "--file", "name=in.txt", "--save", save];
        let (code, _, err) = wharfage(folder.path(), &arguments);
        (code == 0, err)
    };
    let (is_well, err) = run("to=out.txt");
    assert!(is_well, "{err}");
    assert_eq!(std::fs::read_to_string(folder.path().join("out.txt")).unwrap(), "hello");
    let (is_well, err) = run("to=out.txt");
    assert!(!is_well && err.contains("out.txt is there already"), "{err}");
    // The plugin wants to write another than the one that is taken.
    let (is_well, err) = run("other=late.txt");
    assert!(!is_well && err.contains("--save"), "{err}");
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("late")), "{names:?}");
}
