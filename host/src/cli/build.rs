//! `wharfage build`: compiles a plugin and writes its manifest and schemas into the component.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;
use wharfage::{Digest, Host};

use super::text::{DIM, GREEN};
use super::{Common, read_text, with_only};

/// What components are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// How they are compiled: small. Given on the command line, so that it holds in any workspace. The second time has a
/// profile of its own, so that neither undoes what cargo kept of the other.
const PROFILES: [&str; 7] = [
    "profile.plugin.inherits='release'",
    "profile.plugin.opt-level='s'",
    "profile.plugin.lto=true",
    "profile.plugin.codegen-units=1",
    "profile.plugin.panic='abort'",
    "profile.plugin.strip=true",
    "profile.component.inherits='plugin'",
];

/// What the linker makes smaller without a single instruction more: it writes indices as short as they are, and addresses
/// as numbers, for nothing moves a component's memory.
const FLAGS: [&str; 2] = ["-Clink-arg=--compress-relocations", "-Crelocation-model=static"];

/// Tells the SDK that the component will carry its schemas, and need not be able to make them.
const SCHEMAS_ARE_CARRIED: &str = "WHARFAGE_SCHEMAS_ARE_CARRIED";

/// A plugin as it was compiled, twice.
pub(super) struct Compiled {
    component: Vec<u8>,
    /// The same with the code that makes its schemas.
    described: Vec<u8>,
}

impl Compiled {
    /// Writes manifest and operations into the component.
    pub(super) async fn build(&self, host: &Host, manifest: &str) -> anyhow::Result<Vec<u8>> {
        Ok(host.build_as_described(&self.component, &self.described, manifest).await?)
    }
}

#[derive(Args)]
pub(super) struct Build {
    /// The plugin's folder, with Cargo.toml and plugin.toml
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// A component that another language's tool made, instead of compiling the folder
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// The manifest, if not the folder's plugin.toml
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Where to write the built component; by default target/wharfage/<name>.wasm, or beside --component
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Build {
    pub(super) async fn run(self, _: &Common) -> anyhow::Result<()> {
        let manifest_path = self.manifest.clone().unwrap_or_else(|| self.folder.join("plugin.toml"));
        let manifest = read_text(&manifest_path)?;
        let name = wharfage::Manifest::parse(&manifest)?.plugin.name;
        let out_in = |folder: &Path| self.out.clone().unwrap_or_else(|| folder.join(format!("{name}.wasm")));
        let host = Host::builder().build()?;
        let (built, out) = match &self.component {
            Some(path) => {
                let out = out_in(path.parent().unwrap_or(Path::new("")));
                if is_same_file(path, &out) {
                    bail!(
                        "{} would be written over by what is built of it; name another file:   --out FILE",
                        out.display()
                    );
                }
                (host.build(&wharfage::read_component(path)?, &manifest).await?, out)
            }
            None => {
                let target = target_folder(&self.folder)?;
                let built = compile(&self.folder, &target)?.build(&host, &manifest).await?;
                (built, out_in(&target.join("wharfage")))
            }
        };
        write(&out, &built)?;
        say!("{GREEN}built{GREEN:#} {} ({} kB)", out.display(), built.len() / 1000);
        say!("{DIM}{}{DIM:#}", Digest::of(&built));
        Ok(())
    }
}

/// Compiles the plugin in `folder`: once to hear what it can do, once more without the code that says so.
pub(super) fn compile(folder: &Path, target: &Path) -> anyhow::Result<Compiled> {
    add_target(folder)?;
    let mut once = cargo();
    once.args(["build", "--profile", "plugin"]);
    let mut again = cargo();
    // A library that others link is not optimised as a whole; what is linked last is.
    again.args(["rustc", "--crate-type", "cdylib", "--profile", "component"]).env(SCHEMAS_ARE_CARRIED, "1");
    let read = |path: PathBuf| wharfage::read_component(&path).context("read what cargo compiled");
    Ok(Compiled {
        described: read(compile_with(once, folder, target)?)?,
        component: read(compile_with(again, folder, target)?)?,
    })
}

/// Runs cargo and gives the compiler's output.
fn compile_with(mut cargo: Command, folder: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    cargo.current_dir(folder).args(["--lib", "--message-format=json-render-diagnostics"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(target.join("plugins"));
    for setting in PROFILES {
        cargo.args(["--config", setting]);
    }
    let mut flags = FLAGS.map(str::to_owned).to_vec();
    // Messages of panics name source files. Where this machine keeps other people's is nobody's business, and would make a
    // component differ from machine to machine.
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    cargo.args(["--config", &format!("target.{TARGET}.rustflags={}", toml::Value::from(flags))]);
    let done = cargo.stderr(Stdio::inherit()).output().context("run cargo")?;
    if !done.status.success() {
        bail!("the plugin in {} does not compile; cargo's words are above", folder.display());
    }
    let manifest = folder.canonicalize().with_context(|| format!("open {}", folder.display()))?.join("Cargo.toml");
    let outputs = String::from_utf8_lossy(&done.stdout);
    outputs
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest))
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .with_context(|| format!("{} makes no component: set crate-type = [\"cdylib\", \"rlib\"]", manifest.display()))
}

/// Where cargo keeps what it fetched.
#[allow(clippy::disallowed_methods, reason = "as cargo itself finds it")]
fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}

/// The target folder of the workspace that `folder` is in.
pub(super) fn target_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let done = cargo()
        .current_dir(folder)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run cargo in {}", folder.display()))?;
    if !done.status.success() {
        bail!("cargo cannot read the package in {}; its words are above", folder.display());
    }
    let about: serde_json::Value =
        serde_json::from_slice(&done.stdout).with_context(|| format!("{} holds no cargo package", folder.display()))?;
    about["target_directory"].as_str().map(PathBuf::from).context("cargo names no target folder")
}

/// Installs the target if it is missing, and says so: in the toolchain that compiles this folder, which may state its own.
fn add_target(folder: &Path) -> anyhow::Result<()> {
    let mut rustc = child("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(folder);
    let printed = rustc.output().context("run rustc")?;
    if Path::new(String::from_utf8_lossy(&printed.stdout).trim()).exists() {
        return Ok(());
    }
    note!("{DIM}the target {TARGET} is missing; running: rustup target add {TARGET}{DIM:#}");
    let mut rustup = child("rustup");
    let added = rustup.args(["target", "add", TARGET]).current_dir(folder).status().context("run rustup")?;
    if !added.success() {
        bail!("the target {TARGET} could not be installed; run in {}: rustup target add {TARGET}", folder.display());
    }
    Ok(())
}

/// What a child process gets of the environment: what toolchains need.
pub(super) const PASSED: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "TERM",
    "LANG",
    "LC_ALL",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SYSTEMROOT",
];

/// Cargo, with an environment of its own: nothing of an outer cargo, no key of anybody's.
fn cargo() -> Command {
    child("cargo")
}

pub(super) fn child(program: &str) -> Command {
    let mut child = Command::new(program);
    with_only(&mut child, &PASSED);
    child
}

/// Whether both are there and one file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
