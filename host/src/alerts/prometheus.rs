//! The same rules as a rules file for Prometheus, made from the same table: thresholds, windows and times are those of the
//! policy. `wharfage alerts rules` prints it; `host/alerts/wharfage.rules.yml` is what it prints for the defaults.
//!
//! Prometheus estimates where the host counts: `increase` takes the first value of a series for its beginning and extends
//! what it saw to the edges of a window. Close to a threshold the two may differ.

use std::fmt::Write as _;

use crate::alerts::{AlertPolicy, AlertRule, NO_ERROR, UNAVAILABLE, exact};

/// Seconds between two evaluations, by which the normal latency counts what it has seen.
const INTERVAL_S: u64 = 60;

/// What every operation's numbers are summed by.
const BY: &str = "sum by (plugin, connection, operation)";

/// The recorded 95th percentile.
const P95: &str = "wharfage:call_duration_seconds:p95";

/// The rules file that says what the policy says.
pub fn prometheus_rules(policy: &AlertPolicy) -> String {
    let mut out = format!(
        "# What wharfage watches by itself, for Prometheus 2.42 or newer. Made by `wharfage alerts rules`; what to do about\n\
         # each alert: host/RUNBOOK.md, or `wharfage alerts runbook NAME`.\ngroups:\n  - name: wharfage\n    interval: {INTERVAL_S}s\n    rules:\n"
    );
    if policy.is_watched(AlertRule::Latency) {
        let rule = &policy.latency;
        let expr = format!(
            "histogram_quantile(0.95, sum by (plugin, connection, operation, le) \
             (rate(wharfage_call_duration_seconds_bucket[{w}s])))\n\
             and {BY} (increase(wharfage_call_duration_seconds_count[{w}s])) >= {calls}",
            w = rule.window_s,
            calls = rule.calls_min
        );
        let _ = writeln!(out, "      - record: {P95}");
        block(&mut out, "expr", &expr);
    }
    for rule in AlertRule::ALL.iter().copied().filter(|rule| policy.is_watched(*rule)) {
        let (expr, summary) = alert(policy, rule);
        let (for_ms, clear_ms) = policy.times_ms(rule);
        let _ = writeln!(out, "      - alert: Wharfage{}", rule.title());
        block(&mut out, "expr", &expr);
        for (key, ms) in [("for", for_ms), ("keep_firing_for", clear_ms)] {
            if ms > 0 {
                let _ = writeln!(out, "        {key}: {}s", ms / 1_000);
            }
        }
        let _ = write!(
            out,
            "        labels:\n          severity: {}\n        annotations:\n          summary: '{summary}'\n          \
             runbook: 'wharfage alerts runbook {}'\n",
            rule.severity().name(),
            rule.name()
        );
    }
    out
}

/// A text of several lines.
fn block(out: &mut String, key: &str, text: &str) {
    let _ = writeln!(out, "        {key}: |");
    text.lines().for_each(|line| {
        let _ = writeln!(out, "          {}", line.trim_start());
    });
}

/// The expression of a rule, and its sentence.
fn alert(policy: &AlertPolicy, rule: AlertRule) -> (String, String) {
    const OPERATION: &str = "{{ $labels.operation }} of {{ $labels.connection }}";
    let counted = |series: &str, window_s: u64| format!("{BY} (increase({series}[{window_s}s]))");
    let calls = |window_s: u64| counted("wharfage_calls_total", window_s);
    let share = |bad: &str, all: &str, most: f64, calls_min: u64, bad_min: u64| {
        format!("{bad}\n/ {all} > {most}\nand {all} >= {calls_min}\nand {bad} >= {bad_min}")
    };
    match rule {
        AlertRule::Availability => {
            let rule = &policy.availability;
            let series = format!("wharfage_calls_total{{outcome=~\"{}\"}}", UNAVAILABLE.join("|"));
            let (bad, all) = (counted(&series, rule.window_s), calls(rule.window_s));
            let most = exact((100.0 - rule.below_percent) / 100.0);
            let expr = share(&bad, &all, most, rule.calls_min, rule.failures_min);
            (expr, format!("{OPERATION}: less than {} % of calls are served", rule.below_percent))
        }
        AlertRule::Latency => {
            let rule = &policy.latency;
            let before = format!("{P95}[{}s] offset {}s", rule.normal_s, rule.window_s);
            let expr = format!(
                "{P95} > {} * quantile_over_time(0.5, {before})\nand {P95} > {}\nand count_over_time({before}) >= {}",
                rule.times_normal,
                rule.least_ms as f64 / 1_000.0,
                rule.normal_seen_s.div_ceil(INTERVAL_S)
            );
            let sentence = format!(
                "{OPERATION}: the 95th percentile is {{{{ $value | humanizeDuration }}}}, more than {} times what is normal",
                rule.times_normal
            );
            (expr, sentence)
        }
        AlertRule::Errors => {
            let rule = &policy.errors;
            let series = format!("wharfage_calls_total{{outcome!~\"ok|{}\"}}", NO_ERROR.join("|"));
            let (bad, all) = (counted(&series, rule.window_s), calls(rule.window_s));
            let most = exact(rule.above_percent / 100.0);
            let expr = share(&bad, &all, most, rule.calls_min, rule.failures_min);
            (expr, format!("{OPERATION}: more than {} % of calls fail", rule.above_percent))
        }
        AlertRule::RateLimited => {
            let rule = &policy.rate_limited;
            let (bad, all) = (counted("wharfage_rate_limited_total", rule.window_s), calls(rule.window_s));
            let most = exact(rule.above_percent / 100.0);
            let expr = share(&bad, &all, most, rule.calls_min, rule.answers_min);
            (expr, format!("{OPERATION}: more than {} answers 429 for a hundred calls", rule.above_percent))
        }
        AlertRule::Stale => {
            let above_s = policy.stale.above_s;
            let series = format!("wharfage_calls_total{{outcome!~\"{}\"}}", NO_ERROR.join("|"));
            let called = counted(&series, above_s);
            let overdue = "(wharfage_poll_lag_seconds > 0 or wharfage_poll_failures > 0)";
            // An operation that nobody called is as fresh as it should be, and so is a poll that is not due. What has never
            // succeeded has no time of it: it is as old as the process, where it was there for as long as is looked back.
            let expr = format!(
                "time() - wharfage_last_success_timestamp_seconds > {above_s}\n\
                 and on (plugin, connection, operation) {called} > 0\n\
                 or\ntime() - wharfage_poll_last_success_timestamp_seconds > {above_s}\n\
                 and {overdue}\n\
                 or\n(\n\
                 sum by (instance, plugin, connection, operation) (increase({series}[{above_s}s])) > 0\n\
                 unless on (instance, plugin, connection, operation) wharfage_last_success_timestamp_seconds\n\
                 or\n{overdue}\n\
                 and wharfage_poll_failures offset {above_s}s\n\
                 unless wharfage_poll_last_success_timestamp_seconds\n\
                 ) * 0\n\
                 + on (instance) group_left () max by (instance) (time() - wharfage_start_timestamp_seconds) > {above_s}"
            );
            let about = "{{ $labels.operation }}{{ $labels.poll }} of {{ $labels.connection }}";
            (expr, format!("{about}: the last success is {{{{ $value | humanizeDuration }}}} old"))
        }
        AlertRule::BreakerOpen => {
            let rule = &policy.breaker_open;
            let series = format!("wharfage_circuit_state{{state=\"open\"}}[{}s]", rule.window_s);
            let expr = format!("avg_over_time({series}) > {}", exact(rule.above_percent / 100.0));
            let about = "{{ $labels.origin }} of {{ $labels.connection }}";
            let sentence = format!("{about}: the breaker was open more than {} % of the time", rule.above_percent);
            (expr, sentence)
        }
        AlertRule::NeedsConnecting => {
            let expr = "wharfage_health_state{state=\"needs-connecting\"} == 1".to_owned();
            (expr, "{{ $labels.connection }}: a person must connect the account".to_owned())
        }
        AlertRule::DeadLetters => {
            let rule = &policy.dead_letters;
            // Gauges: what is replayed is taken from them.
            let more =
                |series: &str| format!("{series} - min_over_time({series}[{}s]) > {}", rule.window_s, rule.above);
            let expr = format!("{}\nor\n{}", more("wharfage_dead_letters"), more("wharfage_sink_dead_letters"));
            let about = "{{ $labels.connection }}{{ $labels.sink }}";
            (expr, format!("{about}: {{{{ $value }}}} events were given up"))
        }
        AlertRule::SinkDisabled => {
            let expr = "wharfage_sink_state{state=\"disabled\"} == 1".to_owned();
            (expr, "the sink {{ $labels.sink }} is asked no more".to_owned())
        }
    }
}
