//! What a call costs, as ratios of things measured side by side in one run.
//!
//! `cargo bench -p wharfage-tests` measures and prints one table; `cargo bench --workspace` does so too, after looking
//! for benches in every other package. `cargo test --benches --workspace` runs everything once, to see that it works, and
//! prints no figure; so does the variable `WHARFAGE_BENCH_SMOKE`. A word measures only the parts whose names hold it:
//! `cargo bench -p wharfage-tests -- loopback`.
//!
//! | part | what | against what |
//! |---|---|---|
//! | pieces | a call that does nothing, through [`wharfage::Plugin::call`]: input checked, fresh instance, limits, deadline, output parsed | the same component under bare wasmtime, same settings: store, instance, call, drop |
//! | pieces | an instance alone, under bare wasmtime: store, instance, drop | the same |
//! | pieces | an import, `clock.now`, many in one call | wharfage's call that does nothing; and the same under bare wasmtime |
//! | pieces | everything that is counted and timed of a call with one request, by itself | wharfage's call that does nothing |
//! | pieces | the outbound path by itself: `http.send` of 1 KiB, many in one call, over a transport that answers from memory | wharfage's call that does nothing |
//! | path | the steps of the outbound path, one after the other, over the same transport | all of them; and all of them against plain `reqwest` |
//! | body | the bytes that are copied and allocated of a body of 100 KiB, counted by valgrind where it is installed | the body |
//! | loopback | a call with one request over loopback, its JSON parsed by the guest, in an instance of its own and in a warm one | plain `reqwest`, its JSON parsed by `serde_json`, in the same process and on the same runtime; and the peers |
//! | flight | ten thousand calls under way on a slow provider: the memory of each, and what a call costs | the empty host; a hundred of them |
//! | crowd | a call of one of a thousand plugins | of one that is alone |
//! | loading | connecting a plugin whose code is there | connecting it for the first time |
//!
//! Hosts here have no state folder, and so keep answers, state and audit trail in memory alone and write nothing; one warm
//! contender of loopback, at 1 KiB, has one.
//!
//! Loopback is measured with about 1 KiB and about 100 KiB, with 1, 16 and 64 callers side by side. All sides parse
//! the whole answer into a `serde_json::Value` (plain `reqwest` as its own `json` does, the guest as the SDK does), send
//! the same credential, and keep their connections. On top of that the host has a grant to judge, a budget to count and a
//! credential to place and to mask. The provider is a process of its own, and so on a machine with few cores it takes part
//! of what calls per second could be; CPU is of the process that calls alone. Peers are other programs, each measured where
//! it is installed; what is missing says how to install it.
//!
//! ## Where the time goes
//!
//! What the threads of callers did, in percent of their CPU, as `perf record` saw it with 16 callers on 2026-11-29. It was
//! taken with 256 KiB of each memory kept mapped, and with the mask that read every byte.
//!
//! | | plain `reqwest`, 1 KiB | warm, 1 KiB | fresh, 1 KiB | fresh, 99 KiB, no network |
//! |---|---|---|---|---|
//! | kernel | 36 | 16 | 16 | 23 |
//! | the guest's own code | | 12 | 10 | 53 |
//! | allocating | 14 | 9 | 9 | 1 |
//! | copying | 5 | 7 | 8 | 3 |
//! | wasmtime: stores, instances, the border | | 5 | 12 | 2 |
//! | looking for secrets in answers | | 2 | 1 | 12 |
//! | HTTP client, runtime, outbound path, all else | 45 | 49 | 44 | 6 |
//!
//! Of the 23 in the last column, 19 were page faults of memory that had been given back, which now stays mapped, and 3 are
//! the growth of memory in steps of 64 KiB. Of a call that does nothing in a fresh instance, 36 is instantiation, 29 the
//! drop of the store (half of it the scan for pages that were written), 6 the check of the input, 3 the context of WASI.
//!
//! Since 2026-11-30 the host has a client of its own over `hyper`, whose wires are moved by whoever waits for the answer. Under
//! plain `reqwest` each step of an exchange wakes another task: in one run a warm call of 1 KiB took 152 µs instead of 185, a
//! fresh one 215 instead of 248, and of the kernel's wake-ups (`futex`) there were 0.6 for each request instead of 2.1 natively.
//! With that, of a warm call's CPU 30 % is the kernel, 16 the guest's own code, 12 the host's own, 7 allocating, 6 wasmtime,
//! 4 copying, 4 the runtime.
//!
//! Instructions of a call, counted by valgrind on 2026-11-30 with one caller and before that; the kernel's are not in it, and
//! hashing is without the processor's instructions for it.
//!
//! | | plain `reqwest`, 1 KiB | warm, 1 KiB | fresh, 1 KiB |
//! |---|---|---|---|
//! | the guest's own code, which parses | | 173,000 | 165,000 |
//! | allocating | 49,000 | 34,000 | 44,000 |
//! | `serde_json` and its maps | 50,000 | 11,000 | 12,000 |
//! | HTTP client and URLs | 29,000 | 37,000 | 37,000 |
//! | hashing: the cache's key, the chain of the audit trail | 1,000 | 23,000 | 23,000 |
//! | wasmtime | | 12,000 | 56,000 |
//! | copying | 11,000 | 19,000 | 23,000 |
//! | the host's own code, runtime, all else | 25,000 | 63,000 | 65,000 |
//! | together | 164,000 | 371,000 | 424,000 |
//!
//! Since then nothing large is moved that need not be, and the guest looks once at whether an answer is UTF-8, as the SDK
//! does: without its socket a warm call is 252,000 instructions (139,000 the guest's, 28,000 allocating, 24,000 hashing,
//! 20,000 the host's own, 11,000 wasmtime) and 32 kB that are copied, a fresh one 313,000 and 44 kB. `counts call` counts
//! them, and a change of them fails.
//!
//! The same code takes longer in a call: the HTTP client's 17,000 instructions are 7.5 µs of plain `reqwest`, and its
//! 20,000 are 15 µs of a call. What guest and host have and do push each other out of the caches, and so all that is left
//! out of a call makes the rest of it faster as well. Of three of the client's URLs one was ours to save.
//!
//! What gave nothing that stood out from the noise: guests at level 2 or 3 instead of `s`, with SIMD or without (and they
//! were a third larger); `serde_json` alone at level 3; 2 or 4 MiB kept mapped instead of 1. A guest that starts with more
//! memory would not grow it, and each call would scan more. mimalloc took 10 to 23 % off plain `reqwest` at 1 KiB, and off a
//! call less than the noise, so the program keeps the allocator of the C library. Linked as a whole (thin LTO), calls and
//! plain `reqwest` became some 5 % cheaper alike, and each program took five minutes more to link.
//!
//! How it is measured stands in `measure.rs`. Absolute figures are of one machine and its mood: trust the ratios.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on says where and stops")]

mod bare;
mod crowd;
mod flight;
mod loading;
mod measure;
mod peers;
mod provider;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use wharfage::{Host, Plugin};
use wharfage_tests::API_KEY;
use wharfage_tests::counts::{BODY_BYTES, BODY_COPIES_MAX, Unit, carried};
use wharfage_tests::measured::{self, Memory, NOWHERE, Size, WARM};

use bare::Bare;
use crowd::Crowd;
use flight::Flight;
use measure::{Contender, Costs, Effort, Spread, measure, measure_all};
use peers::Peer;
use provider::Provider;

/// The parts by name; a word of the command line chooses those that hold it.
const PARTS: [&str; 7] = ["pieces", "path", "body", "loopback", "flight", "crowd", "loading"];

/// How many imports one call makes: so many that the call around them hardly counts, and within the host's limits.
const IMPORTS: usize = 10_000;
/// How many requests one call sends.
const REQUESTS: usize = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let is_smoke = is_smoke(&arguments);
    let says = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    match () {
        () if says(provider::ARGUMENT) => return provider::run(),
        () if says(flight::ARGUMENT) => return flight::run(&arguments, says("--test")),
        () if says(crowd::ARGUMENT) => return crowd::run(effort(says("--test"), 15, 100)),
        () => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let words: Vec<&String> = arguments.iter().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |part: &str| words.is_empty() || words.iter().any(|word| part.contains(word.as_str()));
    if !is_smoke {
        print_head();
    }
    runtime.block_on(async {
        let component = measured::component().await;
        let provider = Provider::start();
        for part in PARTS.into_iter().filter(|part| is_wanted(part)) {
            let groups = match part {
                "pieces" => pieces(effort(is_smoke, 31, 60), &component).await,
                "path" => vec![path(effort(is_smoke, 31, 60), &component, &provider).await],
                "body" => vec![body(is_smoke)],
                "loopback" => loopbacks(is_smoke, &component, &provider).await,
                "flight" => vec![in_flight(&Flight::measure(&provider, is_smoke))],
                "crowd" => vec![crowded(&Crowd::measure(is_smoke))],
                _ => vec![loaded(is_smoke).await],
            };
            if !is_smoke {
                print(&groups);
            }
        }
    });
    if is_smoke {
        println!("every contender ran; `cargo bench -p wharfage-tests` measures them");
    }
}

fn effort(is_smoke: bool, rounds: usize, turn_ms: u64) -> Effort {
    if is_smoke { Effort { rounds: 1, turn_ms: 0 } } else { Effort { rounds, turn_ms } }
}

/// Cargo says `--bench` when it benches and nothing when it tests.
fn is_smoke(arguments: &[String]) -> bool {
    #[expect(clippy::disallowed_methods, reason = "how much a bench does is a matter of whoever starts it")]
    let is_asked = std::env::var("WHARFAGE_BENCH_SMOKE").is_ok_and(|value| !matches!(&*value, "" | "0"));
    let says = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    is_asked || says("--test") || !says("--bench")
}

/// Rows that belong together.
struct Group {
    title: String,
    rows: Vec<Row>,
}

/// A line of the table.
struct Row {
    name: String,
    /// What a contender costs, and against which other; the one that the others are held against has none.
    costs: Option<(Costs, Option<Costs>)>,
    /// What is said in words.
    said: String,
}

impl Row {
    fn measure(costs: &Costs) -> Self {
        Self { name: costs.name.into(), costs: Some((costs.clone(), None)), said: String::new() }
    }

    fn against(costs: &Costs, against: &Costs) -> Self {
        Self { costs: Some((costs.clone(), Some(against.clone()))), ..Self::measure(costs) }
    }

    fn said(name: &str, said: String) -> Self {
        Self { name: name.into(), costs: None, said }
    }

    /// With what is wanted of a ratio.
    fn wants(mut self, wanted: Wanted, ratio: Option<Spread>) -> Self {
        let Some(ratio) = ratio else { return self };
        let (is_met, words) = match wanted {
            Wanted::AtLeast(bound, what) => (ratio.median >= bound, format!("at least {bound} {what}")),
            Wanted::AtMost(bound, what) => (ratio.median <= bound, format!("at most {bound} {what}")),
        };
        let between = if self.said.is_empty() { "" } else { "; " };
        let _ = write!(self.said, "{between}{words}: {ratio}, {}", if is_met { "met" } else { "MISSED" });
        self
    }
}

/// What a ratio should be, and what it is a ratio of.
enum Wanted {
    AtLeast(f64, &'static str),
    AtMost(f64, &'static str),
}

/// What is wanted of calls per second of CPU, where something else is not said.
const PER_CPU: &str = "of its calls per CPU second";

/// What a call is made of, one at a time and without a network.
async fn pieces(effort: Effort, component: &[u8]) -> Vec<Group> {
    let plugin = from_memory(component).await;
    let bare = Arc::new(Bare::new(component, host_is_pooled()).expect("wasmtime takes the component"));
    let clock = json!({ "times": IMPORTS }).to_string();
    let contenders = [
        Contender::new("wasmtime: instance", {
            let bare = bare.clone();
            move || {
                let bare = bare.clone();
                async move { bare.instantiate().await }
            }
        }),
        called_bare("wasmtime: instance and call", &bare, "nothing", "{}"),
        called("wharfage: call", &plugin, "nothing", json!({}), |output| output.is_null()),
        called_bare("wasmtime: clock.now", &bare, "clock", &clock),
        called("wharfage: clock.now", &plugin, "clock", json!({ "times": IMPORTS }), |output| {
            output.as_u64() > Some(0)
        }),
        called("wharfage: http.send", &plugin, "send", json!({ "url": "{api}/small", "times": REQUESTS }), |output| {
            *output == REQUESTS * Size::Small.json().len()
        }),
        Contender::new("nothing", || async {}),
        Contender::new("what is counted of a call", {
            let plugin = plugin.clone();
            move || {
                let plugin = plugin.clone();
                async move { plugin.count(IMPORTS) }
            }
        }),
    ];
    let [instance, bare_call, call, bare_clock, clock, send, nothing, counted] = measure(effort, 1, contenders).await;
    let (bare_import, import) = (bare_clock.each(IMPORTS, &bare_call), clock.each(IMPORTS, &call));
    let request = send.each(REQUESTS, &call);
    let counted = counted.each(IMPORTS, &nothing);
    vec![
        Group {
            title: "A call that does nothing, against bare wasmtime".into(),
            rows: vec![
                Row::measure(&bare_call),
                Row::against(&instance, &bare_call),
                Row::against(&call, &bare_call)
                    .wants(Wanted::AtMost(1.5, "times its CPU"), call.cpu_against(&bare_call)),
            ],
        },
        Group {
            title: "One import, against wharfage's call that does nothing".into(),
            rows: vec![Row::measure(&call), Row::against(&import, &call), Row::against(&request, &call)],
        },
        Group {
            title: "What is counted of a call with one request, against wharfage's call that does nothing".into(),
            rows: vec![Row::measure(&call), Row::against(&counted, &call)],
        },
        Group {
            title: "One import, against bare wasmtime".into(),
            rows: vec![Row::measure(&bare_import), Row::against(&import, &bare_import)],
        },
    ]
}

/// Many requests through so many steps of the path and no further, without a network; one step is what it takes more than
/// those before it.
async fn path(effort: Effort, component: &[u8], provider: &Provider) -> Group {
    /// Side by side, as calls mostly are.
    const NATIVE: usize = 16;
    let plugin = from_memory(component).await;
    let mut contenders: Vec<Contender> = Plugin::STEPS
        .into_iter()
        .enumerate()
        .map(|(steps, name)| {
            let plugin = plugin.clone();
            Contender::new(name, move || {
                let plugin = plugin.clone();
                async move { plugin.walk("{api}/small", steps, REQUESTS).await.expect("the path leads on") }
            })
        })
        .collect();
    let request = natively(provider, Size::Small);
    contenders.push(Contender::new("reqwest and serde_json", move || {
        let sixteen: Vec<_> = (0..NATIVE).map(|_| tokio::spawn(request())).collect();
        async move {
            for one in sixteen {
                one.await.expect("it is answered");
            }
        }
    }));
    contenders.push(Contender::new("nothing", || async {}));
    let mut costs = measure_all(effort, 1, contenders).await;
    let nothing = costs.pop().expect("it is the last");
    let native = costs.pop().expect("it is the last but one").each(NATIVE, &nothing);
    let steps: Vec<Costs> = costs.windows(2).map(|pair| pair[1].each(REQUESTS, &pair[0])).collect();
    let whole = costs[costs.len() - 1].each(REQUESTS, &costs[0]).named("the whole path");
    let share = whole.cpu_against(&native);
    let mut rows = vec![Row::measure(&whole)];
    rows.extend(steps.iter().map(|step| Row::against(step, &whole)));
    rows.push(Row::against(&native, &whole).wants(Wanted::AtMost(0.2, "times its CPU is the whole path"), share));
    Group { title: "The outbound path without a network, step by step, against all of it".into(), rows }
}

/// What a body costs on its way into a guest.
fn body(is_smoke: bool) -> Group {
    let title = "A body of 100 KiB, from the transport into the guest, in bytes (counted by valgrind)".into();
    let program = Path::new(env!("CARGO_BIN_EXE_counts"));
    let row = |unit: Unit, name| match carried(unit).count(program) {
        Ok(bytes) => {
            let times = bytes as f64 / BODY_BYTES as f64;
            let row = Row::said(name, format!("{bytes}, which is {times:.2} times the body"));
            match unit {
                Unit::BytesCopied => {
                    row.wants(Wanted::AtMost(BODY_COPIES_MAX, "times the body"), Some(Spread::of(vec![times])))
                }
                _ => row,
            }
        }
        Err(why) => Row::said(name, format!("left out: {why}")),
    };
    // Valgrind takes seconds, and the suite has what it counted.
    let rows = match is_smoke {
        true => Vec::new(),
        false => vec![row(Unit::BytesCopied, "copied"), row(Unit::BytesAllocated, "allocated")],
    };
    Group { title, rows }
}

async fn loopbacks(is_smoke: bool, component: &[u8], provider: &Provider) -> Vec<Group> {
    let fresh = measured::connect(Host::builder(), component, &provider.url, "").await;
    let warm = measured::connect(Host::builder(), component, &provider.url, WARM).await;
    let folder = tempfile::tempdir().expect("a folder");
    let durable = measured::connect(Host::builder().state_dir(folder.path()), component, &provider.url, WARM).await;
    let (peers, missing) = Peer::all(&provider.url).await;
    let mut groups = Vec::new();
    for size in [Size::Small, Size::Large] {
        let mut plugins = vec![(FRESH, &fresh), (WARM_NAME, &warm)];
        if size == Size::Small {
            plugins.push((DURABLE, &durable));
        }
        for width in [1, 16, 64] {
            let peers = if width > 1 { peers.as_slice() } else { &[] };
            let effort = effort(is_smoke, 15, 300);
            groups.push(loopback(effort, size, width, &plugins, provider, peers).await);
        }
    }
    let rows: Vec<Row> = missing.into_iter().map(|install| Row::said("left out", install.into())).collect();
    if !rows.is_empty() {
        groups.push(Group { title: "Who is not in these tables".into(), rows });
    }
    groups
}

/// A call with one request, against a request without a call.
async fn loopback(
    effort: Effort,
    size: Size,
    width: usize,
    plugins: &[(&'static str, &Plugin)],
    provider: &Provider,
    peers: &[Peer],
) -> Group {
    let input = json!({ "url": format!("{{api}}{}", size.path()) });
    let mut contenders = vec![Contender::new("reqwest and serde_json", natively(provider, size))];
    for &(name, plugin) in plugins {
        contenders.push(called(name, plugin, "parse", input.clone(), move |output| *output == size.orders()));
    }
    contenders.extend(peers.iter().map(|peer| peer.contender(size.path())));
    let costs = measure_all(effort, width, contenders).await;
    let plain = &costs[0];
    let of = |name: &str| costs.iter().find(|costs| costs.name == name);
    // What is wanted of ours against each of them, side by side only.
    let least = match size {
        Size::Small => [(FRESH, 0.40), (WARM_NAME, 0.65)],
        Size::Large => [(FRESH, 0.70), (WARM_NAME, 0.80)],
    };
    let peers = [
        (Peer::EXTISM_FRESH, 4.0, FRESH, "times its calls per CPU second, fresh"),
        (Peer::EXTISM_OWN_HTTP, 3.0, WARM_NAME, "times its calls per CPU second, warm"),
        (Peer::EXTISM_FUNCTION, 1.3, WARM_NAME, "times its calls per CPU second, warm"),
        (Peer::GUIDE, 4.0, FRESH, "times its calls per CPU second, fresh"),
        (Peer::GUIDE, 7.0, WARM_NAME, "times its calls per CPU second, warm"),
    ];
    let rows = costs.iter().enumerate().map(|(at, costs)| {
        if at == 0 {
            return Row::measure(costs);
        }
        let mut row = Row::against(costs, plain);
        if width > 1 {
            for (_, bound) in least.iter().filter(|(name, _)| *name == costs.name) {
                row = row.wants(Wanted::AtLeast(*bound, PER_CPU), costs.per_cpu_against(plain));
            }
            // The figures are of small answers: with large ones all of them do little but parse.
            for (_, bound, ours, what) in peers.iter().filter(|(name, ..)| *name == costs.name && size == Size::Small) {
                row = row.wants(Wanted::AtLeast(*bound, what), of(ours).and_then(|ours| ours.per_cpu_against(costs)));
            }
        }
        row
    });
    let rows = rows.collect();
    let kib = size.json().len() as f64 / 1024.0;
    Group {
        title: format!(
            "One request over loopback, {kib:.0} KiB of JSON parsed, {width} side by side, against plain reqwest"
        ),
        rows,
    }
}

const FRESH: &str = "wharfage: call, fresh instance";
const WARM_NAME: &str = "wharfage: call, warm instance";
const DURABLE: &str = "wharfage: warm, state folder";

/// A request without a call.
fn natively(provider: &Provider, size: Size) -> impl Fn() -> wharfage::BoxFuture<'static, ()> + Clone + Send + 'static {
    let client =
        reqwest::Client::builder().no_proxy().pool_max_idle_per_host(64).tcp_nodelay(true).build().expect("a client");
    let url = format!("{}{}", provider.url, size.path());
    move || {
        let (client, url) = (client.clone(), url.clone());
        Box::pin(async move {
            let request = client.get(&url).header("authorization", format!("App {API_KEY}"));
            let answer = request.send().await.expect("the provider answers").error_for_status().expect("it is content");
            let body: Value =
                serde_json::from_slice(&answer.bytes().await.expect("the whole of it")).expect("it is JSON");
            assert_eq!(body["orders"].as_array().map(Vec::len), Some(size.orders()));
        })
    }
}

fn in_flight(flight: &Flight) -> Group {
    let [few, all, plain_few, plain_all] = flight.costs();
    let each = flight.bytes_each() / 1024.0;
    let memory = format!("{:.0} MiB before, {:.0} MiB with all", mib(flight.resident.0), mib(flight.resident.1));
    let rows = vec![
        Row::said("how many", flight.limits()),
        Row::said("resident", memory).wants(Wanted::AtMost(64.0, "KiB each"), Some(Spread::of(vec![each]))),
        Row::measure(&few),
        Row::against(&all, &few).wants(Wanted::AtLeast(0.9, "of its calls per second"), Some(all.rate_against(&few))),
        Row::against(&plain_few, &few),
        Row::against(&plain_all, &plain_few),
    ];
    let (calls, few) = (flight.calls, flight.few);
    let title = format!("{calls} calls under way on a slow provider, against {few}; plain rounds come after ours");
    Group { title, rows }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn crowded(crowd: &Crowd) -> Group {
    let [alone, one, all] = crowd.costs();
    let at_most = || Wanted::AtMost(1.05, "times its CPU");
    let rows = vec![
        Row::measure(&alone),
        Row::against(&one, &alone).wants(at_most(), one.cpu_against(&alone)),
        Row::against(&all, &alone).wants(at_most(), all.cpu_against(&alone)),
        Row::said("loading", format!("{:.1} ms each, compiling included", crowd.load_ms)),
    ];
    Group { title: format!("{} plugins loaded, against one", crowd.plugins), rows }
}

async fn loaded(is_smoke: bool) -> Group {
    let rows = loading::measure(is_smoke).await.into_iter().map(|loading| {
        let [compiled, found] = loading.ms;
        let said = format!("{} kB; compiled in {compiled} ms, loaded in {found} ms", loading.bytes / 1000);
        Row::said(&loading.name, said).wants(Wanted::AtLeast(50.0, "times as fast"), Some(loading.times))
    });
    Group { title: "Connecting a plugin whose code is kept, against compiling it".into(), rows: rows.collect() }
}

/// The guest over a transport that answers at once.
async fn from_memory(component: &[u8]) -> Plugin {
    let host = Host::builder().transport(Memory(Size::Small.json().into()));
    measured::connect(host, component, NOWHERE, "").await
}

/// An operation through the host.
fn called(
    name: &'static str,
    plugin: &Plugin,
    operation: &'static str,
    input: Value,
    is_right: impl Fn(&Value) -> bool + Send + Sync + 'static,
) -> Contender {
    let parts = Arc::new((plugin.clone(), input, is_right));
    Contender::new(name, move || {
        let parts = parts.clone();
        async move {
            let (plugin, input, is_right) = &*parts;
            let answer =
                plugin.call::<Value>(operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error:?}"));
            assert!(is_right(&answer.output), "{operation} answered {}", answer.output);
        }
    })
}

/// The same through nothing.
fn called_bare(name: &'static str, bare: &Arc<Bare>, operation: &'static str, input: &str) -> Contender {
    let parts = Arc::new((bare.clone(), input.to_owned()));
    Contender::new(name, move || {
        let parts = parts.clone();
        async move {
            let output = parts.0.call(operation, &parts.1).await;
            assert!(!output.is_empty());
        }
    })
}

fn host_is_pooled() -> bool {
    wharfage_tests::component::builder().is_pooled()
}

fn print_head() {
    let build = if cfg!(debug_assertions) {
        "a dev build: only what is below our own code is optimised"
    } else {
        "a release build"
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\n{build}, {cores} cores; medians of interleaved rounds, the quartiles of a ratio in brackets\n");
    println!(
        "{:<34}{:>11}{:>12}   {:<26}{:<26}times the calls/s",
        "", "CPU µs", "calls/s", "times the CPU", "calls per CPU s"
    );
}

fn print(groups: &[Group]) {
    for Group { title, rows } in groups {
        println!("{title}");
        for Row { name, costs, said } in rows {
            let Some((costs, against)) = costs else {
                println!("  {name:<32}  {said}");
                continue;
            };
            let rate = costs.calls_per_s();
            let cpu_us =
                costs.cpu_us().map_or("unknown".to_owned(), |us| format!("{us:.*}", if us < 10.0 { 3 } else { 1 }));
            // What costs less than the noise has no ratio.
            let told = |ratio: Option<Spread>| match ratio {
                Some(ratio) if ratio.is_finite() => ratio.to_string(),
                _ => "unknown".to_owned(),
            };
            let (cpu_against, per_cpu_against, rate_against) = match against {
                None => ("1".to_owned(), "1".to_owned(), "1".to_owned()),
                Some(other) => (
                    told(costs.cpu_against(other)),
                    told(costs.per_cpu_against(other)),
                    told(Some(costs.rate_against(other))),
                ),
            };
            println!("  {name:<32}{cpu_us:>11}{rate:>12.0}   {cpu_against:<26}{per_cpu_against:<26}{rate_against}");
            if !said.is_empty() {
                println!("    {said}");
            }
        }
    }
}
