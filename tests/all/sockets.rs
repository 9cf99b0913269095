//! Sockets: opened like a request, kept open, opened again after a wait, and never a way around a rule.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wharfage::serving::{Socket, SocketHandler, SocketPolicy, SocketState};
use wharfage::{BoxFuture, Clock, Error, Kind, ManualClock, Trigger};
use wharfage_tests::{
    API_KEY, Act, NOW, Open, PATIENCE, Provider, Reply, Scene, SocketServer, guests, skipping, until,
};

/// What a manifest says of the socket in most tests; more lines may follow.
const SOCKET: &str = r#"
[sockets.ticks]
origin = "api"
path = "/ws?of={what}"
parameters = ["what"]
subscribe = ['{"op":"subscribe","what":"{what}"}', '{"op":"more"}']
stop_codes = [4003]
sign_in_codes = [4401]
source = "made up for the tests"
date = "2026-11-24"
"#;

const POLICY: &str = "values = { what = 'a' }\n";

type Answer = dyn Fn(usize, &str) -> BoxFuture<'static, Result<Vec<Vec<u8>>, Error>> + Send + Sync;

/// What a listener was handed: id and text, `gap` for a gap.
struct Notes {
    taken: Mutex<Vec<(String, String)>>,
    changed: watch::Sender<u64>,
    has_begun: bool,
    answer: Box<Answer>,
}

struct Ear(Arc<Notes>);

impl SocketHandler for Ear {
    fn has_begun(&self) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async { Ok(self.0.has_begun) })
    }

    fn take(&self, id: &str, trigger: Trigger) -> BoxFuture<'_, Result<Vec<Vec<u8>>, Error>> {
        let text = match trigger {
            Trigger::Message { socket, message } => {
                assert_eq!(socket, "ticks");
                String::from_utf8_lossy(&message).into_owned()
            }
            Trigger::Gap(_) => "gap".to_owned(),
            other => panic!("{other:?}"),
        };
        let number = {
            let mut taken = self.0.taken.lock().unwrap();
            taken.push((id.to_owned(), text.clone()));
            taken.len() - 1
        };
        self.0.changed.send_modify(|changes| *changes += 1);
        (self.0.answer)(number, &text)
    }
}

struct Running {
    socket: Socket,
    notes: Arc<Notes>,
    task: JoinHandle<Result<(), Error>>,
    _open: Open,
}

impl Running {
    fn texts(&self) -> Vec<String> {
        self.notes.taken.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.notes.taken.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    /// Waits until so much was handed over.
    async fn taken(&self, count: usize) -> Vec<String> {
        let mut changed = self.notes.changed.subscribe();
        let wait = changed.wait_for(|changes| *changes >= count as u64);
        let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(in_time, "only {:?}, {:?}", self.texts(), self.socket.status());
        self.texts()
    }

    /// Lets everybody work until this holds.
    async fn until(&self, what: &str, holds: impl Fn(&Running) -> bool) {
        until!(holds(self), "{what}: {:?} {:?}", self.texts(), self.socket.status());
    }

    /// Turns the clock until this holds, in small steps, with time for everybody to act.
    async fn turning(&self, clock: &ManualClock, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..20_000 {
            if holds() {
                return;
            }
            clock.advance(50);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        panic!("{what}: {:?} {:?}", self.texts(), self.socket.status());
    }

    /// Stops, and waits until that is done.
    async fn stop(self) -> Vec<String> {
        self.socket.drain();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").unwrap().unwrap();
        self.notes.taken.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }
}

fn nothing(_: usize, _: &str) -> BoxFuture<'static, Result<Vec<Vec<u8>>, Error>> {
    Box::pin(async { Ok(Vec::new()) })
}

/// A socket that runs, on this clock.
async fn run_on(
    clock: &ManualClock,
    scene: Scene,
    policy: &str,
    has_begun: bool,
    answer: impl Fn(usize, &str) -> BoxFuture<'static, Result<Vec<Vec<u8>>, Error>> + Send + Sync + 'static,
) -> Running {
    let open = scene.clock(clock).open().await;
    let policy: SocketPolicy = toml::from_str(&format!("{POLICY}{policy}")).unwrap();
    let notes = Arc::new(Notes {
        taken: Mutex::default(),
        changed: watch::Sender::new(0),
        has_begun,
        answer: Box::new(answer),
    });
    let socket = open.plugin.socket("ticks", &policy, Ear(notes.clone())).unwrap();
    let task = tokio::spawn({
        let socket = socket.clone();
        async move { socket.run().await }
    });
    Running { socket, notes, task, _open: open }
}

fn scene(server: &SocketServer) -> Scene {
    Scene::of(guests::EVENTS_KEYED).manifest(SOCKET).at("api", &server.url())
}

fn more(server: &SocketServer, lines: &str) -> Scene {
    Scene::of(guests::EVENTS_KEYED)
        .manifest(&SOCKET.replace("source =", &format!("{lines}\nsource =")))
        .at("api", &server.url())
}

async fn served(clock: &ManualClock, scripts: impl IntoIterator<Item = Vec<Act>>) -> SocketServer {
    SocketServer::scripted(Arc::new(clock.clone()), scripts).await
}

const SUBSCRIBED: [&str; 2] = [r#"{"op":"subscribe","what":"a"}"#, r#"{"op":"more"}"#];

#[tokio::test]
async fn opens_like_a_request_subscribes_in_order_and_goes_away_when_it_stops() {
    let clock = skipping();
    let script = vec![Act::Until(2), Act::say("one"), Act::Bytes(vec![0xff, 0]), Act::say("two"), Act::UntilClose];
    let server = served(&clock, [script]).await;
    let running = run_on(&clock, scene(&server), "", false, nothing).await;
    assert_eq!(running.taken(3).await, ["one", "\u{fffd}\0", "two"]);
    assert_eq!(running.socket.status().state, SocketState::Open);
    let ids: Vec<String> = running.notes.taken.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
    let parts: Vec<Vec<&str>> = ids.iter().map(|id| id.split('/').collect()).collect();
    assert!(parts.iter().all(|parts| parts[..2] == ["acme", "ticks"] && parts[2] == parts_of(&ids[0])), "{ids:?}");
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    running.stop().await;
    let opening = server.until("it closes", |all| all[0].closed.is_some()).await.remove(0);
    assert_eq!(opening.closed, Some(1001));
    assert_eq!(opening.target, "/ws?of=a");
    assert_eq!(opening.texts(), SUBSCRIBED);
    assert_eq!(opening.header("authorization"), Some(format!("App {API_KEY}").as_str()));
    assert_eq!(opening.header("sec-websocket-extensions"), None);
}

fn parts_of(id: &str) -> &str {
    id.split('/').nth(2).unwrap()
}

/// The guide's client opens a socket that was closed in an orderly way anew without any wait: 978 times in three seconds.
#[tokio::test]
async fn guide_s07_a_clean_close_is_followed_by_a_wait() {
    let clock = skipping();
    let server = served(&clock, [vec![Act::Close(1000)]]).await;
    let running = run_on(&clock, scene(&server), "", false, nothing).await;
    let openings = server.until("it comes again", |all| all.len() >= 12).await;
    running.socket.drain();
    let at: Vec<u64> = openings.iter().map(|opening| opening.at.as_millis() - NOW.as_millis()).collect();
    let waits: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(at.iter().filter(|at| **at < 3_000).count() <= 3, "{at:?}");
    for (number, wait_ms) in waits.iter().enumerate() {
        let most = (2_000u64 << number.min(20)).min(60_000);
        assert!((most / 2..=most).contains(wait_ms), "{waits:?}");
    }
    assert!(running.socket.status().last_end.unwrap().contains("1000"));
}

/// The guide sets its wait back as soon as it is connected, knows of no gap, and subscribes once.
#[tokio::test]
async fn guide_s07_after_each_time_away_it_subscribes_and_tells_of_a_gap() {
    let clock = skipping();
    let script = |text: &str| vec![Act::Until(2), Act::say(text), Act::Close(1012)];
    let last = vec![Act::Until(2), Act::say("c"), Act::UntilClose];
    let server = served(&clock, [script("a"), script("b"), last]).await;
    let running = run_on(&clock, scene(&server), "", false, nothing).await;
    assert_eq!(running.taken(5).await, ["a", "gap", "b", "gap", "c"]);
    let status = running.socket.status();
    assert_eq!((status.openings, status.given_up, status.dropped), (3, 0, 0));
    running.stop().await;
    let openings = server.until("it closes", |all| all[2].closed.is_some()).await;
    assert!(openings.iter().all(|opening| opening.texts() == SUBSCRIBED), "{openings:?}");
    let waits: Vec<u64> = openings.windows(2).map(|pair| pair[1].at.as_millis() - pair[0].at.as_millis()).collect();
    assert!(waits.iter().all(|wait_ms| (5_000..=30_000).contains(wait_ms)), "a restart is left alone: {waits:?}");
}

#[tokio::test]
async fn a_run_before_this_one_left_a_gap() {
    let clock = skipping();
    let server = served(&clock, [vec![Act::Until(2), Act::say("a"), Act::UntilClose]]).await;
    let running = run_on(&clock, scene(&server), "", true, nothing).await;
    assert_eq!(running.taken(2).await, ["gap", "a"]);
    running.stop().await;
}

/// The guide's client ends its loop when its handler raises.
#[tokio::test]
async fn guide_s07_a_handler_that_fails_does_not_end_the_socket() {
    let clock = skipping();
    let script = vec![Act::say("bad"), Act::say("busy"), Act::say("good"), Act::UntilClose];
    let server = served(&clock, [script]).await;
    let is_first = AtomicBool::new(true);
    let running = run_on(&clock, scene(&server), "attempts = 3", false, move |_, text| {
        let error = match text {
            "bad" => Some(Error::new(Kind::SchemaViolation, "it cannot be read")),
            // The second time it passes.
            "busy" if is_first.swap(false, Ordering::SeqCst) => Some(Error::new(Kind::Transient, "busy")),
            _ => None,
        };
        Box::pin(async { error.map_or_else(|| Ok(vec![b"fine".to_vec()]), Err) })
    })
    .await;
    let texts = running.taken(5).await;
    assert_eq!(texts.iter().filter(|text| *text == "bad").count(), 1, "{texts:?}");
    assert_eq!(texts.iter().filter(|text| *text == "busy").count(), 2, "{texts:?}");
    assert!(texts.contains(&"gap".to_owned()), "what was given up is missing: {texts:?}");
    let ids: Vec<String> = running
        .notes
        .taken
        .lock()
        .unwrap()
        .iter()
        .filter(|(_, text)| text == "busy")
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(ids[0], ids[1], "the second time it is the same event");
    let status = running.socket.status();
    assert_eq!((status.openings, status.given_up), (1, 1));
    running.stop().await;
}

/// Nobody else knows that something is missing, and what keeps the plugin from asking passes.
#[tokio::test]
async fn a_gap_that_cannot_be_handled_is_told_again_until_it_is() {
    let clock = ManualClock::new(NOW, 1);
    let server = served(&clock, [vec![Act::Until(2), Act::say("a"), Act::UntilClose]]).await;
    let tries = AtomicUsize::new(0);
    let running = run_on(&clock, scene(&server), "", true, move |_, text| {
        let fails = text == "gap" && tries.fetch_add(1, Ordering::SeqCst) < 2;
        Box::pin(async move {
            if fails { Err(Error::new(Kind::Unauthorized, "its key has ended")) } else { Ok(Vec::new()) }
        })
    })
    .await;
    assert_eq!(running.taken(2).await, ["gap", "a"], "it holds up what comes");
    for (count, given_up) in [(3, 2), (4, 2)] {
        let before = clock.now();
        running.turning(&clock, "it is told again", || running.texts().len() == count).await;
        assert!((55_000..65_000).contains(&clock.now().since(before)), "{}", clock.now());
        running.until("it is counted", |it| it.socket.status().given_up == given_up).await;
    }
    let status = running.socket.status();
    assert_eq!((status.openings, running.texts()[2..].to_vec()), (1, vec!["gap".to_owned(); 2]));
    let ids = running.ids();
    assert!(ids[2] == ids[0] && ids[3] == ids[0], "it is another event, and repeats what it has written: {ids:?}");
    running.turning(&clock, "more than that time passes", || clock.now().since(NOW) > 240_000).await;
    assert_eq!(running.texts().len(), 4, "it was handled and is told again");
}

/// What was asked for before it was lost does not bring it.
#[tokio::test]
async fn a_gap_with_which_more_is_missing_by_now_is_another_event() {
    let clock = ManualClock::new(NOW, 1);
    let server = served(&clock, [vec![Act::Until(2), Act::say("a"), Act::UntilClose]]).await;
    let running = run_on(&clock, scene(&server), "", true, |number, _| {
        let error = Error::new(Kind::Unauthorized, "its key has ended");
        Box::pin(async move { if number < 2 { Err(error) } else { Ok(Vec::new()) } })
    })
    .await;
    assert_eq!(running.taken(2).await, ["gap", "a"]);
    running.turning(&clock, "it is told again", || running.texts().len() == 3).await;
    assert_eq!(running.texts()[2], "gap");
    assert_ne!(running.ids()[2], running.ids()[0]);
}

/// What sinks have not read costs no message.
#[tokio::test]
async fn a_message_waits_until_the_outbox_has_room() {
    let clock = ManualClock::new(NOW, 1);
    let server = served(&clock, [vec![Act::say("a"), Act::UntilClose]]).await;
    let running = run_on(&clock, scene(&server), "attempts = 2", false, |number, _| {
        let full = Error::new(Kind::LimitExceeded("outbox_bytes".to_owned()), "it is full");
        Box::pin(async move { if number < 6 { Err(full) } else { Ok(Vec::new()) } })
    })
    .await;
    running.turning(&clock, "it is handed over again", || running.texts().len() == 7).await;
    assert!(clock.now().since(NOW) > 45_000, "it is run in vain too often: {}", clock.now());
    running.turning(&clock, "more time passes", || clock.now().since(NOW) > 200_000).await;
    assert_eq!((running.texts(), running.socket.status().given_up), (vec!["a".to_owned(); 7], 0));
}

/// Sinks are told of the end after sockets, and are waited for no longer than for all else.
#[tokio::test]
async fn a_message_that_waits_for_room_hears_that_the_host_stops() {
    let clock = ManualClock::new(NOW, 1);
    let server = served(&clock, [vec![Act::say("a"), Act::UntilClose]]).await;
    let running = run_on(&clock, scene(&server), "", false, |_, _| {
        let full = Error::new(Kind::LimitExceeded("outbox_bytes".to_owned()), "it is full");
        Box::pin(async move { Err(full) })
    })
    .await;
    running.turning(&clock, "it waits for long", || running.texts().len() == 7).await;
    assert_eq!(running.stop().await[7..], ["a", "gap"], "it was not tried once more and given up");
}

#[tokio::test]
async fn answers_leave_in_order_on_the_socket_they_belong_to() {
    let clock = skipping();
    let server = served(&clock, [vec![Act::say("x"), Act::say("y"), Act::Until(6), Act::UntilClose]]).await;
    let running = run_on(&clock, scene(&server), "", false, |_, text| {
        let send = vec![format!("{text}1").into_bytes(), format!("{text}2").into_bytes()];
        Box::pin(async { Ok(send) })
    })
    .await;
    let openings = server.until("all answers", |all| all.first().is_some_and(|one| one.messages.len() == 6)).await;
    assert_eq!(openings[0].texts()[2..], ["x1", "x2", "y1", "y2"]);
    running.stop().await;
}

/// At most once: what was answered while the socket was away is not said to whoever is there now.
#[tokio::test]
async fn answers_are_not_repeated_on_another_opening() {
    let clock = skipping();
    let first = vec![Act::Until(2), Act::say("slow"), Act::UntilTold, Act::Close(1000)];
    let second = vec![Act::Until(2), Act::say("next"), Act::Until(4), Act::UntilClose];
    let server = served(&clock, [first, second]).await;
    let gate = Arc::new(watch::Sender::new(false));
    let running = run_on(&clock, scene(&server), "", false, {
        let gate = gate.clone();
        move |_, text| {
            let (text, mut gate) = (text.to_owned(), gate.subscribe());
            Box::pin(async move {
                if text == "slow" {
                    gate.wait_for(|open| *open).await.unwrap();
                }
                Ok(vec![format!("answer to {text}").into_bytes()])
            })
        }
    })
    .await;
    running.taken(1).await;
    server.tell();
    server.until("it comes again", |all| all.len() == 2 && all[1].messages.len() == 2).await;
    gate.send_replace(true);
    let openings = server.until("its answers", |all| all[1].messages.len() == 4).await;
    assert_eq!(openings[0].texts(), SUBSCRIBED);
    assert_eq!(openings[1].texts()[2..], ["answer to gap", "answer to next"]);
    running.stop().await;
}

#[tokio::test]
async fn codes_that_mean_stop_end_it() {
    for (code, says) in [(4003, "for good"), (4401, "wharfage connect acme")] {
        let clock = skipping();
        let server = served(&clock, [vec![Act::Close(code)]]).await;
        let running = run_on(&clock, scene(&server), "", false, nothing).await;
        running.until("it stays closed", |it| matches!(it.socket.status().state, SocketState::Closed(_))).await;
        let SocketState::Closed(advice) = running.socket.status().state else { panic!() };
        assert!(advice.contains(says), "{advice}");
        assert_eq!(running.socket.status().openings, 1, "a key that is not replaced is not tried again");
        running.stop().await;
    }
}

/// A token that the provider does not take any more is renewed, once; one that had worked may end again. A renewal that
/// failed was none.
#[tokio::test]
async fn a_code_that_means_sign_in_renews_the_token_once() {
    let refused = || vec![Act::Close(4401)];
    let works = || vec![Act::Until(2), Act::say("it works"), Act::Close(4401)];
    let open = || vec![Act::Until(2), Act::UntilClose];
    for (scripts, tokens, troubles, is_closed) in [
        (vec![refused(), open()], vec![1, 2], 0, false),
        (vec![refused(), refused()], vec![1, 2], 0, true),
        (vec![works(), works(), open()], vec![1, 2, 3], 0, false),
        (vec![refused(), open()], vec![1, 7], 5, false),
    ] {
        let clock = skipping();
        let server = served(&clock, scripts).await;
        let auth = Provider::answering(move |seen| {
            if seen.number > 1 && seen.number <= 1 + troubles {
                return Reply::status(503);
            }
            let token = format!("access-token-{}", seen.number);
            Reply::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
        })
        .await;
        let running = run_on(&clock, scene(&server).signed_in(&auth.url()), "", false, nothing).await;
        let count = tokens.len();
        if is_closed {
            running.until("it stays closed", |it| matches!(it.socket.status().state, SocketState::Closed(_))).await;
        } else {
            server.until("it is open", |all| all.len() == count && all[count - 1].messages.len() == 2).await;
        }
        let carried = |number: &usize| Some(format!("Bearer access-token-{number}"));
        let expected: Vec<Option<String>> = tokens.iter().map(carried).collect();
        let openings = server.openings();
        let carried = openings.iter().map(|opening| opening.header("authorization").map(str::to_owned));
        assert_eq!(carried.collect::<Vec<_>>(), expected);
        running.stop().await;
    }
}

/// Another opening that failed says nothing of the token that was renewed for it.
#[tokio::test]
async fn a_renewed_token_that_is_refused_later_is_renewed_as_well() {
    let clock = skipping();
    let refused = || vec![Act::status(401)];
    let open = vec![Act::Until(2), Act::UntilClose];
    let server = served(&clock, [vec![Act::Close(4401)], vec![Act::status(503)], refused(), refused(), open]).await;
    let auth = Provider::answering(|seen| {
        let token = format!("access-token-{}", seen.number);
        Reply::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
    })
    .await;
    let running = run_on(&clock, scene(&server).signed_in(&auth.url()), "", false, nothing).await;
    let openings = server.until("it is open", |all| all.len() == 5 && all[4].messages.len() == 2).await;
    assert_eq!(openings[4].header("authorization"), Some("Bearer access-token-3"));
    running.stop().await;
}

#[tokio::test]
async fn a_queue_overflows_as_declared() {
    for (overflow, left) in [
        ("drop-oldest", &["0", "gap", "7", "8", "9"][..]),
        ("drop-newest", &["0", "1", "2", "3", "gap"][..]),
        ("reconnect", &["0", "1", "2", "3", "gap"][..]),
    ] {
        let clock = skipping();
        let first = vec![Act::say("0"), Act::UntilTold, Act::SayMany(10), Act::UntilClose];
        let server = served(&clock, [first, vec![Act::UntilClose]]).await;
        let gate = Arc::new(watch::Sender::new(false));
        let policy = format!("overflow = '{overflow}'\nqueue_messages_max = 3");
        let running = run_on(&clock, scene(&server), &policy, false, {
            let gate = gate.clone();
            move |_, _| {
                let mut gate = gate.subscribe();
                Box::pin(async move {
                    gate.wait_for(|open| *open).await.unwrap();
                    Ok(Vec::new())
                })
            }
        })
        .await;
        running.taken(1).await;
        server.tell();
        let dropped = if overflow == "reconnect" { 1 } else { 7 };
        running.until("it overflows", |it| it.socket.status().dropped >= dropped).await;
        if overflow == "reconnect" {
            let openings = server.until("it comes again", |all| all.len() == 2).await;
            assert_eq!(openings[0].closed.or(Some(1001)), Some(1001));
            running.until("it is open", |it| it.socket.status().openings == 2).await;
        }
        gate.send_replace(true);
        let texts = running.taken(left.len()).await;
        // The burst begins with another 0.
        let expected: Vec<&str> = match overflow {
            "drop-oldest" => left.to_vec(),
            _ => vec!["0", "0", "1", "2", "gap"],
        };
        assert_eq!(texts, expected, "{overflow}");
        running.stop().await;
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, u8::try_from(payload.len()).unwrap()];
    frame.extend_from_slice(payload);
    frame
}

/// Each ends the socket with the code that RFC 6455 has for it, at once, whatever length was claimed; and nothing of it is
/// handed over.
#[tokio::test]
async fn a_provider_that_breaks_the_rules_is_told_so_and_asked_again_later() {
    let huge = [&[0x82, 127][..], &100_000_000_000u64.to_be_bytes()].concat();
    let long = [&[0x82, 126][..], &5_000u16.to_be_bytes(), &[b'x'; 5_000]].concat();
    let pieces = [frame(0x02, &[b'x'; 120]), frame(0x00, &[b'x'; 120]).repeat(20)].concat();
    let masked = [&[0x81, 0x82][..], &[1, 2, 3, 4], b"ab"].concat();
    for (name, bytes, code) in [
        ("a length of 100 GB", huge, 1009),
        ("more than message_bytes_max", long, 1009),
        ("more than that in pieces", pieces, 1009),
        ("a masked frame", masked, 1002),
        ("a reserved bit", frame(0xc1, b"a"), 1002),
        ("an unknown kind", frame(0x83, b"a"), 1002),
        ("a control frame in pieces", frame(0x09, b"a"), 1002),
        ("a piece of nothing", frame(0x80, b"a"), 1002),
        ("text that is none", frame(0x81, &[0xc3, 0x28]), 1007),
        ("a code that is none", frame(0x88, &[0x00, 0x01]), 1002),
        ("a long ping", [&[0x89, 126][..], &200u16.to_be_bytes(), &[0; 200]].concat(), 1002),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), 1002),
    ] {
        let clock = skipping();
        let server =
            served(&clock, [vec![Act::Until(2), Act::Raw(bytes), Act::UntilClose], vec![Act::UntilClose]]).await;
        let running = run_on(&clock, scene(&server), "message_bytes_max = 2000", false, nothing).await;
        let openings = server.until(name, |all| all.len() == 2 && all[0].is_over).await;
        assert_eq!(openings[0].closed, Some(code), "{name}");
        let waited_ms = openings[1].at.as_millis() - openings[0].at.as_millis();
        assert!((1_000..=2_000).contains(&waited_ms), "{name}: {waited_ms}");
        assert_eq!(running.taken(1).await, ["gap"], "{name}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_left() {
    let clock = ManualClock::new(NOW, 1);
    let server = served(&clock, [vec![Act::Hang], vec![Act::UntilClose]]).await;
    let running = run_on(&clock, scene(&server), "", false, nothing).await;
    running.turning(&clock, "it comes again", || server.openings().len() == 2).await;
    let openings = server.openings();
    let away_ms = openings[1].at.as_millis() - openings[0].at.as_millis();
    // 30 s of silence, 10 s for the answer, 2 s for a goodbye, 1 to 2 s of waiting, and the steps of the test.
    assert!((41_000..46_000).contains(&away_ms), "{away_ms}");
    assert!(running.socket.status().last_end.unwrap().contains("did not answer within pong_s"));
}

#[tokio::test]
async fn a_provider_that_answers_is_kept() {
    let clock = ManualClock::new(NOW, 1);
    let server = served(&clock, [vec![Act::UntilPing, Act::UntilClose]]).await;
    let running = run_on(&clock, scene(&server), "", false, nothing).await;
    running
        .turning(&clock, "it asks again and again", || server.openings().first().is_some_and(|one| one.pings >= 4))
        .await;
    assert!(clock.now().as_millis() - NOW.as_millis() >= 120_000);
    assert_eq!(running.socket.status().openings, 1);
}

#[tokio::test]
async fn the_providers_own_ping_is_sent_and_its_answer_is_not_handed_over() {
    let clock = ManualClock::new(NOW, 1);
    let ping = r#"ping = { message = '{"type":"ping"}', answer = '{"type":"pong"}', every_s = 20 }"#;
    let first = vec![Act::Until(3), Act::say(r#"{"type":"pong","at":1}"#), Act::say("tick"), Act::UntilClose];
    let server = served(&clock, [first, vec![Act::UntilClose]]).await;
    let running = run_on(&clock, more(&server, ping), "", false, nothing).await;
    running.turning(&clock, "a ping is answered", || running.texts() == ["tick"]).await;
    assert_eq!(server.openings()[0].texts()[2], r#"{"type":"ping"}"#);
    // The second is not answered: at 40 s it is sent, at 50 s it is over.
    running.turning(&clock, "it comes again", || server.openings().len() == 2).await;
    let openings = server.openings();
    let away_ms = openings[1].at.as_millis() - openings[0].at.as_millis();
    assert!((51_000..55_000).contains(&away_ms), "{away_ms}");
    assert_eq!(openings[0].messages.len(), 4);
}

/// Whoever sends and never takes gets no memory here: neither for answers to its pings nor for the plugin's messages.
#[tokio::test]
async fn a_provider_that_takes_nothing_is_left() {
    let pings = frame(0x89, &[0; 125]).repeat(400_000);
    let flood = vec![Act::Raw(pings), Act::Hang];
    let silent = vec![Act::say("talk"), Act::Hang];
    for (script, breaks_off) in [(flood, true), (silent, false)] {
        let clock = ManualClock::new(NOW, 1);
        let server = served(&clock, [script, vec![Act::UntilClose]]).await;
        let running =
            run_on(&clock, scene(&server), "", false, |_, _| Box::pin(async { Ok(vec![vec![b'x'; 20 << 20]]) })).await;
        running.turning(&clock, "it comes again", || server.openings().len() == 2).await;
        if breaks_off {
            // It could not write all of it, or it would be there still.
            server.until("it is broken off", |all| all[0].is_over).await;
        }
        assert!(running.socket.status().last_end.unwrap().contains("took nothing within pong_s"));
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_opened_and_the_line_that_would_allow_it_is_told() {
    let clock = ManualClock::new(NOW, 1);
    let server = served(&clock, [vec![Act::UntilClose]]).await;
    for (scene, says, stays_closed) in [
        (scene(&server).grant(|connection| connection.origins.clear()), "origins = [\"http://127.0.0.1:", true),
        // A name may lead elsewhere in a minute, so this one is asked for again, seldom.
        (scene(&server).grant(|connection| connection.private_addresses.clear()), "private_addresses", false),
    ] {
        let running = run_on(&clock, scene, "", false, nothing).await;
        running.until("it is refused", |it| it.socket.status().last_end.is_some()).await;
        let last_end = running.socket.status().last_end.unwrap();
        assert!(last_end.contains(says), "{last_end}");
        let state = running.socket.status().state;
        assert_eq!(matches!(state, SocketState::Closed(_)), stays_closed, "{state:?}");
        running.stop().await;
    }
    assert_eq!(server.openings().len(), 0);
}

#[tokio::test]
async fn an_answer_that_opens_no_socket_is_an_error_and_not_asked_for_fast() {
    let other = "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (answer, least_ms, says) in [
        (Act::status(200), 30_000, "something else"),
        (Act::status(401), 30_000, "credential"),
        (Act::status(404), 30_000, "no such thing"),
        (Act::status(503), 1_000, "trouble"),
        // Where it leads is the provider's, and another place in a minute.
        (
            Act::Answer(b"HTTP/1.1 302 Found\r\nlocation: https://away.example/\r\ncontent-length: 0\r\n\r\n".to_vec()),
            30_000,
            "away.example",
        ),
        (
            Act::Answer(b"HTTP/1.1 429 Slow\r\nretry-after: 90\r\ncontent-length: 0\r\n\r\n".to_vec()),
            90_000,
            "too many",
        ),
        (Act::Answer(other.into()), 30_000, "another key"),
        (Act::Answer(b"garbage".to_vec()), 1_000, "broke"),
        (Act::Answer(Vec::new()), 1_000, "broke"),
    ] {
        let clock = skipping();
        let server = served(&clock, [vec![answer], vec![Act::UntilClose]]).await;
        let running = run_on(&clock, scene(&server), "", false, nothing).await;
        running.until("it is open", |it| it.socket.status().openings == 1).await;
        let openings = server.openings();
        let away_ms = openings[1].at.as_millis() - openings[0].at.as_millis();
        assert!((least_ms..=least_ms * 3).contains(&away_ms), "{says}: {away_ms}");
        let last_end = running.socket.status().last_end.unwrap();
        assert!(last_end.contains(says), "{says}: {last_end}");
        assert_eq!(running.stop().await, Vec::<String>::new(), "nothing was missed before the first opening");
    }
}

/// R14: what comes over a socket passes the mask as every answer does.
#[tokio::test]
async fn a_secret_that_comes_back_is_masked() {
    let clock = skipping();
    let echo = format!("{{\"you_sent\":\"App {API_KEY}\"}}");
    let server = served(&clock, [vec![Act::Say(echo), Act::UntilClose]]).await;
    let running = run_on(&clock, scene(&server), "", false, nothing).await;
    let texts = running.taken(1).await;
    assert!(texts[0].contains("you_sent") && !texts[0].contains(API_KEY), "{texts:?}");
    assert_eq!(running._open.plugin.leaks(), 1);
    running.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_the_manifest_is_refused_before_anything_is_opened() {
    let clock = skipping();
    let server = served(&clock, [vec![Act::UntilClose]]).await;
    let open = scene(&server).clock(&clock).open().await;
    let refused = |name: &str, policy: &str| {
        let ear = Ear(Arc::new(Notes {
            taken: Mutex::default(),
            changed: watch::Sender::new(0),
            has_begun: false,
            answer: Box::new(nothing),
        }));
        open.plugin.socket(name, &toml::from_str(policy).unwrap(), ear).err().unwrap()
    };
    let error = refused("tick", POLICY);
    assert_eq!(*error.kind(), Kind::Configuration);
    assert!(error.details().unwrap().contains("Did you mean ticks?"), "{error}");
    assert!(refused("ticks", "").to_string().contains("values.what"));
    assert!(refused("ticks", "values = { what = 'a', who = 'b' }").to_string().contains("values.who"));
    assert!(refused("ticks", "values = { what = '../admin' }").to_string().contains("values.what"));
    let stated = |lines: &str| scene(&server).clock(&clock).connection(lines).try_open();
    let error = stated("[sockets.tock]\n").await.err().unwrap();
    assert!(error.to_string().contains("sockets.tock"), "{error}");
    let error = stated("[sockets.ticks]\nvalues = { what = 'a' }\nqueue_messages_max = 0\n").await.err().unwrap();
    assert!(error.to_string().contains("queue_messages_max"), "{error}");
}
