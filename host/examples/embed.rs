//! The smallest embedding: `cargo run --example embed -- target/wharfage/NAME.wasm orders.list '{"limit": 2}'`.

use futures_util::StreamExt as _;
use serde_json::Value;
use wharfage::{Account, Answer, Connection, Host, Kind, Needs, Result};

/// Connects a component, calls an operation, reads a list, and acts on an error by its kind.
pub async fn embed(
    component: &[u8],
    connection: &Connection,
    account: &Account,
    list: &str,
    input: &Value,
) -> Result<Vec<Value>> {
    let host = Host::builder().build()?;
    let plugin = host.connect("acme", component, connection, Some(account)).await?;
    let first: Answer<Vec<Value>> = plugin.call(list, input).await?;
    println!("{} items at first, {:?}, {} requests", first.output.len(), first.source, first.attempts);
    let mut items = Vec::new();
    let mut stream = std::pin::pin!(plugin.stream::<Value, _>(list, input));
    while let Some(item) = stream.next().await {
        match item {
            Ok(item) => items.push(item),
            Err(error) if *error.kind() == Kind::RateLimited => println!("come back at {:?}", error.retry_at()),
            Err(error) => return Err(error),
        }
    }
    Ok(items)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, list, input] = arguments.as_slice() else { panic!("usage: embed COMPONENT OPERATION INPUT") };
    let input: Value = serde_json::from_str(input).unwrap_or_else(|error| panic!("INPUT is no JSON: {error}"));
    let component = wharfage::read_component(component.as_ref())?;
    let connection = Connection::granting(&Needs::read(&component)?);
    let items = embed(&component, &connection, &Account::default(), list, &input).await?;
    println!("{} items in all", items.len());
    Ok(())
}
