//! A thousand plugins in one host, and what a call of one of them costs then.
//!
//! They are copies of one small component, each with a section of its own, so that each has a digest, compiled code and a
//! connection of its own. A process of its own does this, for a thousand components make it large.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharfage::{Connection, Host, Plugin};
use wharfage_tests::component::with_custom;
use wharfage_tests::measured::Memory;
use wharfage_tests::{Scene, guests};

use crate::measure::{Contender, Cost, Costs, Effort, measure};

/// The argument that makes this program the one with so many plugins.
pub(crate) const ARGUMENT: &str = "--be-a-crowd";

/// How many there are.
const PLUGINS: usize = 1_000;

/// The name of each contender.
const NAMES: [&str; 3] = ["one plugin, alone", "one of a thousand", "a thousand in turn"];

/// What it came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Crowd {
    /// How many there are.
    pub(crate) plugins: usize,
    /// Milliseconds that loading one took, compiling included.
    pub(crate) load_ms: f64,
    rounds: [Vec<(Option<f64>, f64)>; 3],
}

impl Crowd {
    /// Measures.
    ///
    /// # Panics
    /// When the other process does not come to an end.
    pub(crate) fn measure(is_smoke: bool) -> Self {
        let mut program = Command::new(std::env::current_exe().expect("this program has a file"));
        program.arg(ARGUMENT).args(is_smoke.then_some("--test")).stderr(Stdio::inherit());
        let output = program.output().expect("it starts");
        assert!(output.status.success(), "a thousand plugins did not come to an end");
        serde_json::from_slice(&output.stdout).expect("it says what it came to")
    }

    /// What a call costs: of a plugin that is alone, of the same one among the others, of each of them in turn.
    pub(crate) fn costs(&self) -> [Costs; 3] {
        std::array::from_fn(|at| {
            let rounds = self.rounds[at].iter().map(|(cpu_ns, wall_ns)| Cost { cpu_ns: *cpu_ns, wall_ns: *wall_ns });
            Costs::of(NAMES[at], rounds.collect())
        })
    }
}

/// What this program does as the one with so many plugins.
pub(crate) fn run(effort: Effort) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let crowd = runtime.block_on(gather(effort));
    println!("{}", serde_json::to_string(&crowd).expect("numbers"));
}

async fn gather(effort: Effort) -> Crowd {
    let count = if effort.turn_ms == 0 { 3 } else { PLUGINS };
    let component = Scene::of(guests::CLOCK_NOW).component().await;
    let host = || Host::builder().transport(Memory(Default::default())).build().expect("a host");
    let alone = load(&host(), &component, 0).await;
    let (crowded, began) = (host(), Instant::now());
    let mut crowd = Vec::with_capacity(count);
    for number in 0..count {
        crowd.push(load(&crowded, &component, number).await);
    }
    let load_ms = began.elapsed().as_secs_f64() * 1e3 / count as f64;
    let one = crowd[count / 2].clone();
    let (crowd, next) = (Arc::new(crowd), Arc::new(AtomicUsize::new(0)));
    let contenders = [
        Contender::new(NAMES[0], move || now(alone.clone())),
        Contender::new(NAMES[1], move || now(one.clone())),
        Contender::new(NAMES[2], move || now(crowd[next.fetch_add(1, Ordering::Relaxed) % crowd.len()].clone())),
    ];
    let costs = measure(effort, 1, contenders).await;
    let rounds = costs.map(|costs| costs.rounds().iter().map(|cost| (cost.cpu_ns, cost.wall_ns)).collect());
    Crowd { plugins: count, load_ms, rounds }
}

async fn load(host: &Host, component: &[u8], number: usize) -> Plugin {
    let bytes = with_custom(component.to_vec(), "number", number.to_string().as_bytes());
    let connection = Connection::parse("plugin = 'clock-now'").expect("a connection");
    host.connect(&format!("number-{number}"), &bytes, &connection, None).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn now(plugin: Plugin) {
    let answer = plugin.call::<Value>("now", &json!({})).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert!(answer.output["host_ms"].as_u64() > Some(0), "{}", answer.output);
}
