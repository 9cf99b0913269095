//! What the console tells, as JSON: names stay as they are, and every text of a plugin or a provider is bounded and without
//! characters that could make a screen show something else than what is there.

use serde_json::{Value, json};

use crate::alerts::{Alert, AlertSeverity, AlertState, AlertSubject, runbook};
use crate::error::{Error, Result};
use crate::health::{Finding, Health, Subject};
use crate::inbound::envelope::Emitted;
use crate::inbound::log::{ArrivedEvent, EventContent, SinkLetter};
use crate::inbound::poll::PollHealth;
use crate::inbound::sink::worker::{SinkDoing, SinkState};
use crate::inbound::socket::{SocketState, SocketStatus};
use crate::observe::metrics::{BudgetMetrics, ConnectionMetrics, OperationMetrics};
use crate::observe::states::CircuitState;
use crate::outbound::session::TokenState;
use crate::plugin::Plugin;
use crate::supervisor::ServingView;
use crate::text::{is_unshowable, shown, shown_lines};
use crate::time::Timestamp;

/// Most characters of a body that are shown.
const BODY_CHARS: usize = 20_000;

/// Most connections that one state tells.
const CONNECTIONS_MAX: usize = 500;

/// Most alerts that one state tells, those that fire first.
const ALERTS_MAX: usize = 200;

/// How it stands with everything.
pub(super) async fn state(view: &ServingView) -> Value {
    let host = view.host();
    let (metrics, serving) = (host.metrics(), view.state().await);
    let survey = view.survey().await;
    let mut connections = Vec::new();
    let plugins = view.plugins().await;
    for (name, plugin) in plugins.iter().take(CONNECTIONS_MAX) {
        let measured = metrics.connections.iter().find(|of| of.connection == *name);
        let health = survey.report.all.iter().find(|of| of.subject == Subject::Connection && of.name == *name);
        connections.push(connection(name, plugin, measured, health).await);
    }
    let refusals = host.refusals();
    // Where the store cannot be read, the health of each connection says so.
    let latest = host.event_log().search(&Default::default(), 1).await.unwrap_or_default();
    let mut alerts = view.alerts();
    alerts.sort_by_key(|of| (of.state != AlertState::Firing, of.rule.severity() != AlertSeverity::Critical, of.since));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "since": metrics.since.to_string(),
        "connections": connections,
        "connections_left_out": plugins.len().saturating_sub(CONNECTIONS_MAX),
        "alerts": alerts.iter().take(ALERTS_MAX).map(alert).collect::<Vec<_>>(),
        "alerts_left_out": alerts.len().saturating_sub(ALERTS_MAX),
        "polls": serving.polls.iter().map(|(of, name, health)| poll(of, name, health)).collect::<Vec<_>>(),
        "sockets": serving.sockets.iter().map(|(of, name, status)| socket(of, name, status)).collect::<Vec<_>>(),
        "endpoints": serving.endpoints.iter().map(|(id, counts)| json!({
            "id": id,
            "received": counts.received,
            "repeated": counts.repeated,
            "refused": counts.refused,
            "turned_away": counts.turned_away,
        })).collect::<Vec<_>>(),
        "sinks": serving.sinks.iter().map(sink).collect::<Vec<_>>(),
        "latest_event": latest.first().map(|event| event.id),
        "latest_refusal": refusals.first().map(|refusal| refusal.at.to_string()),
        "refusals": refusals.len(),
    })
}

/// An alert, with the lines of the runbook that may be typed about it, and what each does.
fn alert(of: &Alert) -> Value {
    let typed = runbook(of.rule.name()).into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    let typed = typed.map(|line| line.split_once(" # ").unwrap_or((line, "")));
    let named_in = |line: &str| line.split_whitespace().map(|word| named(of, word)).collect::<Vec<_>>().join(" ");
    let typed = typed.map(|(line, about)| json!([named_in(line), about.trim()]));
    json!({
        "rule": of.rule.name(),
        "state": of.state.name(),
        "severity": of.rule.severity().name(),
        "connection": of.connection,
        "subject": of.subject.parts().0,
        "name": shown(of.subject.parts().1),
        "since": of.since.to_string(),
        "value": of.value,
        "threshold": of.threshold,
        "unit": of.rule.unit(),
        "summary": shown_lines(&of.summary()),
        "typed": typed.collect::<Vec<_>>(),
    })
}

/// A word of the runbook's lines, with the names of this alert in the places of its examples. A name that a shell could take
/// for something else is none.
fn named<'a>(of: &'a Alert, word: &'a str) -> &'a str {
    let name = match (word, &of.subject) {
        ("acme", _) => of.connection.as_deref(),
        ("orders.list", AlertSubject::Operation(name))
        | ("billing", AlertSubject::Sink(name))
        | ("api_key", AlertSubject::Credential(name)) => Some(name.as_str()),
        _ => None,
    };
    let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    name.filter(|name| !name.is_empty() && !name.starts_with('-')).filter(is_plain).unwrap_or(word)
}

async fn connection(
    name: &str,
    plugin: &Plugin,
    measured: Option<&ConnectionMetrics>,
    health: Option<&Health>,
) -> Value {
    let manifest = &plugin.needs().manifest.plugin;
    let tokens = match plugin.token_states().await {
        Ok(states) => states.iter().map(|(credential, state)| token(credential, state)).collect(),
        Err(error) => vec![json!({ "credential": "", "state": "unknown", "why": shown(error.message()) })],
    };
    json!({
        "name": name,
        "plugin": shown(&manifest.name),
        "plugin_version": shown(&manifest.version.to_string()),
        "account": measured.and_then(|of| of.account.as_deref()),
        "health": health.map(told_health),
        "circuits": plugin.circuits().iter().map(|(origin, state)| circuit(origin, *state)).collect::<Vec<_>>(),
        "tokens": tokens,
        "leaks": plugin.leaks(),
        "budgets": measured.map(|of| of.budgets.iter().map(budget).collect::<Vec<_>>()).unwrap_or_default(),
        "operations": measured.map(|of| of.operations.iter().filter(|of| was_called(of)).map(operation).collect::<Vec<_>>()),
    })
}

fn told_health(of: &Health) -> Value {
    let cause = |finding: &Finding| {
        json!({
            "cause": finding.cause.name(),
            "state": finding.state.name(),
            "message": shown_lines(&finding.message),
            "help": shown_lines(&finding.help),
        })
    };
    json!({ "state": of.state.name(), "causes": of.findings.iter().map(cause).collect::<Vec<_>>() })
}

fn budget(of: &BudgetMetrics) -> Value {
    json!({
        "name": shown(&of.budget),
        "owner": of.owner,
        "limit": of.limit,
        "used": of.used,
        "window_ms": of.window_ms,
        "blocked_until": of.blocked_until.as_ref().map(Timestamp::to_string),
    })
}

fn was_called(operation: &OperationMetrics) -> bool {
    operation.succeeded > 0 || !operation.failed.is_empty()
}

fn operation(of: &OperationMetrics) -> Value {
    json!({
        "name": of.operation,
        "succeeded": of.succeeded,
        "failed": of.failed,
        "p50_ms": of.recent.p50_ms,
        "p95_ms": of.recent.p95_ms,
        "p99_ms": of.recent.p99_ms,
        "rate_limited": of.rate_limited,
        "retries": of.retries,
        "from_cache": of.answers.cache + of.answers.stale,
        "succeeded_at": of.succeeded_at.as_ref().map(Timestamp::to_string),
        "failed_at": of.failed_at.as_ref().map(|(at, _)| at.to_string()),
        "failed_kind": of.failed_at.as_ref().map(|(_, kind)| kind),
    })
}

fn circuit(origin: &str, state: CircuitState) -> Value {
    let (name, until) = match state {
        CircuitState::Closed => ("closed", None),
        CircuitState::Open { until } => ("open", Some(until.to_string())),
        CircuitState::HalfOpen => ("half-open", None),
    };
    json!({ "origin": shown(origin), "state": name, "until": until })
}

fn token(credential: &str, state: &TokenState) -> Value {
    let (name, until, why) = match state {
        TokenState::Ready { until } => ("ready", *until, ""),
        TokenState::NeedsConnecting { why } => ("needs-connecting", None, why.as_str()),
        TokenState::Failing { why, retry_at } => ("failing", Some(*retry_at), why.as_str()),
    };
    json!({
        "credential": shown(credential),
        "state": name,
        "until": until.as_ref().map(Timestamp::to_string),
        "why": shown_lines(why),
    })
}

fn poll(connection: &str, name: &str, health: &PollHealth) -> Value {
    let PollHealth { succeeded_at, failed, failures, due, lag_ms, is_behind } = health;
    json!({
        "connection": connection,
        "name": name,
        "succeeded_at": succeeded_at.as_ref().map(Timestamp::to_string),
        "failed_at": failed.as_ref().map(|(at, _)| at.to_string()),
        "why": failed.as_ref().map(|(_, why)| shown_lines(why)),
        "failures": failures,
        "due": due.to_string(),
        "lag_ms": lag_ms,
        "is_behind": is_behind,
    })
}

fn socket(connection: &str, name: &str, status: &SocketStatus) -> Value {
    let (state, until, advice) = match &status.state {
        SocketState::Connecting => ("connecting", None, None),
        SocketState::Open => ("open", None, None),
        SocketState::StandBy => ("stand-by", None, None),
        SocketState::Backoff(until) => ("waiting", Some(until.to_string()), None),
        SocketState::Closed(advice) => ("closed", None, Some(shown_lines(advice))),
    };
    json!({
        "connection": connection,
        "name": name,
        "state": state,
        "since": status.since.to_string(),
        "until": until,
        "why": advice.or_else(|| status.last_end.as_deref().map(shown_lines)),
        "openings": status.openings,
        "dropped": status.dropped,
        "given_up": status.given_up,
    })
}

fn sink(of: &SinkState) -> Value {
    let (state, until, why) = match &of.doing {
        SinkDoing::Well => ("well", None, None),
        SinkDoing::Elsewhere => ("elsewhere", None, None),
        SinkDoing::Waiting { until, why } => ("waiting", Some(until.to_string()), Some(shown_lines(why))),
        SinkDoing::Disabled { why } => ("disabled", None, Some(shown_lines(why))),
    };
    json!({
        "name": of.name,
        "state": state,
        "until": until,
        "why": why,
        "given": of.given,
        "dead": of.dead,
        "position": of.position,
    })
}

/// An event in a list.
pub(super) fn arrived(event: &ArrivedEvent) -> Value {
    json!({
        "id": event.id,
        "connection": event.connection,
        "trigger": event.trigger,
        "key": shown(&event.key),
        "order": event.order.as_deref().map(shown),
        "at": event.at.to_string(),
        "state": event.state.name(),
        "attempts": event.attempts,
        "due": event.due.to_string(),
        "why": shown_lines(&event.why),
        "has_content": event.has_content,
    })
}

/// An event that a sink did not take.
pub(super) fn letter(letter: &SinkLetter) -> Value {
    json!({
        "sink": letter.sink,
        "number": letter.number,
        "at": letter.at.to_string(),
        "why": shown_lines(&letter.why),
        "connection": letter.event.as_ref().map(|event| event.connection.as_str()),
        "type": letter.event.as_ref().map(|event| shown(&event.event_type)),
        "key": letter.event.as_ref().map(|event| shown(&event.key)),
    })
}

/// One event from its arrival through its handling to the sinks. What it and what was emitted hold is told only to whoever
/// asks for it: a provider may have put anything there.
pub(super) async fn story(view: &ServingView, id: u64, with_body: bool) -> Result<Value> {
    let log = view.host().event_log();
    let (event, content) = log.event(id).await?;
    let emitted = log.emitted_for(id).await?;
    let sinks = view.state().await.sinks;
    let mut told = Vec::new();
    for (number, event) in &emitted {
        let refused = log.letters(number.saturating_sub(1), 1).await?;
        let refused: Vec<&SinkLetter> = refused.iter().filter(|letter| letter.number == *number).collect();
        told.push(emission(*number, event.as_ref(), &sinks, &refused, with_body));
    }
    let content = content.map(|EventContent { headers, body }| {
        let shown_body = with_body.then(|| text(&body));
        json!({
            "headers": headers.iter().map(|(name, value)| json!([shown(name), shown(value)])).collect::<Vec<_>>(),
            "bytes": body.len(),
            "body": shown_body.as_ref().map(|(text, _)| text),
            "is_cut": shown_body.as_ref().is_some_and(|(_, is_cut)| *is_cut),
        })
    });
    Ok(json!({ "event": arrived(&event), "content": content, "emitted": told }))
}

fn emission(
    number: u64,
    event: Option<&Emitted>,
    sinks: &[SinkState],
    refused: &[&SinkLetter],
    with_body: bool,
) -> Value {
    let given: Vec<Value> = sinks
        .iter()
        .map(|sink| {
            let letter = refused.iter().find(|letter| letter.sink == sink.name);
            let state = match letter {
                Some(_) => "dead",
                None if sink.position >= number => "done",
                None => "waiting",
            };
            json!({ "sink": sink.name, "state": state, "why": letter.map(|letter| shown_lines(&letter.why)) })
        })
        .collect();
    let data = event.filter(|_| with_body).map(|event| text(event.data.get().as_bytes()).0);
    json!({
        "number": number,
        "id": event.map(|event| event.id.as_str()),
        "type": event.map(|event| shown(&event.event_type)),
        "key": event.map(|event| shown(&event.key)),
        "at": event.map(|event| event.at.to_string()),
        "data": data,
        "sinks": given,
    })
}

/// What `/readyz` tells to whoever has no token: each cause once, by its name.
pub(super) fn without_names(mut told: Value) -> Value {
    if let Some(causes) = told.get_mut("causes").and_then(Value::as_array_mut) {
        let mut names: Vec<Value> = causes.iter().map(|cause| cause["cause"].clone()).collect();
        names.sort_by_key(Value::to_string);
        names.dedup();
        *causes = names;
    }
    if let Some(hindrances) = told.get_mut("hindrances").and_then(Value::as_array_mut) {
        *hindrances = hindrances.iter().map(|of| of["hindrance"].clone()).collect();
    }
    told
}

/// An error, for whoever has the token.
pub(super) fn trouble(error: &Error) -> Value {
    json!({
        "error": shown_lines(error.message()),
        "help": error.details().map(shown_lines),
        "kind": error.kind().name(),
    })
}

/// Bytes as text that can be shown, and whether there was more.
fn text(bytes: &[u8]) -> (String, bool) {
    let whole = String::from_utf8_lossy(bytes);
    let clean = |c: char| if is_unshowable(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    (whole.chars().take(BODY_CHARS).map(clean).collect(), whole.chars().nth(BODY_CHARS).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::AlertRule;
    use crate::store::arrival::EventState;

    /// A provider chooses a delivery's key, and a plugin what went wrong with it.
    #[test]
    fn what_others_say_is_bounded_and_turns_no_line_around() {
        let event = ArrivedEvent {
            id: 1,
            connection: "acme".into(),
            trigger: "webhook orders".into(),
            key: format!("\u{1b}]8;;x\u{7}<img src=x onerror=alert(1)>{}", "k".repeat(5_000)),
            order: Some("\u{202e}evil".into()),
            at: Timestamp::from_millis(1_000),
            state: EventState::Dead,
            attempts: 3,
            due: Timestamp::from_millis(2_000),
            why: format!("</script>\u{0}{}", "w".repeat(50_000)),
            has_content: false,
        };
        let told = arrived(&event);
        assert!(told["key"].as_str().unwrap().contains("<img src=x onerror=alert(1)>"), "text stays text");
        let all = told.to_string();
        assert!(all.len() < 4_000 && !all.contains(['\u{1b}', '\u{202e}', '\u{0}']), "{all}");
        assert_eq!((told["state"].as_str(), told["at"].as_str()), (Some("dead"), Some("1970-01-01T00:00:01Z")));
    }

    #[test]
    fn who_has_no_token_hears_what_is_wrong_and_not_with_whom() {
        let cause =
            |name: &str| json!({"cause": "breaker-open", "name": name, "message": "said the provider", "help": "x"});
        let hindrance = json!({"hindrance": "worker-ended", "message": "the inbox of acme", "help": "x"});
        let causes = [cause("acme"), cause("books")];
        let told = without_names(json!({"ready": false, "hindrances": [hindrance], "causes": causes}));
        assert_eq!(told, json!({"ready": false, "hindrances": ["worker-ended"], "causes": ["breaker-open"]}));
        assert_eq!(without_names(json!({"alive": true})), json!({"alive": true}));
    }

    /// What fires says since when and beyond what, and what to type, which the runbook knows.
    #[test]
    fn an_alert_comes_with_what_to_type() {
        let of = |rule, connection: Option<&str>, subject| Alert {
            rule,
            connection: connection.map(str::to_owned),
            plugin: None,
            subject,
            state: AlertState::Firing,
            since: Timestamp::from_millis(1_000),
            value: 1.0,
            threshold: 0.0,
            why: Some("410 <img src=x>\u{1b}[2J".into()),
        };
        let told = alert(&of(AlertRule::SinkDisabled, None, AlertSubject::Sink("ledger".into())));
        assert_eq!((&told["severity"], &told["since"]), (&json!("critical"), &json!("1970-01-01T00:00:01Z")));
        let summary = told["summary"].as_str().unwrap();
        assert!(summary.contains("410 <img src=x>") && !summary.contains('\u{1b}'), "text stays text: {summary}");
        assert_eq!(told["typed"][0], json!(["wharfage events dead --sink ledger", "what it has not taken already"]));
        for (operation, line) in [
            ("orders.get", "wharfage call shop orders.get --limit 1"),
            ("(handle)", "wharfage call shop orders.list --limit 1"),
            ("x;reboot", "wharfage call shop orders.list --limit 1"),
        ] {
            let subject = AlertSubject::Operation(operation.into());
            assert_eq!(alert(&of(AlertRule::Errors, Some("shop"), subject))["typed"][0][0], line);
        }
        for rule in AlertRule::ALL {
            assert!(runbook(rule.name()).is_some_and(|text| text.contains("\n$ wharfage ")), "{}", rule.name());
        }
    }

    /// One that the page has no sign for would keep it from drawing anything.
    #[test]
    fn the_page_has_a_sign_for_every_state_of_a_socket() {
        let script = include_str!("page.js");
        let signs = script.split("[socket.state]").next().and_then(|before| before.rsplit('{').next()).unwrap();
        let at = Timestamp::from_millis(1_000);
        for state in [
            SocketState::Connecting,
            SocketState::Open,
            SocketState::StandBy,
            SocketState::Backoff(at),
            SocketState::Closed("it is off".into()),
        ] {
            let status = SocketStatus { state, since: at, openings: 0, dropped: 0, given_up: 0, last_end: None };
            let told = socket("acme", "live", &status);
            let word = format!("{}:", told["state"].as_str().unwrap());
            assert!(signs.replace('"', "").split([',', ' ']).any(|sign| sign == word), "{word} {signs}");
        }
    }

    #[test]
    fn a_body_is_shown_as_text_up_to_its_limit() {
        assert_eq!(text(b"{\n\t\"a\": 1\x1b[2J\xff}"), ("{\n\t\"a\": 1\u{fffd}[2J\u{fffd}}".to_owned(), false));
        let (kept, is_cut) = text("é".repeat(BODY_CHARS + 1).as_bytes());
        assert_eq!((kept.chars().count(), is_cut), (BODY_CHARS, true));
    }
}
