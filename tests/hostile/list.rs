//! The attacks: one row each.
//!
//! To add one, add a guest or a forged component, and a row. Limits are those of a connection unless the row sets them lower
//! so that reaching them takes less time. A few ends are names that the host may yet change; they stand at the top.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use wharfage::DriftPolicy;

use super::Ends::{Answers, AnyOf, Fails, Holds, Limit, Passes};
use super::Move::{Build, Call, Handle, Load, Poll, Swap, Together};
use super::{Attack, Time, forged, hex, percent};
use crate::scene::Forge;
use crate::{API_KEY, Guest, Reply, Scene, Seen, guests};

/// How a component that calls itself too deeply ends.
const TOO_DEEP: super::Ends = AnyOf(&[Fails("internal", "recursed too deeply"), Limit("stack_bytes")]);
/// How a component ends that asks for more instances than it may.
const TOO_MANY_INSTANCES: super::Ends = Fails("component", "instance");

/// What is told of secrets that nobody granted, whatever their names: one answer for each use.
const NOTHING_TOLD: &str = r#"["available: false","check: the secret it of connection `acme` cannot be had",
"make: the secret it of connection `acme` cannot be had",
"send: hostile-guesses-secrets wanted https://other.stand-in.test, which connection `acme` does not grant.",
"sign: the secret it of connection `acme` cannot be had","verify: the secret it of connection `acme` cannot be had"]"#;
/// What comes of a hundred tokens, and of seven with claims that are none or the host's.
const HOARDED: &str =
    r#"{"InvalidRequest":5,"denied secret":1,"limit claims_bytes":1,"limit made_tokens":92,"passed":8}"#;

const MIB: u64 = 1 << 20;
/// A short time to compute.
const SHORT: &str = "compute_ms = 100";
/// What loading an honest component of this size takes at most, compiling included.
const COMPILED_BYTES: u64 = 512 * MIB;

/// A budget that the plugin knows.
const CREDITS: &str = "
[budgets.credits]
limit = 10
window_s = 60
source = 'made up for the tests'
date = '2026-11-29'
";

/// A poll and what it may emit.
const POLLED: &str = "
[polls.ticks]
every_s = 60
source = 'made up for the tests'
date = '2026-11-29'

[events.'thing.seen']
description = 'Something was seen'
";

/// With a budget that the plugin knows.
fn with_credits(scene: Scene) -> Scene {
    scene.manifest(CREDITS)
}

/// With a poll.
fn with_poll(scene: Scene) -> Scene {
    scene.manifest(POLLED)
}

/// With secrets for tokens, in place of those for hashes.
fn with_tokens(scene: Scene) -> Scene {
    const HASHES: &str = "algorithms = [\"hmac-sha1\", \"hmac-sha256\", \"hmac-sha512\"]\ntemplate = \"data*\"";
    let signing = "jwt = { algorithm = \"HS256\", issuer = \"app\", origins = [\"api\"] }";
    let verifying = "purpose = \"verify\"\njwt = { algorithm = \"HS256\", issuer = \"app\", audience = [\"app\"] }";
    scene.manifest_with(HASHES, signing).manifest_with("purpose = \"verify\"", verifying)
}

const fn of(guest: Guest, tries: &'static str) -> Attack {
    Attack {
        name: guest.name,
        tries,
        guest,
        forge: |compiled| compiled,
        tamper: |built| built,
        manifest: |scene| scene,
        limits: SHORT,
        grant: |_| {},
        answer: |_| Reply::status(200),
        time: Time::Skips,
        moves: &[],
        requests_min: 0,
        requests_max: 0,
        host_bytes_max: 64 * MIB,
        in_one_go: false,
    }
}

/// One whose own module is another.
const fn forged(name: &'static str, tries: &'static str, forge: Forge) -> Attack {
    Attack { name, forge, ..of(guests::HOSTILE_DUMPS_MEMORY, tries) }
}

/// One that was changed after it was built.
const fn tampered(name: &'static str, tries: &'static str, tamper: Forge) -> Attack {
    Attack { name, tamper, host_bytes_max: COMPILED_BYTES, ..of(guests::OPERATIONS_ECHO, tries) }
}

/// What `wharfage build` refuses.
const fn built(attack: Attack) -> Attack {
    Attack { host_bytes_max: COMPILED_BYTES, ..attack }
}

/// All there are.
pub const ATTACKS: &[Attack] = &[
    // Time.
    Attack {
        moves: &[Call("spin", "{}", Limit("compute_ms"))],
        ..of(guests::HOSTILE_SPIN, "computes for ever in a call")
    },
    Attack {
        moves: &[Handle(Limit("compute_ms"))],
        ..of(guests::HOSTILE_HANDLE_SPINS, "never comes back from the handling of an event")
    },
    Attack {
        limits: "call_ms = 300",
        time: Time::Real,
        moves: &[Call("attack", "{}", Fails("deadline", "call_ms"))],
        ..of(guests::HOSTILE_SLEEPS, "sleeps for hours")
    },
    Attack {
        manifest: with_credits,
        moves: &[Call("attack", "{}", Limit("compute_ms"))],
        ..of(guests::HOSTILE_ACQUIRES_FOREVER, "asks for permits without end")
    },
    Attack {
        manifest: with_credits,
        moves: &[Call("attack", "{}", Fails("rate-limited", ""))],
        ..of(guests::HOSTILE_BLOCKS_PACE, "tells the host that nothing may be sent until the end of time")
    },
    Attack {
        manifest: with_credits,
        moves: &[Call(
            "attack",
            "{}",
            Answers(r#"{"InvalidRequest":4,"limit credits":2,"limit upload_bytes":1,"passed":17}"#),
        )],
        requests_max: 30,
        ..of(guests::HOSTILE_ODD_NUMBERS, "gives 0, 1 and the largest number wherever one is taken")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers(r#"{"finer than a millisecond":false}"#))],
        ..of(guests::HOSTILE_PROBES_CLOCK, "reads the clocks for a step fine enough to time others by")
    },
    // Memory and stack.
    Attack {
        limits: "memory_bytes = 16777216",
        moves: &[Call("allocate", "{}", Limit("memory_bytes")), Call("idle", "{}", Answers("{}"))],
        ..of(guests::HOSTILE_ALLOCATE, "takes memory until there is none")
    },
    Attack {
        moves: &[Call("recurse", "{}", TOO_DEEP), Call("idle", "{}", Answers("{}"))],
        ..of(guests::HOSTILE_RECURSE, "calls itself until the stack is used up")
    },
    // What it prints and logs.
    Attack {
        limits: "",
        moves: &[Call("flood", "{}", Answers("null"))],
        ..of(guests::HOSTILE_FLOOD_LOG, "logs and prints twelve megabytes")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers("null"))],
        ..of(guests::HOSTILE_LOG_ESCAPES, "logs what would move a terminal's cursor or forge a line")
    },
    Attack {
        moves: &[Call("attack", "{}", Limit("compute_ms"))],
        ..of(guests::HOSTILE_PRINTS_FOREVER, "prints without end")
    },
    // State.
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers(r#"{"limit state_bytes":1,"limit state_keys":500,"passed":1000}"#))],
        ..of(guests::HOSTILE_FILLS_STATE, "keeps more values than it may, and one that is too large")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers(r#"{"kept":true,"mixed up":[],"refused":[true,true]}"#))],
        ..of(guests::HOSTILE_STATE_NAMES, "names its values like files, patterns and statements")
    },
    Attack {
        limits: "state_keys = 100",
        moves: &[
            Together(16, Answers("null")),
            Call("attack", r#"{"count":true}"#, Answers(r#"{"within the limit":true}"#)),
        ],
        ..of(guests::HOSTILE_STATE_RACE, "keeps values from sixteen calls at once, to pass the limit together")
    },
    Attack {
        moves: &[Call("attack", "{}", Limit("compute_ms"))],
        ..of(guests::HOSTILE_FLOODS_STATE, "reads and writes its state without end")
    },
    // Secrets.
    Attack {
        limits: "",
        grant: |connection| connection.secrets.clear(),
        moves: &[Call("attack", "{}", Answers(NOTHING_TOLD))],
        ..of(guests::HOSTILE_GUESSES_SECRETS, "guesses names of secrets, for every use there is")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers(r#"{"CredentialUnavailable":2,"denied secret":8,"passed":1}"#))],
        ..of(guests::HOSTILE_SIGNS_ANYTHING, "has signed what the template does not cover")
    },
    Attack {
        moves: &[Call("attack", "{}", Limit("compute_ms"))],
        ..of(guests::HOSTILE_ASKS_ORACLE, "has signed and checked without end")
    },
    Attack {
        limits: "",
        manifest: with_tokens,
        moves: &[Call("attack", "{}", Answers(r#"{"InvalidRequest":23}"#))],
        ..of(guests::HOSTILE_FORGES_TOKENS, "brings tokens that nobody signed")
    },
    Attack {
        limits: "",
        manifest: with_tokens,
        moves: &[Call("attack", "{}", Answers(HOARDED))],
        ..of(guests::HOSTILE_HOARDS_TOKENS, "has a hundred tokens made, and with claims that are the host's")
    },
    Attack {
        limits: "",
        // Where it may ask, so that it is the credential that is refused.
        grant: |connection| connection.origins.push("https://other.stand-in.test".to_owned()),
        moves: &[Call("attack", "{}", Answers(r#"{"denied credential":12}"#))],
        ..of(guests::HOSTILE_BORROWS_CREDENTIALS, "sends credentials to where they do not belong")
    },
    Attack {
        limits: "state_bytes = 4194304",
        answer: reflects,
        moves: &[Call("attack", "{}", Holds("[masked]"))],
        // Four credentials in ten forms; some are asked for more than once.
        requests_min: 40,
        requests_max: 200,
        ..of(
            guests::HOSTILE_READS_REFLECTION,
            "has the provider send the credential back in ten forms, and reads it byte by byte",
        )
    },
    Attack {
        limits: "",
        answer: guesses,
        moves: &[Call("attack", "{}", Answers(r#"{"learned":""}"#))],
        requests_min: 1,
        requests_max: 1,
        ..of(guests::HOSTILE_WEIGHS_GUESSES, "has guesses of a secret sent, and weighs how much of each comes at once")
    },
    Attack {
        limits: "",
        answer: reflects,
        moves: &[
            Call(
                "dump",
                r#"{"requests":[{"url":"{api}/plain"},{"url":"{api}/chunks","open":true}],"dump":true}"#,
                Passes,
            ),
            Call("dump", r#"{"requests":[{"url":"{api}/plain"}],"trap":true}"#, Fails("internal", "")),
        ],
        requests_min: 3,
        requests_max: 3,
        ..of(guests::HOSTILE_DUMPS_MEMORY, "looks for the credential in all of its memory")
    },
    // Where requests go, and what is in them.
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers(r#"{"denied origin":8,"denied url":43,"limit url_bytes":1}"#))],
        ..of(guests::HOSTILE_ODD_URLS, "writes URLs that two parsers read in two ways")
    },
    Attack {
        limits: "",
        grant: |connection| {
            let (origin, methods) = (connection.origins.remove(0), vec!["GET".to_owned()]);
            connection.allow = vec![wharfage_allow(origin, methods, vec!["/v1/*".to_owned()])];
        },
        moves: &[Call("attack", "{}", Answers(r#"{"denied path":11,"denied url":15}"#))],
        ..of(guests::HOSTILE_ODD_PATHS, "climbs out of the one folder it may ask in")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers(r#"{"denied origin":68,"denied url":8}"#))],
        ..of(guests::HOSTILE_ODD_ADDRESSES, "writes addresses in every way a resolver might understand")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers(r#"{"denied origin":23,"denied url":2}"#))],
        ..of(guests::HOSTILE_ASKS_NAMES, "asks for names that lead inside, or carry something out")
    },
    Attack {
        limits: "",
        grant: |connection| connection.private_addresses.clear(),
        moves: &[Call("attack", "{}", Answers(r#"{"denied address":6}"#))],
        ..of(guests::HOSTILE_DIALS_INSIDE, "asks a granted name that leads to an address nobody allowed")
    },
    Attack {
        limits: "",
        answer: redirects,
        moves: &[Call(
            "attack",
            "{}",
            Answers(r#"{"denied origin":7,"denied redirect":1,"denied url":6,"limit redirects":2}"#),
        )],
        requests_max: 40,
        ..of(guests::HOSTILE_FOLLOWS_REDIRECTS, "has the provider send it inside, in circles and to what is no place")
    },
    Attack {
        limits: "",
        answer: bombs,
        moves: &[Call("attack", "{}", Answers(r#"{"SchemaViolation":2,"TooLarge":5}"#))],
        requests_max: 40,
        host_bytes_max: 128 * MIB,
        ..of(guests::HOSTILE_OPENS_BOMBS, "asks for answers that are large when they are unpacked, or never end")
    },
    Attack {
        limits: "stream_bytes = 8388608",
        answer: bombs,
        moves: &[Call("attack", "{}", Fails("too-large", "stream_bytes"))],
        requests_max: 1,
        ..of(guests::HOSTILE_STREAMS_BOMB, "reads a packed answer piece by piece, as much as there is")
    },
    Attack {
        limits: "requests = 20",
        moves: &[Call("one-by-one", "{}", Limit("requests")), Call("at-once", "{}", Limit("requests"))],
        requests_max: 20,
        ..of(guests::HOSTILE_FLOOD_REQUESTS, "sends five thousand requests, one by one and at once")
    },
    Attack {
        moves: &[Call("attack", "{}", Limit("compute_ms"))],
        ..of(guests::HOSTILE_FLOODS_REFUSED, "asks without end for what it may not have")
    },
    Attack {
        limits: "",
        moves: &[Call("try", HOST_HEADERS, Answers(r#"[["x-harmless","x"]]"#))],
        requests_max: 1,
        ..of(guests::HOSTILE_SETS_CREDENTIAL_HEADER, "sets the headers that are the host's")
    },
    Attack {
        limits: "",
        moves: &[Call(
            "attack",
            "{}",
            Answers(r#"{"InvalidRequest":2,"denied url":1,"limit upload_bytes":1,"passed":3}"#),
        )],
        requests_max: 10,
        ..of(guests::HOSTILE_SMUGGLES_REQUESTS, "puts a second request into the body of the first")
    },
    Attack {
        limits: "",
        moves: &[Call(
            "attack",
            "{}",
            Answers(r#"{"limit header_bytes":2,"limit headers":1,"limit request_body_bytes":1,"limit url_bytes":1}"#),
        )],
        ..of(guests::HOSTILE_BIG_REQUESTS, "sends more than it may in every part of a request")
    },
    Attack {
        limits: "upload_bytes = 4194304",
        moves: &[Call("attack", "{}", Limit("upload_bytes"))],
        requests_max: 1,
        ..of(guests::HOSTILE_UPLOADS_FOREVER, "writes a body that does not end")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Limit("streams"))],
        requests_max: 4,
        ..of(guests::HOSTILE_HOARDS_UPLOADS, "begins one request after another and ends none")
    },
    Attack {
        limits: "",
        answer: |_| Reply::endless(),
        moves: &[Call("hoard", "{}", Limit("streams")), Call("idle", "{}", Answers("{}"))],
        requests_max: 4,
        ..of(guests::HOSTILE_STREAM_HOARD, "opens one answer after another and reads none")
    },
    Attack {
        limits: "cache_bytes = 4194304",
        answer: |_| Reply::status(200).body(vec![b'x'; 512 << 10]),
        // The last one is still kept, and the first had to go for it.
        moves: &[
            Call("attack", "{}", Answers(r#"{"passed":64}"#)),
            Call("attack", r#"{"again":true}"#, Answers(r#"{"passed":2}"#)),
        ],
        requests_min: 65,
        requests_max: 65,
        ..of(guests::HOSTILE_FILLS_CACHE, "has thirty-two megabytes of answers kept for ever")
    },
    Attack {
        limits: "",
        moves: &[
            Call("surroundings", "{}", Answers(r#"{"variables":[],"arguments":[],"typed":0}"#)),
            Call("thread", "{}", Answers("false")),
            Call("process", "{}", Answers("false")),
            Call("connect", "{}", Fails("internal", "wasi:")),
            Call("resolve", "{}", Fails("internal", "wasi:")),
            Call("read", "{}", Answers("false")),
        ],
        ..of(guests::HOSTILE_REACHES_OUT, "tries the standard library's other ways out")
    },
    // What its exports answer.
    Attack {
        limits: "output_bytes = 1048576",
        moves: &[Call("output", "{}", Limit("output_bytes")), Call("pages", "{}", Answers("[]"))],
        ..of(guests::HOSTILE_BIG_OUTPUT, "answers eight megabytes")
    },
    Attack {
        limits: "",
        grant: |connection| connection.drift = DriftPolicy::Strict,
        moves: &[
            Call("misfits", "{}", Fails("schema-violation", "something else than its schema tells")),
            Call("maps", "{}", Fails("schema-violation", "something else than its schema tells, at (output)")),
        ],
        in_one_go: true,
        ..of(guests::HOSTILE_MISFITS, "answers what is long to compare with its schema, and large to read")
    },
    Attack {
        limits: "",
        moves: &[Call("hoard", "{}", Limit("cursor_bytes"))],
        ..of(guests::HOSTILE_HUGE_CURSOR, "keeps a megabyte in a cursor")
    },
    Attack {
        limits: "",
        moves: &[
            Swap("attack", "victim", Fails("cursor-invalid", "")),
            Swap("victim", "attack", Fails("cursor-invalid", "")),
        ],
        ..of(guests::HOSTILE_FOREIGN_CURSOR, "gives cursors to be used on another list, or changed")
    },
    Attack {
        limits: "",
        moves: &[
            Call("attack", r#"{"which":0}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":1}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":2}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":3}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":4}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":5}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":6}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":7}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":8}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":9}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":10}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":11}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":12}"#, Fails("internal", "no JSON")),
            Call("attack", r#"{"which":13}"#, Fails("internal", "no JSON")),
        ],
        ..of(guests::HOSTILE_NO_JSON, "answers what looks like JSON and is none")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Fails("schema-violation", ""))],
        ..of(guests::HOSTILE_DEEP_JSON, "answers a million brackets, one inside the other")
    },
    Attack {
        limits: "",
        moves: &[
            Call("attack", "{}", Fails("schema-violation", "")),
            Call("attack", r#"{"exponent":true}"#, Fails("schema-violation", "")),
        ],
        ..of(guests::HOSTILE_LONG_NUMBER, "answers a number of a million digits")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers(r#"{"a":49999}"#))],
        ..of(guests::HOSTILE_REPEATS_KEYS, "answers an object that says one thing fifty thousand times")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Fails("limit-exceeded", "forged"))],
        ..of(guests::HOSTILE_FORGES_ERRORS, "fails in the host's words, at length, with escapes")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Fails("internal", "failed")), Handle(Fails("internal", "failed"))],
        ..of(guests::HOSTILE_PANICS, "panics in every export")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..of(guests::HOSTILE_EXITS, "ends the process that it runs in")
    },
    Attack {
        limits: "",
        answer: |_| Reply::endless(),
        moves: &[
            Call("attack", "{}", Fails("internal", "failed")),
            Call("attack", "{}", Fails("internal", "failed")),
            Call("attack", "{}", Fails("internal", "failed")),
        ],
        requests_max: 6,
        ..of(guests::HOSTILE_TRAPS_MIDWAY, "fails while answers are open and a request is half written")
    },
    // What it makes of events.
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Answers(r#"{"emitted":100,"goes on with the next run":true}"#))],
        ..of(guests::HOSTILE_EMITS_FOREVER, "has always more to tell, and moves its cursor each time")
    },
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Fails("internal", "emitted_events"))],
        ..of(guests::HOSTILE_EMITS_MANY, "emits a hundred thousand events at once")
    },
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Fails("internal", "emitted_bytes"))],
        ..of(guests::HOSTILE_EMITS_HUGE, "emits an event of eight megabytes")
    },
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Fails("internal", "does not declare"))],
        ..of(guests::HOSTILE_EMITS_UNDECLARED, "emits an event that its manifest does not declare")
    },
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Fails("internal", "key has no bytes"))],
        ..of(guests::HOSTILE_EMITS_NAMELESS, "emits an event without a key")
    },
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Fails("internal", "event_name_bytes"))],
        ..of(guests::HOSTILE_EMITS_LONG_KEYS, "emits an event under a key of a megabyte")
    },
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Answers(r#"{"emitted":1,"goes on with the next run":false}"#))],
        ..of(guests::HOSTILE_EMITS_THE_SAME, "emits a thousand events under one key")
    },
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Fails("internal", "cursor_bytes"))],
        ..of(guests::HOSTILE_HUGE_EVENT_CURSOR, "keeps a megabyte in the cursor of a poll")
    },
    Attack {
        limits: "",
        manifest: with_poll,
        time: Time::Stands,
        moves: &[Poll(Fails("internal", "messages"))],
        ..of(guests::HOSTILE_FLOODS_MESSAGES, "answers an event with a hundred thousand messages")
    },
    // What it says of itself.
    built(Attack {
        moves: &[Build(Fails("component", "compute_ms"))],
        ..of(guests::HOSTILE_DESCRIBE_SPINS, "never says what it can do")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "failed"))],
        ..of(guests::HOSTILE_DESCRIBE_CALLS, "sends a request while it only should describe itself")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "no JSON"))],
        ..of(guests::HOSTILE_DESCRIBE_GARBAGE, "describes itself in what is no JSON")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "failed"))],
        ..of(guests::HOSTILE_DESCRIBE_PANICS, "panics when it is asked what it can do")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "memory_bytes"))],
        ..of(guests::HOSTILE_DESCRIBE_ALLOCATES, "takes memory while it only should describe itself")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "operations_max"))],
        ..of(guests::HOSTILE_DESCRIBE_MANY, "names a hundred thousand operations")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "must be words"))],
        ..of(guests::HOSTILE_DESCRIBE_NAMES, "names an operation with a megabyte of slashes and escapes")
    }),
    built(Attack {
        moves: &[Load(Fails("component", "forged or old"))],
        ..of(guests::HOSTILE_DESCRIBE_CHANGES, "says another thing each time it is asked")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "operations_bytes_max"))],
        ..of(guests::HOSTILE_SCHEMA_HUGE, "describes its input in two megabytes")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "no JSON"))],
        ..of(guests::HOSTILE_SCHEMA_DEEP, "describes its input in a schema a hundred thousand levels deep")
    }),
    Attack {
        limits: "",
        moves: &[Call("itself", "{}", Limit("schema_depth")), Call("in-turns", "{}", Limit("schema_depth"))],
        ..of(guests::HOSTILE_SCHEMA_ITSELF, "describes its input by itself, in circles")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Limit("schema_steps"))],
        ..of(guests::HOSTILE_SCHEMA_EXPLODES, "describes its input so that checking it doubles with every line")
    },
    Attack {
        limits: "",
        moves: &[Call("attack", "{}", Answers("null"))],
        ..of(guests::HOSTILE_SCHEMA_PLACES, "describes its input by many schemas below one long name")
    },
    built(Attack {
        moves: &[Build(Fails("component", "linear engine"))],
        ..of(guests::HOSTILE_SCHEMA_PATTERNS, "describes texts by patterns that take for ever")
    }),
    built(Attack {
        moves: &[Build(Fails("component", "reaches outside"))],
        ..of(guests::HOSTILE_SCHEMA_REACHES_OUT, "describes its input by a schema that lies elsewhere")
    }),
    // What no compiler makes.
    built(Attack {
        moves: &[Build(Fails("component", "failed"))],
        ..forged("hostile_start_traps", "fails when it is instantiated", forged::start_traps)
    }),
    built(Attack {
        moves: &[Build(Fails("component", "compute_ms"))],
        ..forged("hostile_start_spins", "computes for ever when it is instantiated", forged::start_spins)
    }),
    Attack {
        moves: &[Call("attack", "{}", Limit("compute_ms"))],
        ..forged("hostile_realloc_spins", "does not come back with a place for an argument", forged::realloc_spins)
    },
    Attack {
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..forged("hostile_realloc_outside", "gives the host a place outside of its memory", forged::realloc_outside)
    },
    Attack {
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..forged("hostile_realloc_reenters", "calls the host while it is handed an argument", forged::realloc_reenters)
    },
    built(Attack {
        moves: &[Build(Fails("component", "failed"))],
        ..forged("hostile_post_traps", "fails when it is told that its answer was taken", forged::post_traps)
    }),
    built(Attack {
        moves: &[Build(Fails("component", "compute_ms"))],
        ..forged(
            "hostile_post_spins",
            "does not come back when it is told that its answer was taken",
            forged::post_spins,
        )
    }),
    Attack {
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..forged("hostile_answer_outside", "answers a text that lies outside of its memory", forged::answer_outside)
    },
    Attack {
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..forged("hostile_answer_not_utf8", "answers bytes that are no text", forged::answer_not_utf8)
    },
    Attack {
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..forged("hostile_answer_no_case", "answers neither a page nor an error", forged::answer_no_case)
    },
    built(Attack {
        moves: &[Build(Fails("component", "failed"))],
        ..forged("hostile_list_lies", "describes a hundred million operations in a few bytes", forged::list_lies)
    }),
    Attack {
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..forged(
            "hostile_arguments_outside",
            "sends a request that lies outside of its memory",
            forged::arguments_outside,
        )
    },
    Attack {
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..forged(
            "hostile_lengths_lie",
            "logs a line with a hundred million fields that are not there",
            forged::lengths_lie,
        )
    },
    Attack {
        moves: &[Call("attack", "{}", Fails("internal", "failed"))],
        ..forged("hostile_no_such_handle", "reads from an answer that it was never given", forged::no_such_handle)
    },
    built(Attack {
        moves: &[Build(Fails("component", "memory_bytes"))],
        ..forged("hostile_memory_at_start", "wants 125 MiB before it does anything", forged::memory_at_start)
    }),
    Attack {
        moves: &[Call("attack", "{}", Answers("null"))],
        ..forged("hostile_memory_grows", "takes memory until it gets no more, and says nothing", forged::memory_grows)
    },
    built(Attack {
        moves: &[Build(Fails("component", "table_elements"))],
        ..forged(
            "hostile_table_at_start",
            "wants a table of ninety thousand before it does anything",
            forged::table_at_start,
        )
    }),
    Attack {
        moves: &[Call("attack", "{}", Answers("null"))],
        ..forged("hostile_table_grows", "makes its table larger until it may not", forged::table_grows)
    },
    built(Attack {
        moves: &[Build(Fails("component", "memory64"))],
        ..forged("hostile_memory_64", "has a memory of 64 bits", forged::memory_64)
    }),
    built(Attack {
        moves: &[Build(Fails("component", "threads"))],
        ..forged("hostile_memory_shared", "has a memory that threads share", forged::memory_shared)
    }),
    built(Attack {
        moves: &[Build(Fails("component", "gc"))],
        ..forged("hostile_gc", "has objects that are collected", forged::gc)
    }),
    built(Attack {
        moves: &[Build(TOO_MANY_INSTANCES)],
        ..forged("hostile_many_instances", "is made of two thousand instances", forged::many_instances)
    }),
    built(Attack {
        moves: &[Build(TOO_MANY_INSTANCES)],
        ..forged("hostile_some_instances", "is made of sixty instances", forged::some_instances)
    }),
    built(Attack {
        moves: &[Build(Fails("component", "failed"))],
        ..forged("hostile_data_outside", "brings data for where it has no memory", forged::data_outside)
    }),
    Attack {
        moves: &[Call("attack", "{}", TOO_DEEP)],
        ..forged("hostile_deep_frames", "calls itself with five hundred variables each time", forged::deep_frames)
    },
    Attack {
        moves: &[Load(Fails("component", "function_bytes_max"))],
        ..tampered("hostile_long_function", "is one function of a hundred thousand steps", forged::long_function)
    },
    built(Attack {
        moves: &[Load(Passes), Call("attack", "{}", Answers("null"))],
        ..forged("hostile_many_functions", "is thirty thousand functions", forged::many_functions)
    }),
    Attack {
        limits: "",
        moves: &[Together(16, Answers("null")), Together(16, Answers("null")), Call("attack", "{}", Answers("null"))],
        ..forged(
            "hostile_leftovers",
            "looks for what others left in its memory, and leaves something",
            forged::leftovers,
        )
    },
    Attack {
        moves: &[Load(Fails("component", "only one"))],
        ..tampered("hostile_two_manifests", "carries a second manifest that asks for less", forged::two_manifests)
    },
    Attack {
        moves: &[Load(Fails("component", "hidden"))],
        ..tampered("hostile_hidden_manifest", "hides a manifest in a component inside", forged::hidden_manifest)
    },
    Attack {
        moves: &[Load(Fails("component", "forged or old"))],
        ..tampered(
            "hostile_other_operations",
            "carries operations that its code does not name",
            forged::other_operations,
        )
    },
    built(Attack {
        moves: &[Build(Fails("component", "evil:cli/stdin"))],
        ..forged("hostile_stranger", "imports what belongs to nobody", forged::stranger)
    }),
    built(Attack {
        grant: |connection| connection.imports.clear(),
        moves: &[Load(Fails("policy-denied", "imports"))],
        ..forged("hostile_ungranted", "imports what nobody granted", forged::ungranted)
    }),
];

/// Headers that only the host sets, and one that anybody may.
const HOST_HEADERS: &str = r#"{"headers":[["Authorization","x"],["authorization","x"],["Cookie","x"],["Host","x"],
["Content-Length","0"],["Transfer-Encoding","chunked"],["transfer-encoding","chunked"],["TE","trailers"],["Trailer","x"],
["Connection","close"],["Upgrade","h2c"],["HTTP2-Settings","x"],["Expect","100-continue"],["X-Forwarded-For","x"],
["X-HTTP-Method-Override","DELETE"],["X-Original-URL","/admin"],["Proxy-Authorization","x"],["Idempotency-Key","x"],
["x-a","b\r\nx-b: c"],["x-a\r\nx-b","c"],["x-a","b\u0000"],[":path","/admin"],["x-harmless","x"]]}"#;

fn wharfage_allow(origin: String, methods: Vec<String>, paths: Vec<String>) -> wharfage::Allow {
    wharfage::Allow { origin, methods, paths, graphql: None }
}

/// The credential back, in the form that the path names.
fn reflects(seen: &Seen) -> Reply {
    let sent = match seen.header("authorization") {
        Some(sent) => sent.to_owned(),
        None => seen.target.split("apikey=").nth(1).unwrap_or_default().to_owned(),
    };
    let form = seen.target.trim_start_matches('/').split('?').next().unwrap_or_default();
    let ok = |text: String| Reply::status(200).body(text);
    match form {
        "percent" => ok(percent(API_KEY)),
        "base64" => ok(STANDARD.encode(API_KEY)),
        "base64url" => ok(URL_SAFE_NO_PAD.encode(API_KEY)),
        "hex" => ok(hex(API_KEY)),
        "json" => Reply::json(&serde_json::json!({ "sent": sent })),
        "chunks" => Reply::chunked("text/plain", API_KEY.as_bytes().chunks(3)),
        "error" => Reply::status(400).body(sent),
        "header" => Reply::status(200).header("x-sent", API_KEY).body("x"),
        "redirect" => Reply::redirect(302, &format!("/plain?q={}", percent(API_KEY))),
        _ => ok(sent),
    }
}

/// What the path knows of a secret and each digit that may come next, as percent-encoding writes it, and each time the end of
/// the line in a piece of its own.
fn guesses(seen: &Seen) -> Reply {
    let known = seen.target.trim_start_matches('/');
    let guess = |digit: u32| {
        let digits: Vec<char> = format!("{known}{digit:x}").chars().collect();
        let written: Vec<String> = digits.chunks(2).map(|pair| format!("%{}", String::from_iter(pair))).collect();
        format!("a guess:\n{}", written.concat())
    };
    let pieces: Vec<String> = (0..16).flat_map(|digit| [guess(digit), "\n".to_owned()]).collect();
    Reply::chunked("text/plain", pieces.iter().map(String::as_bytes))
}

/// Elsewhere, by the number that the path ends with.
fn redirects(seen: &Seen) -> Reply {
    const PLACES: [&str; 14] = [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "//evil.test/",
        "https://evil.test/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/plain,x",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "http://user:pass@evil.test/",
        "\\\\evil.test\\x",
        "http://2130706433/",
        "",
        "http://api.stand-in.test@evil.test/",
    ];
    let place = seen.target.strip_prefix("/to/").and_then(|number| number.parse::<usize>().ok());
    match place.and_then(|place| PLACES.get(place)) {
        Some(place) => Reply::redirect(302, place),
        None if seen.target == "/kept" => Reply::redirect(307, "https://evil.test/"),
        None => Reply::redirect(302, "/round"),
    }
}

/// Answers that are more than they look.
fn bombs(seen: &Seen) -> Reply {
    const PACKED_BYTES: usize = 256 << 20;
    let text = |bytes: usize| "x".repeat(bytes);
    match seen.target.as_str() {
        "/gzip" => Reply::gzip_bomb(PACKED_BYTES),
        "/layers" => Reply::status(200).header("content-encoding", "gzip, gzip, gzip").body("x"),
        "/unknown" => Reply::status(200).header("content-encoding", "zstd").body("x"),
        "/declared" => Reply::declared(u64::MAX),
        "/heads" => (0..5_000).fold(Reply::status(200), |reply, number| reply.header(&format!("x-{number}"), "x")),
        "/long-head" => Reply::status(200).header("x-long", &text(8 << 20)),
        _ => Reply::endless(),
    }
}
