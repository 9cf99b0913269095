//! What a component may try, one attack a row, and the bound that it meets.
//!
//! [`list::ATTACKS`] names each: the component, what it tries, the limits it is given and how each of its moves must end. A
//! test runs every row, and `cargo run --release -p wharfage-tests --bin hostile` prints what each took: its time, the
//! host's memory, and how long a neighbour's calls took meanwhile. Both are the same [`run`].
//!
//! What holds for all of them is checked here and not stated in a row: the neighbour is answered each time, and also while
//! an attack computes for long, no call computes or takes more than its limit, no instance stays, no error is longer than a
//! page or moves a terminal's cursor, and no secret is in anything that comes out. The program judges times as well.

pub mod forged;
pub mod list;
pub mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wharfage::metrics::ConnectionMetrics;
use wharfage::{
    Clock, Config, Connection, Cursor, Error, Event, Host, Kind, Limits, ManualClock, Plugin, Poll, SystemClock,
    Trigger,
};

use crate::scene::{Forge, Shared, account, imports};
use crate::{API_KEY, Guest, NOW, Provider, Reply, Scene, Seen, component, guests, skipping};

/// One attack.
pub struct Attack {
    /// Its name: that of the component.
    pub name: &'static str,
    /// What it tries, in a sentence.
    pub tries: &'static str,
    /// The component that it is made of.
    pub guest: Guest,
    /// What is done to the compiler's component.
    pub forge: Forge,
    /// What is done to it after `wharfage build`.
    pub tamper: Forge,
    /// What is in its manifest beside what is in all of them.
    pub manifest: fn(Scene) -> Scene,
    /// Lines of `[limits]` on its connection, where the defaults would take longer to reach.
    pub limits: &'static str,
    /// What else is granted to it, or not.
    pub grant: fn(&mut Connection),
    /// What the provider answers.
    pub answer: fn(&Seen) -> Reply,
    /// How time passes.
    pub time: Time,
    /// What it does, one after the other.
    pub moves: &'static [Move],
    /// The fewest requests that the provider must see of it: where nothing is refused, it must be known to have been asked.
    pub requests_min: usize,
    /// The most requests that the provider may see of it.
    pub requests_max: usize,
    /// The most bytes that the host may take while it runs, beyond the memory that the instances had.
    pub host_bytes_max: u64,
    /// Whether the host is known to work for it for long without giving way: nobody else on its thread is answered then.
    pub in_one_go: bool,
}

/// How time passes for an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Every wait is over at once.
    Skips,
    /// It is turned by hand, as schedules want it.
    Stands,
    /// The machine's: the attack is to wait for real, and a limit ends that soon.
    Real,
}

/// What an attacker does.
#[derive(Clone, Copy, Debug)]
pub enum Move {
    /// `wharfage build` is run on the component, which describes it.
    Build(Ends),
    /// The host is to load it.
    Load(Ends),
    /// This operation is called with this input.
    Call(&'static str, &'static str, Ends),
    /// The operation `attack` is called so often at once.
    Together(usize, Ends),
    /// An event is handed to it.
    Handle(Ends),
    /// A poll of it runs as `wharfage serve` runs it, and its events go to a file.
    Poll(Ends),
    /// A cursor of the first list is handed to the second, and one that was changed to the first.
    Swap(&'static str, &'static str, Ends),
}

/// How a move must end.
#[derive(Clone, Copy, Debug)]
pub enum Ends {
    /// By the limit of this name.
    Limit(&'static str),
    /// With an error of this kind that says this.
    Fails(&'static str, &'static str),
    /// With this answer, as JSON.
    Answers(&'static str),
    /// With an answer whose JSON holds this.
    Holds(&'static str),
    /// In one of these ways.
    AnyOf(&'static [Ends]),
    /// With an answer, whatever it is.
    Passes,
}

/// What came of an attack.
#[derive(Debug, Default)]
pub struct Report {
    /// How its moves ended, in a few words.
    pub ended: Vec<String>,
    /// What should not have been.
    pub troubles: Vec<String>,
    /// How long its moves took.
    pub took: Duration,
    /// How long each of the neighbour's calls took meanwhile.
    pub beside: Vec<Duration>,
    /// The host's resident memory: before, the most meanwhile, and after.
    pub resident: Option<[u64; 3]>,
    /// Bytes that instances of it may have had together, by what one of them had.
    pub instances_bytes: u64,
}

/// An attack for which its thread computes for so long gives way now and then, and lets so many calls of the neighbour end.
const LONG: Duration = Duration::from_secs(1);
const MEANWHILE_MIN: usize = 3;

/// Runs an attack beside a neighbour, once.
pub async fn run(attack: &Attack) -> Report {
    let mut report = Report::default();
    let provider = Provider::answering(attack.answer).await;
    let turned = ManualClock::new(NOW, 1);
    let clock: Arc<dyn Clock> = match attack.time {
        Time::Skips => Arc::new(skipping()),
        Time::Stands => Arc::new(turned.clone()),
        Time::Real => Arc::new(SystemClock::new()),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut builder = Host::builder().clock(Shared(clock)).code_dir(crate::compiled_code());
    if attack.time == Time::Stands {
        builder = builder.state_dir(folder.path().join("state"));
    }
    let host = builder.build().expect("a host starts");
    let neighbour = Scene::of(guests::OPERATIONS_ECHO).connect_as("neighbour", &host, &account("")).await;
    let neighbour = neighbour.unwrap_or_else(|error| panic!("the neighbour: {error}"));
    echo(&neighbour).await.expect("the neighbour answers before anything has happened");

    // What is not about loading is loaded before anything is measured, for compiling takes memory and time of its own.
    let loads = matches!(attack.moves.first(), Some(Move::Build(_) | Move::Load(_)));
    let mut plugin = match loads {
        true => None,
        false => {
            Some(load(attack, &provider, &host).await.unwrap_or_else(|error| panic!("{}: {error:?}", attack.name)))
        }
    };
    let before = Resident::begin();
    let is_over = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn(neighbours(neighbour, is_over.clone()));
    let began = Instant::now();
    let computed = computed_since(began);
    for step in attack.moves {
        let (expected, ended) = match *step {
            Move::Build(ends) => {
                let scene = scene(attack, &provider);
                (ends, component::builder().build(&scene.compiled(), scene.manifest_text()).await.map(|_| Value::Null))
            }
            Move::Load(ends) => {
                let loaded = load(attack, &provider, &host).await;
                (ends, loaded.map(|loaded| drop(plugin.replace(loaded))).map(|()| Value::Null))
            }
            Move::Poll(ends) => (ends, poll(attack, &host, &turned, folder.path()).await),
            _ => match &plugin {
                Some(plugin) => act(plugin, step).await,
                None => break,
            },
        };
        report.judge(&expected, ended);
    }
    report.took = began.elapsed();
    let computed = computed_since(began).saturating_sub(computed);
    is_over.store(true, Ordering::SeqCst);
    let mut meanwhile = 0;
    match beside.await {
        Ok(Ok((took, ended))) => (report.beside, meanwhile) = (took, ended),
        Ok(Err(error)) => report.troubles.push(format!("the neighbour was not answered: {error}")),
        Err(error) => report.troubles.push(format!("the neighbour ended: {error}")),
    }
    if computed > LONG && meanwhile < MEANWHILE_MIN && !attack.in_one_go {
        report.troubles.push(format!("it kept its thread for {computed:?}, with {meanwhile} calls beside it"));
    }
    drop(plugin);
    let metrics = host.metrics();
    for connection in metrics.connections.iter().filter(|connection| connection.connection != "neighbour") {
        report.count(attack, connection);
    }
    if !(attack.requests_min..=attack.requests_max).contains(&provider.count()) {
        report.troubles.push(format!("the provider saw {} requests", provider.count()));
    }
    if let Some(seen) = provider.seen().iter().find(|seen| seen.target.contains("smuggled")) {
        report.troubles.push(format!("a request came that was inside of another: {seen:?}"));
    }
    drop(host);
    report.resident = before.map(Resident::end);
    report
}

fn scene(attack: &Attack, provider: &Provider) -> Scene {
    let scene = Scene::of(attack.guest).forged(attack.name, attack.forge).tampered(attack.tamper);
    (attack.manifest)(scene).connection(&format!("[limits]\n{}", attack.limits)).with(provider).grant(attack.grant)
}

async fn load(attack: &Attack, provider: &Provider, host: &Host) -> Result<Plugin, Error> {
    scene(attack, provider).connect(host, &account("")).await
}

/// Moves of a plugin that is loaded.
async fn act(plugin: &Plugin, step: &Move) -> (Ends, Result<Value, Error>) {
    match *step {
        Move::Call(operation, input, ends) => (ends, call(plugin, operation, input).await),
        Move::Together(count, ends) => {
            let inputs: Vec<String> = (0..count).map(|who| json!({"who": who}).to_string()).collect();
            let calls = inputs.iter().map(|input| call(plugin, "attack", input));
            let mut ended = futures_util::future::join_all(calls).await;
            // All of them must end as the row says; the first that does otherwise is told.
            let first = ended.iter().position(|ended| !ends.holds(ended)).unwrap_or(0);
            (ends, ended.swap_remove(first))
        }
        Move::Swap(from, to, ends) => (ends, swap(plugin, from, to).await),
        _ => (step.ends(), handle(plugin).await),
    }
}

async fn call(plugin: &Plugin, operation: &str, input: &str) -> Result<Value, Error> {
    let input: Value = serde_json::from_str(input).expect("a row's input is JSON");
    plugin.call(operation, &input).await.map(|answer| answer.output)
}

async fn handle(plugin: &Plugin) -> Result<Value, Error> {
    let trigger = Trigger::Poll(Poll::new("ticks"));
    let outcome = plugin.handle(Event { id: "e-1".to_owned(), trigger, cursor: None }).await?;
    Ok(json!({"emitted": outcome.emit.len()}))
}

/// Hands the cursor of one list to another, and a changed one back: both must be refused, and what the last says is told.
async fn swap(plugin: &Plugin, from: &str, to: &str) -> Result<Value, Error> {
    let next = plugin.page(from, "{}", None).await?.next.expect("the list goes on");
    let honest = plugin.page(from, "{}", Some(next.clone())).await?;
    if let Ok(answer) = plugin.page(to, "{}", Some(next.clone())).await {
        return Ok(json!({"another list took it": answer.output.get()}));
    }
    let changed = next.as_str().replacen(|c: char| c != 'A', "A", 1);
    drop(honest);
    plugin.page(from, "{}", Some(Cursor::new(changed))).await.map(|answer| json!(answer.output.get()))
}

/// A poll of the plugin, as `wharfage serve` runs it, once.
async fn poll(attack: &Attack, host: &Host, clock: &ManualClock, folder: &std::path::Path) -> Result<Value, Error> {
    const STEP_MS: u64 = 1_000;
    let bytes = (attack.manifest)(Scene::of(attack.guest)).component().await;
    std::fs::write(folder.join("plugin.wasm"), bytes.as_slice()).expect("a file");
    let text = format!(
        "[plugins.guest]\ncomponent = 'plugin.wasm'\n[connections.polled]\nplugin = 'guest'\nimports = {:?}\n\
         [connections.polled.limits]\n{}\n[connections.polled.polls.ticks]\n[sinks.log]\nkind = 'file'\npath = 'events.jsonl'\n",
        imports(&bytes)?,
        attack.limits
    );
    let serving = host.serve(&Config::parse(&text, &folder.join("wharfage.toml"))?).await?;
    let ended = loop {
        let state = serving.state().await?;
        let (_, _, poll) = state.polls.first().expect("there is a poll");
        if let Some((_, why)) = &poll.failed {
            break Err(Error::new(Kind::Internal(String::new()), why.clone()));
        }
        if poll.succeeded_at.is_some() {
            break Ok(poll.is_behind);
        }
        // One that is due already is under way, and takes as long as it takes.
        clock.advance(poll.due.since(clock.now()).min(STEP_MS));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    };
    crate::drained(serving, clock).await;
    let is_behind = ended?;
    let lines = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default().lines().count();
    // Of one run: the clock goes on only to what is due, and the next one is not.
    Ok(json!({"emitted": lines, "goes on with the next run": is_behind}))
}

/// The neighbour's calls, one after the other, until it is over; and how many ended before.
async fn neighbours(neighbour: Plugin, is_over: Arc<AtomicBool>) -> Result<(Vec<Duration>, usize), Error> {
    let (mut took, mut meanwhile) = (Vec::new(), 0);
    while took.is_empty() || !is_over.load(Ordering::SeqCst) {
        let began = Instant::now();
        echo(&neighbour).await?;
        took.push(began.elapsed());
        meanwhile += usize::from(!is_over.load(Ordering::SeqCst));
        tokio::task::yield_now().await;
    }
    Ok((took, meanwhile))
}

/// For how long this thread has computed, where the system tells: a machine that is busy with others does not count. Else
/// the time since then.
fn computed_since(began: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let computed = told.and_then(|told| told.split(' ').next()?.parse::<u64>().ok()).filter(|ns| *ns > 0);
    computed.map_or_else(|| began.elapsed(), Duration::from_nanos)
}

async fn echo(neighbour: &Plugin) -> Result<(), Error> {
    let said = json!({"still": "here"});
    let answer: Value = neighbour.call("echo", &said).await?.output;
    match answer == said {
        true => Ok(()),
        false => Err(Error::new(Kind::Internal(String::new()), format!("the neighbour answered {answer}"))),
    }
}

/// How long each of so many calls of the neighbour takes where there is nobody else.
pub async fn alone(calls: usize) -> Vec<Duration> {
    let host = Host::builder().code_dir(crate::compiled_code()).build().expect("a host starts");
    let plugin = Scene::of(guests::OPERATIONS_ECHO).connect_as("neighbour", &host, &account("")).await;
    let plugin = plugin.unwrap_or_else(|error| panic!("the neighbour: {error}"));
    let mut took = Vec::new();
    for _ in 0..calls {
        let began = Instant::now();
        echo(&plugin).await.expect("the neighbour answers");
        took.push(began.elapsed());
    }
    took
}

impl Move {
    fn ends(&self) -> Ends {
        match *self {
            Self::Build(ends) | Self::Load(ends) | Self::Handle(ends) | Self::Poll(ends) => ends,
            Self::Together(_, ends) | Self::Call(_, _, ends) | Self::Swap(_, _, ends) => ends,
        }
    }
}

impl Ends {
    fn holds(&self, ended: &Result<Value, Error>) -> bool {
        match (self, ended) {
            (Self::Limit(name), Err(error)) => *error.kind() == Kind::LimitExceeded((*name).to_owned()),
            (Self::Fails(kind, part), Err(error)) => error.kind().name() == *kind && error.to_string().contains(part),
            (Self::Answers(expected), Ok(answer)) => {
                serde_json::from_str::<Value>(expected).is_ok_and(|expected| expected == *answer)
            }
            (Self::Holds(part), Ok(answer)) => answer.to_string().contains(part),
            (Self::AnyOf(all), ended) => all.iter().any(|one| one.holds(ended)),
            (Self::Passes, Ok(_)) => true,
            _ => false,
        }
    }
}

impl Report {
    /// Holds a move's end against what it must be, and against what holds for all.
    fn judge(&mut self, expected: &Ends, ended: Result<Value, Error>) {
        const ERROR_BYTES_MAX: usize = 16 << 10;
        if !expected.holds(&ended) {
            self.troubles.push(format!("should have ended with {expected:?}, and did with {ended:?}"));
        }
        let shown = format!("{ended:?}");
        if forms(API_KEY).iter().any(|form| shown.contains(form)) {
            self.troubles.push(format!("a secret came out: {shown}"));
        }
        if let Err(error) = &ended {
            let text = format!("{error}\n{}", error.body().unwrap_or_default());
            if text.len() > ERROR_BYTES_MAX {
                self.troubles.push(format!("an error of {} bytes", text.len()));
            }
            if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
                self.troubles.push(format!("an error with control characters: {text:?}"));
            }
        }
        self.ended.push(match &ended {
            Ok(answer) if answer.is_string() || answer.is_array() => "answered".to_owned(),
            Ok(answer) => answer.to_string(),
            Err(error) => match error.kind() {
                Kind::LimitExceeded(name) => format!("limit {name}"),
                Kind::PolicyDenied(rule) => format!("denied {rule}"),
                kind => format!("{}: {}", kind.name(), error.message()),
            },
        });
    }

    /// Holds what was counted against the limits.
    fn count(&mut self, attack: &Attack, connection: &ConnectionMetrics) {
        let limits = limits(attack);
        let mut instance_bytes = 0;
        for operation in &connection.operations {
            let (name, instances) = (&operation.operation, operation.instances.max(1));
            // One tick to notice, and one for each of a few waits.
            let most = (limits.compute_ms + 100) * instances;
            if operation.compute_ms > most {
                self.troubles.push(format!("{name} computed for {} ms in {instances} calls", operation.compute_ms));
            }
            instance_bytes = instance_bytes.max(operation.memory_bytes_max);
            if operation.memory_bytes_max > limits.memory_bytes {
                self.troubles.push(format!("{name} had {} bytes of memory", operation.memory_bytes_max));
            }
            if operation.instances_live > 0 {
                self.troubles.push(format!("{} instances of {name} are still there", operation.instances_live));
            }
        }
        let together = attack.moves.iter().map(|step| if let Move::Together(count, _) = step { *count } else { 1 });
        self.instances_bytes = self.instances_bytes.max(instance_bytes * together.max().unwrap_or(1) as u64);
    }
}

/// The limits of an attack's connection.
fn limits(attack: &Attack) -> Limits {
    Connection::parse(&format!("[limits]\n{}", attack.limits)).expect("a row's limits").limits
}

/// A secret as it is, in percent and in hexadecimal, and the inside of its base64 after nothing, one and two bytes: what
/// stands around changes the letters at its edges only.
pub fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), percent(secret), hex(secret)];
    for letters in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in ["", "x", "xx"] {
            let whole = letters.encode(format!("{before}{secret}"));
            forms.push(whole[4..whole.len() - 4].to_owned());
        }
    }
    forms
}

fn percent(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The resident memory of this process, where the system tells.
struct Resident(u64);

impl Resident {
    /// Now, and the most from now on.
    fn begin() -> Option<Self> {
        // Where this cannot be written, the most is that of the process's whole life.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self::read("VmRSS:").map(Self)
    }

    fn end(self) -> [u64; 3] {
        [self.0, Self::read("VmHWM:").unwrap_or(self.0), Self::read("VmRSS:").unwrap_or(self.0)]
    }

    fn read(what: &str) -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(what))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    }
}
