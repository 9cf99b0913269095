//! QuickBooks Online's Accounting API: invoices, customers, payments and items of a company, what changed of them, and
//! its reports.
//!
//! Every path carries the id of the company. It came with the sign-in, the host keeps it, and `{realmId}` stands for it in
//! each URL here. A `Fault` is an error whatever the status says: `plugin.toml` tells the host so, and `api` puts the
//! provider's own sentence into it. Lists are statements of a query language (`select`), changes come by change data
//! capture (`changes`), and what happens is told by webhooks and by a poll (`events`).

mod api;
mod changes;
mod company;
mod customers;
mod events;
mod fields;
mod invoices;
mod items;
mod payments;
mod records;
mod reports;
mod select;

pub use events::handle;

wharfage_sdk::operations! {
    /// The company that this connection is for: one cheap request that says whether all is well.
    read "company.get" => company::find;
    /// Invoices by their last change: newest first to look at, oldest first to keep in step with.
    list "invoices.list" => invoices::list;
    /// One invoice with its lines, by its id.
    read "invoices.get" => invoices::find;
    /// Makes an invoice for a customer. It is not sent to anybody.
    write "invoices.create" => invoices::create;
    /// Customers by their last change; inactive ones only if asked for.
    list "customers.list" => customers::list;
    /// One customer by its id.
    read "customers.get" => customers::find;
    /// Makes a customer, whose name no other customer, vendor or employee may have.
    write "customers.create" => customers::create;
    /// Payments that customers made, by their last change.
    list "payments.list" => payments::list;
    /// One payment by its id, with what it was applied to.
    read "payments.get" => payments::find;
    /// Records a payment by a customer and applies it to invoices. No money is moved.
    write "payments.create" => payments::create;
    /// Products and services by their last change; inactive ones only if asked for.
    list "items.list" => items::list;
    /// One product or service by its id.
    read "items.get" => items::find;
    /// Records of any kind, as QuickBooks writes them, that meet conditions: for kinds that have no operation of their own.
    list "records.search" => records::search;
    /// What was made, changed or deleted since a time within the last 30 days.
    list "changes.list" => changes::list;
    /// A report as rows of text: profit and loss, balance sheet, who owes what, and the others.
    read "reports.get" => reports::find;
}
wharfage_sdk::plugin!(handle = handle);
