//! What the plugin can do for a caller: the rows that [`operations!`](crate::operations!) makes, and how they are run.
//!
//! A row turns JSON into the function's own types and back. The cursor that leaves here is prefixed with the operation's
//! name, so one of another operation is refused instead of misread.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use crate::bindings::exports::wharfage::plugin::operations as wire;
use crate::bindings::wharfage::plugin::types;
use crate::{Cursor, Error, ErrorKind, Page, json};

pub use wire::Effect;

/// One named operation: a row of `OPERATIONS`.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its name, as `orders.list`.
    pub name: &'static str,
    /// What it does to the provider's data.
    pub effect: Effect,
    /// Whether the output is an array that is read page by page.
    pub is_list: bool,
    description: &'static str,
    run: Run,
    schemas: fn() -> Schemas,
}

/// One answer, or one page of a list, as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The output; an array where the operation lists.
    pub output: String,
    /// What to pass as cursor to go on; absent on the last page.
    pub next: Option<Cursor>,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    One(fn(&str) -> Result<Answer, Error>),
    List(fn(&str, Option<Cursor>) -> Result<Answer, Error>),
}

/// Whether the component carries its schemas beside its code, and so need not make them: `wharfage build` compiles a plugin
/// once to hear them and once more without, which is a fifth smaller.
const ARE_CARRIED: bool = option_env!("WHARFAGE_SCHEMAS_ARE_CARRIED").is_some();

#[doc(hidden)]
#[derive(Debug)]
pub struct Schemas {
    input: String,
    output: String,
}

impl Operation {
    #[doc(hidden)]
    pub const fn one(
        effect: Effect,
        name: &'static str,
        description: &'static str,
        run: fn(&str) -> Result<Answer, Error>,
        schemas: fn() -> Schemas,
    ) -> Self {
        Self { name, effect, is_list: false, description, run: Run::One(run), schemas }
    }

    #[doc(hidden)]
    pub const fn list(
        name: &'static str,
        description: &'static str,
        run: fn(&str, Option<Cursor>) -> Result<Answer, Error>,
        schemas: fn() -> Schemas,
    ) -> Self {
        Self { name, effect: Effect::Read, is_list: true, description, run: Run::List(run), schemas }
    }

    /// A sentence for people: the comment in [`operations!`](crate::operations!), on one line.
    pub fn description(&self) -> String {
        self.description.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Runs it on JSON text, or reads the page that `cursor` stands for.
    ///
    /// # Errors
    /// `invalid-request` for an input that does not fit, `cursor-invalid` for a cursor of something else, and whatever the
    /// operation itself answers.
    pub fn run(&self, input: &str, cursor: Option<Cursor>) -> Result<Answer, Error> {
        let cursor = cursor.map(|cursor| self.own(cursor)).transpose()?;
        let mut answer = match (self.run, cursor) {
            (Run::List(run), cursor) => run(input, cursor),
            (Run::One(run), None) => run(input),
            (Run::One(_), Some(_)) => Err(Error::cursor_invalid(format!("{} has no pages", self.name))),
        }?;
        answer.next = answer.next.map(|next| Cursor::from(format!("{}:{next}", self.name)));
        Ok(answer)
    }

    fn own(&self, cursor: Cursor) -> Result<Cursor, Error> {
        let own = cursor.as_str().strip_prefix(self.name).and_then(|rest| rest.strip_prefix(':'));
        own.map(|own| Cursor::from(own.to_owned()))
            .ok_or_else(|| Error::cursor_invalid(format!("this cursor is not one of {}", self.name)))
    }
}

/// The operation of this name.
///
/// # Errors
/// `unknown-operation`, naming what comes nearest.
pub fn find<'a>(operations: &'a [Operation], name: &str) -> Result<&'a Operation, Error> {
    operations.iter().find(|operation| operation.name == name).ok_or_else(|| {
        let mut near: Vec<(usize, &str)> =
            operations.iter().map(|operation| (distance(name, operation.name), operation.name)).collect();
        let mut names = Vec::new();
        // Not sorted: three are wanted, and the code that sorts is larger than all the rest here.
        while let (true, Some((place, nearest))) =
            (names.len() < 3, near.iter().enumerate().min_by_key(|(_, near)| **near))
        {
            names.push(nearest.1);
            near.swap_remove(place);
        }
        Error::new(
            ErrorKind::UnknownOperation,
            format!("there is no operation of that name; the nearest are {}", names.join(", ")),
        )
    })
}

#[doc(hidden)]
pub fn run_one<I: DeserializeOwned, O: Serialize>(
    run: fn(I) -> Result<O, Error>,
    input: &str,
) -> Result<Answer, Error> {
    let output = run(json::parse_input(input)?)?;
    Ok(Answer { output: json::to_text(&output)?, next: None })
}

#[doc(hidden)]
pub fn run_list<I: DeserializeOwned, O: Serialize>(
    run: fn(I, Option<Cursor>) -> Result<Page<O>, Error>,
    input: &str,
    cursor: Option<Cursor>,
) -> Result<Answer, Error> {
    let page = run(json::parse_input(input)?, cursor)?;
    Ok(Answer { output: json::to_text(&page.items)?, next: page.next })
}

#[doc(hidden)]
pub fn schemas_of_one<I: JsonSchema, O: JsonSchema>(_: fn(I) -> Result<O, Error>) -> Schemas {
    schemas::<I, O>()
}

#[doc(hidden)]
pub fn schemas_of_list<I: JsonSchema, O: JsonSchema>(_: fn(I, Option<Cursor>) -> Result<Page<O>, Error>) -> Schemas {
    schemas::<I, O>()
}

fn schemas<I: JsonSchema, O: JsonSchema>() -> Schemas {
    let text = |settings: SchemaSettings, add: fn(&mut SchemaGenerator) -> Schema| {
        let mut generator = settings.into_generator();
        let mut schema = add(&mut generator);
        let definitions = generator.take_definitions(true);
        if !definitions.is_empty() {
            schema.insert("$defs".to_owned(), definitions.into());
        }
        schema.as_value().to_string()
    };
    if ARE_CARRIED {
        return Schemas { input: "{}".to_owned(), output: "{}".to_owned() };
    }
    let settings = SchemaSettings::draft2020_12;
    Schemas {
        input: text(settings().for_deserialize(), I::json_schema),
        output: text(settings().for_serialize(), O::json_schema),
    }
}

#[doc(hidden)]
pub fn describe(operations: &[Operation]) -> Vec<wire::Operation> {
    let row = |operation: &Operation| {
        let schemas = (operation.schemas)();
        wire::Operation {
            name: operation.name.to_owned(),
            description: operation.description(),
            input_schema: schemas.input,
            output_schema: schemas.output,
            effect: operation.effect,
            is_list: operation.is_list,
        }
    };
    operations.iter().map(row).collect()
}

#[doc(hidden)]
#[allow(clippy::result_large_err)] // the contract's own record, which crosses the border unboxed
pub fn answer(
    operations: &[Operation],
    name: &str,
    input: &str,
    cursor: Option<String>,
) -> Result<wire::Page, types::Error> {
    let answer = find(operations, name).and_then(|operation| operation.run(input, cursor.map(Cursor::from)));
    answer
        .map(|answer| wire::Page { output: answer.output, next: answer.next.map(String::from) })
        .map_err(Error::into_wire)
}

/// How many letters must change to make one name of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    mod numbers {
        use crate::{Cursor, Error, Page};

        #[derive(serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Input {
            /// Where to stop.
            last: u32,
        }

        pub(super) fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<u32>, Error> {
            let first = cursor.map_or(Ok(0), |cursor| cursor.decode())?;
            Page::new(vec![first], (first < input.last).then_some(&(first + 1)))
        }

        pub(super) fn double(input: Input) -> Result<u32, Error> {
            Ok(input.last * 2)
        }
    }

    crate::operations! {
        /// Numbers,
        /// one a page.
        list "numbers.list" => numbers::list;
        /// Twice the number.
        read "numbers.double" => numbers::double;
    }

    #[test]
    fn a_list_goes_on_where_its_cursor_says() {
        let list = find(OPERATIONS, "numbers.list").unwrap();
        let first = list.run(r#"{"last": 1}"#, None).unwrap();
        assert_eq!((first.output.as_str(), first.next.as_ref().unwrap().as_str()), ("[0]", "numbers.list:1"));
        let second = list.run(r#"{"last": 1}"#, first.next.clone()).unwrap();
        assert_eq!((second.output.as_str(), second.next), ("[1]", None));

        let double = find(OPERATIONS, "numbers.double").unwrap();
        assert_eq!(double.run("{\"last\": 1}", first.next).unwrap_err().kind, ErrorKind::CursorInvalid);
        assert_eq!(list.run("{\"last\": 1}", Some("garbage".into())).unwrap_err().kind, ErrorKind::CursorInvalid);
    }

    #[test]
    fn an_unknown_operation_is_told_its_neighbours() {
        let error = find(OPERATIONS, "number.list").err().unwrap();
        assert_eq!(error.kind, ErrorKind::UnknownOperation);
        assert!(error.message.ends_with("the nearest are numbers.list, numbers.double"), "{error}");
    }

    #[test]
    fn an_input_is_checked_field_by_field() {
        let error = answer(OPERATIONS, "numbers.double", r#"{"last": true}"#, None).unwrap_err();
        assert_eq!(error.message, "/last: expected u32");
    }

    #[test]
    fn describe_names_everything_and_asks_nothing() {
        let rows = describe(OPERATIONS);
        assert_eq!(rows[0].description, "Numbers, one a page.");
        assert!(rows[0].is_list && rows[0].input_schema.contains("Where to stop."));
        assert!(rows[1].output_schema.contains("integer"));
    }
}
