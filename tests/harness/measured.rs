//! What benches and counts measure: one guest over one connection with all that a connection has, and a provider that is
//! nowhere. Whether the host has a state folder to write to is for whoever builds it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use wharfage::transport::{ResponseBody, ResponseHead, SignedRequest, TransportError};
use wharfage::{BoxFuture, Connection, HostBuilder, Plugin, Transport};

use crate::{Scene, guests, scene};

/// Where nobody is.
pub const NOWHERE: &str = "http://127.0.0.1:9";

/// What a connection says so that its instances stay warm.
pub const WARM: &str = "[warm]\ninstances = 64";

/// A budget that is counted and never spent.
const BUDGET: &str = r#"
[budgets.per-second]
limit = 4000000000
window_s = 1
source = "made up for the benches"
date = "2026-11-22"
"#;

/// The guest, with a budget in its manifest.
pub async fn component() -> Arc<Vec<u8>> {
    Scene::of(guests::OPERATIONS_BENCH).manifest(BUDGET).component().await
}

/// The guest on a connection to `url`, which has a credential to place and to mask, and more lines.
///
/// # Panics
/// When the host refuses.
pub async fn connect(host: HostBuilder, component: &[u8], url: &str, lines: &str) -> Plugin {
    let host = host.build().expect("a host");
    let account = scene::account("");
    let connected = host.connect("bench", component, &connection(url, lines), Some(&account)).await;
    connected.unwrap_or_else(|error| panic!("{error}"))
}

/// That connection.
///
/// # Panics
/// When the lines are none of a connection.
pub fn connection(url: &str, lines: &str) -> Connection {
    let text = format!(
        "plugin = 'operations-bench'\nimports = ['http']\norigins = ['{url}']\nbase = {{ api = '{url}' }}\n\
         secrets = ['api_key', 'user', 'signing', 'verifying']\nprivate_addresses = ['127.0.0.1/32']\n{lines}"
    );
    Connection::parse(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// An answer there is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// About 1 KiB.
    Small,
    /// About 100 KiB.
    Large,
}

impl Size {
    /// Where it is answered.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Small => "/small",
            Self::Large => "/large",
        }
    }

    /// How many orders it holds.
    pub const fn orders(self) -> usize {
        match self {
            Self::Small => 6,
            Self::Large => 580,
        }
    }

    /// The answer's JSON.
    pub fn json(self) -> String {
        let status = ["Submitted", "Accepted", "Shipped"];
        let order = |number: usize| {
            json!({
                "id": format!("{:08x}-0451", number * 40_503),
                "number": number,
                "status": status[number % status.len()],
                "paid": number.is_multiple_of(2),
                "total": { "amount": format!("{}.{:02}", number * 37 % 9_000, number % 100), "currency": "USD" },
                "customer": { "id": 4_000 + number, "name": "Harbour \u{2013} Greens & Söhne" },
            })
        };
        json!({ "orders": (0..self.orders()).map(order).collect::<Vec<Value>>() }).to_string()
    }
}

/// A provider that is nowhere and answers at once.
pub struct Memory(pub Bytes);

impl Transport for Memory {
    fn send<'a>(&'a self, _: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, self.0.len().into());
        let body: Box<dyn ResponseBody> = Box::new(Some(self.0.clone()));
        Box::pin(std::future::ready(Ok(ResponseHead { status: 200, headers, body })))
    }
}
