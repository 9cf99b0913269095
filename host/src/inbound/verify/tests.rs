//! The shapes in which providers sign, one row each. The signatures were computed by another program, after what the
//! providers publish; header names are ours.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::manifest::Manifest;

const HEAD: &str = "[plugin]\nname='acme'\nversion='1.2.3'\ncontract='0.1.0'\nprovider='Acme'\n\
    [secrets.hook]\npurpose='verify'\n[secrets.account]\n\
    [secrets.tokens]\npurpose='verify'\njwt={algorithm='RS256',issuer='https://issuer.test',audience=['us']}\n\
    [webhooks.w]\nsource='the shape as published'\ndate='2026-11-24'\n";

/// When most of these were signed: 2025-11-24T16:00:00Z.
const AT_S: u64 = 1_764_000_000;

struct Case {
    name: &'static str,
    recipe: &'static str,
    secret: &'static str,
    /// `{s}` stands for the signature.
    headers: &'static [(&'static str, &'static str)],
    signature: &'static str,
    query: Option<&'static str>,
    body: &'static [u8],
    key: &'static str,
}

const BODY_BASE64: &str = "verify={scheme='signature',secret='hook',header='X-Sign',algorithm='hmac-sha256',encoding='base64',content='{body}'}\n";
const PAIRS: &str = "keys=[{pointers=['/id']}]\ntime={header='X-Sign',name='t'}\nretries_for_s=259200\n\
    verify={scheme='signature',secret='hook',header='X-Sign',form='pairs',name='v1',algorithm='hmac-sha256',encoding='hex',content='{timestamp}.{body}'}\n";
const LIST: &str = "keys=[{headers=['X-Id']}]\ntime={header='X-Time'}\n\
    verify={scheme='signature',secret='hook',secret_encoding='base64',secret_prefix='whsec_',header='X-Sign',form='list',name='v1',algorithm='hmac-sha256',encoding='base64',id='X-Id',content='{id}.{timestamp}.{body}'}\n";
const EDWARDS: &str = "keys=[{headers=['X-Id']}]\ntime={header='X-Time'}\n\
    verify={scheme='signature',secret='hook',secret_encoding='base64',secret_prefix='whpk_',header='X-Sign',form='list',name='v1a',algorithm='ed25519',encoding='base64',id='X-Id',content='{id}.{timestamp}.{body}'}\n";
const URL: &str = "keys=[{fields=['MessageSid','MessageStatus']},{fields=['CallSid','CallStatus']},{hash=true}]\n\
    verify={scheme='signature',secret='hook',header='X-Sign',algorithm='hmac-sha1',encoding='base64',content='{url}{form}',body_hash='bodySHA256'}\n";
const EVENTS: &str = "keys=[{pointers=['/*/id']},{pointers=['/eventNotifications/*/realmId','/eventNotifications/*/dataChangeEvent/entities/*/id','/eventNotifications/*/dataChangeEvent/entities/*/lastUpdated']}]\n";
const VERSIONED: &str = "keys=[{pointers=['/event_id']}]\ntime={header='X-Time'}\n\
    challenge={pointer='/type',equals='url_verification',answer='/challenge'}\n\
    verify={scheme='signature',secret='hook',header='X-Sign',prefix='v0=',algorithm='hmac-sha256',encoding='hex',content='v0:{timestamp}:{body}'}\n";

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

const CASES: &[Case] = &[
    Case {
        name: "the body in base64, by what changed",
        recipe: "keys=[{pointers=['/data/number','/data/modified']},{hash=true}]\norder={pointers=['/data/number']}\n",
        secret: "company-key",
        headers: &[("x-sign", "{s}")],
        signature: "MWu7CfmP+jBZM3ckxgiZrdBVaN7xtYBWEkPMSBV2DX8=",
        query: None,
        body: br#"{"type":"order","action":"updated","data":{"number":"aec1","modified":"2026-11-24T10:00:00Z","status":"Accepted"}}"#,
        key: r#"["aec1","2026-11-24T10:00:00Z"]"#,
    },
    Case {
        name: "pairs with a time, the secret's text as it is",
        recipe: PAIRS,
        secret: "whsec_plain_text",
        headers: &[("x-sign", "t=1764000000,v1=ffff,v1={s},v0=00")],
        signature: "382a8434cfce798cadd58aa8142c9aadbf732dcf948b24e2092d9e3ed6c28adb",
        query: None,
        body: br#"{"id":"evt_1","object":"event"}"#,
        key: "evt_1",
    },
    Case {
        name: "a list with id and time, the secret in base64",
        recipe: LIST,
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        headers: &[("x-id", "msg_2"), ("x-time", "1764000000"), ("x-sign", "v1a,AAAA v1,AAAA v1,{s} v2,AAAA")],
        signature: "GZpCZhEpeq/5L3FCqS1gzY6cga6algFjXf7YiXsmtPc=",
        query: None,
        body: br#"{"test": 1}"#,
        key: "msg_2",
    },
    Case {
        name: "a list with Ed25519",
        recipe: EDWARDS,
        secret: "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
        headers: &[("x-id", "msg_2"), ("x-time", "1764000000"), ("x-sign", "v1,AAAA v1a,{s}")],
        signature: "uB2VtgWqA0w15faOppKiWBql455zRxKli9O+LMw/1SWNB/rRPDZ7+RrmBjJ/i9iKMkRVt6PqyeuXcRms6LfwDQ==",
        query: None,
        body: br#"{"test": 1}"#,
        key: "msg_2",
    },
    Case {
        name: "the address with the fields of a form, sorted and each once",
        recipe: URL,
        secret: "12345",
        headers: &[("x-sign", "{s}"), FORM],
        signature: "LGz/BpEqp757yCTKscFAonXKYe0=",
        query: Some("b=2&a=1"),
        body: b"CallSid=CA12&CallStatus=completed&To=%2B18005551212&Digits=2&Digits=1&Digits=2",
        key: r#"["CA12","completed"]"#,
    },
    Case {
        name: "the same with the default port",
        recipe: URL,
        secret: "12345",
        headers: &[("x-sign", "{s}"), FORM],
        signature: "USF/m/cMxP1xEKGocns82qW2EjM=",
        query: Some("b=2&a=1"),
        body: b"CallSid=CA12&CallStatus=completed&To=%2B18005551212&Digits=2&Digits=1&Digits=2",
        key: r#"["CA12","completed"]"#,
    },
    Case {
        name: "the address with the hash of a JSON body",
        recipe: URL,
        secret: "12345",
        headers: &[("x-sign", "{s}"), ("content-type", "application/json")],
        signature: "nWyRlYmsaZxPW+OY4COzb31pfHw=",
        query: Some("a=1&bodySHA256=fd502c0d05eedbca04a906d7ff730e55622620377231ee163ef0f0802e659c99"),
        body: br#"{"property": "value"}"#,
        key: "sha256:fd502c0d05eedbca04a906d7ff730e55622620377231ee163ef0f0802e659c99",
    },
    Case {
        name: "a batch of events",
        recipe: EVENTS,
        secret: "verifier",
        headers: &[("x-sign", "{s}")],
        signature: "8QJPaTZ5fLgDC7W6w68uLVuI15BmwgJAAxngswv2+x0=",
        query: None,
        body: br#"[{"id":"evt-1","type":"a.invoice.created.v1"},{"id":"evt-2","type":"a.invoice.updated.v1"}]"#,
        key: r#"["evt-1","evt-2"]"#,
    },
    Case {
        name: "the same provider's older batch",
        recipe: EVENTS,
        secret: "verifier",
        headers: &[("x-sign", "{s}")],
        signature: "gvFs4z2LiTk2WhS81hvoPLRYcxxtNmOZXwIM3Ml+F48=",
        query: None,
        body: br#"{"eventNotifications":[{"realmId":"11","dataChangeEvent":{"entities":[{"name":"Customer","id":"1","operation":"Create","lastUpdated":"2015-10-05T14:42:19-0700"}]}}]}"#,
        key: r#"["11","1","2015-10-05T14:42:19-0700"]"#,
    },
    Case {
        name: "a prefix, and an id in a header",
        recipe: "keys=[{headers=['X-Delivery']}]\nignored=[{header='X-Event',equals='ping'}]\n\
            verify={scheme='signature',secret='hook',header='X-Sign',prefix='sha256=',algorithm='hmac-sha256',encoding='hex',content='{body}'}\n",
        secret: "It's a Secret to Everybody",
        headers: &[("x-sign", "sha256={s}"), ("x-delivery", "72d3162e"), ("x-event", "push")],
        signature: "5ccdd8275f57d608741ad8390e42e8696ebfcd85607d9c2ef890769dda8f7568",
        query: None,
        body: br#"{"action":"opened"}"#,
        key: "72d3162e",
    },
    Case {
        name: "a version before time and body",
        recipe: VERSIONED,
        secret: "signing-secret",
        headers: &[("x-sign", "v0={s}"), ("x-time", "1764000000")],
        signature: "d3f87243797955827a0ecbc88a1f90493062db76b43a7889b06e5d5ee7602b48",
        query: None,
        body: br#"{"type":"event_callback","event_id":"Ev1"}"#,
        key: "Ev1",
    },
    Case {
        name: "time and body, each in a header of its own",
        recipe: "keys=[{pointers=['/event_id']},{pointers=['/id']},{hash=true}]\ntime={header='X-Time'}\n\
            verify={scheme='signature',secret='hook',header='X-Sign',algorithm='hmac-sha256',encoding='hex',content='{timestamp}.{body}'}\n",
        secret: "generic",
        headers: &[("x-sign", "{s}"), ("x-time", "1764000000")],
        signature: "0d48a508a4a41a4c5fd09eb5907a38e17621c8caab7a92b47440a9ea21d8369d",
        query: None,
        body: br#"{"event_id":"e1"}"#,
        key: "e1",
    },
    Case {
        name: "the body with SHA-1",
        recipe: "keys=[{pointers=['/event_id']}]\n\
            verify={scheme='signature',secret='hook',header='X-Sign',algorithm='hmac-sha1',encoding='hex',content='{body}'}\n",
        secret: "generic",
        headers: &[("x-sign", "{s}")],
        signature: "ccdf56d9d16c07f6dc16684a3333598c02c1482b",
        query: None,
        body: br#"{"event_id":"e1"}"#,
        key: "e1",
    },
    Case {
        name: "bytes that are no text, with SHA-512",
        recipe: "keys=[{pointers=['/event_id']},{hash=true}]\n\
            verify={scheme='signature',secret='hook',header='X-Sign',algorithm='hmac-sha512',encoding='hex',content='{body}'}\n",
        secret: "generic",
        headers: &[("x-sign", "{s}")],
        signature: "7d7ad704798f6cd345faec90ae0a5bb339dc10dea4a6e05e8a8085b395f06c6d20dfb198b173bd8f96093c669482ff73af08b10a5d366e75d0e82fc96e76a8e6",
        query: None,
        body: b"\xff\xfe\x00 no text",
        key: "sha256:d8ea80e1e706ce2f8791831dd230b4b64c351b5165768b0d2e2249b2cfed9333",
    },
];

fn facts(recipe: &str) -> WebhookFacts {
    let verify = if recipe.contains("verify=") { "" } else { BODY_BASE64 };
    Manifest::parse(&format!("{HEAD}{recipe}{verify}")).unwrap().webhooks["w"].clone()
}

fn headers(pairs: &[(String, Vec<u8>)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    map
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// A delivery that is put together anew for each try.
struct Try<'a> {
    case: &'a Case,
    signature: String,
    headers: Vec<(String, Vec<u8>)>,
    secrets: Vec<&'a str>,
    url: Option<&'a str>,
    query: Option<String>,
    body: Vec<u8>,
    now: Timestamp,
}

impl<'a> Try<'a> {
    fn new(case: &'a Case) -> Self {
        let headers = case.headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        Self {
            case,
            signature: case.signature.to_owned(),
            headers: headers.collect(),
            secrets: vec![case.secret],
            url: Some("https://hooks.example.org/webhooks/w"),
            query: case.query.map(str::to_owned),
            body: case.body.to_vec(),
            now: at(AT_S),
        }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    fn verify(&self) -> Result<Verified, Refused> {
        let written = |value: &[u8]| match std::str::from_utf8(value) {
            Ok(text) => text.replace("{s}", &self.signature).into_bytes(),
            Err(_) => value.to_vec(),
        };
        let all: Vec<_> = self.headers.iter().map(|(name, value)| (name.clone(), written(value))).collect();
        let secrets: Vec<_> = self.secrets.iter().map(|secret| Zeroizing::new((*secret).to_owned())).collect();
        let headers = headers(&all);
        let delivery = Delivery { headers: &headers, url: self.url, query: self.query.as_deref(), body: &self.body };
        verify(&facts(self.case.recipe), &Proof::Secrets(&secrets), &delivery, self.now)
    }
}

fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

/// The defects S29 and S11 of the guide: its handler knew one header and one form, decoded the body as text, and failed
/// on a header that was none.
#[test]
fn guide_s29_every_shape_is_verified_over_the_bytes_as_received() {
    for case in CASES {
        let key = match Try::new(case).verify() {
            Ok(Verified::Event(event)) => event.key,
            other => panic!("{}: {other:?}", case.name),
        };
        assert_eq!(key, case.key, "{}", case.name);
        let mut odd = Try::new(case);
        let header = facts(case.recipe).verify.header().to_ascii_lowercase();
        odd.headers.retain(|(name, _)| *name != header);
        odd.headers.push((header, b"v1,\xff\xfe sha256=\xc3\xa9".to_vec()));
        assert!(odd.verify().is_err(), "{}", case.name);
    }
}

#[test]
fn one_bit_of_anything_and_it_is_refused() {
    for case in CASES {
        for (at, bit) in (0..case.body.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = Try::new(case);
            changed.body[at] ^= 1 << bit;
            // Of a form the fields are signed, however they are written.
            let fields = |body: &[u8]| url::form_urlencoded::parse(body).into_owned().collect::<Vec<_>>();
            if case.headers.contains(&FORM) && fields(&changed.body) == fields(case.body) {
                continue;
            }
            assert_eq!(changed.verify(), Err(Refused::Unproven), "{}: body {at}.{bit}", case.name);
        }
        let is_hex = case.signature.bytes().all(|byte| byte.is_ascii_hexdigit());
        let signature = match is_hex {
            true => unhex(case.signature.as_bytes()).unwrap(),
            false => STANDARD.decode(case.signature).unwrap(),
        };
        for (at, bit) in (0..signature.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = signature.clone();
            bytes[at] ^= 1 << bit;
            let mut changed = Try::new(case);
            changed.signature = if is_hex { hex(&bytes) } else { STANDARD.encode(&bytes) };
            assert_eq!(changed.verify(), Err(Refused::Unproven), "{}: signature {at}.{bit}", case.name);
        }
        for length in 0..signature.len() {
            let mut cut = Try::new(case);
            cut.signature = if is_hex { hex(&signature[..length]) } else { STANDARD.encode(&signature[..length]) };
            assert_eq!(cut.verify(), Err(Refused::Unproven), "{}: signature of {length}", case.name);
        }
        for secret in ["", "other", "whsec_", "whsec_AAAA"] {
            let mut other = Try::new(case);
            other.secrets = vec![secret];
            assert_eq!(other.verify(), Err(Refused::Unproven), "{}: secret {secret:?}", case.name);
        }
        let mut none = Try::new(case);
        none.secrets.clear();
        assert_eq!(none.verify(), Err(Refused::Unproven), "{}", case.name);
        // A header that is not there, and one that is there twice.
        for (at, (name, value)) in case.headers.iter().enumerate() {
            let is_signed = !["content-type", "x-delivery", "x-event"].contains(name);
            let mut missing = Try::new(case);
            missing.headers.remove(at);
            assert!(missing.verify().is_err() || !is_signed, "{}: without {name}", case.name);
            let mut twice = Try::new(case);
            twice.headers.push(((*name).to_owned(), value.as_bytes().to_vec()));
            assert!(twice.verify().is_err() || !is_signed, "{}: {name} twice", case.name);
        }
    }
}

/// The defect S29 of the guide, its other half: whoever left the time out was not asked for it.
#[test]
fn guide_s29_a_time_that_is_signed_cannot_be_left_out() {
    for case in CASES {
        let Some(time) = facts(case.recipe).time else { continue };
        let without = match &time.name {
            Some(_) => Try::new(case).set("x-sign", "v1={s}"),
            None => {
                let mut without = Try::new(case);
                without.headers.retain(|(name, _)| name != "x-time");
                without
            }
        };
        assert_eq!(without.verify(), Err(Refused::Unproven), "{}", case.name);
        let timed = |text: &str| match &time.name {
            Some(_) => Try::new(case).set("x-sign", &format!("t={text},v1={{s}}")).verify(),
            None => Try::new(case).set("x-time", text).verify(),
        };
        assert!(timed("1764000000").is_ok(), "{}", case.name);
        for other in ["1764000001", "1763999999", "01764000000"] {
            assert_eq!(timed(other), Err(Refused::Unproven), "{}: {other}", case.name);
        }
        for wrong in
            ["", "now", "-1", "+1764000000", "1764000000.0", "1e9", "99999999999999999999", "18446744073709551615"]
        {
            assert_eq!(timed(wrong), Err(Refused::MalformedTime), "{}: {wrong}", case.name);
        }
    }
}

#[test]
fn a_time_is_good_to_the_second_of_its_tolerance() {
    for case in CASES.iter().filter(|case| facts(case.recipe).time.is_some()) {
        for (now, is_good) in [(AT_S - 301, false), (AT_S - 300, true), (AT_S + 300, true), (AT_S + 301, false)] {
            let mut later = Try::new(case);
            later.now = at(now);
            let expected = if is_good { None } else { Some(Refused::Stale) };
            assert_eq!(later.verify().err(), expected, "{}: {now}", case.name);
        }
    }
}

#[test]
fn the_versions_of_a_secret_are_all_accepted() {
    for case in CASES {
        for secrets in
            [[case.secret, "next", "previous"], ["current", case.secret, "previous"], ["c", "n", case.secret]]
        {
            let mut changing = Try::new(case);
            changing.secrets = secrets.to_vec();
            assert!(changing.verify().is_ok(), "{}: {secrets:?}", case.name);
        }
    }
}

/// The defect S30 of the guide: it took `id`, which may be the id of what changed and not of the change, and dropped
/// every further change of a day.
#[test]
fn guide_s30_two_changes_of_one_thing_have_two_keys() {
    let facts =
        facts("keys=[{pointers=['/data/number','/data/modified']},{hash=true}]\norder={pointers=['/data/number']}\n");
    let identified = |body: &str| {
        let map = HeaderMap::new();
        let delivery = Delivery { headers: &map, url: None, query: None, body: body.as_bytes() };
        let parts = Parts::new(&facts, &delivery);
        (parts.key(&facts.keys), parts.named(facts.order.as_ref().unwrap()))
    };
    let first = identified(r#"{"id":7,"data":{"number":"a","modified":"1"}}"#);
    let second = identified(r#"{"id":7,"data":{"number":"a","modified":"2"}}"#);
    assert_ne!(first.0, second.0);
    assert_eq!(first.1.as_deref(), Some("a"), "one after the other");
    assert_eq!(first.1, second.1);
    assert_eq!(
        first,
        identified(r#" {"data":{"modified":"1","number":"a"}, "id":7}"#),
        "the same change, written otherwise"
    );
    // Where a part is missing, or cannot be told exactly, the whole body is the key.
    for (one, other) in [
        (r#"{"data":{"number":"a"}}"#, r#"{"data":{"number":"a"} }"#),
        (r#"{"data":{"number":1e400,"modified":"1"}}"#, r#"{"data":{"number":2e400,"modified":"1"}}"#),
        (
            r#"{"data":{"number":123456789012345678901234,"modified":"1"}}"#,
            r#"{"data":{"number":123456789012345678901235,"modified":"1"}}"#,
        ),
        (r#"{"data":{"number":null,"modified":"1"}}"#, r#"{"data":{"number":[],"modified":"1"}}"#),
        ("no json", "[]"),
    ] {
        let (one, other) = (identified(one), identified(other));
        assert!(one.0.starts_with("sha256:") && one.0 != other.0, "{one:?} {other:?}");
    }
}

/// What a signature does not tell apart is one delivery also where only its hash is left, or whoever writes it otherwise
/// could send it again and again.
#[test]
fn the_last_resort_is_what_was_signed() {
    let case = case("the address with the fields of a form, sorted and each once");
    let key = |recipe: &str, body: &[u8]| {
        let facts = facts(recipe);
        let map = headers(&[(FORM.0.to_owned(), FORM.1.as_bytes().to_vec())]);
        let delivery = Delivery { headers: &map, url: None, query: None, body };
        Parts::new(&facts, &delivery).key(&facts.keys)
    };
    let hash = case.recipe.replace("{fields=['MessageSid','MessageStatus']},{fields=['CallSid','CallStatus']},", "");
    assert_eq!(key(&hash, b"a=%2B1&b=2"), key(&hash, b"b=2&a=%2b1&b=2"));
    assert_ne!(key(&hash, b"a=%2B1&b=2"), key(&hash, b"a=%2B1&b=3"));
    let bytes = "keys=[{hash=true}]\n";
    assert_ne!(key(bytes, b"a=%2B1&b=2"), key(bytes, b"b=2&a=%2b1&b=2"));
}

/// Anybody may send a form, and putting millions of fields in order cost a hundred times what the signature does.
#[test]
fn a_form_of_too_many_fields_proves_nothing() {
    let VerifyFacts::Signature(signature) = facts(URL).verify else { panic!("another recipe") };
    let map = headers(&[(FORM.0.to_owned(), FORM.1.as_bytes().to_vec())]);
    let covers = |fields: usize| {
        let body = vec!["a=1"; fields].join("&");
        covered(&signature, &Delivery { headers: &map, url: None, query: None, body: body.as_bytes() })
    };
    assert_eq!(covers(FORM_FIELDS_MAX), (b"a1".to_vec(), true));
    assert_eq!(covers(FORM_FIELDS_MAX + 1), (Vec::new(), false));
}

/// Where one part ends and the next begins is part of a key, and long ones differ at their ends.
#[test]
fn keys_do_not_run_into_each_other() {
    let key = |recipe: &str, pairs: &[(&str, &str)], body: &str| {
        let all: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        let map = headers(&all);
        let delivery = Delivery { headers: &map, url: None, query: None, body: body.as_bytes() };
        let facts = facts(recipe);
        Parts::new(&facts, &delivery).key(&facts.keys)
    };
    let two = "keys=[{headers=['A','B']}]\n";
    assert_ne!(key(two, &[("a", "1"), ("b", "23")], ""), key(two, &[("a", "12"), ("b", "3")], ""));
    let one = "keys=[{headers=['A']}]\n";
    assert_ne!(key(one, &[("a", r#"["1","2"]"#)], ""), key(two, &[("a", "1"), ("b", "2")], ""));
    let long = |end: &str| key(one, &[("a", &format!("{}{end}", "x".repeat(300)))], "");
    assert!(long("1").len() < 80 && long("1") != long("2"));
    let all = "keys=[{pointers=['/*/id']}]\n";
    let many = |number: usize| {
        let ids: Vec<String> = (0..number).map(|id| format!("{{\"id\":{id}}}")).collect();
        key(all, &[], &format!("[{}]", ids.join(",")))
    };
    assert!(many(5_000) != many(5_001) && many(5_000).starts_with("sha256:"));
    assert_ne!(key(all, &[], r#"[{"id":1},{}]"#), key(all, &[], r#"[{"id":1}]"#), "all of them or none");
}

/// The address is the operator's word: with its port and without, its query letter by letter.
#[test]
fn an_address_is_signed_as_the_provider_has_it() {
    let case = case("the address with the fields of a form, sorted and each once");
    let asked = |url: Option<&'static str>, query: Option<&str>, signature: &str| {
        let mut other = Try::new(case);
        (other.url, other.query, other.signature) = (url, query.map(str::to_owned), signature.to_owned());
        other.verify().is_ok()
    };
    let whole = case.query;
    for url in ["https://hooks.example.org/webhooks/w", "https://hooks.example.org:8443/webhooks/w"] {
        assert!(asked(Some(url), whole, case.signature), "{url}");
    }
    assert!(asked(Some("https://hooks.example.org:8443/webhooks/w"), whole, "+1XQ6jwXRzPsSzoMQQZ6WhFvxfE="));
    for (url, query) in [
        (Some("https://hooks.example.org/webhooks/w"), Some("a=1&b=2")),
        (Some("https://hooks.example.org/webhooks/w"), None),
        (Some("https://hooks.example.org/webhooks/v"), whole),
        (Some("http://hooks.example.org/webhooks/w"), whole),
        (None, whole),
    ] {
        assert!(!asked(url, query, case.signature), "{url:?} {query:?}");
    }
}

/// A body that no signature covers could be anybody's.
#[test]
fn a_body_that_is_no_form_has_to_be_covered_by_its_hash() {
    let case = case("the address with the hash of a JSON body");
    let mut other = Try::new(case);
    other.body = br#"{"property": "other"}"#.to_vec();
    assert_eq!(other.verify(), Err(Refused::Unproven));
    // Called a form, it is still held against the hash.
    assert_eq!(other.set("content-type", FORM.1).verify(), Err(Refused::Unproven));
    let mut twice = Try::new(case);
    twice.query = Some(format!("{}&bodySHA256=00", case.query.unwrap()));
    assert_eq!(twice.verify(), Err(Refused::Unproven));
    // A form's signature does not cover the same bytes called JSON.
    let form = self::case("the address with the fields of a form, sorted and each once");
    assert_eq!(Try::new(form).set("content-type", "application/json").verify(), Err(Refused::Unproven));
}

#[test]
fn a_challenge_is_answered_and_a_ping_is_not_handed_over() {
    let mut asked = Try::new(case("a version before time and body"));
    asked.body = br#"{"type":"url_verification","challenge":"3eZbrw1a"}"#.to_vec();
    assert_eq!(asked.verify(), Err(Refused::Unproven), "nobody else is answered");
    asked.signature = "716a07776a04cc0e54f664bc74a5154b2d0fa433d7a7f809ba89af34c25d603b".to_owned();
    assert_eq!(asked.verify(), Ok(Verified::Challenge("3eZbrw1a".to_owned())));
    let ping = Try::new(case("a prefix, and an id in a header")).set("x-event", "ping");
    assert_eq!(ping.verify(), Ok(Verified::Ignored));
}

#[test]
fn what_carries_a_signature_is_not_handed_on() {
    let delivery =
        Try::new(case("a prefix, and an id in a header")).set("authorization", "Bearer other").set("cookie", "a=b");
    let Ok(Verified::Event(event)) = delivery.verify() else { panic!("it is refused") };
    let names: Vec<&str> = event.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-delivery", "x-event"]);
}

/// The guide's comparison of texts raises where a header is no ASCII, and the sender learns of it by a 500.
#[test]
fn guide_s11_a_header_that_is_no_ascii_is_refused_like_any_other() {
    for case in CASES {
        let signed = case.headers.iter().find(|(_, value)| value.contains("{s}")).unwrap().0;
        for bytes in [&b"\xff\xfe"[..], "sch\u{f6}n".as_bytes(), b"v1=\xc3,t=1\xf0"] {
            let mut delivery = Try::new(case);
            delivery.headers.retain(|(name, _)| name != signed);
            delivery.headers.push((signed.to_owned(), bytes.to_vec()));
            assert!(delivery.verify().is_err(), "{}: {bytes:?} was taken", case.name);
        }
    }
}

#[test]
fn a_channels_token_is_compared_whole_and_ends() {
    let facts = facts(
        "keys=[{headers=['X-Channel','X-Number']}]\nends='X-Ends'\nignored=[{header='X-State',equals='sync'}]\n\
         verify={scheme='token',secret='hook',header='X-Token'}\n",
    );
    let asked = |token: &[u8], more: &[(&str, &str)], now_s: u64| {
        let more = more.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec()));
        let all: Vec<_> = [("x-token".to_owned(), token.to_vec())].into_iter().chain(more).collect();
        let map = headers(&all);
        let delivery = Delivery { headers: &map, url: None, query: None, body: b"" };
        let secrets = ["a-long-channel-token", "its-next-one"].map(|secret| Zeroizing::new(secret.to_owned()));
        verify(&facts, &Proof::Secrets(&secrets), &delivery, at(now_s))
    };
    let ids = [("x-channel", "c1"), ("x-number", "7")];
    let key = match asked(b"a-long-channel-token", &ids, AT_S) {
        Ok(Verified::Event(event)) => event.key,
        other => panic!("{other:?}"),
    };
    assert_eq!(key, r#"["c1","7"]"#);
    assert!(asked(b"its-next-one", &ids, AT_S).is_ok());
    for wrong in [&b""[..], b"a-long-channel-toke", b"a-long-channel-tokenn", b"A-long-channel-token", b"\xff"] {
        assert_eq!(asked(wrong, &ids, AT_S), Err(Refused::Unproven));
    }
    let ends = [("x-ends", "Mon, 24 Nov 2025 16:00:00 GMT")];
    assert!(asked(b"its-next-one", &ends, AT_S - 1).is_ok());
    assert_eq!(asked(b"its-next-one", &ends, AT_S), Err(Refused::Stale));
    assert_eq!(asked(b"its-next-one", &[("x-ends", "soon")], AT_S), Err(Refused::MalformedTime));
    assert_eq!(asked(b"its-next-one", &[("x-state", "sync")], AT_S), Ok(Verified::Ignored));
}

mod tokens {
    //! Made by another program, with a key that it did not keep.
    pub(super) const MODULUS: &str = "6Nkf-oKk34EOOYBTZXBE_UpglAwKpaUij7yqcxVhOV0Zp6mZ_zQclHd_wXq0ecHLNs_3-4vTfnDorXkCIpK2oho27noPhF8zWQTK-pBlpsxfiWi-JriC0NAkvciR_guqji69ZbgqHGTZgTK8zCzWS42nFBgKRD8i16AEu7cgD4AUcx6Cu5nCxLBlClDL85VVmslv8eprqWeCAmDXfauAbxHDzVu2BNTa7tLALuWOdt9ndigxDEOM7C6Osw3V2w0f1AxzPM2UvvV7dcVJC4p1Qtyq99onSn_zsaE-eHmZ6PfuagiQ2bK4Wp06o1Tf6FgkiD86rkVM8eeg7vbnhE71BQ";
    pub(super) const GOOD: &str = "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogImsxIn0.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIudGVzdCIsICJhdWQiOiAidXMiLCAiZXhwIjogMTc2NDAwMDEwMCwgImVtYWlsIjogInB1c2hAcHJvamVjdC50ZXN0IiwgImVtYWlsX3ZlcmlmaWVkIjogdHJ1ZX0.a33hbCI_Rsgzaq5sHXv2jC0MVSS6YbB_J11tTE3MyBokM53Xv1WB8I2ll-8vxyxu4z32wt4FOk4mJ8h6GOGiz3V9tFSPYjNmeLyA3kfelLdyL_ZPuhi21xfzivekScZvwjapHrdJ4e4k1kPHC4ufTC7F0L452e9nUYI47_S6qFmUpLT6z6YkKSBpKfdV_9kUudypgKhtxv8nBEmrhrWxIM6hj31BICD4tYFvP_cxi7A-OEP6AZmWhKtHIzimQOinv668-RyPUjAEL7PMM8cFHjdNKj1hxdKLPLCzrFIasNLIqI20rOyLSpkY4QzQC8rKdSvAAhxYwFFHmgVE3_sCgA";
    pub(super) const UNVERIFIED: &str = "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogImsxIn0.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIudGVzdCIsICJhdWQiOiAidXMiLCAiZXhwIjogMTc2NDAwMDEwMCwgImVtYWlsIjogInB1c2hAcHJvamVjdC50ZXN0IiwgImVtYWlsX3ZlcmlmaWVkIjogZmFsc2V9.TK5mTpzptHKrEfouu0voiFYL1AxkDeGkG9b1ylGAv2QztFRedP2DzXqmZcOoZ2GMhevvH9PCKaqT3dl-o3Zv7dkfyq0Ncpz9IYtU57_lU7wRNmvz4jPvs1FSMuu02yvzt6PyBMjPZ6QWfEEeZ2scZGzQcKD4U5G9vQMIZEyJ64AntcfrbaB9MEee5SpkAAGgxh1ujQewloDq5oEMFNME5oR72BUywBGnaJ8NAqlmYdy81HTD2_6Is3fE8C4dn7S56Ah_5epDBmhmU1n5_xPW9yERoyYqrTwc7U4kHF6IWvB-QtjWF_hiW1ubWtEN1_Qtgf-9F0ysY6Kp8X2Zhtl05w";
    pub(super) const OTHERS: &str = "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogImsxIn0.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIudGVzdCIsICJhdWQiOiAidXMiLCAiZXhwIjogMTc2NDAwMDEwMCwgImVtYWlsIjogIm90aGVyQHByb2plY3QudGVzdCIsICJlbWFpbF92ZXJpZmllZCI6IHRydWV9.HPYDjOaYIPoeICXfROmW3nqvxzEhNf5wOe1KoDBmr0h4KgwRsFUY2cjF4Yw8SIDp1ovh87R5I0gzhq13WOo-Wxgf8VQPIjjnx-8yPujereWxk8kliDj8se2dNDI-qUJpBvhq6IHI97cxyboXgPj01O75C8SDINfvPtC9jDP3xF-XLaCIdA6AYYj-nBALhxN1c2LZa7OkTRpK2YK5htbVm8tHdljlsboyA4wCmj4CA9RURMaabfAGuhEs7HirT6mph805UiaEXk9GaNYiILUqvD3UvAk8SBCtLJ6ijyPvPKpkS7ORj2Dzdvdp_gSAwxuvqIsh5Hob9B3ZwNUrnPC29g";
}

#[test]
fn a_token_is_checked_with_the_providers_keys_and_is_from_one_account() {
    let facts = facts(
        "keys=[{pointers=['/message/messageId']}]\n\
         verify={scheme='jwt',secret='tokens',header='Authorization',prefix='Bearer ',email_secret='account'}\n",
    );
    let set = format!(r#"{{"keys":[{{"kty":"RSA","kid":"k1","alg":"RS256","n":"{}","e":"AQAB"}}]}}"#, tokens::MODULUS);
    let keys = Keys::of_set("RS256", set.as_bytes()).unwrap();
    let rules = |audience: &str| Rules {
        issuer: Some("https://issuer.test".to_owned()),
        audience: vec![audience.to_owned()],
        ..Rules::default()
    };
    let asked = |header: &str, audience: &str, email: Option<&str>, now_s: u64| {
        let map = headers(&[("authorization".to_owned(), header.as_bytes().to_vec())]);
        let body = br#"{"message":{"messageId":"2070443601311540","data":"e30="}}"#;
        let delivery = Delivery { headers: &map, url: None, query: None, body };
        verify(&facts, &Proof::Tokens(&keys, &rules(audience), email), &delivery, at(now_s))
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let (good, email) = (bearer(tokens::GOOD), Some("push@project.test"));
    let Ok(Verified::Event(event)) = asked(&good, "us", email, AT_S) else { panic!("it is refused") };
    assert_eq!((event.key.as_str(), event.headers.len()), ("2070443601311540", 0));
    assert!(asked(&good.replace("Bearer", "bearer"), "us", None, AT_S).is_ok());
    for (header, audience, email, now_s) in [
        (good.clone(), "them", email, AT_S),
        (good.clone(), "us", Some("else@project.test"), AT_S),
        (good.clone(), "us", email, AT_S + 100),
        (bearer(tokens::UNVERIFIED), "us", email, AT_S),
        (bearer(tokens::OTHERS), "us", email, AT_S),
        (tokens::GOOD.to_owned(), "us", email, AT_S),
        (bearer(&tokens::GOOD.replace("eyJpc3M", "eyJpc3N")), "us", email, AT_S),
        (bearer(""), "us", email, AT_S),
        (String::new(), "us", email, AT_S),
    ] {
        assert_eq!(asked(&header, audience, email, now_s), Err(Refused::Unproven), "{header}");
    }
    // A secret is no key set, and the other way round.
    let map = headers(&[("authorization".to_owned(), good.into_bytes())]);
    let delivery = Delivery { headers: &map, url: None, query: None, body: b"" };
    let secrets = [Zeroizing::new(tokens::GOOD.to_owned())];
    assert_eq!(verify(&facts, &Proof::Secrets(&secrets), &delivery, at(AT_S)), Err(Refused::Unproven));
}

proptest! {
    /// Whatever stands in the headers: nobody passes without the signature, and nothing breaks.
    #[test]
    fn no_header_gets_through(
        row in 0..CASES.len(),
        name in 0..4_usize,
        value in proptest::collection::vec(proptest::sample::select((b' '..=b'~').chain(128..=255).collect::<Vec<u8>>()), 0..80),
        mixed in "(t=|v1=|v1,|v0=|sha256=|,| |=|[0-9a-f]{1,4}|1764000000){0,12}",
    ) {
        let case = &CASES[row];
        let name = ["x-sign", "x-time", "x-id", "content-type"][name];
        for value in [value, mixed.into_bytes()] {
            let mut other = Try::new(case);
            other.signature = String::new();
            other.headers.retain(|(known, _)| known != name);
            other.headers.push((name.to_owned(), value));
            prop_assert!(other.verify().is_err());
        }
    }
}
