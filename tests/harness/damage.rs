//! Components damaged by a seed, as an attacker or a broken disk would: sections swapped, repeated, left out and taken from
//! others, numbers, names, types and instructions exchanged for others of their kind.
//!
//! A byte changed anywhere mostly ends in a length that does not fit, and is refused by the first reader. So a component is
//! taken apart into its sections and those of what is nested in it, changed there, and put together again with lengths that
//! are right: much of what comes out is valid, and runs. The same seed makes the same components on every machine.

use std::future::Future;

use wharfage::{Account, Connection, Error, Event, Host, Kind, Plugin, Poll, Trigger};

use crate::component::{MANIFEST, OPERATIONS, length, section};
use crate::mutate::Die;

/// A damaged component.
pub struct Damaged {
    /// The component.
    pub bytes: Vec<u8>,
    /// What was done to it.
    pub done: String,
}

/// What becomes of a component that anybody may have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was not loaded.
    Refused(Kind),
    /// It was loaded, and so many of its calls answered or failed.
    Ran {
        /// Calls that answered.
        answered: usize,
        /// Calls that ended in an error of theirs.
        failed: usize,
    },
}

/// Things done to one component, at most.
const CHANGES_MAX: u64 = 3;

/// Errors quote names and a line or two.
const ERROR_BYTES_MAX: usize = 16 << 10;

/// A part of a component: a section, or one that holds a module or component of its own.
#[derive(Clone)]
enum Part {
    Section { id: u8, content: Vec<u8> },
    Nested { id: u8, whole: Whole },
}

/// A module or component.
#[derive(Clone)]
struct Whole {
    head: Vec<u8>,
    parts: Vec<Part>,
}

/// Sections of a component and of a core module have other meanings under the same numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Component,
    Module,
}

/// Names that mean something to a host.
const NAMES: &[&str] = &[
    "wharfage:plugin/http@0.1.0",
    "wharfage:plugin/secrets@0.1.0",
    "wharfage:plugin/state@0.1.0",
    "wharfage:plugin/operations@0.1.0",
    "wharfage:plugin/events@0.1.0",
    "wharfage:plugin/types@0.1.0",
    "wharfage:plugin/types@0.2.0",
    "wasi:sockets/tcp@0.2.0",
    "wasi:cli/environment@0.2.3",
    "wasi:http/outgoing-handler@0.2.0",
    "unlocked-dep=<a:b/c>",
    "url=<https://example.org>",
    "[constructor]x",
    "[method]x.y",
    "describe",
    "call",
    "handle",
    "memory",
    "cabi_realloc",
    "",
];

/// Numbers at which readers go wrong.
const NUMBERS: &[u64] =
    &[0, 1, 2, 3, 7, 16, 63, 64, 127, 128, 255, 1_000, 65_535, 65_536, 100_000, 1 << 31, u32::MAX as u64, 1 << 32];

/// Instructions that may stand for each other.
const INSTRUCTIONS: &[std::ops::RangeInclusive<u8>] = &[
    0x00..=0x01,
    0x02..=0x03,
    0x0c..=0x0d,
    0x20..=0x24,
    0x28..=0x35,
    0x36..=0x3e,
    0x45..=0x5a,
    0x67..=0x78,
    0xa7..=0xb1,
];

/// `whole` with something done to it. `others` lend it sections.
pub fn damaged(seed: u64, whole: &[u8], others: &[&[u8]]) -> Damaged {
    let mut die = Die(seed.wrapping_mul(0xA24B_AED4_963E_E407));
    let mut done = Vec::new();
    // One in eight by its bytes, whatever they mean.
    if die.below(8) == 0 {
        let mut bytes = whole.to_vec();
        for _ in 0..=die.below(CHANGES_MAX) {
            die.change(&mut bytes, &[whole.to_vec()]);
        }
        return Damaged { bytes, done: "bytes anywhere".to_owned() };
    }
    let mut parts = Whole::read(whole).unwrap_or_else(|| panic!("the seed is no component"));
    for _ in 0..=die.below(CHANGES_MAX) {
        done.push(parts.change(&mut die, others));
    }
    Damaged { bytes: parts.bytes(), done: done.join(", ") }
}

impl Whole {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_at_checked(8)?;
        let layer = if head == COMPONENT { Layer::Component } else { Layer::Module };
        let mut parts = Vec::new();
        while let Some((&id, after)) = rest.split_first() {
            let (bytes, after) = number(after)?;
            let (content, after) = after.split_at_checked(usize::try_from(bytes).ok()?)?;
            rest = after;
            let whole = (layer == Layer::Component && (id == 1 || id == 4)).then(|| Self::read(content)).flatten();
            parts.push(match whole {
                Some(whole) => Part::Nested { id, whole },
                None => Part::Section { id, content: content.to_vec() },
            });
        }
        Some(Self { head: head.to_vec(), parts })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        for part in &self.parts {
            out.extend(match part {
                Part::Section { id, content } => section(*id, content),
                Part::Nested { id, whole } => section(*id, &whole.bytes()),
            });
        }
        out
    }

    fn layer(&self) -> Layer {
        if self.head == COMPONENT { Layer::Component } else { Layer::Module }
    }

    /// This one, or one that is nested somewhere in it.
    fn any(&mut self, die: &mut Die) -> &mut Self {
        let nested: Vec<usize> =
            (0..self.parts.len()).filter(|at| matches!(self.parts[*at], Part::Nested { .. })).collect();
        if nested.is_empty() || die.below(3) == 0 {
            return self;
        }
        let at = *die.one_of(&nested);
        match &mut self.parts[at] {
            Part::Nested { whole, .. } => whole.any(die),
            Part::Section { .. } => unreachable!("it was found to be nested"),
        }
    }

    /// The contents of all sections with this number in this layer, here and in what is nested.
    fn sections(&mut self, layer: Layer, wanted: u8) -> Vec<&mut Vec<u8>> {
        let here = self.layer() == layer;
        let mut found = Vec::new();
        for part in &mut self.parts {
            match part {
                Part::Section { id, content } if here && *id == wanted => found.push(content),
                Part::Section { .. } => {}
                Part::Nested { whole, .. } => found.extend(whole.sections(layer, wanted)),
            }
        }
        found
    }

    fn change(&mut self, die: &mut Die, others: &[&[u8]]) -> String {
        match die.below(16) {
            0 => self.moved(die),
            1 => self.repeated(die),
            2 => self.left_out(die),
            3 => self.lent(die, others),
            4 => self.custom(die),
            5 => self.nested(die),
            6 => self.in_any_section(die, "number", |die, content| {
                let (at, number) = (die.place(content.len()), *die.one_of(NUMBERS));
                put_number(content, at, number);
            }),
            7 => self.in_any_section(die, "bytes", changed),
            8 => self.in_sections(die, Layer::Component, &[10, 11, 6], "a name", name),
            9 => self.in_sections(die, Layer::Module, &[2, 7], "a name inside", name),
            10 => self
                .in_sections(die, Layer::Component, &[7, 3], "a type", |die, content| kind(die, content, 0x64..=0x7f)),
            11 => self
                .in_sections(die, Layer::Module, &[1], "a type inside", |die, content| kind(die, content, 0x7b..=0x7f)),
            12 => {
                self.in_sections(die, Layer::Component, &[8, 2, 5], "a canonical option or instance", |die, content| {
                    small(die, content)
                })
            }
            13 => self.in_sections(
                die,
                Layer::Module,
                &[4, 5, 6, 8, 9, 12],
                "a table, memory, global or element",
                |die, content| small(die, content),
            ),
            14 => self.in_sections(die, Layer::Module, &[11], "data", |die, content| {
                let at = die.place(content.len().saturating_sub(1));
                if let Some(byte) = content.get_mut(at) {
                    *byte = die.roll() as u8;
                }
            }),
            _ => self.in_sections(die, Layer::Module, &[10], "code", |die, content| instruction(die, content)),
        }
    }

    fn moved(&mut self, die: &mut Die) -> String {
        let parts = &mut self.any(die).parts;
        if !parts.is_empty() {
            let (one, other) = (die.place(parts.len() - 1), die.place(parts.len() - 1));
            parts.swap(one, other);
        }
        "two sections swapped".to_owned()
    }

    fn repeated(&mut self, die: &mut Die) -> String {
        let parts = &mut self.any(die).parts;
        if !parts.is_empty() {
            let (part, at) = (die.one_of(parts).clone(), die.place(parts.len()));
            parts.insert(at, part);
        }
        "a section repeated".to_owned()
    }

    fn left_out(&mut self, die: &mut Die) -> String {
        let parts = &mut self.any(die).parts;
        if !parts.is_empty() {
            parts.remove(die.place(parts.len() - 1));
        }
        "a section left out".to_owned()
    }

    /// A section of another component, where this one has one of the same number, or anywhere.
    fn lent(&mut self, die: &mut Die, others: &[&[u8]]) -> String {
        let lender = others.get(die.place(others.len().saturating_sub(1))).and_then(|other| Self::read(other));
        let here = self.any(die);
        let Some(mut lender) = lender else { return "nothing lent".to_owned() };
        let lent = &mut lender.any(die).parts;
        if !lent.is_empty() {
            let lent = lent.swap_remove(die.place(lent.len() - 1));
            let same = here.parts.iter().position(|part| part.id() == lent.id()).filter(|_| die.below(2) == 0);
            match same {
                Some(at) => here.parts[at] = lent,
                None => here.parts.insert(die.place(here.parts.len()), lent),
            }
        }
        "a section of another".to_owned()
    }

    /// What it says about itself, said otherwise, twice, elsewhere, or not at all.
    fn custom(&mut self, die: &mut Die) -> String {
        let is_ours = |part: &Part| matches!(part, Part::Section { id: 0, content } if holds(content, b"wharfage:"));
        let ours: Vec<usize> = (0..self.parts.len()).filter(|at| is_ours(&self.parts[*at])).collect();
        let name = *die.one_of(&[MANIFEST, OPERATIONS, "component-name", "producers", "\u{202e}", ""]);
        match die.below(4) {
            0 if !ours.is_empty() => {
                let at = *die.one_of(&ours);
                if let Part::Section { content, .. } = &mut self.parts[at] {
                    for _ in 0..=die.below(3) {
                        changed(die, content);
                    }
                }
                "its own words changed".to_owned()
            }
            1 if !ours.is_empty() => {
                let part = self.parts.remove(*die.one_of(&ours));
                self.any(die).parts.push(part);
                "its own words elsewhere".to_owned()
            }
            2 => {
                let data: Vec<u8> = (0..die.below(64)).map(|_| die.roll() as u8).collect();
                let content = [&length(name.len())[..], name.as_bytes(), &data].concat();
                self.any(die).parts.push(Part::Section { id: 0, content });
                "another custom section".to_owned()
            }
            _ => {
                self.parts.push(Part::Section { id: 0, content: length(die.roll() as usize >> 33) });
                "a custom section with a name too long".to_owned()
            }
        }
    }

    /// Itself inside itself.
    fn nested(&mut self, die: &mut Die) -> String {
        let (id, inside) = (*die.one_of(&[1, 4]), self.any(die).clone());
        let parts = &mut self.any(die).parts;
        let at = die.place(parts.len());
        parts.insert(at, Part::Nested { id, whole: inside });
        "a part of itself inside".to_owned()
    }

    fn in_any_section(&mut self, die: &mut Die, what: &str, change: impl FnOnce(&mut Die, &mut Vec<u8>)) -> String {
        let here = self.any(die);
        let mut sections: Vec<(u8, &mut Vec<u8>)> = here.parts.iter_mut().filter_map(Part::content).collect();
        if sections.is_empty() {
            return "nothing".to_owned();
        }
        let at = die.place(sections.len() - 1);
        let (id, content) = &mut sections[at];
        change(die, content);
        format!("{what} in a section {id}")
    }

    fn in_sections(
        &mut self,
        die: &mut Die,
        layer: Layer,
        ids: &[u8],
        what: &str,
        change: impl FnOnce(&mut Die, &mut Vec<u8>),
    ) -> String {
        let id = *die.one_of(ids);
        let mut sections = self.sections(layer, id);
        if sections.is_empty() {
            return "nothing".to_owned();
        }
        let at = die.place(sections.len() - 1);
        change(die, sections[at]);
        what.to_owned()
    }
}

impl Part {
    fn id(&self) -> u8 {
        match self {
            Self::Section { id, .. } | Self::Nested { id, .. } => *id,
        }
    }

    fn content(&mut self) -> Option<(u8, &mut Vec<u8>)> {
        match self {
            Self::Section { id, content } => Some((*id, content)),
            Self::Nested { .. } => None,
        }
    }
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Reads a LEB128.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// Writes a number over the one that begins at a place.
fn put_number(content: &mut Vec<u8>, at: usize, value: u64) {
    let Some(rest) = content.get(at..) else { return };
    let bytes = rest.iter().position(|byte| byte & 0x80 == 0).map_or(rest.len(), |end| end + 1);
    content.splice(at..at + bytes, length(usize::try_from(value).unwrap_or(usize::MAX)));
}

/// As the fuzzer changes its inputs.
fn changed(die: &mut Die, content: &mut Vec<u8>) {
    let lender = [content.clone()];
    die.change(content, &lender);
}

/// A letter of a name, or the whole name with its length.
fn name(die: &mut Die, content: &mut Vec<u8>) {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase();
    let letters: Vec<usize> = (0..content.len()).filter(|at| is_letter(&content[*at])).collect();
    if letters.is_empty() {
        return;
    }
    let at = *die.one_of(&letters);
    if die.below(2) == 0 {
        content[at] = *die.one_of(b"abcxyz-:/@.0A \x1b\x00\xff");
        return;
    }
    let is_named = |byte: &u8| byte.is_ascii_graphic();
    let from = content[..at].iter().rposition(|byte| !is_named(byte)).map_or(0, |before| before + 1);
    let to = content[at..].iter().position(|byte| !is_named(byte)).map_or(content.len(), |end| at + end);
    // A length below 33 is no graphic character, so it stands before the name.
    if from > 0 && usize::from(content[from - 1]) == to - from {
        let name = die.one_of(NAMES);
        content.splice(from - 1..to, [&length(name.len())[..], name.as_bytes()].concat());
    }
}

/// A byte in this range becomes another in it.
fn kind(die: &mut Die, content: &mut [u8], range: std::ops::RangeInclusive<u8>) {
    let places: Vec<usize> = (0..content.len()).filter(|at| range.contains(&content[*at])).collect();
    if places.is_empty() {
        return;
    }
    let at = *die.one_of(&places);
    content[at] = range.start() + die.below(u64::from(range.end() - range.start()) + 1) as u8;
}

/// A small number becomes another.
fn small(die: &mut Die, content: &mut [u8]) {
    let places: Vec<usize> = (0..content.len()).filter(|at| content[*at] < 0x40).collect();
    if places.is_empty() {
        return;
    }
    let at = *die.one_of(&places);
    content[at] = die.below(12) as u8;
}

/// An instruction becomes another of its kind, or a small number beside it another.
fn instruction(die: &mut Die, content: &mut [u8]) {
    for _ in 0..=die.below(4) {
        match die.below(4) {
            0 => small(die, content),
            _ => {
                let range = die.one_of(INSTRUCTIONS).clone();
                kind(die, content, range);
            }
        }
    }
}

/// Where components are tried that anybody may have made: a host with a neighbour on it that must never notice.
pub struct Trial {
    host: Host,
    connection: Connection,
    account: Account,
    neighbour: Plugin,
}

impl Trial {
    /// A trial whose neighbour is this built component, which has an operation `echo`.
    pub async fn new(neighbour: &[u8]) -> Self {
        let host = Host::builder().build().expect("a host starts");
        let connection = Connection::parse(LIMITS).expect("a connection");
        let account = crate::scene::account("");
        let neighbour = host.connect("neighbour", neighbour, &connection, Some(&account)).await;
        let neighbour = neighbour.unwrap_or_else(|error| panic!("the neighbour: {error:?}"));
        Self { host, connection, account, neighbour }
    }

    /// Loads it with all it may have, calls all that it offers, and looks at the neighbour.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub async fn of(&self, bytes: &[u8]) -> Fate {
        let plugin = match self.host.connect("acme", bytes, &self.connection, Some(&self.account)).await {
            Ok(plugin) => plugin,
            Err(error) => {
                showable(&error);
                return Fate::Refused(error.kind().clone());
            }
        };
        let mut ended = Vec::new();
        let operations: Vec<String> = plugin.needs().operations.iter().map(|known| known.name.clone()).collect();
        for operation in operations.iter().take(4) {
            let first = plugin.page(operation, r#"{"count":3}"#, None).await;
            let next = first.as_ref().ok().and_then(|page| page.next.clone());
            ended.push(first.map(drop));
            if next.is_some() {
                ended.push(plugin.page(operation, "{}", next).await.map(drop));
            }
        }
        for trigger in [
            Trigger::Poll(Poll::new("ticks")),
            Trigger::Webhook { endpoint: "things".to_owned(), headers: Vec::new(), body: b"{}".to_vec() },
        ] {
            let event = Event { id: "e-1".to_owned(), trigger, cursor: None };
            ended.push(plugin.handle(event).await.map(drop));
        }
        ended.iter().filter_map(|ended| ended.as_ref().err()).for_each(showable);
        let said = self.neighbour.page("echo", r#"{"still":"here"}"#, None).await;
        let said = said.unwrap_or_else(|error| panic!("the neighbour was hurt: {error:?}"));
        assert_eq!(said.output.get(), r#"{"still":"here"}"#, "the neighbour says something else");
        let answered = ended.iter().filter(|ended| ended.is_ok()).count();
        Fate::Ran { answered, failed: ended.len() - answered }
    }
}

/// An error is short and can be shown.
fn showable(error: &Error) {
    let shown = error.to_string();
    assert!(shown.len() <= ERROR_BYTES_MAX, "an error of {} bytes: {shown:.500}", shown.len());
    let is_shown = |c: char| c == '\n' || c == '\t' || !c.is_control();
    assert!(shown.chars().all(is_shown), "an error holds control characters: {shown:?}");
}

/// Limits that are reached in a moment.
const LIMITS: &str = "imports = ['http', 'secrets', 'rate-limit', 'state']\n\
    [limits]\ncompute_ms = 50\nmemory_bytes = 4194304\nlog_lines = 5\nrequests = 5\noutput_bytes = 1048576\n\
    hostcall_bytes = 1048576\nstate_bytes = 65536\nstate_keys = 20\nemitted_events = 10\n";

/// The built component of a plugin whose text is small.
pub async fn tiny() -> std::sync::Arc<Vec<u8>> {
    let manifest = include_str!("guest.toml").replace("{name}", "tiny") + TINY_MANIFEST;
    crate::component::built("tiny", || (crate::TINY.to_vec(), None), &manifest).await
}

const TINY_MANIFEST: &str = "\n[polls.ticks]\nevery_s = 60\nsource = 'made up for the tests'\ndate = '2026-11-29'\n\
    [events.\"thing.seen\"]\ndescription = 'a thing was seen'\n\
    [budgets.per-second]\nlimit = 5\nwindow_s = 1\nscope = 'account'\norigins = ['api']\n\
    source = 'made up for the tests'\ndate = '2026-11-29'\n";

/// A plugin with this component inside, which it does not use.
pub fn with_inside(plugin: &[u8], inside: &[u8]) -> Vec<u8> {
    [plugin, &section(4, inside)].concat()
}

/// How many of them came to what.
#[derive(Debug, Default)]
pub struct Tally {
    /// All of them.
    pub all: usize,
    /// Those that were loaded.
    pub ran: usize,
    /// Calls that answered.
    pub answered: usize,
    /// Calls that failed.
    pub failed: usize,
}

/// Tries so many of `make`'s components, each in a task of its own, so that a panic is told with what was tried.
///
/// # Panics
/// Where a promise is broken, with the number.
pub async fn try_all(
    trial: std::sync::Arc<Trial>,
    numbers: std::ops::Range<u64>,
    make: impl Fn(u64) -> Damaged,
) -> Tally {
    let mut tally = Tally::default();
    for number in numbers {
        let Damaged { bytes, done } = make(number);
        let trial = trial.clone();
        let fate = told(number, &done, async move { trial.of(&bytes).await }).await;
        tally.all += 1;
        if let Fate::Ran { answered, failed } = fate {
            tally.ran += 1;
            tally.answered += answered;
            tally.failed += failed;
        }
    }
    tally
}

async fn told<T: Send + 'static>(number: u64, done: &str, tried: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(tried).await {
        Ok(fate) => fate,
        Err(error) => panic!("number {number} ({done}) was neither refused nor run: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_apart_is_put_together_as_it_was() {
        let whole = crate::component::with_custom(crate::TINY.to_vec(), MANIFEST, b"x");
        assert_eq!(Whole::read(&whole).expect("a component").bytes(), whole);
        assert_eq!(damaged(7, &whole, &[]).bytes, damaged(7, &whole, &[]).bytes);
        assert_ne!(damaged(7, &whole, &[]).bytes, damaged(8, &whole, &[]).bytes);
    }
}
