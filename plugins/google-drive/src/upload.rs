//! Uploads in a resumable session.
//!
//! A session is asked for, and nothing exists yet. Then the content goes up in pieces; the last one makes the file. What Drive
//! answers to a piece says how much it has, and the next one begins there. When an answer is lost, Drive is asked how much it
//! has instead of guessing. So a file is made once, whatever breaks on the way.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use wharfage_sdk::http::Repeat;
use wharfage_sdk::{Error, ErrorKind, Request, Response};

use crate::files::{FIELDS, File, Record};
use crate::{base64, on_file};

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
const UNIT: usize = 256 << 10;

/// How often in one upload an answer may be lost or bring nothing forward.
const TROUBLES_MAX: u32 = 4;

fn piece() -> u32 {
    4 << 20
}

/// How far an upload is.
enum Progress {
    /// Drive has so many bytes.
    Has(usize),
    /// The file is there.
    Done(Box<File>),
}

pub(crate) fn upload(input: Input) -> Result<File, Error> {
    let content = content(&input)?;
    let session = begin(&input, content.len())?;
    let piece = (input.piece_bytes as usize / UNIT).clamp(1, 32) * UNIT;
    let (mut at, mut troubles) = (0, 0);
    loop {
        let end = content.len().min(at + piece);
        let progress = match send(&session, &content[at..end], at, content.len()) {
            Ok(progress) => progress,
            Err(error) if troubles < TROUBLES_MAX && (error.may_retry() || error.kind == ErrorKind::OutcomeUnknown) => {
                send(&session, &[], content.len(), content.len())?
            }
            Err(error) => return Err(error),
        };
        match progress {
            Progress::Done(file) => return Ok(*file),
            Progress::Has(now) if now > content.len() => {
                return Err(Error::schema_violation("Drive says that it has more bytes than there are"));
            }
            Progress::Has(now) => {
                troubles += u32::from(now <= at);
                at = now;
            }
        }
        if troubles > TROUBLES_MAX {
            return Err(Error::new(ErrorKind::Transient, "the upload does not come forward: nothing was made"));
        }
    }
}

fn content(input: &Input) -> Result<Vec<u8>, Error> {
    match (&input.text, &input.base64) {
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(encoded)) => base64::decoded(encoded)
            .ok_or_else(|| Error::invalid_request("/base64", "expected Base64 with + and /, padded")),
        _ => Err(Error::invalid_request("", "expected either `text` or `base64`")),
    }
}

/// Asks for a session; its URL.
fn begin(input: &Input, length: usize) -> Result<String, Error> {
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
    let Some(session) = response.header("location") else {
        return Err(response.error(ErrorKind::SchemaViolation, "Drive opened no session for the upload"));
    };
    // The content and the credential go where the session was asked for, and nowhere else.
    let place = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
    if place(session) != place(&response.url) {
        let rule = ErrorKind::PolicyDenied("session-in-origin".to_owned());
        return Err(response.error(rule, "the session for the upload is said to be somewhere else"));
    }
    Ok(session.to_owned())
}

/// Sends a piece. An empty one where something should be asks how much Drive has.
fn send(session: &str, piece: &[u8], at: usize, total: usize) -> Result<Progress, Error> {
    let (from, length) = (at.to_string(), total.to_string());
    let request = Request::put(session);
    let request = if piece.is_empty() {
        request.header("Content-Range", ["bytes */", &length].concat())
    } else {
        let last = (at + piece.len() - 1).to_string();
        let range = ["bytes ", &from, "-", &last, "/", &length].concat();
        request.header("Content-Range", range).body("application/octet-stream", piece)
    };
    let response = request.send()?;
    if response.status == 308 {
        return Ok(Progress::Has(had(&response)));
    }
    let record: Record = response.json()?;
    Ok(Progress::Done(Box::new(record.file())))
}

/// How many bytes Drive says it has: `Range: bytes=0-41` is 42, and none is none.
fn had(response: &Response) -> usize {
    let last = response.header("range").and_then(|range| range.rsplit('-').next()?.trim().parse::<usize>().ok());
    last.map_or(0, |last| last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wharfage_sdk::testing::replay;

    const SESSION: &str = "{upload}/files?uploadType=resumable&upload_id=s1";

    fn exchange(range: &str, body: Option<&[u8]>, response: Value) -> Value {
        let mut request = json!({"method": "PUT", "url": SESSION, "headers": {"Content-Range": range}});
        if let Some(body) = body {
            request["base64"] = Value::from(super::base64::encoded(body));
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
            "input": {"name": "a.bin", "base64": super::base64::encoded(content), "piece_bytes": 262_144},
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
        let mut puts: Vec<Value> = (0..5).map(|_| exchange("bytes 0-4/5", Some(&content), lost.clone())).collect();
        // It had arrived after all.
        puts.push(exchange("bytes */5", None, done()));
        uploaded(&content, puts, file());
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
        for session in
            ["https://upload.attacker.example/files?upload_id=1", "{upload}/elsewhere?upload_id=1", "{api}/files"]
        {
            let begin = json!({
                "request": {"method": "POST", "url": format!("{{upload}}/files?supportsAllDrives=true&uploadType=resumable&fields={}", super::FIELDS),
                    "json": {"name": "a"}},
                "response": {"status": 200, "headers": {"location": session}}
            });
            let fixture = json!({
                "operation": "files.upload", "input": {"name": "a", "text": "a"},
                "from": "from-docs", "source": "an attacker's behaviour", "date": "2026-11-24",
                "exchanges": [begin], "expect": {"error": {"kind": "policy-denied", "detail": "session-in-origin"}}
            });
            replay(include_str!("../plugin.toml"), crate::OPERATIONS, &fixture.to_string());
        }
    }

    #[test]
    fn an_empty_file_is_a_file() {
        uploaded(b"", vec![exchange("bytes */0", None, done())], file());
    }
}
