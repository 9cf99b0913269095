//! The provider on the other side: this program once more, in a process of its own, so that its CPU is not counted.
//!
//! It keeps connections open, reads a request's head and writes an answer that lay ready: at once, after a while, or when
//! it is told to. It ends when the process that started it does.
//!
//! | path | the answer |
//! |---|---|
//! | `/small`, `/large` | about 1 KiB and about 100 KiB, at once |
//! | `/slow/N` | the small one after N milliseconds |
//! | `/hold` | the small one, when it is let go |
//! | `/held` | how many are held |
//! | `/let-go` | the same, and lets them go |

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wharfage_tests::measured::Size;

/// The argument that makes this program the provider.
pub(crate) const ARGUMENT: &str = "--be-the-provider";

/// A provider that runs. It ends when this is dropped.
pub(crate) struct Provider {
    process: Child,
    /// Where it is.
    pub(crate) url: String,
}

impl Provider {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("this program has a file");
        let mut process = Command::new(program)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the provider starts");
        let mut port = String::new();
        let said = process.stdout.take().expect("its output is ours");
        BufReader::new(said).read_line(&mut port).expect("the provider says where it is");
        Self { process, url: format!("http://127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What this program does as the provider.
pub(crate) fn run() {
    std::thread::spawn(|| {
        // Nothing is ever written there: it ends when the other process does.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("it has an address").port());
        std::io::stdout().flush().expect("somebody reads");
        let answers = Arc::new(Answers {
            small: answer(&Size::Small.json()),
            large: answer(&Size::Large.json()),
            held: AtomicUsize::new(0),
            let_go: watch::Sender::new(()),
        });
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answers.clone()));
        }
    });
}

/// What it answers.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
    held: AtomicUsize,
    let_go: watch::Sender<()>,
}

fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// One connection, request after request; a client that asks before it has read its answer is not one of ours.
async fn serve(mut stream: TcpStream, answers: Arc<Answers>) {
    let _ = stream.set_nodelay(true);
    let mut unread = Vec::new();
    while stream.read_buf(&mut unread).await.is_ok_and(|read| read > 0) {
        if !unread.ends_with(b"\r\n\r\n") {
            continue;
        }
        let asked = unread.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let asked = String::from_utf8_lossy(asked).into_owned();
        let told;
        let answer = match asked.as_str() {
            "/large" => &answers.large,
            "/hold" => {
                let mut let_go = answers.let_go.subscribe();
                answers.held.fetch_add(1, Ordering::SeqCst);
                let _ = let_go.changed().await;
                answers.held.fetch_sub(1, Ordering::SeqCst);
                &answers.small
            }
            "/held" | "/let-go" => {
                told = answer(&answers.held.load(Ordering::SeqCst).to_string());
                if asked == "/let-go" {
                    let _ = answers.let_go.send(());
                }
                &told
            }
            _ => {
                if let Some(ms) = asked.strip_prefix("/slow/").and_then(|ms| ms.parse().ok()) {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                &answers.small
            }
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
        unread.clear();
    }
}
