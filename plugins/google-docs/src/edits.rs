//! Changes of a document's text, each as one batch: all of it happens or none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, ErrorKind, Request};

/// What to add, and where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppendInput {
    /// The document's id.
    id: String,
    /// The text. Line ends make paragraphs.
    text: String,
    /// Goes on in the last paragraph instead of beginning a new one.
    #[serde(default)]
    same_paragraph: bool,
    /// The id of the tab; the first where it is left out.
    #[serde(default)]
    tab: Option<String>,
    /// The revision that the document must still have; else nothing is changed.
    #[serde(default)]
    revision: Option<String>,
}

/// What to replace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplaceInput {
    /// The document's id.
    id: String,
    /// What is replaced by what, one after the other; a later one sees what an earlier one made.
    #[schemars(length(min = 1))]
    replacements: Vec<Replacement>,
    /// Takes capital and small letters as the same.
    #[serde(default)]
    ignore_case: bool,
    /// The id of the tab; every tab where it is left out.
    #[serde(default)]
    tab: Option<String>,
    /// The revision that the document must still have; else nothing is changed.
    #[serde(default)]
    revision: Option<String>,
}

/// A text, and what takes its place.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replacement {
    /// The text that is looked for.
    find: String,
    /// What stands there afterwards; nothing, to take it out.
    with: String,
}

/// What was added.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Appended {
    /// The document's id.
    id: String,
    /// How many characters were added.
    characters: u64,
    /// The revision that came of it.
    revision: Option<String>,
}

/// What was replaced.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Replaced {
    /// The document's id.
    id: String,
    /// How many places were changed in all.
    replaced: u64,
    /// How many for each of the texts, in their order.
    counts: Vec<u64>,
    /// The revision that came of it.
    revision: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    document_id: String,
    #[serde(default)]
    replies: Vec<Reply>,
    #[serde(default)]
    write_control: Control,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    #[serde(default)]
    replace_all_text: Count,
}

/// None is written as no number at all.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    #[serde(default)]
    occurrences_changed: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    #[serde(default)]
    required_revision_id: Option<String>,
}

pub(crate) fn append(input: AppendInput) -> Result<Appended, Error> {
    if input.text.is_empty() {
        return Err(Error::invalid_request("/text", "expected a text to add"));
    }
    let mut text = if input.same_paragraph { String::new() } else { "\n".to_owned() };
    text.push_str(&input.text);
    let mut end = json!({});
    if let Some(tab) = input.tab {
        end["tabId"] = tab.into();
    }
    let characters = text.chars().count() as u64;
    let requests = vec![json!({"insertText": {"text": text, "endOfSegmentLocation": end}})];
    let answer = change(&input.id, requests, input.revision)?;
    Ok(Appended { id: answer.document_id, characters, revision: answer.write_control.required_revision_id })
}

pub(crate) fn replace(input: ReplaceInput) -> Result<Replaced, Error> {
    let request = |replacement: &Replacement| {
        let mut request = json!({
            "containsText": {"text": &replacement.find, "matchCase": !input.ignore_case},
            "replaceText": &replacement.with,
        });
        if let Some(tab) = &input.tab {
            request["tabsCriteria"] = json!({"tabIds": [tab]});
        }
        json!({"replaceAllText": request})
    };
    if input.replacements.is_empty() || input.replacements.iter().any(|replacement| replacement.find.is_empty()) {
        return Err(Error::invalid_request("/replacements", "expected texts to look for"));
    }
    let requests: Vec<Value> = input.replacements.iter().map(request).collect();
    let answer = change(&input.id, requests, input.revision)?;
    let counts: Vec<u64> = answer.replies.iter().map(|reply| reply.replace_all_text.occurrences_changed).collect();
    let revision = answer.write_control.required_revision_id;
    Ok(Replaced { id: answer.document_id, replaced: counts.iter().sum(), counts, revision })
}

/// Changes a document, by so many requests and with as many replies.
fn change(id: &str, requests: Vec<Value>, revision: Option<String>) -> Result<Answer, Error> {
    let url = ["{api}/documents/", &segment("/id", id)?, ":batchUpdate"].concat();
    let asked = requests.len();
    let mut body = json!({"requests": requests});
    let is_bound = revision.is_some();
    if let Some(revision) = revision {
        body["writeControl"] = json!({"requiredRevisionId": revision});
    }
    let response = Request::post(url).json(&body)?.send().map_err(|mut error| {
        // Google says 400 for a revision that is no longer the last, as for a wrong request, and documents no words for it.
        if is_bound && error.status == Some(400) {
            error.kind = ErrorKind::Conflict;
            error.message =
                "nothing was changed: the document is not at this revision any more, or Google refuses the change"
                    .to_owned();
        }
        error
    })?;
    let answer: Answer = response.json()?;
    if answer.replies.len() != asked {
        return Err(response.error(ErrorKind::SchemaViolation, "another number of replies came than was asked for"));
    }
    Ok(answer)
}
