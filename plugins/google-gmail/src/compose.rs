//! A message as mail wants it (RFC 5322, RFC 2045, RFC 2047), out of plain words.
//!
//! What a caller says becomes header fields, so nothing that ends a line gets in: with a line break in a subject somebody else
//! would write the next header. Text goes as UTF-8 in Base64, which no server on the way changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, Request, base64};

use crate::body::Part;

/// A new message.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// To whom: addresses, as `ann@example.org` or `Ann Example <ann@example.org>`.
    to: Vec<String>,
    /// Who gets a copy.
    #[serde(default)]
    cc: Vec<String>,
    /// Who gets a copy without the others seeing it.
    #[serde(default)]
    bcc: Vec<String>,
    /// The subject. Of an answer it is the other message's unless stated.
    #[serde(default)]
    subject: Option<String>,
    /// The text.
    text: String,
    /// The same in HTML, for readers that show it.
    #[serde(default)]
    html: Option<String>,
    /// The id of a message that this one answers; it then goes into the same thread.
    #[serde(default)]
    reply_to: Option<String>,
    /// Another of the account's own addresses to send from.
    #[serde(default)]
    from: Option<String>,
}

/// A message as Gmail takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Raw {
    raw: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<String>,
}

/// The message that is answered, as far as its answer needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    thread_id: String,
    #[serde(default)]
    payload: Part,
}

/// What separates the two texts of a message; Base64 holds no `_`.
const BOUNDARY: &str = "wharfage_=_alternative";
/// Bytes of a line of Base64 (RFC 2045, 6.8).
const LINE_BYTES: usize = 76;
/// Bytes of one encoded word before it is encoded; it is 75 at most when it is done (RFC 2047, 2).
const WORD_BYTES: usize = 42;

/// Makes the message, after a look at the one that it answers.
pub(crate) fn raw(input: Input) -> Result<Raw, Error> {
    if input.to.is_empty() && input.cc.is_empty() && input.bcc.is_empty() {
        return Err(Error::invalid_request("/to", "expected somebody to send it to"));
    }
    let mut head = String::new();
    if let Some(from) = &input.from {
        address(&mut head, "From", "/from", std::slice::from_ref(from))?;
    }
    address(&mut head, "To", "/to", &input.to)?;
    address(&mut head, "Cc", "/cc", &input.cc)?;
    address(&mut head, "Bcc", "/bcc", &input.bcc)?;
    let answered = input.reply_to.as_deref().map(look).transpose()?;
    let subject = match (input.subject, &answered) {
        (Some(subject), _) => subject,
        (None, Some(answered)) => answer_to(answered.payload.header("Subject").unwrap_or_default()),
        (None, None) => String::new(),
    };
    field(&mut head, "Subject", "/subject", &words(&subject))?;
    if let Some(id) = answered.as_ref().and_then(|answered| answered.payload.header("Message-ID")) {
        let before = answered.as_ref().and_then(|answered| answered.payload.header("References")).unwrap_or_default();
        field(&mut head, "In-Reply-To", "/reply_to", id)?;
        let references: Vec<&str> = before.split_whitespace().chain([id]).collect();
        field(&mut head, "References", "/reply_to", &references.join("\r\n "))?;
    }
    head.push_str("MIME-Version: 1.0\r\n");
    let message = match &input.html {
        None => [head.as_str(), &part("plain", &input.text)].concat(),
        Some(html) => {
            let (open, close) = (["--", BOUNDARY, "\r\n"].concat(), ["--", BOUNDARY, "--\r\n"].concat());
            let kind = ["Content-Type: multipart/alternative; boundary=\"", BOUNDARY, "\"\r\n\r\n"].concat();
            [&*head, &*kind, &*open, &*part("plain", &input.text), &*open, &*part("html", html), &*close].concat()
        }
    };
    Ok(Raw { raw: base64::encode_url(message.as_bytes()), thread_id: answered.map(|answered| answered.thread_id) })
}

/// The message that is answered.
fn look(id: &str) -> Result<Answered, Error> {
    let request = Request::get(["{api}/users/me/messages/", &segment("/reply_to", id)?].concat());
    let request = request.query("format", "metadata").query("metadataHeaders", "Message-ID");
    request.query("metadataHeaders", "References").query("metadataHeaders", "Subject").send()?.json()
}

fn answer_to(subject: &str) -> String {
    let is_answer = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    if is_answer { subject.to_owned() } else { ["Re: ", subject].concat() }
}

fn address(head: &mut String, name: &str, place: &str, all: &[String]) -> Result<(), Error> {
    if all.is_empty() {
        return Ok(());
    }
    let mut written = Vec::new();
    for one in all {
        let (display, address) = match one.rsplit_once('<') {
            Some((display, rest)) => (display.trim().trim_matches('"'), rest.strip_suffix('>').unwrap_or_default()),
            None => ("", one.trim()),
        };
        let is_address = address.is_ascii()
            && address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
            && !address.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '<' | '>'));
        if !is_address {
            return Err(Error::invalid_request(place, "expected addresses as ann@example.org"));
        }
        written.push(match display {
            "" => address.to_owned(),
            // In quotes no letter means anything but itself; those two are left out.
            plain if plain.is_ascii() => ["\"", &plain.replace(['"', '\\'], ""), "\" <", address, ">"].concat(),
            other => [&*words(other), " <", address, ">"].concat(),
        });
    }
    field(head, name, place, &written.join(",\r\n "))
}

/// A header field. Its value may be folded, and breaks no line otherwise.
fn field(head: &mut String, name: &str, place: &str, value: &str) -> Result<(), Error> {
    if value.replace("\r\n ", "").contains(|c: char| c.is_control()) {
        return Err(Error::invalid_request(place, "expected text without line breaks"));
    }
    head.extend([name, ": ", value, "\r\n"]);
    Ok(())
}

/// Text as a header holds it: as it is, or in encoded words.
fn words(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.contains("=?") && text.len() < 900;
    // What is no text at all is refused by `field`, so it stays visible.
    if is_plain || text.contains(['\r', '\n']) {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for letter in text.chars() {
        if word.len() + letter.len_utf8() > WORD_BYTES {
            words.push(std::mem::take(&mut word));
        }
        word.push(letter);
    }
    words.push(word);
    let words: Vec<String> =
        words.iter().map(|word| ["=?UTF-8?B?", &*base64::encode(word.as_bytes()), "?="].concat()).collect();
    words.join("\r\n ")
}

fn part(kind: &str, text: &str) -> String {
    let mut part =
        ["Content-Type: text/", kind, "; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"].concat();
    let encoded = base64::encode(text.as_bytes());
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_BYTES));
        part.extend([line, "\r\n"]);
        rest = after;
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(input: &str) -> Result<String, Error> {
        let raw = raw(serde_json::from_str(input).unwrap())?;
        Ok(String::from_utf8(base64::decode_forgiving(&raw.raw).unwrap()).unwrap())
    }

    #[test]
    fn plain_words_become_a_message() {
        let made = message(
            r#"{"to": ["Ann Example <ann@example.org>", "bob@example.org"], "subject": "Hello", "text": "Hi"}"#,
        );
        assert_eq!(
            made.unwrap(),
            "To: \"Ann Example\" <ann@example.org>,\r\n bob@example.org\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\nSGk=\r\n"
        );
    }

    #[test]
    fn other_letters_are_written_in_encoded_words() {
        let made =
            message(r#"{"to": ["ann@example.org"], "subject": "Grüße", "text": "", "html": "<p>Hi</p>"}"#).unwrap();
        assert!(made.contains("Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"), "{made}");
        assert!(
            made.contains("boundary=\"wharfage_=_alternative\"") && made.ends_with("--wharfage_=_alternative--\r\n")
        );
        let long = words(&"ü".repeat(100));
        assert!(long.split("\r\n ").all(|word| word.len() <= 75), "{long}");
    }

    #[test]
    fn nobody_writes_a_header_of_his_own() {
        for input in [
            r#"{"to": ["ann@example.org"], "subject": "Hi\r\nBcc: eve@example.org", "text": ""}"#,
            r#"{"to": ["ann@example.org"], "subject": "Hi\r\n Bcc: ü\r\nX: y", "text": ""}"#,
            r#"{"to": ["ann@example.org\r\nBcc: eve@example.org"], "text": ""}"#,
            r#"{"to": ["Ann\nBcc: eve@example.org <ann@example.org>"], "text": ""}"#,
            r#"{"to": ["Ännie\nBcc: eve@example.org <ann@example.org>"], "text": ""}"#,
            r#"{"to": ["ann@example.org, eve@example.org"], "text": ""}"#,
            r#"{"to": [], "text": ""}"#,
            r#"{"to": ["nobody"], "text": ""}"#,
        ] {
            assert_eq!(
                message(input).err().map(|error| error.kind.name().to_owned()).as_deref(),
                Some("invalid-request"),
                "{input}"
            );
        }
    }

    #[test]
    fn an_answer_is_called_one_once() {
        assert_eq!(answer_to("Plan"), "Re: Plan");
        assert_eq!(answer_to("RE: Plan"), "RE: Plan");
        assert_eq!(answer_to("é"), "Re: é");
    }
}
