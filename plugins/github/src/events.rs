//! What starts the plugin: GitHub's webhooks, and the poll for repositories that one can set up none for.
//!
//! A webhook is a hint. GitHub tells what is changed as it was then; the event names it, and who needs it as it is now asks
//! for it. What GitHub tells is said in a header, so the same body could be delivered as something else: what is not there
//! is then missing, and that is a failure.

use serde_json::{Map, Value};
use wharfage_sdk::events::{Emission, Event, Outcome, Trigger, Webhook};
use wharfage_sdk::http::form_pairs;
use wharfage_sdk::{Error, json, log};

use crate::record::{at, find};
use crate::watch;

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

/// What is told of one kind of change: the value of `X-GitHub-Event`, the event it becomes, and its content.
struct About {
    told: &'static str,
    event_type: &'static str,
    /// What the content is called and where it stands; the first must be there.
    fields: &'static [(&'static str, &'static str)],
}

const ABOUT: [About; 6] = [
    About {
        told: "issues",
        event_type: "issue.changed",
        fields: &[
            ("number", "issue/number"),
            ("title", "issue/title"),
            ("state", "issue/state"),
            ("updated_at", "issue/updated_at"),
        ],
    },
    About {
        told: "pull_request",
        event_type: "pull-request.changed",
        fields: &[
            ("number", "pull_request/number"),
            ("title", "pull_request/title"),
            ("state", "pull_request/state"),
            ("merged", "pull_request/merged"),
            ("updated_at", "pull_request/updated_at"),
        ],
    },
    About {
        told: "issue_comment",
        event_type: "comment.changed",
        fields: &[
            ("id", "comment/id"),
            ("number", "issue/number"),
            ("is_pull_request", "issue/pull_request?"),
            ("url", "comment/html_url"),
        ],
    },
    About {
        told: "release",
        event_type: "release.changed",
        fields: &[
            ("id", "release/id"),
            ("tag", "release/tag_name"),
            ("name", "release/name"),
            ("prerelease", "release/prerelease"),
            ("published_at", "release/published_at"),
            ("url", "release/html_url"),
        ],
    },
    About {
        told: "workflow_run",
        event_type: "workflow-run.changed",
        fields: &[
            ("id", "workflow_run/id"),
            ("name", "workflow_run/name"),
            ("branch", "workflow_run/head_branch"),
            ("sha", "workflow_run/head_sha"),
            ("status", "workflow_run/status"),
            ("conclusion", "workflow_run/conclusion"),
            ("url", "workflow_run/html_url"),
        ],
    },
    About {
        told: "push",
        event_type: "push.received",
        fields: &[("ref", "ref"), ("before", "before"), ("after", "after"), ("is_forced", "forced")],
    },
];

fn told(webhook: &Webhook, id: &str) -> Result<Outcome, Error> {
    let kind = webhook.header("X-GitHub-Event").ok_or_else(|| missing("header X-GitHub-Event"))?;
    let Some(about) = ABOUT.iter().find(|about| about.told == kind) else {
        // What was subscribed to and is not known here, or is new, is no failure.
        log::info("a webhook is about something that is not known here", &[("event", &kind)]);
        return Ok(Outcome::default());
    };
    let body: Value = read(&webhook.body)
        .ok_or_else(|| Error::schema_violation("the webhook's body is neither JSON nor a form with a payload"))?;
    let action = at(&body, "action").as_str();
    let mut data = Map::new();
    let always = [("repository", "repository/full_name"), ("by", "sender/login"), ("action", "action")];
    for (index, (name, from)) in about.fields.iter().chain(&always).enumerate() {
        let found = find(&body, from);
        let is_needed = index == 0 || *name == "repository" || *name == "number";
        // Nobody's texts go on, and nothing that is more than one value.
        if found.is_object()
            || found.is_array()
            || (is_needed && found.is_null())
            || (*name == "number" && !found.is_u64())
        {
            return Err(missing(from));
        }
        data.insert((*name).to_owned(), found);
    }
    let (mut event_type, mut key) = (about.event_type, id.to_owned());
    if about.told == "push" {
        data.remove("action");
        data.insert("commits".to_owned(), at(&body, "commits").as_array().map_or(0, Vec::len).into());
    }
    if about.told == "release" && action == Some("published") {
        event_type = "release.published";
        // The same as the poll names it, so that who has both hears of it once.
        key = watch::key(at(&body, "release"))?;
    }
    let data = Value::Object(data);
    Ok(Outcome { emit: vec![Emission { event_type: event_type.to_owned(), key, data }], ..Outcome::default() })
}

fn missing(what: &str) -> Error {
    Error::schema_violation(["the webhook has no ", what, ", or another than documented"].concat())
}

/// The JSON of a body, which is a form with the field `payload` where nobody chose otherwise at GitHub.
fn read(body: &[u8]) -> Option<Value> {
    if !body.starts_with(b"payload=") {
        return json::parse(body);
    }
    json::parse(form_pairs(body).first()?.1.as_bytes())
}
