//! The audit trail's chain: each row carries a keyed hash over the row before and itself.
//!
//! A row that is changed, left out or put in between no longer fits the next one, and nobody without the installation's
//! key can make it fit. Rows that age out at the front leave an [`Anchor`], which is keyed too, so that what is left
//! still verifies. What a chain cannot tell by itself is that its end was cut off: for that, note its head elsewhere.

use aws_lc_rs::hmac;

/// A keyed hash: HMAC-SHA-256.
pub(crate) type Hash = [u8; 32];

/// One row of the trail, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Counts up from 1 without a gap.
    pub number: u64,
    /// The entry's text. The hash is over these very bytes.
    pub text: String,
    /// Over the hash before, the number and the text.
    pub hash: Vec<u8>,
}

/// The last row that aged out: where the chain now begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: Vec<u8>,
    /// Says that it was the host who took away what stood before.
    pub seal: Vec<u8>,
}

/// Makes and checks hashes.
#[derive(Clone)]
pub(crate) struct Chain(hmac::Key);

/// How far a chain was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The last good row.
    pub number: u64,
    /// Its hash.
    pub hash: Vec<u8>,
}

impl Default for Place {
    fn default() -> Self {
        Self { number: 0, hash: vec![0; 32] }
    }
}

/// Where a chain breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// Rows are missing before this one; what should be there has the first number.
    Missing {
        /// The first that is missing.
        from: u64,
        /// The row that was found.
        found: u64,
    },
    /// This row does not fit the one before: one of the two was changed.
    Changed {
        /// Its number.
        number: u64,
    },
    /// What says where the trail begins was not made by the host.
    Anchor,
}

impl Chain {
    /// With this key.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The hash of the row after `before`.
    pub(crate) fn hash(&self, before: &[u8], number: u64, text: &str) -> Hash {
        self.over([b"row", before, &number.to_be_bytes(), text.as_bytes()])
    }

    /// An anchor for the row with this number and hash.
    pub(crate) fn anchor(&self, number: u64, hash: &[u8]) -> Anchor {
        let seal = self.over([b"anchor", hash, &number.to_be_bytes(), b""]).to_vec();
        Anchor { number, hash: hash.to_vec(), seal }
    }

    /// Follows the chain over these rows, which stand after `place`.
    pub(crate) fn follow(&self, place: &mut Place, anchor: Option<&Anchor>, rows: &[Link]) -> Result<(), Break> {
        // The host may have taken rows away since the page before was read.
        if let Some(anchor) = anchor.filter(|anchor| anchor.number > place.number) {
            if self.anchor(anchor.number, &anchor.hash) != *anchor {
                return Err(Break::Anchor);
            }
            *place = Place { number: anchor.number, hash: anchor.hash.clone() };
        }
        for row in rows {
            if row.number != place.number + 1 {
                return Err(Break::Missing { from: place.number + 1, found: row.number });
            }
            if self.hash(&place.hash, row.number, &row.text) != row.hash.as_slice() {
                return Err(Break::Changed { number: row.number });
            }
            *place = Place { number: row.number, hash: row.hash.clone() };
        }
        Ok(())
    }

    /// Lengths go in as well, so that no two lists of parts read alike.
    fn over(&self, parts: [&[u8]; 4]) -> Hash {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(chain: &Chain) -> Vec<Link> {
        let mut before = Place::default();
        let mut rows = Vec::new();
        for number in 1..=5 {
            let text = format!("entry {number}");
            let hash = chain.hash(&before.hash, number, &text).to_vec();
            before = Place { number, hash: hash.clone() };
            rows.push(Link { number, text, hash });
        }
        rows
    }

    fn follow(chain: &Chain, anchor: Option<&Anchor>, rows: &[Link]) -> Result<(), Break> {
        chain.follow(&mut Place::default(), anchor, rows)
    }

    #[test]
    fn every_change_shows_where_it_is() {
        let chain = Chain::new(&[1; 32]);
        let good = rows(&chain);
        assert_eq!(follow(&chain, None, &good), Ok(()));
        for at in 0..good.len() {
            let number = at as u64 + 1;
            let mut changed = good.clone();
            changed[at].text.push('!');
            assert_eq!(follow(&chain, None, &changed), Err(Break::Changed { number }));
            let mut changed = good.clone();
            changed[at].hash[7] ^= 1;
            assert_eq!(follow(&chain, None, &changed), Err(Break::Changed { number }));
            let mut cut = good.clone();
            cut.remove(at);
            // The end is what a chain cannot miss: its head must be noted elsewhere.
            let expected = if at == 4 { Ok(()) } else { Err(Break::Missing { from: number, found: number + 1 }) };
            assert_eq!(follow(&chain, None, &cut), expected);
            // Numbered anew, the rest does not fit any more.
            cut.iter_mut().zip(1..).for_each(|(row, number)| row.number = number);
            assert_eq!(follow(&chain, None, &cut), if at == 4 { Ok(()) } else { Err(Break::Changed { number }) });
        }
        assert_eq!(follow(&Chain::new(&[2; 32]), None, &good), Err(Break::Changed { number: 1 }));
    }

    #[test]
    fn an_anchor_takes_the_place_of_what_aged_out() {
        let chain = Chain::new(&[1; 32]);
        let good = rows(&chain);
        let anchor = chain.anchor(3, &good[2].hash);
        assert_eq!(follow(&chain, Some(&anchor), &good[3..]), Ok(()));
        assert_eq!(follow(&chain, Some(&anchor), &good[4..]), Err(Break::Missing { from: 4, found: 5 }));
        let forged = Anchor { number: 4, hash: good[3].hash.clone(), seal: anchor.seal.clone() };
        assert_eq!(follow(&chain, Some(&forged), &good[4..]), Err(Break::Anchor));
        // No row's own hash passes for one.
        let forged = Anchor { number: 4, hash: good[2].hash.clone(), seal: good[3].hash.clone() };
        assert_eq!(follow(&chain, Some(&forged), &good[4..]), Err(Break::Anchor));
    }
}
