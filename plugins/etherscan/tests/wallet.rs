//! The wallet monitor: what the guide's own forgot, lost or took for something else, and what it does about it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharfage_etherscan::handle;
use wharfage_sdk::events::{Event, Outcome, Poll, Start, Trigger};
use wharfage_sdk::{Error, ErrorKind, testing};

const MANIFEST: &str = include_str!("../plugin.toml");
const ME: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const YOU: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
const TOKEN: &str = "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB";
/// Rows that are asked for at once.
const ROWS: usize = 200;

/// A chain: its rows by list, oldest first, and its newest block.
#[derive(Default)]
struct Chain {
    coins: Vec<Value>,
    tokens: Vec<Value>,
    head: u64,
}

impl Chain {
    fn list(&self, action: &str) -> Vec<Value> {
        let rows = if action == "txlist" { &self.coins } else { &self.tokens };
        let there = rows.iter().filter(|row| block(row) <= self.head);
        let with_confirmations = |row: &Value| {
            let mut row = row.clone();
            row["confirmations"] = (self.head - block(&row)).to_string().into();
            row
        };
        there.map(with_confirmations).collect()
    }

    /// What Etherscan is asked for a page of a list, oldest first, and what it answers.
    fn page(&self, action: &str, start: u64, page: usize) -> Value {
        let rows: Vec<Value> = self.list(action).into_iter().filter(|row| block(row) >= start).collect();
        let rows: Vec<Value> = rows.into_iter().skip((page - 1) * ROWS).take(ROWS).collect();
        exchange(&format!("{action}&address={ME}&startblock={start}&page={page}&offset={ROWS}&sort=asc"), &rows)
    }

    fn newest(&self) -> Value {
        let url = "{api}/api?chainid=1&module=proxy&action=eth_blockNumber";
        let answer = json!({"jsonrpc": "2.0", "id": 1, "result": format!("{:#x}", self.head)});
        json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}})
    }
}

fn exchange(query: &str, rows: &[Value]) -> Value {
    let answer = match rows {
        [] => json!({"status": "0", "message": "No transactions found", "result": []}),
        rows => json!({"status": "1", "message": "OK", "result": rows}),
    };
    let url = format!("{{api}}/api?chainid=1&module=account&action={query}");
    json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}})
}

fn coin(block: u64, name: &str, from: &str, to: &str, wei: &str) -> Value {
    json!({
        "blockNumber": block.to_string(), "timeStamp": "1764000000", "hash": name, "from": from.to_lowercase(),
        "to": to.to_lowercase(), "value": wei, "gas": "21000", "gasUsed": "21000", "gasPrice": "1", "isError": "0",
    })
}

fn token(block: u64, name: &str, from: &str, to: &str, raw: &str) -> Value {
    json!({
        "blockNumber": block.to_string(), "timeStamp": "1764000000", "hash": name, "from": from.to_lowercase(),
        "to": to.to_lowercase(), "contractAddress": TOKEN.to_lowercase(), "value": raw, "tokenName": "Test",
        "tokenSymbol": "TST", "tokenDecimal": "6", "gasUsed": "21000", "gasPrice": "1",
    })
}

fn block(row: &Value) -> u64 {
    row["blockNumber"].as_str().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn poll(input: Value, start: Start, cursor: Option<String>, exchanges: Vec<Value>) -> Result<Outcome, Error> {
    let poll = Poll { name: "wallet".into(), input: input.to_string(), start };
    let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
    testing::handle(MANIFEST, handle, event, &Value::from(exchanges).to_string())
}

/// Only coins and ERC-20 tokens, where a test is about neither of the other lists.
fn me() -> Value {
    json!({"addresses": [ME], "internal": false, "nfts": false})
}

/// What the outcome emits, by key, as the host keeps it: a key that is known is not emitted again.
fn keep(outbox: &mut BTreeMap<String, Value>, outcome: Outcome) -> Option<String> {
    for emission in outcome.emit {
        outbox.entry(emission.key).or_insert(emission.data);
    }
    outcome.cursor
}

fn names(outbox: &BTreeMap<String, Value>) -> Vec<&str> {
    let mut names: Vec<&str> = outbox.values().filter_map(|data| data["hash"].as_str()).collect();
    names.sort_unstable();
    names
}

/// The monitor's first run told the ten newest transactions of years ago as news.
#[test]
fn guide_s26_a_first_run_from_now_on_reports_no_history() {
    let mut chain = Chain { coins: vec![coin(900, "0x01", YOU, ME, "1")], head: 1_000, ..Chain::default() };
    let outcome = poll(me(), Start::FromNow, None, vec![chain.newest()]).unwrap();
    assert_eq!((outcome.emit.len(), outcome.more), (0, false));

    chain.coins.push(coin(1_001, "0x02", YOU, ME, "2"));
    chain.head = 1_013;
    let exchanges = vec![chain.page("txlist", 1_001, 1), chain.page("tokentx", 1_001, 1)];
    let outcome = poll(me(), Start::FromNow, outcome.cursor, exchanges).unwrap();
    assert_eq!(outcome.emit.len(), 1);
    assert_eq!(outcome.emit[0].data["hash"], "0x02");
}

/// The monitor took a transfer to oneself for income only, and its values were floats.
#[test]
fn guide_s26_a_transfer_has_its_direction_and_its_exact_value() {
    let chain = Chain {
        coins: vec![
            coin(100, "0x01", YOU, ME, "610538078574759898951277"),
            coin(101, "0x02", ME, YOU, "1"),
            coin(102, "0x03", ME, ME, "0"),
            coin(103, "0x04", ME, "", "5"),
        ],
        head: 1_000,
        ..Chain::default()
    };
    let exchanges = vec![chain.page("txlist", 0, 1), chain.page("tokentx", 0, 1)];
    let outcome = poll(me(), Start::All, None, exchanges).unwrap();
    let said: Vec<_> = outcome.emit.iter().map(|e| (&e.data["direction"], &e.data["raw"], &e.data["amount"])).collect();
    let expected = [
        ("in", "610538078574759898951277", "610538.078574759898951277"),
        ("out", "1", "0.000000000000000001"),
        ("self", "0", "0"),
        ("out", "5", "0.000000000000000005"),
    ];
    for ((direction, raw, amount), expected) in said.into_iter().zip(expected) {
        assert_eq!((direction, raw, amount), (&json!(expected.0), &json!(expected.1), &json!(expected.2)));
    }
    assert_eq!(
        outcome.emit[0].data,
        json!({
            "chainid": 1, "address": ME, "direction": "in", "kind": "coin", "hash": "0x01", "log_index": null, "block_number": 100,
            "time": "2025-11-24T16:00:00Z", "confirmations": 900, "from": YOU, "to": ME, "token": null,
            "raw": "610538078574759898951277", "amount": "610538.078574759898951277", "has_failed": false,
        })
    );
}

/// The monitor promised token transfers and never asked for them.
#[test]
fn guide_s26_tokens_count_too() {
    let chain = Chain { tokens: vec![token(100, "0x0a", YOU, ME, "2500001")], head: 1_000, ..Chain::default() };
    let exchanges = vec![chain.page("txlist", 0, 1), chain.page("tokentx", 0, 1)];
    let outcome = poll(me(), Start::All, None, exchanges).unwrap();
    let data = &outcome.emit[0].data;
    assert_eq!(
        (&data["direction"], &data["raw"], &data["amount"]),
        (&json!("in"), &json!("2500001"), &json!("2.500001"))
    );
    assert_eq!(data["token"], json!({"contract": TOKEN, "id": null, "name": "Test", "symbol": "TST", "decimals": 6}));
    // Who does not want them does not pay for them.
    let without = json!({"addresses": [ME], "tokens": false, "internal": false, "nfts": false});
    let outcome = poll(without, Start::All, None, vec![chain.page("txlist", 0, 1)]).unwrap();
    assert!(outcome.emit.is_empty());
}

/// The monitor told of transactions that a reorganisation of the chain took away again.
#[test]
fn guide_s26_nothing_counts_before_twelve_confirmations() {
    let mut chain = Chain { coins: vec![coin(100, "0x01", YOU, ME, "1")], ..Chain::default() };
    let mut cursor = None;
    for (head, emitted) in [(100, 0), (111, 0), (112, 1)] {
        chain.head = head;
        let exchanges = vec![chain.page("txlist", 0, 1), chain.page("tokentx", 0, 1)];
        let outcome = poll(me(), Start::All, cursor, exchanges).unwrap();
        assert_eq!(outcome.emit.len(), emitted, "block {head}");
        cursor = outcome.cursor;
    }
    chain.head = 100;
    let exchanges = vec![chain.page("txlist", 0, 1)];
    let at_once = json!({"addresses": [ME], "tokens": false, "internal": false, "nfts": false, "confirmations": 0});
    assert_eq!(poll(at_once, Start::All, None, exchanges).unwrap().emit.len(), 1, "who wants to know early may");
}

/// The monitor looked at ten transactions a run and lost the rest. Here a burst is read page by page, through a block that
/// lies across pages; the last block is read again with the next run, and what looks alike stays two.
#[test]
fn guide_s26_a_burst_loses_nothing() {
    let mut chain = Chain { head: 263, ..Chain::default() };
    // Block 101 has 300 rows, more than a page, and each transaction in it moves the same twice.
    chain.tokens.push(token(100, "0x0000", YOU, ME, "7"));
    for number in 0..300 {
        chain.tokens.push(token(101, &format!("0x{:04}", 1 + number / 2), YOU, ME, "7"));
    }
    for number in 0..150 {
        chain.tokens.push(token(102 + number, &format!("0x{:04}", 200 + number), YOU, ME, "7"));
    }
    let mut outbox = BTreeMap::new();
    // One call takes pages until it has enough to keep.
    let exchanges = vec![
        chain.page("txlist", 0, 1),
        chain.page("tokentx", 0, 1),
        chain.page("tokentx", 0, 2),
        chain.page("tokentx", 0, 3),
    ];
    let outcome = poll(me(), Start::All, None, exchanges).unwrap();
    assert!(!outcome.more);
    let cursor = keep(&mut outbox, outcome);
    assert_eq!(outbox.len(), 451);
    // Another row of it comes to light.
    chain.tokens.push(token(251, "0x0900", YOU, ME, "7"));
    let exchanges = vec![chain.page("txlist", 0, 1), chain.page("tokentx", 251, 1)];
    let outcome = poll(me(), Start::All, cursor, exchanges).unwrap();
    assert_eq!(outcome.emit.len(), 2, "the last block is read again");
    keep(&mut outbox, outcome);
    assert_eq!(outbox.len(), 452);
    assert_eq!(names(&outbox).len(), 452);
}

/// A long history is handed back in portions, each kept with its cursor; a run that is cut off anywhere goes on there.
#[test]
fn a_long_history_comes_in_portions() {
    let coins = (0..1_500).map(|n| coin(100 + n, &format!("0x{n:04}"), YOU, ME, "1")).collect();
    let chain = Chain { coins, head: 5_000, ..Chain::default() };
    let mut outbox = BTreeMap::new();
    let input = json!({"addresses": [ME], "tokens": false, "internal": false, "nfts": false});
    let (mut cursor, mut next, mut portions) = (None, 1, Vec::new());
    loop {
        let pages = (next..next + 3).filter(|page| *page <= 8).map(|page| chain.page("txlist", 0, page)).collect();
        let outcome = poll(input.clone(), Start::All, cursor, pages).unwrap();
        let more = outcome.more;
        portions.push(outcome.emit.len());
        cursor = keep(&mut outbox, outcome);
        next += 3;
        if !more {
            break;
        }
    }
    assert_eq!((portions, outbox.len()), (vec![600, 600, 300], 1_500));
}

#[test]
fn a_backfill_begins_with_so_many_of_the_newest() {
    let coins: Vec<Value> = (0..10).map(|n| coin(100 + n, &format!("0x{n}"), YOU, ME, "1")).collect();
    let chain = Chain { coins, head: 1_000, ..Chain::default() };
    let newest = |action: &str, rows: usize| {
        let mut rows_there = chain.list(action);
        rows_there.reverse();
        rows_there.truncate(rows);
        exchange(&format!("{action}&address={ME}&page=1&offset={rows}&sort=desc"), &rows_there)
    };
    let exchanges =
        vec![newest("txlist", 3), chain.page("txlist", 107, 1), newest("tokentx", 3), chain.page("tokentx", 0, 1)];
    let outcome = poll(me(), Start::Backfill(3), None, exchanges).unwrap();
    let seen: Vec<&Value> = outcome.emit.iter().map(|emission| &emission.data["hash"]).collect();
    assert_eq!(seen, ["0x7", "0x8", "0x9"]);
}

/// An account that is added later begins as the first ones did, and one that is taken away is forgotten.
#[test]
fn accounts_may_come_and_go() {
    let chain = Chain { coins: vec![coin(100, "0x01", YOU, ME, "1")], head: 1_000, ..Chain::default() };
    let coins = |addresses: &[&str]| json!({"addresses": addresses, "tokens": false, "internal": false, "nfts": false});
    let first = poll(coins(&[ME]), Start::All, None, vec![chain.page("txlist", 0, 1)]).unwrap();
    let both = vec![chain.page("txlist", 101, 1), chain.newest()];
    let outcome = poll(coins(&[ME, YOU]), Start::FromNow, first.cursor, both).unwrap();
    assert!(outcome.emit.is_empty());
    let cursor = outcome.cursor.unwrap();
    assert!(cursor.contains("1001") && cursor.contains(YOU), "{cursor}");
    let one = poll(coins(&[ME]), Start::FromNow, Some(cursor), vec![chain.page("txlist", 101, 1)]).unwrap();
    assert!(!one.cursor.unwrap().contains(YOU));
}

/// The host knows a name for a month. The last transfer of an account that is quiet for longer is not told again.
#[test]
fn what_is_settled_is_not_told_again() {
    let mut chain = Chain { coins: vec![coin(100, "0x01", YOU, ME, "1")], ..Chain::default() };
    let input = json!({"addresses": [ME], "tokens": false, "internal": false, "nfts": false});
    let mut cursor = None;
    for (head, start, emitted) in [(112, 0, 1), (150, 100, 1), (212, 100, 1), (213, 101, 0), (9_999_999, 101, 0)] {
        chain.head = head;
        let exchanges = vec![chain.page("txlist", start, 1)];
        let outcome = poll(input.clone(), Start::All, cursor, exchanges).unwrap();
        assert_eq!(outcome.emit.len(), emitted, "block {head}");
        cursor = outcome.cursor;
    }
}

#[test]
fn a_quiet_run_leaves_the_cursor_as_it_was() {
    let chain = Chain { head: 1_000, ..Chain::default() };
    let both = || vec![chain.page("txlist", 0, 1), chain.page("tokentx", 0, 1)];
    let first = poll(me(), Start::All, None, both()).unwrap();
    let second = poll(me(), Start::All, first.cursor.clone(), both()).unwrap();
    assert_eq!((second.cursor, second.more), (first.cursor, false));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for input in [json!({}), json!({"addresses": []}), json!({"addresses": ["0x12"]}), json!({"adresses": [ME]})] {
        let error = poll(input.clone(), Start::FromNow, None, Vec::new()).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::InvalidRequest(_)), "{input}: {error:?}");
    }
    let many: Vec<String> = (0..51).map(|n| format!("0x{n:040}")).collect();
    assert!(poll(json!({"addresses": many}), Start::FromNow, None, Vec::new()).is_err());
    let error = poll(me(), Start::FromNow, Some("of long ago".into()), Vec::new()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::CursorInvalid);
}

/// The host takes 16 KiB of a cursor unless it is told to take more: what may be watched has room there, also on a chain whose
/// id and blocks are long numbers.
#[test]
fn as_many_lists_as_may_be_watched_have_room_in_a_cursor() {
    let url = "{api}/api?chainid=168587773&module=proxy&action=eth_blockNumber";
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": "0x2fffffff"});
    let newest = json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}});
    let all = |accounts: usize| {
        let addresses: Vec<String> = (0..accounts).map(|n| format!("0x{n:040}")).collect();
        json!({"addresses": addresses, "chainid": 168_587_773})
    };
    let mut begun = poll(all(30), Start::FromNow, None, vec![newest.clone()]).unwrap();
    while begun.more {
        begun = poll(all(30), Start::FromNow, begun.cursor, vec![newest.clone()]).unwrap();
    }
    let cursor = begun.cursor.unwrap();
    assert_eq!(cursor.matches("start").count(), 150);
    assert!(cursor.len() < 13 << 10, "{} bytes", cursor.len());
    let error = poll(all(31), Start::FromNow, None, Vec::new()).unwrap_err();
    assert!(error.message.contains("more than 150 lists"), "{error:?}");
}

/// A failure in the middle keeps nothing: the host asks again with the same cursor.
#[test]
fn a_failure_is_the_hosts_to_wait_for() {
    let chain = Chain { coins: vec![coin(100, "0x01", YOU, ME, "1")], head: 1_000, ..Chain::default() };
    let mut exchanges = vec![chain.page("txlist", 0, 1)];
    let mut refused = chain.page("tokentx", 0, 1);
    refused["response"]["json"] = json!({"status": "0", "message": "NOTOK", "result": "Max daily rate limit reached. 100000 (100%) of 100000 day/limit"});
    exchanges.push(refused);
    let error = poll(me(), Start::All, None, exchanges).unwrap_err();
    assert_eq!(error.kind, ErrorKind::QuotaExhausted);
}

fn list_page(chainid: u64, action: &str, start: u64, rows: &[Value]) -> Value {
    let answer = match rows {
        [] => json!({"status": "0", "message": "No transactions found", "result": []}),
        rows => json!({"status": "1", "message": "OK", "result": rows}),
    };
    let url = format!(
        "{{api}}/api?chainid={chainid}&module=account&action={action}&address={ME}&startblock={start}&page=1&offset={ROWS}&sort=asc"
    );
    json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}})
}

fn internal(block: u64, trace: &str) -> Value {
    json!({
        "blockNumber": block.to_string(), "timeStamp": "1764000000", "hash": "0x0c", "traceId": trace, "type": "call",
        "from": YOU.to_lowercase(), "to": ME.to_lowercase(), "value": "3", "contractAddress": "", "isError": "0",
        "errCode": "", "gas": "2300", "gasUsed": "0",
    })
}

fn nft(block: u64, id: &str) -> Value {
    json!({
        "blockNumber": block.to_string(), "timeStamp": "1764000000", "hash": "0x0d", "from": YOU.to_lowercase(),
        "to": ME.to_lowercase(), "contractAddress": TOKEN.to_lowercase(), "tokenID": id, "tokenName": "Cats",
        "tokenSymbol": "CAT", "tokenDecimal": "0", "gasUsed": "21000", "gasPrice": "1", "confirmations": "900",
    })
}

/// What a contract pays out is in none of the lists that the monitor promised, and NFTs were in none at all. A step of a
/// transaction does not say how many blocks are on top: the newest block is asked for, and only if there is one.
#[test]
fn guide_s26_what_contracts_move_and_nfts_count_too() {
    let head = Chain { head: 1_000, ..Chain::default() };
    let mut several = nft(100, "8");
    several["tokenValue"] = json!("3");
    let exchanges = vec![
        list_page(1, "txlist", 0, &[]),
        list_page(1, "txlistinternal", 0, &[internal(100, "0_1"), internal(100, "0_2"), internal(990, "0_1")]),
        head.newest(),
        list_page(1, "tokentx", 0, &[]),
        list_page(1, "tokennfttx", 0, &[nft(100, "7"), nft(100, "8")]),
        list_page(1, "token1155tx", 0, &[several.clone(), several]),
    ];
    let outcome = poll(json!({"addresses": [ME]}), Start::All, None, exchanges).unwrap();
    let said: Vec<_> = outcome
        .emit
        .iter()
        .map(|emission| {
            (emission.data["kind"].as_str(), emission.data["token"]["id"].as_str(), emission.data["raw"].as_str())
        })
        .collect();
    // The order is that of the lists' names. The step in block 990 is not final yet.
    assert_eq!(
        said,
        [
            (Some("erc1155"), Some("8"), Some("3")),
            (Some("erc1155"), Some("8"), Some("3")),
            (Some("erc721"), Some("7"), Some("1")),
            (Some("erc721"), Some("8"), Some("1")),
            (Some("internal"), None, Some("3")),
            (Some("internal"), None, Some("3")),
        ]
    );
    let names: std::collections::BTreeSet<&str> = outcome.emit.iter().map(|emission| emission.key.as_str()).collect();
    assert_eq!(names.len(), 6, "what looks alike stays two");
    assert_eq!(outcome.emit[4].data["confirmations"], 900);
}

#[test]
fn several_chains_are_watched_each_with_its_own_place() {
    let input = json!({"addresses": [ME], "chainids": [1, 137], "internal": false, "nfts": false, "tokens": false});
    let row = |block| {
        let mut row = coin(block, "0x01", YOU, ME, "1");
        row["confirmations"] = json!("500");
        row
    };
    let exchanges = vec![list_page(1, "txlist", 0, &[row(100)]), list_page(137, "txlist", 0, &[row(7_000)])];
    let first = poll(input.clone(), Start::All, None, exchanges).unwrap();
    let chains: Vec<&Value> = first.emit.iter().map(|emission| &emission.data["chainid"]).collect();
    assert_eq!(chains, [&json!(1), &json!(137)]);
    let exchanges = vec![list_page(1, "txlist", 101, &[]), list_page(137, "txlist", 7_001, &[])];
    assert!(poll(input, Start::All, first.cursor, exchanges).unwrap().emit.is_empty());
}
