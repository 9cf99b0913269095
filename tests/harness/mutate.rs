//! Bytes changed at random, by a seed: a fuzzer of a page, for the stable compiler and for CI.
//!
//! It starts from the files of a corpus, changes one in a few places, and gives it to a target, which panics where a promise
//! is broken. Without coverage it goes by what the target says came of the bytes: whatever it has not said before joins the
//! corpus for the rest of the run. The same seed makes the same inputs on every machine.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// How many inputs were tried.
    pub rounds: usize,
    /// How many different things came of them.
    pub outcomes: usize,
    /// The first input that broke a promise, and what was said about it.
    pub finding: Option<(Vec<u8>, String)>,
}

/// Inputs longer than this are cut.
const INPUT_BYTES_MAX: usize = 8 << 10;
/// What joins the corpus during a run, at most.
const CORPUS_MAX: usize = 2_000;
/// Places changed in one input.
const CHANGES_MAX: u64 = 6;

/// Texts that readers have tripped over.
const TOKENS: &[&str] = &[
    "0",
    "-1",
    "1e9",
    "NaN",
    "inf",
    ".5",
    "4294967296",
    "1795337384000",
    "18446744073709551616",
    "%2e%2e",
    "%2f",
    "%00",
    "%",
    "\\",
    "@",
    "#",
    "?",
    ":",
    "//",
    "..",
    ";",
    ",",
    "=",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "*",
    "**",
    "\r\n",
    "\n",
    "\t",
    "\0",
    " ",
    "é",
    "\u{202e}",
    "\u{feff}",
    "xn--",
    "[::1]",
    "127.0.0.1",
    "0x7f.1",
    "null",
    "true",
    "1.5",
    "$ref",
    "^(a+)+$",
    "Sun, 22 Nov 2026 08:49:44 GMT",
    "retry-after:",
    "ratelimit:",
    "x-ratelimit-reset:",
    "https://",
    "{api}",
];

/// Tries so many inputs made from `corpus`.
pub fn run(seed: u64, corpus: Vec<Vec<u8>>, rounds: usize, target: impl Fn(&[u8]) -> String) -> Run {
    let mut die = Die(seed);
    let mut corpus = if corpus.is_empty() { vec![Vec::new()] } else { corpus };
    let mut outcomes = BTreeSet::new();
    let planted = corpus.len();
    for round in 0..rounds {
        let mut input = match corpus.get(round).filter(|_| round < planted) {
            Some(as_it_is) => as_it_is.clone(),
            None => die.one_of(&corpus).clone(),
        };
        if round >= planted {
            for _ in 0..=die.below(CHANGES_MAX) {
                die.change(&mut input, &corpus);
            }
            input.truncate(INPUT_BYTES_MAX);
        }
        match catch_unwind(AssertUnwindSafe(|| target(&input))) {
            Ok(outcome) => {
                if outcomes.insert(outcome) && corpus.len() < CORPUS_MAX {
                    corpus.push(input);
                }
            }
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let finding = Some((input, said.unwrap_or_default()));
                return Run { rounds: round + 1, outcomes: outcomes.len(), finding };
            }
        }
    }
    Run { rounds, outcomes: outcomes.len(), finding: None }
}

/// SplitMix64.
pub struct Die(pub u64);

impl Die {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, below: u64) -> u64 {
        self.roll() % below.max(1)
    }

    /// A place in something so long; its end is one too.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64 + 1)).expect("no longer than it was")
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.place(all.len() - 1)]
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let (one, other) = (self.place(length), self.place(length));
        // Small pieces are more telling than large ones.
        let (from, to) = (one.min(other), one.max(other));
        from..to.min(from + 1 + self.place(24))
    }

    pub(crate) fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.place(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.roll() as u8,
            2 => input.insert(at, self.roll() as u8),
            3 => input.truncate(at.max(1)),
            4 => {
                let range = self.range(input.len());
                input.drain(range.start..range.end.min(input.len()));
            }
            5 => {
                let range = self.range(input.len());
                let piece = input[range.start..range.end.min(input.len())].to_vec();
                input.splice(at..at, piece);
            }
            6 => {
                let other = self.one_of(corpus).clone();
                let range = self.range(other.len());
                let piece = other[range.start..range.end.min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            7 => {
                let token = self.one_of(TOKENS).bytes();
                input.splice(at..at, token);
            }
            // A number becomes another.
            _ => {
                let Some(from) = input[at..].iter().position(u8::is_ascii_digit).map(|digit| at + digit) else {
                    return;
                };
                let length = input[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let number = match self.below(3) {
                    0 => self.roll().to_string(),
                    1 => self.below(100).to_string(),
                    _ => (*self.one_of(&["0", "1", "4294967295", "9223372036854775808", "99999999999999999999999"]))
                        .to_owned(),
                };
                input.splice(from..from + length, number.into_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_to_be_found_and_the_same_each_time() {
        let target = |bytes: &[u8]| {
            assert!(!bytes.windows(2).any(|two| two == b"9%"), "nine per cent");
            format!("{}", bytes.len() % 7)
        };
        let run = |seed| run(seed, vec![b"1 and 2%".to_vec()], 100_000, target);
        let (input, said) = run(1).finding.expect("it is not hard to find");
        assert_eq!(said, "nine per cent");
        assert_eq!(run(1).finding.expect("it is found again").0, input);
        assert_ne!(run(2).finding.expect("it is found otherwise").0, input);
    }
}
