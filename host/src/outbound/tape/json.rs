//! Whether two JSON texts say the same.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep JSON is compared; deeper it counts as different, as it cannot be read either.
const DEPTH_MAX: usize = 128;

/// Digits that a float holds without loss.
const EXACT_DIGITS_MAX: usize = 15;

/// Whether two JSON texts say the same: members in any order, numbers without passing a float that would round them.
pub(super) fn same_json(a: &RawValue, b: &RawValue) -> bool {
    same(a, b, DEPTH_MAX)
}

fn same(a: &RawValue, b: &RawValue, depth: usize) -> bool {
    if a.get() == b.get() {
        return true;
    }
    let Some(depth) = depth.checked_sub(1) else { return false };
    match (a.get().as_bytes().first(), b.get().as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let (Ok(Members(mut a)), Ok(Members(mut b))) = (read(a), read(b)) else { return false };
            // The sort is stable, so members of one name keep their order.
            a.sort_by(|x, y| x.0.cmp(&y.0));
            b.sort_by(|x, y| x.0.cmp(&y.0));
            a.len() == b.len() && a.iter().zip(&b).all(|(x, y)| x.0 == y.0 && same(x.1, y.1, depth))
        }
        (Some(b'['), Some(b'[')) => {
            let (Ok(a), Ok(b)) = (read::<Vec<&RawValue>>(a), read::<Vec<&RawValue>>(b)) else { return false };
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a, b, depth))
        }
        _ => {
            let is_exact = |text: &str| text.bytes().filter(u8::is_ascii_digit).count() <= EXACT_DIGITS_MAX;
            match (serde_json::from_str::<Value>(a.get()), serde_json::from_str::<Value>(b.get())) {
                (Ok(Value::Number(one)), Ok(Value::Number(other))) => {
                    is_exact(a.get()) && is_exact(b.get()) && one == other
                }
                (Ok(one), Ok(other)) => one == other,
                _ => false,
            }
        }
    }
}

fn read<'a, T: Deserialize<'a>>(json: &'a RawValue) -> serde_json::Result<T> {
    serde_json::from_str(json.get())
}

/// The members of an object, as they stand there.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
        let (a, b) = (RawValue::from_string(deep("1")).unwrap(), RawValue::from_string(deep("2")).unwrap());
        assert!(same_json(&a, &a) && !same_json(&a, &b));
    }
}
