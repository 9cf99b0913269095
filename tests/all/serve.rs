//! `wharfage serve` as a process of its own: from the arrival to the sink, over changes, kills and everything that is
//! wrong with what arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wharfage::Digest;
use wharfage_tests::scene::{THINGS, secret_file};
use wharfage_tests::{PATIENCE, Provider, Reply, Scene, guests, skipped, until};

use crate::sinks::SECRET;

pub(crate) const TOKEN: &str = "the-token-of-the-hooks";

/// A folder with a component and a `wharfage.toml`.
pub(crate) struct Port {
    pub(crate) folder: tempfile::TempDir,
}

/// `wharfage serve` over it.
pub(crate) struct Serving {
    child: Child,
    /// Lines of standard error.
    told: mpsc::UnboundedReceiver<String>,
    /// Events on standard output.
    events: mpsc::UnboundedReceiver<Value>,
    pub(crate) address: String,
    pub(crate) heard: Vec<String>,
}

impl Port {
    pub(crate) async fn new(more: &str) -> Self {
        let bytes = Scene::of(guests::EVENTS_COUNTS).manifest(THINGS).component().await;
        let port = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(port.folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
        port.write(more);
        port
    }

    pub(crate) fn write(&self, more: &str) {
        let text = format!(
            "[plugins.p]\ncomponent = 'plugin.wasm'\n[accounts.a.secrets]\nverifying = {{ env = 'SERVE_TOKEN' }}\n\
             [connections.acme]\nplugin = 'p'\naccount = 'a'\nsecrets = ['verifying']\n\
             [endpoints.hooks]\nconnection = 'acme'\nwebhook = 'things'\n[sinks.out]\nkind = 'stdout'\n\
             {more}"
        );
        let text = match more.contains("[serve]") {
            true => text.replace("[serve]", "[serve]\nlisten = '127.0.0.1:0'\nreload = false"),
            false => format!("{text}\n[serve]\nlisten = '127.0.0.1:0'\nreload = false\n"),
        };
        std::fs::write(self.folder.path().join("wharfage.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::cli::program());
        command.args(arguments).current_dir(self.folder.path());
        command.arg("--state-dir").arg(self.folder.path().join("state"));
        command.env("SERVE_TOKEN", TOKEN).env("NO_COLOR", "1").kill_on_drop(true);
        command
    }

    /// Starts it, and waits until all of it runs.
    pub(crate) async fn serve(&self) -> Serving {
        self.serve_with(&[]).await
    }

    async fn serve_with(&self, more: &[&str]) -> Serving {
        let mut child =
            self.command(&["serve"]).args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let (emit, events) = mpsc::unbounded_channel();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // What a kill tore is given again.
                let Ok(event) = serde_json::from_str(&line) else { continue };
                if emit.send(event).is_err() {
                    break;
                }
            }
        });
        let mut serving = Serving { child, told, events, address: String::new(), heard: Vec::new() };
        let line = serving.hear("running webhook").await;
        serving.address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        serving.hear("running sink").await;
        serving
    }

    /// What it says where it does not start.
    async fn refusal(&self) -> (i32, String) {
        let output = self.command(&["serve"]).output().await.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Serving {
    /// The next line on standard error that holds this.
    pub(crate) async fn hear(&mut self, wanted: &str) -> String {
        loop {
            match timeout(PATIENCE, self.told.recv()).await {
                Ok(Some(line)) => self.heard.push(line),
                Ok(None) => panic!("it ended without saying {wanted:?}: {:#?}", self.heard),
                Err(_) => panic!("it does not say {wanted:?}: {:#?}", self.heard),
            }
            if let Some(line) = self.heard.last().filter(|line| line.contains(wanted)) {
                return line.clone();
            }
        }
    }

    /// The next event; nothing where it has ended.
    async fn event(&mut self) -> Option<Value> {
        let event = timeout(PATIENCE, self.events.recv()).await;
        event.unwrap_or_else(|_| panic!("no event comes, and no end: {:#?}", self.heard))
    }

    /// The texts of the next so many events.
    async fn seen(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            let event = self.event().await.unwrap_or_else(|| panic!("it ended after {all:?}"));
            all.push(event["data"]["text"].as_str().unwrap().to_owned());
        }
        all
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) async fn ends(mut self) -> (i32, String) {
        let status = self.child.wait().await.unwrap();
        while let Some(line) = self.told.recv().await {
            self.heard.push(line);
        }
        (status.code().unwrap_or(-1), self.heard.join("\n"))
    }
}

/// Delivers a webhook; the status and the body of its answer, or nothing where none came.
pub(crate) async fn deliver(
    client: &reqwest::Client,
    address: &str,
    id: &str,
    body: &str,
    token: Option<&str>,
) -> Option<(u16, String)> {
    let mut request = client.post(format!("http://{address}/webhooks/{id}")).body(body.to_owned());
    request = request.header("x-id", body);
    if let Some(token) = token {
        request = request.header("x-token", token);
    }
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.text().await.ok()?))
}

/// From the header of a delivery to the event that comes out, in lines that programs read: one id, and no line without JSON.
#[tokio::test]
async fn a_delivery_goes_on_with_the_trace_that_it_names() {
    let port = Port::new("").await;
    let mut serving = port.serve_with(&["--log", "wharfage=debug", "--log-format", "json"]).await;
    let (id, address) = ("4bf92f3577b34da6a3ce929d0e0e4736", serving.address.clone());
    let request = reqwest::Client::new().post(format!("http://{address}/webhooks/hooks")).body("one");
    let request = request.header("x-token", TOKEN).header("traceparent", format!("00-{id}-00f067aa0ba902b7-01"));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    let event = serving.event().await.unwrap();
    assert!(event["traceparent"].as_str().unwrap().starts_with(&format!("00-{id}-")), "{event}");
    serving.signal("-TERM");
    let (code, told) = serving.ends().await;
    assert_eq!(code, 0, "{told}");
    let lines: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let handled =
        lines.iter().find(|line| line["message"] == "an event was handled").unwrap_or_else(|| panic!("{told}"));
    assert_eq!((handled["trace_id"].as_str(), handled["connection"].as_str()), (Some(id), Some("acme")), "{told}");
    assert!(!told.lines().any(|line| line.contains("level") && !line.starts_with('{')), "{told}");
}

#[tokio::test]
async fn a_delivery_comes_out_of_the_sink_once() {
    let port = Port::new("[connections.acme.polls.ticks]\n").await;
    let mut serving = port.serve().await;
    let (client, address) = (reqwest::Client::new(), serving.address.clone());
    let received = Some((200, r#"{"status":"received"}"#.to_owned()));
    let first: BTreeSet<String> = serving.seen(1).await.into_iter().collect();
    assert_eq!(first, ["ticks 0".to_owned()].into(), "a poll begins at once");
    for _ in 0..2 {
        assert_eq!(deliver(&client, &address, "hooks", "one", Some(TOKEN)).await, received);
    }
    assert_eq!(deliver(&client, &address, "hooks", "two", Some(TOKEN)).await, received);
    let mut seen = serving.seen(2).await;
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
    for (id, token, status) in
        [("hooks", None, 401), ("hooks", Some("another"), 401), ("other", Some(TOKEN), 404), ("other", None, 404)]
    {
        let answer = deliver(&client, &address, id, "three", token).await.unwrap();
        assert_eq!(answer.0, status, "{answer:?}");
    }
    serving.signal("-TERM");
    let (code, told) = serving.ends().await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("finishing what is under way") && told.contains("stopped"), "{told}");
    assert!(told.contains("refused: nothing in it fits the secret `verifying`; what helps:"), "{told}");

    // What is there can be seen afterwards, and had done once more.
    let list = port.command(&["events", "list", "--json"]).output().await.unwrap();
    let rows: Vec<Value> =
        String::from_utf8(list.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row["state"] == "handled"), "{rows:?}");
}

/// What hung is what somebody will want to look at.
#[tokio::test]
async fn a_stop_that_took_too_long_tells_its_last_reading_all_the_same() {
    let hangs = Provider::answering(|_| Reply::never()).await;
    let receiver = Provider::answering(|_| Reply::status(200)).await;
    let port = Port::new(&format!(
        "[sinks.hook]\nkind = 'http'\nurl = '{}/in'\nsecret = {{ file = 'sink-secret' }}\n\
         private_addresses = ['127.0.0.1/32']\n[observe]\notlp = '{}'\n[serve]\nlimits = {{ drain_ms = 100 }}\n",
        hangs.url(),
        receiver.url()
    ))
    .await;
    secret_file(&port.folder.path().join("sink-secret"), SECRET);
    let serving = port.serve().await;
    let received = deliver(&reqwest::Client::new(), &serving.address, "hooks", "one", Some(TOKEN)).await;
    assert_eq!(received.unwrap().0, 200);
    until!(hangs.count() > 0);
    serving.signal("-TERM");
    let (code, told) = serving.ends().await;
    assert!(code == 0 && told.contains("with work under way"), "{code}: {told}");
    assert!(receiver.seen().iter().any(|seen| seen.target.ends_with("/v1/metrics")), "nothing was told: {told}");
}

/// What it would say is lost, and nothing else.
#[cfg(unix)]
#[tokio::test]
async fn where_standard_error_takes_nothing_it_serves_and_drains_all_the_same() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        return skipped("/dev/full", "this system has no file that is always full");
    };
    let port = Port::new("[connections.acme.polls.ticks]\n").await;
    let mut child = port.command(&["serve"]).stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
    let event = timeout(PATIENCE, events.next_line()).await.expect("an event comes").unwrap();
    assert!(event.is_some(), "it ended");
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

/// Whoever stops it while it begins is not kept waiting by what it waits for.
#[cfg(unix)]
#[tokio::test]
async fn a_stop_ends_a_start_that_hangs() {
    let port = Port::new("").await;
    let (file, hangs) = (port.folder.path().join("wharfage.toml"), port.folder.path().join("hangs"));
    let program = format!("{{ program = ['/bin/sh', '-c', ': > {}; exec sleep 600'] }}", hangs.display());
    let text = std::fs::read_to_string(&file).unwrap().replace("{ env = 'SERVE_TOKEN' }", &program);
    std::fs::write(&file, text).unwrap();
    // Whoever names the file allows its programs.
    let mut command = port.command(&["serve", "--config", "wharfage.toml"]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    until!(hangs.exists());
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("nothing had begun"), "{:?}: {told}", output.status);
}

/// Some tens of rounds here; some hundred by hand: `WHARFAGE_KILL_ROUNDS=300`. Every round delivers from several sides and
/// kills the process with SIGKILL after some acknowledgements. Whatever got its 2xx comes out of the sink, whatever comes
/// out was counted once, and no number is missing or there twice: the cursor is nowhere ahead of its events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_for_real_nothing_acknowledged_is_lost() {
    #[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
    let rounds: u64 = std::env::var("WHARFAGE_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12);
    // Who was killed lets go soon, so that the next kill meets what this one left.
    let port = Port::new("[serve]\nlimits = { held_ms = 1000 }\n").await;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut seen: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut note = |event: &Value| {
        let data = &event["data"];
        let (text, count) = (data["text"].as_str().unwrap().to_owned(), data["count"].as_u64().unwrap());
        let id = event["id"].as_str().unwrap().to_owned();
        // At least once: what comes again is the same.
        let before = seen.insert(text.clone(), (count, id.clone()));
        assert!(before.is_none_or(|before| before == (count, id)), "{text} came out as two events");
        seen.len()
    };
    let mut kills_with_work = 0;
    for round in 0..=rounds {
        let mut serving = port.serve().await;
        let is_last = round == rounds;
        let count = Arc::new(AtomicU64::new(0));
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let (address, acknowledged, count) = (serving.address.clone(), acknowledged.clone(), count.clone());
                tokio::spawn(async move {
                    let client = reqwest::Client::new();
                    for number in 0..50 {
                        let text = format!("{round}-{sender}-{number}");
                        let Some((status, _)) = deliver(&client, &address, "hooks", &text, Some(TOKEN)).await else {
                            return;
                        };
                        if status == 200 {
                            acknowledged.lock().unwrap().insert(text);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        if is_last && number == 5 {
                            return;
                        }
                    }
                })
            })
            .collect();
        if is_last {
            for sender in senders {
                sender.await.unwrap();
            }
            // What is there comes out by itself, now that nothing is killed any more.
            while !acknowledged.lock().unwrap().is_empty() {
                let event = serving.event().await.expect("it goes on");
                note(&event);
                acknowledged.lock().unwrap().remove(event["data"]["text"].as_str().unwrap());
            }
            serving.signal("-TERM");
            while let Some(event) = serving.event().await {
                note(&event);
            }
            assert_eq!(serving.ends().await.0, 0);
            break;
        }
        // Another moment each round.
        let after = 1 + round * 7 % 40;
        until!(count.load(Ordering::SeqCst) >= after);
        serving.child.start_kill().unwrap();
        for sender in senders {
            sender.await.unwrap();
        }
        serving.child.wait().await.unwrap();
        while let Some(event) = serving.event().await {
            note(&event);
            acknowledged.lock().unwrap().remove(event["data"]["text"].as_str().unwrap());
        }
        kills_with_work += u64::from(!acknowledged.lock().unwrap().is_empty());
    }
    assert!(kills_with_work > 0, "every kill came when all was done");
    let counts: BTreeSet<u64> = seen.values().map(|(count, _)| *count).collect();
    assert_eq!(counts.len(), seen.len(), "two events were counted as one");
    assert_eq!(counts.last().copied(), Some(seen.len() as u64 - 1), "the cursor is ahead of its events");
}

/// Two processes over one state folder: what arrives at both, 64 copies of it at once, is one event, and comes out of one
/// of the two; when that one is killed, the other goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_over_one_state_do_nothing_twice() {
    let port = Port::new("[serve]\nlimits = { held_ms = 1000 }\n").await;
    let (mut one, mut other) = (port.serve().await, port.serve().await);
    let client = reqwest::Client::new();
    for round in ["first", "second"] {
        let copies = (0..64).map(|number| {
            let address = if number % 2 == 0 { &one.address } else { &other.address };
            deliver(&client, address, "hooks", round, Some(TOKEN))
        });
        let answers = futures_util::future::join_all(copies).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_some_and(|(status, _)| *status == 200)), "{answers:?}");
        // Whoever has the sink gives it.
        let event = tokio::select! {
            event = one.event() => event,
            event = other.event() => event,
        };
        assert_eq!(event.unwrap()["data"]["text"], round);
    }
    one.child.start_kill().unwrap();
    one.child.wait().await.unwrap();
    assert_eq!(deliver(&client, &other.address, "hooks", "third", Some(TOKEN)).await.unwrap().0, 200);
    let mut seen: Vec<Value> = Vec::new();
    while seen.last().is_none_or(|event| event["data"]["text"] != "third") {
        seen.push(other.event().await.unwrap());
    }
    other.signal("-TERM");
    while let Some(event) = other.event().await {
        seen.push(event);
    }
    while let Some(event) = one.event().await {
        seen.push(event);
    }
    assert_eq!(other.ends().await.0, 0);
    // Only what was being given when the one was killed may come again.
    let third = seen.iter().filter(|event| event["data"]["text"] == "third").count();
    assert_eq!((third, seen.iter().map(|event| event["data"]["count"].as_u64()).max()), (1, Some(Some(2))), "{seen:?}");
}

#[tokio::test]
async fn nothing_starts_where_something_cannot_and_every_reason_is_told() {
    let port = Port::new("[connections.acme.polls.tick]\n[endpoints.more]\nconnection='acme'\nwebhook='thing'\n").await;
    let (code, told) = port.refusal().await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("polls.tick: the plugin has no such poll") && told.contains("Did you mean ticks?"), "{told}");

    port.write(
        "[endpoints.more]\nconnection='acme'\nwebhook='thing'\n[endpoints.third]\nconnection='acme'\nwebhook='x'\n",
    );
    let (code, told) = port.refusal().await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("2 things keep") && told.contains("[endpoints.more]"), "{told}");
    assert!(told.contains("Did you mean things?") && told.contains("[endpoints.third]"), "{told}");

    // No secret, no route.
    port.write("");
    let output = port.command(&["serve"]).env_remove("SERVE_TOKEN").output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("verifying") && told.contains("SERVE_TOKEN"), "{told}");
}

#[tokio::test]
async fn a_change_is_taken_up_whole_or_not_at_all() {
    let port = Port::new("").await;
    let mut serving = port.serve().await;
    let (client, address) = (reqwest::Client::new(), serving.address.clone());
    port.write("[endpoints.more]\nconnection = 'acme'\nwebhook = 'things'\n");
    serving.signal("-HUP");
    serving.hear("taken up").await;
    serving.hear("/webhooks/more").await;
    assert_eq!(deliver(&client, &address, "more", "a", Some(TOKEN)).await.unwrap().0, 200);
    port.write("[endpoints.broken]\nconnection = 'acme'\nwebhook = 'nothing'\n");
    serving.signal("-HUP");
    serving.hear("was not taken up").await;
    assert_eq!(deliver(&client, &address, "more", "b", Some(TOKEN)).await.unwrap().0, 200);
    port.write("");
    serving.signal("-HUP");
    serving.hear("taken up").await;
    assert_eq!(deliver(&client, &address, "more", "c", Some(TOKEN)).await.unwrap().0, 404);
    assert_eq!(deliver(&client, &address, "hooks", "d", Some(TOKEN)).await.unwrap().0, 200);
    // What is no connection's is told by name, and so is what the host was started with.
    port.write("[sinks.more]\nkind = 'file'\npath = 'more.jsonl'\n[engine]\nlimits.instances_alive = 7\n");
    serving.signal("-HUP");
    let line = serving.hear("taken up (SIGHUP)").await;
    assert!(line.ends_with(" [sinks]"), "{line}");
    let line = serving.hear("before the next start").await;
    assert!(line.ends_with(" [engine] limits.instances_alive"), "{line}");
    serving.hear("running sink more").await;
    let mut seen = serving.seen(3).await;
    seen.sort();
    assert_eq!(seen, ["a", "b", "d"]);
    serving.signal("-TERM");
    assert_eq!(serving.ends().await.0, 0);
}

/// R16: a program that a file names later runs no more than one that it named at the start.
#[cfg(unix)]
#[tokio::test]
async fn r16_a_change_that_brings_a_program_nobody_allowed_is_not_taken_up() {
    use std::os::unix::fs::DirBuilderExt as _;
    let port = Port::new("").await;
    let (file, ran) = (port.folder.path().join("wharfage.toml"), port.folder.path().join("ran"));
    let text = std::fs::read_to_string(&file).unwrap();
    let write = |script: &str, more: &str| {
        let program = format!("{{ program = ['/bin/sh', '-c', '{script}'] }}");
        std::fs::write(&file, text.replace("{ env = 'SERVE_TOKEN' }", &program) + more).unwrap();
    };
    let script = format!("echo {TOKEN}");
    // As a yes on a terminal leaves it: of the file, the program with its arguments, and no variable.
    let path = file.canonicalize().unwrap();
    let mut mark: Vec<u8> = Vec::new();
    for list in [&[path.to_str().unwrap()][..], &["/bin/sh", "-c", &*script], &[]] {
        mark.extend_from_slice(&(list.len() as u64).to_be_bytes());
        for text in list {
            mark.extend_from_slice(&(text.len() as u64).to_be_bytes());
            mark.extend_from_slice(text.as_bytes());
        }
    }
    let state = port.folder.path().join("state");
    std::fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    std::fs::write(state.join("programs.allowed"), format!("{}\n", Digest::of(&mark))).unwrap();

    let mut serving = port.serve().await;
    let (client, address) = (reqwest::Client::new(), serving.address.clone());
    // One that was allowed before runs, also where the start had none.
    write(&script, "");
    serving.signal("-HUP");
    serving.hear("taken up (SIGHUP)").await;
    assert_eq!(deliver(&client, &address, "hooks", "first", Some(TOKEN)).await.unwrap().0, 200);
    write(&format!(": > {}; {script}", ran.display()), "");
    serving.signal("-HUP");
    let line = serving.hear("taken up").await;
    assert!(line.contains("was not taken up"), "{line}");
    serving.hear("which nobody has allowed").await;
    serving.hear("--config wharfage.toml").await;
    assert_eq!(deliver(&client, &address, "hooks", "a", Some(TOKEN)).await.unwrap().0, 200);
    write(&script, "[endpoints.more]\nconnection = 'acme'\nwebhook = 'things'\n");
    serving.signal("-HUP");
    serving.hear("taken up (SIGHUP)").await;
    assert_eq!(deliver(&client, &address, "more", "b", Some(TOKEN)).await.unwrap().0, 200);
    assert!(!ran.exists(), "it ran");
    serving.signal("-TERM");
    assert_eq!(serving.ends().await.0, 0);
}

/// Without a signal: the file is written anew, as an editor does it, by another one that takes its place.
#[tokio::test]
async fn a_changed_file_is_noticed() {
    let port = Port::new("").await;
    let file = port.folder.path().join("wharfage.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("reload = false", "reload = true");
    std::fs::write(&file, &text).unwrap();
    let mut serving = port.serve().await;
    let (client, address) = (reqwest::Client::new(), serving.address.clone());
    for id in ["more", "evenmore"] {
        let beside = port.folder.path().join("wharfage.toml.new");
        std::fs::write(&beside, format!("{text}[endpoints.{id}]\nconnection = 'acme'\nwebhook = 'things'\n")).unwrap();
        std::fs::rename(&beside, &file).unwrap();
        serving.hear("a file changed").await;
        assert_eq!(deliver(&client, &address, id, id, Some(TOKEN)).await.unwrap().0, 200);
    }
    // A component that is no component is not taken up, and everything goes on.
    std::fs::write(port.folder.path().join("plugin.wasm"), b"torn").unwrap();
    serving.hear("was not taken up").await;
    assert_eq!(deliver(&client, &address, "hooks", "after", Some(TOKEN)).await.unwrap().0, 200);
    let mut seen = serving.seen(3).await;
    seen.sort();
    assert_eq!(seen, ["after", "evenmore", "more"]);
    serving.signal("-TERM");
    assert_eq!(serving.ends().await.0, 0);
}

/// A plugin that traps, loops or floods on an event loses that event to the dead letters, and holds up no other.
#[tokio::test]
async fn a_plugin_that_fails_on_an_event_holds_up_no_other() {
    let limits = "[serve]\nlimits = { attempts = 2, retry_ms = 1 }\n[connections.acme.limits]\ncompute_ms = 100\n";
    let port = Port::new(limits).await;
    let mut serving = port.serve().await;
    let (client, address) = (reqwest::Client::new(), serving.address.clone());
    for text in ["trap", "loop", "flood", "fine", "more"] {
        assert_eq!(deliver(&client, &address, "hooks", text, Some(TOKEN)).await.unwrap().0, 200, "{text}");
    }
    let mut seen = serving.seen(2).await;
    seen.sort();
    assert_eq!(seen, ["fine", "more"]);
    for _ in 0..3 {
        // An alert says "given up" as well.
        serving.hear("an event is given up").await;
    }
    serving.signal("-TERM");
    assert_eq!(serving.ends().await.0, 0);
    let list = port.command(&["events", "list", "--state", "dead", "--json"]).output().await.unwrap();
    let rows = String::from_utf8(list.stdout).unwrap();
    assert_eq!(rows.lines().count(), 3, "{rows}");
    for why in ["as it was told", "compute_ms", "emitted_events"] {
        assert!(rows.contains(why), "{why}: {rows}");
    }
}

#[tokio::test]
async fn where_no_more_may_wait_the_provider_is_told_to_come_again() {
    let limits = "[serve]\nlimits = { waiting_events = 2, attempts = 9, retry_ms = 3600000 }\n";
    let port = Port::new(limits).await;
    let serving = port.serve().await;
    let (client, address) = (reqwest::Client::new(), serving.address.clone());
    // Three that fail: two of them wait for their next attempt, and there is no room for the third.
    let mut statuses = Vec::new();
    for number in 0..3 {
        let request = client.post(format!("http://{address}/webhooks/hooks")).body("trap");
        let answer = request.header("x-id", number.to_string()).header("x-token", TOKEN).send().await.unwrap();
        statuses.push((answer.status().as_u16(), answer.headers().contains_key("retry-after")));
    }
    assert_eq!(statuses, [(200, false), (200, false), (503, true)]);
    serving.signal("-TERM");
    assert_eq!(serving.ends().await.0, 0);
}

#[tokio::test]
async fn a_state_that_is_damaged_is_an_error_and_not_a_fresh_start() {
    let port = Port::new("").await;
    let serving = port.serve().await;
    serving.signal("-TERM");
    assert_eq!(serving.ends().await.0, 0);
    let file = port.folder.path().join("state/state.sqlite");
    // What is not yet in the file itself would mend it.
    for beside in ["state.sqlite-wal", "state.sqlite-shm"] {
        let _ = std::fs::remove_file(port.folder.path().join("state").join(beside));
    }
    std::fs::write(&file, b"this is no database, and was never one of any kind at all").unwrap();
    let (code, told) = port.refusal().await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("state.sqlite") && told.contains("cannot be used"), "{told}");
    assert!(std::fs::read(&file).unwrap().starts_with(b"this is no database"), "it was written over");
}
