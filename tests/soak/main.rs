//! Whether anything grows: `cargo run --release -p wharfage-tests --bin soak -- --loads 10000 --minutes 60`.
//!
//! First components are loaded, called and unloaded, most of them from compiled code on disk, some compiled because nobody
//! has seen them or because their code was thrown away. Then everything that a host does is done in rounds: calls that
//! answer and calls that fail in every way, streams, webhooks, polls, a socket, reloads, connections opened and let go. A
//! round is fifteen seconds of the host's clock. Memory, mappings and descriptors are printed as it goes on; it ends with
//! code 1 where they grow, or where there were too few readings to tell. `--rounds` says how many instead of for how long.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on says where and stops")]

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use wharfage::{Config, Connection, Host, Kind, ManualClock, Plugin, Serving};
use wharfage_tests::component::with_custom;
use wharfage_tests::damage::tiny;
use wharfage_tests::scene::{THINGS, account, imports};
use wharfage_tests::{Act, Guest, NOW, Provider, Reply, Scene, SocketServer, VERIFYING, drained, guests};

/// Readings of one part.
const READINGS: u64 = 40;

/// What may come on top between the second quarter of a part and the last, by the medians of both.
const GROWTH: Reading = Reading { resident: 6 << 10, own: 6 << 10, mappings: 40, descriptors: 4 };

/// How many different components are loaded again and again.
const KNOWN: u64 = 6;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let wanted = Wanted::read();
    // The pool of descriptors and threads that any process comes to is there before anything is compared.
    loads(20, false).await;
    let before = settled(None).await;
    println!("{:>12} {:>13} {:>10} {:>10} {:>12}", "", "resident KiB", "own KiB", "mappings", "descriptors");
    before.print("begin");
    let mut wrong = Vec::new();
    wrong.extend(loads(wanted.loads, true).await.grown("loads"));
    let after = settled(Some(&before)).await;
    after.print("let go");
    wrong.extend(after.left(&before, "after the loads"));
    wrong.extend(rounds(&wanted).await.grown("rounds"));
    let after = settled(Some(&before)).await;
    after.print("let go");
    wrong.extend(after.left(&before, "after the rounds"));
    match wrong.as_slice() {
        [] => println!("nothing grows and nothing is left"),
        wrong => {
            eprintln!("{}", wrong.join("\n"));
            std::process::exit(1);
        }
    }
}

/// How much is wanted.
struct Wanted {
    loads: u64,
    rounds: Option<u64>,
    minutes: u64,
}

impl Wanted {
    fn read() -> Self {
        let mut wanted = Self { loads: 10_000, rounds: None, minutes: 60 };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let number = words.next().and_then(|number| number.parse().ok());
            match (word.as_str(), number) {
                ("--loads", Some(number)) => wanted.loads = number,
                ("--rounds", Some(number)) => wanted.rounds = Some(number),
                ("--minutes", Some(number)) => wanted.minutes = number,
                _ => panic!("soak [--loads N] [--minutes N | --rounds N]"),
            }
        }
        wanted
    }
}

// ---------------------------------------------------------------------------------------------- readings

/// What the process has: memory in KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reading {
    resident: u64,
    /// Resident, and of no file.
    own: u64,
    mappings: u64,
    descriptors: u64,
}

impl Reading {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        Self {
            resident: kib("VmRSS:"),
            own: kib("RssAnon:"),
            mappings: maps.lines().count() as u64,
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count() as u64,
        }
    }

    fn print(&self, at: &str) {
        let Self { resident, own, mappings, descriptors } = self;
        println!("{at:>12} {resident:>13} {own:>10} {mappings:>10} {descriptors:>12}");
    }

    fn numbers(&self) -> [(&'static str, u64); 4] {
        [
            ("KiB of memory", self.resident),
            ("KiB of memory of its own", self.own),
            ("mappings", self.mappings),
            ("descriptors", self.descriptors),
        ]
    }

    /// Descriptors that nobody gave back.
    fn left(&self, before: &Self, when: &str) -> Option<String> {
        let left = self.descriptors.saturating_sub(before.descriptors);
        (left > 0).then(|| format!("{left} descriptors are left {when}: {:?}", open_descriptors()))
    }
}

/// What the descriptors point to.
fn open_descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}

/// A reading, after sockets that were let go have had their time to close.
async fn settled(before: Option<&Reading>) -> Reading {
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = Reading::now();
        let is_back = before.is_some_and(|before| now.descriptors <= before.descriptors);
        if is_back || began.elapsed() > Duration::from_secs(if before.is_some() { 15 } else { 1 }) {
            return now;
        }
    }
}

/// Readings of one part in their order.
#[derive(Default)]
struct Readings(Vec<Reading>);

impl Readings {
    fn take(&mut self, at: &str) {
        let reading = Reading::now();
        reading.print(at);
        self.0.push(reading);
    }

    /// What grew more than it may.
    fn grown(&self, part: &str) -> Vec<String> {
        let quarter = self.0.len() / 4;
        if quarter == 0 {
            return vec![format!("{part}: {} readings are too few to see whether anything grows", self.0.len())];
        }
        let median = |from: usize, which: usize| {
            let mut values: Vec<u64> = self.0[from..from + quarter].iter().map(|all| all.numbers()[which].1).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        let mut grown = Vec::new();
        for (which, (name, most)) in GROWTH.numbers().into_iter().enumerate() {
            let (early, late) = (median(quarter, which), median(self.0.len() - quarter, which));
            println!("{part}: {early} {name} in the second quarter, {late} in the last; {most} more would be too much");
            if late > early + most {
                grown.push(format!("{part}: {early} {name} became {late}"));
            }
        }
        grown
    }
}

// ---------------------------------------------------------------------------------------------- loads

/// Loads, calls and unloads so many.
async fn loads(count: u64, is_told: bool) -> Readings {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let host = Host::builder().state_dir(&state).build().unwrap();
    let (echo, tiny) = (Scene::of(guests::OPERATIONS_ECHO).component().await, tiny().await);
    let known: Vec<Vec<u8>> = (0..KNOWN)
        .map(|number| with_custom(if number % 2 == 0 { &echo } else { &tiny }.to_vec(), "note", &[number as u8]))
        .collect();
    let connection = Connection::parse("imports = ['http', 'state']\nsecrets = ['api_key']").unwrap();
    let account = account("");
    let mut readings = Readings::default();
    for number in 0..count {
        // One in eight nobody has seen, one in four under a name that nobody has seen.
        let bytes = match number % 8 {
            0 => with_custom(tiny.to_vec(), "note", &number.to_le_bytes()),
            _ => known[usize::try_from(number % KNOWN).unwrap()].clone(),
        };
        let name = if number % 4 == 0 { format!("acme-{number}") } else { "acme".to_owned() };
        let plugin = host.connect(&name, &bytes, &connection, Some(&account)).await.unwrap();
        let echoed = plugin.call::<Value>("echo", &json!({"number": number})).await.unwrap();
        assert_eq!(echoed.output, json!({"number": number}));
        if number % 500 == 499 {
            throw_away_code(&state);
        }
        if is_told && (number + 1) % (count / READINGS).max(1) == 0 {
            readings.take(&format!("load {}", number + 1));
        }
    }
    readings
}

fn throw_away_code(state: &Path) {
    for entry in std::fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "code") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

// ---------------------------------------------------------------------------------------------- rounds

const POLLS: &str = r#"
[polls.things]
every_s = 15
source = "made up for the tests"
date = "2026-11-29"

[events."thing.updated"]
description = "A thing has changed"
"#;

const SOCKETS: &str = r#"
[sockets.ticks]
origin = "api"
path = "/ws"
subscribe = ["hello"]
source = "made up for the tests"
date = "2026-11-29"

[events."thing.updated"]
description = "A thing has changed"
"#;

/// Connections that are called, with their guests.
const CALLED: [(&str, Guest); 6] = [
    ("send", guests::HTTP_SEND),
    ("trouble", guests::HTTP_SEND),
    ("stream", guests::HTTP_STREAM),
    ("panics", guests::OPERATIONS_PANICS),
    ("spins", guests::HOSTILE_SPIN),
    ("allocates", guests::HOSTILE_ALLOCATE),
];

/// A host with everything at work on it.
struct Port {
    folder: tempfile::TempDir,
    clock: ManualClock,
    provider: Provider,
    _sockets: SocketServer,
    host: Host,
    config: [Config; 2],
    serving: Serving,
    called: Vec<Plugin>,
    handled: u64,
}

async fn rounds(wanted: &Wanted) -> Readings {
    let mut port = Port::begin().await;
    let began = Instant::now();
    let length = Duration::from_secs(wanted.minutes * 60);
    let mut readings = Readings::default();
    let mut number = 0;
    loop {
        let done = match wanted.rounds {
            Some(rounds) => number as f64 / rounds.max(1) as f64,
            None => began.elapsed().as_secs_f64() / length.as_secs_f64(),
        };
        if done >= 1.0 {
            break;
        }
        port.round(number).await;
        number += 1;
        if done * READINGS as f64 >= readings.0.len() as f64 {
            readings.take(&format!("round {number}"));
        }
    }
    println!("{number} rounds in {:.0} s", began.elapsed().as_secs_f64());
    port.end().await;
    readings
}

impl Port {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(NOW, 1);
        let provider = Provider::answering(|seen| match seen.target.as_str() {
            "/down" => Reply::status(503),
            "/limited" => Reply::status(429).header("retry-after", "1"),
            "/cut" => Reply::cut(),
            "/reset" => Reply::reset(),
            "/elsewhere" => Reply::redirect(302, "http://192.0.2.1/"),
            "/long" => Reply::status(200).body(vec![b'x'; 300_000]),
            "/endless" => Reply::endless(),
            _ => Reply::json(&json!({"status": "done"})),
        })
        .await;
        let sockets = SocketServer::scripted(
            std::sync::Arc::new(clock.clone()),
            [vec![Act::Until(1), Act::Say("a".to_owned()), Act::Say("b".to_owned()), Act::UntilClose]],
        )
        .await;
        let mut text = String::from(
            "[accounts.a]\n[endpoints.hooks]\nconnection = 'counts'\nwebhook = 'things'\n\
             [serve]\nlisten = '127.0.0.1:0'\nprobe = false\n[serve.console]\nlisten = '127.0.0.1:0'\n\
             [sinks.out]\nkind = 'file'\npath = 'out.jsonl'\nlimits = { rotate_bytes = 1000000, files = 2 }\n\
             [alerts]\nsink = 'out'\n",
        );
        let things = THINGS.replace("3600", "15");
        let waiting = [
            ("counts", guests::EVENTS_COUNTS, &*things, "[connections.counts.polls.ticks]\njitter_percent = 0\n"),
            ("keyed", guests::EVENTS_KEYED, POLLS, "[connections.keyed.polls.things]\njitter_percent = 0\n"),
            ("socket", guests::EVENTS_SOCKET, SOCKETS, "[connections.socket.sockets.ticks]\n"),
        ];
        let called = CALLED.map(|(name, guest)| (name, guest, "", ""));
        for (name, guest, manifest, more) in waiting.into_iter().chain(called) {
            let bytes = Scene::of(guest).manifest(manifest).component().await;
            std::fs::write(folder.path().join(format!("{name}.wasm")), bytes.as_slice()).unwrap();
            let (api, other) = match name {
                "socket" => (sockets.url(), provider.url()),
                _ => (provider.url(), provider.url()),
            };
            let origins = if api == other { format!("'{api}'") } else { format!("'{api}', '{other}'") };
            let more = match name {
                "spins" => "limits.compute_ms = 20\n",
                "allocates" => "limits.memory_bytes = 8388608\n",
                "stream" => "limits.stream_bytes = 1000000\n",
                _ => more,
            };
            text += &format!(
                "[plugins.{name}]\ncomponent = '{name}.wasm'\n[connections.{name}]\nplugin = '{name}'\naccount = 'a'\n\
                 secrets = ['api_key', 'verifying']\nimports = {}\norigins = [{origins}]\n\
                 base = {{ api = '{api}', other = '{other}' }}\nprivate_addresses = ['127.0.0.1/32']\nlimits.attempts = 1\n{more}",
                json!(imports(&bytes).unwrap()),
            );
        }
        let config = |changed: &str| {
            let text = text
                .replace("limits.attempts = 1\n[connections", &format!("limits.attempts = 1\n{changed}[connections"));
            let mut config = Config::parse(&text, &folder.path().join("wharfage.toml")).unwrap();
            config.accounts.insert("a".to_owned(), account(""));
            config
        };
        let config = [config(""), config("limits.log_lines = 30\n")];
        let host = Host::builder().state_dir(folder.path().join("state")).code_dir(wharfage_tests::compiled_code());
        let host = host.clock(clock.clone()).build().unwrap();
        let serving = host.serve(&config[0]).await.unwrap();
        let mut called = Vec::new();
        for (name, _) in CALLED {
            called.push(host.open(&config[0], name).await.unwrap());
        }
        Self { folder, clock, provider, _sockets: sockets, host, config, serving, called, handled: 0 }
    }

    async fn call(&self, name: &str, operation: &str, input: Value) -> Result<Value, Kind> {
        let at = CALLED.iter().position(|(known, _)| *known == name).unwrap();
        let answer = self.called[at].call::<Value>(operation, &input).await;
        answer.map(|answer| answer.output).map_err(|error| error.kind().clone())
    }

    async fn round(&mut self, number: u64) {
        // Calls that answer, beside calls that do not.
        let good = join_all((0..8).map(|one| self.call("send", "send", json!({"url": format!("{{api}}/x?{one}")}))));
        let troubles = ["down", "limited", "cut", "reset", "elsewhere"];
        let bad =
            join_all(troubles.map(|path| self.call("trouble", "send", json!({"url": format!("{{api}}/{path}")}))));
        let streams = join_all(
            ["long", "endless", "cut", "long"]
                .map(|path| self.call("stream", "open", json!({"url": format!("{{api}}/{path}"), "reads": 1_000}))),
        );
        let broken = join_all([
            self.call("panics", "panic", json!({})),
            self.call("panics", "err", json!({})),
            self.call("panics", "exit", json!({})),
            self.call("spins", "spin", json!({})),
            self.call("allocates", "allocate", json!({})),
            self.call("send", "no-such", json!({})),
        ]);
        let (good, bad, streams, broken) = tokio::join!(good, bad, streams, broken);
        for answer in good {
            assert_eq!(answer.as_ref().map(|answer| &answer["status"]), Ok(&json!(200)), "{answer:?}");
        }
        assert!(bad.iter().chain(&broken).all(Result::is_err), "{bad:?} {broken:?}");
        assert!(streams[0].is_ok() && streams[1].is_err() && streams[2].is_err() && streams[3].is_ok(), "{streams:?}");
        assert_eq!(broken[3], Err(Kind::LimitExceeded("compute_ms".to_owned())));

        // What arrives: news, the same again, and a forgery; then both polls are due.
        let new = [self.deliver(number, VERIFYING), self.deliver(number + (1 << 32), VERIFYING)];
        for status in join_all(new).await {
            assert_eq!(status, "200");
        }
        assert_eq!(self.deliver(number, VERIFYING).await, "200");
        assert_eq!(self.deliver(number + (2 << 32), "a forgery of a token").await, "401");
        self.handled += 2;
        self.until_handled().await;
        self.clock.advance(15_000);
        self.handled += 2;
        self.until_handled().await;

        // A look at all of it, a change of the configuration, and a connection for one call.
        if number % 4 == 1 {
            let _ = self.serving.health().await;
            let _ = self.serving.metrics().await.unwrap().prometheus();
            let _ = self.host.audit().check().await.unwrap();
        }
        if number % 8 == 3 {
            let next = &self.config[usize::try_from(number / 8 % 2).unwrap()];
            self.serving.reload(next).await.unwrap();
        }
        let plugin = self.host.open(&self.config[0], "send").await.unwrap();
        plugin.call::<Value>("send", &json!({"url": "{api}/once"})).await.unwrap();
        self.provider.forget();
    }

    /// Hands over a webhook, and answers the status.
    async fn deliver(&self, id: u64, token: &str) -> String {
        let header = format!("x-id: {id}\r\nx-token: {token}");
        wharfage_tests::deliver(&self.serving, "hooks", &header, "{}").await.0
    }

    /// Waits until webhooks and polls were handled.
    async fn until_handled(&self) {
        let began = Instant::now();
        let handled = || {
            let metrics = self.host.metrics();
            let all = metrics.connections.iter().filter(|one| ["counts", "keyed"].contains(&one.connection.as_str()));
            let all = all.flat_map(|one| &one.operations).filter(|operation| operation.operation == "(handle)");
            all.map(wharfage::metrics::OperationMetrics::calls).sum::<u64>()
        };
        let mut looks = 0;
        while handled() < self.handled {
            assert!(began.elapsed() < Duration::from_secs(60), "{} of {} handled", handled(), self.handled);
            tokio::time::sleep(Duration::from_millis(2)).await;
            // What was put off is due a little later.
            looks += 1;
            if looks % 50 == 0 {
                self.clock.advance(1_000);
            }
        }
    }

    async fn end(self) {
        drop(self.called);
        assert!(drained(self.serving, &self.clock).await, "something does not end");
        drop(self.host);
        drop(self.folder);
    }
}
