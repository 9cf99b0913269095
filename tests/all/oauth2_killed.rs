//! Processes that share one rotating refresh token, killed at each step of a renewal.
//!
//! A process is this test program once more: it runs [`a_process_of_its_own`] and does what it is told on standard input.
//! At the step that it was told it stands still, as if the machine had stopped there, and is killed with SIGKILL.
//!
//! What is promised: where the provider takes an old refresh token until the new one was used (RFC 9700, 4.14.2), nothing
//! is lost at any step. Where it ends the old one with its first use, two steps remain that no client can close: after the
//! provider has acted and before its answer is stored. There a person is asked to connect again, and nothing is deleted.

use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wharfage::{Clock as _, Kind, ManualClock, Timestamp};
use wharfage_tests::provider::{Reply, Seen};
use wharfage_tests::scene::{account, host};
use wharfage_tests::{NOW, PATIENCE, Provider, Scene, guests};

/// Says to the test program that it is one of the processes, and where things are.
const PROCESS: &str = "WHARFAGE_TEST_PROCESS";
/// What a process says begins so; the rest of its output is the test program's own.
const SAYS: &str = "process: ";

/// After a renewal it is due again.
const HOUR_MS: u64 = 3_600_000;
/// Longer than who was killed keeps others from renewing.
const LEASE_MS: u64 = 80_000;

/// Where a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// At a step that the host tells of.
    Told(&'static str),
    /// The provider has the request and has done nothing yet.
    Sent,
    /// The provider has rotated the token, and its answer never arrives.
    Rotated,
    /// The new token is on its way to the first request that carries it.
    FirstUse,
}

const STEPS: [Step; 8] = [
    Step::Told("due"),
    Step::Told("leased"),
    Step::Sent,
    Step::Rotated,
    Step::Told("answered"),
    Step::Told("stored"),
    Step::Told("given back"),
    Step::FirstUse,
];

/// A provider that rotates refresh tokens.
#[derive(Default)]
struct Setup {
    /// A refresh token ends with its first use, and not with that of the one after it.
    is_strict: bool,
    issued: usize,
    good: Vec<usize>,
    /// Where the next request is not answered.
    hold: Option<Step>,
}

fn answer(setup: &Mutex<Setup>, held: &mpsc::UnboundedSender<Step>, seen: &Seen) -> Reply {
    let mut setup = setup.lock().unwrap();
    let hold = |step: Step, setup: &mut Setup| {
        let is_here = setup.hold == Some(step);
        if is_here {
            setup.hold = None;
            held.send(step).unwrap();
        }
        is_here
    };
    if seen.target != "/token" {
        let shown = seen.header("authorization").and_then(|value| value.strip_prefix("Bearer access-token-"));
        let number: usize = shown.unwrap().parse().unwrap();
        return match hold(Step::FirstUse, &mut setup) {
            true => Reply::never(),
            false => Reply::status(if number <= setup.issued { 200 } else { 401 }),
        };
    }
    if hold(Step::Sent, &mut setup) {
        return Reply::never();
    }
    let form = String::from_utf8(seen.body.clone()).unwrap();
    if let Some(at) = form.find("refresh-token-") {
        let used: usize = form[at + 14..].split('&').next().unwrap().parse().unwrap();
        if !setup.good.contains(&used) {
            let body = json!({"error": "invalid_grant", "error_description": "it was used"});
            return Reply::status(400).header("content-type", "application/json").body(body.to_string());
        }
        setup.good = if setup.is_strict { Vec::new() } else { vec![used] };
    }
    setup.issued += 1;
    let number = setup.issued;
    setup.good.push(number);
    if hold(Step::Rotated, &mut setup) {
        return Reply::never();
    }
    Reply::json(&json!({
        "access_token": format!("access-token-{number}"), "refresh_token": format!("refresh-token-{number}"),
        "token_type": "Bearer", "expires_in": 3600,
    }))
}

struct Set {
    setup: Arc<Mutex<Setup>>,
    provider: Provider,
    held: mpsc::UnboundedReceiver<Step>,
    state: tempfile::TempDir,
    now: Timestamp,
}

/// A process, which ends with this.
struct Process {
    child: tokio::process::Child,
    input: tokio::process::ChildStdin,
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>,
}

impl Set {
    async fn new(is_strict: bool) -> Self {
        let setup = Arc::new(Mutex::new(Setup { is_strict, ..Setup::default() }));
        let (tell, held) = mpsc::unbounded_channel();
        let provider = Provider::answering({
            let setup = setup.clone();
            move |seen| answer(&setup, &tell, seen)
        })
        .await;
        Self { setup, provider, held, state: tempfile::tempdir().unwrap(), now: NOW }
    }

    fn start(&self) -> Process {
        let at = json!({"url": self.provider.url(), "state": self.state.path()});
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "oauth2_killed::a_process_of_its_own", "--nocapture"]).env(PROCESS, at.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Process { child, input, lines: tokio::io::BufReader::new(output).lines() }
    }

    /// Has a process make a call in which the token is to be renewed, and kills it at a step.
    async fn kill(&mut self, mut process: Process, step: Step) {
        self.now = self.now.plus(HOUR_MS);
        match step {
            Step::Told(name) => {
                process.order(self.now, name).await;
                assert_eq!(process.line().await, format!("at {name}"));
            }
            step => {
                self.setup.lock().unwrap().hold = Some(step);
                process.order(self.now, "").await;
                assert_eq!(timeout(PATIENCE, self.held.recv()).await, Ok(Some(step)));
            }
        }
        process.child.kill().await.unwrap();
        let status = process.child.wait().await.unwrap();
        #[cfg(unix)]
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
        self.now = self.now.plus(LEASE_MS);
    }
}

impl Process {
    async fn order(&mut self, now: Timestamp, stop: &str) {
        let line = json!({"now": now.as_millis(), "stop": stop}).to_string() + "\n";
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the process says nothing");
            let line = line.unwrap().expect("the process ended");
            // The test program writes before it, without an end of line.
            if let Some((_, says)) = line.split_once(SAYS) {
                return says.to_owned();
            }
        }
    }

    /// Makes a call and answers how it went.
    async fn call(&mut self, now: Timestamp) -> String {
        self.order(now, "").await;
        self.line().await
    }
}

/// The other process, which has the tokens in its memory, goes on after each kill; then the next one begins, and is killed
/// at the next step.
#[tokio::test]
async fn a_process_killed_at_any_step_loses_no_token() {
    let mut set = Set::new(false).await;
    let mut other = set.start();
    assert_eq!(other.call(set.now).await, "signed in");
    for step in STEPS {
        set.kill(set.start(), step).await;
        assert_eq!(other.call(set.now).await, "signed in", "the other process, {step:?}");
    }
    assert_eq!(set.setup.lock().unwrap().hold, None);
}

/// Nobody was there when it was killed.
#[tokio::test]
async fn the_next_run_signs_in_after_any_kill() {
    let mut set = Set::new(false).await;
    let mut process = set.start();
    assert_eq!(process.call(set.now).await, "signed in");
    for step in STEPS {
        set.kill(process, step).await;
        process = set.start();
        assert_eq!(process.call(set.now).await, "signed in", "the next run, {step:?}");
    }
}

/// Where a refresh token ends with its first use, what the provider gave and nobody stored is gone, and only that.
#[tokio::test]
async fn a_provider_without_patience_leaves_two_steps() {
    for step in STEPS {
        let mut set = Set::new(true).await;
        let mut other = set.start();
        assert_eq!(other.call(set.now).await, "signed in");
        set.kill(set.start(), step).await;
        let is_gone = matches!(step, Step::Rotated | Step::Told("answered"));
        let expected = if is_gone { "reauthorization-needed" } else { "signed in" };
        assert_eq!(other.call(set.now).await, expected, "{step:?}");
    }
}

/// What a process of the tests above does; without its variable there is nothing to do.
#[test]
#[allow(clippy::disallowed_methods, reason = "how a test that is started by another knows it")]
fn a_process_of_its_own() {
    let Ok(text) = std::env::var(PROCESS) else { return };
    let at: Value = serde_json::from_str(&text).unwrap();
    let stop = Arc::new(Mutex::new(String::new()));
    let _listening = tracing::subscriber::set_default(Stops(stop.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let clock = ManualClock::skipping(NOW, 1);
        let host = host(at["state"].as_str().unwrap().as_ref(), clock.clone());
        let url = at["url"].as_str().unwrap();
        let plugin = Scene::of(guests::HTTP_SEND)
            .at("api", url)
            .signed_in(url)
            .grant(|connection| connection.cache.enabled = false)
            .connect(&host, &account(""))
            .await
            .unwrap();
        for line in std::io::stdin().lock().lines() {
            let order: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let now = Timestamp::from_millis(order["now"].as_u64().unwrap());
            clock.advance(now.since(clock.now()));
            order["stop"].as_str().unwrap().clone_into(&mut stop.lock().unwrap());
            match plugin.call::<Value>("send", &json!({"url": "{api}/orders"})).await {
                Ok(_) => say("signed in"),
                Err(error) if *error.kind() == Kind::ReauthorizationNeeded => say(error.kind().name()),
                Err(error) => say(&format!("{error:?}").replace('\n', " ")),
            }
        }
    });
}

fn say(text: &str) {
    println!("{SAYS}{text}");
    std::io::stdout().flush().unwrap();
}

/// Stands still at the step of a renewal that it was told.
struct Stops(Arc<Mutex<String>>);

impl tracing::Subscriber for Stops {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "wharfage::oauth2"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Named(&self.0.lock().unwrap()));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Looks for the step that is waited for.
struct Named<'a>(&'a str);

impl tracing::field::Visit for Named<'_> {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "step" && value == self.0 {
            say(&format!("at {value}"));
            loop {
                std::thread::park();
            }
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}
