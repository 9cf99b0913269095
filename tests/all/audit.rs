//! The audit trail: what stands in it after real calls, and what it proves about itself.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wharfage::audit::{AuditAction, AuditEntry};
use wharfage::{Host, Plugin};
use wharfage_tests::scene::account;
use wharfage_tests::{API_KEY, Provider, Reply, Scene, compiled_code, guests, skipping};

use crate::cli::{ended, program};

async fn entries(host: &Host) -> Vec<AuditEntry> {
    let rows = host.audit().page(0, 10_000).await.unwrap();
    rows.into_iter().map(|row| row.entry.unwrap()).collect()
}

#[tokio::test]
async fn every_attempt_with_a_credential_is_told_with_its_outcome() {
    let provider = Provider::answering(|seen| match seen.target.split('?').next().unwrap() {
        "/passing" if seen.number % 2 == 1 => Reply::status(503),
        "/no" => Reply::status(401),
        "/away" => Reply::redirect(302, "/passing?token=canary"),
        "/reset" => Reply::reset(),
        _ => Reply::status(200),
    })
    .await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    open.output("send", json!({"url": "{api}/passing?q=secret-query"})).await;
    open.error("send", json!({"url": "{api}/no"})).await;
    open.output("write", json!({"url": "{api}/away", "credential": "pair"})).await;
    open.error("write", json!({"url": "{api}/reset", "method": "POST"})).await;
    open.output("send", json!({"url": "{api}/open", "credential": "anonymous"})).await;
    open.error("send", json!({"url": "{api}/", "headers": [["authorization", "mine"]]})).await;
    let told = entries(&open.host).await;
    let said: Vec<(&str, Option<u16>, &str)> =
        told.iter().map(|entry| (entry.credential.as_str(), entry.status, entry.error.as_str())).collect();
    let expected = [
        ("key", Some(503), "transient"),
        ("key", Some(200), ""),
        ("key", Some(401), "unauthorized"),
        ("pair", Some(302), ""),
    ];
    assert_eq!(said[..4], expected);
    assert_eq!(said.last().unwrap().2, "network", "{said:?}");
    for entry in &told {
        assert_eq!(
            (entry.action, entry.connection.as_str(), entry.plugin.as_str()),
            (AuditAction::Placed, "acme", "http-send")
        );
        assert_eq!(entry.origin, provider.url(), "scheme, host and port only");
        assert!(entry.at >= wharfage_tests::NOW);
    }
    assert_eq!((told[0].operation.as_str(), told[0].method.as_str()), ("send", "GET"));
    assert_eq!((told[3].operation.as_str(), told[3].secrets.clone()), ("write", vec!["user".into(), "api_key".into()]));
    assert_eq!(told.len(), provider.count() - 1, "all but the anonymous one, and nothing that never left");
    let text = format!("{:?}", open.host.audit().page(0, 100).await.unwrap());
    assert!(!text.contains(API_KEY) && !text.contains("canary") && !text.contains("query"), "{text}");
}

#[tokio::test]
async fn signing_and_verifying_are_told_also_where_they_are_refused() {
    let open = Scene::of(guests::SECRETS_SIGN_VERIFY).open().await;
    open.output("sign", json!({"name": "signing", "data": "data a"})).await;
    open.output("sign", json!({"name": "signing", "data": "data b"})).await;
    open.output("verify", json!({"name": "verifying", "data": "data a", "mac": "00"})).await;
    open.error("sign", json!({"name": "verifying", "data": "data a"})).await;
    open.error("sign", json!({"name": "an-invented-name-to-fill-the-trail", "data": "data a"})).await;
    let said: Vec<(AuditAction, String, String, u64)> = entries(&open.host)
        .await
        .into_iter()
        .map(|entry| (entry.action, entry.secrets.join(","), entry.error, entry.times))
        .collect();
    let row = |action, name: &str, error: &str, times| (action, name.to_owned(), error.to_owned(), times);
    let refused = "credential-unavailable";
    let expected = [
        row(AuditAction::Sign, "signing", "", 2),
        row(AuditAction::Verify, "verifying", "", 1),
        row(AuditAction::Sign, "verifying", refused, 1),
        row(AuditAction::Sign, "(not granted)", refused, 1),
    ];
    assert_eq!(said, expected);
}

/// However a plugin alternates, of what it does with one secret there is one row, and others' rows stay.
#[tokio::test]
async fn a_plugin_pushes_nobody_out_of_the_trail() {
    let open = Scene::of(guests::SECRETS_SIGN_VERIFY).open().await;
    for _ in 0..20 {
        for operation in ["sign", "verify"] {
            for name in ["signing", "verifying", "api_key", "none"] {
                for algorithm in ["sha1", "sha256", "sha512"] {
                    let input = json!({"name": name, "data": "data a", "mac": "00", "algorithm": algorithm});
                    let _ = open.call(operation, input).await;
                }
            }
        }
    }
    let said = entries(&open.host).await;
    assert_eq!(said.iter().map(|entry| entry.times).sum::<u64>(), 20 * 24);
    assert!(said.len() <= 24, "{} rows", said.len());
}

/// A caller that goes away does not make what left undone.
#[tokio::test]
async fn a_cancelled_call_is_told() {
    let provider = Provider::scripted([Reply::never()]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    {
        let mut call = std::pin::pin!(open.call("send", json!({"url": "{api}/"})));
        while provider.count() == 0 {
            tokio::select! {
                biased;
                _ = &mut call => panic!("it ended"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    let told = entries(&open.host).await;
    assert_eq!(told.iter().map(|entry| entry.error.as_str()).collect::<Vec<_>>(), ["cancelled"]);
}

async fn on_disk(folder: &Path, provider: &Provider) -> (Host, Plugin) {
    let builder = Host::builder().state_dir(folder).code_dir(compiled_code()).clock(skipping());
    let host = builder.audit_rows(20).build().unwrap();
    let plugin = Scene::of(guests::HTTP_SEND).with(provider).connect(&host, &account("")).await.unwrap();
    (host, plugin)
}

async fn send(plugin: &Plugin) {
    let input = json!({"url": "{api}/", "keep": "never"});
    plugin.call::<Value>("send", &input).await.unwrap();
}

#[tokio::test]
async fn it_outlives_the_host_and_two_hosts_write_one_trail() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::scripted([Reply::status(200)]).await;
    let ((one, first), (two, second)) =
        (on_disk(folder.path(), &provider).await, on_disk(folder.path(), &provider).await);
    for _ in 0..4 {
        send(&first).await;
        send(&second).await;
        first.flush().await;
        second.flush().await;
    }
    send(&first).await;
    // The end of a host writes what still waits.
    drop((one, first, two, second));
    let (host, plugin) = on_disk(folder.path(), &provider).await;
    let found = host.audit().check().await.unwrap();
    assert_eq!((found.rows, found.broken.clone(), found.aged_out), (9, None, 0));
    // And the oldest age out without breaking what is left.
    for _ in 0..20 {
        send(&plugin).await;
    }
    let later = host.audit().check().await.unwrap();
    assert_eq!((later.rows, later.broken, later.aged_out), (20, None, 9));
    assert_ne!(later.head, found.head);
}

fn wharfage_audit(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    ended(Command::new(program()).arg("audit").args(arguments).arg("--state-dir").arg(folder))
}

/// `NUMBER:HASH`, as the program prints it at the end of a line.
fn head(err: &str) -> String {
    err.lines().find(|line| line.contains("the chain holds")).unwrap().rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_shows_it_and_says_where_it_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("state/state.sqlite"));
    let provider = Provider::scripted([Reply::status(200)]).await;
    let (code, out, err) = wharfage_audit(&state, &[]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("the trail is empty"), "{err}");
    for _ in 0..3 {
        let (_host, plugin) = on_disk(&state, &provider).await;
        send(&plugin).await;
    }
    let (code, out, err) = wharfage_audit(&state, &[]);
    assert_eq!((code, out.lines().count()), (0, 3), "{err}");
    let noted = head(&err);
    assert!(noted.starts_with("3:"), "{err}");
    let row: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&row["number"], &row["entry"]["credential"], &row["entry"]["status"]),
        (&json!(1), &json!("key"), &json!(200))
    );
    assert_eq!((&row["entry"]["at"], &row["entry"]["connection"]), (&json!("2026-11-22T08:49:37Z"), &json!("acme")));

    // What was asked for, and nothing else.
    for (arguments, count) in [
        (&["--connection", "acme"][..], 3),
        (&["--connection", "other"], 0),
        (&["--secret", "api_key", "--limit", "2"], 2),
        (&["--secret", "signing"], 0),
        (&["--since", "2026-11-22"], 3),
        (&["--since", "2026-11-23T00:00:00+01:00"], 0),
        (&["--noted", &noted], 3),
    ] {
        let (code, out, err) = wharfage_audit(&state, arguments);
        assert_eq!((code, out.lines().count()), (0, count), "{arguments:?}: {err}");
    }
    for arguments in [&["--since", "yesterday"], &["--noted", "the one"]] {
        assert_eq!(wharfage_audit(&state, arguments).0, 2, "{arguments:?}");
    }

    // A chain that is whole may still have lost its end; who noted its head sees it.
    let before = std::fs::read(&file).unwrap();
    {
        let (_host, plugin) = on_disk(&state, &provider).await;
        send(&plugin).await;
    }
    let later = head(&wharfage_audit(&state, &["--noted", &noted]).2);
    std::fs::write(&file, &before).unwrap();
    assert_eq!(wharfage_audit(&state, &[]).0, 0);
    let (code, _, err) = wharfage_audit(&state, &["--noted", &later]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("row 4 is gone: the end of the trail was cut off"), "{err}");

    // And a row that was changed.
    let place = "\"connection\":\"acme\"";
    let at = before.windows(place.len()).position(|bytes| bytes == place.as_bytes()).unwrap();
    let mut changed = before.clone();
    changed[at..at + place.len()].copy_from_slice(place.replace("acme", "acne").as_bytes());
    std::fs::write(&file, &changed).unwrap();
    let (code, out, err) = wharfage_audit(&state, &[]);
    assert_eq!((code, out.lines().count()), (3, 3), "{err}");
    let number = out.lines().position(|line| line.contains("acne")).unwrap() + 1;
    assert!(err.contains(&format!("the audit trail breaks at row {number}: row {number} does not fit")), "{err}");
}
