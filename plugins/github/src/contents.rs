//! Files as text, and what folders hold.
//!
//! GitHub writes a file into JSON as Base64, up to a megabyte; of a larger one it says all but the content, which then is
//! asked for as it is.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use wharfage_sdk::{Error, Request};

use crate::record::{Picked, at, pick, record};
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

record! {
    /// A file, a folder, or something that stands for one.
    Content {
        /// Where it is in the repository.
        path: String = "path",
        /// `file`, `dir`, `symlink` or `submodule`.
        kind: String = "type",
        /// How large the file is.
        size_bytes: Option<u64> = "size",
        /// The hash of what it holds, as Git makes it.
        sha: Option<String> = "sha",
        /// The file's text; none where it is no text, or no file.
        text: Option<String> = "text",
        /// What the folder holds; none where it is none. GitHub lists at most 1000.
        entries: Option<Vec<Entry>> = "entries",
        /// Where a person sees it.
        url: Option<String> = "html_url",
    }
}

record! {
    /// Something in a folder.
    Entry {
        /// Where it is in the repository.
        path: String = "path",
        /// `file`, `dir`, `symlink` or `submodule`.
        kind: String = "type",
        /// How large it is; 0 for a folder.
        size_bytes: Option<u64> = "size",
    }
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Content>, Error> {
    let place = input.path.trim_matches('/');
    let below = if place.is_empty() { "/".to_owned() } else { path("/path", place)? };
    let url = of("{api}", &input.repository, &["/contents", &below].concat())?;
    let request = Request::get(url).query_some("ref", input.at.as_deref());
    let response = asked(request.clone(), JSON).send()?;
    let mut found: Value = response.json()?;
    if found.is_array() {
        found = json!({"path": place, "type": "dir", "size": 0, "entries": found});
    }
    let bytes = match at(&found, "encoding").as_str() {
        Some("base64") => {
            let decoded = decode(at(&found, "content").as_str().unwrap_or_default());
            Some(
                decoded
                    .ok_or_else(|| Error::schema_violation("the file's content is not the Base64 it is said to be"))?,
            )
        }
        // What GitHub says of a file that is too large for JSON.
        Some("none") => Some(asked(request, "application/vnd.github.raw+json").send()?.body),
        _ => None,
    };
    if let (Some(text), Value::Object(found)) = (bytes.and_then(|bytes| String::from_utf8(bytes).ok()), &mut found) {
        found.insert("text".to_owned(), text.into());
    }
    pick(&response, &found)
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
