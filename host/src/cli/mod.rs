//! The command line: one file per subcommand, and [`Command`], the list.
//!
//! Answers go to standard output, everything said about them to standard error. A failure prints one sentence, then
//! what would help, and exits with a code that says whose it was (see [`exit_code`]).

/// Prints a line. That it cannot be written is an error, and no panic.
macro_rules! say {
    ($($words:tt)*) => {
        std::io::Write::write_fmt(&mut anstream::stdout(), format_args!("{}\n", format_args!($($words)*)))?
    };
}

/// Prints a line beside the answers. Where it cannot be written, nobody reads it, and what it is about goes on.
macro_rules! note {
    ($($words:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut anstream::stderr(), format_args!("{}\n", format_args!($($words)*)));
    }};
}

mod alerts;
mod audit;
mod build;
mod call;
mod check;
mod connect;
mod demo;
mod disconnect;
mod events;
mod explain;
mod health;
mod inspect;
mod programs;
mod secret;
mod serve;
mod status;
mod text;

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::BoolishValueParser;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use indicatif::ProgressBar;
use tokio::runtime::Runtime;
use wharfage::PathEvent;
use wharfage::observe::{LineFormat, Lines, Redactor};
use wharfage::otlp::Spans;
use wharfage::{Blame, Compiling, Config, Host, HostBuilder, Kind};

/// Runs API integrations as sandboxed WebAssembly components.
#[derive(Parser)]
#[command(name = "wharfage", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What every subcommand takes.
#[derive(Args)]
struct Common {
    /// Show what the host does: pacing, retries, refusals (twice: every step)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// What is logged, instead: as `wharfage=debug,warn`
    #[arg(long, global = true, value_name = "FILTER", env = "WHARFAGE_LOG")]
    log: Option<String>,
    /// How a line of the log is written
    #[arg(long, global = true, value_name = "FORMAT", env = "WHARFAGE_LOG_FORMAT", default_value = "human")]
    log_format: Format,
    /// Take telephone numbers out of the log, too
    #[arg(long, global = true, env = "WHARFAGE_MASK_PHONE_NUMBERS", value_parser = BoolishValueParser::new())]
    mask_phone_numbers: bool,
    /// Where everything is kept: sealed secrets and tokens, events, cursors, the audit trail, plugins' state, compiled code;
    /// by default $XDG_STATE_HOME/wharfage, else ~/.local/state/wharfage
    #[arg(long, global = true, value_name = "FOLDER", env = "WHARFAGE_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

/// How a line of the log is written.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For programs: an object of JSON
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run real operations of every plugin here against stand-ins of their providers
    Demo(demo::Demo),
    /// Call an operation over a connection
    Call(call::Call),
    /// Run everything that a wharfage.toml declares: webhooks, polls, sockets and sinks
    Serve(serve::Serve),
    /// Show how connections are, and what to do about those that are not well
    Health(health::Health),
    /// Show what a running `wharfage serve` counts: calls, errors, percentiles, waits, breakers
    Status(status::Status),
    /// Sign in at a provider, so that a connection's account has tokens
    Connect(connect::Connect),
    /// Withdraw that consent, and take the tokens away
    Disconnect(disconnect::Disconnect),
    /// Show what arrived and what left, and have it done once more
    Events(events::Events),
    /// Show what fires, what is watched, and what to do about it
    Alerts(alerts::Alerts),
    /// Show everything a plugin may do, what an upgrade would change, or the lines it needs
    Explain(explain::Explain),
    /// Show who used which secret, for what, and what came of it
    Audit(audit::Audit),
    /// Show what a component says about itself, without running it
    Inspect(inspect::Inspect),
    /// Keep secrets in the sealed store, and see how old they are
    Secret(secret::Secret),
    /// Compile a plugin and write its manifest and schemas into the component
    Build(build::Build),
    /// Check a built component as the host would before running it
    Check(check::Check),
}

const EXIT_CODES: &str = "Exit codes: 0 done · 2 the call was wrong · 3 the operator must act (grant, credential, limit, \
configuration) · 4 waiting helps · 5 the provider's fault · 6 a defect of a plugin or of wharfage · 130 interrupted · \
1 anything else";

/// Runs what the arguments say.
pub(crate) fn run() -> ExitCode {
    let arguments = arguments();
    // The demo tells in words what the log would; both at once is hard to read.
    let is_quiet = matches!(arguments.command, Command::Demo(_));
    // What runs for days tells what it does.
    let is_service = matches!(arguments.command, Command::Serve(_));
    let least = match (is_quiet, is_service) {
        (true, _) => "error",
        (_, true) => "wharfage=info,warn",
        _ => "warn",
    };
    if let Err(error) = listen(&arguments.common, least) {
        text::failure(&error);
        return exit_code(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note!("wharfage: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let common = &arguments.common;
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Demo(demo) => demo.run(common).await,
            Command::Call(call) => call.run(common).await,
            Command::Serve(serve) => serve.run(common).await,
            Command::Health(health) => health.run(common).await,
            Command::Status(status) => status.run(common).await,
            Command::Connect(connect) => connect.run(common).await,
            Command::Disconnect(disconnect) => disconnect.run(common).await,
            Command::Events(events) => events.run(common).await,
            Command::Alerts(alerts) => alerts.run(common).await,
            Command::Explain(explain) => explain.run(common).await,
            Command::Audit(audit) => audit.run(common).await,
            Command::Inspect(inspect) => inspect.run(),
            Command::Secret(secret) => secret.run(common).await,
            Command::Build(build) => build.run(common).await,
            Command::Check(check) => check.run(common).await,
        }
    });
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    };
    end(runtime, END);
    code
}

/// Tells how it failed, where that was not told, and answers the code for it.
fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(Told(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    text::failure(error);
    exit_code(error)
}

/// For how long the end waits for what is still at work.
const END: Duration = Duration::from_secs(1);

/// Ends what is still at work. Some of it cannot be broken off, as a lookup of a name, and whoever interrupts the program
/// waits for none of that.
fn end(runtime: Runtime, within: Duration) {
    runtime.shutdown_timeout(within);
}

/// What is asked for. A variable that is set to nothing, as service files leave it, is as one that is not set.
fn arguments() -> Arguments {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let mut command = Arguments::command().mut_args(|argument| match argument.get_env().is_some_and(is_empty) {
        true => argument.env(None::<&str>),
        false => argument,
    });
    let matches = command.get_matches_mut();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// Whether whoever reads what is printed reads no further.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_it = |io: &std::io::Error| io.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_it))
}

/// Everything is said; what is left is the exit code.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
struct Told(u8);

/// What a shell makes of an interrupt: 128, and the number of the signal.
const INTERRUPTED: u8 = 130;

/// A code that says whose fault a failure was.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let Some(error) = error.downcast_ref::<wharfage::Error>() else { return ExitCode::FAILURE };
    ExitCode::from(match error.kind().blame() {
        Blame::Caller => 2,
        Blame::Operator => 3,
        Blame::Time => 4,
        Blame::Provider => 5,
        Blame::Us => 6,
    })
}

/// Lines of the host and of plugins on standard error. Every one of them is redacted; so are the spans that are sent.
fn listen(common: &Common, least: &str) -> anyhow::Result<()> {
    use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, filter_fn};
    use tracing_subscriber::prelude::*;
    let level = match common.verbose {
        0 => least,
        1 => "wharfage=info,warn",
        _ => "wharfage=debug,info",
    };
    let filter = match &common.log {
        None => EnvFilter::new(level),
        Some(written) => EnvFilter::builder().parse(written).map_err(|error| {
            wharfage::Error::new(Kind::Configuration, format!("the filter of the log cannot be read: {error}"))
                .with_details("Write levels by name:   --log wharfage=debug,warn   (or WHARFAGE_LOG)")
        })?,
    };
    // The HTTP and TLS crates log headers at finer levels, so they never get one, whatever was asked for.
    let is_loud = |target: &str| QUIET.iter().any(|quiet| target.split("::").next() == Some(quiet));
    let filter = filter.and(filter_fn(move |about| *about.level() <= LevelFilter::INFO || !is_loud(about.target())));
    let format = match common.log_format {
        Format::Human => LineFormat::Human,
        Format::Json => LineFormat::Json,
    };
    let lines = Lines::new(format, std::io::stderr)
        .redactor(Redactor::default().phone_numbers(common.mask_phone_numbers))
        .colours(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans().layer()).try_init();
    Ok(())
}

/// Crates that see headers.
const QUIET: [&str; 5] = ["hyper", "hyper_util", "h2", "rustls", "tokio_websockets"];

/// The host's spans, which `wharfage serve` sends where `[observe]` says.
fn spans() -> &'static Spans {
    static SPANS: OnceLock<Spans> = OnceLock::new();
    SPANS.get_or_init(Spans::new)
}

impl Common {
    /// A host that keeps its state where the arguments say, else in the user's own folder.
    fn host(&self) -> HostBuilder {
        let builder = match self.state_folder() {
            Some(folder) => Host::builder().state_dir(folder),
            None => Host::builder(),
        };
        builder.observer(tell).compiling(tell_compiling)
    }

    /// Refuses what would keep things for as long as it runs only, or look for them where nothing is.
    fn check_state_folder(&self) -> anyhow::Result<()> {
        if self.state_folder().is_some() {
            return Ok(());
        }
        let message = "there is no state folder: neither HOME nor XDG_STATE_HOME is set";
        Err(wharfage::Error::new(Kind::Configuration, message).with_details("Name one:   --state-dir FOLDER").into())
    }

    /// Where state is kept.
    fn state_folder(&self) -> Option<PathBuf> {
        self.state_dir.clone().or_else(wharfage::default_state_dir)
    }
}

/// A component that is compiled for the first time takes seconds, in which nothing else would be seen.
fn tell_compiling(compiling: Compiling<'_>) {
    static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = shown.take() {
        before.finish_and_clear();
    }
    if let Compiling::Begun { plugin, component_bytes, .. } = compiling {
        let progress = text::spinner();
        progress.set_message(format!(
            "compiling {} ({} kB), once: the code is kept",
            text::one_line(plugin, 100),
            component_bytes / 1000
        ));
        *shown = Some(progress);
    }
}

/// An event of the outbound path as a line of the log, which `-v` shows.
fn tell(event: &PathEvent) {
    match event {
        PathEvent::Paced { waited_ms } => tracing::info!(waited_ms, "waited for a permit"),
        PathEvent::Signed { credential, place } => tracing::debug!(credential, place, "signed"),
        PathEvent::Retrying { attempt, kind, wait_ms } => {
            tracing::info!(attempt, kind, wait_ms, "failed; asking again")
        }
        PathEvent::Redirected { to } => tracing::info!(to, "following a redirect"),
        PathEvent::Opened { origin, until } => tracing::info!(origin, %until, "keeps failing; not asked until then"),
        PathEvent::Leaked { path } => tracing::warn!(path, "the provider sent a secret back; it was masked"),
        PathEvent::Served { source, age_ms } => tracing::info!(?source, age_ms, "a kept answer serves"),
        PathEvent::Refused { message } => tracing::info!("refused: {message}"),
        _ => {}
    }
}

/// A child process gets these variables of the environment, and no secret that may lie beside them.
fn with_only(child: &mut std::process::Command, names: &[&str]) {
    child.env_clear();
    child.envs(names.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
}

/// Reads a `wharfage.toml`.
fn read_config(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let wrong = wharfage::Error::new(Kind::Configuration, format!("{} cannot be read: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::NotFound => wrong.with_details(write_one(path)),
            _ => wrong,
        }
    })?;
    Ok(Config::parse(&text, path)?)
}

/// What helps where there is no `wharfage.toml`.
fn write_one(path: &Path) -> String {
    format!("Write one:   wharfage explain --suggest COMPONENT.wasm >> {}", path.display())
}

/// Reads a text file.
fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_broken_off_does_not_hold_up_the_end() {
        let runtime = Runtime::new().unwrap();
        let (begin, begun) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel();
        runtime.spawn_blocking(move || {
            begin.send(()).unwrap();
            gone.recv()
        });
        begun.recv().unwrap();
        end(runtime, Duration::ZERO);
        assert!(go.send(()).is_ok(), "it is not at work any more");
    }
}
