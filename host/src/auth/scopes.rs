//! Scopes of OAuth 2.0 (RFC 6749, 3.3): the least that a sign-in asks for, and whether what was granted is enough.
//!
//! A provider often takes one of several scopes for a request, and a wider one holds a narrower one only where it says
//! so. So what an operation needs is a list of alternatives, the least of them first, and what several operations need
//! together is found by comparing lists. Names mean nothing here. Pure.

/// What one thing that a plugin does needs of a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needed<'a> {
    /// Of which credential.
    pub(crate) credential: &'a str,
    /// One of these does, the least first. Several that are needed together have a space between them.
    pub(crate) any_of: &'a [String],
    /// With one of these it does a part of what it says.
    pub(crate) in_part: &'a [String],
}

impl<'a> Needed<'a> {
    /// Whether it may be tried with what was granted.
    pub(crate) fn is_served(&self, granted: &[String]) -> bool {
        let has = |scope: &str| granted.iter().any(|granted| granted == scope);
        self.any_of.iter().chain(self.in_part).any(|written| serves(written, &has))
    }

    /// What is asked for to have it served: of its least scopes those that were not granted.
    pub(crate) fn lacking(&self, granted: &[String]) -> Vec<&'a str> {
        let least = self.any_of.first().map(String::as_str).unwrap_or_default();
        least.split_whitespace().filter(|scope| granted.iter().all(|granted| granted != scope)).collect()
    }
}

/// The least that serves every one of `all`, each a list of alternatives, beside what is asked for `always`.
///
/// What has one way only is taken first. Then each that is not served yet takes its least, and at last whatever is not
/// needed any more, for something wider came along, is taken away.
pub(crate) fn least<'a>(always: impl IntoIterator<Item = &'a String>, all: &[&'a [String]]) -> Vec<String> {
    let mut asked: Vec<&str> = Vec::new();
    let add = |asked: &mut Vec<&'a str>, written: &'a str| {
        for scope in written.split_whitespace() {
            if !asked.contains(&scope) {
                asked.push(scope);
            }
        }
    };
    for written in always {
        add(&mut asked, written);
    }
    let fixed = asked.len();
    let is_served = |asked: &[&str], needed: &[String]| {
        needed.is_empty() || needed.iter().any(|written| serves(written, &|scope| asked.contains(&scope)))
    };
    let (single, several): (Vec<&[String]>, Vec<&[String]>) = all.iter().partition(|needed| needed.len() == 1);
    for needed in single.into_iter().chain(several) {
        if let Some(first) = needed.first().filter(|_| !is_served(&asked, needed)) {
            add(&mut asked, first);
        }
    }
    let mut at = fixed;
    while at < asked.len() {
        let without: Vec<&str> = [&asked[..at], &asked[at + 1..]].concat();
        if all.iter().all(|needed| is_served(&without, needed)) {
            asked = without;
        } else {
            at += 1;
        }
    }
    asked.into_iter().map(str::to_owned).collect()
}

/// Whether all scopes of an alternative are there.
fn serves(written: &str, has: &dyn Fn(&str) -> bool) -> bool {
    written.split_whitespace().all(has)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn united(always: &[&str], all: &[&[&str]]) -> String {
        let all: Vec<Vec<String>> = all.iter().map(|words| list(words)).collect();
        let all: Vec<&[String]> = all.iter().map(Vec::as_slice).collect();
        least(&list(always), &all).join(" ")
    }

    #[test]
    fn reading_alone_asks_for_reading_and_writing_holds_it() {
        assert_eq!(united(&[], &[&["read", "all"], &["read", "all"]]), "read");
        assert_eq!(united(&[], &[&["read", "all"], &["all"]]), "all");
        assert_eq!(united(&[], &[&["read", "write"], &["write", "all"]]), "write", "what was taken before is let go");
        assert_eq!(
            united(&[], &[&["own", "all"], &["read", "all"]]),
            "own read",
            "two narrow ones, and not the wide one"
        );
    }

    #[test]
    fn what_is_asked_for_always_stays_and_serves() {
        assert_eq!(united(&["profile", "all"], &[&["read", "all"]]), "profile all");
        assert_eq!(united(&["b", "a", "b"], &[]), "b a");
        assert_eq!(united(&[], &[&[]]), "");
    }

    #[test]
    fn several_may_be_needed_together() {
        assert_eq!(united(&[], &[&["send read", "all"]]), "send read");
        assert_eq!(united(&[], &[&["send read", "all"], &["all"]]), "all");
        let (any_of, in_part) = (list(&["send read", "all"]), list(&["mine"]));
        let needed = Needed { credential: "c", any_of: &any_of, in_part: &in_part };
        assert!(!needed.is_served(&list(&["send"])) && needed.is_served(&list(&["read", "send"])));
        assert!(needed.is_served(&list(&["mine"])), "who asked for a part is not refused");
        assert_eq!(needed.lacking(&list(&["send"])), ["read"]);
    }

    proptest! {
        /// Whatever is needed is served, and nothing of what is asked for can be left away.
        #[test]
        fn what_is_asked_for_is_enough_and_no_more(
            always in prop::collection::vec("[a-e]", 0..2),
            all in prop::collection::vec(prop::collection::vec("[a-e]( [a-e])?", 1..4), 0..8),
        ) {
            let lists: Vec<&[String]> = all.iter().map(Vec::as_slice).collect();
            let asked = least(&always, &lists);
            let serves_all = |asked: &[String]| lists.iter().all(|any_of| {
                Needed { credential: "c", any_of, in_part: &[] }.is_served(asked)
            });
            prop_assert!(serves_all(&asked));
            for at in (0..asked.len()).filter(|at| !always.contains(&asked[*at])) {
                let mut without = asked.clone();
                without.remove(at);
                prop_assert!(!serves_all(&without), "{} is not needed", asked[at]);
            }
        }
    }
}
