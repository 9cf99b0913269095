//! A file of `KEY=VALUE` lines, as `secrets.env`.
//!
//! Only the asked value leaves it. Nothing is put into the environment of this process, where every child would inherit
//! it and `/proc` would show it.

use std::path::Path;

use zeroize::Zeroizing;

use super::file::{self, Found};

/// The value of `name`; `None` when there is no such file or no such line.
///
/// # Errors
/// A sentence for the operator, without anything of the file's text.
pub(super) fn read(path: &Path, name: &str) -> Result<Option<Found>, String> {
    let Some(found) = file::read(path)? else { return Ok(None) };
    let value = value(&found.text, name).map_err(|line| {
        format!("{} line {line} is not KEY=VALUE, or its quotes do not end; a comment begins with #", path.display())
    })?;
    Ok(value.map(|text| Found { text, at: found.at }))
}

/// The value of a name; of two lines with one name the last, as a shell would have it. Else the number of a line that
/// cannot be read.
fn value(text: &str, name: &str) -> Result<Option<Zeroizing<String>>, usize> {
    let mut found = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (key, value) = line.split_once('=').ok_or(at + 1)?;
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(at + 1);
        }
        let value = unquoted(value.trim_start()).ok_or(at + 1)?;
        if key == name {
            found = Some(value);
        }
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// What a shell would make of a value: single quotes keep everything, double quotes know `\"`, `\\`, `\$` and
/// `` \` ``, and without quotes a comment begins at a `#` after a space.
fn unquoted(value: &str) -> Option<Zeroizing<String>> {
    let is_over = |rest: &str| rest.trim_start().is_empty() || rest.trim_start().starts_with('#');
    if let Some(rest) = value.strip_prefix('\'') {
        let (inside, rest) = rest.split_once('\'')?;
        return is_over(rest).then(|| Zeroizing::new(inside.to_owned()));
    }
    if let Some(rest) = value.strip_prefix('"') {
        let mut out = Zeroizing::new(String::with_capacity(rest.len()));
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return is_over(&rest[at + 1..]).then_some(out),
                '\\' => match chars.next()?.1 {
                    escaped @ ('"' | '\\' | '$' | '`') => out.push(escaped),
                    other => out.extend(['\\', other]),
                },
                c => out.push(c),
            }
        }
        return None;
    }
    let end = value.match_indices('#').find(|(at, _)| value[..*at].ends_with(char::is_whitespace) || *at == 0);
    Some(Zeroizing::new(value[..end.map_or(value.len(), |(at, _)| at)].trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# keys of the team\n\nPLAIN=abc=def # a comment\nexport EXPORTED=x\nSINGLE='a # $b \"c\"' # d\n\
                        DOUBLE=\"a \\\"b\\\" \\$c \\n\"\nEMPTY=\nSPACED = y \nHASH=a#b\nTWICE=1\nTWICE=2\n";

    #[test]
    fn lines_quotes_and_comments_are_read_as_a_shell_would() {
        let read = |name: &str| value(FILE, name).unwrap().map(|value| value.as_str().to_owned());
        for (name, expected) in [
            ("PLAIN", "abc=def"),
            ("EXPORTED", "x"),
            ("SINGLE", "a # $b \"c\""),
            ("DOUBLE", "a \"b\" $c \\n"),
            ("SPACED", "y"),
            ("HASH", "a#b"),
            ("TWICE", "2"),
        ] {
            assert_eq!(read(name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!((read("EMPTY"), read("ABSENT"), read("LAIN")), (None, None, None));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_by_its_number() {
        for (text, line) in
            [("A=1\nnot a line", 2), ("A='x", 1), ("\nA=\"x\\\"", 2), ("=x", 1), ("A B=x", 1), ("A='x'y", 1)]
        {
            assert_eq!(value(text, "A").unwrap_err(), line, "{text:?}");
        }
    }

    /// What happened: the guide's loader copied every line of `secrets.env` into the process environment, where each
    /// child process inherits it and any crash report lists it.
    #[cfg(unix)]
    #[test]
    fn guide_s19_a_secrets_env_is_never_copied_into_the_environment() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.env");
        std::fs::write(&path, "GUIDE_S19_KEY='s3cret'\nGUIDE_S19_OTHER=other\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path, "GUIDE_S19_KEY").unwrap().unwrap().text.as_str(), "s3cret");
        for name in ["GUIDE_S19_KEY", "GUIDE_S19_OTHER"] {
            assert!(super::super::env::os(name).is_none(), "{name} is in the environment");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path, "GUIDE_S19_KEY").err().unwrap().contains("chmod 600"));
    }
}
