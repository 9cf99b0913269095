//! The outbound path against servers that nobody here wrote, where they run: httpbin and WireMock.
//!
//! They are started by hand, outside the repository, and told to the tests by their addresses; without these the tests say
//! that they were skipped.
//!
//! ```text
//! gunicorn -b 127.0.0.1:8088 httpbin:app                                                    # pip install httpbin gunicorn
//! java -jar node_modules/wiremock/build/wiremock-standalone-*.jar --bind-address 127.0.0.1 --port 8089   # npm i wiremock
//! WHARFAGE_HTTPBIN=http://127.0.0.1:8088 WHARFAGE_WIREMOCK=http://127.0.0.1:8089 cargo test -p wharfage-tests second_opinion
//! ```

use serde_json::{Value, json};
use wharfage::{Error, Kind};
use wharfage_tests::{API_KEY, Open, Scene, guests, skipped};

#[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
fn address(name: &str) -> Option<String> {
    let address = std::env::var(name).ok();
    if address.is_none() {
        skipped(name, "tests/all/second_opinion.rs tells how to start it");
    }
    address
}

async fn open(url: &str) -> Open {
    Scene::of(guests::HTTP_SEND).at("api", url).open().await
}

async fn get(open: &Open, path: &str) -> Result<Value, Error> {
    open.call("send", json!({"url": format!("{{api}}{path}")})).await.map(|answer| answer.output)
}

#[tokio::test]
async fn httpbin() {
    let Some(url) = address("WHARFAGE_HTTPBIN") else { return };
    let open = open(&url).await;
    let body = |told: &Value| told["body"].as_str().unwrap().to_owned();

    let echo = body(&get(&open, "/anything/x?a=1").await.unwrap());
    assert!(echo.contains("[masked]") && !echo.contains(API_KEY), "{echo}");
    for (status, kind, attempts) in [
        (400, "invalid-request", 1),
        (401, "unauthorized", 1),
        (403, "forbidden", 1),
        (404, "not-found", 1),
        (409, "conflict", 1),
        (410, "cursor-invalid", 1),
        (429, "rate-limited", 5),
        (500, "transient", 5),
        (503, "transient", 5),
    ] {
        let error = get(&open, &format!("/status/{status}")).await.unwrap_err();
        assert_eq!((error.kind().name(), error.attempts()), (kind, attempts), "{status}");
    }
    for path in ["/redirect/3", "/relative-redirect/3", "/absolute-redirect/3"] {
        let told = get(&open, path).await.unwrap();
        assert_eq!((&told["attempts"], &told["url"]), (&json!(4), &json!(format!("{url}/get"))), "{path}");
    }
    assert_eq!(*get(&open, "/redirect/7").await.unwrap_err().kind(), Kind::LimitExceeded("redirects".into()));
    for to in ["http://169.254.169.254/", "https://example.org/", "//example.org/", "http://127.0.0.1:1/"] {
        let error = get(&open, &format!("/redirect-to?url={to}")).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::PolicyDenied(_)), "{to}: {error:?}");
    }
    assert!(body(&get(&open, "/gzip").await.unwrap()).contains("\"gzipped\": true"));
    for path in ["/deflate", "/brotli"] {
        assert_eq!(*get(&open, path).await.unwrap_err().kind(), Kind::SchemaViolation, "{path}");
    }
    for (path, bytes) in [("/bytes/1000", 1_000), ("/stream-bytes/100000?chunk_size=999", 100_000), ("/stream/20", 0)] {
        let read = get(&open, path).await.unwrap()["body_bytes"].as_u64().unwrap();
        assert!(read == bytes || bytes == 0 && read > 1_000, "{path}: {read}");
    }
    // A cookie is neither shown nor kept.
    let cookies = body(&get(&open, "/cookies/set?crumb=1").await.unwrap());
    assert!(!cookies.contains("crumb"), "{cookies}");
    assert_eq!(get(&open, "/etag/x").await.unwrap()["status"], 200);
    let told = open
        .output("write", json!({"method": "POST", "url": "{api}/post", "body": "{\"a\":1}", "headers": [["content-type", "application/json"]]}))
        .await;
    let posted: Value = serde_json::from_str(&body(&told)).unwrap();
    assert_eq!(posted["json"], json!({"a": 1}));
    for (credential, status) in [("bearer", 200), ("anonymous", 401)] {
        let answer = open.call("send", json!({"url": "{api}/bearer", "credential": credential})).await;
        assert_eq!(answer.map_or_else(|error| error.status().unwrap(), |_| 200), status, "{credential}");
    }
}

/// WireMock's faults and its scenarios, and its journal of what arrived.
#[tokio::test]
async fn wiremock() {
    let Some(url) = address("WHARFAGE_WIREMOCK") else { return };
    let admin = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, body: Value| {
        let request = admin.post(format!("{url}/__admin{path}")).body(body.to_string());
        let text = request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap_or_default()
    };
    // Once this, and then the good answer.
    let once = async |name: &str, response: Value| {
        let stub = |from: &str, to: Option<&str>, response: Value| {
            let mut stub = json!({"scenarioName": name, "requiredScenarioState": from,
                "request": {"method": "ANY", "urlPath": format!("/{name}")}, "response": response});
            if let Some(to) = to {
                stub["newScenarioState"] = json!(to);
            }
            stub
        };
        post("/mappings", stub("Started", Some("well"), response)).await;
        post("/mappings", stub("well", None, json!({"status": 200, "body": "well"}))).await;
    };
    let arrived =
        async |name: &str| post("/requests/count", json!({"urlPath": format!("/{name}")})).await["count"].clone();
    post("/reset", json!({})).await;
    let open = open(&url).await;
    for (name, response, attempts) in [
        ("empty", json!({"fault": "EMPTY_RESPONSE"}), 2),
        ("malformed", json!({"fault": "MALFORMED_RESPONSE_CHUNK"}), 2),
        ("random", json!({"fault": "RANDOM_DATA_THEN_CLOSE"}), 2),
        ("reset-by-peer", json!({"fault": "CONNECTION_RESET_BY_PEER"}), 2),
        ("limited", json!({"status": 429, "headers": {"Retry-After": "7"}}), 2),
        ("down", json!({"status": 503}), 2),
        (
            "dribble",
            json!({"status": 200, "body": "slow", "chunkedDribbleDelay": {"numberOfChunks": 4, "totalDuration": 40}}),
            1,
        ),
    ] {
        once(name, response).await;
        let told = get(&open, &format!("/{name}")).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(
            (&told["attempts"], &told["body"]),
            (&json!(attempts), &json!(if attempts == 1 { "slow" } else { "well" })),
            "{name}"
        );
        assert_eq!(arrived(name).await, json!(attempts), "{name}: WireMock's own journal");
    }
    for (name, response, kind) in [
        ("lost-empty", json!({"fault": "EMPTY_RESPONSE"}), "outcome-unknown"),
        ("lost-random", json!({"fault": "RANDOM_DATA_THEN_CLOSE"}), "outcome-unknown"),
        ("lost-reset", json!({"fault": "CONNECTION_RESET_BY_PEER"}), "outcome-unknown"),
        ("lost-500", json!({"status": 500}), "transient"),
    ] {
        once(name, response).await;
        let error =
            open.error("write", json!({"method": "POST", "url": format!("{{api}}/{name}"), "body": "{}"})).await;
        assert_eq!(error.kind().name(), kind, "{name}: {error:?}");
        assert_eq!(arrived(name).await, json!(1), "{name}: a write is not sent twice");
    }
}
