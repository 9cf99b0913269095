//! Does what its input lists, logs, prints and keeps all it sees of it, and answers that together with its whole memory.
//!
//! `requests` are sent, or read piece by piece where they say `open`; `sign`, `verify` and `make` are names of secrets, and
//! what is made of the last goes with a request.

use wharfage_guests::log::{Level, write as log};
use wharfage_guests::secrets::{self, Algorithm};
use wharfage_guests::{
    Error, Operation, Operations, Page, Value, guest, http, json, page, read, read_input, request, state, told, write,
};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("dump"), write("dump.write")]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        let list = |field: &str| input[field].as_array().cloned().unwrap_or_default();
        let names = |field: &str| list(field).into_iter().filter_map(|name| name.as_str().map(str::to_owned));
        let mut seen: Vec<Value> = list("requests").iter().map(|request| shown(ask(request))).collect();
        for name in names("sign") {
            let signed = secrets::sign(&name, Algorithm::HmacSha256, b"data");
            seen.push(shown(signed.map(|mac| json!(mac))));
        }
        for name in names("verify") {
            let verified = secrets::verify(&name, Algorithm::HmacSha256, b"data", b"mac");
            seen.push(shown(verified.map(|is_right| json!(is_right))));
        }
        for name in names("make") {
            let made = secrets::make_jwt(&name, "{}");
            seen.push(shown(made.and_then(|handle| ask(&json!({"url": "{api}/ok", "credential": handle})))));
        }
        for (number, value) in seen.iter().enumerate() {
            let text = value.to_string();
            log(Level::Warn, &text, &[("seen".to_owned(), text.clone())]);
            println!("{text}");
            // What is too large for a value is not kept; the rest of it is in the other sinks.
            let _ = state::set(&number.to_string(), text.as_bytes());
        }
        if input["trap"].as_bool() == Some(true) {
            panic!("{seen:?}");
        }
        if input["fail"].as_bool() == Some(true) {
            let first = input["requests"][0].clone();
            return Err(ask(&first).err().unwrap_or_else(|| {
                wharfage_guests::error(wharfage_guests::ErrorKind::ProviderReported, &format!("{seen:?}"))
            }));
        }
        let memory = if input["dump"].as_bool() == Some(true) { hex(&memory()) } else { String::new() };
        Ok(page(json!({"seen": seen, "memory": memory})))
    }
}

fn ask(input: &Value) -> Result<Value, Error> {
    if input["open"].as_bool() != Some(true) {
        return http::send(&request(input)).map(told);
    }
    let opened = http::open(&request(input))?;
    let (mut pieces, mut bytes) = (Vec::new(), Vec::new());
    loop {
        let piece = opened.body.read(7)?;
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(&piece);
        pieces.push(String::from_utf8_lossy(&piece).into_owned());
    }
    let headers: Vec<[&String; 2]> = opened.headers.iter().map(|header| [&header.name, &header.value]).collect();
    Ok(json!({"status": opened.status, "url": opened.url, "headers": headers, "pieces": pieces,
        "body": String::from_utf8_lossy(&bytes)}))
}

fn shown(result: Result<Value, Error>) -> Value {
    result.unwrap_or_else(|error| json!({"error": format!("{error:?}")}))
}

/// All of the linear memory but its first bytes, where nothing lies.
#[allow(unsafe_code, reason = "a guest may read all of its own memory, and this one is here to do so")]
fn memory() -> Vec<u8> {
    const FIRST: usize = 8;
    #[cfg(target_arch = "wasm32")]
    let end = core::arch::wasm32::memory_size(0) << 16;
    #[cfg(not(target_arch = "wasm32"))]
    let end = FIRST;
    // SAFETY: everything up to `end` is memory of this instance, which has one thread.
    unsafe { core::slice::from_raw_parts(FIRST as *const u8, end - FIRST) }.to_vec()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

guest!(Guest);
