//! Twilio: messages, calls, phone number look-ups, one-time codes, numbers and usage.
//!
//! Two generations of API stand side by side, and each has its one place here: that of 2010, below the account, with dates
//! as in mail and numbers as text (`listing`, `read`), and the newer ones, each with a host of its own (`verifications`,
//! `lookups`). Writes are forms. What Twilio tells by itself is in `webhooks`.

mod account;
mod calls;
mod form;
mod listing;
mod lookups;
mod messages;
mod numbers;
mod read;
mod usage;
mod verifications;
mod webhooks;

pub use webhooks::handle;

wharfage_sdk::operations! {
    /// Sends a message: SMS, MMS, or by a channel such as WhatsApp. Each call sends one more, so do not repeat one whose outcome is unknown before you have looked for it with messages.list.
    write "messages.send" => messages::send;
    /// Messages sent and received, the newest first.
    list "messages.list" => messages::list;
    /// One message by its id, with its text, its price and what became of it.
    read "messages.get" => messages::find;
    /// Makes a call, and does with it what a URL, a piece of TwiML or an application says. Each call of this makes one more.
    write "calls.create" => calls::create;
    /// Calls made and received, the newest first.
    list "calls.list" => calls::list;
    /// One call by its id, with how long it took and what it cost.
    read "calls.get" => calls::find;
    /// Whether a phone number can exist, how it is written, and, where asked for, what more is known of it. Only the packages of `fields` cost money.
    read "numbers.lookup" => lookups::find;
    /// The phone numbers that the account owns, with what each can do and where it sends its webhooks.
    list "numbers.list" => numbers::list;
    /// Sends a one-time code to somebody; sent again within ten minutes, it is the same code.
    write "verifications.create" => verifications::create;
    /// Checks the code that somebody entered: `approved` if it is right, still `pending` if it is not. Five attempts, ten minutes.
    write "verifications.check" => verifications::check;
    /// The verification services of the account: verifications are made in one of them.
    list "verification-services.list" => verifications::services;
    /// What was used and what it costs, by category: in all, or day by day, month by month, year by year.
    list "usage.list" => usage::list;
    /// The account itself: its name, and whether it is active. One cheap request, for a look whether everything works.
    read "account.get" => account::find;
}
wharfage_sdk::plugin!(handle = handle);
