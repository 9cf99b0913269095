//! What went wrong in the guide's own client, one test each, by the numbers of the list of its defects.

use serde_json::{Value, json};
use wharfage_etherscan::OPERATIONS;
use wharfage_sdk::testing;

const MANIFEST: &str = include_str!("../plugin.toml");
const ME: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const YOU: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";

/// The empty account made the client fail: it looked for "No transactions found" in `result`, which is a list then,
/// while the text is in `message`. Whatever `result` is, this is an empty list.
#[test]
fn guide_s06_an_empty_result_is_an_empty_list() {
    for result in [json!([]), json!(""), Value::Null] {
        for (operation, action) in [("transactions.list", "txlist"), ("token-transfers.list", "tokentx")] {
            let url = format!(
                "{{api}}/api?chainid=1&module=account&action={action}&address={ME}\
                 &startblock=0&page=1&offset=100&sort=desc"
            );
            let answer = json!({"status": "0", "message": "No transactions found", "result": result});
            replay(
                operation,
                json!({"address": ME}),
                json!([exchange(&url, answer)]),
                json!({"output": [], "pages": 1}),
            );
        }
    }
}

/// The client made whole numbers of the gas prices and failed on the first quiet night, when gas cost less than a
/// gwei. The base fee was read as a float. Each is the text that was sent, and a JSON number counts by its text too.
#[test]
fn guide_s13_gas_prices_have_fractions() {
    let url = "{api}/api?chainid=1&module=gastracker&action=gasoracle";
    let answer = json!({"status": "1", "message": "OK", "result": {
        "LastBlock": "24000012", "SafeGasPrice": "0.100000000000000005", "ProposeGasPrice": "0.118309847",
        "FastGasPrice": 2, "suggestBaseFee": "0.099999999999999999", "gasUsedRatio": "0.5",
    }});
    let expect = json!({"output": {
        "chainid": 1, "last_block": 24_000_012, "safe_gwei": "0.100000000000000005", "standard_gwei": "0.118309847",
        "fast_gwei": "2", "base_fee_gwei": "0.099999999999999999", "gas_used_ratios": ["0.5"],
    }});
    replay("gas.get", json!({}), json!([exchange(url, answer)]), expect);
}

/// Token transfers were asked once, without a page: who had more than one answer holds lost the rest, and nobody was
/// told. Here there are more than Etherscan's window of 10,000 holds, and it ends inside a block; each comes once.
#[test]
fn guide_s42_token_transfers_have_pages() {
    let newest_first: Vec<Value> = (0..10_502).rev().map(transfer).collect();
    let exchanges = exchanges_of(&newest_first);
    assert_eq!(exchanges.len(), 11, "a whole window, and the rest with what came again");
    let output: Vec<Value> = newest_first.iter().map(transferred).collect();
    let expect = json!({"output": output, "pages": exchanges.len()});
    replay("token-transfers.list", json!({"address": ME, "limit": 1000}), json!(exchanges), expect);
}

/// Every HTTP 200 with status 0 was a permanent error, the limits among them, so nobody ever waited for one. What can
/// be waited for is told to the host by the manifest; what somebody must change is not repeated; words beside good
/// data are no error.
#[test]
fn guide_s43_a_status_of_0_is_not_always_permanent() {
    let url = format!("{{api}}/api?chainid=1&module=account&action=balance&address={ME}&tag=latest");
    let good = |message: &str| json!({"status": "1", "message": message, "result": "7"});
    let bad = |result: &str| json!({"status": "0", "message": "NOTOK", "result": result});
    let balance = json!({"output": {"address": ME, "chainid": 1, "wei": "7", "ether": "0.000000000000000007"}});
    let ask = |answers: Vec<Value>, expect: Value| {
        let exchanges: Vec<Value> = answers.into_iter().map(|answer| exchange(&url, answer)).collect();
        replay("balances.get", json!({"address": ME}), json!(exchanges), expect);
    };

    for passes in [
        "Max rate limit reached, please use API Key for higher rate limit",
        "Max calls per sec rate limit reached (3/sec)",
        "Max rate limit reached",
        "Query Timeout occured. Please select a smaller result dataset",
    ] {
        ask(vec![bad(passes), good("OK")], balance.clone());
    }
    for (stays, kind) in [
        ("Max daily rate limit reached. 100000 (100%) of 100000 day/limit", "quota-exhausted"),
        ("Invalid API Key", "unauthorized"),
        ("Too many invalid api key attempts, please try again later", "unauthorized"),
        ("Free API access is not supported for this chain.", "forbidden"),
        ("Error! Missing Or invalid Action name", "provider-reported"),
    ] {
        ask(vec![bad(stays)], json!({"error": {"kind": kind}}));
    }
    ask(vec![good("OK-Missing/Invalid API Key, rate limit of 1/5sec applied")], balance);

    let url = format!("{{api}}/api?chainid=1&module=contract&action=getabi&address={ME}");
    let abi = json!([{"type": "error", "name": "Max rate limit reached, Invalid API Key, Query Timeout"}]);
    let answer = json!({"status": "1", "message": "OK", "result": abi.to_string()});
    let expect = json!({"output": {"contract": ME, "chainid": 1, "abi": abi}});
    replay("contracts.abi", json!({"contract": ME}), json!([exchange(&url, answer)]), expect);
}

/// A limit that never ends is an error after some tries, and one that may be tried again later.
#[test]
fn guide_s21_a_limit_is_not_waited_for_without_end() {
    let url = format!("{{api}}/api?chainid=1&module=account&action=balance&address={ME}&tag=latest");
    let limited = json!({"status": "0", "message": "NOTOK", "result": "Max rate limit reached"});
    let exchanges: Vec<Value> = (0..5).map(|_| exchange(&url, limited.clone())).collect();
    replay(
        "balances.get",
        json!({"address": ME}),
        json!(exchanges),
        json!({"error": {"kind": "rate-limited", "status": 200}}),
    );
}

/// What Etherscan is asked for these rows, newest first, and what it answers: written down here on its own.
fn exchanges_of(rows: &[Value]) -> Vec<Value> {
    let (mut end, mut exchanges) = (None, Vec::new());
    loop {
        let window: Vec<&Value> = rows.iter().filter(|row| end.is_none_or(|end| block(row) <= end)).collect();
        for (page, rows) in (1..=10).zip(window.chunks(1000)) {
            let newest = window.first().map(|row| block(row)).filter(|_| page > 1);
            let end = end.or(newest).map_or(String::new(), |end| format!("&endblock={end}"));
            let url = format!(
                "{{api}}/api?chainid=1&module=account&action=tokentx&address={ME}\
                 &startblock=0{end}&page={page}&offset=1000&sort=desc"
            );
            exchanges.push(exchange(&url, json!({"status": "1", "message": "OK", "result": rows})));
            if rows.len() < 1000 {
                return exchanges;
            }
        }
        end = window.get(9_999).map(|row| block(row));
    }
}

fn transfer(number: u64) -> Value {
    json!({
        "blockNumber": (1_000 + number / 3).to_string(), "timeStamp": "1764000000", "hash": format!("0x{number:064x}"),
        "from": ME, "to": YOU, "contractAddress": YOU, "value": "1", "tokenName": "T", "tokenSymbol": "T",
        "tokenDecimal": "0", "gasUsed": "21000", "gasPrice": "1", "confirmations": "1",
    })
}

/// A transfer as the plugin answers it.
fn transferred(row: &Value) -> Value {
    json!({
        "hash": row["hash"], "log_index": null, "block_number": block(row), "time": "2025-11-24T16:00:00Z",
        "confirmations": 1, "is_final": false, "from": ME, "to": YOU, "contract": YOU, "token_name": "T",
        "token_symbol": "T", "decimals": 0, "raw": "1", "amount": "1", "transaction_index": null, "gas_used": 21000,
        "gas_price_wei": "1",
    })
}

fn block(row: &Value) -> u64 {
    row["blockNumber"].as_str().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn exchange(url: &str, answer: Value) -> Value {
    json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}})
}

fn replay(operation: &str, input: Value, exchanges: Value, expect: Value) {
    let fixture = json!({
        "operation": operation, "input": input, "from": "from-docs",
        "source": "https://docs.etherscan.io", "date": "2026-11-22",
        "exchanges": exchanges, "expect": expect,
    });
    testing::replay(MANIFEST, OPERATIONS, &fixture.to_string());
}
