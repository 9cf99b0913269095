//! Where a request may go: what the connection grants, and no address beyond it.

use serde_json::{Value, json};
use wharfage::PathEvent;
use wharfage::RequestSent;
use wharfage_tests::{Provider, Reply, Scene, guests};

use super::{denied, open};

#[tokio::test]
async fn what_is_not_granted_does_not_leave() {
    let (provider, elsewhere) =
        (Provider::scripted([Reply::status(200)]).await, Provider::scripted([Reply::status(200)]).await);
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest_with(
            "methods = [\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]\npaths = [\"/**\"]",
            "methods = [\"GET\"]\npaths = [\"/orders/*\", \"/open/**\"]",
        )
        .open()
        .await;
    let at = |rest: &str| format!("{}{rest}", provider.url());
    let port = provider.port();
    for (method, url, rule) in [
        ("GET", elsewhere.url() + "/orders/1", "origin"),
        ("GET", "{other}/orders/1".into(), "origin"),
        ("GET", "{nowhere}/orders/1".into(), "origin"),
        ("GET", format!("https://127.0.0.1:{port}/orders/1"), "origin"),
        ("GET", format!("http://localhost:{port}/orders/1"), "origin"),
        ("GET", format!("http://127.0.0.1.nip.io:{port}/orders/1"), "origin"),
        ("GET", "http://127.0.0.1/orders/1".into(), "origin"),
        ("POST", "{api}/orders/1".into(), "method"),
        ("GET", "{api}/orders".into(), "path"),
        ("GET", "{api}/orders/".into(), "path"),
        ("GET", "{api}/orders/1/2".into(), "path"),
        ("GET", "{api}/other".into(), "path"),
        ("GET", "{api}".into(), "path"),
        ("GET", "{api}x/orders/1".into(), "url"),
        ("GET", "{api".into(), "url"),
        ("GET", "".into(), "url"),
        ("GET", "/orders/1".into(), "url"),
        ("GET", "//127.0.0.1/orders/1".into(), "url"),
        ("GET", "file:///etc/passwd".into(), "url"),
        ("GET", "ftp://127.0.0.1/orders/1".into(), "url"),
        ("GET", "{api}/open/../orders".into(), "url"),
        ("GET", "{api}/open/%2e%2e/orders".into(), "url"),
        ("GET", "{api}/open/.%2E/orders".into(), "url"),
        ("GET", "{api}/open/a%2fb".into(), "url"),
        ("GET", "{api}/open\\..\\x".into(), "url"),
        ("GET", "{api}/open/..;/x".into(), "url"),
        ("GET", "{api}/open/a b".into(), "url"),
        ("GET", "{api}/open/\r\nx-injected: 1".into(), "url"),
        ("GET", "{api}/open/x HTTP/1.1\r\nhost: evil\r\n\r\n".into(), "url"),
        ("GET", "{api}/open/%00".into(), "url"),
        ("GET", "{api}/open/#fragment".into(), "url"),
        ("GET", "{api}/open/\t".into(), "url"),
        ("GET", format!("http://user:pass@127.0.0.1:{port}/orders/1"), "url"),
        ("GET", format!("http://127.0.0.1:{port}@evil.test/orders/1"), "url"),
        ("GET", format!("http:\\\\127.0.0.1:{port}\\orders\\1"), "url"),
        ("GET", format!("http://127.0.0.1:{port}\\@evil.test/orders/1"), "url"),
        ("GET", format!("http:127.0.0.1:{port}/orders/1"), "url"),
        ("GET", format!(" {}", at("/orders/1")), "url"),
    ] {
        let error = open.error("send", json!({"method": method, "url": url})).await;
        assert_eq!(*error.kind(), denied(rule), "{method} {url}: {error:?}");
        assert_eq!((error.request_sent(), error.attempts()), (RequestSent::No, 0), "{method} {url}");
    }
    assert_eq!((provider.connections(), elsewhere.connections()), (0, 0));
    // The same place, written otherwise, is the same place.
    for url in [
        at("/orders/1?a=%2e%2e/x"),
        format!("HTTP://127.0.0.1:{port}/orders/1"),
        format!("http://2130706433:{port}/orders/1"),
        format!("http://0x7f.1:{port}/orders/1"),
        "{api}/open/".into(),
        "{api}/open".into(),
    ] {
        open.output("send", json!({"url": url})).await;
    }
    assert!(provider.seen().iter().all(|seen| seen.header("host") == provider.url().strip_prefix("http://")));
}

#[tokio::test]
async fn a_refusal_names_the_rule_and_shows_no_query() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open(&provider).await;
    let error = open.error("send", json!({"url": "https://example.org/x?token=hidden"})).await;
    assert_eq!(error.message(), "http-send wanted GET https://example.org/x, which connection `acme` does not grant.");
    assert!(!format!("{error:?}").contains("hidden"));
    assert!(error.details().unwrap().contains("The manifest of http-send does not ask for this"), "{error}");
    assert!(
        open.steps()
            .iter()
            .any(|step| matches!(step, PathEvent::Refused { message } if message.contains("example.org")))
    );
}

/// Who forgot to state an origin was told that there is no such name, and who was told to state one that the manifest
/// never asks for got nothing by it.
#[tokio::test]
async fn a_refusal_tells_unstated_from_unasked_and_its_line_helps() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| connection.origins.clear()).open().await;
    let unstated = open.error("send", json!({"url": "{api}/x"})).await;
    assert_eq!(unstated.kind(), &denied("origin"));
    let line = unstated.details().unwrap().split("   ").last().unwrap().to_owned();
    assert_eq!(line, format!("origins = [\"http://127.0.0.1:{}\"]", provider.port()));
    let origin = format!("http://127.0.0.1:{}", provider.port());
    let stated = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| connection.origins = vec![origin]);
    let open = stated.open().await;
    open.call("send", json!({"url": "{api}/x"})).await.unwrap();
    let unasked = open.error("send", json!({"url": "https://example.org/x"})).await;
    assert!(unasked.details().unwrap().contains("does not ask for this"), "{unasked}");
}

#[tokio::test]
async fn a_private_address_is_dialled_only_where_it_is_granted() {
    for (base, refused) in [
        ("http://127.0.0.1:PORT", "loopback"),
        ("http://localhost:PORT", "loopback"),
        ("http://api.localhost:PORT", "loopback"),
        ("http://[::1]:PORT", "loopback"),
        ("http://[::ffff:127.0.0.1]:PORT", "loopback"),
        ("http://2130706433:PORT", "loopback"),
        ("http://0x7f.1:PORT", "loopback"),
        ("http://0.0.0.0:PORT", ""),
        ("http://169.254.169.254", ""),
        ("http://[fd00:ec2::254]", ""),
        ("http://10.0.0.1", "private"),
        ("http://192.168.1.1", "private"),
        ("http://100.64.0.1", ""),
        ("http://[64:ff9b::7f00:1]", "loopback"),
        ("http://[2002:7f00:1::]", "loopback"),
    ] {
        let provider = Provider::scripted([Reply::status(200)]).await;
        let base = base.replace("PORT", &provider.port().to_string());
        let open = Scene::of(guests::HTTP_SEND)
            .at("api", &base)
            .grant(|connection| connection.private_addresses.clear())
            .open()
            .await;
        let error = open.error("send", json!({"url": "{api}/x"})).await;
        assert_eq!(*error.kind(), denied("address"), "{base}: {error:?}");
        assert!(error.message().to_lowercase().contains(refused), "{base}: it does not say what it is: {error}");
        assert_eq!((provider.connections(), error.request_sent()), (0, RequestSent::No));
    }
    // A grant of one address is no grant of another.
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .grant(|connection| {
            connection.private_addresses = vec!["127.0.0.2/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]
        })
        .open()
        .await;
    assert_eq!(*open.error("send", json!({"url": "{api}/x"})).await.kind(), denied("address"));
}

#[tokio::test]
async fn a_name_of_this_machine_needs_no_question_to_anybody() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .at("api", &format!("http://api.localhost:{}", provider.port()))
        .grant(|connection| {
            connection.private_addresses = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]
        })
        .open()
        .await;
    open.output("send", json!({"url": "{api}/x"})).await;
    assert_eq!(provider.seen()[0].header("host"), Some(&*format!("api.localhost:{}", provider.port())));
}

/// The guide's pager followed `next` wherever it pointed, with the key on the request.
#[tokio::test]
async fn guide_s34_a_next_url_elsewhere_gets_nothing() {
    let elsewhere = Provider::scripted([Reply::status(200)]).await;
    let provider = Provider::scripted([Reply::json(&json!({"next": elsewhere.url() + "/orders?page=2"}))]).await;
    let open = open(&provider).await;
    let first = open.output("send", json!({"url": "{api}/orders"})).await;
    let next: Value = serde_json::from_str(first["body"].as_str().unwrap()).unwrap();
    let error = open.error("send", json!({"url": next["next"]})).await;
    assert_eq!(*error.kind(), denied("origin"));
    assert_eq!(elsewhere.connections(), 0);
}
