//! Logs and prints what would move a terminal's cursor, end a line, forge another, or hide itself.

use wharfage_guests::log::{Level, write};
use wharfage_guests::page;

wharfage_guests::attack!(_input => {
    let tricks = [
        "\u{1b}[2J\u{1b}]0;owned\u{7}", "one\ntwo", "one\r\n2026-11-22T00:00:00Z ERROR wharfage: forged", "\u{202e}gnp.exe",
        "\0", "\u{9b}31m", "<script>alert(1)</script>", "\u{2028}", "\u{feff}", "{\"level\":\"ERROR\"}\n{",
    ];
    for trick in tricks {
        write(Level::Error, trick, &[(trick.to_owned(), trick.to_owned())]);
        println!("{trick}");
        eprintln!("{trick}");
    }
    let field = ("f".to_owned(), "x".repeat(100));
    write(Level::Error, "many fields", &vec![field; 1_000]);
    write(Level::Error, &"y".repeat(4 << 20), &[]);
    Ok(page("null"))
});
