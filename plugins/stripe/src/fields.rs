//! What is sent to Stripe: pairs of a name and a text, in a query or in a form. Nested values have nested names, as
//! `metadata[order]` and `items[0][price]`.

use std::collections::BTreeMap;

use wharfage_sdk::{Request, Timestamp};

/// Pairs, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a text if there is one.
    pub(crate) fn text(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn flag(self, name: &str, value: Option<bool>) -> Self {
        self.text(name, value.map(|value| if value { "true" } else { "false" }))
    }

    pub(crate) fn number(self, name: &str, value: Option<u32>) -> Self {
        let value = value.map(|value| value.to_string());
        self.text(name, value.as_deref())
    }

    /// Adds a time as Stripe counts it: the first whole second at or after it.
    ///
    /// Stripe's times are whole seconds, so `>=` and `<` keep their meaning when a limit between two seconds is moved up.
    pub(crate) fn moment(self, name: &str, value: Option<Timestamp>) -> Self {
        let value = value.map(|value| {
            let ms = value.as_ms();
            (ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) > 0)).to_string()
        });
        self.text(name, value.as_deref())
    }

    /// Adds each entry as `name[key]`.
    pub(crate) fn entries(mut self, name: &str, values: &BTreeMap<String, String>) -> Self {
        for (key, value) in values {
            self.0.push((nested(name, key), value.clone()));
        }
        self
    }

    /// Adds each text as `name[0]`, `name[1]` and so on.
    pub(crate) fn texts(mut self, name: &str, values: &[String]) -> Self {
        for (index, value) in values.iter().enumerate() {
            self.0.push((nested(name, &index.to_string()), value.clone()));
        }
        self
    }

    pub(crate) fn in_query(self, request: Request) -> Request {
        self.0.into_iter().fold(request, |request, (name, value)| request.query(&name, value))
    }

    pub(crate) fn in_form(self, request: Request) -> Request {
        request.form(&self.0)
    }
}

/// `name[key]`.
pub(crate) fn nested(name: &str, key: &str) -> String {
    [name, "[", key, "]"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_between_two_seconds_moves_up() {
        let sent = |ms| Fields::new().moment("created[gte]", Some(Timestamp::from_ms(ms))).0.remove(0).1;
        assert_eq!(sent(1_700_000_000_000), "1700000000");
        assert_eq!(sent(1_700_000_000_001), "1700000001");
        assert_eq!(sent(-1), "0");
    }

    #[test]
    fn what_is_nested_has_a_nested_name() {
        let metadata = BTreeMap::from([("order id".to_owned(), "7&8".to_owned())]);
        let fields = Fields::new().entries("metadata", &metadata).texts("types", &["a".to_owned(), "b".to_owned()]);
        let request = fields.in_query(Request::get("{api}/x"));
        assert_eq!(request.url(), "{api}/x?metadata%5Border%20id%5D=7%268&types%5B0%5D=a&types%5B1%5D=b");
    }
}
