//! What people read when something is refused: the whole text, one file per case in `tests/golden`.
//!
//! A changed message is a reviewed change. `WHARFAGE_BLESS=1 cargo test -p wharfage-tests messages` writes them anew.

use std::path::Path;

use serde_json::json;
use wharfage::{Account, Config, Connection, Error, Host, explain, suggest};
use wharfage_tests::component::{self, CORE_MODULE, MANIFEST, with_custom};
use wharfage_tests::{Open, Provider, Reply, Scene, guests, root, skipping};

/// Compares with the golden text, in which digests and ports are left out.
pub(crate) fn golden(name: &str, text: &str) {
    let path = root().join(format!("tests/golden/{name}.txt"));
    let text = format!("{}\n", plain(text).trim_end());
    #[allow(clippy::disallowed_methods, reason = "the one switch of the tests")]
    let bless = std::env::var_os("WHARFAGE_BLESS").is_some();
    if bless {
        std::fs::write(&path, &text).unwrap();
        println!("WHARFAGE_BLESS is set: {name} was written and not compared");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "tests/golden/{name}.txt says\n{expected}\nand it reads\n{text}\nIf that is better: WHARFAGE_BLESS=1 cargo test -p wharfage-tests messages"
    );
}

pub(crate) fn refused(name: &str, error: &Error) {
    golden(name, &format!("[{}]\n{error}", error.kind().name()));
}

/// The text with what differs from run to run replaced.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) =
        ["sha256:", "127.0.0.1:"].iter().filter_map(|mark| rest.find(mark).map(|at| at + mark.len())).min()
    {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(|c: char| !c.is_ascii_hexdigit()).map_or(rest.len(), |end| at + end);
        out.push_str(if end - at == 64 { "DIGEST" } else { "PORT" });
        rest = &rest[end..];
    }
    out + rest
}

async fn sending(replies: impl IntoIterator<Item = Reply>) -> (Open, Provider) {
    let provider = Provider::scripted(replies).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest_with(
            "methods = [\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]\npaths = [\"/**\"]",
            "methods = [\"GET\", \"POST\"]\npaths = [\"/orders/**\"]",
        )
        .open()
        .await;
    (open, provider)
}

#[tokio::test]
async fn a_request_outside_the_grant() {
    let (open, _provider) = sending([Reply::status(200)]).await;
    for (name, method, url) in [
        ("request-origin", "GET", "https://example.org/x?secret=1"),
        ("request-not-granted", "GET", "{other}/x?secret=1"),
        ("request-name", "GET", "{apy}/orders/1"),
        ("request-method", "DELETE", "{api}/orders/1"),
        ("request-path", "GET", "{api}/customers/1"),
        ("request-url", "GET", "{api}/orders/../customers"),
    ] {
        refused(name, &open.error("send", json!({"method": method, "url": url})).await);
    }
    refused(
        "request-header",
        &open.error("send", json!({"url": "{api}/orders/1", "headers": [["Authorization", "x"]]})).await,
    );
}

/// The README shows it of another plugin, on a connection that states no origin yet.
#[test]
fn the_refusal_of_the_readme_is_what_is_told() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let told = read("tests/golden/request-not-granted.txt")
        .replace("[policy-denied]\n", "policy-denied: ")
        .replace("http-send", "leaflink")
        .replace("acme", "acme-orders")
        .replace("\"http://127.0.0.1:PORT\", ", "")
        .replace("https://other.stand-in.test", "https://app.leaflink.com");
    assert!(read("README.md").contains(&told), "{told}");
}

#[tokio::test]
async fn a_private_address() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).grant(|c| c.private_addresses.clear()).open().await;
    refused("request-address", &open.error("send", json!({"url": "{api}/x"})).await);
}

#[tokio::test]
async fn a_secret_that_cannot_be_had() {
    let bytes = Scene::of(guests::HTTP_SEND).component().await;
    let host = Host::builder().clock(skipping()).build().unwrap();
    let connection = "imports = ['http']\norigins = ['https://api.stand-in.test']\n";
    let not_granted = Connection::parse(connection).unwrap();
    let plugin = host.connect("acme", &bytes, &not_granted, None).await.unwrap();
    let send = json!({"url": "{api}/x"});
    refused("secret-not-granted", &plugin.call::<serde_json::Value>("send", &send).await.unwrap_err());
    let granted = Connection::parse(&format!("{connection}secrets = ['api_key']")).unwrap();
    let plugin = host.connect("acme", &bytes, &granted, Some(&Account::default())).await.unwrap();
    refused("secret-not-there", &plugin.call::<serde_json::Value>("send", &send).await.unwrap_err());
}

#[tokio::test]
async fn an_answer_that_fails() {
    for (name, reply) in [
        ("answer-401", Reply::status(401).body("{\"detail\": \"Invalid key\"}")),
        ("answer-404", Reply::status(404).header("x-request-id", "r-7").body("{\"detail\": \"Not found.\"}")),
        ("answer-429-long", Reply::status(429).header("retry-after", "3600")),
        ("answer-500", Reply::status(500).body("<html>oops</html>")),
        ("answer-closed", Reply::closed()),
        ("answer-too-large", Reply::declared(1 << 40)),
        ("answer-redirect", Reply::redirect(302, "https://example.org/login")),
        ("answer-redirects", Reply::redirect(302, "/orders/1")),
    ] {
        let (open, _provider) = sending([reply]).await;
        refused(name, &open.error("send", json!({"url": "{api}/orders/1?page=2"})).await);
    }
    let (open, _provider) = sending([Reply::closed()]).await;
    refused("answer-to-a-write-lost", &open.error("write", json!({"method": "POST", "url": "{api}/orders/1"})).await);
}

#[tokio::test]
async fn a_component_that_is_refused() {
    let host = component::builder();
    let scene = Scene::of(guests::STATE_ROUNDTRIP);
    let whole = scene.component().await;
    let connect =
        async |bytes: &[u8]| host.connect("acme", bytes, &Connection::default(), None).await.map(drop).unwrap_err();
    refused("component-text", &connect(b"<html>").await);
    refused("component-core-module", &connect(CORE_MODULE).await);
    refused("component-not-built", &connect(&guests::STATE_ROUNDTRIP.compiled()).await);
    refused("component-two-manifests", &connect(&with_custom(whole.to_vec(), MANIFEST, b"")).await);
    refused("component-newer", &connect(&component::replaced(whole.to_vec(), "@0.1.0", "@0.2.0")).await);
    refused("component-import", &connect(&whole).await);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.wasm"), &**whole).unwrap();
    let text = format!(
        "[plugins.state]\ncomponent = 'state.wasm'\ndigest = 'sha256:{}'\n[connections.acme]\nplugin = 'state'\n",
        "0".repeat(64)
    );
    let config = Config::parse(&text, &folder.path().join("wharfage.toml")).unwrap();
    refused("component-digest", &host.open(&config, "acme").await.map(drop).unwrap_err());
}

#[tokio::test]
async fn a_call_that_makes_no_sense() {
    let open = Scene::of(guests::OPERATIONS_ECHO).open().await;
    refused("call-unknown", &open.error("numbers.lits", json!({})).await);
    refused("call-input", &open.error("numbers.list", json!({"count": "three", "cuont": 1})).await);
    refused(
        "call-cursor",
        &open.page("numbers.list", json!({}), Some(wharfage::Cursor::new("made-up"))).await.unwrap_err(),
    );
    let error = open.plugin.page("echo", "{\"half\":", None).await.unwrap_err();
    refused("call-no-json", &error);
}

#[tokio::test]
async fn a_limit_that_is_reached() {
    let open = Scene::of(guests::HOSTILE_SPIN).grant(|c| c.limits.compute_ms = 50).open().await;
    refused("limit-compute", &open.error("spin", json!({})).await);
    let open = Scene::of(guests::HOSTILE_ALLOCATE).grant(|c| c.limits.memory_bytes = 8 << 20).open().await;
    refused("limit-memory", &open.error("allocate", json!({})).await);
    let open = Scene::of(guests::HOSTILE_RECURSE).open().await;
    refused("limit-stack", &open.error("recurse", json!({})).await);
    let open = Scene::of(guests::OPERATIONS_PANICS).open().await;
    refused("limit-panic", &open.error("panic", json!({})).await);
}

#[test]
fn a_file_that_cannot_be_read() {
    let path = Path::new("wharfage.toml");
    for (name, text) in [
        ("file-syntax", "[connections.acme]\nplugin = leaf\n"),
        ("file-type", "[plugins.leaf]\ncomponent = 7\n"),
        ("file-key", "[plugins.leaf]\ncomponent = 'leaf.wasm'\n[connections.acme]\nplugin = 'leaf'\noriginss = []\n"),
        ("file-name", "[plugins.leaf]\ncomponent = 'leaf.wasm'\n[connections.acme]\nplugin = 'leav'\n"),
    ] {
        refused(name, &Config::parse(text, path).unwrap_err());
    }
}

#[tokio::test]
async fn what_a_plugin_may_do() {
    let (open, _provider) = sending([Reply::status(200)]).await;
    golden("explain", &explain(open.plugin.needs(), open.plugin.grant()));
    golden("suggest", &suggest(open.plugin.needs(), "http-send.wasm", &open.plugin.digest().to_string(), "acme"));
}
