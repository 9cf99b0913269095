//! The same work by others: programs of their own in `peers/`, each of which is measured where it is installed.
//!
//! A peer is started with the provider's URL, the credential and the name of what it is. It says `ready`, then reads lines
//! of a path, a number of callers and a number of calls of each, does that, and says `done`. Its CPU is that of its process.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use wharfage_tests::{API_KEY, root};

use crate::measure::Contender;

/// A peer there can be.
struct Known {
    name: &'static str,
    /// Its program and what that is started with; a path is from the repository's top.
    program: &'static [&'static str],
    install: &'static str,
}

const EXTISM: &str = "tests/benches/peers/extism/target/release/extism-peer";
const EXTISM_INSTALL: &str =
    "Extism: cd tests/benches/peers/extism && rustup toolchain install && cargo build --release (some minutes)";
const CLIENT: &str = "tests/benches/peers/client.py";
const CLIENT_INSTALL: &str = "Python's clients: python3 -m pip install aiohttp";

const KNOWN: [Known; 5] = [
    Known { name: Peer::EXTISM_FRESH, program: &[EXTISM, "fresh"], install: EXTISM_INSTALL },
    Known { name: Peer::EXTISM_OWN_HTTP, program: &[EXTISM, "own-http"], install: EXTISM_INSTALL },
    Known { name: Peer::EXTISM_FUNCTION, program: &[EXTISM, "function"], install: EXTISM_INSTALL },
    Known { name: Peer::GUIDE, program: &["python3", CLIENT, "guide"], install: CLIENT_INSTALL },
    Known { name: Peer::AIOHTTP, program: &["python3", CLIENT, "aiohttp"], install: CLIENT_INSTALL },
];

/// A peer that runs. It ends when this is dropped.
pub(crate) struct Peer {
    name: &'static str,
    process: Child,
    talk: Arc<Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>>,
}

impl Peer {
    /// A plugin made anew for each call.
    pub(crate) const EXTISM_FRESH: &'static str = "extism: fresh";
    /// A plugin used again, which sends by what Extism brings along.
    pub(crate) const EXTISM_OWN_HTTP: &'static str = "extism: reused, its own HTTP";
    /// The same with a host function of our own instead.
    pub(crate) const EXTISM_FUNCTION: &'static str = "extism: reused, a host function";
    /// The client in the guide.
    pub(crate) const GUIDE: &'static str = "python: the guide's client";
    /// What it stands on.
    pub(crate) const AIOHTTP: &'static str = "python: aiohttp";

    /// Those that are installed, and how to install the others.
    pub(crate) async fn all(url: &str) -> (Vec<Self>, Vec<&'static str>) {
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        for known in &KNOWN {
            match Self::start(known, url).await {
                Some(peer) => peers.push(peer),
                None if missing.contains(&known.install) => {}
                None => missing.push(known.install),
            }
        }
        (peers, missing)
    }

    async fn start(known: &Known, url: &str) -> Option<Self> {
        let (program, arguments) = known.program.split_first()?;
        let program = if program.contains('/') { root().join(program) } else { Path::new(program).to_owned() };
        let mut process = Command::new(program)
            .args(arguments)
            .args([url, API_KEY])
            .current_dir(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let said = BufReader::new(process.stdout.take()?).lines();
        let mut talk = (process.stdin.take()?, said);
        let ready = tokio::time::timeout(Duration::from_secs(60), talk.1.next_line()).await.ok()?.ok()??;
        (ready == "ready").then(|| Self { name: known.name, process, talk: Arc::new(Mutex::new(talk)) })
    }

    /// Asking for this path and parsing the answer.
    pub(crate) fn contender(&self, path: &'static str) -> Contender {
        let (name, talk) = (self.name, self.talk.clone());
        Contender::elsewhere(name, self.process.id().unwrap_or_default(), move |width, calls| {
            let talk = talk.clone();
            Box::pin(async move {
                let (asked, said) = &mut *talk.lock().await;
                asked.write_all(format!("{path} {width} {calls}\n").as_bytes()).await.expect("the peer listens");
                let answer = said.next_line().await.expect("the peer answers");
                assert_eq!(answer.as_deref(), Some("done"), "{name}");
            })
        })
    }
}
