//! Side by side: many requests of one call at once.

use serde_json::{Value, json};
use wharfage::Kind;
use wharfage_tests::{Provider, Reply, Scene, guests};

#[tokio::test]
pub(super) async fn http_send_all() {
    // The first is answered when all four have come, so they are under way at once; the answers stand in their order.
    let provider = Provider::answering(|seen| {
        let reply = if seen.target == "/2" { Reply::status(404) } else { Reply::status(200).body(seen.target.clone()) };
        reply.once_seen(4)
    })
    .await;
    let open = Scene::of(guests::HTTP_SEND_ALL).with(&provider).open().await;
    let requests: Vec<Value> = (0..4).map(|number| json!({"url": format!("{{api}}/{number}")})).collect();
    let answer = open.call("send-all", json!({"requests": requests})).await.unwrap();
    let bodies: Vec<_> = answer.output.as_array().unwrap().iter().map(|answer| answer["body"].clone()).collect();
    assert_eq!(bodies, [json!("/0"), json!("/1"), json!(null), json!("/3")]);
    assert!(answer.output[2]["error"].as_str().unwrap().contains("NotFound"), "{}", answer.output[2]);
    assert_eq!(answer.attempts, 4);
    assert_eq!(open.output("send-all", json!({"requests": []})).await, json!([]));
}

/// A list that no call could send was answered with an error for each of its requests: a plugin could have the host make
/// as many as it liked.
#[tokio::test]
async fn more_at_once_than_a_call_may_send_end_it() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND_ALL)
        .with(&provider)
        .grant(|connection| connection.limits.requests = 3)
        .open()
        .await;
    let requests = |count: usize| json!({"requests": vec![json!({"url": "{api}/x"}); count]});
    open.output("send-all", requests(3)).await;
    let error = open.error("send-all", requests(4)).await;
    assert_eq!(*error.kind(), Kind::LimitExceeded("requests".to_owned()));
    assert!(error.message().contains("limit requests of 3"), "{error}");
    assert!(error.details().unwrap().contains("limits.requests on the connection"), "{error}");
    assert_eq!(provider.count(), 3);
}

#[tokio::test]
async fn no_more_are_under_way_than_allowed() {
    let provider = Provider::answering(|seen| Reply::status(200).once_seen(seen.number.next_multiple_of(2))).await;
    let open = Scene::of(guests::HTTP_SEND_ALL)
        .with(&provider)
        .grant(|connection| connection.limits.side_by_side = 2)
        .open()
        .await;
    let requests: Vec<Value> = (0..10).map(|_| json!({"url": "{api}/x"})).collect();
    open.output("send-all", json!({"requests": requests})).await;
    assert_eq!(provider.count(), 10);
    assert!(provider.connections() <= 2, "{} connections", provider.connections());
}
