//! What Example tells of exchange rates.

mod rates {
    use wharfage_sdk::{Error, Request};

    wharfage_sdk::input! {
        /// Which rate.
        pub struct Input {
            /// The currency, as `EUR`.
            currency: String,
        }
    }

    /// An exchange rate.
    #[derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
    pub struct Rate {
        /// Units of it for one US dollar; text, because money is never a float.
        rate: String,
    }

    pub fn find(input: Input) -> Result<Rate, Error> {
        Request::get("{api}/rates").query("currency", input.currency).send()?.json()
    }
}

wharfage_sdk::operations! {
    /// The exchange rate of one currency.
    read "rates.get" => rates::find;
}
wharfage_sdk::plugin!();
