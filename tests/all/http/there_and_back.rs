//! There and back: what a plugin asks for is what the provider sees, and its answer is what the plugin gets.

use serde_json::json;
use wharfage_tests::{API_KEY, Provider, Reply, Scene, guests};

use super::{get, header, open};

#[tokio::test]
pub(super) async fn http_send() {
    let reply = Reply::json(&json!({"number": "SO-7"})).header("x-request-id", "r-1").header("x-shape", "caf\u{e9}");
    let provider = Provider::scripted([reply]).await;
    let open = open(&provider).await;
    let answer = open
        .call(
            "send",
            json!({"method": "POST", "url": "{api}/orders?a=1&b=%20c", "headers": [["x-shop", "7"], ["content-type", "application/json"]],
                "body": "{\"total\":\"12.30\"}"}),
        )
        .await
        .unwrap();
    let told = &answer.output;
    assert_eq!(told["status"], 200);
    assert_eq!(told["body"], "{\"number\":\"SO-7\"}");
    assert_eq!((&told["source"], &told["age_ms"], &told["attempts"]), (&json!("live"), &json!(0), &json!(1)));
    assert_eq!(told["request_id"], "r-1");
    assert_eq!(told["url"], format!("{}/orders?a=1&b=%20c", provider.url()));
    assert_eq!(header(told, "content-type"), Some("application/json"));
    assert_eq!(answer.attempts, 1);

    let seen = &provider.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/orders?a=1&b=%20c"));
    assert_eq!(seen.body, b"{\"total\":\"12.30\"}");
    assert_eq!(seen.header("content-length"), Some("17"));
    assert_eq!(seen.header("authorization"), Some(&*format!("App {API_KEY}")));
    assert_eq!(seen.header("x-shop"), Some("7"));
    assert_eq!(seen.header("host"), provider.url().strip_prefix("http://"));
    assert!(seen.header("user-agent").unwrap().starts_with("wharfage/"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    for absent in ["cookie", "referer", "origin", "forwarded", "x-forwarded-for", "via"] {
        assert_eq!(seen.header(absent), None, "{absent}");
    }
}

/// 32 MiB, where a whole answer may have 64 KiB.
#[tokio::test]
pub(super) async fn http_stream() {
    const BYTES: usize = 32 << 20;
    let reply = Reply::status(200).header("x-request-id", "r-1").body(vec![b'x'; BYTES]);
    let provider = Provider::scripted([reply]).await;
    let open = Scene::of(guests::HTTP_STREAM)
        .with(&provider)
        .grant(|connection| connection.limits.response_body_bytes = 64 << 10)
        .open()
        .await;
    let told = open.output("open", json!({"url": "{api}/large", "max": 100_000})).await;
    assert_eq!((&told["bytes"], &told["is_over"], &told["status"]), (&json!(BYTES), &json!(true), &json!(200)));
    assert!(told["largest"].as_u64().unwrap() <= 100_000 && told["pieces"].as_u64().unwrap() >= 335, "{told}");
    assert_eq!((&told["attempts"], told["url"].as_str()), (&json!(1), Some(&*format!("{}/large", provider.url()))));
    assert_eq!(header(&told, "x-request-id"), Some("r-1"));
}

#[tokio::test]
async fn every_method_goes_as_it_is() {
    let provider = Provider::scripted([Reply::status(200).body("answer")]).await;
    let open = open(&provider).await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
        let told = open.output("send", json!({"method": method, "url": "{api}/x"})).await;
        assert_eq!(told["body_bytes"], if method == "HEAD" { 0 } else { 6 }, "{method}");
    }
    let seen = provider.seen();
    let sent: Vec<_> = seen.iter().map(|seen| (seen.method.as_str(), seen.header("content-length"))).collect();
    let zero = Some("0");
    let lengths = [("GET", None), ("HEAD", None), ("POST", zero), ("PUT", zero), ("PATCH", zero), ("DELETE", None)];
    assert_eq!(sent, lengths);
    assert_eq!(provider.connections(), 1, "a connection is used again");
}

#[tokio::test]
async fn the_provider_may_answer_nothing_html_and_any_bytes() {
    for (reply, bytes) in [
        (Reply::status(200), 0),
        (Reply::status(204), 0),
        (Reply::status(200).header("content-type", "text/html").body("<html>Just a moment…</html>"), 29),
        (Reply::status(200).body(vec![0, 255, 254, 128]), 4),
        (Reply::raw("HTTP/1.1 200\r\n\r\nuntil the end"), 13),
        (Reply::raw("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"), 2),
        (Reply::raw("HTTP/1.1 304 Not Modified\r\ncontent-length: 1000000000\r\n\r\n"), 0),
        (Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), 3),
        (Reply::raw("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), 2),
    ] {
        let name = format!("{reply:?}");
        let (answer, provider, _open) = get([reply]).await;
        assert_eq!(answer.unwrap()["body_bytes"], bytes, "{name}");
        assert_eq!(provider.count(), 1);
    }
}
