//! The source of a contract and its ABI, which Etherscan writes as JSON inside a text.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use wharfage_sdk::json::{self, Any};
use wharfage_sdk::{Error, ErrorKind, http::Keep};

use crate::address::Address;
use crate::answer::{Found, Question};
use crate::entries::Entries;
use crate::record::{Name, Of};

wharfage_sdk::input! {
    pub(crate) struct Input {
        /// The contract: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        contract: Address,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
    }
}

/// How to call a contract.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Abi {
    /// The contract, in EIP-55 form.
    contract: String,
    /// The chain's id.
    chainid: u64,
    /// Its functions, events and errors, as the Solidity ABI describes them.
    abi: Vec<Value>,
}

pub(crate) fn abi(input: Input) -> Result<Abi, Error> {
    let found = asked("getabi", &input)?;
    let abi = json::parse::<Vec<Any>>(found.text()?.as_bytes())
        .ok_or_else(|| Error::schema_violation("the ABI is not the JSON list it should be"))?;
    Ok(Abi {
        contract: input.contract.to_string(),
        chainid: input.chainid,
        abi: abi.into_iter().map(|Any(entry)| entry).collect(),
    })
}

fn asked(action: &'static str, input: &Input) -> Result<Found, Error> {
    let question = Question::new(input.chainid, "contract", action).with("address", input.contract).keep(KEPT);
    question.ask_one().map_err(|error| unverified(error, input.contract))
}

/// The source of a contract, as somebody gave it to Etherscan and Etherscan compiled it to the same code.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Source {
    /// The contract, in EIP-55 form.
    contract: String,
    /// The chain's id.
    chainid: u64,
    /// The contract's name in its source.
    name: String,
    /// Its files, by their names.
    #[schemars(with = "BTreeMap<String, String>")]
    files: Entries<String>,
    /// The compiler, as `v0.8.26+commit.8a97fa7a`.
    compiler: String,
    /// Whether the optimizer was on.
    is_optimized: bool,
    /// For how many runs of the code.
    optimizer_runs: Option<u64>,
    /// The version of the virtual machine that it was compiled for.
    evm_version: Option<String>,
    /// The licence, as its author states it.
    license: Option<String>,
    /// What the constructor was given, in hex.
    constructor_arguments: Option<String>,
    /// Whether it passes calls on to another contract.
    is_proxy: bool,
    /// That other contract, in EIP-55 form.
    implementation: Option<String>,
}

pub(crate) fn source(input: Input) -> Result<Source, Error> {
    let rows = asked("getsourcecode", &input)?.rows(Of::Else)?;
    // Without a source the answer is a row with nothing in it.
    let row = rows.first().filter(|row| !row.written(Name::SourceCode).is_empty());
    let row = row.ok_or_else(|| Error::not_found(no_source(input.contract)))?;
    let some = |name| Some(row.written(name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let name = row.written(Name::ContractName).to_owned();
    Ok(Source {
        contract: input.contract.to_string(),
        chainid: input.chainid,
        files: files(row.written(Name::SourceCode), &name)?,
        name,
        compiler: row.written(Name::CompilerVersion).to_owned(),
        is_optimized: row.written(Name::OptimizationUsed) == "1",
        optimizer_runs: row.count_some(Name::Runs)?,
        evm_version: some(Name::EvmVersion),
        license: some(Name::LicenseType),
        constructor_arguments: some(Name::ConstructorArguments),
        is_proxy: row.written(Name::Proxy) == "1",
        implementation: Address::shown(row.written(Name::Implementation)),
    })
}

/// The files of a source: one text without a name; a JSON object of files; or the compiler's whole JSON input, in braces
/// doubled so that it can be told from the object.
fn files(source: &str, name: &str) -> Result<Entries<String>, Error> {
    wharfage_sdk::answer! {
        struct File {
            content: String,
        }
        struct Whole {
            sources: Entries<File>,
        }
    }
    let text = source.trim();
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).filter(|text| text.starts_with('{'));
    let read = match inner {
        Some(inner) => json::parse::<Whole>(inner.as_bytes()).map(|whole| whole.sources),
        None if text.starts_with('{') => json::parse(text.as_bytes()),
        None => return Ok(Entries::one(name.to_owned(), source.to_owned())),
    };
    let files = read.ok_or_else(|| Error::schema_violation("the source is neither a text nor files in JSON"))?;
    Ok(files.map(|file| file.content))
}

fn no_source(contract: Address) -> String {
    format!("the source of {contract} is not verified on Etherscan")
}

fn unverified(mut error: Error, contract: Address) -> Error {
    if error.kind == ErrorKind::ProviderReported && error.message.contains(UNVERIFIED) {
        error.kind = ErrorKind::NotFound;
        error.message = no_source(contract) + ", so there is no ABI of it";
    }
    error
}

/// The code at an address does not change, nor does its ABI; a day and not for ever, because a contract that destroyed
/// itself may be made again with other code.
const KEPT: Keep = Keep::Seconds(86_400);

/// What Etherscan says of a contract without source, and of an account that is no contract.
const UNVERIFIED: &str = "source code not verified";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_three_forms() {
        let one = |files: Result<Entries<String>, Error>| files.unwrap().into_iter().collect::<Vec<_>>();
        let pair = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
        assert_eq!(one(files("contract A {}", "A")), pair("A", "contract A {}"));
        assert_eq!(one(files(r#"{"A.sol": {"content": "contract A {}"}}"#, "A")), pair("A.sol", "contract A {}"));
        let whole =
            r#"{{"language": "Solidity", "sources": {"src/A.sol": {"content": "contract A {}"}}, "settings": {}}}"#;
        assert_eq!(one(files(whole, "A")), pair("src/A.sol", "contract A {}"));
        for broken in ["{", "{{}}", r#"{"A.sol": 7}"#] {
            assert!(files(broken, "A").is_err(), "{broken}");
        }
    }
}
