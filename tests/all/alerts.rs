//! Alerts from end to end: what happens, who is told and who is not, over restarts; the same rules for Prometheus; and a
//! runbook whose every command is one.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use wharfage::alerts::{AlertPolicy, AlertRule, AlertState, AlertSubject};
use wharfage::health::Cause;
use wharfage::serving::SinkDoing;
use wharfage::{ManualClock, Serving};
use wharfage_tests::scene::{host, secret_file};
use wharfage_tests::{API_KEY, NOW, Provider, Reply, drained, root, skipped, until};

use crate::cli::wharfage;
use crate::sinks::{config, folder};

/// The rules for Prometheus.
const RULES: &str = "host/alerts/wharfage.rules.yml";

async fn serve(folder: &Path, clock: &ManualClock) -> Serving {
    host(&folder.join("state"), clock.clone()).serve(&config(folder)).await.unwrap()
}

/// The events in a file of lines.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Readings after which a test gives up: eight hours.
const READINGS_MAX: usize = 2_000;

/// Lets the time of one reading pass. Asking how everything stands is as much work as a reading, so that the clock does not
/// run away from whoever takes them: an event that waited for days is a dead letter, and a process that says nothing for
/// two minutes has gone.
async fn reading(clock: &ManualClock, all: &[&Serving]) {
    clock.advance(15_000);
    for _ in 0..5 {
        for serving in all {
            serving.state().await.unwrap();
        }
        tokio::task::yield_now().await;
    }
}

/// Lets readings pass until it is so.
async fn turning(clock: &ManualClock, all: &[&Serving], is_so: impl Fn() -> bool) {
    for _ in 0..READINGS_MAX {
        if is_so() {
            return;
        }
        reading(clock, all).await;
    }
    panic!("it is not so after {READINGS_MAX} readings: {:?}", all[0].alerts());
}

#[tokio::test]
async fn a_sink_that_is_gone_is_told_to_the_one_that_is_named_and_once_over_restarts() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let status = Arc::new(AtomicU16::new(410));
    let answers = status.clone();
    let receiver = Provider::answering(move |_| Reply::status(answers.load(Ordering::SeqCst))).await;
    let sinks = format!(
        "[sinks.ops]\nkind = 'file'\npath = 'ops.jsonl'\ntypes = ['wharfage.alert.*']\n\
         [sinks.all]\nkind = 'file'\npath = 'all.jsonl'\n\
         [sinks.billing]\nkind = 'http'\nurl = '{}/in'\nsecret = {{ file = 'sink-secret' }}\n\
         private_addresses = ['127.0.0.1/32']\n[alerts]\nsink = 'ops'\n",
        receiver.url()
    );
    let folder = folder(&provider, &sinks).await;
    let (ops, all) = (folder.path().join("ops.jsonl"), folder.path().join("all.jsonl"));
    let clock = ManualClock::new(NOW, 1);
    let is_disabled = async |serving: &Serving| {
        let sinks = serving.state().await.unwrap().sinks;
        sinks.iter().any(|sink| matches!(sink.doing, SinkDoing::Disabled { .. }))
    };

    let serving = serve(folder.path(), &clock).await;
    until!(is_disabled(&serving).await);
    turning(&clock, &[&serving], || lines(&ops).len() == 1).await;
    let alerts = serving.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!((alerts[0].rule, alerts[0].state), (AlertRule::SinkDisabled, AlertState::Firing));
    assert_eq!(alerts[0].subject, AlertSubject::Sink("billing".into()));
    assert!(drained(serving, &clock).await);
    let event = lines(&ops).remove(0);
    assert_eq!((&event["type"], &event["source"]), (&"wharfage.alert.firing".into(), &"urn:wharfage:host".into()));
    let data = &event["data"];
    assert_eq!((&data["rule"], &data["severity"]), (&"sink_disabled".into(), &"critical".into()));
    assert_eq!(
        (&data["subject"]["sink"], &data["runbook"]),
        (&"billing".into(), &"RUNBOOK.md#alert-sink_disabled".into())
    );
    assert!(data["summary"].as_str().unwrap().contains("the sink billing is asked no more"), "{data}");

    // Another process, where the sink is gone still: nobody hears it twice.
    let serving = serve(folder.path(), &clock).await;
    until!(is_disabled(&serving).await);
    turning(&clock, &[&serving], || serving.alerts().iter().any(|alert| alert.state == AlertState::Firing)).await;
    for _ in 0..20 {
        reading(&clock, &[&serving]).await;
    }
    assert!(drained(serving, &clock).await);
    assert_eq!(lines(&ops).len(), 1);
    let (code, out, _) = wharfage(folder.path(), &["alerts", "firing", "--json"]);
    let row: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((code, &row["rule"], &row["since"]), (0, &"sink_disabled".into(), &data["since"]), "{out}");

    // It takes events again.
    status.store(204, Ordering::SeqCst);
    let serving = serve(folder.path(), &clock).await;
    turning(&clock, &[&serving], || lines(&ops).len() == 2).await;
    assert!(serving.alerts().is_empty());
    assert!(drained(serving, &clock).await);
    let event = lines(&ops).remove(1);
    assert_eq!((&event["type"], &event["data"]["since"]), (&"wharfage.alert.resolved".into(), &data["since"]));
    assert_eq!(event["key"], lines(&ops)[0]["key"], "what belongs together says so");
    assert_ne!(event["id"], lines(&ops)[0]["id"]);
    let others: Vec<Value> = lines(&all);
    assert!(!others.is_empty() && others.iter().all(|event| event["type"] == "thing.updated"), "{others:?}");
    let (_, out, err) = wharfage(folder.path(), &["alerts", "firing"]);
    assert!(out.is_empty() && err.is_empty(), "a pipe gets rows and nothing else: {out}{err}");
}

/// A key that is nowhere, or that the provider refuses, needs a person as much as a consent that was withdrawn.
#[tokio::test]
async fn a_key_that_is_missing_or_refused_is_told_as_what_needs_a_person() {
    for (status, why) in [(200, "key"), (401, "the provider did not accept the credential")] {
        let provider = Provider::answering(move |_| Reply::status(status)).await;
        let folder = folder(&provider, "").await;
        // A key that is newer than its refusal is another one.
        let key = std::fs::File::options().write(true).open(folder.path().join("key")).unwrap();
        key.set_modified(std::time::UNIX_EPOCH).unwrap();
        let clock = ManualClock::new(NOW, 1);
        let serving = serve(folder.path(), &clock).await;
        if status == 200 {
            std::fs::remove_file(folder.path().join("key")).unwrap();
        }
        let needs = || {
            let all = serving.alerts().into_iter();
            all.filter(|alert| alert.rule == AlertRule::NeedsConnecting && alert.state == AlertState::Firing).collect()
        };
        turning(&clock, &[&serving], || !Vec::is_empty(&needs())).await;
        let needs: Vec<wharfage::alerts::Alert> = needs();
        assert_eq!(needs.len(), 1, "{needs:?}");
        assert_eq!(needs[0].subject, AlertSubject::Credential("api_key".into()));
        assert_eq!(needs[0].connection.as_deref(), Some("acme"));
        assert!(needs[0].why.as_deref().unwrap().contains(why), "{needs:?}");
        let text = serving.metrics().await.unwrap().prometheus();
        let series = "wharfage_health_state{connection=\"acme\",state=\"needs-connecting\"} 1";
        assert!(text.lines().any(|line| line == series), "Prometheus' rule would see nothing of it: {text}");
        if status == 200 {
            secret_file(&folder.path().join("key"), API_KEY);
            let is_over = || serving.alerts().iter().all(|alert| alert.rule != AlertRule::NeedsConnecting);
            turning(&clock, &[&serving], is_over).await;
        }
        assert!(drained(serving, &clock).await);
    }
}

/// Two processes serve one state folder, and both see that a sink is gone: whoever is told is told once.
#[tokio::test]
async fn two_over_one_state_folder_tell_once() {
    let provider = Provider::answering(|_| Reply::status(401)).await;
    let more = "[sinks.ops]\nkind = 'file'\npath = 'ops.jsonl'\ntypes = ['wharfage.alert.*']\n[alerts]\nsink = 'ops'\n\
                errors = { enabled = false }\navailability = { enabled = false }\nstale = { enabled = false }\n";
    let folder = folder(&provider, more).await;
    std::fs::remove_file(folder.path().join("key")).unwrap();
    let (clock, ops) = (ManualClock::new(NOW, 1), folder.path().join("ops.jsonl"));
    let (one, other) = (serve(folder.path(), &clock).await, serve(folder.path(), &clock).await);
    let fires = |serving: &Serving| serving.alerts().iter().any(|alert| alert.state == AlertState::Firing);
    let both = || fires(&one) && fires(&other) && !lines(&ops).is_empty();
    turning(&clock, &[&one, &other], both).await;
    for _ in 0..20 {
        reading(&clock, &[&one, &other]).await;
    }
    // Where the clock leaps, two give to one sink, which knows what comes again by its id.
    let types = || -> Vec<String> {
        let (mut ids, all) = (BTreeSet::new(), lines(&ops));
        let told = all.iter().filter(|event| ids.insert(event["id"].to_string()));
        told.map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(types(), ["wharfage.alert.firing"]);

    // The one that goes on sees that it is over, and says so once the other has been gone for long enough.
    assert!(drained(one, &clock).await);
    secret_file(&folder.path().join("key"), API_KEY);
    turning(&clock, &[&other], || types().len() > 1).await;
    assert_eq!(types(), ["wharfage.alert.firing", "wharfage.alert.resolved"]);
    assert!(drained(other, &clock).await);
}

#[test]
fn the_program_shows_what_is_watched_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = wharfage(folder.path(), &["alerts", "list", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("set in [alerts] of wharfage.toml:   sink = \"NAME\""), "{err}");
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), AlertPolicy::default().all().len());
    let is_default = |row: &Value| row["rule"] == "errors" && row["key"] == "above_percent" && row["value"] == 1;
    assert!(rows.iter().any(is_default), "{out}");

    let (code, out, _) = wharfage(folder.path(), &["alerts", "rules"]);
    assert_eq!((code, out), (0, wharfage::alerts::prometheus_rules(&AlertPolicy::default())));
    std::fs::write(folder.path().join("wharfage.toml"), "[alerts.errors]\nabove_percent = 7\n").unwrap();
    let (_, out, _) = wharfage(folder.path(), &["alerts", "rules"]);
    assert!(out.contains("> 0.07\n") && out.contains("more than 7 % of calls fail"), "{out}");

    let (code, out, _) = wharfage(folder.path(), &["alerts", "runbook", "errors"]);
    assert!(code == 0 && out.starts_with("### Alert `errors`\n"), "{out}");
    let (code, out, err) = wharfage(folder.path(), &["alerts", "runbook", "no-such-thing"]);
    assert!(code == 2 && out.is_empty() && err.contains("wharfage alerts runbook"), "{code}: {err}");

    std::fs::write(folder.path().join("wharfage.toml"), "[alerts]\nsink = 'ops'\n").unwrap();
    let (code, _, err) = wharfage(folder.path(), &["alerts", "list"]);
    assert!(code == 3 && err.contains("alerts.sink names the sink `ops`"), "{code}: {err}");
    assert!(err.contains("[sinks.ops] kind = \"stdout\""), "{err}");
}

/// One table: the file that lies here is what the program makes of the defaults.
#[test]
fn the_rules_file_says_what_the_host_watches() {
    let made = wharfage::alerts::prometheus_rules(&AlertPolicy::default());
    #[allow(clippy::disallowed_methods, reason = "the one switch of the tests")]
    if std::env::var_os("WHARFAGE_BLESS").is_some() {
        std::fs::write(root().join(RULES), &made).unwrap();
        println!("WHARFAGE_BLESS is set: {RULES} was written and not compared");
    }
    let lies = std::fs::read_to_string(root().join(RULES)).unwrap_or_default();
    assert!(
        lies == made,
        "{RULES} differs from what the program makes. Write it anew: WHARFAGE_BLESS=1 cargo test -p wharfage-tests alerts"
    );
    for rule in AlertRule::ALL {
        assert_eq!(made.matches(&format!("runbook: 'wharfage alerts runbook {}'", rule.name())).count(), 1);
    }
}

/// No threshold is only the host's.
#[test]
fn every_number_of_every_rule_stands_in_the_rules_file() {
    let made = wharfage::alerts::prometheus_rules(&AlertPolicy::default());
    for limit in AlertPolicy::default().all() {
        let (rule, name) = (limit.rule.name(), limit.name);
        let other = if name.ends_with("percent") { limit.value / 2.0 } else { limit.value * 2.0 + 60.0 };
        let other = if name == "times_normal" { 3.5 } else { other };
        let text = match other.fract() == 0.0 {
            true => format!("{rule} = {{ {name} = {} }}", other as u64),
            false => format!("{rule} = {{ {name} = {other} }}"),
        };
        let policy = AlertPolicy::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_ne!(wharfage::alerts::prometheus_rules(&policy), made, "{text} changes nothing there");
    }
}

#[test]
fn promtool_takes_the_rules_and_they_fire_when_they_should() {
    if Command::new("promtool").arg("--version").output().is_err() {
        let why = format!("it is not installed (Debian: prometheus), so nobody has checked {RULES}");
        return skipped("promtool", &why);
    }
    let check = |file: &Path| {
        let output = Command::new("promtool").args(["check", "rules"]).arg(file).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && !text.contains("duplicate"), "{}: {text}", file.display());
    };
    check(&root().join(RULES));
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        (
            "changed",
            "errors = { above_percent = 0.001 }\nlatency = { times_normal = 1.25, least_ms = 1 }\nfiring_max = 3",
        ),
        ("less", "latency = { enabled = false }\nstale = { enabled = false, for_s = 0 }"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, wharfage::alerts::prometheus_rules(&AlertPolicy::parse(text).unwrap())).unwrap();
        check(&file);
    }
    let cases = root().join("host/alerts/wharfage.rules.test.yml");
    let output = Command::new("promtool").args(["test", "rules"]).arg(&cases).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    let cases = std::fs::read_to_string(cases).unwrap();
    let rules = std::fs::read_to_string(root().join(RULES)).unwrap();
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let tried = cases.split("- alertname: ").filter(|case| case.lines().next() == Some(name));
        let (fires, quiet): (Vec<&str>, Vec<&str>) = tried.partition(|case| !case.contains("exp_alerts: []"));
        assert!(!fires.is_empty() && !quiet.is_empty(), "{name} is not tried both ways");
    }
}

/// Every command of the program in the runbook, with its subcommands and flags.
fn commands() -> BTreeSet<Vec<String>> {
    let quoted = wharfage::alerts::RUNBOOK.split('`').skip(1).step_by(2).filter(|text| !text.contains('\n'));
    let typed = wharfage::alerts::RUNBOOK.lines().filter_map(|line| line.strip_prefix("$ "));
    let words = |text: &str| -> Option<Vec<String>> {
        let text = text.split(" # ").next()?.trim();
        let words = text.strip_prefix("wharfage ")?.split_whitespace();
        Some(words.filter(|word| *word != "…").map(str::to_owned).collect())
    };
    quoted.chain(typed).filter_map(words).collect()
}

#[test]
fn every_command_of_the_runbook_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let help = |path: &[&str]| {
        let arguments: Vec<&str> = path.iter().copied().chain(["--help"]).collect();
        wharfage(folder.path(), &arguments)
    };
    let (_, top, _) = help(&[]);
    let all = commands();
    assert!(all.len() > 20, "{all:?}");
    let lists = |help: &str, word: &str| {
        help.lines().any(|line| line.starts_with("  ") && line.split_whitespace().next() == Some(word))
    };
    let mut wrong = Vec::new();
    for command in &all {
        let shown = format!("wharfage {}", command.join(" "));
        let mut path: Vec<&str> = Vec::new();
        let mut text = top.clone();
        for word in command.iter().take_while(|word| !word.starts_with('-')) {
            if !text.contains("\nCommands:") {
                break;
            }
            if !lists(&text, word) {
                wrong.push(format!("{shown}: there is no `{word}`"));
                break;
            }
            path.push(word);
            text = help(&path).1;
        }
        for flag in command.iter().filter(|word| word.starts_with('-')) {
            let is_verbose = flag.trim_start_matches(['-', 'v']).is_empty();
            let is_known = text.split(|c: char| c.is_whitespace() || c == ',').any(|word| word == flag);
            if !is_known && !is_verbose {
                wrong.push(format!("{shown}: there is no `{flag}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Every heading says what it must, and every link inside leads somewhere.
#[test]
fn the_runbook_is_whole() {
    let anchor = |heading: &str| -> String {
        let kept = heading.to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    let headings: Vec<&str> = wharfage::alerts::RUNBOOK
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .collect();
    let anchors: BTreeSet<String> = headings.iter().map(|heading| anchor(heading)).collect();
    assert_eq!(anchors.len(), headings.len(), "two headings read alike");
    for link in wharfage::alerts::RUNBOOK.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.contains(link), "#{link} leads nowhere");
    }
    for rule in AlertRule::ALL {
        let place = rule.runbook();
        let (file, anchor) = place.split_once('#').unwrap();
        assert!(root().join("host").join(file).is_file() && anchors.contains(anchor), "{place}");
    }
    let causes = headings.iter().filter_map(|heading| heading.strip_prefix("Cause `")?.strip_suffix('`'));
    let known = Cause::ALL.iter().map(|cause| cause.name());
    assert_eq!(causes.collect::<BTreeSet<_>>(), known.clone().collect(), "causes and headings");
    for name in known.chain(AlertRule::ALL.iter().map(|rule| rule.name())) {
        let text = wharfage::alerts::runbook(name).unwrap();
        for part in ["**It means**", "**Look at**", "**Type**", "```console\n$ wharfage ", "**It is over**"] {
            assert!(text.contains(part), "{name} does not say: {part}");
        }
    }
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (readme, manual) = (read("README.md"), read("host/MANUAL.md"));
    assert!(readme.contains("(host/RUNBOOK.md)") && manual.contains("(RUNBOOK.md)"));
    let section = manual.split("\n## Alerts\n").nth(1).unwrap().split("\n## ").next().unwrap();
    assert!(section.contains("(alerts/wharfage.rules.yml)"));
    for rule in AlertRule::ALL {
        let row = format!("| `{}` |", rule.name());
        assert!(section.contains(&row), "the manual, section Alerts, has no row {row}");
    }
}
