//! Does with the files of its call what its input says: `length`, `read`, `write` or `copy`.

use wharfage_guests::{Error, Operation, Operations, Page, bytes, files, guest, json, page, read, read_input, text};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        ["length", "read", "write", "copy"].map(read).to_vec()
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        let name = text(&input, "name").unwrap_or_default();
        let most = |field: &str| u32::try_from(input[field].as_u64().unwrap_or(1 << 20)).unwrap_or(u32::MAX);
        let output = match operation.as_str() {
            "length" => json!(files::length(&name)?),
            "read" => {
                let read = files::read(&name, input["offset"].as_u64().unwrap_or_default(), most("most"))?;
                json!(String::from_utf8_lossy(&read))
            }
            "write" => json!(files::write(&name, &bytes(&input, "text"))?),
            _ => {
                let to = text(&input, "to").unwrap_or_default();
                let mut at = 0;
                loop {
                    let piece = files::read(&name, at, most("most"))?;
                    if piece.is_empty() {
                        break json!(at);
                    }
                    files::write(&to, &piece)?;
                    at += piece.len() as u64;
                }
            }
        };
        Ok(page(output))
    }
}

guest!(Guest);
