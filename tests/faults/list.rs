//! The behaviours: one row each, with who is known for it and what a good client does.
//!
//! To add one, add a row; the table, the test and the comparison follow. A script gets the world and answers request
//! by request. Where nobody is named, the behaviour is what the standard allows or what breaks on the way.

use serde_json::json;

use super::Must::{
    Answer, Bytes, Executed, Failure, Hides, HidesCredential, InTrouble, KeepsBody, KeepsCredential, OverLimit,
    Recovers, Requests, StaysAway, Success, WaitsFrom, WaitsTo,
};
use super::rule::base64;
use super::{Fault, GOOD, Group, Place, Task, composed};
use crate::provider::Answer as Script;
use crate::{Count, Reply};

/// All there are.
pub const GROUPS: &[Group] = &[
    Group { title: "Answers that are one", faults: ANSWERS },
    Group { title: "Too many requests, and until when", faults: LIMITS },
    Group { title: "Errors that say they are fine, and others", faults: ERRORS },
    Group { title: "Slow", faults: SLOW },
    Group { title: "Broken on the way", faults: BROKEN },
    Group { title: "Too much", faults: LARGE },
    Group { title: "Elsewhere", faults: ELSEWHERE },
    Group { title: "Writes", faults: WRITES },
    Group { title: "Credentials that come back", faults: ECHOES },
    Group { title: "Many at once", faults: MANY },
];

/// The good answer.
pub(super) fn good() -> Reply {
    Reply::status(200).header("content-type", "application/json").body(format!("{{{GOOD}}}"))
}

/// The same for every request.
fn always(reply: Reply) -> Box<Script> {
    Box::new(move |_| reply.clone())
}

/// Once, and then the good answer.
fn once(reply: Reply) -> Box<Script> {
    Box::new(move |seen| if seen.number == 1 { reply.clone() } else { good() })
}

fn raw(text: &str) -> Reply {
    Reply::raw(text.as_bytes())
}

fn limited() -> Reply {
    Reply::status(429)
}

/// What a good client does that is told to come back in seven seconds.
const HEEDS_SEVEN: &[super::Must] = &[Answer, WaitsFrom(7_000), Requests(2), WaitsTo(9_000)];
/// What it does where it is told nothing usable and the trouble is short.
const IS_PATIENT: &[super::Must] = &[Answer, Requests(5), WaitsTo(20_000)];
/// What it does where it is told to come back later than anybody waits.
const HANDS_ON: &[super::Must] = &[Failure, Requests(1), WaitsTo(1_000)];
const ASKS_ONCE: &[super::Must] = &[Failure, Requests(1)];
const ASKS_AGAIN: &[super::Must] = &[Answer, Requests(2), WaitsTo(15_000)];
const READS_IT: &[super::Must] = &[Answer, Requests(1)];

const ANSWERS: &[Fault] = &[
    Fault {
        name: "created",
        does: "201 to a POST",
        who: "Twilio, and REST as it is taught; the guide's client took it for a failure",
        task: Task::Write,
        must: &[Success, Executed(1), Requests(1)],
        answer: |_| always(Reply::status(201).body("{\"id\":1}").counted(Count::Executed)),
    },
    Fault {
        name: "accepted",
        does: "202 with an empty body to a POST",
        who: "whoever works it off later",
        task: Task::Write,
        must: &[Success, Executed(1), Requests(1)],
        answer: |_| always(Reply::status(202).counted(Count::Executed)),
    },
    Fault {
        name: "no-content",
        does: "204",
        who: "RFC 9110, 15.3.5",
        task: Task::Write,
        must: &[Success, Executed(1), Requests(1)],
        answer: |_| always(Reply::status(204).counted(Count::Executed)),
    },
    Fault {
        name: "empty-200",
        does: "200 with nothing in it",
        who: "many, for \"nothing found\"",
        task: Task::Read,
        must: &[Success, Requests(1)],
        answer: |_| always(Reply::status(200)),
    },
    Fault {
        name: "html-200",
        does: "200 with a page for people",
        who: "login pages and bot checks in front of an API",
        task: Task::Read,
        must: &[Success, Requests(1)],
        answer: |_| always(Reply::status(200).header("content-type", "text/html").body("<html>Just a moment…</html>")),
    },
    Fault {
        name: "lying-content-type",
        does: "JSON that calls itself text/html",
        who: "older PHP services",
        task: Task::Read,
        must: READS_IT,
        answer: |_| always(Reply::status(200).header("content-type", "text/html").body(format!("{{{GOOD}}}"))),
    },
    Fault {
        name: "early-hints",
        does: "103 before the 200",
        who: "RFC 8297; content delivery networks",
        task: Task::Read,
        must: READS_IT,
        answer: |_| {
            always(raw(
                "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}",
            ))
        },
    },
    Fault {
        name: "http-1.0",
        does: "HTTP/1.0, closed after each answer",
        who: "appliances and old proxies",
        task: Task::Read,
        must: READS_IT,
        answer: |_| always(raw("HTTP/1.0 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}")),
    },
    Fault {
        name: "until-closed",
        does: "no length at all: the body ends with the connection",
        who: "RFC 9112, 6.3",
        task: Task::Read,
        must: READS_IT,
        answer: |_| always(raw("HTTP/1.1 200 OK\r\n\r\n{\"ok\":true}")),
    },
    Fault {
        name: "trailers",
        does: "fields after the last chunk",
        who: "RFC 9112, 7.1.2; gRPC gateways",
        task: Task::Read,
        must: READS_IT,
        answer: |_| {
            always(raw(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\nb\r\n{\"ok\":true}\r\n0\r\nx-sum: 7\r\n\r\n",
            ))
        },
    },
    Fault {
        name: "kept-and-closed",
        does: "closes a kept connection between two requests, without having said so",
        who: "every load balancer's idle time-out",
        task: Task::Reads { calls: 3, apart_ms: 1_000, place: Place::Api },
        must: &[Answer, Requests(3)],
        answer: |_| always(good().then_closed()),
    },
    Fault {
        name: "kept-and-dead",
        does: "resets a kept connection when the next request comes over it",
        who: "NAT gateways that forget; restarted servers",
        task: Task::Reads { calls: 3, apart_ms: 1_000, place: Place::Api },
        must: &[Answer, Requests(5)],
        answer: |_| Box::new(|seen| if seen.nth == 1 { good() } else { Reply::reset() }),
    },
];

const LIMITS: &[Fault] = &[
    Fault {
        name: "retry-after-seconds",
        does: "429 with Retry-After: 7",
        who: "RFC 9110, 10.2.3; most who limit at all",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |w, end| limited().header("retry-after", &w.seconds_to(end).to_string())),
    },
    Fault {
        name: "retry-after-decimals",
        does: "429 with Retry-After: 1.5",
        who: "beyond RFC 9110, and sent all the same; Discord counts in fractions (docs.discord.com, rate limits)",
        task: Task::Read,
        must: &[Answer, WaitsFrom(1_500), Requests(2), WaitsTo(4_000)],
        answer: |world| world.until(1_500, |_, _| limited().header("retry-after", "1.5")),
    },
    Fault {
        name: "retry-after-date",
        does: "429 with Retry-After: Sun, 22 Nov 2026 08:49:44 GMT",
        who: "RFC 9110, 10.2.3; the guide's client died of it",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |w, end| limited().header("retry-after", &w.date(end))),
    },
    Fault {
        name: "retry-after-rfc850",
        does: "429 with Retry-After: Sunday, 22-Nov-26 08:49:44 GMT",
        who: "RFC 9110, 5.6.7: recipients must accept it",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |w, end| limited().header("retry-after", &old_date(&w.date(end)))),
    },
    Fault {
        name: "retry-after-asctime",
        does: "429 with Retry-After: Sun Nov 22 08:49:44 2026",
        who: "RFC 9110, 5.6.7: recipients must accept it",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |w, end| limited().header("retry-after", &c_date(&w.date(end)))),
    },
    Fault {
        name: "retry-after-wrong-clock",
        does: "a date from a server whose clock, and so whose Date, is an hour behind",
        who: "machines without NTP",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| {
            const HOUR_MS: u64 = 3_600_000;
            let behind = |at: wharfage::Timestamp| wharfage::Timestamp::from_millis(at.as_millis() - HOUR_MS);
            world.until(7_000, move |w, end| {
                let date = w.date(behind(w.clock.now()));
                limited().header("date", &date).header("retry-after", &w.date(behind(end)))
            })
        },
    },
    Fault {
        name: "retry-after-zero",
        does: "429 with Retry-After: 0, for three seconds",
        who: "apache/iggy#4192",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| world.until(3_000, |_, _| limited().header("retry-after", "0")),
    },
    Fault {
        name: "retry-after-negative",
        does: "429 with Retry-After: -3, for three seconds",
        who: "servers that subtract two clocks",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| world.until(3_000, |_, _| limited().header("retry-after", "-3")),
    },
    Fault {
        name: "retry-after-nan",
        does: "429 with Retry-After: NaN, for three seconds",
        who: "servers that divide by zero",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| world.until(3_000, |_, _| limited().header("retry-after", "NaN")),
    },
    Fault {
        name: "retry-after-past",
        does: "429 with a date that is over, for three seconds",
        who: "caches that keep the head of a 429",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| world.until(3_000, |_, _| limited().header("retry-after", "Sun, 22 Nov 2020 08:49:37 GMT")),
    },
    Fault {
        name: "retry-after-epoch-millis",
        does: "429 with Retry-After: 1795337384000, thirteen digits",
        who: "servers that put a time where a wait belongs",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |_, end| limited().header("retry-after", &end.as_millis().to_string())),
    },
    Fault {
        name: "retry-after-hour",
        does: "429 with Retry-After: 3600",
        who: "daily quotas; hikari 2.0.0.dev90 tells of two days; caseyamcl/guzzle_retry_middleware#36 wants a cap",
        task: Task::Read,
        must: HANDS_ON,
        answer: |_| always(limited().header("retry-after", "3600")),
    },
    Fault {
        name: "retry-after-huge",
        does: "429 with Retry-After: 99999999999999999999",
        who: "overflows; a client that adds it to a time panics",
        task: Task::Read,
        must: HANDS_ON,
        answer: |_| always(limited().header("retry-after", "99999999999999999999")),
    },
    Fault {
        name: "bare-429",
        does: "429 that says nothing, for three seconds",
        who: "many gateways",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| world.until(3_000, |_, _| limited()),
    },
    Fault {
        name: "retry-after-in-body",
        does: "429 with {\"retry_after\": 7} in its body and nothing in its head",
        who: "Discord has it in both (docs.discord.com, rate limits); Google writes a time into a sentence",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| {
            world.until(7_000, |w, end| {
                limited().body(json!({"message": "slow down", "retry_after": w.seconds_to(end)}).to_string())
            })
        },
    },
    Fault {
        name: "reset-delta",
        does: "429 with X-RateLimit-Reset: 7",
        who: "Reddit (r/redditdev, 2014-02-25)",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |w, end| reset(&w.seconds_to(end).to_string())),
    },
    Fault {
        name: "reset-epoch",
        does: "429 with X-RateLimit-Reset: 1795337384, seconds since 1970",
        who: "GitHub",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |_, end| reset(&end.as_millis().div_ceil(1_000).to_string())),
    },
    Fault {
        name: "reset-epoch-millis",
        does: "429 with X-RateLimit-Reset: 1795337384000, milliseconds since 1970",
        who: "services written in JavaScript or Java",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |_, end| reset(&end.as_millis().to_string())),
    },
    Fault {
        name: "reset-iso",
        does: "429 with X-RateLimit-Reset: 2026-11-22T08:49:44Z",
        who: "Mastodon and Rachio, as their users quote them",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |_, end| reset(&end.to_string())),
    },
    Fault {
        name: "reset-go-duration",
        does: "429 with X-RateLimit-Reset: 7s",
        who: "OpenAI writes 12ms and 6m0s (its guide to rate limits)",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |w, end| reset(&format!("{}s", w.seconds_to(end)))),
    },
    Fault {
        name: "reset-javascript",
        does: "429 with X-RateLimit-Reset: Sun Nov 22 2026 09:49:44 GMT+0100 (Central European Standard Time)",
        who: "lemlist (developer.lemlist.com, rate limits), with a Retry-After beside it that is missing here",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| world.until(7_000, |w, end| reset(&javascript_date(&w.date(end.plus(3_600_000))))),
    },
    Fault {
        name: "reset-past",
        does: "429 whose reset lies in the past, for three seconds",
        who: "windows counted on another machine",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| world.until(3_000, |_, _| reset("1600000000")),
    },
    Fault {
        name: "ratelimit-older-drafts",
        does: "429 with RateLimit-Remaining: 0 and RateLimit-Reset: 7",
        who: "the IETF's drafts up to 7; express-rate-limit; LeafLink",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| {
            world.until(7_000, |w, end| {
                let reset = w.seconds_to(end).to_string();
                limited()
                    .header("ratelimit-limit", "100")
                    .header("ratelimit-remaining", "0")
                    .header("ratelimit-reset", &reset)
            })
        },
    },
    Fault {
        name: "ratelimit-structured",
        does: "429 with RateLimit: \"burst\";r=0;t=7",
        who: "the IETF's draft 11 of 2026-05-23",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| {
            world.until(7_000, |w, end| {
                limited()
                    .header("ratelimit-policy", "\"burst\";q=100;w=60")
                    .header("ratelimit", &format!("\"burst\";r=0;t={}", w.seconds_to(end)))
            })
        },
    },
];

/// `Sunday, 22-Nov-26 08:49:44 GMT` from HTTP's usual form.
fn old_date(date: &str) -> String {
    let long = |short: &str| match short {
        "Mon" => "Monday",
        "Tue" => "Tuesday",
        "Wed" => "Wednesday",
        "Thu" => "Thursday",
        "Fri" => "Friday",
        "Sat" => "Saturday",
        _ => "Sunday",
    };
    format!("{}, {}-{}-{} {} GMT", long(&date[..3]), &date[5..7], &date[8..11], &date[14..16], &date[17..25])
}

/// `Sun Nov 22 08:49:44 2026` from HTTP's usual form.
fn c_date(date: &str) -> String {
    format!("{} {} {} {} {}", &date[..3], &date[8..11], &date[5..7], &date[17..25], &date[12..16])
}

/// `Sun Nov 22 2026 09:49:44 GMT+0100 (Central European Standard Time)` from HTTP's usual form of an hour later.
fn javascript_date(date: &str) -> String {
    let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    format!("{} {month} {day} {year} {time} GMT+0100 (Central European Standard Time)", &date[..3])
}

fn reset(value: &str) -> Reply {
    limited().header("x-ratelimit-limit", "100").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", value)
}

const ERRORS: &[Fault] = &[
    Fault {
        name: "limit-in-200",
        does: "200 with {\"status\":\"0\",\"result\":\"Max rate limit reached\"}, for a second",
        who: "Etherscan",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| {
            world.until(1_000, |_, _| {
                Reply::json(&json!({"status": "0", "message": "NOTOK", "result": "Max rate limit reached"}))
            })
        },
    },
    Fault {
        name: "quota-in-200",
        does: "200 with {\"status\":\"0\",\"result\":\"Max daily rate limit reached\"}, until midnight",
        who: "Etherscan (rotki#8626)",
        task: Task::Read,
        must: HANDS_ON,
        answer: |_| {
            always(Reply::json(
                &json!({"status": "0", "message": "NOTOK", "result": "Max daily rate limit reached. 110000 (100%) of 100000"}),
            ))
        },
    },
    Fault {
        name: "throttle-fault-in-200",
        does: "200 with a Fault of code 003001, for five seconds",
        who: "QuickBooks",
        task: Task::Read,
        must: &[Answer, WaitsFrom(5_000), Requests(2), WaitsTo(15_000)],
        answer: |world| {
            world.until(5_000, |_, _| {
                Reply::json(&json!({"Fault": {"type": "ThrottleFault", "Error":
                    [{"Message": "ThrottleExceeded", "code": "003001"}]}}))
            })
        },
    },
    Fault {
        name: "fault-in-200",
        does: "200 with a Fault about the input",
        who: "QuickBooks",
        task: Task::Read,
        must: ASKS_ONCE,
        answer: |_| {
            always(Reply::json(&json!({"Fault": {"type": "ValidationFault", "Error":
                [{"Message": "Duplicate Name Exists Error", "code": "6240"}]}})))
        },
    },
    Fault {
        name: "graphql-throttled",
        does: "200 with errors[0].extensions.code THROTTLED, for two seconds",
        who: "Shopify (Shopify/shopify-api-ruby#836)",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| {
            world.until(2_000, |_, _| {
                Reply::json(&json!({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}))
            })
        },
    },
    Fault {
        name: "limit-in-403",
        does: "403 that means too many requests, for three seconds",
        who: "Google (usageLimits, rateLimitExceeded); GitHub's secondary limits (octocrab#349)",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| {
            world.until(3_000, |_, _| {
                Reply::status(403).body(
                    json!({"error": {"code": 403, "errors":
                        [{"domain": "usageLimits", "reason": "rateLimitExceeded"}]}})
                    .to_string(),
                )
            })
        },
    },
    Fault {
        name: "bare-503",
        does: "503 that says nothing, for three seconds",
        who: "every proxy whose server restarts",
        task: Task::Read,
        must: IS_PATIENT,
        answer: |world| world.until(3_000, |_, _| Reply::status(503)),
    },
    Fault {
        name: "503-with-hint",
        does: "503 with Retry-After: 7",
        who: "maintenance pages (RFC 9110, 15.6.4)",
        task: Task::Read,
        must: HEEDS_SEVEN,
        answer: |world| {
            world.until(7_000, |w, end| Reply::status(503).header("retry-after", &w.seconds_to(end).to_string()))
        },
    },
    Fault {
        name: "500-once",
        does: "500, and then all is well",
        who: "everybody, now and then",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(Reply::status(500)),
    },
    Fault {
        name: "500-for-ever",
        does: "500 to everything",
        who: "a defect that this input finds",
        task: Task::Read,
        must: &[Failure, Requests(5), WaitsTo(30_000)],
        answer: |_| always(Reply::status(500)),
    },
    Fault {
        name: "501",
        does: "not implemented, today or tomorrow",
        who: "RFC 9110, 15.6.2",
        task: Task::Read,
        must: ASKS_ONCE,
        answer: |_| always(Reply::status(501)),
    },
    Fault {
        name: "408",
        does: "408 once: the server gave up waiting for the request",
        who: "load balancers on a connection that was idle for long",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(Reply::status(408)),
    },
    Fault {
        name: "401",
        does: "the credential is not accepted",
        who: "a key that was taken back",
        task: Task::Read,
        must: ASKS_ONCE,
        answer: |_| always(Reply::status(401)),
    },
    Fault {
        name: "404",
        does: "no such thing",
        who: "the guide's client asked five times",
        task: Task::Read,
        must: ASKS_ONCE,
        answer: |_| always(Reply::status(404)),
    },
    Fault {
        name: "422",
        does: "the input does not fit",
        who: "most REST frameworks",
        task: Task::Read,
        must: ASKS_ONCE,
        answer: |_| always(Reply::status(422)),
    },
];

const SLOW: &[Fault] = &[
    Fault {
        name: "slow-head",
        does: "no head for twenty seconds, once",
        who: "cold starts",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(good().after_ms(20_000)),
    },
    Fault {
        name: "slow-body",
        does: "a body in five pieces, a second apart",
        who: "reports that are made while they are sent",
        task: Task::Read,
        must: READS_IT,
        answer: |_| always(Reply::in_pieces([&b"{\"o"[..], b"k\":", b"tr", b"u", b"e}"], 1_000)),
    },
    Fault {
        name: "dribble",
        does: "a byte every two seconds, a thousand of them",
        who: "overloaded servers, and attackers",
        task: Task::Read,
        must: &[Failure, Requests(5), WaitsTo(75_000)],
        answer: |_| always(Reply::in_pieces([&b"x"[..]; 1_000], 2_000)),
    },
    Fault {
        name: "never-once",
        does: "takes the request and says nothing, once",
        who: "a lost packet behind a load balancer",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(Reply::never()),
    },
    Fault {
        name: "never",
        does: "takes every request and says nothing",
        who: "a deadlocked server; reqwest has no time-out of its own",
        task: Task::Read,
        must: &[Failure, Requests(5), WaitsTo(75_000)],
        answer: |_| always(Reply::never()),
    },
];

const BROKEN: &[Fault] = &[
    Fault {
        name: "cut-body",
        does: "ends before the declared length, once",
        who: "proxies with a time-out of their own",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(raw("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"ok\":true")),
    },
    Fault {
        name: "cut-chunks",
        does: "ends before the last chunk, once",
        who: "a server that dies while it answers",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n{\"ok\":true}\r\n")),
    },
    Fault {
        name: "closed-before-head",
        does: "closes without a word, once",
        who: "a server that restarts",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(Reply::closed()),
    },
    Fault {
        name: "reset-before-head",
        does: "resets the connection instead of answering, once",
        who: "firewalls",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(Reply::reset()),
    },
    Fault {
        name: "reset-in-head",
        does: "resets the connection inside the head, once",
        who: "firewalls",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(Reply::raw_then_reset(&b"HTTP/1.1 200 OK\r\ncontent-le"[..])),
    },
    Fault {
        name: "reset-in-body",
        does: "resets the connection inside the body, once",
        who: "firewalls",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(Reply::raw_then_reset(&b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"ok\":true"[..])),
    },
    Fault {
        name: "reset-after",
        does: "answers whole and then resets the connection; three calls",
        who: "servers that close with unread bytes",
        task: Task::Reads { calls: 3, apart_ms: 1_000, place: Place::Api },
        must: &[Answer, Requests(3)],
        answer: |_| always(Reply::raw_then_reset(&b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}"[..])),
    },
    Fault {
        name: "garbage-once",
        does: "bytes that are no HTTP, once",
        who: "a port that somebody else took",
        task: Task::Read,
        must: ASKS_AGAIN,
        answer: |_| once(Reply::raw(vec![0; 100])),
    },
    Fault {
        name: "garbage",
        does: "bytes that are no HTTP, always",
        who: "TLS where plain text was meant, SSH, a database",
        task: Task::Read,
        must: &[Failure, Requests(5), WaitsTo(30_000)],
        answer: |_| always(Reply::raw(&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..])),
    },
    Fault {
        name: "two-lengths",
        does: "two Content-Length fields that differ",
        who: "request smuggling (RFC 9112, 6.3)",
        task: Task::Read,
        must: &[Failure, Requests(5)],
        answer: |_| always(raw("HTTP/1.1 200 OK\r\ncontent-length: 11\r\ncontent-length: 5\r\n\r\n{\"ok\":true}")),
    },
    Fault {
        name: "unknown-encoding",
        does: "Content-Encoding: br, which nobody asked for",
        who: "caches that ignore Accept-Encoding",
        task: Task::Read,
        must: ASKS_ONCE,
        answer: |_| always(Reply::status(200).header("content-encoding", "br").body("\u{b}\u{2}\u{80}{}")),
    },
    Fault {
        name: "not-gzip",
        does: "Content-Encoding: gzip over a body that is not",
        who: "misconfigured caches",
        task: Task::Read,
        must: &[Failure, Requests(5)],
        answer: |_| always(Reply::status(200).header("content-encoding", "gzip").body("{\"ok\":true}")),
    },
];

/// More than both clients are meant to hold.
const TOO_MUCH: &[super::Must] = &[Failure, Requests(1), Bytes(48 << 20)];

const LARGE: &[Fault] = &[
    Fault {
        name: "300-headers",
        does: "a head of 300 short fields",
        who: "proxies that add a cookie at every hop",
        task: Task::Read,
        must: &[Requests(1)],
        answer: |_| always((0..300).fold(good(), |reply, number| reply.header(&format!("x-{number}"), "y"))),
    },
    Fault {
        name: "header-flood",
        does: "a head of 2000 fields, 220 KB",
        who: "attackers",
        task: Task::Read,
        must: &[Failure, Requests(1), Bytes(1 << 20)],
        answer: |_| {
            let value = "y".repeat(100);
            always((0..2_000).fold(good(), |reply, number| reply.header(&format!("x-flood-{number}"), &value)))
        },
    },
    Fault {
        name: "huge-declared",
        does: "declares a tebibyte and sends on and on",
        who: "attackers; an export without a filter",
        task: Task::Read,
        must: TOO_MUCH,
        answer: |_| always(Reply::declared(1 << 40)),
    },
    Fault {
        name: "endless",
        does: "chunks without end",
        who: "attackers; a stream where a list was meant",
        task: Task::Read,
        must: TOO_MUCH,
        answer: |_| always(Reply::endless()),
    },
    Fault {
        name: "gzip-bomb",
        does: "128 MiB of zeros, packed into 130 KB",
        who: "attackers",
        task: Task::Read,
        must: TOO_MUCH,
        answer: |_| always(Reply::gzip_bomb(128 << 20)),
    },
];

const ELSEWHERE: &[Fault] = &[
    Fault {
        name: "redirect-inside",
        does: "302 to another path",
        who: "renamed resources",
        task: Task::Read,
        must: &[Answer, Requests(2)],
        answer: |_| once(Reply::redirect(302, "/moved")),
    },
    Fault {
        name: "redirect-loop",
        does: "302 to itself",
        who: "login pages that lost their cookie",
        task: Task::Read,
        must: &[Failure, Requests(11)],
        answer: |_| always(Reply::redirect(302, "/orders")),
    },
    Fault {
        name: "redirect-nowhere",
        does: "302 without Location",
        who: "a template with an empty variable",
        task: Task::Read,
        must: ASKS_ONCE,
        answer: |_| always(Reply::status(302)),
    },
    Fault {
        name: "redirect-to-metadata",
        does: "302 to the cloud's metadata service (here a stand-in of that name)",
        who: "attackers; IronClaw#2094, librefang#6055",
        task: Task::Read,
        must: &[Failure, StaysAway, Requests(1)],
        answer: |_| {
            let path = "computeMetadata/v1/instance/service-accounts/default/token";
            always(Reply::redirect(302, &format!("http://{}/{path}", composed::METADATA_NAME)))
        },
    },
    Fault {
        name: "redirect-elsewhere",
        does: "302 to another origin; the credential is in Authorization",
        who: "downloads that lie in a bucket",
        task: Task::Read,
        must: &[Answer, KeepsCredential],
        answer: |world| always(Reply::redirect(302, &format!("{}/file", world.elsewhere))),
    },
    Fault {
        name: "redirect-elsewhere-own-header",
        does: "302 to another origin; the credential is in X-Api-Key",
        who: "the same, with a header that clients do not know as secret",
        task: Task::ReadWithKeyHeader,
        must: &[Answer, KeepsCredential],
        answer: |world| always(Reply::redirect(302, &format!("{}/file", world.elsewhere))),
    },
    Fault {
        name: "redirect-of-a-write",
        does: "307 of a POST to another origin",
        who: "a moved domain; attackers",
        task: Task::Write,
        must: &[KeepsBody, KeepsCredential, Requests(1)],
        answer: |world| always(Reply::redirect(307, &format!("{}/orders", world.elsewhere))),
    },
    Fault {
        name: "hostile-next",
        does: "`next` in the body leads to another origin",
        who: "whoever can write into a list; LeafLink, Twilio and Distru answer whole URLs there",
        task: Task::Pages,
        must: &[StaysAway, KeepsCredential],
        answer: |world| always(Reply::json(&json!({"ok": true, "next": format!("{}/orders?page=2", world.nowhere)}))),
    },
];

/// A lost write: done once, and not called a success.
const NEVER_TWICE: &[super::Must] = &[Executed(1), Failure];

const WRITES: &[Fault] = &[
    Fault {
        name: "write-lost",
        does: "does the POST and resets the connection instead of answering",
        who: "anything between you and them",
        task: Task::Write,
        must: NEVER_TWICE,
        answer: |_| always(Reply::reset().counted(Count::Executed)),
    },
    Fault {
        name: "write-closed",
        does: "does the POST and closes without a word",
        who: "a server that restarts after it committed",
        task: Task::Write,
        must: NEVER_TWICE,
        answer: |_| always(Reply::closed().counted(Count::Executed)),
    },
    Fault {
        name: "write-never-answered",
        does: "does the POST and says nothing",
        who: "a queue that is full behind the API",
        task: Task::Write,
        must: NEVER_TWICE,
        answer: |_| always(Reply::never().counted(Count::Executed)),
    },
    Fault {
        name: "write-cut",
        does: "does the POST and cuts its answer short",
        who: "proxies with a time-out of their own",
        task: Task::Write,
        must: NEVER_TWICE,
        answer: |_| always(Reply::cut().counted(Count::Executed)),
    },
    Fault {
        name: "write-500",
        does: "does the POST and answers 500",
        who: "an error after the commit: in a mail, a log, a template",
        task: Task::Write,
        must: NEVER_TWICE,
        answer: |_| always(Reply::status(500).counted(Count::Executed)),
    },
    Fault {
        name: "write-504",
        does: "does the POST, and the gateway answers 504",
        who: "gateways whose patience is shorter than the work",
        task: Task::Write,
        must: NEVER_TWICE,
        answer: |_| always(Reply::status(504).counted(Count::Executed)),
    },
    Fault {
        name: "write-lost-with-key",
        does: "does the POST and resets the connection; a second one with the same Idempotency-Key does nothing more",
        who: "Stripe and all who took that header over",
        task: Task::WriteWithKey,
        must: &[Answer, Executed(1), Requests(2)],
        answer: |_| {
            let known = std::sync::Mutex::new(std::collections::BTreeSet::new());
            Box::new(move |seen| {
                let key = seen.header("idempotency-key").map(str::to_owned);
                match known.lock().expect("nobody panics here").insert(key.unwrap_or(seen.number.to_string())) {
                    true => Reply::reset().counted(Count::Executed),
                    false => good(),
                }
            })
        },
    },
    Fault {
        name: "write-429",
        does: "429 with Retry-After: 7 to a POST that it has not done",
        who: "Twilio says that a 429 is never processed (error 20429)",
        task: Task::Write,
        must: &[Answer, Executed(1), Requests(2), WaitsFrom(7_000)],
        answer: |world| {
            let script = world.until(7_000, |w, end| limited().header("retry-after", &w.seconds_to(end).to_string()));
            Box::new(move |seen| match script(seen) {
                reply if reply.is_success() => reply.counted(Count::Executed),
                reply => reply,
            })
        },
    },
];

const ECHOES: &[Fault] = &[
    Fault {
        name: "echo",
        does: "shows the request, credential included, in its answer",
        who: "httpbin; debug pages",
        task: Task::Read,
        must: &[Success, HidesCredential],
        answer: |_| Box::new(|seen| Reply::status(200).body(seen.text())),
    },
    Fault {
        name: "echo-base64",
        does: "the same in base64",
        who: "error reports",
        task: Task::Read,
        must: &[Success, HidesCredential],
        answer: |_| Box::new(|seen| Reply::status(200).body(base64(seen.header("authorization").unwrap_or_default()))),
    },
    Fault {
        name: "echo-in-error",
        does: "400 that repeats the credential it does not like",
        who: "many: \"Invalid API key: …\"",
        task: Task::Read,
        must: &[Failure, Requests(1), HidesCredential],
        answer: |_| {
            Box::new(|seen| {
                Reply::status(400).body(format!("Invalid key: {}", seen.header("authorization").unwrap_or_default()))
            })
        },
    },
    Fault {
        name: "rotated-token",
        does: "a fresh token and a session cookie in the head of the answer",
        who: "devise_token_auth; session cookies",
        task: Task::Read,
        must: &[Answer, Hides("fresh-one")],
        answer: |_| {
            always(good().header("access-token", "fresh-one").header("set-cookie", "session=fresh-one; HttpOnly"))
        },
    },
];

const MANY: &[Fault] = &[
    Fault {
        name: "burst",
        does: "five a second in any second; a refused request counts as well; thirty calls at once",
        who: "sliding windows; LinkedIn (airbyte PR#69115)",
        task: Task::Reads { calls: 30, apart_ms: 0, place: Place::Paced },
        must: &[Answer, OverLimit(0)],
        answer: |world| {
            let recent = std::sync::Mutex::new(Vec::new());
            Box::new(move |_| {
                let now = world.clock.now();
                let mut recent = recent.lock().expect("nobody panics here");
                recent.retain(|at| now.since(*at) < 1_000);
                recent.push(now);
                if recent.len() <= super::PER_SECOND as usize {
                    good()
                } else {
                    limited().header("retry-after", "1").counted(Count::OverLimit)
                }
            })
        },
    },
    Fault {
        name: "two-at-once",
        does: "half a second for each answer, 429 to the third that is under way; ten calls at once",
        who: "NetSuite (concurrency governance, docs.oracle.com)",
        task: Task::Reads { calls: 10, apart_ms: 0, place: Place::Narrow },
        must: &[Answer, OverLimit(0)],
        answer: |_| {
            Box::new(|seen| match seen.under_way {
                ..=2 => good().after_ms(500),
                _ => limited().counted(Count::OverLimit),
            })
        },
    },
    Fault {
        name: "blocked-for-all",
        does: "429 with Retry-After for six seconds to everybody; thirty calls, five a second",
        who: "limits of an account; every further request prolongs some of them",
        task: Task::Reads { calls: 30, apart_ms: 200, place: Place::Paced },
        must: &[Answer, InTrouble(5)],
        answer: |world| {
            world.until(6_000, |w, end| {
                limited().header("retry-after", &w.seconds_to(end).to_string()).counted(Count::InTrouble)
            })
        },
    },
    Fault {
        name: "outage",
        does: "503 for thirty seconds, then all is well; a call every second for a hundred and twenty",
        who: "every provider once a year",
        task: Task::Reads { calls: 120, apart_ms: 1_000, place: Place::Api },
        must: &[InTrouble(30), Recovers(40)],
        answer: |world| world.until(30_000, |_, _| Reply::status(503).counted(Count::InTrouble)),
    },
    Fault {
        name: "herd",
        does: "503 for three seconds, then room for twenty in any second and 503 beyond; fifty calls at once",
        who: "a provider that comes back under everybody's retries",
        task: Task::Reads { calls: 50, apart_ms: 0, place: Place::Api },
        must: &[OverLimit(10), InTrouble(150)],
        answer: |world| {
            let recent = std::sync::Mutex::new((None, Vec::new()));
            Box::new(move |_| {
                let now = world.clock.now();
                let mut recent = recent.lock().expect("nobody panics here");
                let back = *recent.0.get_or_insert(now.plus(3_000));
                if now < back {
                    return Reply::status(503).counted(Count::InTrouble);
                }
                recent.1.retain(|at: &wharfage::Timestamp| now.since(*at) < 1_000);
                recent.1.push(now);
                if recent.1.len() <= 20 { good() } else { Reply::status(503).counted(Count::OverLimit) }
            })
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_three_forms() {
        let date = "Sun, 22 Nov 2026 08:49:37 GMT";
        for old in [old_date(date), c_date(date)] {
            assert_eq!(httpdate::parse_http_date(&old).unwrap(), httpdate::parse_http_date(date).unwrap(), "{old}");
        }
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<&str> = GROUPS.iter().flat_map(|group| group.faults).map(|fault| fault.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(all >= 50, "{all}");
    }
}
