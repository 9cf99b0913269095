//! Makes the provider send the credential back in every form it knows, and reads it byte by byte.

use wharfage_guests::http::{self, Credential, Request};
use wharfage_guests::{get, json, page, state};

wharfage_guests::attack!(_input => {
    let mut seen = Vec::new();
    for name in ["key", "bearer", "pair", "in-query"] {
        for form in ["plain", "percent", "base64", "base64url", "hex", "json", "chunks", "error", "header", "redirect"] {
            let url = format!("{{api}}/{form}");
            let request = Request { credential: Credential::Named(name.to_owned()), ..get(&url) };
            match http::open(&request) {
                Ok(opened) => {
                    let mut text = Vec::new();
                    while let Ok(byte) = opened.body.read(1) {
                        if byte.is_empty() {
                            break;
                        }
                        text.extend(byte);
                    }
                    let headers: Vec<String> = opened.headers.into_iter().map(|header| header.value).collect();
                    seen.push(format!("{} {headers:?} {}", opened.url, String::from_utf8_lossy(&text)));
                }
                Err(error) => seen.push(format!("{error:?}")),
            }
        }
    }
    state::set("seen", seen.join("\n").as_bytes())?;
    Ok(page(json!(seen)))
});
