//! The rule by which a client does well: what must hold of the account, each condition a row that a program decides.

use super::{Account, Ended};
use crate::API_KEY;

/// One condition on what came of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// Every call ends with the provider's good answer, whole.
    Answer,
    /// Every call ends with a success, whatever its body.
    Success,
    /// No call ends with a success: what came is no answer.
    Failure,
    /// At most so many requests.
    Requests(usize),
    /// The write is done so often and no more.
    Executed(usize),
    /// No attempt before so many milliseconds.
    WaitsFrom(u64),
    /// Over after so many milliseconds at most.
    WaitsTo(u64),
    /// At most so many bytes are taken in.
    Bytes(u64),
    /// Nothing reaches an origin the client was never meant to talk to.
    StaysAway,
    /// No body reaches another origin.
    KeepsBody,
    /// The credential reaches no other origin.
    KeepsCredential,
    /// What the user of the client sees does not hold this.
    Hides(&'static str),
    /// As [`Must::Hides`], of the credential in any form.
    HidesCredential,
    /// At most so many requests beyond the provider's limit.
    OverLimit(usize),
    /// At most so many requests while the provider had trouble.
    InTrouble(usize),
    /// The last so many calls end with the good answer.
    Recovers(usize),
}

impl Must {
    /// Whether it holds.
    pub fn holds(self, account: &Account) -> bool {
        let ended = &account.ended;
        match self {
            Self::Answer => ended.iter().all(Ended::is_good),
            Self::Success => ended.iter().all(|ended| matches!(ended, Ended::Success { .. })),
            Self::Failure => ended.iter().all(|ended| matches!(ended, Ended::Failure(_))),
            Self::Requests(most) => account.requests <= most,
            Self::Executed(exactly) => account.executed == exactly,
            Self::WaitsFrom(ms) => account.waited_ms >= ms,
            Self::WaitsTo(ms) => account.waited_ms <= ms,
            Self::Bytes(most) => account.bytes <= most,
            Self::StaysAway => account.at_nowhere == 0,
            Self::KeepsBody => account.bodies_elsewhere == 0,
            Self::KeepsCredential => account.leaks == 0,
            Self::Hides(text) => !account.shown.contains(text),
            Self::HidesCredential => !forms().iter().any(|form| account.shown.contains(form)),
            Self::OverLimit(most) => account.over_limit <= most,
            Self::InTrouble(most) => account.in_trouble <= most,
            Self::Recovers(last) => ended.iter().rev().take(last).all(Ended::is_good),
        }
    }

    /// What a good client does.
    pub fn text(self) -> String {
        match self {
            Self::Answer => "gets the answer".to_owned(),
            Self::Success => "sees a success".to_owned(),
            Self::Failure => "sees a failure".to_owned(),
            Self::Requests(1) => "asks once".to_owned(),
            Self::Requests(most) => format!("asks at most {most} times"),
            Self::Executed(0) => "nothing is written".to_owned(),
            Self::Executed(1) => "it is written once".to_owned(),
            Self::Executed(times) => format!("it is written {times} times"),
            Self::WaitsFrom(ms) => format!("waits at least {} s", seconds(ms)),
            Self::WaitsTo(ms) => format!("is done within {} s", seconds(ms)),
            Self::Bytes(most) => format!("takes in at most {} MiB", most >> 20),
            Self::StaysAway => "goes nowhere it was not sent".to_owned(),
            Self::KeepsBody => "the body goes nowhere else".to_owned(),
            Self::KeepsCredential => "the credential goes nowhere else".to_owned(),
            Self::Hides(_) => "the fresh credential is not shown".to_owned(),
            Self::HidesCredential => "the credential is not shown".to_owned(),
            Self::OverLimit(0) => "never beyond the limit".to_owned(),
            Self::OverLimit(most) => format!("at most {most} beyond the limit"),
            Self::InTrouble(most) => format!("asks at most {most} times while it lasts"),
            Self::Recovers(last) => format!("the last {last} calls are answered"),
        }
    }

    /// What was done instead.
    pub fn instead(self, account: &Account) -> String {
        match self {
            Self::Answer | Self::Success | Self::Failure if account.ended.len() > 1 => {
                format!("{} of {} answered", account.answered(), account.ended.len())
            }
            Self::Answer | Self::Success => "no answer".to_owned(),
            Self::Failure => "takes it for a success".to_owned(),
            Self::Requests(most) => format!("asks {} times instead of {most}", account.requests),
            Self::Executed(_) => format!("written {} times", account.executed),
            Self::WaitsFrom(ms) => format!("does not wait the {} s", seconds(ms)),
            Self::WaitsTo(ms) => format!("takes longer than {} s", seconds(ms)),
            Self::Bytes(most) => format!("takes in more than {} MiB", most >> 20),
            Self::StaysAway => "goes where it should not".to_owned(),
            Self::KeepsBody => "hands the body on".to_owned(),
            Self::KeepsCredential => "hands the credential on".to_owned(),
            Self::Hides(_) => "shows the fresh credential".to_owned(),
            Self::HidesCredential => "shows the credential".to_owned(),
            Self::OverLimit(_) => format!("{} beyond the limit", account.over_limit),
            Self::InTrouble(_) => format!("asks {} times while it lasts", account.in_trouble),
            Self::Recovers(_) => "does not come back".to_owned(),
        }
    }
}

/// The first condition that does not hold; none means that the client does well.
pub fn broken(must: &[Must], account: &Account) -> Option<Must> {
    must.iter().copied().find(|must| !must.holds(account))
}

/// The credential as it is, and the inside of its base64 after nothing, one and two bytes: what stands around changes the
/// letters at its edges only.
fn forms() -> [String; 4] {
    let inside = |before: &str| {
        let whole = base64(&format!("{before}{API_KEY}"));
        whole[4..whole.len() - 4].to_owned()
    };
    [API_KEY.to_owned(), inside(""), inside("x"), inside("xx")]
}

/// Base64 with padding, which no crate is needed for.
pub(super) fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// Seconds with a decimal where there is one.
pub(crate) fn seconds(ms: u64) -> String {
    match (ms / 1_000, ms % 1_000 / 100) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_base64() {
        assert_eq!(["", "f", "fo", "foo", "foob"].map(base64), ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
        assert!(forms()[1..].iter().any(|form| base64(&format!("App {API_KEY}")).contains(form)));
    }
}
