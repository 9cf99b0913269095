//! What verifying and storing costs: acknowledgements per second of `wharfage serve`'s endpoint, each verified and on the
//! disk before it leaves, beside an endpoint that does neither, in the same process, over the same listener's library:
//! `cargo run --release -p wharfage-tests --bin arrivals`.
//!
//! Rounds of both take turns, and the figure is the median ratio. Afterwards the plugin waits for a provider that never
//! answers, and the time to an acknowledgement is what it is then. The rates belong to this machine; the ratio says what
//! the host adds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool that stops where it cannot go on"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wharfage::{Config, Host};
use wharfage_tests::{Guest, Provider, Reply, Scene, guests};

const SECRET: &str = "a-secret-of-the-load-test-only";
const CONNECTIONS: usize = 64;
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;

const FACTS: &str = r#"
[webhooks.things]
keys = [{ headers = ["X-Id"] }]
source = "made up for the tests"
date = "2026-11-24"

[webhooks.things.verify]
scheme = "signature"
secret = "verifying"
header = "X-Signature"
algorithm = "hmac-sha256"
encoding = "hex"
content = "{body}"

[events."thing.seen"]
description = "Something was seen"

[events."thing.updated"]
description = "Something was updated"
"#;

/// A host that takes webhooks for a guest, and its folder.
async fn serve(guest: Guest, provider: &Provider) -> (wharfage::Serving, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = Scene::of(guest).manifest(FACTS).component().await;
    std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
    let secrets = format!("HOOK={SECRET}\nKEY=a-key-of-the-load-test\n");
    wharfage_tests::scene::secret_file(&folder.path().join("secrets.env"), &secrets);
    let text = format!(
        "[plugins.p]\ncomponent = 'plugin.wasm'\n[accounts.a.secrets]\n\
         verifying = {{ env_file = 'secrets.env', name = 'HOOK' }}\napi_key = {{ env_file = 'secrets.env', name = 'KEY' }}\n\
         [connections.acme]\nplugin = 'p'\naccount = 'a'\nimports = ['http']\nsecrets = ['verifying', 'api_key']\n\
         private_addresses = ['127.0.0.1/32']\norigins = ['{url}']\nbase = {{ api = '{url}' }}\n\
         [endpoints.hooks]\nconnection = 'acme'\nwebhook = 'things'\n[serve]\nlisten = '127.0.0.1:0'\n\
         limits = {{ waiting_events = 10000000, waiting_bytes = 10000000000 }}\n",
        url = provider.url()
    );
    let config = Config::parse(&text, &folder.path().join("wharfage.toml")).unwrap();
    let host = Host::builder().state_dir(folder.path().join("state")).build().unwrap();
    let serving = host.serve(&config).await.unwrap();
    let address = serving.address().await.unwrap();
    (serving, address, folder)
}

/// The same answer without looking at anything but the end of the body.
async fn bare() -> SocketAddr {
    use http_body_util::BodyExt as _;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let answer = |request: hyper::Request<hyper::body::Incoming>| async move {
                    let _ = request.into_body().collect().await;
                    let body = http_body_util::Full::new(bytes::Bytes::from_static(br#"{"status":"received"}"#));
                    let response = hyper::Response::builder().header("content-type", "application/json").body(body);
                    Ok::<_, Infallible>(response.unwrap())
                };
                let io = hyper_util::rt::TokioIo::new(stream);
                let service = hyper::service::service_fn(answer);
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    address
}

/// Delivers as fast as answers come, over so many connections: acknowledgements per second, and the times they took.
async fn load(address: SocketAddr, connections: usize, round: Duration) -> (f64, Vec<Duration>) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let begun = Instant::now();
    let senders: Vec<_> = (0..connections)
        .map(|_| {
            tokio::spawn(async move {
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut times, mut answer) = (Vec::new(), vec![0; 4_096]);
                while begun.elapsed() < round {
                    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                    let body = format!("{{\"id\":{number},\"text\":\"{}\"}}", "x".repeat(900));
                    let signature = hmac::sign(&key, body.as_bytes());
                    let signature: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                    let request = format!(
                        "POST /webhooks/hooks HTTP/1.1\r\nhost: x\r\nx-id: {number}\r\nx-signature: {signature}\r\n\
                         content-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let sent = Instant::now();
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let mut length = 0;
                    while !answer[..length].ends_with(b"}") {
                        let read = stream.read(&mut answer[length..]).await.unwrap();
                        assert!(read > 0, "it closed");
                        length += read;
                    }
                    let text = String::from_utf8_lossy(&answer[..length]);
                    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
                    times.push(sent.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for sender in senders {
        times.extend(sender.await.unwrap());
    }
    times.sort();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    (rate, times)
}

fn at(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

#[tokio::main]
async fn main() {
    let never = Provider::scripted([Reply::never()]).await;
    let bare = bare().await;
    let (serving, address, _folder) = serve(guests::EVENTS_COUNTS, &never).await;
    let (mut ratios, mut lines) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (plain, _) = load(bare, CONNECTIONS, ROUND).await;
        let (durable, times) = load(address, CONNECTIONS, ROUND).await;
        // The first one fills caches.
        if round > 0 {
            ratios.push(durable / plain);
            lines.push(format!(
                "{plain:>10.0} {durable:>10.0} {:>7.3} {:>9.1?} {:>9.1?}",
                durable / plain,
                at(&times, 50),
                at(&times, 99)
            ));
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "acknowledgements per second over {CONNECTIONS} connections, bodies of 1 KB, the plugin handling beside\n"
    );
    println!("{:>10} {:>10} {:>7} {:>9} {:>9}", "bare", "durable", "ratio", "p50", "p99");
    lines.iter().for_each(|line| println!("{line}"));
    println!("\nmedian ratio {:.3}", ratios[ratios.len() / 2]);
    drop(serving);

    let (serving, address, _folder) = serve(guests::EVENTS_KEYED, &never).await;
    let (rate, times) = load(address, 8, ROUND).await;
    println!(
        "\nwhile every handling waits for a provider that never answers: {rate:.0} acknowledgements per second over 8 \
         connections, p50 {:.1?}, p99 {:.1?}",
        at(&times, 50),
        at(&times, 99)
    );
    drop(serving);
}
