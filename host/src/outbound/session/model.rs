//! Every order in which two processes can renew one rotating token, with kills, lost answers and leases that end too early.
//!
//! Each process is the steps of `renew`, one enum value a step; the store's rules (`store/rules.rs`) and what a renewal
//! makes of a set of tokens (`auth/oauth2.rs`) are the real ones. The search is exhaustive: from every state every process
//! may go on, be killed, or lose an answer, and time may pass over a lease. In every state that can be reached, a process
//! that starts anew must be able to renew. What each rule is good for is shown by breaking it: then the search finds where
//! a token is lost.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use zeroize::Zeroizing;

use crate::auth::oauth2::{Fixed, TokenAnswer, TokenSet};
use crate::manifest::Oauth2Facts;
use crate::store::rules;
use crate::time::Timestamp;

/// Milliseconds that a lease lasts here; time passes in steps of as much.
const LEASE: u64 = 10;

/// What the processes are called where they hold a lease.
const NAMES: [&str; 2] = ["one", "other"];

/// What a provider does with a refresh token that was used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    /// It stays good until the one that came for it was used (RFC 9700, 4.14.2).
    Patient,
    /// It ends with its first use.
    Strict,
}

/// The rules, which a test may break.
#[derive(Clone, Copy)]
struct Rules {
    may_write: fn(u64, u64) -> bool,
    may_hold: fn(Option<(&str, Timestamp)>, &str, Timestamp) -> bool,
    /// The refresh token that was used stays behind the new one.
    keeps_the_old: bool,
    /// What is there is looked at again under the lease.
    looks_again: bool,
    /// What came back is stored before it is used.
    stores_first: bool,
    /// A refusal is written down only if what was refused is still there; what came goes over what was only marked.
    writes_over_a_mark: bool,
}

const REAL: Rules = Rules {
    may_write: rules::may_write,
    may_hold: rules::may_hold,
    keeps_the_old: true,
    looks_again: true,
    stores_first: true,
    writes_over_a_mark: true,
};

/// What is to happen in a search, at most.
#[derive(Clone, Copy)]
struct Course {
    provider: Provider,
    /// Renewals that each process is after.
    rounds: u8,
    kills: u8,
    lost_answers: u8,
    /// How often time passes beyond a lease.
    late: u8,
}

/// Where a process stands: before the step that the name says.
#[derive(Clone)]
enum At {
    Read,
    Lease(Seen),
    Look(Seen),
    Ask(Seen, usize),
    /// The provider refused the token at this place of the set.
    Refused(Seen, usize),
    Mark(Seen),
    Store(Seen, Rc<TokenSet>),
    /// It was not stored: somebody else was faster.
    Beaten(Seen, Rc<TokenSet>),
    Release(Then),
    Use(u64),
    Done,
    /// Only a person can help, it says.
    Stuck,
    Killed,
}

#[derive(Clone)]
enum Then {
    Read,
    Use(u64),
    Stuck,
}

/// The record as a process has read it.
#[derive(Clone)]
struct Seen {
    version: u64,
    set: Rc<TokenSet>,
}

#[derive(Clone)]
struct Process {
    at: At,
    /// It wants something newer than this version.
    beyond: u64,
    rounds: u8,
}

#[derive(Clone)]
struct World {
    now: u64,
    record: Seen,
    lease: Option<(usize, u64)>,
    issued: u64,
    good: Vec<u64>,
    asked: u64,
    processes: Vec<Process>,
    kills: u8,
    lost_answers: u8,
    late: u8,
    /// A process ended or an answer was lost after the provider gave and before it was stored.
    is_answer_gone: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Event {
    Step(usize),
    Kill(usize),
    /// The provider acts, and its answer does not arrive.
    LoseAnswer(usize),
    TimePasses,
}

fn answer(number: u64) -> TokenAnswer {
    let facts: Oauth2Facts = toml::from_str("token = '{a}/t'\nclient_id = 'i'\norigins = []").unwrap();
    let text = format!(r#"{{"access_token":"a{number}","refresh_token":"{number}","expires_in":60}}"#);
    TokenAnswer::parse(text.as_bytes(), &facts, &str::to_owned).ok().unwrap()
}

fn first(number: u64) -> Rc<TokenSet> {
    let fixed = Fixed { audience: BTreeSet::new(), token: "t".to_owned(), revoke: None };
    let now = Timestamp::from_millis(0);
    Rc::new(TokenSet::first(answer(number), Vec::new(), BTreeMap::new(), fixed, "i".to_owned(), now))
}

fn number(token: &Zeroizing<String>) -> u64 {
    token.parse().unwrap()
}

fn shown(set: &TokenSet) -> String {
    let tokens: Vec<String> = set.refreshes().iter().map(|token| token.to_string()).collect();
    format!("{}{}", tokens.join(","), if set.refused.is_some() { "!" } else { "" })
}

impl World {
    fn new(course: Course) -> Self {
        let process = Process { at: At::Read, beyond: 1, rounds: course.rounds };
        Self {
            now: 0,
            record: Seen { version: 1, set: first(1) },
            lease: None,
            issued: 1,
            good: vec![1],
            asked: 0,
            processes: vec![process.clone(), process],
            kills: course.kills,
            lost_answers: course.lost_answers,
            late: course.late,
            is_answer_gone: false,
        }
    }

    /// What makes two states the same.
    fn key(&self) -> String {
        let seen = |seen: &Seen| format!("{}:{}", seen.version, shown(&seen.set));
        let mut key = format!(
            "{} {:?} {} {:?} {} {} {} {} {}",
            seen(&self.record),
            // Only what is left of it matters, not what time it is.
            self.lease.map(|(holder, until)| (holder, until.saturating_sub(self.now))),
            self.issued,
            self.good,
            self.asked,
            self.kills,
            self.lost_answers,
            self.late,
            self.is_answer_gone,
        );
        for process in &self.processes {
            let at = match &process.at {
                At::Read => "read".to_owned(),
                At::Lease(known) => format!("lease {}", seen(known)),
                At::Look(known) => format!("look {}", seen(known)),
                At::Ask(known, nth) => format!("ask {} {nth}", seen(known)),
                At::Refused(known, nth) => format!("refused {} {nth}", seen(known)),
                At::Mark(known) => format!("mark {}", seen(known)),
                At::Store(known, set) => format!("store {} {}", seen(known), shown(set)),
                At::Beaten(known, set) => format!("beaten {} {}", seen(known), shown(set)),
                At::Release(Then::Read) => "release, read".to_owned(),
                At::Release(Then::Use(version)) => format!("release, use {version}"),
                At::Release(Then::Stuck) => "release, stuck".to_owned(),
                At::Use(version) => format!("use {version}"),
                At::Done => "done".to_owned(),
                At::Stuck => "stuck".to_owned(),
                At::Killed => "killed".to_owned(),
            };
            key += &format!(" | {at} {} {}", process.beyond, process.rounds);
        }
        key
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (who, process) in self.processes.iter().enumerate() {
            if matches!(process.at, At::Done | At::Stuck | At::Killed) {
                continue;
            }
            events.push(Event::Step(who));
            if self.kills > 0 {
                events.push(Event::Kill(who));
            }
            if self.lost_answers > 0 && matches!(process.at, At::Ask(..)) {
                events.push(Event::LoseAnswer(who));
            }
        }
        if self.late > 0 && self.lease.is_some_and(|(_, until)| until > self.now) {
            events.push(Event::TimePasses);
        }
        events
    }

    fn after(&self, event: Event, provider: Provider, rules: &Rules) -> Result<Self, String> {
        let mut world = self.clone();
        match event {
            Event::TimePasses => {
                world.now += LEASE;
                world.late -= 1;
            }
            Event::Kill(who) => {
                world.is_answer_gone |= matches!(world.processes[who].at, At::Store(..) | At::Beaten(..));
                world.processes[who].at = At::Killed;
                world.kills -= 1;
            }
            Event::LoseAnswer(who) => {
                if let At::Ask(seen, nth) = world.processes[who].at.clone() {
                    // The same question is asked again, as `Repeat::Safe` says.
                    world.is_answer_gone |= world.refresh(&seen.set.refreshes()[nth], provider).is_some();
                }
                world.lost_answers -= 1;
            }
            Event::Step(who) => world.step(who, provider, rules)?,
        }
        Ok(world)
    }

    /// The token endpoint: the number of the new token, or `invalid_grant`.
    fn refresh(&mut self, used: &Zeroizing<String>, provider: Provider) -> Option<u64> {
        self.asked += 1;
        if !self.good.contains(&number(used)) {
            return None;
        }
        self.issued += 1;
        self.good = match provider {
            Provider::Patient => vec![number(used), self.issued],
            Provider::Strict => vec![self.issued],
        };
        Some(self.issued)
    }

    fn put(&mut self, expected: u64, set: &Rc<TokenSet>, rules: &Rules) -> Option<u64> {
        if !(rules.may_write)(self.record.version, expected) {
            return None;
        }
        self.record = Seen { version: self.record.version + 1, set: set.clone() };
        Some(self.record.version)
    }

    /// One step of `Session::renew`.
    fn step(&mut self, who: usize, provider: Provider, rules: &Rules) -> Result<(), String> {
        let beyond = self.processes[who].beyond;
        let next = match self.processes[who].at.clone() {
            At::Read => match self.record.clone() {
                seen if seen.version > beyond && seen.set.refused.is_none() => At::Use(seen.version),
                seen if seen.set.refused.is_some() => At::Stuck,
                seen => At::Lease(seen),
            },
            At::Lease(seen) => {
                let held = self.lease.map(|(holder, until)| (NAMES[holder], Timestamp::from_millis(until)));
                match (rules.may_hold)(held, NAMES[who], Timestamp::from_millis(self.now)) {
                    true => {
                        self.lease = Some((who, self.now + LEASE));
                        At::Look(seen)
                    }
                    false => At::Read,
                }
            }
            At::Look(seen) if rules.looks_again && self.record.version != seen.version => At::Release(Then::Read),
            At::Look(seen) => At::Ask(seen, 0),
            At::Ask(seen, nth) => {
                let used = seen.set.refreshes()[nth].clone();
                match self.refresh(&used, provider) {
                    None => At::Refused(seen, nth),
                    Some(new) => {
                        let renewed = match rules.keeps_the_old {
                            true => Rc::new(seen.set.renewed(&used, answer(new), Timestamp::from_millis(0))),
                            false => first(new),
                        };
                        match rules.stores_first {
                            true => At::Store(seen, renewed),
                            false => At::Use(seen.version + 1),
                        }
                    }
                }
            }
            At::Refused(seen, _) if self.record.version != seen.version => At::Release(Then::Read),
            At::Refused(seen, nth) if nth + 1 < seen.set.refreshes().len() => At::Ask(seen, nth + 1),
            At::Refused(seen, _) => At::Mark(seen),
            At::Mark(seen) => {
                let mut marked = (*seen.set).clone();
                marked.refused = Some("invalid_grant".to_owned());
                match self.put(seen.version, &Rc::new(marked), rules) {
                    Some(_) => At::Release(Then::Stuck),
                    None => At::Release(Then::Read),
                }
            }
            At::Store(seen, renewed) => match self.put(seen.version, &renewed, rules) {
                Some(version) => At::Release(Then::Use(version)),
                None => At::Beaten(seen, renewed),
            },
            At::Beaten(seen, renewed) => {
                let there = self.record.clone();
                let is_only_marked = there.set.refreshes() == seen.set.refreshes() && there.version != seen.version;
                match rules.writes_over_a_mark && is_only_marked {
                    true => At::Store(there, renewed),
                    false => At::Release(Then::Read),
                }
            }
            At::Release(then) => {
                self.lease = self.lease.filter(|(holder, _)| *holder != who);
                match then {
                    Then::Read => At::Read,
                    Then::Use(version) => At::Use(version),
                    Then::Stuck => At::Stuck,
                }
            }
            At::Use(version) if self.record.version < version => {
                return Err("a token is used that is not stored".to_owned());
            }
            At::Use(version) => {
                let process = &mut self.processes[who];
                process.rounds -= 1;
                process.beyond = version;
                if process.rounds == 0 { At::Done } else { At::Read }
            }
            over @ (At::Done | At::Stuck | At::Killed) => over,
        };
        self.processes[who].at = next;
        Ok(())
    }

    /// Whether a process that starts when all leases are over gets a new token.
    fn can_renew(&self, provider: Provider) -> bool {
        let mut world = self.clone();
        world.now += LEASE;
        world.processes = vec![Process { at: At::Read, beyond: world.record.version, rounds: 1 }];
        for _ in 0..30 {
            match world.processes[0].at {
                At::Done => return true,
                At::Stuck => return false,
                _ => world.step(0, provider, &REAL).unwrap(),
            }
        }
        false
    }
}

/// What a search went over.
#[derive(Debug)]
struct Searched {
    states: usize,
    /// The most questions to the token endpoint in one run.
    asked_most: u64,
    /// Runs that ended with a process that wants a person.
    stuck: usize,
}

/// Goes over everything that can happen.
fn search(course: Course, rules: &Rules) -> Result<Searched, String> {
    let mut known = HashSet::new();
    let mut left = vec![(World::new(course), Rc::new(Path::Start))];
    let mut searched = Searched { states: 0, asked_most: 0, stuck: 0 };
    while let Some((world, path)) = left.pop() {
        if !known.insert(world.key()) {
            continue;
        }
        searched.states += 1;
        searched.asked_most = searched.asked_most.max(world.asked);
        let events = world.events();
        let is_over = !events.iter().any(|event| matches!(event, Event::Step(_)));
        // A strict provider's answer that is under way is nowhere else yet: there only ends are judged.
        let must_renew = course.provider == Provider::Patient || (is_over && !world.is_answer_gone);
        if must_renew && !world.can_renew(course.provider) {
            return Err(format!("the token is lost after {:?}: {}", path.events(), world.key()));
        }
        searched.stuck += usize::from(is_over && world.processes.iter().any(|process| matches!(process.at, At::Stuck)));
        for event in events {
            let path = Rc::new(Path::Then(path.clone(), event));
            let after = world.after(event, course.provider, rules);
            let after = after.map_err(|why| format!("{why} after {:?}", path.events()))?;
            left.push((after, path));
        }
    }
    Ok(searched)
}

/// How a state was reached.
enum Path {
    Start,
    Then(Rc<Path>, Event),
}

impl Path {
    fn events(&self) -> Vec<Event> {
        match self {
            Self::Start => Vec::new(),
            Self::Then(before, event) => [before.events(), vec![*event]].concat(),
        }
    }
}

const EVERYTHING: Course = Course { provider: Provider::Patient, rounds: 2, kills: 2, lost_answers: 1, late: 2 };

/// Where the provider takes an old refresh token until the new one was used, nothing loses it: neither two kills at any
/// steps, nor a lost answer, nor leases that end while their holders are at work.
#[test]
fn no_order_of_events_loses_a_token() {
    let searched = search(EVERYTHING, &REAL).unwrap();
    assert!(searched.states > 10_000, "{searched:?}");
    assert_eq!(searched.stuck, 0, "a person was asked for without need");
}

/// Where it ends with its first use, all is well but for one moment: between the provider's answer and the store. Whoever
/// is killed there takes it along, and the next one says `connect again`.
#[test]
fn a_strict_provider_leaves_one_moment() {
    let course = Course { provider: Provider::Strict, lost_answers: 0, ..EVERYTHING };
    assert!(search(course, &REAL).unwrap().states > 1_000);
    let mut world = World::new(course);
    while !matches!(world.processes[0].at, At::Store(..)) {
        world.step(0, Provider::Strict, &REAL).unwrap();
    }
    assert!(!world.can_renew(Provider::Strict), "then the sentence in `session.rs` can go");
    world.step(0, Provider::Strict, &REAL).unwrap();
    assert!(world.can_renew(Provider::Strict));
}

/// As long as nobody dies and no lease ends, one asks for both.
#[test]
fn two_who_need_a_token_ask_once() {
    let course = Course { rounds: 1, kills: 0, lost_answers: 0, late: 0, ..EVERYTHING };
    for provider in [Provider::Patient, Provider::Strict] {
        let searched = search(Course { provider, ..course }, &REAL).unwrap();
        assert_eq!((searched.asked_most, searched.stuck), (1, 0), "{searched:?}");
    }
}

/// A model that finds nothing whatever the rules are would prove nothing.
#[test]
fn each_rule_is_needed() {
    let lost = |rules: Rules, course: Course| search(course, &rules).err().unwrap_or_default();
    let strict = Course { provider: Provider::Strict, lost_answers: 0, ..EVERYTHING };
    let last_writer_wins = Rules { may_write: |_, _| true, ..REAL };
    assert!(lost(last_writer_wins, EVERYTHING).contains("the token is lost"));
    let forgets = Rules { keeps_the_old: false, ..REAL };
    assert!(lost(forgets, EVERYTHING).contains("the token is lost"));
    let gives_way_to_a_mark = Rules { writes_over_a_mark: false, ..REAL };
    assert!(lost(gives_way_to_a_mark, strict).contains("the token is lost"));
    let uses_at_once = Rules { stores_first: false, ..REAL };
    assert!(lost(uses_at_once, EVERYTHING).contains("is not stored"));
    let once = Course { rounds: 1, kills: 0, lost_answers: 0, late: 0, ..EVERYTHING };
    for rules in [Rules { may_hold: |_, _, _| true, ..REAL }, Rules { looks_again: false, ..REAL }] {
        assert_eq!(search(once, &rules).unwrap().asked_most, 2, "both asked");
    }
}
