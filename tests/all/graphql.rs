//! A connection that is limited to some of GraphQL: queries, named operations, fields. What is read and what is refused
//! stands beside the reader in `host/src/outbound/graphql.rs`; here the limit is set as an operator sets it.

use serde_json::{Value, json};
use wharfage::{Error, Kind, explain};
use wharfage_tests::{Open, Provider, Reply, Scene, guests};

/// A connection that grants of the endpoint what these lines say.
async fn limited(limit: &str) -> (Result<Open, Error>, Provider) {
    let provider = Provider::scripted([Reply::json(&json!({"data": {}}))]).await;
    let origin = url::Url::parse(&provider.url()).unwrap().origin().ascii_serialization();
    let lines =
        format!("[[allow]]\norigin = '{origin}'\nmethods = ['GET', 'POST']\npaths = ['/graphql']\ngraphql = {limit}\n");
    let scene = Scene::of(guests::HTTP_SEND).with(&provider).grant(|c| c.origins.clear()).connection(&lines);
    (scene.try_open().await, provider)
}

fn post(document: &str) -> Value {
    json!({
        "method": "POST", "url": "{api}/graphql", "headers": [["Content-Type", "application/json"]],
        "body": json!({"query": document, "variables": {"first": 50}}).to_string()
    })
}

#[tokio::test]
async fn queries_only() {
    let (open, provider) = limited("{ queries_only = true }").await;
    let open = open.unwrap();
    open.output("send", post("query GetProducts($first: Int) { products(first: $first) { edges { node { id } } } }"))
        .await;
    for refused in [
        post("mutation M { updateInventory { id } }"),
        post("query A { a } mutation B { b }"),
        post("{ a"),
        json!({"method": "POST", "url": "{api}/graphql", "headers": [["Content-Type", "application/json"]],
               "body": "[{\"query\": \"{ a }\"}]"}),
        json!({"method": "POST", "url": "{api}/graphql", "headers": [["Content-Type", "application/graphql"]],
               "body": "{ a }"}),
        json!({"url": "{api}/graphql?query=%7Ba%7D"}),
        json!({"url": "{api}/graphql"}),
    ] {
        let error = open.error("send", refused.clone()).await;
        assert_eq!(*error.kind(), Kind::PolicyDenied("graphql".into()), "{refused}: {error}");
    }
    assert_eq!(provider.seen().len(), 1, "what was refused left the host");
    // Another path of the same origin is no GraphQL, and not granted at all.
    let error = open.error("send", json!({"url": "{api}/orders"})).await;
    assert_eq!(*error.kind(), Kind::PolicyDenied("path".into()));
}

#[tokio::test]
async fn named_operations_and_fields() {
    let (open, provider) = limited("{ operations = ['GetProducts'], fields = ['products'] }").await;
    let open = open.unwrap();
    open.output(
        "send",
        post("query GetProducts { mine: products { id } ...F } fragment F on Query { products { name } }"),
    )
    .await;
    let error = open.error("send", post("query GetCustomers { products { id } }")).await;
    let origin = url::Url::parse(&provider.url()).unwrap().origin().ascii_serialization();
    assert_eq!(
        error.to_string(),
        format!(
            "http-send wanted the query `GetCustomers` at POST {origin}/graphql, which connection `acme` does not grant.\n\
             To allow it, set in [[connections.acme.allow]] for {origin} in wharfage.toml:   \
             graphql = {{ operations = [\"GetProducts\", \"GetCustomers\"], fields = [\"products\"] }}"
        )
    );
    // A name is what the plugin calls it; the fields tell what it is.
    let error = open.error("send", post("mutation GetProducts { products: dropEverything { id } }")).await;
    assert!(error.to_string().contains("the field `dropEverything` in the mutation `GetProducts`"), "{error}");
    assert_eq!(provider.seen().len(), 1);
    let told = explain(open.plugin.needs(), open.plugin.grant());
    assert!(
        told.contains("GraphQL: operations named GetProducts") && told.contains("GraphQL: fields at the top: products"),
        "{told}"
    );
}

#[tokio::test]
async fn a_limit_that_limits_nothing_is_a_mistake() {
    for (limit, why) in
        [("{}", "says nothing"), ("{ operations = ['a b'] }", "cannot be a name"), ("{ query = true }", "query")]
    {
        let error = limited_error(limit).await;
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(*error.kind(), Kind::Configuration);
    }
}

async fn limited_error(limit: &str) -> Error {
    match limited(limit).await {
        (Ok(_), _) => panic!("{limit} was accepted"),
        (Err(error), _) => error,
    }
}
