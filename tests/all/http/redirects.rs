//! Redirects: followed within the grant, and without what belongs to the first place.

use serde_json::json;
use wharfage::Kind;
use wharfage::PathEvent;
use wharfage_tests::{API_KEY, Provider, Reply, Scene, guests};

use super::{denied, get, open};

#[tokio::test]
async fn a_redirect_inside_the_origin_is_followed_with_the_credential() {
    for status in [301, 302, 303, 307, 308] {
        let provider =
            Provider::scripted([Reply::redirect(status, "../there?x=1#part"), Reply::status(200).body("there")]).await;
        let open = open(&provider).await;
        let told = open.output("send", json!({"url": "{api}/a/b"})).await;
        assert_eq!(told["body"], "there");
        assert_eq!(told["url"], provider.url() + "/there?x=1");
        let seen = provider.seen();
        assert_eq!((seen[1].method.as_str(), seen[1].target.as_str()), ("GET", "/there?x=1"), "{status}");
        assert_eq!(seen[1].header("authorization"), Some(&*format!("App {API_KEY}")));
        assert_eq!(seen[1].header("referer"), None);
        assert!(open.steps().iter().any(|step| matches!(step, PathEvent::Redirected { to } if to.ends_with("/there"))));
    }
}

#[tokio::test]
async fn a_redirect_to_another_origin_loses_the_credential() {
    for status in [301, 302, 303, 307, 308] {
        let other = Provider::scripted([Reply::status(200).body("other")]).await;
        let provider = Provider::scripted([Reply::redirect(status, &(other.url() + "/there"))]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).at("other", &other.url()).open().await;
        for credential in ["key", "in-query"] {
            let told = open.output("send", json!({"url": "{api}/x", "credential": credential})).await;
            assert_eq!(told["body"], "other");
        }
        for seen in other.seen() {
            assert!(!seen.text().contains("wharf-s3cret"), "{status}: {}", seen.text());
        }
    }
}

/// As redirects to another shard or to a closing slash do: what the host put into the query comes back and goes there once.
#[tokio::test]
async fn a_redirect_that_keeps_the_query_keeps_the_hosts_part_of_it_once() {
    let key = url::form_urlencoded::byte_serialize(API_KEY.as_bytes()).collect::<String>();
    for (location, followed) in [
        (format!("/there?apikey={key}"), format!("/there?apikey={key}")),
        (format!("/there?a=1&apikey={key}&b=%20"), format!("/there?a=1&b=+&apikey={key}")),
    ] {
        let provider = Provider::scripted([Reply::redirect(307, &location), Reply::status(200)]).await;
        let open = open(&provider).await;
        open.output("send", json!({"url": "{api}/x", "credential": "in-query"})).await;
        assert_eq!(provider.seen()[1].target, followed, "{location}");
    }
    let provider = Provider::answering(|asked| match asked.target.strip_prefix("/x") {
        Some(query) => Reply::redirect(307, &format!("/there{query}")),
        None => Reply::status(200),
    })
    .await;
    let scene = Scene::of(guests::HTTP_SEND).manifest_with("header = \"Idempotency-Key\"", "query = \"requestid\"");
    let open = scene.with(&provider).open().await;
    open.output("write", json!({"method": "POST", "url": "{api}/x", "repeat": "keyed", "body": "{}"})).await;
    let seen = provider.seen();
    assert_eq!(seen[1].target, seen[0].target.replace("/x", "/there"));
}

#[tokio::test]
async fn a_redirect_to_a_secret_is_refused_without_a_word_of_it() {
    let key = url::form_urlencoded::byte_serialize(API_KEY.as_bytes()).collect::<String>();
    for location in [format!("https://elsewhere.test/bot{key}/x"), format!("/bot{key}/x"), format!("/x?again={key}")] {
        let (answer, provider, open) = get([Reply::redirect(302, &location), Reply::status(404)]).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), provider.count()), (&denied("redirect"), 1), "{location}: {error:?}");
        let told = format!("{error:?}{:?}", open.steps());
        assert!(!told.contains(&key) && !told.contains(API_KEY), "{told}");
        assert_eq!(open.plugin.leaks(), 1);
    }
}

#[tokio::test]
async fn a_redirect_outside_the_grant_is_refused() {
    let elsewhere = Provider::scripted([Reply::status(200)]).await;
    for (location, rule) in [
        (elsewhere.url() + "/there", "origin"),
        ("http://169.254.169.254/latest/meta-data/".into(), "origin"),
        ("//evil.test/".into(), "origin"),
        ("file:///etc/passwd".into(), "url"),
        ("http://user:pw@127.0.0.1/".into(), "url"),
        ("javascript:alert(1)".into(), "url"),
    ] {
        let (answer, provider, _open) = get([Reply::redirect(302, &location)]).await;
        let error = answer.unwrap_err();
        assert_eq!(*error.kind(), denied(rule), "{location}: {error:?}");
        assert_eq!((provider.count(), elsewhere.connections()), (1, 0));
        assert_eq!(error.attempts(), 1, "{location}: one request left for it");
        assert!(!error.to_string().contains("pw@"), "{error}");
    }
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    let (answer, provider, _open) = get([Reply::redirect(302, "/x")]).await;
    let error = answer.unwrap_err();
    assert_eq!(*error.kind(), Kind::LimitExceeded("redirects".into()), "{error:?}");
    assert_eq!((provider.count(), error.attempts()), (6, 6), "five are followed");
    for location in ["http://[", "http://"] {
        let (answer, provider, _open) = get([Reply::redirect(302, location)]).await;
        let error = answer.unwrap_err();
        assert!(matches!(error.kind(), Kind::SchemaViolation | Kind::PolicyDenied(_)), "{location}: {error:?}");
        assert_eq!(provider.count(), 1);
    }
    // A redirect that says nowhere, and a 304 that nobody asked for, are answers like any other.
    for status in [300, 302, 304] {
        let (answer, provider, _open) = get([Reply::status(status)]).await;
        assert_eq!((answer.unwrap()["status"].as_u64(), provider.count()), (Some(status.into()), 1));
    }
}

/// R3: a body, and what the host made for the first place, never goes to another one.
#[tokio::test]
async fn r3_a_body_is_not_replayed_to_another_origin() {
    let post = |repeat: &str| {
        json!({"method": "POST", "url": "{api}/x", "body": "{\"card\":1}", "repeat": repeat,
            "headers": [["content-type", "application/json"], ["x-plain", "1"]]})
    };
    for status in [307, 308] {
        let other = Provider::scripted([Reply::status(200)]).await;
        let provider = Provider::scripted([Reply::redirect(status, &(other.url() + "/there"))]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).at("other", &other.url()).open().await;
        let error = open.error("write", post("by-method")).await;
        assert_eq!(*error.kind(), denied("redirect"), "{error:?}");
        assert_eq!(other.connections(), 0);

        let provider = Provider::scripted([Reply::redirect(status, "/there"), Reply::status(200)]).await;
        let open = self::open(&provider).await;
        open.output("write", post("keyed")).await;
        let seen = provider.seen();
        assert_eq!((seen[1].method.as_str(), seen[1].body.as_slice()), ("POST", &b"{\"card\":1}"[..]));
    }
    for status in [301, 302, 303] {
        let other = Provider::scripted([Reply::status(200)]).await;
        let provider = Provider::scripted([Reply::redirect(status, &(other.url() + "/there"))]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).at("other", &other.url()).open().await;
        open.output("write", post("keyed")).await;
        let seen = &other.seen()[0];
        assert_eq!((seen.method.as_str(), seen.body.len()), ("GET", 0));
        for absent in ["content-type", "content-length", "authorization", "idempotency-key"] {
            assert_eq!(seen.header(absent), None, "{status}: {absent}");
        }
    }
}
