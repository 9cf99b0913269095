//! Ten thousand calls under way at once, on a provider that keeps them waiting.
//!
//! A process of its own measures it, so that its memory is that of this and of nothing else. First the provider holds
//! every answer until as many calls wait as there should be: what is resident then, less what was before the first of
//! them, is what they hold. A page that all of them share is there once, and counted once. Then it answers each after a
//! while, which is so long that the machine has enough to do with a hundred calls at once as with all of them, and calls
//! are counted for a few seconds, in turns; so are plain requests, which show what of it is the provider's and the
//! kernel's. Their rounds come after all of ours, for there are descriptors for one of the two.
//!
//! Each call holds a connection, so a descriptor; and an instance, so some mappings. As many calls are made as the limits
//! of both allow.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wharfage::{EnginePolicy, Host, HostBuilder, Plugin};
use wharfage_tests::measured::{self, Size};

use crate::measure::{Cost, Costs, Cpu};
use crate::provider::Provider;

/// The argument that makes this program the one with so many calls; the provider's URL follows.
pub(crate) const ARGUMENT: &str = "--be-in-flight";

/// How many there should be, and how many it is held against.
const WANTED: usize = 10_000;
const FEW: usize = 100;

/// Descriptors and mappings for everything else.
const DESCRIPTORS_SPARE: usize = 200;
const MAPPINGS_SPARE: usize = 2_000;

/// The provider waits so long that no more calls a second could end than this, however many are under way.
const CALLS_PER_S_MAX: usize = 20_000;

/// What it came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Flight {
    /// Calls under way at once.
    pub(crate) calls: usize,
    /// How many there should have been.
    pub(crate) wanted: usize,
    /// What the limits of the process are, and what of them was used.
    pub(crate) descriptors: (usize, usize),
    /// The same of mappings.
    pub(crate) mappings: (usize, usize),
    /// Instances that the host lets live at once.
    pub(crate) instances: usize,
    /// Bytes of memory of the process before and with all of them.
    pub(crate) resident: (usize, usize),
    /// How many calls the others are.
    pub(crate) few: usize,
    /// Nanoseconds of CPU and of time of a call among few and among all, then the same of a plain request, round by round.
    rounds: Vec<[(Option<f64>, f64); 4]>,
}

impl Flight {
    /// Measures.
    ///
    /// # Panics
    /// When the other process does not come to an end.
    pub(crate) fn measure(provider: &Provider, is_smoke: bool) -> Self {
        let mut program = Command::new(std::env::current_exe().expect("this program has a file"));
        program.args([ARGUMENT, &provider.url]).args(is_smoke.then_some("--test")).stderr(Stdio::inherit());
        let output = program.output().expect("it starts");
        assert!(output.status.success(), "ten thousand calls did not come to an end");
        serde_json::from_slice(&output.stdout).expect("it says what it came to")
    }

    /// Bytes of memory that a call holds.
    pub(crate) fn bytes_each(&self) -> f64 {
        self.resident.1.saturating_sub(self.resident.0) as f64 / self.calls.max(1) as f64
    }

    /// What a call costs among few and among all, and a plain request among as many.
    pub(crate) fn costs(&self) -> [Costs; 4] {
        let costs = |at: usize, name| {
            let rounds = self.rounds.iter().map(|round| Cost { cpu_ns: round[at].0, wall_ns: round[at].1 });
            Costs::of(name, rounds.collect())
        };
        [
            costs(0, "calls, a hundred under way"),
            costs(1, "calls, all under way"),
            costs(2, "plain reqwest, a hundred under way"),
            costs(3, "plain reqwest, all under way"),
        ]
    }

    /// What bounded it.
    pub(crate) fn limits(&self) -> String {
        let Self { calls, wanted, descriptors, mappings, instances, .. } = self;
        let mut said = format!("{calls} calls under way");
        if calls < wanted {
            let _ = write!(said, " of {wanted} wanted");
        }
        let _ = write!(
            said,
            "; descriptors {} of {}, mappings {} of {}, instances {instances} at most",
            descriptors.1, descriptors.0, mappings.1, mappings.0
        );
        said
    }
}

/// A host with room for so many instances, and how many it has room for.
fn roomy(host: HostBuilder, wanted: usize) -> (HostBuilder, usize) {
    let mut policy = EnginePolicy::default();
    policy.limits.instances_alive = wanted as u64;
    (host.engine(policy), wanted)
}

/// What this program does as the one with so many calls.
pub(crate) fn run(arguments: &[String], is_smoke: bool) {
    let url = arguments.iter().skip_while(|argument| *argument != ARGUMENT).nth(1).expect("the provider's URL");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let flight = runtime.block_on(fly(url, is_smoke));
    println!("{}", serde_json::to_string(&flight).expect("numbers"));
}

async fn fly(url: &str, is_smoke: bool) -> Flight {
    let (wanted, few) = if is_smoke { (20, 5) } else { (WANTED, FEW) };
    let (host, instances) = roomy(Host::builder(), wanted + FEW);
    let component = measured::component().await;
    let limits = format!("[limits]\ncalls = {wanted}\nattempt_ms = 300000\ncall_ms = 600000");
    let plugin = measured::connect(host, &component, url, &limits).await;
    let provider = reqwest::Client::builder().no_proxy().build().expect("a client");
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(wanted).tcp_nodelay(true);
    let client = client.build().expect("a client");
    let asked = |what: &'static str| {
        let request = provider.get(format!("{url}{what}"));
        async move {
            request
                .send()
                .await
                .expect("it answers")
                .text()
                .await
                .expect("a number")
                .parse::<usize>()
                .expect("a number")
        }
    };
    // The first one pays for the client, its trust roots and threads.
    call(&plugin, "/small").await;
    asked("/held").await;
    let mut flight = Flight {
        wanted,
        few,
        instances,
        descriptors: (limit_of("Max open files"), 0),
        mappings: (number_in("/proc/sys/vm/max_map_count"), 0),
        ..Flight::default()
    };
    let before = (resident(), mappings());
    let mut most = wanted.min(flight.descriptors.0.saturating_sub(DESCRIPTORS_SPARE)).min(instances);
    let mut calls = JoinSet::new();
    while calls.len() < most {
        // Some at once, so that no queue of connections overflows.
        for _ in 0..few.min(most - calls.len()) {
            let plugin = plugin.clone();
            calls.spawn(async move { call(&plugin, "/hold").await });
        }
        let began = Instant::now();
        while asked("/held").await < calls.len() {
            assert!(began.elapsed() < Duration::from_secs(60), "{} of {} wait", asked("/held").await, calls.len());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // What each has taken of the mappings so far, the others will take as well.
        let taken = mappings().saturating_sub(before.1);
        let room = flight.mappings.0.saturating_sub(before.1 + MAPPINGS_SPARE);
        most = most.min((room * calls.len()).checked_div(taken).unwrap_or(most)).max(calls.len());
    }
    flight.calls = calls.len();
    flight.resident = (before.0, resident());
    flight.mappings.1 = mappings();
    flight.descriptors.1 = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    asked("/let-go").await;
    while let Some(called) = calls.join_next().await {
        called.expect("it ends");
    }
    let rounds = if is_smoke { 1 } else { 5 };
    let mut ours = Vec::new();
    for _ in 0..rounds {
        let among = |width| {
            let (plugin, path) = (plugin.clone(), slow(width));
            throughput(width, is_smoke, move || {
                let (plugin, path) = (plugin.clone(), path.clone());
                async move { call(&plugin, &path).await }
            })
        };
        ours.push([among(few).await, among(flight.calls).await]);
    }
    // Its connections go with it: there are descriptors for one of the two.
    drop(plugin);
    for [among_few, among_all] in ours {
        let among = |width| {
            let (client, url) = (client.clone(), format!("{url}{}", slow(width)));
            throughput(width, is_smoke, move || ask(client.clone(), url.clone()))
        };
        let round = [among_few, among_all, among(few).await, among(flight.calls).await];
        flight.rounds.push(round.map(|cost| (cost.cpu_ns, cost.wall_ns)));
    }
    flight
}

/// Where the provider takes so long that so many at once are no more than it can answer.
fn slow(width: usize) -> String {
    format!("/slow/{}", (width * 1_000).div_ceil(CALLS_PER_S_MAX))
}

/// What one of these costs where so many are under way all the time.
async fn throughput<F, R>(width: usize, is_smoke: bool, once: F) -> Cost
where
    F: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let (settling_ms, counted_ms) = if is_smoke { (1, 20) } else { (2_000, 3_000) };
    let (ended, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for number in 0..width {
        if number % FEW == FEW - 1 {
            // Some at once, so that no queue of connections overflows.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let (once, ended, is_over) = (once.clone(), ended.clone(), is_over.clone());
        callers.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                once().await;
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let read = || (ended.load(Ordering::Relaxed), Cpu::read(None), Instant::now());
    tokio::time::sleep(Duration::from_millis(settling_ms)).await;
    let before = read();
    tokio::time::sleep(Duration::from_millis(counted_ms)).await;
    let after = read();
    is_over.store(true, Ordering::Relaxed);
    while let Some(called) = callers.join_next().await {
        called.expect("it ends");
    }
    let each = (after.0 - before.0).max(1) as f64;
    Cost {
        cpu_ns: before.1.zip(after.1).map(|(before, after)| after.since_ns(&before) / each),
        wall_ns: (after.2 - before.2).as_nanos() as f64 / each,
    }
}

async fn call(plugin: &Plugin, path: &str) {
    let input = json!({ "url": format!("{{api}}{path}") });
    let answer = plugin.call::<Value>("parse", &input).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
    assert_eq!(answer.output, Size::Small.orders(), "{path}");
}

/// The same without a host.
async fn ask(client: reqwest::Client, url: String) {
    let answer = client.get(url).send().await.expect("it answers").bytes().await.expect("the whole of it");
    let body: Value = serde_json::from_slice(&answer).expect("it is JSON");
    assert_eq!(body["orders"].as_array().map(Vec::len), Some(Size::Small.orders()));
}

/// A limit of this process, as the kernel tells it.
fn limit_of(name: &str) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024)
}

fn number_in(path: &str) -> usize {
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(65_530)
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().count()
}

/// Bytes of memory that the process has. The kernel divides a page by how often it is mapped, so one that all instances
/// see is in the sum once.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or_default() << 10
}
