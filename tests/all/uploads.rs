//! A large file through a real component, whole over everything that breaks on the way, and made once.
//!
//! The provider here is ours: it opens sessions, takes pieces, and does to each what its script says. What it says back in
//! its errors is the session's URL, which works like a credential and must stand nowhere.

use std::collections::VecDeque;
use std::io::Cursor;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wharfage::stand_in::{signed_in, value_of};
use wharfage::tape::{Tape, TapeMode};
use wharfage::{Account, Connection, Error, Files, Host, HostBuilder, Kind, Needs, Plugin};
use wharfage_tests::{API_KEY, PLUGINS, PluginFolder, Provider, Reply, Seen, compiled_code, component, skipping};

use crate::files::Taken;
use crate::log::Logged;

const UNIT: usize = 256 << 10;

/// What happens to a piece.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It is taken.
    Taken,
    /// So much of it is taken.
    Partly(usize),
    /// It is taken, and the answer is lost.
    Lost,
    /// It is taken, and the answer is that of a proxy.
    TakenButAway,
    /// It is not taken.
    Away,
    /// The session is gone.
    Gone(u16),
}

#[derive(Default)]
struct Drive {
    fates: VecDeque<Fate>,
    sessions: usize,
    /// The open session's bytes.
    has: Option<Vec<u8>>,
    files: Vec<Vec<u8>>,
    /// Bytes that came, those not taken included.
    came: usize,
}

impl Drive {
    fn id(&self) -> String {
        format!("SessionCanary-0123456789_{}", self.sessions)
    }

    fn place(&self) -> String {
        format!("/upload/files?uploadType=resumable&upload_id={}", self.id())
    }

    fn answer(&mut self, seen: &Seen) -> Reply {
        if seen.method == "POST" {
            self.sessions += 1;
            self.has = Some(Vec::new());
            let host = seen.header("host").unwrap();
            return Reply::status(200).header("location", &format!("http://{host}{}", self.place()));
        }
        let place = self.place();
        let told = |status: u16| Reply::status(status).body(format!("{status} at {place}"));
        if !seen.target.ends_with(&self.id()) {
            return told(404);
        }
        let range = seen.header("content-range").unwrap().strip_prefix("bytes ").unwrap().to_owned();
        let (part, total) = range.split_once('/').unwrap();
        let total: usize = total.parse().unwrap();
        let Some(has) = &mut self.has else {
            return match self.files.last() {
                Some(file) if part == "*" && file.len() == total => made(),
                _ => told(404),
            };
        };
        let mut fate = Fate::Taken;
        if let Some((from, _)) = part.split_once('-') {
            self.came += seen.body.len();
            fate = self.fates.pop_front().unwrap_or(Fate::Taken);
            let taken = match fate {
                Fate::Away | Fate::Gone(_) => 0,
                Fate::Partly(bytes) => bytes,
                Fate::Taken | Fate::Lost | Fate::TakenButAway => seen.body.len(),
            };
            assert_eq!(from.parse::<usize>().unwrap(), has.len(), "a piece begins elsewhere than the last one ended");
            assert!(seen.body.len().is_multiple_of(UNIT) || has.len() + seen.body.len() == total, "{range}");
            has.extend_from_slice(&seen.body[..taken]);
        }
        let length = has.len();
        if length == total && !matches!(fate, Fate::Gone(_)) {
            self.files.extend(self.has.take());
        }
        match fate {
            Fate::Lost => Reply::reset(),
            Fate::Away | Fate::TakenButAway => told(503),
            Fate::Gone(status) => {
                self.has = None;
                told(status)
            }
            _ if length == total => made(),
            _ if length == 0 => Reply::status(308),
            _ => Reply::status(308).header("range", &format!("bytes=0-{}", length - 1)),
        }
    }
}

fn made() -> Reply {
    Reply::json(&json!({"id": "f1", "name": "big.bin", "trashed": false}))
}

fn content() -> Vec<u8> {
    (0..5 * UNIT as u32 / 2 + 7).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn plugin() -> PluginFolder {
    let has_kept = |plugin: &&PluginFolder| plugin.manifest().contains("kept_header");
    *PLUGINS.iter().find(has_kept).unwrap()
}

/// The plugin, with its provider on loopback and everything granted.
async fn connect(provider: &Provider, builder: HostBuilder) -> (Host, Plugin) {
    let plugin = plugin();
    let bytes = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
    let needs = Needs::read(&bytes).unwrap();
    let names = needs.manifest.origins.keys();
    let mut connection = Connection::granting(&needs);
    connection.origins = vec![provider.url()];
    connection.base = names.map(|name| (name.clone(), format!("{}/{name}", provider.url()))).collect();
    connection.private_addresses = vec![IpAddr::from([127, 0, 0, 1]).into()];
    let secrets = needs.manifest.secrets.keys();
    let account =
        secrets.fold(Account::default(), |account, name| account.with_secret(name, value_of(&needs, name, API_KEY)));
    let account = signed_in(account, &needs, API_KEY);
    let host = builder.code_dir(compiled_code()).clock(skipping()).build().unwrap();
    let connected = host.connect("acme", &bytes, &connection, Some(&account)).await.unwrap();
    (host, connected)
}

/// What came of an upload, and the provider as it is then.
struct Came {
    outcome: Result<Value, Error>,
    drive: Arc<Mutex<Drive>>,
}

async fn upload(fates: &[Fate], builder: HostBuilder) -> (Came, Host, Plugin) {
    let drive = Arc::new(Mutex::new(Drive { fates: fates.iter().copied().collect(), ..Drive::default() }));
    let provider = Provider::answering({
        let drive = drive.clone();
        move |seen| drive.lock().unwrap().answer(seen)
    })
    .await;
    let (host, plugin) = connect(&provider, builder).await;
    let files = Files::default().give("big", Cursor::new(content())).unwrap();
    let input = json!({"name": "big.bin", "file": "big", "piece_bytes": UNIT});
    let answer = plugin.with_files(files).call::<Value>("files.upload", &input).await;
    (Came { outcome: answer.map(|answer| answer.output), drive }, host, plugin)
}

async fn came(fates: &[Fate]) -> Came {
    upload(fates, Host::builder()).await.0
}

#[tokio::test]
async fn an_upload_is_whole_and_made_once_whatever_breaks() {
    use Fate::*;
    let tried: [(&[Fate], usize); 12] = [
        (&[], 1),
        (&[Partly(UNIT / 2), Partly(1000)], 1),
        (&[Partly(0), Taken], 1),
        (&[Lost], 1),
        (&[Taken, Lost, Lost], 1),
        (&[Away, TakenButAway, Away, Away], 1),
        // The last piece: the file is there, and nobody heard so.
        (&[Taken, Taken, Lost], 1),
        (&[Taken, Taken, TakenButAway], 1),
        (&[Gone(404)], 2),
        (&[Taken, Gone(410)], 2),
        (&[Taken, Taken, Gone(404), Taken, Gone(404)], 3),
        (&[Away, Gone(404), Lost, Partly(5)], 2),
    ];
    for (fates, sessions) in tried {
        let Came { outcome, drive } = came(fates).await;
        let output = outcome.unwrap_or_else(|error| panic!("{fates:?}: {error:?}"));
        let drive = drive.lock().unwrap();
        assert_eq!((&output["id"], drive.sessions), (&json!("f1"), sessions), "{fates:?}");
        assert!(drive.files == [content()], "{fates:?}: {} files", drive.files.len());
        if fates.is_empty() {
            assert_eq!(drive.came, content().len(), "a byte was sent twice");
        }
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_ends_with_a_word_about_it() {
    use Fate::*;
    for (fates, kind) in
        [(vec![Gone(404); 3], Kind::Transient), (vec![Partly(0); 5], Kind::Transient), (vec![Away; 5], Kind::Transient)]
    {
        let Came { outcome, drive } = came(&fates).await;
        let error = outcome.unwrap_err();
        assert_eq!(*error.kind(), kind, "{fates:?}: {error:?}");
        assert!(drive.lock().unwrap().files.is_empty() && !format!("{error:?}").contains("Canary"), "{error:?}");
    }
}

/// A file that is shorter than it was is no file to be made.
#[tokio::test]
async fn a_file_longer_than_the_limit_is_not_begun() {
    let provider = Provider::scripted([Reply::status(500)]).await;
    let (_host, plugin) = connect(&provider, Host::builder()).await;
    struct Long(u64);
    impl std::io::Read for Long {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            Ok(buffer.len())
        }
    }
    impl std::io::Seek for Long {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            match to {
                std::io::SeekFrom::End(_) => Ok(self.0),
                _ => Ok(0),
            }
        }
    }
    let files = Files::default().give("big", Long(u64::MAX)).unwrap();
    let input = json!({"name": "big.bin", "file": "big"});
    let error = plugin.with_files(files).call::<Value>("files.upload", &input).await.unwrap_err();
    assert_eq!((error.kind(), provider.count()), (&Kind::LimitExceeded("upload_bytes".to_owned()), 0));
    assert!(error.details().unwrap().contains("limits.upload_bytes"), "{error}");
}

fn texts(folder: &Path) -> String {
    let read = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.unwrap().path()).unwrap_or_default();
    std::fs::read_dir(folder).unwrap().map(|entry| String::from_utf8_lossy(&read(entry)).into_owned()).collect()
}

/// Log, tape, error, audit, state and answer, while everything goes wrong and the provider sends the URL back.
#[tokio::test]
async fn r13_the_session_of_an_upload_stands_nowhere() {
    use Fate::*;
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=trace,hyper=info,reqwest=info");
    let fates = [Partly(1000), Away, Lost, Gone(404), TakenButAway];
    let state = tempfile::tempdir().unwrap();
    let (came, host, plugin) = upload(&fates, Host::builder().state_dir(state.path())).await;
    let mut said = vec![("the answer", came.outcome.unwrap().to_string())];
    let (failed, _, _) = upload(&[Away; 5], Host::builder()).await;
    said.push(("an error", format!("{0:?} {0}", failed.outcome.unwrap_err())));
    said.push(("the audit trail", format!("{:?}", host.audit().page(0, 1_000).await.unwrap())));
    plugin.flush().await;
    drop((plugin, host));
    said.push(("the state", texts(state.path())));
    let tapes = tempfile::tempdir().unwrap();
    let tape = Tape::open(tapes.path().join("tape.json"), TapeMode::Record).unwrap();
    let (taped, _, _) = upload(&[Partly(1000), Away], Host::builder().tape(tape.clone())).await;
    taped.outcome.unwrap();
    tape.finish().unwrap();
    said.push(("the tape", texts(tapes.path())));
    said.push(("the log", logged.text()));
    assert!(
        logged.text().contains("api_error") && said[2].1.contains("PUT") && said[4].1.contains("upload_id=[masked]")
    );
    for (what, text) in said {
        assert!(!text.contains("Canary"), "{what} holds it:\n{text:.20000}");
    }

    // And the tape is as good as the provider.
    let tape = Tape::open(tapes.path().join("tape.json"), TapeMode::Replay).unwrap();
    let (replayed, _, _) = upload(&[], Host::builder().tape(tape.clone())).await;
    assert_eq!((&replayed.outcome.unwrap()["id"], tape.unused().len()), (&json!("f1"), 0));
    assert_eq!(replayed.drive.lock().unwrap().sessions, 0);
}

/// A file of the provider's goes into one of the caller's, also where its stream breaks, and each byte once.
#[tokio::test]
async fn a_download_goes_into_a_file_of_the_caller() {
    let content = content();
    let about = json!({"id": "f1", "name": "big.bin", "size": content.len().to_string(), "md5Checksum": "f3fa31c27114d5918e73fcbb0a3a8ff9"});
    let provider = Provider::answering({
        let content = content.clone();
        move |seen| match (seen.target.contains("alt=media"), seen.number) {
            (false, _) => Reply::json(&about),
            (true, 2) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len());
                Reply::raw([head.as_bytes(), &content[..300_000]].concat())
            }
            (true, _) => Reply::status(200).body(content.clone()),
        }
    })
    .await;
    let (_host, plugin) = connect(&provider, Host::builder()).await;
    let taken = Taken::default();
    let files = Files::default().take("copy", taken.clone());
    let output: Value =
        plugin.with_files(files).call("files.download", &json!({"id": "f1", "file": "copy"})).await.unwrap().output;
    assert_eq!((&output[0]["bytes"], output[0].get("base64")), (&json!(content.len()), None));
    assert!(*taken.0.lock().unwrap() == content, "it is not what was there");
    assert_eq!(provider.count(), 4);
}
