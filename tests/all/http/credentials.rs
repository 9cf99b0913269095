//! Credentials: where they are placed, where they may go, and that none comes back.

use serde_json::json;
use wharfage::PathEvent;
use wharfage::{Kind, ManualClock, RequestSent, Timestamp};
use wharfage_tests::{API_KEY, Open, Provider, Reply, Scene, USER, guests};

use super::{denied, open};

#[tokio::test]
async fn a_credential_is_placed_as_it_is_declared() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open(&provider).await;
    for (credential, authorization, target) in [
        (None, Some(format!("App {API_KEY}")), "/x"),
        (Some("bearer"), Some(format!("Bearer {API_KEY}")), "/x"),
        (Some("pair"), Some("Basic aGFyYm91ci1tYXN0ZXI6d2hhcmYtczNjcmV0LTA0NTEtYmVydGgrY3JhbmUvNw==".to_owned()), "/x"),
        (Some("in-query"), None, "/x?apikey=wharf-s3cret-0451-berth%2Bcrane%2F7"),
        (Some("anonymous"), None, "/x"),
    ] {
        let told = open.output("send", json!({"url": "{api}/x", "credential": credential})).await;
        let seen = provider.seen().pop().unwrap();
        assert_eq!(
            (seen.header("authorization"), seen.target.as_str()),
            (authorization.as_deref(), target),
            "{credential:?}"
        );
        assert_eq!(
            told["url"],
            format!("{}/x", provider.url()),
            "the URL that a plugin sees is the one without the credential"
        );
    }
    let signed: Vec<PathEvent> =
        open.steps().into_iter().filter(|step| matches!(step, PathEvent::Signed { .. })).collect();
    assert_eq!(signed.len(), 4);
    assert!(!format!("{signed:?}").contains(API_KEY));
}

/// Item 21 and S8 of the lessons: what cannot be signed is not sent at all.
#[tokio::test]
async fn without_the_secret_nothing_leaves() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| connection.secrets.clear()).open().await;
    let error = open.error("send", json!({"url": "{api}/x"})).await;
    assert_eq!((error.kind(), error.request_sent()), (&Kind::CredentialUnavailable, RequestSent::No));
    assert_eq!(provider.count(), 0);
    open.output("send", json!({"url": "{api}/x", "credential": "anonymous"})).await;
}

#[tokio::test]
async fn a_credential_goes_to_its_own_origins_only() {
    let (api, other) = (Provider::scripted([Reply::status(200)]).await, Provider::scripted([Reply::status(200)]).await);
    let open = Scene::of(guests::HTTP_SEND).with(&api).at("other", &other.url()).open().await;
    for credential in ["key", "bearer", "in-query", "no-such"] {
        let error = open.error("send", json!({"url": "{other}/x", "credential": credential})).await;
        assert_eq!(*error.kind(), denied("credential"), "{error:?}");
    }
    assert_eq!(other.count(), 0);
    open.output("send", json!({"url": "{other}/x"})).await;
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_plugin_cannot_set_the_hosts_query_parameter() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open(&provider).await;
    for query in ["apikey=x", "a=1&apikey=", "apikey", "%61pikey=x"] {
        let error = open.error("send", json!({"url": format!("{{api}}/x?{query}"), "credential": "in-query"})).await;
        assert_eq!(*error.kind(), denied("credential"), "{query}: {error:?}");
    }
    assert_eq!(provider.count(), 0);
}

/// A provider that makes the URL of the next page from the one it was asked names the key in it. What the host masked there
/// comes back with the plugin's next request, and is the host's own.
#[tokio::test]
async fn a_next_page_whose_url_held_the_key_is_asked_for_with_the_key() {
    let key = url::form_urlencoded::byte_serialize(API_KEY.as_bytes()).collect::<String>();
    let provider = Provider::scripted([Reply::status(200).body(format!("/x?apikey={key}&page=2"))]).await;
    let open = open(&provider).await;
    let ask = |path: &str| json!({"url": format!("{{api}}{path}"), "credential": "in-query"});
    assert_eq!(open.output("send", ask("/x")).await["body"], "/x?apikey=[masked]&page=2");
    for (next, bare, between) in [
        ("/x?apikey=[masked]&page=2", "/x?page=2", '&'),
        ("/x?page=3&apikey=%5Bmasked%5D", "/x?page=3", '&'),
        ("/y?apikey=[masked]", "/y", '?'),
    ] {
        let told = open.output("send", ask(next)).await;
        assert_eq!(told["url"], provider.url() + bare);
        assert_eq!(provider.seen().pop().unwrap().target, format!("{bare}{between}apikey={key}"));
    }
    let error = open.error("send", ask("/x?apikey=[masked]x")).await;
    assert_eq!((error.kind(), provider.count()), (&denied("credential"), 4));
}

/// More places for the same key, and one that is for less than the origin.
const PLACES: &str = r#"
[credentials.in-cookie]
scheme = "api-key"
secret = "api_key"
cookie = "session"
origins = ["api"]

[credentials.in-body]
scheme = "api-key"
secret = "api_key"
body = "key"
origins = ["api"]

[credentials.in-path]
scheme = "api-key"
secret = "api_key"
path = "{key}"
origins = ["api"]

[credentials.narrow]
scheme = "bearer"
secret = "api_key"
origins = ["api"]
methods = ["GET"]
paths = ["/v1/**"]
"#;

async fn placing(provider: &Provider) -> Open {
    Scene::of(guests::HTTP_SEND).manifest(PLACES).with(provider).open().await
}

#[tokio::test]
async fn a_key_goes_into_a_cookie_a_body_or_a_path() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = placing(&provider).await;
    open.output("send", json!({"credential": "in-cookie"})).await;
    assert_eq!(provider.seen().pop().unwrap().header("cookie"), Some(&*format!("session={API_KEY}")));
    for (kind, body, sent) in [
        ("application/x-www-form-urlencoded", "a=1", "a=1&key=wharf-s3cret-0451-berth%2Bcrane%2F7".to_owned()),
        ("application/json", "{\"a\":1.0}", format!("{{\"key\":\"{API_KEY}\",\"a\":1.0}}")),
    ] {
        let input =
            json!({"method": "POST", "headers": [["content-type", kind]], "body": body, "credential": "in-body"});
        open.output("send", input).await;
        assert_eq!(String::from_utf8(provider.seen().pop().unwrap().body).unwrap(), sent);
    }
    let told = open.output("send", json!({"url": "{api}/bot{key}/send?a=1", "credential": "in-path"})).await;
    let encoded = API_KEY.replace('/', "%2F");
    assert_eq!(provider.seen().pop().unwrap().target, format!("/bot{encoded}/send?a=1"));
    assert_eq!(
        told["url"],
        format!("{}/bot%7Bkey%7D/send?a=1", provider.url()),
        "the marker stays where it can be seen"
    );
}

/// L9: what is made of a secret is masked like it.
#[tokio::test]
async fn what_the_host_signs_is_signed_at_its_time_and_does_not_come_back() {
    let schemes = r#"
[credentials.app]
scheme = "jwt"
secret = "api_key"
algorithm = "HS256"
issuer = "user"
origins = ["api"]

[credentials.signed]
scheme = "aws-sigv4"
access_key = "user"
secret = "api_key"
region = "here-1"
service = "x"
origins = ["api"]
"#;
    let clock = ManualClock::skipping(Timestamp::from_millis(1_440_938_160_000), 1);
    let provider = Provider::answering(|seen| Reply::status(200).body(seen.text())).await;
    let open = Scene::of(guests::HTTP_SEND).manifest(schemes).with(&provider).clock(&clock).open().await;
    let told = open.output("send", json!({"url": "{api}/x", "credential": "signed"})).await;
    let seen = provider.seen().pop().unwrap();
    assert_eq!(seen.header("x-amz-date"), Some("20150830T123600Z"));
    let authorization = seen.header("authorization").unwrap();
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential={USER}/20150830/here-1/x/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date"
    );
    assert!(authorization.starts_with(&scope), "{authorization}");
    let signature = authorization.split("Signature=").nth(1).unwrap();
    assert!(!told.to_string().contains(signature) && told.to_string().contains("[masked]"), "{told}");
    // The same token until shortly before its end.
    let mut tokens = Vec::new();
    for advance_ms in [0, 239_000, 2_000] {
        clock.advance(advance_ms);
        let told = open.output("send", json!({"url": "{api}/x", "credential": "app"})).await.to_string();
        tokens.push(provider.seen().pop().unwrap().header("authorization").unwrap().to_owned());
        assert!(
            told.contains("[masked]") && !told.contains(tokens.last().unwrap().split('.').nth(2).unwrap()),
            "{told}"
        );
    }
    assert!(tokens[0].starts_with("Bearer eyJ") && tokens[0] == tokens[1] && tokens[1] != tokens[2]);
    // What the host sets the plugin does not.
    let error = open.error("send", json!({"headers": [["x-amz-date", "1"]], "credential": "signed"})).await;
    assert_eq!(*error.kind(), denied("credential"));
}

/// L8: what stands for a credential never leaves, and a credential is never left out in silence.
#[tokio::test]
async fn no_marker_leaves_and_nothing_is_sent_unsigned() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = placing(&provider).await;
    let json_type = json!([["content-type", "application/json"]]);
    for input in [
        json!({"url": "{api}/send", "credential": "in-path"}),
        json!({"url": "{api}/{key}/{key}", "credential": "in-path"}),
        json!({"url": "{api}/{key}?a={key}", "credential": "in-path"}),
        json!({"url": "{api}/x?a=%7bKEY%7d", "credential": "anonymous"}),
        json!({"url": "{api}/{key}"}),
        json!({"url": "{api}/{key}", "credential": "bearer"}),
        json!({"headers": [["x-a", "{key}"]], "credential": "anonymous"}),
        json!({"method": "POST", "credential": "in-body"}),
        json!({"method": "POST", "body": "{}", "credential": "in-body"}),
        json!({"method": "POST", "body": "[]", "headers": json_type, "credential": "in-body"}),
        json!({"method": "POST", "body": "{\"key\":1}", "headers": json_type, "credential": "in-body"}),
    ] {
        let error = open.error("send", input.clone()).await;
        assert_eq!(
            (error.kind(), error.request_sent()),
            (&denied("credential"), RequestSent::No),
            "{input}: {error:?}"
        );
    }
    assert_eq!(provider.count(), 0);
}

/// L7: an origin may be granted whole, and the credential be for a part of it.
#[tokio::test]
async fn a_credential_goes_with_its_own_methods_to_its_own_paths() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = placing(&provider).await;
    for (method, path) in [("POST", "/v1/x"), ("GET", "/v2/x"), ("GET", "/v1x"), ("HEAD", "/v1/x")] {
        let input = json!({"method": method, "url": format!("{{api}}{path}"), "credential": "narrow"});
        let error = open.error("send", input).await;
        assert_eq!(*error.kind(), denied("credential"), "{method} {path}: {error:?}");
        let details = error.details().unwrap();
        assert!(details.contains("GET to the paths /v1/**") && details.contains("[credentials.narrow]"), "{details}");
    }
    assert_eq!(provider.count(), 0);
    open.output("send", json!({"url": "{api}/v1/x", "credential": "narrow"})).await;
    // A redirect out of it loses the way, not the rule.
    let provider = Provider::scripted([Reply::status(302).header("location", "/v2/x"), Reply::status(200)]).await;
    let open = placing(&provider).await;
    let error = open.error("send", json!({"url": "{api}/v1/x", "credential": "narrow"})).await;
    assert_eq!((error.kind(), provider.count()), (&denied("credential"), 1));
}

/// What is shown is cut after it is masked, or the beginning of a key would show where the cut is.
#[tokio::test]
async fn a_secret_that_comes_back_and_is_cut_is_masked() {
    let id = format!("{}{API_KEY}", "x".repeat(150));
    // So much of an error's body is looked at that the cut is in a key, and what is masked is shorter than what is kept.
    let body = format!("{}{}", "x".repeat(10), API_KEY.repeat(200));
    let provider = Provider::scripted([
        Reply::status(200).header("x-request-id", &id),
        Reply::status(404).header("x-request-id", &id).body(body),
    ])
    .await;
    let open = open(&provider).await;
    let told = open.output("send", json!({"url": "{api}/x"})).await;
    let error = open.error("send", json!({"url": "{api}/x"})).await;
    let expected = format!("{}[masked]", "x".repeat(150));
    assert_eq!((told["request_id"].as_str(), error.request_id()), (Some(&*expected), Some(&*expected)));
    assert_eq!(error.body(), Some("xxxxxxxxxx[masked]"));
}

/// A provider that shows what it was sent (as httpbin does) would hand the key to the plugin.
#[tokio::test]
async fn a_secret_that_comes_back_is_masked() {
    let echo = |seen: &wharfage_tests::Seen| {
        let key = seen.text();
        let quoted = json!(key).to_string();
        let hex: String = API_KEY.bytes().map(|byte| format!("{byte:02X}")).collect();
        let reply = if seen.target.contains("fail") { Reply::status(400) } else { Reply::status(200) };
        reply
            .header("x-echo", seen.header("authorization").unwrap_or("none"))
            .header("x-request-id", API_KEY)
            .header("set-cookie", "session=1")
            .header("x-api-key", "refreshed")
            .header("authorization", "Bearer refreshed")
            .body(format!("{key}\n{quoted}\n{hex}\n{}", seen.target))
    };
    let provider = Provider::answering(echo).await;
    let open = open(&provider).await;
    for credential in ["key", "bearer", "pair", "in-query"] {
        for path in ["ok", "fail"] {
            let answer = open.call("send", json!({"url": format!("{{api}}/{path}"), "credential": credential})).await;
            let shown = match &answer {
                Ok(answer) => answer.output.to_string(),
                Err(error) => format!("{error:?} {:?} {:?}", error.body(), error.request_id()),
            };
            for leak in [
                API_KEY,
                "wharf-s3cret",
                "berth%2Bcrane",
                "d2hhcmYtczNjcmV0LTA0NTEt",
                "77686172662D7333637265742D",
                "session=1",
                "refreshed",
            ] {
                assert!(!shown.contains(leak), "{credential} {path}: {leak} came back in {shown}");
            }
            assert!(shown.contains("[masked]"), "{credential} {path}: {shown}");
        }
    }
}
