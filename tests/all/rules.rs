//! The rules of the path, by their numbers, as far as no other module proves them already.
//!
//! R3 is in `http`, R6 also in `log`, R11 in `rate_limit`, R15 in `operations`, R17 in `tidy` (who may start a process),
//! R18 in `hostile`, R19 in `load`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};
use wharfage::PathEvent;
use wharfage::transport::{ResponseHead, SignedRequest, TransportError};
use wharfage::{BoxFuture, Clock, Connection, Host, Kind, ManualClock, NetworkStage, RequestSent, Transport};
use wharfage_tests::scene::account;
use wharfage_tests::{API_KEY, NOW, Provider, Reply, Scene, compiled_code, guests, skipping, until};

fn budget(limit: u32) -> String {
    format!(
        "\n[budgets.pace]\nlimit = {limit}\nwindow_s = 60\nsource = \"made up for the tests\"\ndate = \"2026-11-22\"\n"
    )
}

/// One at a time, and one a minute.
const ONE_PERMIT: &str = r#"
[budgets.at-once]
concurrency = 1
origins = ["api"]
source = "made up for the tests"
date = "2026-11-24"

[budgets.pace]
limit = 1
window_s = 60
origins = ["api"]
source = "made up for the tests"
date = "2026-11-24"
"#;

/// A provider inside this process, for what a socket on loopback cannot show: https, and how long an answer takes.
struct Inside<F>(F);

impl<F> Transport for Inside<F>
where
    F: Fn(&SignedRequest) -> Result<(u16, Vec<(&'static str, String)>), TransportError> + Send + Sync + 'static,
{
    fn send<'a>(&'a self, signed: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
        let answered = (self.0)(signed).map(|(status, fields)| {
            let mut headers = http::HeaderMap::new();
            for (name, value) in fields {
                headers.insert(name, value.parse().unwrap());
            }
            ResponseHead { status, headers, body: Box::new(None::<Bytes>) }
        });
        Box::pin(std::future::ready(answered))
    }
}

/// A guest that sends over `transport`, whose origin `api` is `base`.
async fn inside(scene: Scene, clock: &ManualClock, base: &str, transport: impl Transport) -> wharfage::Plugin {
    let host = Host::builder().code_dir(compiled_code()).clock(clock.clone()).transport(transport).build().unwrap();
    scene.at("api", base).connect(&host, &account("")).await.unwrap()
}

#[tokio::test]
async fn r1_every_attempt_and_every_hop_is_admitted_and_signed_again() {
    for replies in [
        [Reply::status(500), Reply::status(500), Reply::status(200)],
        [Reply::redirect(307, "/b"), Reply::redirect(302, "/c"), Reply::status(200)],
    ] {
        let clock = skipping();
        let provider = Provider::scripted_at(&clock, replies).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&budget(2)).clock(&clock).open().await;
        open.output("send", json!({"url": "{api}/a"})).await;
        let seen = provider.seen();
        assert!(seen[2].at.unwrap() >= NOW.plus(60_100), "the third took no permit: {:?}", seen[2].at);
        let signed = open.steps().into_iter().filter(|step| matches!(step, PathEvent::Signed { .. })).count();
        assert_eq!(signed, 3);
        assert!(seen.iter().all(|seen| seen.header("authorization").is_some_and(|value| value.contains(API_KEY))));
    }
}

/// A hop to what was granted to nobody is refused as if the plugin had asked for it.
#[tokio::test]
async fn r1_every_hop_is_judged_again() {
    let provider = Provider::scripted([Reply::redirect(302, "/closed/1"), Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest_with("\"DELETE\"]\npaths = [\"/**\"]", "\"DELETE\"]\npaths = [\"/open/**\"]")
        .open()
        .await;
    let error = open.error("send", json!({"url": "{api}/open/1"})).await;
    assert_eq!((error.kind(), provider.count()), (&Kind::PolicyDenied("path".into()), 1));
}

/// R1: who goes away while waiting holds nothing back.
#[tokio::test]
async fn r1_a_cancelled_call_gives_its_permit_back() {
    let provider = Provider::answering(|seen| if seen.number == 1 { Reply::never() } else { Reply::status(200) }).await;
    let concurrency = "\n[budgets.pace]\nconcurrency = 1\nsource = \"made up for the tests\"\ndate = \"2026-11-22\"\n";
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(concurrency).open().await;
    let mut first = Box::pin(open.call("send", json!({"url": "{api}/a"})));
    let has_arrived = async {
        until!(provider.count() > 0);
    };
    tokio::select! {
        answer = &mut first => panic!("it was never answered: {answer:?}"),
        () = has_arrived => {}
    }
    drop(first);
    open.output("send", json!({"url": "{api}/b"})).await;
}

/// R2: who cannot sign takes no permit, so nobody waits for it.
#[tokio::test]
async fn r2_no_permit_is_held_while_a_credential_is_sought() {
    let clock = skipping();
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest(&budget(1))
        .grant(|connection| connection.secrets.clear())
        .clock(&clock)
        .open()
        .await;
    for _ in 0..5 {
        assert_eq!(*open.error("send", json!({"url": "{api}/x"})).await.kind(), Kind::CredentialUnavailable);
    }
    open.output("send", json!({"url": "{api}/x", "credential": "anonymous"})).await;
    assert_eq!(provider.seen()[0].at, Some(NOW));
}

/// R2: while a token is renewed, the only permit there is goes to whoever is ready to send. The token endpoint answers when
/// that request was seen, so a permit held meanwhile would be waited for in vain.
#[tokio::test]
async fn r2_no_permit_is_held_while_a_token_is_renewed() {
    let clock = skipping();
    let is_renewed = Arc::new(tokio::sync::Notify::new());
    let answer = {
        let is_renewed = is_renewed.clone();
        move |seen: &wharfage_tests::Seen| {
            if seen.target != "/token" {
                return Reply::status(200);
            }
            is_renewed.notify_one();
            Reply::json(&json!({"access_token": "a-token-of-the-harbour", "expires_in": 3600})).once_seen(2)
        }
    };
    let provider = Provider::answering_at(Arc::new(clock.clone()), Box::new(answer)).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .signed_in(&provider.url())
        .manifest(ONE_PERMIT)
        .clock(&clock)
        .open()
        .await;
    let signed = open.output("send", json!({"url": "{api}/signed"}));
    let other = async {
        is_renewed.notified().await;
        open.output("send", json!({"url": "{api}/other", "credential": "anonymous"})).await
    };
    tokio::join!(signed, other);
    let seen: Vec<_> = provider.seen().into_iter().map(|seen| (seen.target, seen.at.unwrap().since(NOW))).collect();
    assert_eq!(seen, [("/token".to_owned(), 0), ("/other".to_owned(), 0), ("/signed".to_owned(), 60_100)]);
}

/// R3: what began under TLS does not go on without, whoever says so.
#[tokio::test]
async fn r3_https_is_never_left() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let transport = Inside(move |signed: &SignedRequest| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok((302, vec![("location", signed.url().replace("https:", "http:"))]))
    });
    let plugin = inside(Scene::of(guests::HTTP_SEND), &skipping(), "https://127.0.0.1:9443", transport).await;
    let error = plugin.call::<Value>("send", &json!({"url": "{api}/x"})).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::PolicyDenied("redirect".into()), "{error:?}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

/// R3: the URL that leaves may hold the key; no error may.
#[tokio::test]
async fn r3_a_credential_in_the_query_reaches_no_error() {
    for stage in [NetworkStage::Dns, NetworkStage::Connect, NetworkStage::Tls, NetworkStage::Reset] {
        let transport = Inside(move |signed: &SignedRequest| {
            assert!(signed.url().contains("apikey=wharf-s3cret"), "it was not signed");
            Err(TransportError { stage, sent: RequestSent::Maybe, details: "the socket said no".into() })
        });
        let plugin = inside(Scene::of(guests::HTTP_SEND), &skipping(), "https://127.0.0.1:9443", transport).await;
        let error =
            plugin.call::<Value>("send", &json!({"url": "{api}/x?a=b", "credential": "in-query"})).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::Network(stage));
        let shown = format!("{error:?}");
        assert!(!shown.contains("wharf-s3cret") && !shown.contains("a=b"), "{shown}");
    }
}

/// R5: a name outside the grant is refused by its name; nobody is asked where it is.
#[tokio::test]
async fn r5_a_name_is_judged_before_it_is_looked_up() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    for name in ["no-such-name.invalid", "a-secret-as-a-label.evil.test", "localhost.evil.test", "127.0.0.1.evil.test"]
    {
        let error = open.error("send", json!({"url": format!("http://{name}/x")})).await;
        assert_eq!(*error.kind(), Kind::PolicyDenied("origin".into()), "{name}: {error:?}");
    }
}

/// R6: connections share no sockets, so no identity meets another's.
#[tokio::test]
async fn r6_each_connection_has_sockets_of_its_own() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let scene = || Scene::of(guests::HTTP_SEND).with(&provider);
    let open = scene().open().await;
    let other = scene().connect_as("other", &open.host, &account("")).await.unwrap();
    for _ in 0..3 {
        open.output("send", json!({"url": "{api}/x"})).await;
        other.call::<Value>("send", &json!({"url": "{api}/x"})).await.unwrap();
    }
    assert_eq!((provider.count(), provider.connections()), (6, 2));
}

/// R7: the provider may have counted a request as late as when it answered, so it ages from there, and 0.1 s more.
#[tokio::test]
async fn r7_what_was_sent_ages_from_its_answer() {
    let clock = skipping();
    let (times, slow) = (Arc::new(std::sync::Mutex::new(Vec::new())), clock.clone());
    let noted = times.clone();
    let transport = Inside(move |_: &SignedRequest| {
        noted.lock().unwrap().push(slow.now().since(NOW));
        slow.advance(5_000);
        Ok((200, Vec::new()))
    });
    let scene = Scene::of(guests::HTTP_SEND).manifest(&budget(1));
    let plugin = inside(scene, &clock, "https://127.0.0.1:9443", transport).await;
    for _ in 0..3 {
        plugin.call::<Value>("send", &json!({"url": "{api}/x"})).await.unwrap();
    }
    assert_eq!(*times.lock().unwrap(), [0, 65_100, 130_200]);
}

/// Another transport than the host's own would send nothing of it, and a 200 to that would look like success.
#[tokio::test]
async fn an_upload_is_refused_where_the_transport_gets_whole_bodies_only() {
    let sent = Arc::new(AtomicUsize::new(0));
    let noted = sent.clone();
    let transport = Inside(move |_: &SignedRequest| {
        noted.fetch_add(1, Ordering::SeqCst);
        Ok((200, Vec::new()))
    });
    let plugin = inside(Scene::of(guests::HTTP_STREAM), &skipping(), "https://127.0.0.1:9443", transport).await;
    let input = json!({"method": "PUT", "url": "{api}/up", "pieces": 3});
    let error = plugin.call::<Value>("up", &input).await.unwrap_err();
    assert_eq!((error.kind(), error.request_sent()), (&Kind::Configuration, RequestSent::No), "{error:?}");
    assert!(error.details().unwrap().contains("HostBuilder::transport"), "{error}");
    assert_eq!(sent.load(Ordering::SeqCst), 0, "something was written");
    plugin.call::<Value>("open", &json!({"url": "{api}/x"})).await.unwrap();
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

/// R23: what is not stated is not granted; a connection that states nothing gives nothing.
#[tokio::test]
async fn r23_nothing_stated_is_nothing_granted() {
    let bytes = Scene::of(guests::HTTP_SEND).component().await;
    let host = Host::builder().clock(skipping()).build().unwrap();
    let connection = Connection::parse("imports = ['http']").unwrap();
    let plugin = host.connect("acme", &bytes, &connection, Some(&account(""))).await.unwrap();
    let missing: Vec<_> = plugin.grant().missing().iter().map(|missing| missing.what.clone()).collect();
    assert!(missing.iter().any(|what| what.contains("https://api.stand-in.test")), "{missing:?}");
    assert!(missing.iter().any(|what| what.contains("api_key")), "{missing:?}");
    for url in ["{api}/x", "https://api.stand-in.test/x"] {
        let error = plugin.call::<Value>("send", &json!({"url": url})).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::PolicyDenied("origin".into()), "{url}: {error:?}");
    }
    let connection = Connection::parse("imports = ['http']\norigins = ['https://api.stand-in.test']").unwrap();
    let plugin = host.connect("acme", &bytes, &connection, Some(&account(""))).await.unwrap();
    let error = plugin.call::<Value>("send", &json!({"url": "{api}/x"})).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::CredentialUnavailable, "{error:?}");
}

/// A narrower grant cuts what the manifest asks for, and never widens it.
#[tokio::test]
async fn r23_a_grant_is_what_both_ask_for() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let url = provider.url();
    let allow =
        format!("[[allow]]\norigin = '{url}'\nmethods = ['GET', 'DELETE']\npaths = ['/orders/*', '/more/**']\n");
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest_with(
            "methods = [\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]\npaths = [\"/**\"]",
            "methods = [\"GET\", \"POST\"]\npaths = [\"/orders/**\"]",
        )
        .connection(&allow)
        .grant(|connection| connection.origins.clear())
        .open()
        .await;
    for (method, path, granted) in [
        ("GET", "/orders/1", true),
        ("POST", "/orders/1", false),
        ("DELETE", "/orders/1", false),
        ("GET", "/orders/1/2", false),
        ("GET", "/more/1", false),
    ] {
        let answer = open.call("send", json!({"method": method, "url": format!("{{api}}{path}")})).await;
        assert_eq!(answer.is_ok(), granted, "{method} {path}: {answer:?}");
    }
}
