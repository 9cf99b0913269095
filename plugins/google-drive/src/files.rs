//! What Drive knows about files, without their content.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::http::{Repeat, segment};
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp, log};

use crate::on_file;

/// The fields of a file that are read, as `fields` wants them.
pub(crate) const FIELDS: &str =
    "id,name,mimeType,size,md5Checksum,createdTime,modifiedTime,trashed,parents,driveId,webViewLink,version";

/// Which files.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Only those in this folder: its id, or `root`. Without it, everything this account sees.
    #[serde(default)]
    folder: Option<String>,
    /// Only those of this type, as `application/pdf` or `application/vnd.google-apps.folder`.
    #[serde(default)]
    mime_type: Option<String>,
    /// Only those changed at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Also those in the trash.
    #[serde(default)]
    trashed: bool,
    /// Which come first.
    #[serde(default)]
    order: Order,
    /// The id of a shared drive, to see that drive alone.
    #[serde(default)]
    drive: Option<String>,
    /// How many to a page. Drive may give fewer, even none, and still go on.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// What to look for. What is given must all hold; one of `name`, `text` and `query` must be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchInput {
    /// Words at the beginning of words of the name.
    #[serde(default)]
    name: Option<String>,
    /// Words in name, description, text or pictures. What fits best comes first.
    #[serde(default)]
    text: Option<String>,
    /// An expression in Drive's search language, as `sharedWithMe and starred = true`.
    #[serde(default)]
    query: Option<String>,
    /// Only those of this type, as `application/pdf`.
    #[serde(default)]
    mime_type: Option<String>,
    /// Also those in the trash.
    #[serde(default)]
    trashed: bool,
    /// The id of a shared drive, to search that drive alone.
    #[serde(default)]
    drive: Option<String>,
    /// How many to a page. Drive may give fewer, even none, and still go on.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// Which file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The file's id, as it stands in its address.
    id: String,
}

/// Which file, and which way.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrashInput {
    /// The file's id.
    id: String,
    /// Takes it out of the trash instead.
    #[serde(default)]
    restore: bool,
}

/// Which files come first.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// The last change.
    #[default]
    Newest,
    /// The first change.
    Oldest,
    /// Folders, then by name.
    Name,
}

/// A file or a folder.
#[derive(Serialize, JsonSchema)]
pub(crate) struct File {
    /// Its id.
    pub(crate) id: String,
    /// Its name. Several in one folder may have the same.
    pub(crate) name: Option<String>,
    /// Its type; of Google's own documents `application/vnd.google-apps.…`.
    pub(crate) mime_type: Option<String>,
    /// How many bytes it has; null for folders.
    pub(crate) size_bytes: Option<u64>,
    /// The MD5 of its content; null for Google's own documents.
    pub(crate) md5: Option<String>,
    /// When it was made.
    pub(crate) created: Option<Timestamp>,
    /// The last change of its content.
    pub(crate) modified: Option<Timestamp>,
    /// Whether it is in the trash, or its folder is.
    pub(crate) trashed: bool,
    /// The folder it is in; null where this account does not see it.
    pub(crate) folder: Option<String>,
    /// The shared drive it is on, if it is on one.
    pub(crate) drive: Option<String>,
    /// Where a person opens it.
    pub(crate) link: Option<String>,
    /// Counts every change, also those of its name and folder.
    pub(crate) version: Option<String>,
}

/// A file as Drive writes it: numbers of 64 bits are text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    mime_type: Option<String>,
    #[serde(default)]
    size: Option<String>,
    #[serde(default)]
    md5_checksum: Option<String>,
    #[serde(default)]
    created_time: Option<Timestamp>,
    #[serde(default)]
    modified_time: Option<Timestamp>,
    #[serde(default)]
    trashed: bool,
    #[serde(default)]
    parents: Vec<String>,
    #[serde(default)]
    drive_id: Option<String>,
    #[serde(default)]
    web_view_link: Option<String>,
    #[serde(default)]
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    files: Vec<Record>,
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    incomplete_search: bool,
}

fn limit() -> u32 {
    100
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<File>, Error> {
    let mut query = Query::default();
    query.quoted("", input.folder.as_deref(), " in parents");
    query.quoted("mimeType = ", input.mime_type.as_deref(), "");
    query.quoted("modifiedTime >= ", input.since.map(|since| since.to_string()).as_deref(), "");
    query.untrashed(input.trashed);
    let order = match input.order {
        Order::Newest => "modifiedTime desc",
        Order::Oldest => "modifiedTime",
        Order::Name => "folder,name_natural",
    };
    let at = Opaque::resume(cursor)?;
    let (files, next) = page(&query.0, Some(order), input.drive.as_deref(), input.limit, &at)?;
    Page::new(files, next.as_ref())
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<File>, Error> {
    let mut query = Query::default();
    query.quoted("name contains ", input.name.as_deref(), "");
    query.quoted("fullText contains ", input.text.as_deref(), "");
    if let Some(own) = input.query.as_deref().filter(|own| !own.trim().is_empty()) {
        query.and(&["(", own, ")"]);
    }
    if query.0.is_empty() {
        return Err(Error::invalid_request("", "expected one of `name`, `text` and `query`"));
    }
    query.quoted("mimeType = ", input.mime_type.as_deref(), "");
    query.untrashed(input.trashed);
    let at = Opaque::resume(cursor)?;
    // No order: Drive sorts what has words in its text by how well it fits, and refuses to do otherwise.
    let (files, next) = page(&query.0, None, input.drive.as_deref(), input.limit, &at)?;
    Page::new(files, next.as_ref())
}

pub(crate) fn find(input: FindInput) -> Result<File, Error> {
    let record: Record = request(Request::get, &input.id)?.query("fields", FIELDS).send()?.json()?;
    Ok(record.file())
}

pub(crate) fn trash(input: TrashInput) -> Result<File, Error> {
    let request = request(Request::patch, &input.id)?.query("fields", FIELDS);
    // Twice in the trash is once.
    let request = request.json(&json!({"trashed": !input.restore}))?.repeat(Repeat::Safe);
    let record: Record = request.send()?.json()?;
    Ok(record.file())
}

/// A request for one file.
pub(crate) fn request(method: fn(String) -> Request, id: &str) -> Result<Request, Error> {
    let mut url = "{api}/files/".to_owned();
    url.push_str(&segment("/id", id)?);
    Ok(on_file(method(url)))
}

/// One page of the files for which `query` holds, and where the next begins.
pub(crate) fn page(
    query: &str,
    order: Option<&str>,
    drive: Option<&str>,
    limit: u32,
    at: &Opaque,
) -> Result<(Vec<File>, Option<Opaque>), Error> {
    let request = on_file(Request::get("{api}/files"))
        .query("includeItemsFromAllDrives", "true")
        .query_some("corpora", drive.map(|_| "drive"))
        .query_some("driveId", drive)
        .query("pageSize", limit.clamp(1, 1000))
        .query_some("orderBy", order)
        .query_some("q", (!query.is_empty()).then_some(query))
        .query_some("pageToken", at.mark());
    let mut fields = "nextPageToken,incompleteSearch,files(".to_owned();
    fields.extend([FIELDS, ")"]);
    let listing: Listing = request.query("fields", fields).send()?.json()?;
    if listing.incomplete_search {
        log::warn("Drive did not search all drives: name one with `drive` to see all of it", &[]);
    }
    let next = at.advance(listing.next_page_token.as_deref())?;
    Ok((listing.files.into_iter().map(Record::file).collect(), next))
}

impl Record {
    pub(crate) fn file(self) -> File {
        File {
            id: self.id,
            name: self.name,
            mime_type: self.mime_type,
            size_bytes: self.size.and_then(|size| size.parse().ok()),
            md5: self.md5_checksum,
            created: self.created_time,
            modified: self.modified_time,
            trashed: self.trashed,
            folder: self.parents.into_iter().next(),
            drive: self.drive_id,
            link: self.web_view_link,
            version: self.version,
        }
    }
}

/// Terms of Drive's search language, all of which must hold.
#[derive(Default)]
struct Query(String);

impl Query {
    fn and(&mut self, parts: &[&str]) {
        if !self.0.is_empty() {
            self.0.push_str(" and ");
        }
        self.0.extend(parts.iter().copied());
    }

    /// A term with a value in quotation marks. What would end them is escaped, so that a value stays a value.
    fn quoted(&mut self, before: &str, value: Option<&str>, after: &str) {
        if let Some(value) = value {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            self.and(&[before, "'", &value, "'", after]);
        }
    }

    fn untrashed(&mut self, with_trashed: bool) {
        if !with_trashed {
            self.and(&["trashed = false"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_within_its_quotation_marks() {
        let mut query = Query::default();
        query.quoted("name contains ", Some(r"a' or name contains '\"), "");
        query.untrashed(false);
        assert_eq!(query.0, r"name contains 'a\' or name contains \'\\' and trashed = false");
    }
}
