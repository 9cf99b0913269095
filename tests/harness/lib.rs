//! What the tests of wharfage stand on: guests and plugins as components, a provider made of a plain socket, and a scene
//! that puts a host, one connection and a clock together.
//!
//! Nothing here waits for time to pass and nothing leaves this machine. A test turns the host's clock, or sets a limit so
//! small that reaching it costs nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where and stops")]
#![allow(missing_debug_implementations, reason = "a test prints what it compares, and nothing of what it stands on")]

pub mod clocks;
pub mod component;
#[path = "../counts/mod.rs"]
pub mod counts;
pub mod damage;
#[path = "../faults/mod.rs"]
pub mod faults;
pub mod fixture;
#[path = "../hostile/mod.rs"]
pub mod hostile;
pub mod measured;
pub mod mutate;
pub mod provider;
pub mod scene;
pub mod socket;
mod watchdog;

pub use provider::{Count, Provider, Reply, Seen};
pub use scene::{Open, Scene};
pub use socket::{Act, Opening, SocketServer};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wharfage::{ManualClock, Serving, Timestamp};

include!(concat!(env!("OUT_DIR"), "/built.rs"));

/// How long a test waits for what others are at, before it says what it waited for and fails: of real time, and only so
/// that none waits for ever.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Waits until this holds, and lets everybody else work meanwhile. What may follow is said where it does not.
#[macro_export]
macro_rules! until {
    ($holds:expr) => {
        $crate::until!($holds, "{}", stringify!($holds))
    };
    ($holds:expr, $($said:tt)+) => {{
        let wait = async {
            while !$holds {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout($crate::PATIENCE, wait).await.is_ok();
        assert!(in_time, "it was not to be: {}", format_args!($($said)+));
    }};
}

/// Ends what serves, as [`Serving::drain`] does. What is under way at its end may wait for a time, as between two attempts:
/// where nothing else goes on any more, that time comes.
pub async fn drained(serving: Serving, clock: &ManualClock) -> bool {
    let mut ending = std::pin::pin!(serving.drain());
    loop {
        match tokio::time::timeout(std::time::Duration::from_millis(500), &mut ending).await {
            Ok(has_ended) => return has_ended,
            Err(_) => drop(clock.advance_to_next()),
        }
    }
}

/// Hands a webhook over to what serves, with these header fields: the status that it gets, and what is said with it.
pub async fn deliver(serving: &Serving, endpoint: &str, header: &str, body: &str) -> (String, String) {
    let address = serving.address().await.expect("it takes webhooks");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it is there");
    let head = format!("POST /webhooks/{endpoint} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
    let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(whole.as_bytes()).await.expect("it is taken");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    (text[9..12].to_owned(), text.rsplit("\r\n").next().unwrap().to_owned())
}

/// Says that something was not tested, so that whoever runs the tests hears of it. `WHARFAGE_REQUIRED` names what must be,
/// with commas between, or says `all` of these.
///
/// # Panics
/// Where it must.
#[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
pub fn skipped(what: &str, why: &str) {
    let required = std::env::var("WHARFAGE_REQUIRED").unwrap_or_default();
    let is_required = required.split(',').map(str::trim).any(|name| name == what || name == "all");
    assert!(!is_required, "WHARFAGE_REQUIRED asks for {what}, and it would be skipped: {why}");
    // Not by `eprintln!`, which the test would keep to itself.
    let told = format!("\nSKIPPED {what}: {why}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
}

/// A component with one behaviour, as the compiler made it.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Its file's name, as `http_send`.
    pub name: &'static str,
    path: &'static str,
}

/// A plugin of this repository.
#[derive(Clone, Copy, Debug)]
pub struct PluginFolder {
    /// Its folder's name.
    pub name: &'static str,
    /// Its folder.
    pub folder: &'static str,
    path: &'static str,
    described: &'static str,
}

/// A whole plugin of a few kilobytes (`tiny.wat`), which compiles at once: for tests that need thousands of them.
pub const TINY: &[u8] = include_bytes!("tiny.wasm");

impl Guest {
    /// The compiler's component, without manifest and operations.
    pub fn compiled(&self) -> Vec<u8> {
        read(self.path)
    }
}

impl PluginFolder {
    /// The compiler's component, without manifest and operations; and the one that describes it.
    pub fn compiled(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (read(self.path), Some(read(self.described)))
    }

    /// Its `plugin.toml`.
    pub fn manifest(&self) -> String {
        let path = format!("{}/plugin.toml", self.folder);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}. Build again: cargo test"))
}

/// The repository's top.
pub fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository").to_owned()
}

/// A folder in which hosts keep compiled code from test to test, for compiling is what takes the time. Whatever keeps
/// state as well uses a folder of its own.
pub fn compiled_code() -> &'static std::path::Path {
    watchdog::watch();
    std::path::Path::new(STATE)
}

/// 2026-11-22T08:49:37Z, when most tests play.
pub const NOW: Timestamp = Timestamp::from_millis(1_795_337_377_000);

/// A clock on which every wait is over at once, with its time gone by.
pub fn skipping() -> ManualClock {
    ManualClock::skipping(NOW, 1)
}

/// The value of the credential's secret in every scene: long enough to be masked, and found nowhere else.
pub const API_KEY: &str = "wharf-s3cret-0451-berth+crane/7";
/// The other half of a pair.
pub const USER: &str = "harbour-master";
/// A key to sign with.
pub const SIGNING: &str = "signing-key-of-the-tests";
/// A key to verify with.
pub const VERIFYING: &str = "verifying-key-of-the-tests";
