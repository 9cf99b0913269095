//! Adjustments of stock: changes by hand that are no sale, purchase or transfer. They are never changed nor taken back, and
//! Distru has no idempotency keys: one whose outcome is unknown is looked for in the list before it is made again.

use serde_json::json;
use serde_json::value::RawValue;
use wharfage_sdk::http::Repeat;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, Timestamp, clock};

use crate::body::{Body, Number};
use crate::record::{Picked, Table, Wanted, picked_all, record, record_of, written};
use crate::{Profile, Stock, guide, listing};

wharfage_sdk::input! {
    /// Which adjustments.
    pub(crate) struct ListInput {
        /// Only those that were made at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only of these products, by id.
        #[serde(default)]
        product_ids: Vec<String>,
        /// Only of these batches, by id.
        #[serde(default)]
        batch_ids: Vec<String>,
        /// Only at these locations, by id.
        #[serde(default)]
        location_ids: Vec<String>,
        /// How many to a page, where Distru still heeds it.
        #[serde(default)]
        #[schemars(range(min = 1, max = 500))]
        limit: Option<u32>,
        /// Also each adjustment as Distru wrote it; it holds costs.
        #[serde(default)]
        raw: bool,
    }
}

wharfage_sdk::input! {
    /// An adjustment that is to be made: of a product, a batch or a package, as the product's stock is kept.
    pub(crate) struct CreateInput {
        /// The product, by id.
        #[serde(default)]
        product_id: Option<String>,
        /// The batch, by id, instead.
        #[serde(default)]
        batch_id: Option<String>,
        /// The package, by id, instead. The state's tracking system is then told at once, and may refuse.
        #[serde(default)]
        package_id: Option<String>,
        /// By how much, as decimal text: `10` adds, `-4` removes. In the package's unit where it is of a package, else in the
        /// product's. The profile `guide` takes whole numbers.
        #[schemars(with = "String")]
        quantity: Number,
        /// Why. Of products and batches `waste`, `stolen`, `damaged`, `fire`, `write-off`, `expired`, `lab-testing`, `revaluation`
        /// or `other`; `waste` only removes. Of packages what the state's tracking system knows. In the profile `guide` any words.
        reason: String,
        /// Where, by id. Needed but for packages, which have their place.
        #[serde(default)]
        location_id: Option<String>,
        /// A note. Needed for packages.
        #[serde(default)]
        description: Option<String>,
        /// As of when; now where it is left out.
        #[serde(default)]
        completion_datetime: Option<Timestamp>,
        /// Which form of the API.
        #[serde(default)]
        profile: Profile,
    }
}

record! {
    /// An adjustment.
    Adjustment {
        /// Distru's id; null in the profile `guide`, which names none.
        id: Option<String> = "id!",
        /// The product's id, where it is of a product.
        product_id: Option<String> = "product_id",
        /// The batch's id, where it is of a batch.
        batch_id: Option<String> = "batch_id",
        /// The package's id, where it is of a package.
        package_id: Option<String> = "package_id",
        /// The location's id.
        location_id: Option<String> = "location_id",
        /// By how much, as decimal text in the product's unit.
        quantity: Option<String> = "quantity",
        /// What it is measured in.
        unit: Option<String> = "unit_type/name",
        /// Why.
        reason: Option<String> = "reason",
        /// The note with it.
        description: Option<String> = "description",
        /// As of when.
        completed_on: Option<Timestamp> = "completion_datetime",
        // Its name until 2026-08-03 was the second one.
        /// When it was made at Distru.
        created_on: Option<Timestamp> = "inserted_datetime|inserted_at",
        /// What there is of the product now, place by place; only in the profile `guide`.
        #[serde(skip_serializing_if = "Option::is_none")]
        stock: Option<Vec<Stock>> = "currentInventory",
        /// The adjustment as Distru wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        raw: Option<Box<RawValue>> = "",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Adjustment>>, Error> {
    let first = listing::sized(Request::get("{api}/adjustments"), input.limit);
    let first = listing::since(first, "inserted_datetime", input.since);
    let first = listing::any_of(first, "product_ids[]", &input.product_ids);
    let first = listing::any_of(first, "batch_ids[]", &input.batch_ids);
    let first = listing::any_of(first, "location_ids[]", &input.location_ids);
    listing::list(cursor, first, Wanted { raw: input.raw, lines: false })
}

pub(crate) fn create(input: CreateInput) -> Result<Picked<Adjustment>, Error> {
    if input.profile == Profile::Guide {
        return create_as_guide(input).map_err(in_our_words);
    }
    input.check()?;
    let (by_package, by_product) =
        if input.package_id.is_some() { (Some(input.quantity), None) } else { (None, Some(input.quantity)) };
    let body = Body::new()
        .text("product_id", input.product_id.as_deref())
        .text("batch_id", input.batch_id.as_deref())
        .text("package_id", input.package_id.as_deref())
        .number("quantity", by_product)
        .number("compliance_quantity", by_package)
        .text("reason", Some(&input.reason))
        .text("location_id", input.location_id.as_deref())
        .text("description", input.description.as_deref())
        .time("completion_datetime", Some(input.completion_datetime.unwrap_or_else(clock::now)));
    let request = body.post("{write}/adjustments").repeat(Repeat::Never);
    listing::one(request, Wanted::default()).map_err(in_our_words)
}

fn create_as_guide(input: CreateInput) -> Result<Picked<Adjustment>, Error> {
    input.profile.refuse(&[
        ("/batch_id", input.batch_id.is_some()),
        ("/package_id", input.package_id.is_some()),
        ("/description", input.description.is_some()),
        ("/completion_datetime", input.completion_datetime.is_some()),
    ])?;
    let product_id = input.product_id.ok_or_else(|| Error::invalid_request("", "missing field `product_id`"))?;
    let location_id = input.location_id.ok_or_else(|| Error::invalid_request("", "missing field `location_id`"))?;
    let quantity = input.quantity.0.normalize().to_string();
    let adjustment: i64 =
        quantity.parse().map_err(|_| Error::invalid_request("/quantity", "expected a whole number"))?;
    let product = guide::adjust(json!({
        "productId": product_id, "locationId": location_id, "adjustment": adjustment, "reason": input.reason,
    }))?;
    let given = [
        ("product_id", written(&product.needed("id"))),
        ("location_id", written(&location_id)),
        ("quantity", written(&quantity)),
        ("reason", written(&input.reason)),
        ("stock", picked_all(&product.parts("currentInventory"), Stock::FIELDS)?),
    ];
    product.settle(())?;
    record_of(&given)
}

impl CreateInput {
    /// Refuses what Distru would refuse, before a request is spent on it.
    fn check(&self) -> Result<(), Error> {
        let targets = [&self.product_id, &self.batch_id, &self.package_id];
        if targets.into_iter().flatten().count() != 1 {
            return Err(Error::invalid_request("", "expected one of `product_id`, `batch_id` and `package_id`"));
        }
        match (self.package_id.is_some(), self.location_id.is_some()) {
            (true, true) => Err(Error::invalid_request("/location_id", "a package has its place: leave it out")),
            (false, false) => Err(Error::invalid_request("", "missing field `location_id`")),
            (true, false) if self.description.is_none() => {
                Err(Error::invalid_request("", "missing field `description`, which packages need"))
            }
            _ => Ok(()),
        }
    }
}

/// A refusal is about our fields, whatever they are called on the way.
fn in_our_words(mut error: Error) -> Error {
    if let ErrorKind::InvalidRequest(fields) = &mut error.kind {
        for field in fields {
            let ours = match field.path.trim_start_matches("/input") {
                "/adjustment" | "/compliance_quantity" => "/quantity",
                "/productId" => "/product_id",
                "/locationId" => "/location_id",
                _ => continue,
            };
            field.path = ours.to_owned();
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::testing::with_exchanges;

    use super::*;

    fn refused(input: &str) -> String {
        with_exchanges("[]", || create(serde_json::from_str(input).unwrap())).err().unwrap().message.clone()
    }

    #[test]
    fn what_distru_would_refuse_costs_no_request() {
        for (input, message) in [
            (r#"{"quantity": "1", "reason": "other"}"#, "expected one of `product_id`, `batch_id` and `package_id`"),
            (
                r#"{"quantity": "1", "reason": "other", "product_id": "1", "batch_id": "2"}"#,
                "expected one of `product_id`, `batch_id` and `package_id`",
            ),
            (r#"{"quantity": "1", "reason": "other", "product_id": "1"}"#, "missing field `location_id`"),
            (
                r#"{"quantity": "1", "reason": "x", "package_id": "1", "location_id": "2", "description": "x"}"#,
                "/location_id: a package has its place: leave it out",
            ),
            (
                r#"{"quantity": "1", "reason": "x", "package_id": "1"}"#,
                "missing field `description`, which packages need",
            ),
            (
                r#"{"quantity": "1.5", "reason": "x", "product_id": "1", "location_id": "2", "profile": "guide"}"#,
                "/quantity: expected a whole number",
            ),
        ] {
            assert_eq!(refused(input), message, "{input}");
        }
    }
}
