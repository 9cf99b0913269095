//! Cells, as they are read and written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;

/// A text, a number, a boolean, or null. It is kept as it stands there: a number read into a float would lose digits.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Cell(Box<RawValue>);

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get().as_bytes().first() {
            Some(b'{' | b'[') => Err(D::Error::custom("no cell, expected a text, a number, a boolean or null")),
            _ => Ok(Self(raw)),
        }
    }
}

impl JsonSchema for Cell {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cell".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean", "null"]})
    }
}

impl Cell {
    /// Its text, without quotation marks.
    pub(crate) fn text(&self) -> String {
        wharfage_sdk::json::parse(self.0.get().as_bytes()).unwrap_or_else(|| self.0.get().to_owned())
    }
}

/// A range's cells as Sheets writes them. Empty rows at the end are left out, and so are empty cells at the end of a row.
#[derive(Deserialize)]
pub(crate) struct ValueRange {
    pub(crate) range: String,
    #[serde(default)]
    pub(crate) values: Vec<Vec<Cell>>,
}

impl ValueRange {
    /// The number of its first row: of `Sheet1!B3:D5` 3, and of `Sheet1!A:D` 1.
    pub(crate) fn first_row(&self) -> u64 {
        let cells = self.range.rsplit_once('!').map_or(self.range.as_str(), |(_, cells)| cells);
        let first = cells.split(':').next().unwrap_or_default();
        first.trim_start_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '$').parse().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_stands_in_the_range() {
        for (range, row) in
            [("Sheet1!B3:D5", 3), ("'a!b 7'!A12", 12), ("Sheet1!A:D", 1), ("Sheet1!A1:Z1000", 1), ("C4", 4)]
        {
            assert_eq!(ValueRange { range: range.to_owned(), values: Vec::new() }.first_row(), row, "{range}");
        }
    }

    // What went wrong: amounts became floats (the guide's S27). A cell's number comes out digit by digit.
    #[test]
    fn guide_s27_numbers_of_cells_were_floats() {
        let text = r#"[[90071992547409.93,"0.10",true,null]]"#;
        let cells: Vec<Vec<Cell>> = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&cells).unwrap(), text);
        assert!(serde_json::from_str::<Cell>("[1]").is_err() && serde_json::from_str::<Cell>("{}").is_err());
    }
}
