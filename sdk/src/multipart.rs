//! Bodies of several parts: `multipart/related` (RFC 2387), as for what describes a file and the file itself, and
//! `multipart/form-data` (RFC 7578), as a browser's form sends files.
//!
//! Small parts are put together whole; a last one may be written piece by piece, so that a file need not be held:
//!
//! ```no_run
//! # fn main() -> Result<(), wharfage_sdk::Error> {
//! use wharfage_sdk::{Request, multipart::Multipart, serde_json::json};
//!
//! let file = b"a,b\n1,2\n";
//! let parts = Multipart::related().json(&json!({"name": "numbers.csv"}))?;
//! let mut upload = parts.start(Request::post("{api}/files"), "text/csv", Some(file.len() as u64))?;
//! upload.write(file)?;
//! let _answer = upload.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! What separates the parts is in none of them: of parts that are there it is made so, and one that is written is watched.

use std::fmt::Write as _;

use serde::Serialize;

use crate::stream::Upload;
use crate::{Error, Request, Response, json};

/// A body of several parts, built step by step.
#[derive(Clone, Debug)]
#[must_use = "parts do nothing until they are sent"]
pub struct Multipart {
    is_form: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    /// The header fields with the empty line that ends them.
    head: String,
    content: Vec<u8>,
}

/// The last part of a body, written piece by piece.
#[derive(Debug)]
pub struct MultipartUpload {
    upload: Upload,
    boundary: String,
    /// The end of what was written, in which the boundary may have begun.
    end: Vec<u8>,
}

impl Multipart {
    /// Parts that belong together; the first says what the others are.
    pub fn related() -> Self {
        Self { is_form: false, parts: Vec::new() }
    }

    /// The fields of a form.
    pub fn form() -> Self {
        Self { is_form: true, parts: Vec::new() }
    }

    /// Adds a part of JSON.
    ///
    /// # Errors
    /// `internal` when `value` has no JSON form.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Error> {
        let text = json::to_text(&value)?;
        Ok(self.part("application/json; charset=UTF-8", text))
    }

    /// Adds a part of this type.
    pub fn part(self, content_type: &str, content: impl Into<Vec<u8>>) -> Self {
        self.add(head(None, Some(content_type)), content.into())
    }

    /// Adds a field of a form with a text.
    pub fn field(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.add(head(Some((name, None)), None), value.into())
    }

    /// Adds a field of a form with a file.
    pub fn file(self, name: &str, file_name: &str, content_type: &str, content: impl Into<Vec<u8>>) -> Self {
        self.add(head(Some((name, Some(file_name))), Some(content_type)), content.into())
    }

    fn add(mut self, head: String, content: Vec<u8>) -> Self {
        self.parts.push(Part { head, content });
        self
    }

    /// The request with all parts as its body.
    pub fn body(self, request: Request) -> Request {
        let boundary = self.boundary();
        let mut body = self.before(&boundary);
        body.extend_from_slice(closing(&boundary).as_bytes());
        request.body(&self.content_type(&boundary), body)
    }

    /// Begins the request with the parts so far; the content of one more part, of this type, is written piece by piece.
    /// `length` is that part's, if it is known.
    ///
    /// # Errors
    /// As [`Request::start`].
    pub fn start(self, request: Request, content_type: &str, length: Option<u64>) -> Result<MultipartUpload, Error> {
        self.start_after(request, &head(None, Some(content_type)), length)
    }

    /// Like [`start`](Self::start), where the part that is written is a field of a form with a file.
    ///
    /// # Errors
    /// As [`Request::start`].
    pub fn start_file(
        self,
        request: Request,
        (name, file_name): (&str, &str),
        content_type: &str,
        length: Option<u64>,
    ) -> Result<MultipartUpload, Error> {
        self.start_after(request, &head(Some((name, Some(file_name))), Some(content_type)), length)
    }

    fn start_after(self, request: Request, head: &str, length: Option<u64>) -> Result<MultipartUpload, Error> {
        let boundary = self.boundary();
        let mut before = self.before(&boundary);
        before.extend_from_slice(format!("--{boundary}\r\n{head}").as_bytes());
        let around = (before.len() + closing(&boundary).len() + "\r\n".len()) as u64;
        let request = request.header("Content-Type", self.content_type(&boundary));
        let mut upload = request.start(length.map(|length| length.saturating_add(around)))?;
        upload.write(&before)?;
        Ok(MultipartUpload { upload, boundary, end: Vec::new() })
    }

    /// All parts, each led by the boundary.
    fn before(&self, boundary: &str) -> Vec<u8> {
        let mut body = Vec::new();
        for part in &self.parts {
            body.extend_from_slice(format!("--{boundary}\r\n{}", part.head).as_bytes());
            body.extend_from_slice(&part.content);
            body.extend_from_slice(b"\r\n");
        }
        body
    }

    /// A boundary that no part holds, the same for the same parts.
    fn boundary(&self) -> String {
        let mut hash = Fnv::default();
        for part in &self.parts {
            hash.add(part.head.as_bytes());
            hash.add(&part.content);
        }
        let mut boundary = format!("part-{:016x}", hash.0);
        while self.parts.iter().any(|part| holds(&part.content, &boundary)) {
            hash.add(b"again");
            boundary = format!("part-{:016x}", hash.0);
        }
        boundary
    }

    fn content_type(&self, boundary: &str) -> String {
        let kind = if self.is_form { "form-data" } else { "related" };
        format!("multipart/{kind}; boundary={boundary}")
    }
}

impl MultipartUpload {
    /// Writes all of these bytes of the part, and waits while the provider takes no more.
    ///
    /// # Errors
    /// As [`Upload::write`], and `invalid-request` when the part holds what would end it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let kept = self.boundary.len() - 1;
        let first = bytes.get(..kept).unwrap_or(bytes);
        self.end.extend_from_slice(first);
        if holds(&self.end, &self.boundary) || holds(bytes, &self.boundary) {
            return Err(Error::invalid_request("", "the file holds what separates the parts of the body"));
        }
        if bytes.len() >= kept {
            self.end = bytes[bytes.len() - kept..].to_vec();
        } else {
            self.end.drain(..self.end.len().saturating_sub(kept));
        }
        self.upload.write(bytes)
    }

    /// Ends the part and the body, and waits for an answer with a status below 400.
    ///
    /// # Errors
    /// As [`Upload::finish`].
    pub fn finish(mut self) -> Result<Response, Error> {
        self.upload.write(format!("\r\n{}", closing(&self.boundary)).as_bytes())?;
        self.upload.finish()
    }
}

fn closing(boundary: &str) -> String {
    format!("--{boundary}--\r\n")
}

fn head(field: Option<(&str, Option<&str>)>, content_type: Option<&str>) -> String {
    let mut head = String::new();
    if let Some((name, file_name)) = field {
        _ = write!(head, "Content-Disposition: form-data; name=\"{}\"", quoted(name));
        if let Some(file_name) = file_name {
            _ = write!(head, "; filename=\"{}\"", quoted(file_name));
        }
        head.push_str("\r\n");
    }
    if let Some(content_type) = content_type {
        // A type is no place for another field.
        let content_type: String = content_type.chars().filter(|c| !c.is_control()).collect();
        _ = write!(head, "Content-Type: {content_type}\r\n");
    }
    head + "\r\n"
}

/// As browsers write names (WHATWG HTML, "multipart/form-data"), so that none ends its quotation.
fn quoted(name: &str) -> String {
    name.replace('\r', "%0D").replace('\n', "%0A").replace('"', "%22")
}

fn holds(content: &[u8], boundary: &str) -> bool {
    content.windows(boundary.len()).any(|window| window == boundary.as_bytes())
}

/// The hash of Fowler, Noll and Vo: the same everywhere, so that a fixture can hold what was sent.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::with_exchanges;

    fn sent(parts: Multipart) -> (String, String) {
        let request = parts.body(Request::post("{api}/x")).into_wire();
        let content_type = request.headers.iter().find(|header| header.name == "Content-Type").unwrap();
        (content_type.value.clone(), String::from_utf8(request.body.unwrap()).unwrap())
    }

    #[test]
    fn related_parts_are_as_the_standard_says() {
        let (content_type, body) =
            sent(Multipart::related().json(&json!({"name": "a"})).unwrap().part("text/csv", "1,2"));
        let boundary = content_type.strip_prefix("multipart/related; boundary=").unwrap();
        assert_eq!(
            body,
            format!(
                "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{{\"name\":\"a\"}}\r\n\
                 --{boundary}\r\nContent-Type: text/csv\r\n\r\n1,2\r\n--{boundary}--\r\n"
            )
        );
    }

    #[test]
    fn a_name_cannot_leave_its_quotation() {
        let (content_type, body) =
            sent(Multipart::form().field("a\"; b=\"\r\nX: y", "1").file("f", "ü \".txt", "text/plain\r\nX: y", "2"));
        assert!(content_type.starts_with("multipart/form-data; boundary="));
        assert!(body.contains("form-data; name=\"a%22; b=%22%0D%0AX: y\"\r\n\r\n1\r\n"), "{body}");
        assert!(body.contains("name=\"f\"; filename=\"ü %22.txt\"\r\nContent-Type: text/plainX: y\r\n\r\n2"), "{body}");
    }

    #[test]
    fn the_boundary_is_in_no_part() {
        let mut content = String::from("x");
        for _ in 0..3 {
            let parts = Multipart::related().part("text/plain", content.clone());
            let boundary = parts.boundary();
            assert!(!content.contains(&boundary));
            content.push_str(&boundary);
        }
    }

    /// The stated length is that of all, or the fixture's host would refuse.
    #[test]
    fn a_file_is_written_piece_by_piece() {
        let parts = || Multipart::related().json(&json!({"name": "a"})).unwrap();
        let boundary = parts().boundary();
        let whole = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{{\"name\":\"a\"}}\r\n\
             --{boundary}\r\nContent-Type: text/csv\r\n\r\n1,2,3\r\n--{boundary}--\r\n"
        );
        let exchange =
            json!({"request": {"method": "POST", "url": "{api}/x", "text": whole}, "response": {"status": 200}});
        let exchanges = json!([exchange, exchange]).to_string();
        with_exchanges(&exchanges, || {
            for length in [Some(5), None] {
                let mut upload = parts().start(Request::post("{api}/x"), "text/csv", length).unwrap();
                for piece in ["1", ",2", "", ",3"] {
                    upload.write(piece.as_bytes()).unwrap();
                }
                upload.finish().unwrap();
            }
            let mut upload = parts().start(Request::post("{api}/x"), "text/csv", Some(9)).unwrap();
            upload.write(b"short").unwrap();
            assert_eq!(upload.finish().unwrap_err().kind.name(), "invalid-request");
        });
    }

    proptest! {
        /// However it is cut, a part that holds the boundary is refused before it is written, and another is not.
        #[test]
        fn a_written_part_is_watched(
            (before, after) in ("[part0-9-]{0,30}", "[part0-9-]{0,30}"),
            cuts in prop::collection::vec(1_usize..30, 1..12),
            (is_held, without) in (any::<bool>(), 1_usize..20),
        ) {
            let boundary = Multipart::form().boundary();
            let inside = if is_held { &boundary[..] } else { &boundary[..boundary.len() - without] };
            let text = format!("{before}{inside}!{after}");
            let mut upload = Multipart::form()
                .start_file(Request::post("{api}/x"), ("f", "a.txt"), "text/plain", None)
                .unwrap();
            let mut rest = text.as_bytes();
            let mut result = Ok(());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || result.is_err() {
                    break;
                }
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                result = upload.write(piece);
                rest = left;
            }
            prop_assert_eq!(result.is_err(), text.contains(&boundary));
        }
    }
}
