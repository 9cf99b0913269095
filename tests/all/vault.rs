//! Where secrets live, as the program's user meets it: kept, listed, changed and used, and never shown.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wharfage::{Digest, Host, Kind, ManualClock, SecretAsk, SecretSource, SecretValue};
use wharfage_tests::scene::{KEYS, account, host, secret_file};
use wharfage_tests::{NOW, PLUGINS, Provider, Reply, Scene, compiled_code, drained, guests, skipping};

use crate::cli::{KEY, Setup, ended, program};

/// A setup whose secrets come from this source, and the name of one of them.
async fn setup(source: &str) -> (Setup, String) {
    desks(source).await.remove(0)
}

/// One for each plugin that has a fixture of several pages.
async fn desks(source: &str) -> Vec<(Setup, String)> {
    let mut desks = Vec::new();
    for plugin in PLUGINS {
        let Some(setup) = Setup::of(plugin).await else { continue };
        let digest = Digest::of(&std::fs::read(setup.folder.path().join("plugin.wasm")).unwrap()).to_string();
        setup.write_config_with(&digest, source);
        let name = setup.needs.manifest.secrets.keys().next().unwrap().clone();
        desks.push((setup, name));
    }
    desks
}

async fn call(setup: &Setup, more: &[&str]) -> (i32, String, String) {
    let arguments = ["call", "desk", &setup.fixture.operation, "--input", setup.fixture.input.get()];
    setup.run(&arguments.iter().chain(more).copied().collect::<Vec<_>>()).await
}

fn rows(out: &str) -> Vec<serde_json::Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether a text stands in the clear in any file below a folder.
fn lies_in(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => lies_in(&path, text),
        false => std::fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_kept_listed_used_and_taken_away_and_never_shown() {
    let (setup, name) = setup("{ sealed = true }").await;
    let mut said = String::new();
    let (code, out, err) = call(&setup, &[]).await;
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert!(err.contains(&format!("wharfage secret set desk {name}")), "{err}");

    let (code, out, err) = setup.run_with(&["secret", "set", "desk", &name], &format!("{KEY}\n")).await;
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("version 1"), "{err}");
    said += &err;
    assert!(!lies_in(&setup.folder.path().join("state"), KEY), "it lies there in the clear");
    let (code, out, err) = call(&setup, &[]).await;
    assert_eq!(code, 0, "{err}");
    assert!(setup.stand_in.seen().iter().all(|seen| seen.is_signed), "a request left without its credential");
    said += &(out + &err);

    let (code, ..) = setup.run_with(&["secret", "rotate", "desk", &name], "the-next-one").await;
    assert_eq!(code, 0);
    let (code, out, err) = setup.run(&["secret", "list"]).await;
    let row = rows(&out).into_iter().find(|row| row["secret"] == name.as_str()).unwrap();
    assert!(code == 0 && row["version"] == 2 && row["beside"] == "next", "{code} {row} {err}");
    assert!(row["from"] == "the sealed store" && row["since"].as_str().unwrap().ends_with('Z'), "{row}");
    said += &(out + &err);
    assert!(call(&setup, &[]).await.0 == 0, "the next one is used before it must be");

    let (code, _, err) = setup.run(&["secret", "remove", "desk", &name]).await;
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = setup.run(&["secret", "remove", "desk", &name]).await;
    assert!(code == 2 && err.contains("wharfage secret list desk"), "{code} {err}");
    let (code, _, err) = call(&setup, &[]).await;
    assert_eq!(code, 3, "{err}");
    said += &err;

    // Each change is in the audit trail, and the one that found nothing is not.
    let (code, out, err) = setup.run(&["audit", "--secret", &name]).await;
    assert_eq!(code, 0, "{err}");
    let changes: Vec<(String, String)> = rows(&out)
        .iter()
        .filter(|row| row["entry"]["action"] != "placed")
        .map(|row| (row["entry"]["action"].to_string(), row["entry"]["connection"].to_string()))
        .collect();
    let desk_s = |action: &str| (format!("\"{action}\""), "\"desk\"".to_owned());
    assert_eq!(changes, [desk_s("set"), desk_s("rotate"), desk_s("remove")], "{out}");
    said += &(out + &err);
    assert!(!said.contains(KEY) && !said.contains("the-next-one"), "{said}");
}

/// The provider has stopped taking the old key: the next one goes instead, in the same call, and is the current one then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_gives_way_to_the_next_one_without_a_failed_call() {
    let mut tried = 0;
    for (setup, name) in desks("{ sealed = true }").await {
        setup.run_with(&["secret", "set", "desk", &name], "a-key-that-was-revoked").await;
        let (code, _, err) = call(&setup, &[]).await;
        assert_ne!(code, 0, "{err}");
        // A stand-in takes a wrong key in a query for another request.
        if !err.contains("unauthorized") {
            continue;
        }
        tried += 1;
        setup.run_with(&["secret", "rotate", "desk", &name], KEY).await;
        let before = setup.stand_in.seen().len();
        let (code, _, err) = call(&setup, &[]).await;
        assert_eq!(code, 0, "{err}");
        let signed: Vec<bool> = setup.stand_in.seen()[before..].iter().map(|seen| seen.is_signed).collect();
        assert!(!signed[0] && signed[1..].iter().all(|is_signed| *is_signed), "{signed:?}");
        let row = rows(&setup.run(&["secret", "list", "desk"]).await.1).remove(0);
        assert_eq!(row["beside"], "previous", "{row}");
        let before = setup.stand_in.seen().len();
        assert_eq!(call(&setup, &[]).await.0, 0);
        assert!(setup.stand_in.seen()[before..].iter().all(|seen| seen.is_signed), "it was not remembered");
    }
    assert!(tried > 0, "no plugin's key was refused");
}

/// A store of one's own that has another key when it is asked again, and how often it was asked.
pub(crate) fn changing_key() -> (SecretSource, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let ask = SecretAsk::new(move || {
        let key = ["the-old-key", "the-new-key"][count.fetch_add(1, Ordering::SeqCst).min(1)];
        async move { Ok(Some(SecretValue::new(key))) }
    });
    (SecretSource::Ask(ask), asked)
}

/// A key that was changed in the embedding program's own store: nothing is opened anew for it, and no call fails.
#[tokio::test]
async fn a_key_that_was_changed_in_an_own_store_is_taken_up_by_the_call_that_is_refused() {
    let provider = Provider::answering(|seen| match (seen.number, seen.header("authorization")) {
        (1, Some("App the-old-key")) | (_, Some("App the-new-key")) => Reply::status(200),
        _ => Reply::status(401),
    })
    .await;
    let (key, asked) = changing_key();
    let account = account("").with_secret("api_key", key);
    let host = Host::builder().code_dir(compiled_code()).clock(skipping()).build().unwrap();
    let plugin = Scene::of(guests::HTTP_SEND).with(&provider).connect(&host, &account).await.unwrap();
    for expected in [(1, 1), (3, 2), (4, 2)] {
        plugin.call::<Value>("send", &json!({"url": "{api}/"})).await.unwrap();
        assert_eq!((provider.count(), asked.load(Ordering::SeqCst)), expected);
    }
}

/// R12: a component that takes a secret elsewhere, or trusts other keys, is not taken up by what runs until it is pinned.
#[tokio::test]
async fn r12_a_component_that_takes_a_secret_elsewhere_is_not_taken_up_before_it_is_pinned() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let manifest = |path: &str| {
        let keys = KEYS.replace("/jwks", "/**");
        let poll = "[polls.things]\nevery_s = 86400\nsource = 'made up for the tests'\ndate = '2026-11-24'\n\
                    [events.\"thing.updated\"]\ndescription = 'a thing has changed'\n";
        format!(
            "{keys}{poll}[secrets.tokens]\npurpose = 'verify'\njwt = {{ algorithm = 'RS256', \
             issuer = 'https://issuer.test', audience = ['us'], jwks = '{{keys}}/{path}' }}\n"
        )
    };
    let folder = crate::sinks::folder_of(&provider, &manifest("jwks"), "").await;
    let mut config = crate::sinks::config(folder.path());
    let connection = config.connections.get_mut("acme").unwrap();
    // The component that runs has no secret `late`: it was stated for an earlier one.
    connection.secrets.extend(["tokens", "late"].map(str::to_owned));
    connection.origins.push("https://keys.stand-in.test".to_owned());
    let clock = ManualClock::new(NOW, 1);
    let serving = host(&folder.path().join("state"), clock.clone()).serve(&config).await.unwrap();
    let scene = |path: &str| Scene::of(guests::EVENTS_KEYED).manifest(&manifest(path));
    let put = async |scene: Scene| {
        let bytes = scene.component().await;
        std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
        Digest::of(&bytes).to_string()
    };
    let (here, there) = ("\"App \"\norigins = [\"api\"]", "\"App \"\norigins = [\"api\", \"other\"]");
    let bearer = |secret: &str| {
        let facts = format!("scheme = 'bearer'\nsecret = '{secret}'\norigins = ['other']\n");
        format!("[secrets.{secret}]\n[credentials.added]\n{facts}")
    };
    for (changed, said) in [
        (scene("jwks").manifest_with(here, there), "api_key goes to https://other.stand-in.test"),
        (scene("other"), "tokens has its keys at https://keys.stand-in.test/other"),
        (scene("jwks").manifest(&bearer("late")), "late goes to https://other.stand-in.test"),
    ] {
        let digest = put(changed).await;
        let error = serving.reload(&config).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::PolicyDenied(rule) if rule == "credential"), "{error:?}");
        assert!(error.message().contains(said), "{error}");
        let pin = format!("set in [plugins.p]:   digest = \"{digest}\"");
        assert!(error.details().unwrap().contains(&pin), "{error}");
    }
    // What does the same with secrets is taken up unasked, and what is pinned was approved.
    put(scene("jwks").manifest_with("0.1.0\"\ncontract", "0.1.1\"\ncontract")).await;
    assert_eq!(serving.reload(&config).await.unwrap().changed, ["acme"]);
    // So is what does less, what sends a secret that the connection states only now, and another plugin that it names.
    put(scene("jwks").manifest_with(here, &format!("{here}\nmethods = ['GET']\npaths = ['/v1']"))).await;
    assert_eq!(serving.reload(&config).await.unwrap().changed, ["acme"]);
    config.connections.get_mut("acme").unwrap().secrets.push("granted".to_owned());
    put(scene("jwks").manifest(&bearer("granted"))).await;
    assert_eq!(serving.reload(&config).await.unwrap().changed, ["acme"]);
    let chosen = config.plugins["p"].clone();
    config.plugins.insert("q".to_owned(), chosen);
    config.connections.get_mut("acme").unwrap().plugin = "q".to_owned();
    put(scene("jwks").manifest_with(here, there)).await;
    assert_eq!(serving.reload(&config).await.unwrap().changed, ["acme"]);
    config.connections.get_mut("acme").unwrap().plugin = "p".to_owned();
    put(scene("jwks")).await;
    assert_eq!(serving.reload(&config).await.unwrap().changed, ["acme"]);
    config.plugins.get_mut("p").unwrap().digest = Some(put(scene("other")).await);
    assert_eq!(serving.reload(&config).await.unwrap().changed, ["acme"]);
    assert!(drained(serving, &clock).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_never_an_argument_and_a_wrong_name_is_not_kept() {
    let (setup, name) = setup("[{ env = 'NO_SUCH_VARIABLE' }, { sealed = true }]").await;
    let (code, out, err) = setup.run(&["secret", "set", "desk", &name, "a-value"]).await;
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    let (code, _, err) = setup.run_with(&["secret", "set", "desk", "no_such"], "x").await;
    assert_eq!(code, 3, "{err}");
    let (code, _, err) = setup.run_with(&["secret", "set", "desk", &name], "\n").await;
    assert!(code == 2 && err.contains("is empty"), "{err}");
    let (code, _, err) = setup.run_with(&["secret", "set", "nobody", &name], "x").await;
    assert!(code == 3 && err.contains("there is no connection"), "{err}");
    // What is kept behind a source that has it already is not what is used, and that is told.
    let digest = Digest::of(&std::fs::read(setup.folder.path().join("plugin.wasm")).unwrap()).to_string();
    setup.write_config_with(&digest, "[{ env = 'DESK_KEY' }, { sealed = true }]");
    let (code, _, err) = setup.run_with(&["secret", "set", "desk", &name], "x").await;
    assert!(code == 0 && err.contains("DESK_KEY comes before it"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sealing_key_is_changed_and_a_lost_one_says_what_to_do() {
    let (setup, name) = setup("{ sealed = true }").await;
    setup.run_with(&["secret", "set", "desk", &name], KEY).await;
    let path = setup.folder.path().join("state/sealing.key");
    let old = std::fs::read(&path).unwrap();
    let (code, _, err) = setup.run(&["secret", "rotate-key"]).await;
    assert!(code == 0 && err.contains("sealed 1 record with a new key"), "{err}");
    let new = std::fs::read(&path).unwrap();
    assert!(new != old && call(&setup, &[]).await.0 == 0);
    for (wrong, told) in [(&old[..], "sealed with another key"), (&new[..20], "holds no sealing key")] {
        std::fs::write(&path, wrong).unwrap();
        let (code, _, err) = call(&setup, &[]).await;
        assert!(code == 3 && err.contains(told), "{code} {err}");
    }
    std::fs::write(&path, new).unwrap();
    assert_eq!(call(&setup, &[]).await.0, 0, "something was deleted");
}

/// Who keeps the key elsewhere may have left the file: that is no change under way, and ends with one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealing_key_in_both_places_is_changed_in_both() {
    let (setup, name) = setup("{ sealed = true }").await;
    setup.run_with(&["secret", "set", "desk", &name], KEY).await;
    let path = setup.folder.path().join("state/sealing.key");
    let old = std::fs::read_to_string(&path).unwrap().trim().to_owned();
    let rotate = |keys: &str| {
        let mut command = std::process::Command::new(program());
        command.args(["secret", "rotate-key", "--state-dir", "state"]).current_dir(setup.folder.path());
        ended(command.env("WHARFAGE_SEALING_KEY", keys))
    };
    let (code, _, err) = rotate(&old);
    assert!(code == 3 && err.contains("WHARFAGE_SEALING_KEY=NEW,OLD") && path.exists(), "{code} {err}");
    let new = STANDARD.encode([7; 32]);
    let (code, _, err) = rotate(&new);
    assert!(code == 0 && err.contains("sealed 1 record with a new key") && !err.contains("the others"), "{code} {err}");
    assert!(!path.exists(), "the old key is still there");
    let (code, _, err) = rotate(&format!("{new},{old}"));
    assert!(
        code == 0 && err.contains("nothing was sealed anew") && err.contains("take the others away"),
        "{code} {err}"
    );
}

/// What lies in the folder that one happens to be in was put there by whoever filled that folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_home_no_file_of_the_folder_here_is_a_secret() {
    let (setup, name) = setup("{ sealed = true }").await;
    let config = setup.folder.path().join("wharfage.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(&format!("{name} = {{ sealed = true }}\n"), "")).unwrap();
    let folder = setup.folder.path().join(".config").join(&setup.needs.manifest.plugin.name);
    std::fs::create_dir_all(&folder).unwrap();
    secret_file(&folder.join(&name), KEY);
    let mut command = std::process::Command::new(program());
    command.args(["secret", "list", "--state-dir", "state"]).current_dir(setup.folder.path()).env_remove("HOME");
    let (code, out, err) = ended(&mut command);
    assert_eq!(code, 0, "{err}");
    let row = rows(&out).into_iter().find(|row| row["secret"] == name.as_str()).unwrap();
    assert!(row["trouble"].is_string() && !out.contains(".config"), "{out}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_secret_ends_with_code_3_and_the_way_to_replace_it() {
    let (setup, name) = setup("[{ file = 'key' }, { sealed = true }]").await;
    setup.run_with(&["secret", "set", "desk", &name], KEY).await;
    let (code, out, err) = setup.run(&["secret", "age", "desk"]).await;
    assert!(code == 0 && rows(&out)[0]["days"] == 0, "{code} {out} {err}");
    let path = setup.folder.path().join("key");
    wharfage_tests::scene::secret_file(&path, KEY);
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let (code, out, err) = setup.run(&["secret", "age"]).await;
    let row = rows(&out).into_iter().find(|row| row["secret"] == name.as_str()).unwrap();
    assert!(
        code == 3 && row["is_old"] == true && row["days_max"].as_u64().is_some_and(|days| days >= 90),
        "{code} {row} {err}"
    );
    assert!(err.contains("should be replaced") && err.contains(&format!("Draw a new {name}")), "{err}");
}

/// R16: no `wharfage.toml` found by looking around may run a program as a secret source without being asked first.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_a_program_in_a_file_that_was_found_is_not_run_without_being_asked() {
    let (setup, _) = setup(&format!("{{ program = ['/bin/sh', '-c', ': > ran; echo {KEY}'] }}")).await;
    let ran = setup.folder.path().join("ran");
    let (code, out, err) = call(&setup, &[]).await;
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("--config wharfage.toml") && !ran.exists(), "{err}");
    assert!(setup.run(&["secret", "list"]).await.0 == 0 && !ran.exists(), "a list ran it");
    let (code, _, err) = call(&setup, &["--config", "wharfage.toml"]).await;
    assert!(code == 0 && ran.exists(), "{err}");
    assert!(setup.stand_in.seen().iter().all(|seen| seen.is_signed));
}
