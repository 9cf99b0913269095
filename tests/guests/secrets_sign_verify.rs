//! Signs and verifies with the secret that its input names, and answers what it learned of it.

use wharfage_guests::secrets::{Algorithm, is_available, sign, verify};
use wharfage_guests::{Error, Operation, Operations, Page, bytes, guest, json, page, read, read_input, text};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("is-available"), read("sign"), read("verify")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        let name = text(&input, "name").unwrap_or_default();
        let algorithm = match input["algorithm"].as_str() {
            Some("sha1") => Algorithm::HmacSha1,
            Some("sha512") => Algorithm::HmacSha512,
            _ => Algorithm::HmacSha256,
        };
        let data = bytes(&input, "data");
        let output = match operation.as_str() {
            "is-available" => json!(is_available(&name)),
            "sign" => json!(hex(&sign(&name, algorithm, &data)?)),
            _ => json!(verify(&name, algorithm, &data, &unhex(&text(&input, "mac").unwrap_or_default()))?),
        };
        Ok(page(output))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit)).collect()
}

guest!(Guest);
