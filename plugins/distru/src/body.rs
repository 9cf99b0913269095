//! What Distru is sent: an object, field by field. What is not given is left out, and so stays as it is.

use serde::{Deserialize, Deserializer};
use wharfage_sdk::money::{self, Decimal};
use wharfage_sdk::{Request, Timestamp};

use crate::record::{Written, written};

/// A number that a caller writes as decimal text and that Distru takes as a JSON number, with every digit kept.
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) Decimal);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        money::decimal::deserialize(deserializer).map(Self)
    }
}

/// A struct for each object, with a writer for each of its fields, would be several times its code.
pub(crate) struct Body(Written);

impl Body {
    pub(crate) fn new() -> Self {
        Self(Written::default())
    }

    pub(crate) fn text(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.add(name, &written(text)),
            None => self,
        }
    }

    pub(crate) fn time(self, name: &str, time: Option<Timestamp>) -> Self {
        let time = time.map(|time| time.to_string());
        self.text(name, time.as_deref())
    }

    pub(crate) fn number(self, name: &str, number: Option<Number>) -> Self {
        match number {
            Some(number) => self.add(name, &number.0.to_string()),
            None => self,
        }
    }

    /// Adds a list of objects.
    pub(crate) fn all<T>(self, name: &str, items: Option<&[T]>, each: fn(&T) -> Body) -> Self {
        match items {
            Some(items) => {
                let items: Vec<String> = items.iter().map(|item| each(item).end()).collect();
                self.add(name, &["[", &items.join(","), "]"].concat())
            }
            None => self,
        }
    }

    fn add(mut self, name: &str, json: &str) -> Self {
        self.0.add(name, Some(json));
        self
    }

    fn end(self) -> String {
        self.0.text()
    }

    pub(crate) fn post(self, url: &str) -> Request {
        Request::post(url).body("application/json", self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_left_out_and_no_digit_is_lost() {
        for (read, sent) in
            [("\"-12.50\"", "-12.50"), ("0.1", "0.1"), ("\"99999999999999.123456789\"", "99999999999999.123456789")]
        {
            let number: Number = serde_json::from_str(read).unwrap();
            let body = Body::new().text("id", None).number("quantity", Some(number)).text("note", Some("a \"b\""));
            assert_eq!(body.end(), [r#"{"quantity":"#, sent, r#","note":"a \"b\""}"#].concat());
        }
        let empty: Option<&[u8]> = Some(&[]);
        assert_eq!(Body::new().all("items", empty, |_| Body::new()).end(), r#"{"items":[]}"#);
        assert_eq!(Body::new().all("items", Some(&[1]), |_| Body::new()).end(), r#"{"items":[{}]}"#);
    }
}
