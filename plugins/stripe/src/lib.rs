//! Stripe: customers, charges, payment intents, invoices, subscriptions, refunds, and what happens to them.
//!
//! What Stripe does its own way has one place here each: nested forms (`fields`), amounts in smallest units (`currency`),
//! refusals (`refused`), objects that grow (`record`), lists that go on after an id (`api`). What happens comes as webhooks,
//! and whatever a webhook missed comes from the list of events, under the same key (`feed`).

mod api;
mod balance;
mod charges;
mod currency;
mod customers;
mod events;
mod feed;
mod fields;
mod inputs;
mod invoices;
mod payment_intents;
mod record;
mod refunds;
mod refused;
mod subscriptions;

pub use feed::handle;

wharfage_sdk::operations! {
    /// What the account holds: what can be paid out and what is on its way, by currency.
    read "balance.get" => balance::find;
    /// Customers, the newest first.
    list "customers.list" => customers::list;
    /// Customers that a query finds, as by name, e-mail or metadata.
    list "customers.search" => customers::search;
    /// One customer by id.
    read "customers.get" => customers::find;
    /// Makes a customer.
    write "customers.create" => customers::create;
    /// Changes what is given of a customer; the rest stays.
    idempotent "customers.update" => customers::update;
    /// Charges, the newest first: attempts to move money, failed ones among them.
    list "charges.list" => charges::list;
    /// Charges that a query finds, as by amount, status or metadata.
    list "charges.search" => charges::search;
    /// One charge by id.
    read "charges.get" => charges::find;
    /// Payment intents, the newest first: payments from the wish to the money.
    list "payment-intents.list" => payment_intents::list;
    /// Payment intents that a query finds, as by amount, status or metadata.
    list "payment-intents.search" => payment_intents::search;
    /// One payment intent by id.
    read "payment-intents.get" => payment_intents::find;
    /// Makes a payment intent; with `confirm`, tries the payment at once.
    write "payment-intents.create" => payment_intents::create;
    /// Tries the payment. A card that is refused is an error; a bank that wants to ask the payer is the status
    /// `requires_action`.
    write "payment-intents.confirm" => payment_intents::confirm;
    /// Gives a payment up that has not succeeded; what was authorized is let go.
    idempotent "payment-intents.cancel" => payment_intents::cancel;
    /// Invoices, the newest first.
    list "invoices.list" => invoices::list;
    /// Invoices that a query finds, as by number, status or metadata.
    list "invoices.search" => invoices::search;
    /// One invoice by id.
    read "invoices.get" => invoices::find;
    /// Drafts an invoice; its lines come from `invoice-items.create`.
    write "invoices.create" => invoices::create;
    /// Makes a draft a document with a number, which cannot be changed any more.
    idempotent "invoices.finalize" => invoices::finalize;
    /// Adds a line to a draft, or to the customer's next invoice.
    write "invoice-items.create" => invoices::create_item;
    /// Subscriptions, the newest first; canceled ones only if asked for.
    list "subscriptions.list" => subscriptions::list;
    /// Subscriptions that a query finds, as by status or metadata.
    list "subscriptions.search" => subscriptions::search;
    /// One subscription by id.
    read "subscriptions.get" => subscriptions::find;
    /// Makes a subscription of a customer to one or several prices.
    write "subscriptions.create" => subscriptions::create;
    /// Ends a subscription now, or with the period that is paid.
    idempotent "subscriptions.cancel" => subscriptions::cancel;
    /// Refunds, the newest first.
    list "refunds.list" => refunds::list;
    /// One refund by id.
    read "refunds.get" => refunds::find;
    /// Gives back what was paid, all of it or a part.
    write "refunds.create" => refunds::create;
    /// What happened in the account during the last 30 days, the newest first.
    list "events.list" => events::list;
    /// One event by id, as long as Stripe keeps it.
    read "events.get" => events::find;
}

wharfage_sdk::plugin!(handle = handle);
