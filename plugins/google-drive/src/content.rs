//! The content of files: read in pieces, written into a file of the caller's, or exported in another format.
//!
//! A piece is taken off the stream of the file, and what lies before it is passed over: the host lets no `Range` go with a
//! credential, for a plugin could otherwise have an echoed one come in parts. So pieces are large, and most files are one.
//! A stream that breaks is opened again. A file may be replaced while it is read; what then came together would be no file at
//! all. So the first page notes the checksum, and the last one looks whether it still is the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::http::segment;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, base64};

use crate::md5::Md5;
use crate::{Form, files};

/// Which file, and how.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DownloadInput {
    /// The file's id.
    id: String,
    /// How a piece is written: `base64`, or `text` for what is UTF-8; then no piece ends within a character.
    #[serde(default)]
    form: Form,
    /// The byte to begin with.
    #[serde(default)]
    offset: u64,
    /// A file that the caller takes, by its name there: all of the content goes into it, in one reading, and none into the
    /// answer.
    #[serde(default)]
    file: Option<String>,
    /// Bytes of one piece, at most.
    #[serde(default = "piece")]
    #[schemars(range(min = 1024, max = 8_388_608))]
    piece_bytes: u32,
}

/// Which document, and as what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportInput {
    /// The document's id.
    id: String,
    /// The format: `text/plain`, `text/markdown`, `application/pdf`, `text/csv` (the first sheet), or Office's
    /// `application/vnd.openxmlformats-officedocument.…`.
    #[serde(default = "plain_text")]
    mime_type: String,
}

/// A piece of a file.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Piece {
    /// Where in the file it begins.
    offset: u64,
    /// How many bytes it has.
    bytes: u64,
    /// How many bytes the whole file has.
    total_bytes: u64,
    /// The MD5 of the whole file.
    md5: Option<String>,
    /// Its content, where text was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Its content as Base64, where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// A document in another format.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Export {
    /// The format.
    mime_type: String,
    /// How many bytes it has.
    bytes: u64,
    /// The content, where the format is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The content as Base64, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// How far a file is read, and which state of it.
#[derive(Deserialize, Serialize)]
struct Place {
    #[serde(rename = "o")]
    offset: u64,
    #[serde(rename = "t")]
    total: u64,
    #[serde(rename = "m")]
    md5: Option<String>,
}

/// How often a stream that broke is opened again.
const TROUBLES_MAX: u32 = 3;

/// Bytes that are taken off a stream at once.
const READ_BYTES: u32 = 256 << 10;

fn piece() -> u32 {
    4 << 20
}

fn plain_text() -> String {
    "text/plain".to_owned()
}

pub(crate) fn download(input: DownloadInput, cursor: Option<Cursor>) -> Result<Page<Piece>, Error> {
    let is_first = cursor.is_none();
    let place = match cursor {
        Some(cursor) => cursor.decode()?,
        None => state_of(&input.id, input.offset)?,
    };
    let Place { offset, total, md5 } = place;
    if offset > total {
        return Err(Error::invalid_request("/offset", "expected a place within the file"));
    }
    if let Some(file) = &input.file {
        save(&input.id, offset, total, md5.as_deref(), file)?;
        is_still(&input.id, md5.as_deref())?;
        let (text, base64) = (None, None);
        return Page::new(
            vec![Piece { offset, bytes: total - offset, total_bytes: total, md5, text, base64 }],
            None::<&Place>,
        );
    }
    let end = total.min(offset.saturating_add(u64::from(input.piece_bytes.clamp(1024, 8 << 20))));
    let mut bytes = if offset == end { Vec::new() } else { range(&input.id, offset, end, total)? };
    if input.form == Form::Text {
        let valid = match std::str::from_utf8(&bytes) {
            Ok(_) => bytes.len(),
            // A character that goes on in the next piece.
            Err(error) if error.error_len().is_none() && end < total => error.valid_up_to(),
            Err(_) => {
                let message = "the file is not UTF-8 text: ask for `base64`";
                return Err(Error::invalid_request("/form", message));
            }
        };
        bytes.truncate(valid);
    }
    let length = bytes.len() as u64;
    let next = (offset + length < total).then(|| Place { offset: offset + length, total, md5: md5.clone() });
    if next.is_none() && !is_first {
        is_still(&input.id, md5.as_deref())?;
    }
    let (text, base64) = written(bytes, input.form == Form::Text);
    Page::new(vec![Piece { offset, bytes: length, total_bytes: total, md5, text, base64 }], next.as_ref())
}

pub(crate) fn export(input: ExportInput) -> Result<Export, Error> {
    let mut url = "{api}/files/".to_owned();
    url.extend([&segment("/id", &input.id)?, "/export"]);
    let response = Request::get(url).query("mimeType", &input.mime_type).send()?;
    // Anything else is no export, but a page of somebody in between.
    let answered = response.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !answered.trim().eq_ignore_ascii_case(&input.mime_type) {
        return Err(response.error(ErrorKind::SchemaViolation, "the answer is of another type than was asked for"));
    }
    let bytes = response.body;
    let length = bytes.len() as u64;
    let is_text = input.mime_type.starts_with("text/") && std::str::from_utf8(&bytes).is_ok();
    let (text, base64) = written(bytes, is_text);
    Ok(Export { mime_type: input.mime_type, bytes: length, text, base64 })
}

/// Refuses what was put together from two states of a file.
fn is_still(id: &str, md5: Option<&str>) -> Result<(), Error> {
    if state_of(id, 0)?.md5.as_deref() == md5 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "the file was replaced while it was read: begin again"))
}

/// What is downloaded: how long it is, and its checksum.
fn state_of(id: &str, offset: u64) -> Result<Place, Error> {
    let request = files::request(Request::get, id)?.query("fields", files::FIELDS);
    let response = request.send()?;
    let file = response.json::<files::Record>()?.file();
    match file.size_bytes.filter(|_| file.md5.is_some()) {
        Some(total) => Ok(Place { offset, total, md5: file.md5 }),
        None => {
            let message = "it has no bytes of its own, as folders and Google's own documents: see files.export";
            Err(Error::invalid_request("/id", message))
        }
    }
}

/// These bytes of a file, exactly.
fn range(id: &str, offset: u64, end: u64, total: u64) -> Result<Vec<u8>, Error> {
    again(|| {
        let (mut at, mut bytes) = (offset, Vec::new());
        stream(id, &mut at, end, total, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    })
}

/// The file from `offset` on into one of the caller's, where nothing can be taken back: after trouble it goes on where it was,
/// and the checksum says whether it is the file.
fn save(id: &str, offset: u64, total: u64, md5: Option<&str>, file: &str) -> Result<(), Error> {
    let (mut at, mut sum) = (offset, Md5::default());
    again(|| {
        stream(id, &mut at, total, total, &mut |piece| {
            sum.add(piece);
            wharfage_sdk::files::write(file, piece)
        })
    })?;
    if offset == 0 && md5.is_some_and(|md5| sum.hex() != md5) {
        let message = "what came is not what Drive's checksum says: read it again";
        return Err(Error::new(ErrorKind::Transient, message));
    }
    Ok(())
}

/// Tries so often what may pass.
fn again<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut troubles = 0;
    loop {
        match attempt() {
            Err(error) if troubles < TROUBLES_MAX && error.may_retry() => troubles += 1,
            outcome => return outcome,
        }
    }
}

/// Who takes the bytes.
type Keep<'a> = dyn FnMut(&[u8]) -> Result<(), Error> + 'a;

fn stream(id: &str, at: &mut u64, end: u64, total: u64, keep: &mut Keep<'_>) -> Result<(), Error> {
    // A download costs more than the metadata at the same path, which is all that a budget can see.
    let request =
        files::request(Request::get, id)?.query("alt", "media").cost("drive-project", 200).cost("drive-user", 200);
    let mut stream = request.open()?;
    let mut passed = 0;
    while passed < end {
        let to = if passed < *at { *at } else { end };
        let piece = stream.read(u32::try_from(to - passed).unwrap_or(u32::MAX).min(READ_BYTES))?;
        if piece.is_empty() {
            return Err(stream.error(ErrorKind::SchemaViolation, "the file is shorter than Drive says"));
        }
        let length = piece.len() as u64;
        if passed >= *at {
            keep(&piece)?;
            *at += length;
        }
        passed += length;
    }
    if end == total && !stream.read(1)?.is_empty() {
        return Err(stream.error(ErrorKind::SchemaViolation, "the file is longer than Drive says"));
    }
    Ok(())
}

fn written(bytes: Vec<u8>, is_text: bool) -> (Option<String>, Option<String>) {
    if is_text {
        return (String::from_utf8(bytes).ok(), None);
    }
    (None, Some(base64::encode(&bytes)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wharfage_sdk::testing::with_exchanges;

    use super::*;

    const STATE: &str = "{api}/files/f?supportsAllDrives=true&fields=id,name,mimeType,size,md5Checksum,createdTime,modifiedTime,trashed,parents,driveId,webViewLink,version";

    fn state(md5: &str, size: u64) -> serde_json::Value {
        json!({"request": {"method": "GET", "url": STATE},
            "response": {"status": 200, "json": {"id": "f", "size": size.to_string(), "md5Checksum": md5}}})
    }

    fn bytes(content: &[u8]) -> serde_json::Value {
        json!({"request": {"method": "GET", "url": "{api}/files/f?supportsAllDrives=true&alt=media"},
            "response": {"status": 200, "base64": base64::encode(content)}})
    }

    fn input() -> DownloadInput {
        DownloadInput { id: "f".into(), form: Form::Text, offset: 0, file: None, piece_bytes: 1024 }
    }

    #[test]
    fn no_piece_of_text_ends_within_a_character() {
        let whole = "a".repeat(1023) + "é!";
        let exchanges = json!([state("m", 1026), bytes(whole.as_bytes())]);
        let page = with_exchanges(&exchanges.to_string(), || download(input(), None)).unwrap();
        assert_eq!((page.items[0].bytes, page.items[0].text.as_deref()), (1023, Some(&*"a".repeat(1023))));
        let rest = json!([bytes(whole.as_bytes()), state("m", 1026)]);
        let page = with_exchanges(&rest.to_string(), || download(input(), page.next)).unwrap();
        assert_eq!((page.items[0].text.as_deref(), page.next), (Some("é!"), None));
    }

    #[test]
    fn a_file_of_another_length_is_no_file() {
        for content in ["a", "abc"] {
            let exchanges = json!([state("m", 2), bytes(content.as_bytes())]);
            let error = with_exchanges(&exchanges.to_string(), || download(input(), None)).err().unwrap();
            assert_eq!(error.kind, ErrorKind::SchemaViolation);
        }
    }

    #[test]
    fn a_file_that_was_replaced_meanwhile_is_told() {
        let place = Cursor::encode(&Place { offset: 1024, total: 1026, md5: Some("m".into()) }).unwrap();
        let exchanges = json!([bytes("a".repeat(1026).as_bytes()), state("other", 1026)]);
        let error = with_exchanges(&exchanges.to_string(), || download(input(), Some(place))).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Conflict);
    }
}
