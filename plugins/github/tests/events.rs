//! What becomes of GitHub's webhooks. The bodies are after the shapes of octokit/webhooks, payload-examples/api.github.com,
//! as of 2026-11-24; values made up.

#![allow(clippy::unwrap_used, reason = "what a test stands on may end it")]

use serde_json::{Value, json};
use wharfage_github::handle;
use wharfage_sdk::events::{Event, Header, Outcome, Trigger, Webhook};
use wharfage_sdk::{Error, testing};

#[allow(clippy::result_large_err)]
fn deliver(about: &str, body: &[u8]) -> Result<Outcome, Error> {
    let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
    let headers = vec![header("x-github-delivery", "72d3162e"), header("x-github-event", about)];
    let webhook = Webhook { endpoint: "events".to_owned(), headers, body: body.to_vec() };
    let event = Event { id: "webhook events 7".to_owned(), trigger: Trigger::Webhook(webhook), cursor: None };
    testing::handle(include_str!("../plugin.toml"), handle, event, "[]")
}

/// The one event that a body becomes: its type, key and content.
fn told(about: &str, mut body: Value) -> (String, String, Value) {
    body["repository"] = json!({"id": 186853002, "full_name": "Codertocat/Hello-World", "private": false});
    body["sender"] = json!({"login": "Codertocat", "id": 21031067});
    let mut outcome = deliver(about, body.to_string().as_bytes()).unwrap();
    assert_eq!((outcome.emit.len(), &outcome.cursor), (1, &None));
    let emission = outcome.emit.remove(0);
    (emission.event_type, emission.key, emission.data)
}

#[test]
fn an_issue_is_told_with_its_number_and_no_more_of_it() {
    let issue = json!({
        "number": 1, "title": "Spelling error in the README file", "state": "closed", "body": "It looks like you forgot a letter.",
        "updated_at": "2019-05-15T15:20:18Z", "user": {"login": "Codertocat", "email": "somebody@example.org"},
    });
    let (event_type, key, data) = told("issues", json!({"action": "closed", "issue": issue}));
    assert_eq!((event_type.as_str(), key.as_str()), ("issue.changed", "webhook events 7"));
    let expected = json!({
        "repository": "Codertocat/Hello-World", "by": "Codertocat", "action": "closed", "number": 1,
        "title": "Spelling error in the README file", "state": "closed", "updated_at": "2019-05-15T15:20:18Z",
    });
    assert_eq!(data, expected);
}

#[test]
fn a_pull_request_says_whether_it_is_merged() {
    let pull_request = json!({"number": 2, "title": "Update the README", "state": "closed", "merged": true});
    let (event_type, _, data) = told("pull_request", json!({"action": "closed", "pull_request": pull_request}));
    assert_eq!((event_type.as_str(), &data["merged"]), ("pull-request.changed", &json!(true)));
}

#[test]
fn a_comment_says_where_it_is() {
    let body = json!({
        "action": "created",
        "issue": {"number": 2, "title": "Update", "pull_request": {"url": "https://api.github.com/repos/a/b/pulls/2"}},
        "comment": {"id": 492700400, "html_url": "https://github.com/a/b/pull/2#issuecomment-492700400", "body": "Thanks"},
    });
    let (event_type, _, data) = told("issue_comment", body);
    assert_eq!(event_type, "comment.changed");
    assert_eq!((&data["number"], &data["is_pull_request"], &data["id"]), (&json!(2), &json!(true), &json!(492700400)));
    assert_eq!(data.get("body"), None);
}

#[test]
fn a_release_is_published_once_and_changed_otherwise() {
    let release = json!({
        "id": 17372790, "tag_name": "0.0.1", "name": null, "prerelease": false, "published_at": "2019-05-15T15:20:53Z",
        "html_url": "https://github.com/a/b/releases/tag/0.0.1",
    });
    let (event_type, key, data) = told("release", json!({"action": "published", "release": release}));
    assert_eq!((event_type.as_str(), key.as_str()), ("release.published", "release 17372790 2019-05-15T15:20:53Z"));
    assert_eq!(data["tag"], json!("0.0.1"));
    let (event_type, key, _) = told("release", json!({"action": "edited", "release": release}));
    assert_eq!((event_type.as_str(), key.as_str()), ("release.changed", "webhook events 7"));
}

#[test]
fn a_push_counts_its_commits_and_a_run_says_how_it_ended() {
    let push = json!({
        "ref": "refs/heads/main", "before": "6113728f", "after": "000000", "forced": true,
        "commits": [{"id": "a", "author": {"email": "somebody@example.org"}}, {"id": "b"}],
    });
    let (event_type, _, data) = told("push", push);
    assert_eq!(event_type, "push.received");
    let expected = json!({
        "repository": "Codertocat/Hello-World", "by": "Codertocat", "ref": "refs/heads/main", "before": "6113728f",
        "after": "000000", "commits": 2, "is_forced": true,
    });
    assert_eq!(data, expected);
    let run =
        json!({"id": 30433642, "name": "Build", "head_branch": "main", "status": "completed", "conclusion": "failure"});
    let (event_type, _, data) = told("workflow_run", json!({"action": "completed", "workflow_run": run}));
    assert_eq!((event_type.as_str(), &data["conclusion"]), ("workflow-run.changed", &json!("failure")));
}

/// Where nobody chose otherwise, GitHub sends its JSON in a form.
#[test]
fn a_body_may_be_a_form() {
    let json = r#"{"ref":"refs/tags/a%2Bb","repository":{"full_name":"a/b"}}"#;
    let form: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let outcome = deliver("push", format!("payload={form}&more=1").as_bytes()).unwrap();
    assert_eq!(outcome.emit[0].data["ref"], json!("refs/tags/a%2Bb"));
    for broken in ["payload=%7", "payload=%ZZ", "payload=%FF"] {
        assert_eq!(deliver("push", broken.as_bytes()).unwrap_err().kind.name(), "schema-violation", "{broken}");
    }
}

/// R24: what GitHub has begun to tell is no failure, neither a kind, which is logged, nor a field.
#[test]
fn r24_what_is_not_known_yet_is_passed() {
    for (kind, body) in [("star", &br#"{"action":"created"}"#[..]), ("of_tomorrow", b"no JSON at all")] {
        assert_eq!(deliver(kind, body).unwrap(), Outcome::default());
        let line = format!("info a webhook is about something that is not known here event={kind}");
        assert_eq!(testing::logged(), [line]);
    }
    let issue = json!({"number": 1, "type": {"name": "Bug"}, "sub_issues_summary": {"total": 0}});
    told("issues", json!({"action": "typed", "issue": issue, "type": {"id": 1}}));
}

/// The header that says what is told is not signed. A body that is told as something else has not what that needs.
#[test]
fn what_is_broken_or_told_as_something_else_is_a_failure() {
    let issue = r#"{"action":"opened","issue":{"number":1},"repository":{"full_name":"a/b"}}"#;
    for (about, body) in [
        ("issues", ""),
        ("issues", "7"),
        ("issues", "{}"),
        ("issues", r#"{"issue":{"number":1}}"#),
        ("issues", r#"{"issue":{"number":"1"},"repository":{"full_name":"a/b"}}"#),
        ("pull_request", issue),
        ("issue_comment", issue),
        ("release", issue),
        ("workflow_run", issue),
        ("push", issue),
    ] {
        assert_eq!(deliver(about, body.as_bytes()).unwrap_err().kind.name(), "schema-violation", "{about} {body}");
    }
}
