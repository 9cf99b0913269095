//! What is too large: answers, headers and requests beyond their limits.

use serde_json::json;
use wharfage::Kind;
use wharfage_tests::{Provider, Reply, Scene, guests};

use super::get;

#[tokio::test]
async fn an_answer_too_large_is_cut_off_early() {
    const LIMIT: u64 = 256 << 10;
    // What lies in buffers on the way; far less than what the provider would like to send.
    const ON_THE_WAY: u64 = 16 << 20;
    for reply in [Reply::declared(1 << 40), Reply::declared(LIMIT + 1), Reply::endless(), Reply::gzip_bomb(256 << 20)] {
        let name = format!("{reply:?}");
        let provider = Provider::scripted([reply]).await;
        let open = Scene::of(guests::HTTP_SEND)
            .with(&provider)
            .grant(|connection| connection.limits.response_body_bytes = LIMIT)
            .open()
            .await;
        let error = open.error("send", json!({"url": "{api}/x"})).await;
        assert_eq!(*error.kind(), Kind::TooLarge, "{name:.80}: {error:?}");
        assert_eq!((error.attempts(), provider.count()), (1, 1), "asking again makes it no smaller");
        assert!(error.message().contains("response_body_bytes"), "{error}");
        assert!(provider.bytes_written() < ON_THE_WAY, "{name:.80}: {} bytes", provider.bytes_written());
    }
    let provider = Provider::scripted([Reply::status(200).body(vec![b'x'; LIMIT as usize])]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .grant(|connection| connection.limits.response_body_bytes = LIMIT)
        .open()
        .await;
    assert_eq!(
        open.output("send", json!({"url": "{api}/x"})).await["body_bytes"],
        LIMIT,
        "the limit itself is allowed"
    );
}

#[tokio::test]
async fn headers_without_end_are_too_much() {
    let mut flood = "HTTP/1.1 200 OK\r\n".to_owned();
    for number in 0..2_000 {
        flood.push_str(&format!("x-flood-{number}: {}\r\n", "y".repeat(100)));
    }
    flood.push_str("content-length: 0\r\n\r\n");
    // Many fields, very many, and just one too many: each is told as what it is, and asked for once.
    let fields =
        |count: usize| (0..count).fold(Reply::status(200), |reply, number| reply.header(&format!("x-{number}"), "y"));
    for reply in [Reply::raw(flood), fields(300), fields(100)] {
        let (answer, provider, _open) = get([reply]).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), provider.count()), (&Kind::TooLarge, 1), "{error:?}");
        assert!(error.to_string().contains("limits.headers"), "{error}");
    }
    // With its own content-length that makes 100.
    assert_eq!(get([fields(99)]).await.0.unwrap()["status"], 200);
    let (answer, _provider, _open) = get([Reply::status(200).header("x-large", &"y".repeat(40_000))]).await;
    let error = answer.unwrap_err();
    assert_eq!(*error.kind(), Kind::TooLarge, "{error:?}");
}

#[tokio::test]
async fn a_packed_answer_is_unpacked_and_an_unknown_packing_refused() {
    let (answer, provider, _open) = get([Reply::gzip_bomb(128 << 10)]).await;
    assert_eq!(answer.unwrap()["body_bytes"], 128 << 10);
    assert_eq!(provider.seen()[0].header("accept-encoding"), Some("gzip"));
    for coding in ["br", "zstd", "gzip, gzip", "made-up"] {
        let (answer, _provider, _open) = get([Reply::status(200).header("content-encoding", coding).body("???")]).await;
        let error = answer.unwrap_err();
        assert!(matches!(error.kind(), Kind::SchemaViolation | Kind::Network(_)), "{coding}: {error:?}");
    }
}
