//! The pace: what a manifest declares, what an operator changes, and what the provider says about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use wharfage::transport::{ResponseHead, SignedRequest, TransportError};
use wharfage::{Account, BoxFuture, Clock, Connection, Error, Host, Kind, ManualClock, Plugin, Transport};
use wharfage_tests::scene::{account, imports};
use wharfage_tests::{NOW, Open, Provider, Reply, Scene, compiled_code, drained, guests, skipping, until};

fn budget(name: &str, lines: &str) -> String {
    format!("\n[budgets.{name}]\n{lines}\nsource = 'made up for the tests'\ndate = '2026-11-24'\n")
}

/// Milliseconds since the test began at which each request arrived.
fn times(provider: &Provider) -> Vec<u64> {
    provider.seen().iter().map(|seen| seen.at.expect("it has the clock").since(NOW)).collect()
}

async fn get(open: &Open) -> Result<Value, Error> {
    open.call("send", json!({"url": "{api}/x"})).await.map(|answer| answer.output)
}

/// A guest over a host and an account of the test's own.
async fn connect(host: &Host, name: &str, scene: &Scene, provider: &Provider, account: &Account) -> Plugin {
    let bytes = scene.component().await;
    let mut connection = Connection::parse("private_addresses = ['127.0.0.1/32']\nsecrets = ['api_key']").unwrap();
    connection.cache.enabled = false;
    connection.imports = imports(&bytes).unwrap();
    connection.origins = vec![provider.url()];
    connection.base.insert("api".into(), provider.url());
    host.connect(name, &bytes, &connection, Some(account)).await.unwrap()
}

async fn send(plugin: &Plugin) -> Result<(), Error> {
    plugin.call::<Value>("send", &json!({"url": "{api}/x"})).await.map(drop)
}

/// One 429 stops everybody who waits, so that nobody earns a second one.
#[tokio::test]
async fn one_429_stops_all_who_wait() {
    let clock = skipping();
    let provider =
        Provider::scripted_at(&clock, [Reply::status(429).header("retry-after", "7"), Reply::status(200)]).await;
    let manifest = budget("at-once", "concurrency = 1") + &budget("pace", "limit = 100\nwindow_s = 1");
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&manifest).clock(&clock).open().await;
    for answer in futures_util::future::join_all((0..20).map(|_| get(&open))).await {
        answer.unwrap();
    }
    let times = times(&provider);
    assert_eq!(times.len(), 21, "each call is answered once, and one was refused");
    assert_eq!(times[0], 0);
    assert!(times[1..].iter().all(|at| *at >= 7_000), "{times:?}");
}

/// Who would have to wait longer than a call may last is not kept waiting: it hears when, and so does everybody after.
#[tokio::test]
async fn beyond_the_cap_the_time_is_told_and_nobody_sleeps() {
    let clock = skipping();
    let provider =
        Provider::scripted_at(&clock, [Reply::status(429).header("retry-after", "1800"), Reply::status(200)]).await;
    let manifest = budget("pace", "limit = 100\nwindow_s = 1");
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&manifest).clock(&clock).open().await;
    for round in 0..5 {
        let error = get(&open).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_at()), (&Kind::RateLimited, Some(NOW.plus(1_800_000))), "round {round}");
    }
    assert_eq!((provider.count(), clock.now()), (1, NOW), "it was asked again, or waited for");
    clock.advance(1_800_000);
    get(&open).await.unwrap();
    assert_eq!(provider.count(), 2);
}

/// A provider that says "come back in the year 3000" stops its budget for `block_ms` and no longer.
#[tokio::test]
async fn lying_headers_are_clamped_or_passed_over() {
    for (name, value, stops_ms) in [
        ("retry-after", "-5", 0),
        ("retry-after", "NaN", 0),
        ("retry-after", "inf", 0),
        ("retry-after", "1e9", 0),
        ("retry-after", "99999999999999999999999999", 3_600_000),
        ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT", 3_600_000),
        ("retry-after", "Sun, 22 Nov 1926 08:49:37 GMT", 0),
        ("retry-after", "1795337377000", 0),
        ("retry-after", "1795338377000", 1_000_000),
        ("x-ratelimit-reset", "1795338377", 1_000_000),
        ("x-ratelimit-reset", "99999999999999", 3_600_000),
        ("x-ratelimit-reset", "16m40s", 1_000_000),
        ("ratelimit-reset", "1000", 1_000_000),
    ] {
        let clock = skipping();
        let provider =
            Provider::scripted_at(&clock, [Reply::status(429).header(name, value), Reply::status(200)]).await;
        let manifest = budget("pace", "limit = 100\nwindow_s = 1");
        let open = Scene::of(guests::HTTP_SEND)
            .with(&provider)
            .manifest(&manifest)
            .grant(|connection| connection.limits.attempts = 1)
            .clock(&clock)
            .open()
            .await;
        let error = get(&open).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::RateLimited, "{name}: {value}");
        let second = get(&open).await;
        if stops_ms == 0 {
            second.unwrap_or_else(|error| panic!("{name}: {value} stops: {error:?}"));
            continue;
        }
        assert_eq!(second.unwrap_err().retry_at(), Some(NOW.plus(stops_ms)), "{name}: {value}");
        clock.advance(stops_ms);
        get(&open).await.unwrap_or_else(|error| panic!("{name}: {value} stops for ever: {error:?}"));
    }
}

/// What an answer says is left lowers our count, of the window it speaks of, and never raises it.
#[tokio::test]
async fn what_is_left_is_told_to_the_window_it_is_about() {
    let two = budget("burst", "limit = 8\nwindow_s = 1") + &budget("steady", "limit = 300\nwindow_s = 60");
    for (headers, second_at) in [
        // By the window's length at the end of the name.
        (vec![("x-ratelimit-remaining-minute", "0"), ("x-ratelimit-remaining-second", "5")], 60_100),
        (vec![("x-ratelimit-remaining-second", "0"), ("x-ratelimit-remaining-minute", "5")], 1_100),
        // By policy, as the IETF's draft says it.
        (
            vec![
                ("ratelimit", "\"m\";r=0;t=20, \"s\";r=5;t=1"),
                ("ratelimit-policy", "\"m\";q=300;w=60, \"s\";q=8;w=1"),
            ],
            20_100,
        ),
        // Of which of two windows it speaks is not said, so it is not believed.
        (vec![("x-ratelimit-remaining", "0")], 0),
        // More than we know of is not believed either.
        (vec![("x-ratelimit-remaining-minute", "100000")], 0),
    ] {
        let clock = skipping();
        let reply = headers.iter().fold(Reply::status(200), |reply, (name, value)| reply.header(name, value));
        let provider = Provider::scripted_at(&clock, [reply, Reply::status(200)]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&two).clock(&clock).open().await;
        get(&open).await.unwrap();
        get(&open).await.unwrap();
        assert_eq!(times(&provider), [0, second_at], "{headers:?}");
    }
}

#[tokio::test]
async fn headers_that_a_manifest_names_are_read() {
    let manifest = budget("units", "limit = 100\nwindow_s = 60")
        + &budget("calls", "limit = 100\nwindow_s = 60")
        + "\n[[rate_headers]]\nbucket = 'units'\nremaining = 'X-Units-Left'\nreset = 'X-Units-Back'\n";
    let clock = skipping();
    let reply = Reply::status(200).header("x-units-left", "0").header("x-units-back", "9");
    let provider = Provider::scripted_at(&clock, [reply, Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&manifest).clock(&clock).open().await;
    get(&open).await.unwrap();
    get(&open).await.unwrap();
    assert_eq!(times(&provider), [0, 9_100]);
}

/// A limit smaller than the manifest's, told by the provider, holds; a larger one does not.
#[tokio::test]
async fn a_limit_that_the_provider_tells_only_lowers() {
    for (told, third_at) in [("2", 60_100), ("1000", 0)] {
        let clock = skipping();
        let reply = Reply::status(200).header("x-ratelimit-limit-minute", told);
        let provider = Provider::scripted_at(&clock, [reply]).await;
        let manifest = budget("steady", "limit = 5\nwindow_s = 60");
        let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&manifest).clock(&clock).open().await;
        for _ in 0..3 {
            get(&open).await.unwrap();
        }
        assert_eq!(times(&provider), [0, 0, third_at], "{told}");
    }
}

#[tokio::test]
async fn some_requests_weigh_more_and_some_nothing() {
    let weights = "limit = 10\nwindow_s = 60\nweights = [{ methods = ['POST'], paths = ['/send'], units = 6 }, \
                   { paths = ['/free/**'], units = 0 }]";
    let clock = skipping();
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    // The base has a path of its own; the manifest's paths are below it.
    let open = Scene::of(guests::HTTP_SEND)
        .at("api", &(provider.url() + "/v2"))
        .manifest(&budget("units", weights))
        .clock(&clock)
        .open()
        .await;
    for (method, path, at) in [
        ("POST", "/send", 0),
        ("GET", "/free/a/b", 0),
        ("GET", "/send", 0),
        ("GET", "/x", 0),
        ("GET", "/x", 0),
        ("GET", "/x", 0),
        ("GET", "/free/a", 0),
        ("POST", "/send", 60_100),
    ] {
        open.output("write", json!({"method": method, "url": format!("{{api}}{path}")})).await;
        assert_eq!(times(&provider).last(), Some(&at), "{method} {path}");
    }
    let heavy = budget("units", "limit = 10\nwindow_s = 60\nweights = [{ units = 11 }]");
    let error =
        wharfage::Manifest::parse(&(Scene::of(guests::HTTP_SEND).manifest_text().to_owned() + &heavy)).unwrap_err();
    assert!(error.message().contains("more than all of it"), "{error}");
}

/// Accounts of one project share its budget; another project, and a connection's own budget, stand apart.
#[tokio::test]
async fn a_budget_is_shared_by_whom_it_says() {
    for (scope, first, second, is_shared) in [
        ("project", "project = 'harbour'", "project = 'harbour'", true),
        ("project", "project = 'harbour'", "project = 'inland'", false),
        ("project", "", "", false),
        ("user", "user = 'ada'", "user = 'ada'\nproject = 'x'", true),
        ("user", "user = 'ada'", "user = 'eve'", false),
        ("plugin", "", "", true),
        ("connection", "user = 'ada'", "user = 'ada'", false),
    ] {
        let clock = skipping();
        let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
        let scene = Scene::of(guests::HTTP_SEND)
            .manifest(&budget("pace", &format!("limit = 1\nwindow_s = 60\nscope = '{scope}'")));
        let host = Host::builder().code_dir(compiled_code()).clock(clock.clone()).build().unwrap();
        let one = connect(&host, "one", &scene, &provider, &account(first)).await;
        let two = connect(&host, "two", &scene, &provider, &account(second)).await;
        send(&one).await.unwrap();
        send(&two).await.unwrap();
        assert_eq!(times(&provider)[1] > 0, is_shared, "{scope}: {first} and {second}");
    }
}

/// One user over its own budget held the turn of the project's, and all others stood still with it.
#[tokio::test]
async fn who_waits_for_its_own_budget_keeps_nobody_from_the_project_s() {
    let clock = ManualClock::new(NOW, 1);
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let manifest = budget("all", "limit = 9\nwindow_s = 60\nscope = 'project'")
        + &budget("each", "limit = 1\nwindow_s = 60\nscope = 'user'");
    let scene = Scene::of(guests::HTTP_SEND).manifest(&manifest);
    let host = Host::builder().code_dir(compiled_code()).clock(clock.clone()).build().unwrap();
    let of = |user: &str| account(&format!("project = 'harbour'\nuser = '{user}'"));
    let one = connect(&host, "one", &scene, &provider, &of("ada")).await;
    let two = connect(&host, "two", &scene, &provider, &of("eve")).await;
    send(&one).await.unwrap();
    let mut over = std::pin::pin!(send(&one));
    tokio::select! {
        biased;
        sent = &mut over => panic!("it does not wait: {sent:?}"),
        () = async { for _ in 0..1_000 { tokio::task::yield_now().await } } => {}
    }
    let (sent, ()) = tokio::join!(send(&two), async { until!(provider.count() > 1, "it waits as well") });
    sent.unwrap();
    clock.advance(60_100);
    over.await.unwrap();
    assert_eq!(times(&provider), [0, 0, 60_100]);
}

/// What is refused while the credential is put on has not left; it spent a unit each time.
#[tokio::test]
async fn what_cannot_be_signed_spends_nothing() {
    let clock = skipping();
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let manifest = budget("pace", "limit = 1\nwindow_s = 60");
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&manifest).clock(&clock).open().await;
    for _ in 0..2 {
        let error = open.error("send", json!({"url": "{api}/x?apikey=mine", "credential": "in-query"})).await;
        assert!(matches!(error.kind(), Kind::PolicyDenied(_)), "{error:?}");
    }
    get(&open).await.unwrap();
    assert_eq!(times(&provider), [0]);
}

#[tokio::test]
async fn the_operator_s_figure_stands_for_the_manifest_s() {
    let clock = skipping();
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest(&budget("pace", "limit = 100\nwindow_s = 1"))
        .account("[budgets.pace]\nlimit = 1\nwindow_s = 30\n")
        .clock(&clock)
        .open()
        .await;
    get(&open).await.unwrap();
    get(&open).await.unwrap();
    assert_eq!(times(&provider), [0, 30_100]);
}

/// An operator's other figure was refused as another plugin's, for as long as the host lived.
#[tokio::test]
async fn a_changed_figure_holds_and_what_was_spent_stays_spent() {
    let clock = skipping();
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let scene = Scene::of(guests::HTTP_SEND).manifest(&budget("pace", "limit = 100\nwindow_s = 60"));
    let host = Host::builder().code_dir(compiled_code()).clock(clock.clone()).build().unwrap();
    let limited = |limit: u32| account(&format!("[budgets.pace]\nlimit = {limit}\nwindow_s = 60\n"));
    let before = connect(&host, "acme", &scene, &provider, &limited(2)).await;
    send(&before).await.unwrap();
    send(&before).await.unwrap();
    // While the one before is still there; three within a minute are the most now, whoever sends them.
    let after = connect(&host, "acme", &scene, &provider, &limited(3)).await;
    for plugin in [&after, &before] {
        send(plugin).await.unwrap();
    }
    assert_eq!(times(&provider), [0, 0, 0, 60_100]);
    drop((before, after));
    // And when nobody is there any more.
    let last = connect(&host, "acme", &scene, &provider, &limited(1)).await;
    send(&last).await.unwrap();
    assert_eq!(times(&provider)[4], 120_200);
}

/// What the connections of one configuration say of a budget that they share must be one thing.
#[tokio::test]
async fn two_that_say_different_things_of_one_budget_are_refused() {
    let scene =
        || Scene::of(guests::HTTP_SEND).manifest(&budget("pace", "limit = 9\nwindow_s = 60\nscope = 'project'"));
    let host = Host::builder().code_dir(compiled_code()).clock(skipping()).build().unwrap();
    let limited =
        |limit: u32| account(&format!("project = 'harbour'\n[budgets.pace]\nlimit = {limit}\nwindow_s = 60\n"));
    let one = scene().connect_as("one", &host, &limited(2)).await.unwrap();
    let error = scene().connect_as("two", &host, &limited(3)).await.map(drop).unwrap_err();
    assert_eq!(*error.kind(), Kind::Configuration);
    let told = error.to_string();
    assert!(told.contains("`pace` of project harbour") && told.contains("[accounts.….budgets.pace]"), "{told}");
    let _two = scene().connect_as("two", &host, &limited(2)).await.unwrap();
    drop(one);
    assert!(scene().connect_as("one", &host, &limited(3)).await.is_err(), "the second is still there");
}

/// A reload takes up the changed budget of an account that two connections share; one that is refused changes nothing.
#[tokio::test]
async fn a_reload_takes_up_a_changed_budget() {
    let clock = ManualClock::new(NOW, 1);
    let folder = tempfile::tempdir().unwrap();
    let manifest =
        wharfage_tests::scene::THINGS.to_owned() + &budget("pace", "limit = 9\nwindow_s = 60\nscope = 'project'");
    let bytes = Scene::of(guests::EVENTS_COUNTS).manifest(&manifest).component().await;
    std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
    let config = |one: u32, two: u32| {
        let mut text = String::from("[plugins.p]\ncomponent = 'plugin.wasm'\n");
        for (name, limit) in [("one", one), ("two", two)] {
            text += &format!(
                "[accounts.{name}]\nproject = 'harbour'\nbudgets.pace = {{ limit = {limit}, window_s = 60 }}\n\
                 [connections.{name}]\nplugin = 'p'\naccount = '{name}'\n[connections.{name}.polls.ticks]\n"
            );
        }
        wharfage::Config::parse(&text, &folder.path().join("wharfage.toml")).unwrap()
    };
    let host = Host::builder().code_dir(compiled_code()).clock(clock.clone()).build().unwrap();
    let limits = || {
        let connections = host.metrics().connections;
        connections.iter().flat_map(|of| of.budgets.iter().map(|budget| budget.limit)).collect::<Vec<_>>()
    };
    let serving = host.serve(&config(5, 5)).await.unwrap();
    assert_eq!(limits(), [5, 5]);
    let reloaded = serving.reload(&config(7, 7)).await.unwrap();
    assert_eq!((reloaded.changed.as_slice(), limits()), (&["one".to_owned(), "two".to_owned()][..], vec![7, 7]));
    let error = serving.reload(&config(8, 9)).await.unwrap_err();
    assert!(error.to_string().contains("`pace` of project harbour differently"), "{error}");
    assert_eq!(limits(), [7, 7], "what was refused holds");
    // Nor does what was refused bind what comes after it; one that stays binds.
    assert!(serving.reload(&config(7, 9)).await.is_err());
    serving.reload(&config(9, 9)).await.unwrap();
    assert_eq!(limits(), [9, 9]);
    assert!(drained(serving, &clock).await);
}

const DAY_MS: u64 = 86_400_000;

/// A host that is started anew over the same folder.
fn restarted(folder: &std::path::Path, clock: &ManualClock) -> Host {
    Host::builder().state_dir(folder).clock(clock.clone()).build().unwrap()
}

#[tokio::test]
async fn a_daily_quota_survives_a_restart() {
    let (clock, folder) = (skipping(), tempfile::tempdir().unwrap());
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let scene = Scene::of(guests::HTTP_SEND).manifest(&budget("day", "limit = 3\nwindow_s = 86400"));
    for _ in 0..3 {
        let plugin = connect(&restarted(folder.path(), &clock), "acme", &scene, &provider, &account("")).await;
        send(&plugin).await.unwrap();
    }
    for _ in 0..2 {
        let plugin = connect(&restarted(folder.path(), &clock), "acme", &scene, &provider, &account("")).await;
        let error = send(&plugin).await.unwrap_err();
        assert_eq!((error.kind(), provider.count()), (&Kind::QuotaExhausted, 3), "{error:?}");
        let retry_at = error.retry_at().unwrap();
        assert!(retry_at >= NOW.plus(DAY_MS) && retry_at <= NOW.plus(DAY_MS * 21 / 20), "{retry_at}");
    }
    clock.advance(DAY_MS * 21 / 20);
    let plugin = connect(&restarted(folder.path(), &clock), "acme", &scene, &provider, &account("")).await;
    send(&plugin).await.unwrap();
}

/// "Max daily rate limit reached" is not asked about again in seconds, nor after a restart (rotki/rotki#8626).
#[tokio::test]
async fn a_spent_quota_told_in_a_body_rests_over_a_restart() {
    let manifest = budget("day", "limit = 100000\nwindow_s = 86400")
        + &budget("second", "limit = 3\nwindow_s = 1")
        + "\n[[answers]]\npointer = '/result'\ncontains = 'daily'\nkind = 'quota-exhausted'\nbucket = 'day'\n";
    let (clock, folder) = (skipping(), tempfile::tempdir().unwrap());
    let provider =
        Provider::scripted_at(&clock, [Reply::json(&json!({"result": "Max daily limit"})), Reply::status(200)]).await;
    let scene = Scene::of(guests::HTTP_SEND).manifest(&manifest);
    for round in 0..3 {
        let plugin = connect(&restarted(folder.path(), &clock), "acme", &scene, &provider, &account("")).await;
        let error = send(&plugin).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::QuotaExhausted), "round {round}: {error:?}");
        assert_eq!(provider.count(), 1, "round {round}: it was asked again");
    }
    clock.advance(3_600_000);
    let plugin = connect(&restarted(folder.path(), &clock), "acme", &scene, &provider, &account("")).await;
    send(&plugin).await.unwrap();
}

/// The guide's client for one provider repeats a limited call by calling itself, without end; here attempts are counted
/// and a budget for retries is kept, so an outage does not multiply traffic.
#[tokio::test]
async fn guide_s21_retries_are_bounded_and_so_is_their_share() {
    let limited = Provider::scripted([Reply::status(429)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&limited).open().await;
    assert_eq!(get(&open).await.unwrap_err().attempts(), 5);
    assert_eq!(limited.count(), 5);

    // Three hundred fail at once: beyond the ten that are always there again after ten seconds, a tenth of the requests.
    let (clock, sent) = (ManualClock::new(NOW, 1), Arc::new(AtomicU64::new(0)));
    let host = Host::builder().code_dir(compiled_code()).clock(clock.clone()).transport(Failing(sent.clone()));
    let scene = Scene::of(guests::HTTP_SEND).at("api", "https://127.0.0.1:9443").grant(|connection| {
        connection.breaker.enabled = false;
        connection.limits.calls = 300;
    });
    let plugin = scene.connect(&host.build().unwrap(), &account("")).await.unwrap();
    let turned = async {
        loop {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            clock.advance_to_next();
        }
    };
    let ended = tokio::select! {
        ended = futures_util::future::join_all((0..300).map(|_| send(&plugin))) => ended,
        () = turned => unreachable!("it turns for ever"),
    };
    let refused = |end: &&Result<(), Error>| {
        end.as_ref().is_err_and(|error| error.details().is_some_and(|details| details.contains("limits.retry_percent")))
    };
    assert!(ended.iter().filter(refused).count() > 200, "the budget refused nobody");
    let (retries, seconds) = (sent.load(Ordering::SeqCst) - 300, clock.now().since(NOW) / 1_000);
    assert!(retries <= 30 + 10 + seconds + 1, "{retries} retries of 300 requests in {seconds} s");
}

/// A provider that is down, and counts who asks.
struct Failing(Arc<AtomicU64>);

impl Transport for Failing {
    fn send<'a>(&'a self, _: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let head = ResponseHead { status: 503, headers: http::HeaderMap::new(), body: Box::new(None::<bytes::Bytes>) };
        Box::pin(std::future::ready(Ok(head)))
    }
}

/// A header by which the provider says whether to try again overrules the status.
#[tokio::test]
async fn the_provider_may_say_whether_to_try_again() {
    const RETRY: &str = "\n[retry]\nheader = 'Provider-Should-Retry'\n";
    for (reply, attempts) in [
        (Reply::status(500).header("provider-should-retry", "false"), 1),
        (Reply::status(409).header("provider-should-retry", "true"), 2),
        (Reply::status(409).header("provider-should-retry", "perhaps"), 1),
        (Reply::status(500), 2),
    ] {
        let provider = Provider::scripted([reply.clone(), Reply::status(200)]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(RETRY).open().await;
        let _ = get(&open).await;
        assert_eq!(provider.count(), attempts, "{reply:?}");
    }
}

/// Three hundred callers at once: each is served, and nothing exceeds the limit.
#[tokio::test]
async fn a_long_queue_is_served_within_the_limit() {
    let clock = skipping();
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest(&budget("pace", "limit = 50\nwindow_s = 1"))
        .clock(&clock)
        .grant(|connection| {
            connection.limits.calls = 2_000;
            connection.limits.call_ms = 3_600_000;
            connection.limits.attempt_ms = 3_600_000;
        })
        .open()
        .await;
    let calls = (0..301).map(|number| open.call("send", json!({"url": format!("{{api}}/{number}")})));
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    let mut times = times(&provider);
    times.sort_unstable();
    for window in times.windows(51) {
        assert!(window[50] - window[0] > 1_000, "51 requests within a second: {window:?}");
    }
    assert_eq!(times.len(), 301);
}
