//! Tells fast that a text holds none of some patterns, which is what most texts do.
//!
//! It looks at the last bytes of a window as long as the shortest pattern, and from what it sees there knows how far the
//! window can move without passing any (Wu and Manber, "A fast algorithm for multi-pattern searching", 1994). Where it
//! says "perhaps", a real search follows; where it says "no", none is needed. Case does not count.

/// Knows the beginnings of some patterns.
#[derive(Clone, Debug)]
pub(crate) struct Prefilter {
    /// Bytes of the shortest pattern, and so of the window.
    window: usize,
    /// By how many bytes the window moves on, by what its last bytes hash to.
    shifts: Box<[u8; SHIFTS]>,
    /// How every pattern begins, sorted.
    beginnings: Vec<u64>,
}

/// Places in the table of shifts.
const SHIFTS: usize = 1 << 12;

/// Bytes that are looked at together.
const BLOCK: usize = 3;

/// Windows that are looked at closely, one for so many bytes of the text: beyond, the text is made of what patterns end with, and a
/// real search is faster.
const BYTES_PER_CLOSE_LOOK: usize = 32;

impl Prefilter {
    /// For these patterns; nothing where one is too short, or where there are none.
    pub(crate) fn new<'a>(patterns: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Self> {
        let shortest = patterns.clone().map(<[u8]>::len).min()?;
        if shortest < BLOCK {
            return None;
        }
        // A shift is a byte.
        let window = shortest.min(usize::from(u8::MAX));
        let furthest = u8::try_from(window - BLOCK + 1).unwrap_or(u8::MAX);
        let mut shifts = Box::new([furthest; SHIFTS]);
        for pattern in patterns.clone() {
            for (at, block) in pattern.windows(BLOCK).take(window - BLOCK + 1).enumerate() {
                let left = u8::try_from(window - BLOCK - at).unwrap_or(u8::MAX);
                let shift = &mut shifts[place(block)];
                *shift = left.min(*shift);
            }
        }
        let mut beginnings: Vec<u64> = patterns.map(|pattern| beginning(pattern, window)).collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        Some(Self { window, shifts, beginnings })
    }

    /// Whether the text may hold one of the patterns. If not, it holds none.
    pub(crate) fn may_hold(&self, text: &[u8]) -> bool {
        let mut close_looks = text.len() / BYTES_PER_CLOSE_LOOK + 1;
        let mut at = self.window - BLOCK;
        while let Some(block) = text.get(at..at + BLOCK) {
            let shift = self.shifts[place(block)];
            if shift > 0 {
                at += usize::from(shift);
                continue;
            }
            let start = at + BLOCK - self.window;
            if close_looks == 0 || self.beginnings.binary_search(&beginning(&text[start..], self.window)).is_ok() {
                return true;
            }
            close_looks -= 1;
            at += 1;
        }
        false
    }
}

/// Where the shift of these bytes stands, in whatever case they are.
fn place(block: &[u8]) -> usize {
    let [a, b, c] = [block[0], block[1], block[2]].map(|byte| u32::from(byte | CASE));
    let mixed = (a | b << 8 | c << 16).wrapping_mul(0x9E37_79B1);
    mixed as usize >> (32 - SHIFTS.trailing_zeros())
}

/// The first bytes of a window, in whatever case they are: at most eight.
fn beginning(text: &[u8], window: usize) -> u64 {
    let bytes = &text[..window.min(8)];
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(byte | CASE))
}

/// The bit by which the cases of a letter differ. Other bytes that differ in it alone look alike too: a real search tells.
const CASE: u8 = 0x20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefilter(patterns: &[&str]) -> Option<Prefilter> {
        Prefilter::new(patterns.iter().map(|pattern| pattern.as_bytes()))
    }

    #[test]
    fn passes_over_what_holds_nothing() {
        let prefilter = prefilter(&["harbour-master", "aGFyYm91ci1tYXN0ZXI"]).unwrap();
        assert!(!prefilter.may_hold(b""));
        assert!(!prefilter.may_hold(b"harbour-maste"));
        assert!(!prefilter.may_hold("a line about harbours and their masters ".repeat(1_000).as_bytes()));
        assert!(prefilter.may_hold(b"harbour-master"));
        assert!(prefilter.may_hold(b"x Harbour-Master x"));
    }

    #[test]
    fn has_nothing_to_say_of_short_patterns() {
        assert!(prefilter(&[]).is_none());
        assert!(prefilter(&["long enough", "no"]).is_none());
    }

    /// A text of nothing but ends is left to the search, whose time grows with the text alone.
    #[test]
    fn gives_up_where_too_much_looks_alike() {
        let prefilter = prefilter(&["baaaaaaaaaaaaaaa"]).unwrap();
        assert!(!prefilter.may_hold(b"xaaaaaaaaaaaaaaa"));
        assert!(prefilter.may_hold(&[b'a'; 10_000]));
    }

    proptest! {
        /// Never says "no" of what is there, in any case, whatever stands around it.
        #[test]
        fn never_passes_over_a_pattern(
            patterns in prop::collection::vec("[ab%/+-]{3,300}|\\PC{3,12}", 1..6),
            before in "[ab%/+-]{0,40}|\\PC{0,300}",
            after in "[ab%/+-]{0,40}|\\PC{0,40}",
            which: prop::sample::Index,
            upper: bool,
        ) {
            let prefilter = Prefilter::new(patterns.iter().map(|pattern| pattern.as_bytes())).unwrap();
            let pattern = which.get(&patterns);
            let written = if upper { pattern.to_ascii_uppercase() } else { pattern.to_ascii_lowercase() };
            let text = format!("{before}{written}{after}");
            prop_assert!(prefilter.may_hold(text.as_bytes()));
        }
    }
}
