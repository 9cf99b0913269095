//! The client cases of the Autobahn test suite, 1 to 7 and 10, against the sockets of this host:
//! `cargo run -p wharfage-tests --bin autobahn`.
//!
//! The suite's server is looked for as `wstest`, or where `WSTEST` says (PyPI `autobahntestsuite`, on Python 2.7); without
//! it this says so and proves nothing. A case is an opening of a socket whose listener answers each message with itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a run that cannot go on says where and stops")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use wharfage::serving::{SocketHandler, SocketPolicy, SocketState};
use wharfage::{BoxFuture, Error, Plugin, Trigger};
use wharfage_tests::{Scene, guests};

const SOCKETS: &str = r#"
[sockets.count]
origin = "api"
path = "/getCaseCount"
source = "autobahntestsuite 0.8.2"
date = "2026-11-24"

[sockets.info]
origin = "api"
path = "/getCaseInfo?case={case}"
parameters = ["case"]
source = "autobahntestsuite 0.8.2"
date = "2026-11-24"

[sockets.text]
origin = "api"
path = "/runCase?case={case}&agent=wharfage"
parameters = ["case"]
source = "autobahntestsuite 0.8.2"
date = "2026-11-24"

[sockets.binary]
origin = "api"
path = "/runCase?case={case}&agent=wharfage"
parameters = ["case"]
binary = true
source = "autobahntestsuite 0.8.2"
date = "2026-11-24"

[sockets.report]
origin = "api"
path = "/updateReports?agent=wharfage"
source = "autobahntestsuite 0.8.2"
date = "2026-11-24"
"#;

/// The longest that one case may take.
const CASE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let Some(wstest) = wstest() else {
        println!("SKIPPED, and nothing is proven: there is no wstest in PATH, and WSTEST names none");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(&wstest, folder.path(), port).await;
    let url = format!("http://127.0.0.1:{port}");
    let open = Scene::of(guests::EVENTS_KEYED).manifest(SOCKETS).at("api", &url).real_time().open().await;

    let count: usize = String::from_utf8(run(&open.plugin, "count", None).await.remove(0)).unwrap().parse().unwrap();
    println!("{count} cases");
    for case in 1..=count {
        let info = run(&open.plugin, "info", Some(case)).await.remove(0);
        let info: Value = serde_json::from_slice(&info).unwrap();
        // A message is answered as what it was.
        let is_binary = info["id"].as_str().unwrap().starts_with("1.2.");
        run(&open.plugin, if is_binary { "binary" } else { "text" }, Some(case)).await;
    }
    run(&open.plugin, "report", None).await;
    let index = std::fs::read(folder.path().join("reports/index.json")).unwrap();
    drop(server);
    let index: Value = serde_json::from_slice(&index).unwrap();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    for (id, case) in index["wharfage"].as_object().unwrap() {
        let said = |key: &str| case[key].as_str().unwrap_or("NOTHING").to_owned();
        let (behavior, close) = (said("behavior"), said("behaviorClose"));
        let is_fine = |said: &str| matches!(said, "OK" | "NON-STRICT" | "INFORMATIONAL");
        if !is_fine(&behavior) || !is_fine(&close) {
            failed.push(format!("{id}: {behavior}, close {close}"));
        }
        *counts.entry(behavior).or_default() += 1;
    }
    println!("{counts:?}");
    assert_eq!(index["wharfage"].as_object().unwrap().len(), count, "not every case has a report");
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Opens a socket once, answers each message with itself, and hands back all of them at its end.
async fn run(plugin: &Plugin, socket: &str, case: Option<usize>) -> Vec<Vec<u8>> {
    let mut policy = SocketPolicy::default();
    policy.values.extend(case.map(|case| ("case".to_owned(), case.to_string())));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let answers = socket == "text" || socket == "binary";
    let socket = plugin.socket(socket, &policy, Echo { heard: heard.clone(), answers }).unwrap();
    let running = tokio::spawn({
        let socket = socket.clone();
        async move { socket.run().await }
    });
    let began = Instant::now();
    while !matches!(socket.status().state, SocketState::Backoff(_) | SocketState::Closed(_)) {
        assert!(began.elapsed() < CASE, "case {case:?} has no end: {:?}", socket.status());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    socket.drain();
    running.await.unwrap().unwrap();
    assert_eq!(socket.status().openings, 1, "{case:?}: {:?}", socket.status());
    heard.lock().unwrap().split_off(0)
}

struct Echo {
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    answers: bool,
}

impl SocketHandler for Echo {
    fn has_begun(&self) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async { Ok(false) })
    }

    fn take(&self, _: &str, trigger: Trigger) -> BoxFuture<'_, Result<Vec<Vec<u8>>, Error>> {
        let Trigger::Message { message, .. } = trigger else { return Box::pin(async { Ok(Vec::new()) }) };
        if !self.answers {
            self.heard.lock().unwrap().push(message);
            return Box::pin(async { Ok(Vec::new()) });
        }
        Box::pin(async { Ok(vec![message]) })
    }
}

/// The suite's server, for as long as this lives.
struct Server(Child);

impl Server {
    async fn start(wstest: &Path, folder: &Path, port: u16) -> Self {
        let cases: Vec<String> = [1, 2, 3, 4, 5, 6, 7, 10].map(|number| format!("{number}.*")).to_vec();
        let spec = serde_json::json!({
            "url": format!("ws://127.0.0.1:{port}"), "outdir": folder.join("reports"),
            "cases": cases, "exclude-cases": [], "exclude-agent-cases": {},
        });
        let path = folder.join("fs.json");
        std::fs::write(&path, spec.to_string()).unwrap();
        let child = Command::new(wstest)
            .args(["-m", "fuzzingserver", "-s"])
            .arg(&path)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("wstest starts");
        let server = Self(child);
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(began.elapsed() < CASE, "wstest does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wstest() -> Option<PathBuf> {
    let stated = std::env::var_os("WSTEST").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("wstest")).find(|path| path.is_file());
    stated.or(found)
}
