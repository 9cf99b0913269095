//! Google Docs, API v1: documents read as text and structure, made, added to, searched and replaced.
//!
//! A document is a tree of tabs, paragraphs and tables; positions in it count UTF-16 units and move with every change. What
//! writes here needs no position: it adds at the end, or replaces what it finds.

mod documents;
mod edits;
mod text;

wharfage_sdk::operations! {
    /// One document with all its tabs: its whole text, and its headings, lists and tables if asked for.
    read "documents.get" => documents::find;
    /// Makes an empty document with a title, at the top of My Drive.
    write "documents.create" => documents::create;
    /// Adds text at the end of a document.
    write "documents.append" => edits::append;
    /// Replaces texts wherever they stand in a document; all of them or none.
    write "documents.replace" => edits::replace;
}

wharfage_sdk::plugin!();
