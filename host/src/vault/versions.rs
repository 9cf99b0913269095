//! The versions of one secret: the current one, the next one during a change, and the previous one after it.
//!
//! With them a key changes without a gap. The next one is tried when the current one is refused, and becomes the current
//! one when it has worked; the one before stays for what was signed with it and is still under way.

use zeroize::Zeroizing;

use crate::time::Timestamp;

/// What a record of versions begins with; the last digit is the form's version.
const MARK: &[u8; 4] = b"ver1";

/// One value, and since when it is there, where that is known.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) value: Zeroizing<String>,
    pub(super) since: Option<Timestamp>,
}

/// All there are of one secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) current: Option<Version>,
    pub(super) next: Option<Version>,
    pub(super) previous: Option<Version>,
}

impl Versions {
    /// In the order in which a credential is tried and a hash is checked.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Version> {
        [&self.current, &self.next, &self.previous].into_iter().flatten()
    }

    /// A new current one; the old one becomes the previous one.
    pub(super) fn set(&mut self, new: Version) {
        if self.current.as_ref().is_none_or(|current| current.value != new.value) {
            self.previous = self.current.replace(new);
        }
    }

    /// The next one, until it works; at once the current one where there is none.
    pub(super) fn rotate(&mut self, new: Version) {
        match self.current {
            None => self.current = Some(new),
            Some(_) => self.next = Some(new),
        }
    }

    /// The next one has worked: it is the current one now. False if it is not this value.
    pub(super) fn promote(&mut self, value: &str) -> bool {
        let Some(next) = self.next.take_if(|next| next.value.as_str() == value) else { return false };
        self.previous = self.current.replace(next);
        true
    }

    /// As a record holds them.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let all = [(b'c', &self.current), (b'n', &self.next), (b'p', &self.previous)];
        let length: usize = all.iter().filter_map(|(_, version)| version.as_ref()).map(|v| v.value.len() + 32).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(MARK.len() + length));
        out.extend_from_slice(MARK);
        for (which, version) in all {
            let Some(version) = version else { continue };
            out.push(which);
            out.extend_from_slice(&version.since.unwrap_or_default().as_millis().to_be_bytes());
            out.extend_from_slice(&(version.value.len() as u64).to_be_bytes());
            out.extend_from_slice(version.value.as_bytes());
        }
        out
    }

    /// What a record holds; nothing where it holds something else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MARK)?;
        let mut versions = Self::default();
        while let Some((which, after)) = rest.split_first() {
            let (since, after) = after.split_first_chunk::<8>()?;
            let (length, after) = after.split_first_chunk::<8>()?;
            let (value, after) = after.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
            let value = Zeroizing::new(std::str::from_utf8(value).ok()?.to_owned());
            let since = Some(Timestamp::from_millis(u64::from_be_bytes(*since)));
            let place = match which {
                b'c' => &mut versions.current,
                b'n' => &mut versions.next,
                b'p' => &mut versions.previous,
                _ => return None,
            };
            *place = Some(Version { value, since });
            rest = after;
        }
        Some(versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(value: &str, since: u64) -> Version {
        Version { value: Zeroizing::new(value.to_owned()), since: Some(Timestamp::from_millis(since)) }
    }

    fn values(versions: &Versions) -> Vec<&str> {
        versions.in_order().map(|version| version.value.as_str()).collect()
    }

    #[test]
    fn a_change_goes_from_next_to_current_to_previous() {
        let mut versions = Versions::default();
        versions.rotate(version("one", 1));
        assert_eq!(values(&versions), ["one"], "there was nothing to change");
        versions.rotate(version("two", 2));
        assert_eq!(values(&versions), ["one", "two"]);
        assert!(!versions.promote("one") && !versions.promote("three"));
        assert!(versions.promote("two"));
        assert_eq!(values(&versions), ["two", "one"]);
        versions.set(version("three", 3));
        assert_eq!(values(&versions), ["three", "two"]);
        versions.set(version("three", 4));
        assert_eq!(values(&versions), ["three", "two"], "the same value again pushed the previous one out");
        assert_eq!(versions.current.unwrap().since, Some(Timestamp::from_millis(3)));
    }

    #[test]
    fn a_record_holds_them_and_nothing_else_is_taken_for_one() {
        let whole = Versions {
            current: Some(version("c\n\0ü", 7)),
            next: Some(version("n", 8)),
            previous: Some(version("p", 9)),
        };
        let some = Versions { next: None, ..whole.clone() };
        for versions in [Versions::default(), whole.clone(), some] {
            assert!(Versions::from_bytes(&versions.to_bytes()).unwrap() == versions);
        }
        let bytes = whole.to_bytes();
        for length in 0..bytes.len() {
            assert!(Versions::from_bytes(&bytes[..length]).is_none_or(|read| read != whole), "{length}");
        }
        let mut huge = bytes.clone();
        huge[13] = 0xff;
        for wrong in [&b""[..], b"ver", b"{\"access_token\":\"x\"}", &huge] {
            assert!(Versions::from_bytes(wrong).is_none());
        }
    }
}
