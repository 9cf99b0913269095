//! What a message says, out of its MIME tree: the plain text if there is one, else the words of the HTML.
//!
//! Gmail has taken the tree apart and decoded the transfer encodings; texts come as UTF-8 in Base64. The tree is somebody
//! else's work: it may be deep, empty or lie about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::base64;

/// A node of the tree.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Part {
    pub(crate) mime_type: String,
    pub(crate) filename: String,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Content,
    pub(crate) parts: Vec<Part>,
}

/// A header field.
#[derive(Deserialize)]
pub(crate) struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

/// What a node holds.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Content {
    data: Option<String>,
    attachment_id: Option<String>,
    size: u64,
}

/// Where a text comes from.
#[derive(Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The message has a plain text.
    Plain,
    /// It has HTML only; these are its words.
    Html,
    /// It has no text.
    None,
}

/// An attachment.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Attachment {
    /// The file's name, as the sender gave it.
    name: String,
    /// The type, as the sender gave it.
    mime_type: String,
    /// How large it is.
    size_bytes: u64,
    /// Gmail's id of it; a new one each time the message is read.
    id: Option<String>,
}

/// How deep a tree is followed.
const DEPTH_MAX: usize = 20;

impl Part {
    /// The value of a header field, its name compared without regard to case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.as_str()).filter(|value| !value.is_empty())
    }

    /// What it says.
    pub(crate) fn text(&self) -> (String, Source) {
        let plain = self.of_kind("text/plain");
        if !plain.trim().is_empty() {
            return (plain, Source::Plain);
        }
        match words(&self.html()) {
            words if words.is_empty() => (String::new(), Source::None),
            words => (words, Source::Html),
        }
    }

    /// Its HTML, as the sender wrote it.
    pub(crate) fn html(&self) -> String {
        self.of_kind("text/html")
    }

    fn of_kind(&self, kind: &str) -> String {
        let mut texts = Vec::new();
        self.texts(kind, 0, &mut texts);
        texts.join("\n")
    }

    fn texts(&self, kind: &str, depth: usize, texts: &mut Vec<String>) {
        if self.mime_type.eq_ignore_ascii_case(kind) && self.filename.is_empty() {
            let bytes = self.body.data.as_deref().and_then(base64::decode_forgiving);
            texts.extend(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        }
        if depth < DEPTH_MAX {
            self.parts.iter().for_each(|part| part.texts(kind, depth + 1, texts));
        }
    }

    /// The files that came along.
    pub(crate) fn attachments(&self) -> Vec<Attachment> {
        let mut attachments = Vec::new();
        self.collect(0, &mut attachments);
        attachments
    }

    fn collect(&self, depth: usize, attachments: &mut Vec<Attachment>) {
        if !self.filename.is_empty() {
            attachments.push(Attachment {
                name: self.filename.clone(),
                mime_type: self.mime_type.clone(),
                size_bytes: self.body.size,
                id: self.body.attachment_id.clone(),
            });
        }
        if depth < DEPTH_MAX {
            self.parts.iter().for_each(|part| part.collect(depth + 1, attachments));
        }
    }
}

/// The words of HTML, for reading and not for showing as HTML: tags are dropped, what they separate stays apart.
fn words(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let tag = rest[1..].trim_start_matches('/');
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let end = match name.as_str() {
            // What stands in these is for machines.
            "style" | "script" | "head" | "title" if !rest.starts_with("</") => end_of(rest, &name),
            _ if rest.starts_with("<!--") => rest.find("-->").map(|at| at + 3),
            _ => rest.find('>').map(|at| at + 1),
        };
        if matches!(name.as_str(), "br" | "p" | "div" | "tr" | "li" | "h1" | "h2" | "h3" | "table") {
            text.push('\n');
        } else if matches!(name.as_str(), "td" | "th") {
            text.push(' ');
        }
        rest = end.and_then(|end| rest.get(end..)).unwrap_or_default();
    }
    text.push_str(rest);
    tidy(&unescaped(&text))
}

/// Where the element that begins here ends.
fn end_of(rest: &str, name: &str) -> Option<usize> {
    let close = ["</", name].concat();
    let at = rest.as_bytes().windows(close.len()).position(|part| part.eq_ignore_ascii_case(close.as_bytes()))?;
    Some(at + rest.get(at..)?.find('>')? + 1)
}

fn unescaped(text: &str) -> String {
    const NAMED: [(&str, char); 6] =
        [("nbsp;", ' '), ("lt;", '<'), ("gt;", '>'), ("quot;", '"'), ("apos;", '\''), ("amp;", '&')];
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let named = NAMED.iter().find(|(name, _)| after.starts_with(name)).map(|(name, c)| (*c, name.len()));
        match named.or_else(|| numbered(after)) {
            Some((letter, length)) => {
                out.push(letter);
                rest = &after[length..];
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// `#39;` or `#x27;`, and how long it is.
fn numbered(after: &str) -> Option<(char, usize)> {
    let end = after.bytes().take(10).position(|byte| byte == b';')?;
    let digits = after.get(..end)?.strip_prefix('#')?;
    let code = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some((char::from_u32(code)?, end + 1))
}

/// One space where there were several, and no more than one empty line.
fn tidy(text: &str) -> String {
    let mut out = String::new();
    let mut empty = 0;
    for line in text.lines() {
        let line: Vec<&str> = line.split_whitespace().collect();
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            out.push_str(&line.join(" "));
            out.push('\n');
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(json: &str) -> Part {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn plain_text_is_preferred_and_files_are_no_text() {
        let plain = base64::encode_url("Grüße".as_bytes());
        let message = part(&format!(
            r#"{{"mimeType": "multipart/mixed", "parts": [
                {{"mimeType": "multipart/alternative", "parts": [
                    {{"mimeType": "text/plain", "body": {{"data": "{plain}"}}}}, {{"mimeType": "text/html", "body": {{"data": "PGI-"}}}}]}},
                {{"mimeType": "text/plain", "filename": "notes.txt", "body": {{"attachmentId": "a1", "size": 3}}}}]}}"#
        ));
        let (text, source) = message.text();
        assert!(text == "Grüße" && source == Source::Plain);
        let files = message.attachments();
        assert!(files.len() == 1 && files[0].name == "notes.txt" && files[0].size_bytes == 3);
    }

    #[test]
    fn html_is_read_by_its_words() {
        let html = "<html><head><style>p{}</style></head><body><p>Tom &amp; Ann&#39;s&nbsp;plan</p><!-- x > y --><div>2 &lt; 3</div><br></body>";
        assert_eq!(words(html), "Tom & Ann's plan\n\n2 < 3");
    }

    #[test]
    fn broken_html_ends_somewhere() {
        for broken in ["<", "a<b", "<style>x", "&", "&#;", "&#x110000;", "<script", "é<é>", "<!--", "&#xé;"] {
            _ = words(broken);
        }
    }

    #[test]
    fn a_tree_that_is_too_deep_is_followed_so_far_and_no_further() {
        let mut tree = Part { mime_type: "text/plain".into(), ..Part::default() };
        for _ in 0..100 {
            tree = Part { parts: vec![tree], ..Part::default() };
        }
        assert!(tree.text().1 == Source::None && tree.attachments().is_empty());
    }
}
