//! Text that others wrote: how it is shown, which name was meant, what a header can be called, and how it is written in TOML.
//!
//! What a plugin, a provider or a file says goes through [`shown`], [`shown_lines`] or [`short`] before it stands in a
//! message, so that none of it acts in a terminal.

/// Characters of untrusted text that are shown at once.
pub(crate) const SHOWN_CHARS_MAX: usize = 160;

/// Untrusted text as it may be shown: no control characters, not too long.
pub(crate) fn shown(text: &str) -> String {
    if text.len() <= SHOWN_CHARS_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut out: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if is_unshowable(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// The start of a text that a guest chose, without control characters.
pub(crate) fn short(text: &str) -> String {
    const SHORT_CHARS_MAX: usize = 200;
    let mut shown: String = text.chars().take(SHORT_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHORT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character could make a terminal or a reader of logs show something else than what is there: controls, the
/// separators of lines and paragraphs, what has no width, and the marks that turn the direction of what follows (Unicode
/// Standard Annex #9, 2.).
pub(crate) fn is_unshowable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Untrusted text over several lines, bounded and escaped.
pub(crate) fn shown_lines(text: &str) -> String {
    let kept: String = text.chars().take(2_000).collect();
    kept.chars()
        .map(|c| if is_unshowable(c) && c != '\n' { '\u{fffd}' } else { c })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// `Did you mean …?` or all there is.
pub(crate) fn suggestion(wrong: &str, names: &[&str]) -> String {
    let mut near: Vec<(usize, &str)> = names.iter().map(|name| (distance(wrong, name), *name)).collect();
    near.sort();
    let near: Vec<&str> =
        near.into_iter().filter(|(d, name)| *d <= 3 || name.contains(wrong)).map(|(_, name)| name).take(3).collect();
    match (near.is_empty(), names.is_empty()) {
        (false, _) => format!("Did you mean {}?", near.join(" or ")),
        (true, false) => format!("There are: {}", names.join(", ")),
        (true, true) => "There are none".to_owned(),
    }
}

/// Levenshtein's distance, on the first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Whether a header can be called so (RFC 9110, 5.6.2).
pub(crate) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A name as a key of TOML: bare where it can be.
pub(crate) fn toml_key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_bare { name.to_owned() } else { format!("{name:?}") }
}

/// A line with a list of strings, and one more.
pub(crate) fn list_line<'a>(key: &str, before: impl Iterator<Item = &'a String>, more: &'a String) -> String {
    format!("{key} = {}", toml_list(before.chain(std::iter::once(more))))
}

/// A TOML list of strings.
pub(crate) fn toml_list<'a>(items: impl IntoIterator<Item = &'a String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| toml::Value::from(item.as_str()).to_string()).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_near_a_wrong_one() {
        assert_eq!(suggestion("order.list", &["orders.list", "products.list"]), "Did you mean orders.list?");
        assert_eq!(suggestion("x", &["orders.list"]), "There are: orders.list");
    }

    #[test]
    fn shown_text_has_no_control_characters() {
        assert_eq!(shown("a\u{1b}[31mb"), "a\u{fffd}[31mb");
    }
}
