//! A row of an answer, whatever it tells of, and what comes out of it: beside what a field means stands where it comes from.
//!
//! Etherscan writes nearly everything as a text, now and then as a number, so all rows are read by one piece of code that
//! keeps the texts of the fields it knows. A table says what is made of them, in a few bytes for each field, where two structs
//! for each kind of row would be more code than all the rest of this plugin.

use std::fmt;
use std::rc::Rc;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
pub(crate) use wharfage_sdk::json::Picked;
use wharfage_sdk::json::{self, input};
use wharfage_sdk::{Error, ErrorKind, Response, Timestamp, money};

use crate::address::Address;
use crate::exact;

macro_rules! names {
    ($($name:ident $text:literal,)+) => {
        /// The fields that are known here.
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[allow(clippy::enum_variant_names, reason = "they are called what the provider calls them")]
        pub(crate) enum Name {
            $($name,)+
        }

        const NAMES: &[&str] = &[$($text),+];
    };
}

names! {
    Status "status",
    Message "message",
    Result "result",
    Error "error",
    Code "code",
    Hash "hash",
    TransactionHash "transactionHash",
    BlockNumber "blockNumber",
    TimeStamp "timeStamp",
    Confirmations "confirmations",
    From "from",
    To "to",
    ContractAddress "contractAddress",
    Value "value",
    // ERC-1155 has its own name for it.
    TokenValue "tokenValue",
    IsError "isError",
    ReceiptStatus "txreceipt_status",
    Nonce "nonce",
    TransactionIndex "transactionIndex",
    Gas "gas",
    GasUsed "gasUsed",
    GasPrice "gasPrice",
    MethodId "methodId",
    FunctionName "functionName",
    Input "input",
    TraceId "traceId",
    Type "type",
    ErrCode "errCode",
    LogIndex "logIndex",
    TokenId "tokenID",
    TokenName "tokenName",
    TokenSymbol "tokenSymbol",
    TokenDecimal "tokenDecimal",
    Address "address",
    Topics "topics",
    Data "data",
    Account "account",
    Balance "balance",
    HeldAddress "TokenAddress",
    HeldName "TokenName",
    HeldSymbol "TokenSymbol",
    HeldQuantity "TokenQuantity",
    // The decimals, whatever its name says.
    HeldDivisor "TokenDivisor",
    ChainId "chainid",
    ChainName "chainname",
    Explorer "blockexplorer",
    Comment "comment",
    LastBlock "LastBlock",
    SafeGasPrice "SafeGasPrice",
    ProposeGasPrice "ProposeGasPrice",
    StandardGasPrice "StandardGasPrice",
    FastGasPrice "FastGasPrice",
    BaseFee "suggestBaseFee",
    GasUsedRatio "gasUsedRatio",
    SourceCode "SourceCode",
    ContractName "ContractName",
    CompilerVersion "CompilerVersion",
    OptimizationUsed "OptimizationUsed",
    Runs "Runs",
    ConstructorArguments "ConstructorArguments",
    EvmVersion "EVMVersion",
    LicenseType "LicenseType",
    Proxy "Proxy",
    Implementation "Implementation",
}

/// The fields of an object, one text behind the other. What is null is not there.
#[derive(Default)]
pub(crate) struct Fields {
    text: String,
    /// Which fields these are, whether each is a text or a number, and where it ends.
    ends: Vec<(u8, bool, usize)>,
}

impl Fields {
    /// A text as it reads, or a number by its own text, with every digit.
    pub(crate) fn text(&self, name: Name) -> Option<&str> {
        self.found(name).filter(|(_, is_text)| *is_text).map(|(text, _)| text)
    }

    /// A list, an object or a flag, as JSON.
    pub(crate) fn other(&self, name: Name) -> Option<&str> {
        self.found(name).filter(|(_, is_text)| !*is_text).map(|(text, _)| text)
    }

    fn found(&self, name: Name) -> Option<(&str, bool)> {
        let at = self.ends.iter().position(|(own, ..)| *own == name as u8)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].2);
        let (_, is_text, end) = self.ends[at];
        Some((self.text.get(start..end)?, is_text))
    }

    fn add(&mut self, place: usize, raw: &str) {
        let plain = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|text| !text.contains('\\'));
        let is_text = match (plain, raw.as_bytes()) {
            (_, b"null") => return,
            (Some(plain), _) => {
                self.text.push_str(plain);
                true
            }
            (None, [b'"', ..]) => match json::parse::<String>(raw.as_bytes()) {
                Some(text) => {
                    self.text.push_str(&text);
                    true
                }
                None => false,
            },
            (None, [first, ..]) => {
                self.text.push_str(raw);
                matches!(first, b'-' | b'0'..=b'9')
            }
            (None, []) => false,
        };
        self.ends.push((place as u8, is_text, self.text.len()));
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Fields, A::Error> {
                let (mut read, mut seen) = (Fields::default(), 0);
                loop {
                    match input::next_field(&mut fields, NAMES, true, &mut seen)? {
                        input::END => return Ok(read),
                        place => read.add(place, fields.next_value::<&RawValue>()?.get()),
                    }
                }
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// What the rows of a list are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Transactions,
    /// Steps of transactions. They do not say how many blocks are on top.
    Steps,
    Tokens,
    Logs,
    /// Nothing that lies in a block.
    Else,
}

/// A row.
pub(crate) struct Row {
    response: Rc<Response>,
    /// Its place in a list.
    index: Option<usize>,
    of: Of,
    fields: Fields,
    block: u64,
    /// How many blocks there were on top.
    confirmations: u64,
}

impl Row {
    /// # Errors
    /// `schema-violation` when it does not say which block it is in, and should.
    pub(crate) fn new(response: Rc<Response>, index: Option<usize>, of: Of, fields: Fields) -> Result<Self, Error> {
        let mut row = Self { response, index, of, fields, block: 0, confirmations: 0 };
        if of != Of::Else {
            row.block = row.count(Name::BlockNumber)?;
        }
        if matches!(of, Of::Transactions | Of::Tokens) {
            row.confirmations = row.count(Name::Confirmations)?;
        }
        Ok(row)
    }

    pub(crate) fn block(&self) -> u64 {
        self.block
    }

    pub(crate) fn confirmations(&self) -> u64 {
        self.confirmations
    }

    /// Takes the newest block, where the row does not say how many there were on top.
    pub(crate) fn note_head(&mut self, head: u64) {
        self.confirmations = head.saturating_sub(self.block);
    }

    /// What tells it from the other rows of its block; the same in every answer.
    pub(crate) fn identity(&self) -> String {
        use Name::*;
        let names: &[Name] = match self.of {
            Of::Transactions => &[Hash],
            Of::Steps => &[Hash, TraceId, Type, From, To, ContractAddress, Value],
            Of::Logs => return self.count(LogIndex).map(|index| index.to_string()).unwrap_or_default(),
            // The log index is enough where it is told. One entry of a batch is told as several rows. Where it is not told, two
            // transfers of one transaction may look alike; who reads them counts them.
            _ if self.is_told_by_log() => &[Hash, LogIndex],
            _ => &[Hash, ContractAddress, From, To, Value, TokenId],
        };
        let text = |name: &Name| if *name == Value { self.value().ok() } else { self.fields.text(*name) };
        let parts: Vec<&str> = names.iter().map(|name| text(name).unwrap_or_default()).collect();
        let identity = parts.join(" ");
        if self.of == Of::Tokens { identity.trim_end().to_owned() } else { identity }
    }

    /// Whether no other row of its block can look like it: an account's list has a transaction once, and a step has a place
    /// of its own in its transaction.
    pub(crate) fn is_unlike_others(&self) -> bool {
        match self.of {
            Of::Transactions => true,
            Of::Steps => !self.written(Name::TraceId).is_empty(),
            _ => self.is_told_by_log(),
        }
    }

    fn is_told_by_log(&self) -> bool {
        !self.written(Name::LogIndex).is_empty() && self.written(Name::TokenId).is_empty()
    }

    /// What is written there; the empty text where nothing is.
    pub(crate) fn written(&self, name: Name) -> &str {
        self.fields.text(name).unwrap_or_default()
    }

    /// The same where something must be there, be it empty.
    pub(crate) fn text(&self, name: Name) -> Result<&str, Error> {
        self.fields.text(name).ok_or_else(|| self.misfit(name, "a text"))
    }

    /// A number that counts something: a block, a second, a unit of gas. The log is written in hex.
    pub(crate) fn count(&self, name: Name) -> Result<u64, Error> {
        self.count_some(name)?.ok_or_else(|| self.misfit(name, "a count"))
    }

    /// Likewise; `None` where nothing is written, as for the nonce of a genesis row.
    pub(crate) fn count_some(&self, name: Name) -> Result<Option<u64>, Error> {
        match self.written(name) {
            "" => Ok(None),
            text => exact::count(text).map(Some).ok_or_else(|| self.misfit(name, "a count")),
        }
    }

    /// A whole number of any length, as an amount of wei is.
    pub(crate) fn whole(&self, name: Name) -> Result<&str, Error> {
        let whole = self.fields.text(name).filter(|text| exact::is_whole(text));
        whole.ok_or_else(|| self.misfit(name, "a whole number"))
    }

    /// A number with or without a fraction, as a gas price is.
    pub(crate) fn decimal(&self, name: Name) -> Result<&str, Error> {
        let decimal = self.fields.text(name).filter(|text| exact::is_decimal(text));
        decimal.ok_or_else(|| self.misfit(name, "a decimal number"))
    }

    /// The amount that moved. Of an ERC-721 token there is one.
    fn value(&self) -> Result<&str, Error> {
        match (self.fields.text(Name::Value), self.fields.text(Name::TokenValue)) {
            (Some(_), _) => self.whole(Name::Value),
            (None, Some(_)) => self.whole(Name::TokenValue),
            (None, None) if self.of == Of::Tokens => Ok("1"),
            (None, None) => Err(self.misfit(Name::Value, "a whole number")),
        }
    }

    fn decimals(&self, name: Name) -> Result<Option<u8>, Error> {
        Ok(self.count_some(name)?.and_then(|decimals| u8::try_from(decimals).ok()))
    }

    fn misfit(&self, name: Name, expected: &str) -> Error {
        let index = self.index.map(|index| format!("/{index}")).unwrap_or_default();
        misfit(&self.response, &["/result", &index, "/", NAMES[name as usize]].concat(), expected)
    }

    /// What the table makes of it, as JSON.
    ///
    /// # Errors
    /// `schema-violation` when a field that must be there is not, or is no such thing.
    pub(crate) fn pick(&self, table: &[Field]) -> Result<String, Error> {
        let mut out = String::new();
        self.write(&mut out, table)?;
        Ok(out)
    }

    fn write(&self, out: &mut String, table: &[Field]) -> Result<(), Error> {
        for (index, field) in table.iter().enumerate() {
            out.push_str(if index == 0 { "{\"" } else { ",\"" });
            out.push_str(field.name);
            out.push_str("\":");
            let text = match field.kind {
                Kind::Text(name) => Some(self.text(name)?),
                Kind::Maybe(name) => Some(self.written(name)),
                Kind::Written(name) => Some(self.written(name)).filter(|text| !matches!(*text, "" | "0x")),
                Kind::Whole(name) => Some(self.whole(name)?),
                Kind::Value => Some(self.value()?),
                Kind::Address(name) => {
                    push_some(out, Address::shown(self.text(name)?).as_deref());
                    continue;
                }
                Kind::MaybeAddress(name) => {
                    push_some(out, Address::shown(self.written(name)).as_deref());
                    continue;
                }
                Kind::Receiver => {
                    let to = Address::shown(self.text(Name::To)?);
                    push_some(out, to.or_else(|| Address::shown(self.written(Name::ContractAddress))).as_deref());
                    continue;
                }
                Kind::Ether => {
                    push_some(out, Some(&money::units(self.value()?, 18)?));
                    continue;
                }
                Kind::Amount(value, decimals) => {
                    let value = if value == Name::Value { self.value()? } else { self.whole(value)? };
                    let amount = self.decimals(decimals)?.map(|decimals| money::units(value, decimals)).transpose()?;
                    push_some(out, amount.as_deref());
                    continue;
                }
                Kind::Time => {
                    push_some(out, Some(&time(self.count(Name::TimeStamp)?).to_string()));
                    continue;
                }
                Kind::Topics => {
                    let topics: Option<Vec<String>> =
                        self.fields.other(Name::Topics).and_then(|topics| json::parse(topics.as_bytes()));
                    let topics = topics.ok_or_else(|| self.misfit(Name::Topics, "a list of texts"))?;
                    for (index, topic) in topics.iter().enumerate() {
                        out.push(if index == 0 { '[' } else { ',' });
                        push_some(out, Some(topic));
                    }
                    out.push_str(if topics.is_empty() { "[]" } else { "]" });
                    continue;
                }
                Kind::Health => Some(match self.text(Name::Status)? {
                    // "Available Status codes are (0)=Offline, (1)=Ok, (2)=Degraded", says the answer itself.
                    "0" => "offline",
                    "1" => "ok",
                    "2" => "degraded",
                    _ => "unknown",
                }),
                Kind::Record(table) => {
                    self.write(out, table)?;
                    continue;
                }
                Kind::Nothing => None,
                Kind::Failed => {
                    // Before the fork of October 2017 receipts had no status: then only `isError` tells.
                    let has_failed = self.written(Name::IsError) == "1" || self.written(Name::ReceiptStatus) == "0";
                    out.push_str(if has_failed { "true" } else { "false" });
                    continue;
                }
                Kind::Final => {
                    out.push_str(if crate::is_final(self.confirmations) { "true" } else { "false" });
                    continue;
                }
                Kind::Confirmations => {
                    push_count(out, Some(self.confirmations));
                    continue;
                }
                Kind::Count(name) => {
                    push_count(out, Some(self.count(name)?));
                    continue;
                }
                Kind::MaybeCount(name) => {
                    push_count(out, self.count_some(name)?);
                    continue;
                }
                Kind::Decimals(name) => {
                    push_count(out, self.decimals(name)?.map(u64::from));
                    continue;
                }
            };
            push_some(out, text);
        }
        out.push('}');
        Ok(())
    }
}

/// What is in the answer is another thing than what is read there. It repeats nothing of the answer.
pub(crate) fn misfit(response: &Response, place: &str, expected: &str) -> Error {
    let message = ["the answer has another shape at ", place, ": expected ", expected].concat();
    response.error(ErrorKind::SchemaViolation, message)
}

/// The time of a block, which is told in seconds since 1970.
fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix_s(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Adds a text as JSON.
pub(crate) fn push_some(out: &mut String, text: Option<&str>) {
    match text {
        None => out.push_str("null"),
        Some(text) if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') => {
            out.push('"');
            out.push_str(text);
            out.push('"');
        }
        Some(text) => out.push_str(&serde_json::to_string(text).unwrap_or_default()),
    }
}

fn push_count(out: &mut String, count: Option<u64>) {
    match count {
        None => out.push_str("null"),
        Some(count) => out.push_str(&count.to_string()),
    }
}

/// A field of what comes out.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What a field is made of.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// What must be written, be it empty.
    Text(Name),
    /// What need not be written: then it is empty.
    Maybe(Name),
    /// What is nothing where nothing is written; `0x` is nothing in hex.
    Written(Name),
    /// An address in EIP-55 form; nothing where it is empty.
    Address(Name),
    MaybeAddress(Name),
    /// Who got it, or the contract that was made.
    Receiver,
    Count(Name),
    MaybeCount(Name),
    Decimals(Name),
    Confirmations,
    /// Whether enough blocks are on top.
    Final,
    Time,
    Whole(Name),
    /// The amount that moved, in the smallest unit.
    Value,
    /// The same in coins.
    Ether,
    /// An amount in tokens of so many decimals; nothing where these are not told.
    Amount(Name, Name),
    Failed,
    Topics,
    Health,
    Record(&'static [Field]),
    Nothing,
}

/// What comes out: a type that is there for its schema, and its table.
pub(crate) trait Table: JsonSchema {
    const FIELDS: &'static [Field];
}

/// Makes a table of fields: `field: type = what it is made of`.
macro_rules! record {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $kind:expr,)+
    }) => {
        $(#[doc = $about])+
        #[derive(schemars::JsonSchema)]
        #[allow(dead_code)] // it is there for its schema
        pub(crate) struct $name {
            $($(#[doc = $doc])+ $field: $type,)+
        }

        impl $crate::record::Table for $name {
            const FIELDS: &'static [$crate::record::Field] = {
                use $crate::record::{Field, Kind::*, Name};
                &[$(Field { name: stringify!($field), kind: $kind }),+]
            };
        }
    };
}
pub(crate) use record;

/// Picks of every row.
///
/// # Errors
/// As [`Row::pick`].
pub(crate) fn pick_all<T: Table>(rows: &[Row]) -> Result<Vec<Picked<T>>, Error> {
    let texts = texts(rows, T::FIELDS)?;
    Ok(texts.into_iter().map(Picked::new).collect())
}

/// It stands once for all tables.
fn texts(rows: &[Row], table: &[Field]) -> Result<Vec<Box<RawValue>>, Error> {
    let text = |row: &Row| json::raw(row.pick(table)?).ok_or_else(|| Error::internal("a row has no JSON form"));
    rows.iter().map(text).collect()
}
