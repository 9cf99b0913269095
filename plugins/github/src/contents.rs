//! Files as text, and what folders hold.
//!
//! GitHub writes a file into JSON as Base64, up to a megabyte; of a larger one it says all but the content, which then is
//! asked for as it is.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use wharfage_sdk::{Error, Request, base64};

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
            // With line breaks, as in a mail.
            let decoded = base64::decode_forgiving(at(&found, "content").as_str().unwrap_or_default());
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
