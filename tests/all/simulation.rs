//! A small world with a seed: a provider that does all a provider can do, a clock that is turned by hand, and many calls of
//! several plugins over shared accounts.
//!
//! Whatever happens must keep to this: no account ever exceeds a quota as the provider sees it, no write is sent again
//! that may have been acted on, no answer and no error holds a secret, and every call ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};
use wharfage::transport::{ResponseHead, SignedRequest, TransportError};
use wharfage::{
    BoxFuture, Clock, Config, Host, ManualClock, NetworkStage, RequestSent, SecretSource, SecretValue, Timestamp,
    Transport,
};
use wharfage_tests::mutate::Die;
use wharfage_tests::{NOW, Scene, component, guests};

const QUOTAS: [(usize, u64); 2] = [(5, 1_000), (20, 10_000)];
const AT_ONCE: usize = 3;
const CALLS: usize = 150;
const ACCOUNTS: [&str; 2] = ["north", "south"];

fn key(account: &str) -> String {
    format!("s3cret-of-{account}-{}", "k".repeat(20))
}

/// The provider, inside this process.
struct World {
    clock: ManualClock,
    seen: Mutex<Known>,
}

struct Known {
    die: Die,
    arrivals: BTreeMap<String, Vec<Timestamp>>,
    under_way: BTreeMap<String, usize>,
    most_under_way: usize,
    /// By call: what became of each request that arrived.
    fates: BTreeMap<String, Vec<&'static str>>,
}

struct Place {
    world: Arc<World>,
    account: String,
}

impl Place {
    fn take(world: &Arc<World>, account: &str) -> Self {
        let mut seen = world.seen.lock().unwrap();
        let count = seen.under_way.entry(account.to_owned()).or_default();
        *count += 1;
        let count = *count;
        seen.most_under_way = seen.most_under_way.max(count);
        Self { world: world.clone(), account: account.to_owned() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.world.seen.lock().unwrap().under_way.get_mut(&self.account).unwrap() -= 1;
    }
}

struct Door(Arc<World>);

impl Transport for Door {
    fn send<'a>(&'a self, signed: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
        let world = self.0.clone();
        Box::pin(async move {
            let authorization =
                signed.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let shown = format!("{} {authorization}", signed.url());
            let account =
                ACCOUNTS.into_iter().find(|account| shown.contains(&key(account))).expect("it is signed").to_owned();
            let call = signed.url().split(['/', '?']).nth(3).unwrap_or_default().to_owned();
            let (fate, there_ms, back_ms, wait) = {
                let die = &mut world.seen.lock().unwrap().die;
                (die.below(100), die.below(400), die.below(2_000), die.below(20))
            };
            let lost = |sent| {
                Err(TransportError {
                    stage: if sent == RequestSent::No { NetworkStage::Connect } else { NetworkStage::Reset },
                    sent,
                    details: shown.clone(),
                })
            };
            let _place = Place::take(&world, &account);
            if fate < 5 {
                return lost(RequestSent::No);
            }
            world.clock.sleep_until(world.clock.now().plus(there_ms)).await;
            let now = world.clock.now();
            let name = match fate {
                5..15 => "lost",
                15..20 => "silent",
                20..35 => "limited",
                35..45 => "broken",
                45..50 => "missing",
                50..55 => "moved",
                55..60 => "endless",
                _ => "good",
            };
            {
                let mut seen = world.seen.lock().unwrap();
                seen.arrivals.entry(account.clone()).or_default().push(now);
                seen.fates.entry(call).or_default().push(name);
            }
            if name == "silent" {
                std::future::pending::<()>().await;
            }
            world.clock.sleep_until(now.plus(back_ms)).await;
            let mut headers = http::HeaderMap::new();
            headers.insert("x-echo", shown.parse().unwrap());
            let mut body = Bytes::from(format!("you sent {shown}"));
            let status = match name {
                "lost" => return lost(RequestSent::Maybe),
                "limited" => {
                    match wait % 3 {
                        0 => {}
                        1 => drop(headers.insert("retry-after", wait.to_string().parse().unwrap())),
                        _ => {
                            let at = std::time::UNIX_EPOCH
                                + std::time::Duration::from_millis(world.clock.now().as_millis() + wait * 1_000);
                            headers.insert("retry-after", httpdate::fmt_http_date(at).parse().unwrap());
                        }
                    }
                    429
                }
                "broken" => 503,
                "missing" => 404,
                "moved" => {
                    headers.insert("location", format!("/moved-{wait}").parse().unwrap());
                    302
                }
                "endless" => {
                    body = Bytes::from(vec![b'x'; 100_000]);
                    200
                }
                _ => 200,
            };
            Ok(ResponseHead { status, headers, body: Box::new(Some(body)) })
        })
    }
}

#[tokio::test]
async fn whatever_happens() {
    for seed in 1..=4 {
        simulate(seed).await;
    }
}

async fn simulate(seed: u64) {
    let clock = ManualClock::new(NOW, seed);
    let mut die = Die(seed);
    let world = Arc::new(World {
        clock: clock.clone(),
        seen: Mutex::new(Known {
            die: Die(seed ^ 0x00C0_FFEE),
            arrivals: BTreeMap::new(),
            under_way: BTreeMap::new(),
            most_under_way: 0,
            fates: BTreeMap::new(),
        }),
    });
    let host = Host::builder().clock(clock.clone()).transport(Door(world.clone())).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path()).await;
    let mut plugins = Vec::new();
    for name in config.connections.keys() {
        plugins.push(host.open(&config, name).await.unwrap());
    }

    let mut calls = tokio::task::JoinSet::new();
    for number in 0..CALLS {
        let plugin = plugins[usize::try_from(die.below(plugins.len() as u64)).unwrap()].clone();
        let starts_at = NOW.plus(die.below(20_000));
        let method = ["GET", "GET", "POST", "PUT", "DELETE"][usize::try_from(die.below(5)).unwrap()];
        let credential = ["key", "bearer", "in-query"][usize::try_from(die.below(3)).unwrap()];
        let input =
            json!({"url": format!("{{api}}/call-{number}-{method}"), "method": method, "credential": credential});
        let starts = clock.sleep_until(starts_at);
        calls.spawn(async move {
            starts.await;
            plugin.call::<Value>("write", &input).await
        });
    }

    let mut ended = 0;
    let mut standing = 0;
    while !calls.is_empty() {
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
        let mut has_moved = false;
        while let Some(answer) = calls.try_join_next() {
            let shown = match answer.expect("no call panics") {
                Ok(answer) => answer.output.to_string(),
                Err(error) => format!("{error:?} {:?} {:?}", error.body(), error.kind()),
            };
            assert!(!shown.contains("s3cret-of"), "seed {seed}: a secret came back: {shown}");
            ended += 1;
            has_moved = true;
        }
        has_moved |= clock.advance_to_next();
        standing = if has_moved { 0 } else { standing + 1 };
        assert!(standing < 10_000, "seed {seed}: {} calls never end", calls.len());
    }
    assert_eq!(ended, CALLS);

    let seen = world.seen.lock().unwrap();
    for (account, arrivals) in &seen.arrivals {
        let mut arrivals = arrivals.clone();
        arrivals.sort();
        for (limit, window_ms) in QUOTAS {
            for (at, first) in arrivals.iter().enumerate() {
                if let Some(next) = arrivals.get(at + limit) {
                    assert!(
                        next.since(*first) >= window_ms,
                        "seed {seed}: {account} saw {} requests within {} ms; {limit} are allowed in {window_ms}",
                        limit + 1,
                        next.since(*first)
                    );
                }
            }
        }
    }
    assert!(seen.most_under_way <= AT_ONCE, "seed {seed}: {} at once", seen.most_under_way);
    for (call, fates) in seen.fates.iter().filter(|(call, _)| call.ends_with("-POST")) {
        let before_last = &fates[..fates.len() - 1];
        assert!(
            before_last.iter().all(|fate| *fate == "limited"),
            "seed {seed}: {call} was sent again after {before_last:?}"
        );
    }
    let requests: usize = seen.arrivals.values().map(Vec::len).sum();
    println!("seed {seed}: {requests} requests for {CALLS} calls in {} s of its time", clock.now().since(NOW) / 1_000);
    assert!(requests > CALLS);
}

/// Two plugins with the same budgets, two accounts, four connections.
async fn config(folder: &std::path::Path) -> Config {
    let budgets = QUOTAS
        .iter()
        .enumerate()
        .map(|(number, (limit, window_ms))| {
            format!(
                "\n[budgets.window-{number}]\nlimit = {limit}\nwindow_s = {}\nsource = \"made up\"\ndate = \"2026-11-22\"\n",
                window_ms / 1_000
            )
        })
        .collect::<String>()
        + &format!("\n[budgets.at-once]\nconcurrency = {AT_ONCE}\nsource = \"made up\"\ndate = \"2026-11-22\"\n");
    let manifest = Scene::of(guests::HTTP_SEND).manifest(&budgets).manifest_text().to_owned();
    let mut text = String::new();
    for plugin in ["one", "two"] {
        let manifest = manifest.replace("name = \"http-send\"", &format!("name = \"{plugin}\""));
        let bytes = component::built(plugin, || (guests::HTTP_SEND.compiled(), None), &manifest).await;
        std::fs::write(folder.join(format!("{plugin}.wasm")), &**bytes).unwrap();
        text.push_str(&format!("[plugins.{plugin}]\ncomponent = '{plugin}.wasm'\n"));
        for account in ACCOUNTS {
            text.push_str(&format!(
                "[connections.{plugin}-{account}]\nplugin = '{plugin}'\naccount = '{account}'\nimports = ['http']\n\
                 origins = ['https://127.0.0.1:9443']\nbase.api = 'https://127.0.0.1:9443'\nsecrets = ['api_key']\n\
                 private_addresses = ['127.0.0.1/32']\nlimits.response_body_bytes = 50000\nlimits.attempt_ms = 10000\nlimits.call_ms = 90000\n"
            ));
        }
    }
    for account in ACCOUNTS {
        text.push_str(&format!("[accounts.{account}]\n"));
    }
    let mut config = Config::parse(&text, &folder.join("wharfage.toml")).unwrap_or_else(|error| panic!("{error}"));
    for (name, account) in &mut config.accounts {
        account.secrets.insert("api_key".into(), SecretSource::Value(SecretValue::new(key(name))));
    }
    config
}
