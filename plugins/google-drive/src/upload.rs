//! Uploads in a resumable session.
//!
//! A session is asked for, and nothing exists yet. Then the content goes up in pieces; the last one makes the file. What Drive
//! answers to a piece says how much it has, and the next one begins there. When an answer is lost, Drive is asked how much it
//! has instead of guessing. A session that is gone is begun anew, but not where the file may be there already: so a file is
//! made once, whatever breaks on the way. The session's URL stays in the host, and here is a name for it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use wharfage_sdk::http::Repeat;
use wharfage_sdk::{Error, ErrorKind, Request, Response, base64, files, log};

use crate::files::{FIELDS, File, Record};
use crate::on_file;

/// What to upload.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The name it gets. A second file of the same name is another file.
    name: String,
    /// The content as text.
    #[serde(default)]
    text: Option<String>,
    /// Or the content as Base64.
    #[serde(default)]
    base64: Option<String>,
    /// Or a file of any size that the caller hands over, by its name there.
    #[serde(default)]
    file: Option<String>,
    /// What the content is, as `text/csv`; for Drive to find out where it is left out.
    #[serde(default)]
    mime_type: Option<String>,
    /// The id of the folder it goes into; the top of My Drive where it is left out.
    #[serde(default)]
    folder: Option<String>,
    /// What it is about, in words.
    #[serde(default)]
    description: Option<String>,
    /// Makes a document of Google's own out of it, as `application/vnd.google-apps.document` or `….spreadsheet`.
    #[serde(default)]
    import_as: Option<String>,
    /// Bytes that go up at once: a multiple of 262144, as Drive wants it.
    #[serde(default = "piece")]
    #[schemars(range(min = 262_144, max = 8_388_608), extend("multipleOf" = 262_144))]
    piece_bytes: u32,
}

/// What Drive wants pieces to be multiples of.
const UNIT: u32 = 256 << 10;

/// How often in a row an answer may be lost or bring nothing forward.
const TROUBLES_MAX: u32 = 4;

/// How often an upload begins again because its session is gone.
const RESTARTS_MAX: u32 = 2;

fn piece() -> u32 {
    4 << 20
}

/// Where the content is.
enum Content {
    Here(Vec<u8>),
    Handed(String),
}

/// How far an upload is.
enum Progress {
    /// Drive has so many bytes.
    Has(u64),
    /// The file is there.
    Done(Box<File>),
}

pub(crate) fn upload(input: Input) -> Result<File, Error> {
    let content = Content::of(&input)?;
    let total = content.length()?;
    for restarts in 0..=RESTARTS_MAX {
        let session = begin(&input, total)?;
        if let Some(file) = pour(&session, &content, total, input.piece_bytes)? {
            return Ok(file);
        }
        log::warn("the upload's session is gone, so it begins again", &[("restarts", &(restarts + 1))]);
    }
    Err(stuck("the session of the upload is gone again and again: nothing was made"))
}

/// Sends all of it; nothing where the session is gone and nothing was made.
fn pour(session: &str, content: &Content, total: u64, piece_bytes: u32) -> Result<Option<File>, Error> {
    let piece = u64::from((piece_bytes / UNIT).clamp(1, 32) * UNIT);
    let (mut at, mut troubles) = (0, 0);
    loop {
        let end = total.min(at + piece);
        let sent = send(session, content.read(at, (end - at) as u32)?, at, total);
        let lost = sent.as_ref().err().filter(|error| is_lost(error)).cloned();
        // The last piece makes the file, and nobody has heard whether it did.
        let may_be_made = lost.is_some() && end == total;
        let told = if lost.is_some() { send(session, Vec::new(), total, total) } else { sent };
        let now = match told {
            Ok(Progress::Done(file)) => return Ok(Some(*file)),
            Ok(Progress::Has(now)) => now,
            Err(error) if may_be_made && (is_lost(&error) || is_gone(&error)) => {
                let message =
                    "what became of the last piece is lost: look whether the file is there before uploading it again";
                let status = error.status;
                let mut error = Error::new(ErrorKind::OutcomeUnknown, message);
                error.status = status;
                return Err(error);
            }
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => {
                log::warn("the upload ends early, and no file was made", &[("bytes", &at), ("of", &total)]);
                return Err(error);
            }
        };
        if now > total {
            return Err(Error::schema_violation("Drive says that it has more bytes than there are"));
        }
        troubles = if now > at { 0 } else { troubles + 1 };
        if troubles > TROUBLES_MAX {
            return Err(lost.unwrap_or_else(|| stuck("the upload does not come forward: nothing was made")));
        }
        at = now;
    }
}

/// Whether Drive may have the piece although nobody says so.
fn is_lost(error: &Error) -> bool {
    error.kind == ErrorKind::OutcomeUnknown || (error.may_retry() && error.kind != ErrorKind::RateLimited)
}

/// Whether there is no such session, or no more.
fn is_gone(error: &Error) -> bool {
    matches!(error.status, Some(404 | 410))
}

fn stuck(message: &str) -> Error {
    Error::new(ErrorKind::Transient, message)
}

impl Content {
    fn of(input: &Input) -> Result<Self, Error> {
        match (&input.text, &input.base64, &input.file) {
            (Some(text), None, None) => Ok(Self::Here(text.as_bytes().to_vec())),
            (None, Some(encoded), None) => base64::decode(encoded)
                .map(Self::Here)
                .ok_or_else(|| Error::invalid_request("/base64", "expected Base64 with + and /, padded")),
            (None, None, Some(name)) => Ok(Self::Handed(name.clone())),
            _ => Err(Error::invalid_request("", "expected one of `text`, `base64` and `file`")),
        }
    }

    fn length(&self) -> Result<u64, Error> {
        match self {
            Self::Here(bytes) => Ok(bytes.len() as u64),
            Self::Handed(name) => files::length(name),
        }
    }

    fn read(&self, at: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        match self {
            Self::Here(all) => Ok(all[at as usize..][..bytes as usize].to_vec()),
            Self::Handed(name) => files::read(name, at, bytes),
        }
    }
}

/// Asks for a session; the host's name for its URL.
fn begin(input: &Input, length: u64) -> Result<String, Error> {
    let mut about = Map::new();
    let mime_type = input.import_as.as_ref().or(input.mime_type.as_ref());
    for (name, value) in
        [("name", Some(&input.name)), ("mimeType", mime_type), ("description", input.description.as_ref())]
    {
        if let Some(value) = value {
            about.insert(name.to_owned(), Value::from(value.as_str()));
        }
    }
    if let Some(folder) = &input.folder {
        about.insert("parents".to_owned(), Value::from(vec![folder.as_str()]));
    }
    let request = on_file(Request::post("{upload}/files"))
        .query("uploadType", "resumable")
        .query("fields", FIELDS)
        .header("X-Upload-Content-Length", length.to_string());
    let request = match &input.mime_type {
        Some(mime_type) => request.header("X-Upload-Content-Type", mime_type),
        None => request,
    };
    // A session that nobody uses makes nothing.
    let response = request.json(&about)?.repeat(Repeat::Safe).send()?;
    match response.header("location") {
        Some(session) => Ok(session.to_owned()),
        None => Err(response.error(ErrorKind::SchemaViolation, "Drive opened no session for the upload")),
    }
}

/// Sends a piece, once. An empty one where something should be asks how much Drive has.
fn send(session: &str, piece: Vec<u8>, at: u64, total: u64) -> Result<Progress, Error> {
    let (from, length) = (at.to_string(), total.to_string());
    let request = Request::put(session);
    let request = if piece.is_empty() {
        request.header("Content-Range", ["bytes */", &length].concat())
    } else {
        let last = (at + piece.len() as u64 - 1).to_string();
        let range = ["bytes ", &from, "-", &last, "/", &length].concat();
        request.header("Content-Range", range).body("application/octet-stream", piece).repeat(Repeat::Never)
    };
    let response = request.send()?;
    if response.status == 308 {
        return Ok(Progress::Has(had(&response)));
    }
    let record: Record = response.json()?;
    Ok(Progress::Done(Box::new(record.file())))
}

/// How many bytes Drive says it has: `Range: bytes=0-41` is 42, and none is none.
fn had(response: &Response) -> u64 {
    let last = response.header("range").and_then(|range| range.rsplit('-').next()?.trim().parse::<u64>().ok());
    last.map_or(0, |last| last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wharfage_sdk::base64;
    use wharfage_sdk::testing::replay;

    const SESSION: &str = "{upload}/files?uploadType=resumable&upload_id=s1";

    fn exchange(range: &str, body: Option<&[u8]>, response: Value) -> Value {
        let mut request = json!({"method": "PUT", "url": SESSION, "headers": {"Content-Range": range}});
        if let Some(body) = body {
            request["base64"] = Value::from(base64::encode(body));
        }
        json!({"request": request, "response": response})
    }

    use super::Value;

    fn uploaded(content: &[u8], puts: Vec<Value>, expect: Value) {
        let begin = json!({
            "request": {"method": "POST", "url": format!("{{upload}}/files?supportsAllDrives=true&uploadType=resumable&fields={}", super::FIELDS),
                "json": {"name": "a.bin"}},
            "response": {"status": 200, "headers": {"location": SESSION}}
        });
        let exchanges: Vec<Value> = std::iter::once(begin).chain(puts).collect();
        let fixture = json!({
            "operation": "files.upload",
            "input": {"name": "a.bin", "base64": base64::encode(content), "piece_bytes": 262_144},
            "from": "from-docs", "source": "https://developers.google.com/workspace/drive/api/guides/manage-uploads", "date": "2026-08-12",
            "exchanges": exchanges, "expect": expect
        });
        replay(include_str!("../plugin.toml"), crate::OPERATIONS, &fixture.to_string());
    }

    fn done() -> Value {
        json!({"status": 200, "json": {"id": "f", "name": "a.bin"}})
    }

    fn file() -> Value {
        json!({"output": {"id": "f", "name": "a.bin", "mime_type": null, "size_bytes": null, "md5": null, "created": null,
            "modified": null, "trashed": false, "folder": null, "drive": null, "link": null, "version": null}})
    }

    #[test]
    fn the_next_piece_begins_where_drive_says() {
        let content: Vec<u8> = (0..600_000u32).map(|at| at as u8).collect();
        let more = |last: u32| json!({"status": 308, "headers": {"range": format!("bytes=0-{last}")}});
        uploaded(
            &content,
            vec![
                exchange("bytes 0-262143/600000", Some(&content[..262_144]), more(262_143)),
                // Less was kept than was sent.
                exchange("bytes 262144-524287/600000", Some(&content[262_144..524_288]), more(299_999)),
                exchange("bytes 300000-562143/600000", Some(&content[300_000..562_144]), more(562_143)),
                exchange("bytes 562144-599999/600000", Some(&content[562_144..]), done()),
            ],
            file(),
        );
    }

    /// S22: what was lost is not sent again on a guess.
    #[test]
    fn guide_s22_a_lost_answer_is_asked_about_before_anything_is_sent_again() {
        let content = b"hello".to_vec();
        let lost = json!({"status": 503, "text": "away"});
        let put = exchange("bytes 0-4/5", Some(&content), lost);
        // It had arrived after all.
        uploaded(&content, vec![put, exchange("bytes */5", None, done())], file());
    }

    #[test]
    fn what_drive_has_after_trouble_is_not_sent_again() {
        let content: Vec<u8> = (0..600_000u32).map(|at| at as u8).collect();
        let away = || json!({"status": 503, "text": "away"});
        let has = |last: u32| json!({"status": 308, "headers": {"range": format!("bytes=0-{last}")}});
        uploaded(
            &content,
            vec![
                exchange("bytes 0-262143/600000", Some(&content[..262_144]), away()),
                exchange("bytes */600000", None, has(199_999)),
                exchange("bytes 200000-462143/600000", Some(&content[200_000..462_144]), has(462_143)),
                exchange("bytes 462144-599999/600000", Some(&content[462_144..]), away()),
                exchange("bytes */600000", None, done()),
            ],
            file(),
        );
    }

    /// Where nobody knows whether the last piece made the file, another session could make another file.
    #[test]
    fn what_may_be_made_already_is_not_begun_again() {
        let content = b"hello".to_vec();
        for end in [json!({"status": 404}), json!({"status": 410})] {
            let puts = vec![
                exchange("bytes 0-4/5", Some(&content), json!({"status": 503, "text": "away"})),
                exchange("bytes */5", None, end),
            ];
            uploaded(&content, puts, json!({"error": {"kind": "outcome-unknown"}}));
        }
    }

    #[test]
    fn an_upload_that_does_not_come_forward_ends() {
        let content = b"hello".to_vec();
        let puts = (0..5).map(|_| exchange("bytes 0-4/5", Some(&content), json!({"status": 308}))).collect();
        uploaded(&content, puts, json!({"error": {"kind": "transient"}}));
    }

    /// What went wrong: a URL in an answer was followed wherever it led, with the credential (the guide's S34).
    #[test]
    fn guide_s34_a_session_elsewhere_gets_neither_content_nor_credential() {
        for session in ["https://upload.attacker.example/files?upload_id=1", "//attacker.example/files?upload_id=1"] {
            let begin = json!({
                "request": {"method": "POST", "url": format!("{{upload}}/files?supportsAllDrives=true&uploadType=resumable&fields={}", super::FIELDS),
                    "json": {"name": "a"}},
                "response": {"status": 200, "headers": {"location": session}}
            });
            let fixture = json!({
                "operation": "files.upload", "input": {"name": "a", "text": "a"},
                "from": "from-docs", "source": "an attacker's behaviour", "date": "2026-11-24",
                "exchanges": [begin], "expect": {"error": {"kind": "policy-denied", "detail": "kept-url"}}
            });
            replay(include_str!("../plugin.toml"), crate::OPERATIONS, &fixture.to_string());
        }
    }

    #[test]
    fn an_empty_file_is_a_file() {
        uploaded(b"", vec![exchange("bytes */0", None, done())], file());
    }
}
