//! Scopes: no more is asked for than the stated operations and polls need, and what was not granted is refused before
//! anything is sent, with the line that helps.

use serde_json::{Value, json};
use wharfage::{Error, Event, Grant, Host, Kind, Needs, Poll, RequestSent, Trigger, explain};
use wharfage_tests::skipping;

use crate::messages::{golden, refused};
use crate::oauth2_connect::{Setup, ends_on};

/// Reading, writing, and a poll that needs something else.
const SCOPES: &str = concat!(
    "scopes = \n",
    r#"
source = "made up for the tests"
date = "2026-11-29"

[operations.send]
effect = "read"
scopes = ["orders.read", "orders.all"]
partial_scopes = ["orders.own"]
source = "made up for the tests"
date = "2026-11-29"

[operations.write]
effect = "write"
scopes = ["orders.write", "orders.all"]
source = "made up for the tests"
date = "2026-11-29"

[polls.stock]
every_s = 60
scopes = ["stock.read"]
source = "made up for the tests"
date = "2026-11-29"
"#
);

impl Setup {
    /// What a sign-in for the connection asks for.
    async fn asks(&self, host: &Host, name: &str) -> String {
        host.authorize(&self.config(), name, None).await.unwrap().scopes().join(" ")
    }

    async fn sign_in(&self, host: &Host) {
        let mut sign_in = host.authorize(&self.config(), "acme", None).await.unwrap().sign_in().await.unwrap();
        sign_in.finish(&ends_on(sign_in.link()).await).await.unwrap();
    }

    async fn call(&self, host: &Host, operation: &str) -> Result<(), Error> {
        let plugin = host.open(&self.config(), "acme").await?;
        plugin.call::<Value>(operation, &request(operation)).await.map(drop)
    }

    /// More lines of the connection that was made last.
    fn say(&mut self, lines: &str) {
        self.text += lines;
    }
}

fn request(operation: &str) -> Value {
    match operation {
        "write" => json!({"url": "{api}/orders", "method": "POST"}),
        _ => json!({"url": "{api}/orders"}),
    }
}

fn needs_scope(error: &Error, scope: &str) -> bool {
    *error.kind() == Kind::ReauthorizationNeeded
        && error.request_sent() == RequestSent::No
        && error.message().contains(&format!("needs the scope `{scope}`"))
}

#[tokio::test]
async fn what_nobody_wants_is_not_asked_for() {
    let mut setup = Setup::with(SCOPES, "").await;
    let host = setup.host(&skipping());
    assert_eq!(setup.asks(&host, "acme").await, "orders.read orders.write", "all operations, and no poll");
    setup.say("operations = ['send']\n");
    assert_eq!(setup.asks(&host, "acme").await, "orders.read");
    setup.say("[connections.acme.polls.stock]\n");
    assert_eq!(setup.asks(&host, "acme").await, "stock.read orders.read");
    // Another connection of the account: one consent serves both, with the least that does.
    let other = "scopes = \nsource = \"s\"\ndate = \"d\"\n[operations.send]\neffect = \"read\"\nscopes = [\"orders.all\"]\nsource = \"s\"\ndate = \"d\"";
    setup.connection("other", other).await;
    assert_eq!(setup.asks(&host, "acme").await, "stock.read orders.all");
    assert_eq!(setup.asks(&host, "other").await, "orders.all stock.read");
    let mut config = setup.config();
    config.accounts.get_mut("harbour").unwrap().scopes = vec!["orders.own".to_owned()];
    let asked = host.authorize(&config, "acme", None).await.unwrap().scopes().to_vec();
    assert_eq!(asked, ["orders.own"], "the account's own word goes before");
}

#[tokio::test]
async fn an_operation_that_is_not_stated_is_refused() {
    let mut setup = Setup::with(SCOPES, "").await;
    setup.say("operations = ['send']\n");
    let host = setup.host(&skipping());
    let error = setup.call(&host, "write").await.unwrap_err();
    assert!(matches!(error.kind(), Kind::PolicyDenied(rule) if rule == "operation"), "{error:?}");
    refused("operation-not-granted", &error);
    assert_eq!(setup.provider.count(), 0);
    setup.text = setup.text.replace("['send']", "['sent']");
    refused("operation-unknown", &setup.call(&host, "send").await.unwrap_err());
    setup.text = setup.text.replace("operations = ['sent']", "credential = 'acount'");
    refused("credential-unknown", &setup.call(&host, "send").await.unwrap_err());
}

/// Consent is widened step by step, also by another process while this one runs.
#[tokio::test]
async fn what_was_not_granted_is_refused_until_it_is() {
    let mut setup = Setup::with(SCOPES, "").await;
    let all = setup.text.clone();
    setup.say("operations = ['send']\n");
    let host = setup.host(&skipping());
    let error = setup.call(&host, "send").await.unwrap_err();
    assert!(error.message().contains("is not connected yet"), "{error}");
    setup.sign_in(&host).await;
    setup.call(&host, "send").await.unwrap();
    setup.text = all;
    let plugin = host.open(&setup.config(), "acme").await.unwrap();
    let count = setup.provider.count();
    let error = plugin.call::<Value>("write", &request("write")).await.unwrap_err();
    assert!(needs_scope(&error, "orders.write"), "{error:?}");
    refused("scope-not-granted", &error);
    assert_eq!(setup.provider.count(), count, "nothing was sent");
    setup.sign_in(&setup.host(&skipping())).await;
    plugin.call::<Value>("write", &request("write")).await.unwrap();
}

/// A probe that lacks its scope would tell of a refusal that says nothing of the provider: only calls tell then.
#[tokio::test]
async fn a_probe_needs_its_scopes_too() {
    let health = r#"
[health]
operation = "send"
input = { url = "{api}/orders" }
source = "made up for the tests"
date = "2026-11-29"
"#;
    let mut setup = Setup::with(&[SCOPES, health].concat(), "").await;
    let all = setup.text.clone();
    setup.say("operations = ['write']\n");
    let host = setup.host(&skipping());
    setup.sign_in(&host).await;
    setup.text = all;
    let plugin = host.open(&setup.config(), "acme").await.unwrap();
    let count = setup.provider.count();
    assert!(plugin.probe().await.probe.is_none());
    assert_eq!(setup.provider.count(), count, "nothing was sent");
    setup.sign_in(&setup.host(&skipping())).await;
    assert!(plugin.probe().await.probe.is_some_and(|probe| probe.error.is_none()));
}

#[tokio::test]
async fn another_scope_may_do_as_well_and_one_for_a_part_is_not_refused() {
    let mut setup = Setup::with(SCOPES, "").await;
    for (granted, sends, writes) in [
        ("orders.all", true, true),
        ("orders.own", true, false),
        ("orders.write profile", false, true),
        ("orders", false, false),
    ] {
        let host = setup.host(&skipping());
        setup.consent.lock().unwrap().granted = granted;
        setup.sign_in(&host).await;
        for (operation, is_served, scope) in [("send", sends, "orders.read"), ("write", writes, "orders.write")] {
            match setup.call(&host, operation).await {
                Ok(()) => assert!(is_served, "{granted}: {operation}"),
                Err(error) => assert!(!is_served && needs_scope(&error, scope), "{granted}: {operation}: {error:?}"),
            }
        }
    }
    // What the account asks for is what must be changed.
    setup.text = setup.text.replace("[accounts.harbour]\n", "[accounts.harbour]\nscopes = ['orders.own']\n");
    let host = setup.host(&skipping());
    setup.consent.lock().unwrap().granted = "";
    setup.sign_in(&host).await;
    setup.call(&host, "send").await.unwrap();
    refused("scope-not-asked-for", &setup.call(&host, "write").await.unwrap_err());
}

#[tokio::test]
async fn a_poll_needs_its_scopes_too() {
    let mut setup = Setup::with(SCOPES, "").await;
    let host = setup.host(&skipping());
    setup.sign_in(&host).await;
    let handle = async |setup: &Setup| {
        let plugin = host.open(&setup.config(), "acme").await.unwrap();
        plugin.handle(Event { id: "e".to_owned(), trigger: Trigger::Poll(Poll::new("stock")), cursor: None }).await
    };
    refused("scope-of-a-poll", &handle(&setup).await.unwrap_err());
    setup.say("[connections.acme.polls.stock]\n");
    let error = handle(&setup).await.unwrap_err();
    assert!(
        needs_scope(&error, "stock.read") && error.details().unwrap().ends_with("wharfage connect acme"),
        "{error}"
    );
    setup.sign_in(&host).await;
    // The guest knows no poll; it is asked.
    let handled = handle(&setup).await;
    assert!(
        handled.as_ref().is_ok() || *handled.as_ref().unwrap_err().kind() != Kind::ReauthorizationNeeded,
        "{handled:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_are_explained_and_checked() {
    let mut setup = Setup::with(SCOPES, "").await;
    setup.say("operations = ['send']\n[connections.acme.polls.stock]\n");
    let needs = Needs::read(&std::fs::read(setup.folder.path().join("acme.wasm")).unwrap()).unwrap();
    let config = setup.config();
    let grant = Grant::new(&needs, "acme", &config.connections["acme"], config.accounts.get("harbour")).unwrap();
    let text = explain(&needs, &grant);
    let section = |title: &str| {
        let rest = text.split(&format!("\n{title}:\n")).nth(1).unwrap_or_default();
        format!("{title}:\n{}\n", rest.split("\n\n").next().unwrap())
    };
    golden("explain-scopes", &(section("A sign-in asks for") + &section("Operations")));

    let (code, stdout, stderr) = setup.run(&["check", "acme.wasm"], "").await;
    assert!(code == 0 && stdout.contains("scope orders.read; or orders.all; in part orders.own"), "{stdout}{stderr}");
    setup.connection("silent", "").await;
    let (_, stdout, _) = setup.run(&["check", "silent.wasm"], "").await;
    assert!(stdout.contains("send names no scopes"), "{stdout}");
}
