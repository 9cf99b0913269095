//! What stands in a document: its text, and the blocks it is made of.
//!
//! Google adds kinds of elements from time to time. What is not known here has no text, and is passed over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A block of a document.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Block {
    /// The tab it is in.
    tab: String,
    /// `title`, `heading`, `paragraph`, `list-item` or `table`.
    kind: &'static str,
    /// Of a heading 1 to 6; of a list item how deep it is, from 1 on.
    level: Option<u32>,
    /// Its text, without the line's end; of a table nothing.
    text: String,
    /// The cells of a table, row by row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<Vec<String>>,
    /// Where it begins, in UTF-16 units.
    start: u32,
    /// Where it ends.
    end: u32,
}

/// Elements one after the other: a body, a cell, a table of contents.
#[derive(Default, Deserialize)]
pub(crate) struct Content {
    #[serde(default)]
    content: Vec<Element>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Element {
    #[serde(default)]
    start_index: u32,
    #[serde(default)]
    end_index: u32,
    #[serde(default)]
    paragraph: Option<Paragraph>,
    #[serde(default)]
    table: Option<Table>,
    #[serde(default)]
    table_of_contents: Option<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Paragraph {
    #[serde(default)]
    elements: Vec<Part>,
    #[serde(default)]
    paragraph_style: Style,
    #[serde(default)]
    bullet: Option<Bullet>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Style {
    #[serde(default)]
    named_style_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bullet {
    #[serde(default)]
    nesting_level: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    #[serde(default)]
    text_run: Option<TextRun>,
    #[serde(default)]
    person: Option<Person>,
    #[serde(default)]
    rich_link: Option<RichLink>,
}

#[derive(Deserialize)]
struct TextRun {
    #[serde(default)]
    content: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    #[serde(default)]
    person_properties: Named,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RichLink {
    #[serde(default)]
    rich_link_properties: Named,
}

/// A chip: what it is called, or where it leads.
#[derive(Default, Deserialize)]
struct Named {
    #[serde(default, alias = "title")]
    name: Option<String>,
    #[serde(default, alias = "uri")]
    email: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    #[serde(default)]
    table_rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(default)]
    table_cells: Vec<Content>,
}

/// Adds the text of a content.
pub(crate) fn write(content: &Content, text: &mut String) {
    for element in &content.content {
        if let Some(paragraph) = &element.paragraph {
            paragraph.write(text);
        }
        for row in element.table.iter().flat_map(|table| &table.table_rows) {
            let cells: Vec<String> = row.table_cells.iter().map(cell).collect();
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        if let Some(content) = &element.table_of_contents {
            write(content, text);
        }
    }
}

/// Adds the blocks of a content.
pub(crate) fn blocks(content: &Content, tab: &str, blocks: &mut Vec<Block>) {
    for element in &content.content {
        let Element { start_index: start, end_index: end, .. } = *element;
        let mut add = |kind, level, text, rows| {
            blocks.push(Block { tab: tab.to_owned(), kind, level, text, rows, start, end });
        };
        if let Some(paragraph) = &element.paragraph {
            let (kind, level) = paragraph.kind();
            let mut text = String::new();
            paragraph.write(&mut text);
            text.truncate(text.trim_end_matches('\n').len());
            add(kind, level, text, Vec::new());
        }
        if let Some(table) = &element.table {
            let rows = table.table_rows.iter().map(|row| row.table_cells.iter().map(cell).collect());
            add("table", None, String::new(), rows.collect());
        }
    }
}

/// A cell in one line.
fn cell(content: &Content) -> String {
    let mut text = String::new();
    write(content, &mut text);
    text.trim_end_matches('\n').replace('\n', " ")
}

impl Paragraph {
    fn write(&self, text: &mut String) {
        for part in &self.elements {
            let run = part.text_run.as_ref().map(|run| run.content.as_str());
            let chip = || {
                let person = part.person.as_ref().map(|person| &person.person_properties);
                let named = person.or(part.rich_link.as_ref().map(|link| &link.rich_link_properties))?;
                named.name.as_deref().or(named.email.as_deref())
            };
            text.push_str(run.or_else(chip).unwrap_or_default());
        }
    }

    fn kind(&self) -> (&'static str, Option<u32>) {
        if let Some(bullet) = &self.bullet {
            return ("list-item", Some(bullet.nesting_level.saturating_add(1)));
        }
        let style = self.paragraph_style.named_style_type.as_str();
        match style.strip_prefix("HEADING_") {
            Some(level) => ("heading", level.parse().ok()),
            None if style == "TITLE" => ("title", None),
            None => ("paragraph", None),
        }
    }
}
