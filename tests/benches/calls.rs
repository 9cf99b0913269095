//! What a call costs, as ratios of things measured side by side in one run.
//!
//! `cargo bench -p wharfage-tests` measures and prints one table; `cargo bench --workspace` does so too, after looking
//! for benches in every other package. `cargo test --benches --workspace` runs everything once, to see that it works, and
//! prints no figure; so does the variable `WHARFAGE_BENCH_SMOKE`.
//!
//! | what | against what |
//! |---|---|
//! | a call that does nothing, through [`wharfage::Plugin::call`]: input checked, fresh instance, limits, deadline, output parsed | the same component under bare wasmtime, same settings: store, instance, call, drop |
//! | an instance alone, under bare wasmtime: store, instance, drop | the same |
//! | an import, `clock.now`, many in one call | wharfage's call that does nothing; and the same under bare wasmtime |
//! | everything that is counted and timed of a call with one request, by itself | wharfage's call that does nothing |
//! | the outbound path by itself: `http.send` of 1 KiB, many in one call, over a transport that answers from memory | wharfage's call that does nothing |
//! | a call with one request over loopback, its JSON parsed by the guest, in an instance of its own | plain `reqwest`, its JSON parsed by `serde_json`, in the same process and on the same runtime |
//!
//! The last one is measured with about 1 KiB and about 100 KiB, with 1, 16 and 64 callers side by side. Both sides parse
//! into a `serde_json::Value`, send the same credential, and keep their connections. On top of that the host has a grant
//! to judge, a budget to count and a credential to place and to mask. The provider is a process of its own, and so on a
//! machine with few cores it takes part of what calls per second could be; CPU is of this process alone.
//!
//! How it is measured stands in `measure.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on says where and stops")]

mod bare;
mod measure;
mod provider;

use std::sync::Arc;

use serde_json::{Value, json};
use wharfage::{Body, BoxFuture, Connection, Head, Host, HostBuilder, Lost, Plugin, Signed, Transport};
use wharfage_tests::{API_KEY, Scene, guests, scene};

use bare::Bare;
use measure::{Contender, Costs, Effort, measure};
use provider::{Provider, Size};

/// How many imports one call makes: so many that the call around them hardly counts, and within the host's limits.
const IMPORTS: usize = 10_000;
/// How many requests one call sends.
const REQUESTS: usize = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == provider::ARGUMENT) {
        return provider::run();
    }
    let is_smoke = is_smoke(&arguments);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let groups = runtime.block_on(groups(is_smoke));
    if is_smoke {
        println!("every contender ran; `cargo bench -p wharfage-tests` measures them");
    } else {
        print(&groups);
    }
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

/// What a contender costs, and against which other; the one that the others are held against has none.
struct Row {
    costs: Costs,
    against: Option<Costs>,
}

impl Row {
    fn measure(costs: &Costs) -> Self {
        Self { costs: costs.clone(), against: None }
    }

    fn against(costs: &Costs, against: &Costs) -> Self {
        Self { costs: costs.clone(), against: Some(against.clone()) }
    }
}

async fn groups(is_smoke: bool) -> Vec<Group> {
    let effort = |rounds, turn_ms| if is_smoke { Effort { rounds: 1, turn_ms: 0 } } else { Effort { rounds, turn_ms } };
    let component = Scene::of(guests::OPERATIONS_BENCH).manifest(BUDGET).component().await;
    let provider = Provider::start();
    let mut groups = pieces(effort(31, 60), &component).await;
    let plugin = connect(Host::builder(), &component, &provider.url).await;
    for size in [Size::Small, Size::Large] {
        for width in [1, 16, 64] {
            groups.push(loopback(effort(15, 300), size, width, &plugin, &provider).await);
        }
    }
    groups
}

/// What a call is made of, one at a time and without a network.
async fn pieces(effort: Effort, component: &[u8]) -> Vec<Group> {
    let host = Host::builder().transport(Memory(Size::Small.json().into()));
    let plugin = connect(host, component, "http://127.0.0.1:9").await;
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
    let walks = std::array::from_fn::<_, { Plugin::STEPS.len() }, _>(|steps| {
        let plugin = plugin.clone();
        Contender::new(Plugin::STEPS[steps], move || {
            let plugin = plugin.clone();
            async move { plugin.walk("{api}/small", steps, REQUESTS).await.expect("the path leads on") }
        })
    });
    let walks = measure(effort, 1, walks).await;
    // One step is what it takes more than the steps before it.
    let steps = walks.windows(2).map(|pair| pair[1].each(REQUESTS, &pair[0]));
    let mut whole = walks[walks.len() - 1].each(REQUESTS, &walks[0]);
    whole.name = "the whole path";
    let (bare_import, import) = (bare_clock.each(IMPORTS, &bare_call), clock.each(IMPORTS, &call));
    let request = send.each(REQUESTS, &call);
    let counted = counted.each(IMPORTS, &nothing);
    vec![
        Group {
            title: "A call that does nothing, against bare wasmtime".into(),
            rows: vec![Row::measure(&bare_call), Row::against(&instance, &bare_call), Row::against(&call, &bare_call)],
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
            title: "The outbound path without a network, step by step, against all of it".into(),
            rows: std::iter::once(Row::measure(&whole)).chain(steps.map(|step| Row::against(&step, &whole))).collect(),
        },
        Group {
            title: "One import, against bare wasmtime".into(),
            rows: vec![Row::measure(&bare_import), Row::against(&import, &bare_import)],
        },
    ]
}

/// A call with one request, against a request without a call.
async fn loopback(effort: Effort, size: Size, width: usize, plugin: &Plugin, provider: &Provider) -> Group {
    let client =
        reqwest::Client::builder().no_proxy().pool_max_idle_per_host(64).tcp_nodelay(true).build().expect("a client");
    let url = format!("{}{}", provider.url, size.path());
    let plain = Contender::new("reqwest and serde_json", move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let request = client.get(&url).header("authorization", format!("App {API_KEY}"));
            let answer = request.send().await.expect("the provider answers").error_for_status().expect("it is content");
            let body: Value =
                serde_json::from_slice(&answer.bytes().await.expect("the whole of it")).expect("it is JSON");
            assert_eq!(body["orders"].as_array().map(Vec::len), Some(size.orders()));
        }
    });
    let input = json!({ "url": format!("{{api}}{}", size.path()) });
    let ours = called("wharfage: call", plugin, "parse", input, move |output| *output == size.orders());
    let [plain, ours] = measure(effort, width, [plain, ours]).await;
    let kib = size.json().len() as f64 / 1024.0;
    Group {
        title: format!(
            "One request over loopback, {kib:.0} KiB of JSON parsed, {width} side by side, against plain reqwest"
        ),
        rows: vec![Row::measure(&plain), Row::against(&ours, &plain)],
    }
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

/// A budget that is counted and never spent.
const BUDGET: &str = r#"
[budgets.per-second]
limit = 4000000000
window_s = 1
source = "made up for the benches"
date = "2026-11-22"
"#;

async fn connect(host: HostBuilder, component: &[u8], url: &str) -> Plugin {
    let connection = format!(
        "plugin = 'operations-bench'\nimports = ['http']\norigins = ['{url}']\nbase = {{ api = '{url}' }}\n\
         secrets = ['api_key', 'user', 'signing', 'verifying']\nprivate_addresses = ['127.0.0.1/32']"
    );
    let connection = Connection::parse(&connection).expect("a connection");
    let host = host.build().expect("a host");
    host.connect("bench", component, &connection, Some(&scene::account("")))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

fn host_is_pooled() -> bool {
    wharfage_tests::component::builder().is_pooled()
}

/// A provider that is nowhere and answers at once.
struct Memory(bytes::Bytes);

impl Transport for Memory {
    fn send<'a>(&'a self, _: &'a Signed) -> BoxFuture<'a, Result<Head, Lost>> {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        headers.insert(http::header::CONTENT_LENGTH, self.0.len().into());
        let body: Box<dyn Body> = Box::new(Some(self.0.clone()));
        Box::pin(std::future::ready(Ok(Head { status: 200, headers, body })))
    }
}

fn print(groups: &[Group]) {
    let build = if cfg!(debug_assertions) {
        "a dev build: only what is below our own code is optimised"
    } else {
        "a release build"
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\n{build}, {cores} cores; medians of interleaved rounds, the quartiles of a ratio in brackets\n");
    println!("{:<34}{:>11}{:>12}   {:<26}times the calls/s", "", "CPU µs", "calls/s", "times the CPU");
    for Group { title, rows } in groups {
        println!("{title}");
        for Row { costs, against } in rows {
            let (name, rate) = (costs.name, costs.calls_per_s());
            let cpu_us =
                costs.cpu_us().map_or("unknown".to_owned(), |us| format!("{us:.*}", if us < 10.0 { 3 } else { 1 }));
            let (cpu_against, rate_against) = match against {
                None => ("1".to_owned(), "1".to_owned()),
                Some(other) => (
                    costs.cpu_against(other).map_or("unknown".to_owned(), |ratio| ratio.to_string()),
                    costs.rate_against(other).to_string(),
                ),
            };
            println!("  {name:<32}{cpu_us:>11}{rate:>12.0}   {cpu_against:<26}{rate_against}");
        }
    }
}
