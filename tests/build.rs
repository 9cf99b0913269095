//! Builds every plugin and every guest as a component, and writes down where they are.
//!
//! One inner `cargo build` makes them all, in a target folder of its own below the outer one, with an environment in
//! which nothing of the outer build is left: flags, wrappers and job servers of `cargo clippy` or a coverage run are not
//! for WebAssembly. What comes out are the compiler's components; manifest and operations are written into them when a
//! test starts, through the same public function that `wharfage build` uses.
//!
//! Written to `OUT_DIR/built.rs`: a constant per guest, a macro per suite that names its guests, and the plugins. Plugins
//! are found by listing their folder, guests by listing theirs, so neither is ever named here.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "plugin";
/// What makes components smaller in the linker, as `wharfage build` says it.
const FLAGS: [&str; 2] = ["-Clink-arg=--compress-relocations", "-Crelocation-model=static"];

fn main() {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = here.parent().unwrap_or_else(|| panic!("{} has no parent", here.display())).to_owned();
    let plugins = folders_with_manifest(&root.join("plugins"));
    let guests = guests(&here.join("guests"));

    for path in ["Cargo.toml", "Cargo.lock", "wit", "sdk/src", "sdk/Cargo.toml", "tests/guests"] {
        watch(&root.join(path));
    }
    for plugin in &plugins {
        for path in ["src", "Cargo.toml", "plugin.toml"] {
            watch(&plugin.join(path));
        }
    }

    ensure_target();
    let built = build(&root, &plugins);
    let components = build_again(&root, &plugins);
    let text = written(&root, &plugins, &guests, &built, &components);
    let path = PathBuf::from(variable("OUT_DIR")).join("built.rs");
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A variable that cargo sets for build scripts.
#[allow(clippy::disallowed_methods, reason = "a build script has no other way to hear of cargo")]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn watch(path: &Path) {
    println!("cargo:rerun-if-changed={}", path.display());
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn folders_with_manifest(folder: &Path) -> Vec<PathBuf> {
    listed(folder).into_iter().filter(|path| path.join("Cargo.toml").is_file()).collect()
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The guests by their files. Each needs its row in the package's manifest, for its kind cannot be guessed by cargo.
fn guests(folder: &Path) -> Vec<String> {
    let rows =
        fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_else(|error| panic!("guests/Cargo.toml: {error}"));
    let files = listed(folder).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let guests: Vec<String> = files.map(|path| name_of(&path)).collect();
    for guest in &guests {
        let row = format!("name = \"{guest}\"");
        assert!(
            rows.contains(&row),
            "tests/guests/{guest}.rs has no [[example]] with {row} in tests/guests/Cargo.toml"
        );
    }
    guests
}

/// Adds the target where it is missing, saying so.
fn ensure_target() {
    let rustc = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let folder = rustc.ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
    if folder.is_some_and(|folder| folder.is_dir()) {
        return;
    }
    println!("cargo:warning=the target {TARGET} is not installed; running: rustup target add {TARGET}");
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    assert!(
        added.is_ok_and(|status| status.success()),
        "components are built for {TARGET}, which could not be installed. Run: rustup target add {TARGET}"
    );
}

/// What one inner build made: the files by the folder of their package and the name of their target.
fn build(root: &Path, plugins: &[PathBuf]) -> BTreeMap<(PathBuf, String), PathBuf> {
    let mut cargo = Command::new(variable("CARGO"));
    clean(&mut cargo);
    cargo
        .current_dir(root)
        .args(["--config", &flags()])
        .args(["build", "--target", TARGET, "--profile", PROFILE, "--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target_folder())
        .args(["--package", "wharfage-guests", "--features", "wharfage-guests/guest", "--lib", "--examples"]);
    for id in package_ids(root, plugins) {
        cargo.arg("--package").arg(id);
    }
    artifacts(&said(&mut cargo)).collect()
}

/// The plugins once more, as `wharfage build` compiles them the second time: by themselves, so that each is optimised as a
/// whole, and without the code that makes schemas, which the first ones told.
fn build_again(root: &Path, plugins: &[PathBuf]) -> BTreeMap<(PathBuf, String), PathBuf> {
    let built = plugins.iter().zip(package_ids(root, plugins)).flat_map(|(plugin, id)| {
        let mut cargo = Command::new(variable("CARGO"));
        clean(&mut cargo);
        cargo
            .current_dir(root)
            .env("WHARFAGE_SCHEMAS_ARE_CARRIED", "1")
            .args(["--config", &flags()])
            .args(["rustc", "--lib", "--crate-type", "cdylib", "--target", TARGET, "--profile", "component"])
            .args(["--message-format", "json-render-diagnostics", "--package", &id, "--target-dir"])
            .arg(target_folder());
        let said = said(&mut cargo);
        artifacts(&said).filter(|((folder, _), _)| folder == plugin).collect::<Vec<_>>()
    });
    built.collect()
}

/// The compiler's flags. With the last one, no component names the folder where this machine keeps other people's sources.
#[allow(clippy::disallowed_methods, reason = "as cargo itself finds it")]
fn flags() -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).unwrap_or_default();
    let remap = format!("--remap-path-prefix={}=cargo", home.display());
    format!("target.{TARGET}.rustflags={:?}", [FLAGS.as_slice(), &[remap.as_str()]].concat())
}

/// The components that cargo says it built.
fn artifacts(said: &str) -> impl Iterator<Item = ((PathBuf, String), PathBuf)> {
    said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter_map(|said| artifact(&said))
}

/// How cargo calls the packages in these folders, in their order.
fn package_ids(root: &Path, folders: &[PathBuf]) -> Vec<String> {
    let mut cargo = Command::new(variable("CARGO"));
    clean(&mut cargo);
    cargo.current_dir(root).args(["metadata", "--no-deps", "--format-version", "1"]);
    let about: Value =
        serde_json::from_str(&said(&mut cargo)).unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    let packages: Vec<&Value> = about["packages"].as_array().into_iter().flatten().collect();
    let id = |folder: &PathBuf| {
        let manifest = folder.join("Cargo.toml");
        let package =
            packages.iter().find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest));
        let id = package.and_then(|package| package["id"].as_str());
        id.unwrap_or_else(|| panic!("cargo does not know {}", manifest.display())).to_owned()
    };
    folders.iter().map(id).collect()
}

/// What a command says, if it succeeds.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cargo does not start: {error}"));
    assert!(
        output.status.success(),
        "the components do not build; cargo {} says:\n{}",
        command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The component in a message of cargo about something it built.
fn artifact(said: &Value) -> Option<((PathBuf, String), PathBuf)> {
    let folder = Path::new(said["manifest_path"].as_str()?).parent()?.to_owned();
    let name = said["target"]["name"].as_str()?.to_owned();
    let files = said["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let file = files.map(PathBuf::from).find(|file| file.extension().is_some_and(|extension| extension == "wasm"))?;
    Some(((folder, name), file))
}

/// Takes out everything that the outer build says to its own compilers.
#[allow(clippy::disallowed_methods, reason = "a build script has no other way to see what cargo has set")]
fn clean(command: &mut Command) {
    const KEPT: [&str; 6] =
        ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_BUILD_JOBS"];
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_cargos = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
        let is_a_compilers = name.starts_with("RUSTC") || name.starts_with("RUSTFLAGS") || name.starts_with("RUSTDOC");
        let is_makes =
            ["MAKEFLAGS", "MFLAGS", "OUT_DIR", "TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG"].contains(&&*name);
        if is_cargos || is_a_compilers || is_makes {
            command.env_remove(name);
        }
    }
}

/// `plugins` below the outer target folder, which cargo marks with a file of its own.
fn target_folder() -> PathBuf {
    let out = PathBuf::from(variable("OUT_DIR"));
    let marked = out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let target = marked.or_else(|| out.ancestors().nth(4)).unwrap_or(&out);
    target.join("plugins")
}

fn written(
    root: &Path,
    plugins: &[PathBuf],
    guests: &[String],
    built: &BTreeMap<(PathBuf, String), PathBuf>,
    components: &BTreeMap<(PathBuf, String), PathBuf>,
) -> String {
    let mut text = String::from(
        "/// The guests, each a component as the compiler made it.\npub mod guests {\n    use super::Guest;\n",
    );
    let folder = root.join("tests/guests");
    let mut suites: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let known = suites_there_can_be(root);
    for guest in guests {
        let file = built
            .get(&(folder.clone(), guest.clone()))
            .unwrap_or_else(|| panic!("cargo built no component of tests/guests/{guest}.rs"));
        let suite = known
            .iter()
            .filter(|suite| guest.strip_prefix(suite.as_str()).is_some_and(|rest| rest.starts_with('_')))
            .max_by_key(|suite| suite.len())
            .unwrap_or_else(|| {
                panic!("tests/guests/{guest}.rs: a guest is named <capability>_<behaviour> or hostile_<attack>")
            });
        suites.entry(suite.clone()).or_default().push(guest);
        let _ = writeln!(
            text,
            "    /// `tests/guests/{guest}.rs`.\n    pub const {}: Guest = Guest {{ name: {guest:?}, path: {:?} }};",
            guest.to_uppercase(),
            file.display().to_string()
        );
    }
    text.push_str("}\n\n");
    for (suite, guests) in &suites {
        let _ = writeln!(
            text,
            "/// Calls a macro with the name of every guest of the suite `{suite}`.\n#[macro_export]\nmacro_rules! foreach_{suite} {{\n    \
             ($call:ident) => {{ {} }};\n}}\n",
            guests.iter().map(|guest| format!("$call!({guest});")).collect::<String>()
        );
    }
    let _ = writeln!(
        text,
        "/// Calls a macro with the name of every suite that has guests.\n#[macro_export]\nmacro_rules! foreach_suite {{\n    \
         ($call:ident) => {{ {} }};\n}}\n",
        suites.keys().map(|suite| format!("$call!({suite});")).collect::<String>()
    );
    text.push_str("/// Every plugin of this repository: name, folder, component as the compiler made it, and the one that describes it.\npub const PLUGINS: &[PluginFolder] = &[\n");
    for plugin in plugins {
        let found = |among: &BTreeMap<(PathBuf, String), PathBuf>| {
            let file =
                among.iter().find(|((folder, _), _)| folder == plugin).map(|(_, file)| file.display().to_string());
            file.unwrap_or_else(|| panic!("cargo built no component in {}", plugin.display()))
        };
        let _ = writeln!(
            text,
            "    PluginFolder {{ name: {:?}, folder: {:?}, path: {:?}, described: {:?} }},",
            name_of(plugin),
            plugin.display().to_string(),
            found(components),
            found(built)
        );
    }
    text.push_str("];\n");
    let state = target_folder().join("state");
    let _ = writeln!(
        text,
        "/// Where compiled components are kept between tests.\nconst STATE: &str = {:?};",
        state.display().to_string()
    );
    text
}

/// One suite per interface of the contract, and one for attacks.
fn suites_there_can_be(root: &Path) -> BTreeSet<String> {
    let interfaces = listed(&root.join("wit")).into_iter().map(|path| name_of(&path).replace('-', "_"));
    interfaces.chain(std::iter::once("hostile".to_owned())).collect()
}
