//! Keeps values under names that a file system, a database or a pattern would take for something else.

use wharfage_guests::{Error, json, page, state};

wharfage_guests::attack!(_input => {
    let long = "k".repeat(256);
    let names = [
        "../../etc/passwd", "..", "/", "a/b", "a\\b", "a\0b", "a\0", "a", "A", " a", "a ", "%", "_", "*", "'; DROP TABLE state; --", "\"",
        "\u{202e}a", "\u{e9}", "e\u{301}", "CON", "acme", "other", "\n", &long,
    ];
    for name in names {
        state::set(name, name.as_bytes())?;
    }
    let mut mixed_up = Vec::new();
    for name in names {
        if state::get(name)?.as_deref() != Some(name.as_bytes()) || !state::keys(name)?.iter().all(|key| key.starts_with(name)) {
            mixed_up.push(name);
        }
    }
    let refused = |name: &str| -> bool { matches!(state::set(name, b""), Err(Error { .. })) };
    let refused = [refused(""), refused(&"k".repeat(257))];
    Ok(page(json!({"mixed up": mixed_up, "kept": state::keys("")?.len() == names.len(), "refused": refused})))
});
