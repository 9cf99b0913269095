//! A provider of WebSockets that does what a script says, also what no server should.
//!
//! Each opening has a script of its own; the last one is for all that follow. It keeps what it was sent, with the time on
//! the host's clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};
use wharfage::{Clock, Timestamp};

/// A listening provider. It ends when it is dropped.
pub struct SocketServer {
    address: SocketAddr,
    stage: Arc<Stage>,
    listening: JoinHandle<()>,
}

/// An opening as the provider saw it.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// Path and query.
    pub target: String,
    /// The header fields of the request.
    pub headers: Vec<(String, String)>,
    /// When, on the host's clock.
    pub at: Timestamp,
    /// The messages that came.
    pub messages: Vec<Vec<u8>>,
    /// How often the host asked whether anybody is there.
    pub pings: usize,
    /// The code of its close; 0 where it had none.
    pub closed: Option<u16>,
    /// The script is over.
    pub is_over: bool,
}

/// A step of a script.
#[derive(Clone, Debug)]
pub enum Act {
    /// Instead of a socket, these bytes as the whole answer.
    Answer(Vec<u8>),
    /// A text message.
    Say(String),
    /// So many messages, numbered from 0.
    SayMany(usize),
    /// A binary message.
    Bytes(Vec<u8>),
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// Reads until so many messages came.
    Until(usize),
    /// Reads until the host asked whether anybody is there, and answers.
    UntilPing,
    /// Reads until the host closes.
    UntilClose,
    /// Until a test says so.
    UntilTold,
    /// Closes in an orderly way, with a code unless it is 0.
    Close(u16),
    /// Neither reads nor writes any more, and stays.
    Hang,
}

struct Stage {
    scripts: Vec<Vec<Act>>,
    clock: Arc<dyn Clock>,
    openings: Mutex<Vec<Opening>>,
    changed: watch::Sender<u64>,
    told: watch::Sender<bool>,
}

impl SocketServer {
    /// Does with the first opening what the first script says, and so on.
    pub async fn scripted(clock: Arc<dyn Clock>, scripts: impl IntoIterator<Item = Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let stage = Arc::new(Stage {
            scripts: scripts.into_iter().collect(),
            clock,
            openings: Mutex::default(),
            changed: watch::Sender::new(0),
            told: watch::Sender::new(false),
        });
        let listening = tokio::spawn({
            let stage = stage.clone();
            async move {
                let mut openings = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    while openings.try_join_next().is_some() {}
                    openings.spawn(serve(stage.clone(), stream));
                }
            }
        });
        Self { address, stage, listening }
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was opened so far.
    pub fn openings(&self) -> Vec<Opening> {
        self.stage.openings().clone()
    }

    /// Lets go on whoever waits for it.
    pub fn tell(&self) {
        self.stage.told.send_replace(true);
    }

    /// Waits until this holds of what was opened.
    ///
    /// # Panics
    /// When it does not for a minute.
    pub async fn until(&self, what: &str, holds: impl Fn(&[Opening]) -> bool) -> Vec<Opening> {
        let mut changed = self.stage.changed.subscribe();
        let wait = async {
            loop {
                changed.borrow_and_update();
                let openings = self.openings();
                if holds(&openings) {
                    return openings;
                }
                changed.changed().await.expect("the stage stands");
            }
        };
        match tokio::time::timeout(crate::PATIENCE, wait).await {
            Ok(openings) => openings,
            Err(_) => panic!("{what}: {:?}", self.openings()),
        }
    }
}

impl Drop for SocketServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Stage {
    fn openings(&self) -> std::sync::MutexGuard<'_, Vec<Opening>> {
        self.openings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, number: usize, change: impl FnOnce(&mut Opening)) {
        change(&mut self.openings()[number]);
        self.changed.send_modify(|changes| *changes += 1);
    }
}

impl Act {
    /// A text message.
    pub fn say(text: &str) -> Self {
        Self::Say(text.to_owned())
    }

    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self::Answer(format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n").into_bytes())
    }
}

async fn serve(stage: Arc<Stage>, mut stream: TcpStream) {
    let number = {
        let mut openings = stage.openings();
        openings.push(Opening { at: stage.clock.now(), ..Opening::default() });
        openings.len() - 1
    };
    let script = stage.scripts.get(number).or(stage.scripts.last()).expect("there is a script").clone();
    if let Some(Act::Answer(bytes)) = script.first() {
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        stage.note(number, |opening| opening.target = head.split(' ').nth(1).unwrap_or_default().to_owned());
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        stage.note(number, |opening| opening.is_over = true);
        return;
    }
    let Ok((request, mut socket)) = ServerBuilder::new().accept(stream).await else { return };
    stage.note(number, |opening| {
        opening.target = request.uri().to_string();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        opening.headers =
            request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    });
    for act in script {
        if !play(&stage, number, &mut socket, act).await {
            break;
        }
    }
    drop(socket);
    stage.note(number, |opening| opening.is_over = true);
}

/// False when the other end is gone.
async fn play(stage: &Stage, number: usize, socket: &mut WebSocketStream<TcpStream>, act: Act) -> bool {
    match act {
        Act::Answer(_) => panic!("an answer stands first in a script"),
        Act::Say(text) => socket.send(Message::text(text)).await.is_ok(),
        Act::Bytes(bytes) => socket.send(Message::binary(bytes)).await.is_ok(),
        Act::SayMany(count) => {
            for message in 0..count {
                if socket.feed(Message::text(message.to_string())).await.is_err() {
                    return false;
                }
            }
            socket.flush().await.is_ok()
        }
        Act::Raw(bytes) => socket.get_mut().write_all(&bytes).await.is_ok(),
        Act::Until(count) => read(stage, number, socket, |opening| opening.messages.len() >= count).await,
        Act::UntilPing => read(stage, number, socket, |opening| opening.pings > 0).await,
        Act::UntilClose => read(stage, number, socket, |opening| opening.closed.is_some()).await,
        Act::UntilTold => {
            let mut told = stage.told.subscribe();
            told.wait_for(|told| *told).await.is_ok()
        }
        Act::Close(code) => {
            let code = (code != 0).then(|| CloseCode::try_from(code).expect("a code"));
            socket.send(Message::close(code, "")).await.is_ok()
                && read(stage, number, socket, |opening| opening.closed.is_some()).await
        }
        Act::Hang => std::future::pending().await,
    }
}

async fn read(
    stage: &Stage,
    number: usize,
    socket: &mut WebSocketStream<TcpStream>,
    is_enough: impl Fn(&Opening) -> bool,
) -> bool {
    while !is_enough(&stage.openings()[number]) {
        let Some(Ok(message)) = socket.next().await else { return false };
        let closed = message.as_close().map(|(code, _)| if message.as_payload().is_empty() { 0 } else { code.into() });
        stage.note(number, |opening| {
            if message.is_ping() {
                opening.pings += 1;
            } else if message.is_close() {
                opening.closed = closed;
            } else if !message.is_pong() {
                opening.messages.push(message.into_payload().to_vec());
            }
        });
    }
    true
}

impl Opening {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The messages as text.
    pub fn texts(&self) -> Vec<String> {
        self.messages.iter().map(|message| String::from_utf8_lossy(message).into_owned()).collect()
    }
}
