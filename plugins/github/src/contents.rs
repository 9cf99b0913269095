//! Files as text, and what folders hold.
//!
//! GitHub writes a file into JSON as Base64, up to a megabyte; of a larger one it says all but the content, which then is
//! asked for as it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Error, Request};

use crate::{JSON, asked, of, path};

/// Which file or folder.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
    /// Where in the repository, as `src/main.rs`; its top where it is left out.
    #[serde(default)]
    path: String,
    /// The branch, tag or commit; the default branch where it is left out.
    #[serde(default)]
    at: Option<String>,
}

/// A file, a folder, or something that stands for one.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Content {
    /// Where it is in the repository.
    path: String,
    /// `file`, `dir`, `symlink` or `submodule`.
    kind: String,
    /// How large the file is.
    size_bytes: u64,
    /// The hash of what it holds, as Git makes it.
    sha: Option<String>,
    /// The file's text; none where it is no text, or no file.
    text: Option<String>,
    /// What the folder holds; none where it is none. GitHub lists at most 1000.
    entries: Option<Vec<Entry>>,
    /// Where a person sees it.
    url: Option<String>,
}

/// Something in a folder.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Entry {
    /// Where it is in the repository.
    path: String,
    /// `file`, `dir`, `symlink` or `submodule`.
    #[serde(rename(deserialize = "type"))]
    kind: String,
    /// How large it is; 0 for a folder.
    #[serde(default, rename(deserialize = "size"))]
    size_bytes: u64,
}

#[derive(Deserialize)]
struct Record {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    encoding: Option<String>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
}

pub(crate) fn find(input: FindInput) -> Result<Content, Error> {
    let place = input.path.trim_matches('/');
    let below = if place.is_empty() { "/".to_owned() } else { path("/path", place)? };
    let url = of("{api}", &input.repository, &["/contents", &below].concat())?;
    let ask = |accept| asked(Request::get(url.as_str()).query_some("ref", input.at.as_deref()), accept).send();
    let response = ask(JSON)?;
    if response.body.trim_ascii_start().starts_with(b"[") {
        let entries: Vec<Entry> = response.json()?;
        return Ok(Content {
            path: place.to_owned(),
            kind: "dir".to_owned(),
            size_bytes: 0,
            sha: None,
            text: None,
            entries: Some(entries),
            url: None,
        });
    }
    let record: Record = response.json()?;
    let bytes = match record.encoding.as_deref() {
        Some("base64") => {
            let decoded = decode(record.content.as_deref().unwrap_or_default());
            Some(
                decoded
                    .ok_or_else(|| Error::schema_violation("the file's content is not the Base64 it is said to be"))?,
            )
        }
        // What GitHub says of a file that is too large for JSON.
        Some("none") => Some(ask("application/vnd.github.raw+json")?.body),
        _ => None,
    };
    Ok(Content {
        path: record.path,
        kind: record.kind,
        size_bytes: record.size,
        sha: record.sha,
        text: bytes.and_then(|bytes| String::from_utf8(bytes).ok()),
        entries: None,
        url: record.html_url,
    })
}

/// Base64 (RFC 4648, 4) with line breaks; nothing where it is none.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for letter in text.bytes().filter(|letter| !letter.is_ascii_whitespace()) {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => continue,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_rfc_4648_has_it() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9v\nYmE=\n", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text).unwrap(), bytes.as_bytes(), "{text}");
        }
        assert_eq!(decode("+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(decode("Zm9v-"), None);
    }
}
