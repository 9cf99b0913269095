//! What ten thousand quiet sockets cost: `ulimit -n 20200; cargo run --release -p wharfage-tests --bin quiet_sockets`.
//!
//! The provider is a process of its own, so that its memory is not counted. As many sockets are opened as the limit of
//! descriptors allows; both are printed. In the end each of them is said something, which shows that it was alive.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on says where and stops")]

use std::io::{BufRead, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_websockets::{Limits, Message, ServerBuilder};
use wharfage::serving::{SocketHandler, SocketPolicy, SocketState};
use wharfage::{BoxFuture, Error, Trigger};
use wharfage_tests::{Scene, guests};

const SOCKET: &str = r#"
[sockets.quiet]
origin = "api"
path = "/ws"
subscribe = ["hello"]
source = "made up for the tests"
date = "2026-11-24"
"#;

/// How many there should be.
const WANTED: usize = 10_000;

/// Descriptors for everything else.
const SPARE: usize = 200;

/// Opened at once.
const AT_ONCE: usize = 100;

#[tokio::main]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some("provider") {
        return provide().await;
    }
    let limit = descriptors();
    let count = WANTED.min(limit.saturating_sub(SPARE));
    println!("descriptors {limit}, sockets {count} of {WANTED}");
    let mut provider = Command::new(std::env::current_exe().unwrap())
        .arg("provider")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a provider");
    let mut said = std::io::BufReader::new(provider.stdout.take().unwrap());
    let mut url = String::new();
    said.read_line(&mut url).unwrap();

    let taken = Arc::new(AtomicUsize::new(0));
    let open = Scene::of(guests::EVENTS_KEYED).manifest(SOCKET).at("api", url.trim()).real_time().open().await;
    let policy = SocketPolicy::default();
    // The first one pays for the client, its trust roots and threads.
    let mut sockets = Vec::with_capacity(count);
    let mut before = 0;
    let began = Instant::now();
    while sockets.len() < count {
        let some = if sockets.is_empty() { 1 } else { AT_ONCE.min(count - sockets.len()) };
        for _ in 0..some {
            let socket = open.plugin.socket("quiet", &policy, Counter(taken.clone())).unwrap();
            tokio::spawn({
                let socket = socket.clone();
                async move { socket.run().await }
            });
            sockets.push(socket);
        }
        while let Some(closed) = sockets[sockets.len() - some..].iter().find(|s| s.status().state != SocketState::Open)
        {
            assert!(began.elapsed() < Duration::from_secs(300), "{:?}", closed.status());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if before == 0 {
            before = resident();
        }
    }
    let opened = began.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = resident();
    let each = (after.saturating_sub(before)) / count.saturating_sub(1).max(1);
    println!(
        "opened in {:.1} s; resident {before} -> {after} bytes: {each} bytes for each quiet socket",
        opened.as_secs_f64()
    );

    provider.stdin.as_mut().unwrap().write_all(b"tick\n").unwrap();
    let began = Instant::now();
    while taken.load(Ordering::SeqCst) < count {
        assert!(began.elapsed() < Duration::from_secs(60), "only {} heard it", taken.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("all of them heard a message; resident {} bytes afterwards", resident());
    let _ = provider.kill();
    let _ = provider.wait();
}

struct Counter(Arc<AtomicUsize>);

impl SocketHandler for Counter {
    fn has_begun(&self) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async { Ok(false) })
    }

    fn take(&self, _: &str, _: Trigger) -> BoxFuture<'_, Result<Vec<Vec<u8>>, Error>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Takes sockets, answers pings, and says something on all of them for each line that it reads.
async fn provide() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let ticks = Arc::new(watch::Sender::new(0u64));
    std::thread::spawn({
        let ticks = ticks.clone();
        move || {
            for _ in std::io::stdin().lines().map_while(Result::ok) {
                ticks.send_modify(|ticks| *ticks += 1);
            }
            // Whoever started this is gone.
            std::process::exit(0);
        }
    });
    while let Ok((stream, _)) = listener.accept().await {
        let mut ticked = ticks.subscribe();
        tokio::spawn(async move {
            let limits = Limits::default().max_payload_len(Some(1024));
            let Ok((_, mut socket)) = ServerBuilder::new().limits(limits).accept(stream).await else { return };
            loop {
                tokio::select! {
                    came = socket.next() => match came {
                        Some(Ok(_)) => {}
                        _ => return,
                    },
                    _ = ticked.changed() => {
                        let _ = socket.send(Message::text("tick")).await;
                    }
                }
            }
        });
    }
}

/// The soft limit of open files.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024)
}

/// Bytes of memory that the process has.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or_default() << 10
}
