//! Push: Gmail tells a Pub/Sub topic that a mailbox changed, and Pub/Sub tells us.
//!
//! A push is signed by Google for our audience and our service account, which the host checks. What it says is a history id,
//! up to which there is something new; what that is, `polls.history` tells. A watch ends after seven days, and asking again is
//! all it takes to go on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharfage_sdk::events::{Emission, Outcome, Poll, Webhook};
use wharfage_sdk::http::Repeat;
use wharfage_sdk::{Error, Request, Timestamp, base64, clock};

/// Where to, and about what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// The topic, as `projects/my-project/topics/mail`; `gmail-api-push@system.gserviceaccount.com` must be allowed to publish there.
    topic: String,
    /// Only messages with one of these labels, by their ids; all unless stated.
    #[serde(default)]
    labels: Vec<String>,
}

/// Nothing to choose.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopInput {}

/// A push that goes on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Watch {
    /// Where the mailbox's history stands now.
    history_id: String,
    /// When the push ends.
    expires_at: Option<Timestamp>,
}

/// A push that was stopped.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Stopped {
    /// Always true.
    stopped: bool,
}

/// The cursor of the poll: when to renew, and for what it was asked.
#[derive(Deserialize, Serialize)]
pub(crate) struct Kept {
    renew_at: Timestamp,
    topic: String,
    labels: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    history_id: String,
    /// Milliseconds since 1970, as text.
    #[serde(default)]
    expiration: Option<String>,
}

/// What Pub/Sub sends.
#[derive(Deserialize)]
struct Push {
    message: Inner,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    data: String,
}

const DAY_MS: i64 = 86_400_000;

pub(crate) fn create(input: CreateInput) -> Result<Watch, Error> {
    let is_topic = input.topic.strip_prefix("projects/").is_some_and(|rest| rest.contains("/topics/"));
    if !is_topic {
        return Err(Error::invalid_request("/topic", "expected projects/<project>/topics/<topic>"));
    }
    let mut wanted = json!({"topicName": input.topic});
    if !input.labels.is_empty() {
        wanted["labelIds"] = json!(input.labels);
        wanted["labelFilterBehavior"] = json!("include");
    }
    // Asking twice is as asking once.
    let record: Record = Request::post("{api}/users/me/watch").json(&wanted)?.repeat(Repeat::Safe).send()?.json()?;
    let expires_at = record.expiration.and_then(|text| text.parse().ok()).map(Timestamp::from_ms);
    Ok(Watch { history_id: record.history_id, expires_at })
}

pub(crate) fn stop(_: StopInput) -> Result<Stopped, Error> {
    Request::post("{api}/users/me/stop").repeat(Repeat::Safe).send()?.must_be_empty()?;
    Ok(Stopped { stopped: true })
}

/// `polls.watch`: renews the push once a day, and at once when something else is wanted.
pub(crate) fn keep_open(poll: &Poll, kept: Option<Kept>) -> Result<Outcome, Error> {
    let input: CreateInput = poll.read_input()?;
    let now = clock::now();
    let is_wanted = |kept: &Kept| kept.topic == input.topic && kept.labels == input.labels;
    if kept.is_some_and(|kept| is_wanted(&kept) && now < kept.renew_at) {
        return Ok(Outcome::default());
    }
    let (topic, labels) = (input.topic.clone(), input.labels.clone());
    let watch = create(input)?;
    // In a day, or in half of what is left where that is less.
    let left_ms = watch.expires_at.map_or(2 * DAY_MS, |end| end.as_ms() - now.as_ms());
    let renew_at = now.plus_ms(DAY_MS.min(left_ms / 2));
    Outcome::default().keep(&Kept { renew_at, topic, labels })
}

/// Makes a hint of a push.
pub(crate) fn told(webhook: &Webhook, id: &str) -> Result<Outcome, Error> {
    let wrong = || Error::schema_violation("the push has another shape");
    let push: Push = wharfage_sdk::json::parse(&webhook.body).ok_or_else(wrong)?;
    let bytes = base64::decode_forgiving(&push.message.data).ok_or_else(wrong)?;
    let told: Value = wharfage_sdk::json::parse(&bytes).ok_or_else(wrong)?;
    // Gmail writes the id as a number here and as a text elsewhere.
    let history_id = match &told["historyId"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(wrong()),
    };
    let data = json!({"mailbox": told["emailAddress"], "history_id": history_id});
    let emission = Emission { event_type: "mailbox.changed".to_owned(), key: id.to_owned(), data };
    Ok(Outcome { emit: vec![emission], ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::events::{Event, Start, Trigger};
    use wharfage_sdk::testing;

    use super::*;

    fn pushed(body: &str) -> Result<Outcome, Error> {
        let webhook = Webhook { endpoint: "push".into(), headers: Vec::new(), body: body.as_bytes().to_vec() };
        let event = Event { id: "webhook push 7".into(), trigger: Trigger::Webhook(webhook), cursor: None };
        testing::handle(include_str!("../plugin.toml"), crate::handle, event, "[]")
    }

    // The body is the one that Gmail's guide to push shows.
    #[test]
    fn a_push_becomes_a_hint() {
        let outcome = pushed(
            r#"{"message": {"data": "eyJlbWFpbEFkZHJlc3MiOiAidXNlckBleGFtcGxlLmNvbSIsICJoaXN0b3J5SWQiOiAiMTIzNDU2Nzg5MCJ9",
                "messageId": "2070443601311540", "message_id": "2070443601311540",
                "publishTime": "2021-02-26T19:13:55.749Z"}, "subscription": "projects/myproject/subscriptions/mysubscription"}"#,
        );
        let emission = &outcome.unwrap().emit[0];
        assert_eq!(emission.key, "webhook push 7");
        assert_eq!(emission.data, json!({"mailbox": "user@example.com", "history_id": "1234567890"}));
    }

    /// R24: unknown fields are passed.
    #[test]
    fn r24_an_id_may_be_a_number_and_fields_may_be_new() {
        let data = base64::encode(br#"{"emailAddress":"user@example.com","historyId":9007199254740993,"new":1}"#);
        let outcome = pushed(&format!(r#"{{"message": {{"data": "{data}", "orderingKey": "x"}}}}"#)).unwrap();
        assert_eq!(outcome.emit[0].data["history_id"], json!("9007199254740993"));
    }

    #[test]
    fn what_is_broken_is_a_failure() {
        for broken in
            ["", "7", r#"{"message": {}}"#, r#"{"message": {"data": "!"}}"#, r#"{"message": {"data": "e30="}}"#]
        {
            assert_eq!(pushed(broken).unwrap_err().kind.name(), "schema-violation", "{broken}");
        }
    }

    fn polled(cursor: Option<String>, exchanges: &str) -> Outcome {
        let input = r#"{"topic": "projects/acme/topics/mail", "labels": ["INBOX"]}"#;
        let poll = Poll { name: "watch".into(), input: input.into(), start: Start::FromNow };
        let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
        testing::handle(include_str!("../plugin.toml"), crate::handle, event, exchanges).unwrap()
    }

    // It is 2026-01-01 here; the watch ends on the 8th, and is renewed on the 2nd.
    #[test]
    fn a_watch_is_renewed_once_a_day() {
        let outcome = polled(
            None,
            r#"[{"request": {"method": "POST", "url": "{api}/users/me/watch", "json": {"topicName": "projects/acme/topics/mail",
                    "labelIds": ["INBOX"], "labelFilterBehavior": "include"}},
                "response": {"status": 200, "json": {"historyId": "1234567890", "expiration": "1767830400000"}}}]"#,
        );
        let cursor = outcome.cursor.unwrap();
        assert!(cursor.contains("2026-01-02T00:00:00Z"), "{cursor}");
        assert_eq!(polled(Some(cursor), "[]"), Outcome::default());
    }
}
