//! What starts the plugin: GitHub's webhooks, and the poll for repositories that one can set up none for.
//!
//! A webhook is a hint. GitHub tells what is changed as it was then; the event names it, and who needs it as it is now asks
//! for it. What GitHub tells is said in a header, so the same body could be delivered as something else: what is not there
//! is then missing, and that is a failure.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use wharfage_sdk::events::{Emission, Event, Outcome, Trigger, Webhook};
use wharfage_sdk::{Error, Timestamp, log};

use crate::{parts, watch};

/// Takes what the host hands over.
///
/// # Errors
/// GitHub's, `invalid-request` for a poll's input that is none, `schema-violation` for a webhook of another shape.
#[allow(clippy::result_large_err)] // the SDK's own error
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Webhook(webhook) => told(webhook, &event.id),
        Trigger::Poll(poll) if poll.name == "releases" => watch::releases(poll, event.kept()?.unwrap_or_default()),
        _ => Err(Error::internal("this plugin has the webhook `events` and the poll `releases`")),
    }
}

/// A webhook's body: of what GitHub sends, what is passed on.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    repository: Option<Named>,
    #[serde(default, deserialize_with = "parts::login")]
    sender: Option<String>,
    #[serde(default)]
    issue: Option<Thing>,
    #[serde(default)]
    pull_request: Option<Thing>,
    #[serde(default)]
    comment: Option<Remark>,
    #[serde(default)]
    release: Option<Released>,
    #[serde(default)]
    workflow_run: Option<Run>,
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    commits: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

/// An issue or a pull request.
#[derive(Deserialize)]
struct Thing {
    number: u64,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default)]
    updated_at: Option<Timestamp>,
    #[serde(default, rename = "pull_request", deserialize_with = "parts::is_there")]
    is_pull_request: bool,
}

#[derive(Deserialize)]
struct Remark {
    id: u64,
    #[serde(default)]
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Released {
    id: u64,
    tag_name: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    prerelease: bool,
    #[serde(default)]
    published_at: Option<Timestamp>,
    #[serde(default)]
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Run {
    id: u64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    head_branch: Option<String>,
    #[serde(default)]
    head_sha: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
}

fn told(webhook: &Webhook, id: &str) -> Result<Outcome, Error> {
    let header = webhook.headers.iter().find(|header| header.name.eq_ignore_ascii_case("X-GitHub-Event"));
    let Some(about) = header.map(|header| header.value.as_str()) else { return Err(missing("header X-GitHub-Event")) };
    if !ABOUT.contains(&about) {
        // What was subscribed to and is not known here, or is new, is no failure.
        log::info("a webhook is about something that is not known here", &[("event", &about)]);
        return Ok(Outcome::default());
    }
    let text = text(&webhook.body)?;
    let told: Told =
        serde_json::from_str(&text).map_err(|_| Error::schema_violation("the webhook's body has another shape"))?;
    let Some(repository) = told.repository.as_ref().map(|repository| repository.full_name.as_str()) else {
        return Err(missing("repository"));
    };
    let mut key = id.to_owned();
    let (event_type, mut data) = match about {
        "issues" => ("issue.changed", changed(told.issue.as_ref().ok_or_else(|| missing("issue"))?)),
        "pull_request" => {
            ("pull-request.changed", changed(told.pull_request.as_ref().ok_or_else(|| missing("pull_request"))?))
        }
        "issue_comment" => {
            let issue = told.issue.as_ref().ok_or_else(|| missing("issue"))?;
            let comment = told.comment.as_ref().ok_or_else(|| missing("comment"))?;
            let data = json!({
                "number": issue.number, "is_pull_request": issue.is_pull_request, "id": comment.id, "url": comment.html_url,
            });
            ("comment.changed", data)
        }
        "release" => {
            let release = told.release.as_ref().ok_or_else(|| missing("release"))?;
            let data = json!({
                "id": release.id, "tag": release.tag_name, "name": release.name, "prerelease": release.prerelease,
                "published_at": release.published_at, "url": release.html_url,
            });
            if told.action.as_deref() == Some("published") {
                // The same as the poll names it, so that who has both hears of it once.
                key = watch::key(release.id, release.published_at);
                ("release.published", data)
            } else {
                ("release.changed", data)
            }
        }
        "workflow_run" => {
            let run = told.workflow_run.as_ref().ok_or_else(|| missing("workflow_run"))?;
            let data = json!({
                "id": run.id, "name": run.name, "branch": run.head_branch, "sha": run.head_sha, "status": run.status,
                "conclusion": run.conclusion, "url": run.html_url,
            });
            ("workflow-run.changed", data)
        }
        _ => {
            let reference = told.reference.as_deref().ok_or_else(|| missing("ref"))?;
            let data = json!({
                "ref": reference, "before": told.before, "after": told.after, "commits": told.commits.len(),
                "is_forced": told.forced,
            });
            ("push.received", data)
        }
    };
    if let Value::Object(data) = &mut data {
        data.insert("repository".to_owned(), repository.into());
        data.insert("by".to_owned(), told.sender.clone().into());
        if about != "push" {
            data.insert("action".to_owned(), told.action.clone().into());
        }
    }
    Ok(Outcome { emit: vec![Emission { event_type: event_type.to_owned(), key, data }], ..Outcome::default() })
}

/// What is understood of `X-GitHub-Event`.
const ABOUT: [&str; 6] = ["issues", "pull_request", "issue_comment", "release", "workflow_run", "push"];

fn changed(thing: &Thing) -> Value {
    let mut data = json!({
        "number": thing.number, "title": thing.title, "state": thing.state, "updated_at": thing.updated_at,
    });
    if let (Some(merged), Value::Object(data)) = (thing.merged, &mut data) {
        data.insert("merged".to_owned(), merged.into());
    }
    data
}

fn missing(what: &str) -> Error {
    Error::schema_violation(["the webhook has no ", what].concat())
}

/// The JSON of a body, which is a form with the field `payload` where nobody chose otherwise at GitHub.
fn text(body: &[u8]) -> Result<String, Error> {
    let unreadable = || Error::schema_violation("the webhook's body is neither JSON nor a form with a payload");
    let Some(form) = body.strip_prefix(b"payload=") else {
        return String::from_utf8(body.to_vec()).map_err(|_| unreadable());
    };
    let mut bytes = Vec::with_capacity(form.len());
    let mut rest = form.iter().copied();
    while let Some(byte) = rest.next().filter(|byte| *byte != b'&') {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = (digit().ok_or_else(unreadable)?, digit().ok_or_else(unreadable)?);
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| unreadable())
}
