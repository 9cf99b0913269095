//! Inputs that several operations share, and what makes the others alike.

use crate::api::{LIMIT_MAX, Paging};

wharfage_sdk::input! {
    /// One object by its id.
    pub(crate) struct FindInput {
        /// Its id at Stripe, as `cus_…`, `pi_…` or `in_…`.
        pub(crate) id: String,
        /// The connected account whose it is, as `acct_…`; without it, the key's own account.
        #[serde(default)]
        pub(crate) account: Option<String>,
        /// Also the whole object as Stripe wrote it; it may hold names, addresses and what completes a payment.
        #[serde(default)]
        pub(crate) raw: bool,
    }
}

wharfage_sdk::input! {
    /// What a query finds.
    pub(crate) struct SearchInput {
        /// The query in Stripe's search language, as `email:"jane@example.com"` or `status:"succeeded" AND amount>1000`;
        /// amounts in it are in the currency's smallest unit. What was written a minute ago may not be found yet.
        query: String,
        /// How many to a page.
        #[schemars(range(min = 1, max = 100))]
        limit: u32 = LIMIT_MAX,
        /// The connected account whose it is, as `acct_…`; without it, the key's own account.
        #[serde(default)]
        account: Option<String>,
        /// Also each object as Stripe wrote it; it may hold names, addresses and what completes a payment.
        #[serde(default)]
        raw: bool,
    }
}

impl SearchInput {
    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    pub(crate) fn paging(&self) -> Paging<'_> {
        Paging { limit: self.limit, since: None, before: None, account: self.account.as_deref(), raw: self.raw }
    }
}

/// The input of a list: its own filters, and what all lists have.
macro_rules! list_input {
    ($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $about:literal])+ $(#[schemars($($schemars:tt)+)])? $field:ident: $type:ty,)*
    }) => {
        wharfage_sdk::input! {
            $(#[doc = $doc])+
            pub(crate) struct $name {
                $(
                    $(#[doc = $about])+
                    #[serde(default)]
                    $(#[schemars($($schemars)+)])?
                    $field: $type,
                )*
                /// Only what was made at or after this time.
                #[serde(default)]
                since: Option<wharfage_sdk::Timestamp>,
                /// Only what was made before this time.
                #[serde(default)]
                before: Option<wharfage_sdk::Timestamp>,
                /// How many to a page.
                #[schemars(range(min = 1, max = 100))]
                limit: u32 = crate::api::LIMIT_MAX,
                /// The connected account whose they are, as `acct_…`; without it, the key's own account.
                #[serde(default)]
                account: Option<String>,
                /// Also each object as Stripe wrote it; it may hold names, addresses and what completes a payment.
                #[serde(default)]
                raw: bool,
            }
        }

        impl $name {
            fn paging(&self) -> crate::api::Paging<'_> {
                crate::api::Paging {
                    limit: self.limit,
                    since: self.since,
                    before: self.before,
                    account: self.account.as_deref(),
                    raw: self.raw,
                }
            }
        }
    };
}

/// An input that is one of some words, which Stripe takes as they are.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $about:literal])+ $case:ident $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, schemars::JsonSchema)]
        #[allow(clippy::enum_variant_names)] // they are Stripe's words
        enum $name {
            $($(#[doc = $about])+ #[serde(rename = $word)] $case,)+
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                const CASES: &[$name] = &[$($name::$case),+];
                wharfage_sdk::json::input::word(deserializer, &[$($word),+]).map(|place| CASES[place])
            }
        }

        impl $name {
            fn word(self) -> &'static str {
                match self {
                    $(Self::$case => $word,)+
                }
            }
        }
    };
}

pub(crate) use {list_input, words};
