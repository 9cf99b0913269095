//! Documents as a whole: read, and made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, Request};

use crate::text::{self, Block, Content};

/// Which document, and how much of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The document's id, as it stands in its address.
    id: String,
    /// Also its blocks: headings, paragraphs, list items and tables with their places.
    #[serde(default)]
    structure: bool,
}

/// What to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// The title. It is the file's name on Drive too.
    title: String,
}

/// A document.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document {
    /// Its id.
    id: String,
    /// Its title.
    title: Option<String>,
    /// Which state of it this is, for changes that must begin from this one. It is good for a day, and only for who may edit.
    revision: Option<String>,
    /// All its text; cells of a table are parted by tabs, tabs of the document by an empty line.
    text: String,
    /// Its blocks in their order, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<Vec<Block>>,
}

/// A document that was made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Created {
    /// Its id.
    id: String,
    /// Its title.
    title: Option<String>,
    /// Its first state.
    revision: Option<String>,
    /// Where a person opens it.
    link: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    document_id: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    revision_id: Option<String>,
    #[serde(default)]
    tabs: Vec<Tab>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tab {
    #[serde(default)]
    tab_properties: TabProperties,
    #[serde(default)]
    document_tab: DocumentTab,
    #[serde(default)]
    child_tabs: Vec<Tab>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TabProperties {
    #[serde(default)]
    tab_id: String,
}

#[derive(Default, Deserialize)]
struct DocumentTab {
    #[serde(default)]
    body: Content,
}

pub(crate) fn find(input: FindInput) -> Result<Document, Error> {
    let mut url = "{api}/documents/".to_owned();
    url.push_str(&segment("/id", &input.id)?);
    // Without the first, only one tab comes, and nothing says that there are more. The second leaves styles and pictures out.
    let request = Request::get(url)
        .query("includeTabsContent", "true")
        .query("fields", "documentId,title,revisionId,tabs(tabProperties,documentTab/body,childTabs)");
    let record: Record = request.send()?.json()?;
    let mut document = Document {
        id: record.document_id,
        title: record.title,
        revision: record.revision_id,
        text: String::new(),
        blocks: input.structure.then(Vec::new),
    };
    record.tabs.iter().for_each(|tab| add(tab, &mut document));
    Ok(document)
}

pub(crate) fn create(input: CreateInput) -> Result<Created, Error> {
    let request = Request::post("{api}/documents").query("fields", "documentId,title,revisionId");
    let record: Record = request.json(&json!({"title": input.title}))?.send()?.json()?;
    let link = ["https://docs.google.com/document/d/", &record.document_id, "/edit"].concat();
    Ok(Created { id: record.document_id, title: record.title, revision: record.revision_id, link })
}

/// A tab, and then those below it.
fn add(tab: &Tab, document: &mut Document) {
    if !document.text.is_empty() {
        document.text.push('\n');
    }
    let body = &tab.document_tab.body;
    text::write(body, &mut document.text);
    if let Some(blocks) = &mut document.blocks {
        text::blocks(body, &tab.tab_properties.tab_id, blocks);
    }
    tab.child_tabs.iter().for_each(|child| add(child, document));
}
