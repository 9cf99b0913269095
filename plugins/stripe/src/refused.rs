//! What Stripe says when it refuses: `{"error": {"type", "code", "decline_code", "param", "message", …}}`.
//!
//! The status has told the host the kind already. Here the provider's code, the field and a sentence are added, made of
//! Stripe's own words only where they are names; its message stands beside the field it is about. Of a long body only the
//! start is left (a refused payment brings its whole record along), so what is read here may end anywhere.

use wharfage_sdk::error::FieldError;
use wharfage_sdk::{Error, ErrorKind};

/// Characters of Stripe's message that are passed on.
const MESSAGE_CHARS_MAX: usize = 300;

/// The error of a request, with what Stripe said about it.
pub(crate) fn told(mut error: Error) -> Error {
    let body = error.body.clone().unwrap_or_default();
    let (sort, code, decline) = (word(&body, "type"), word(&body, "code"), word(&body, "decline_code"));
    if error.provider_code.is_none() {
        // The narrowest word says most: of all that is `card_declined`, `lost_card` is one.
        error.provider_code = decline.clone().or_else(|| code.clone()).or_else(|| sort.clone());
    }
    let param = said(&body, "param").map(|param| pointer(&param));
    match error.kind {
        ErrorKind::InvalidRequest(_) if sort.as_deref() == Some("idempotency_error") => {
            error.kind = ErrorKind::Conflict;
            error.message = "Stripe knows this idempotency key from another request".to_owned();
        }
        ErrorKind::InvalidRequest(_) if is_cursor(param.as_deref()) => {
            error.kind = ErrorKind::CursorInvalid;
            error.message = "Stripe no longer has that place in the list: begin at its first page".to_owned();
        }
        ErrorKind::InvalidRequest(_) => {
            let path = param.unwrap_or_default();
            error.message = match path.as_str() {
                "" => "Stripe did not accept the request".to_owned(),
                path => ["Stripe did not accept ", path].concat(),
            };
            let message = said(&body, "message").or(code).unwrap_or_default().chars().take(MESSAGE_CHARS_MAX).collect();
            error.kind = ErrorKind::InvalidRequest(vec![FieldError { path, message }]);
        }
        ErrorKind::ProviderReported if error.status == Some(402) => {
            let words = [code, decline].into_iter().flatten().collect::<Vec<_>>().join(", ");
            error.message = match words.as_str() {
                "" => "the payment was refused".to_owned(),
                words => ["the payment was refused: ", words].concat(),
            };
        }
        _ => {}
    }
    error
}

/// Whether it is about where a list stands.
fn is_cursor(param: Option<&str>) -> bool {
    matches!(param, Some("/starting_after" | "/ending_before" | "/page"))
}

/// `items[0][price]` as a JSON Pointer: `/items/0/price`.
fn pointer(param: &str) -> String {
    let mut path = String::from("/");
    for letter in param.chars().take(100) {
        match letter {
            '[' => path.push('/'),
            ']' => {}
            letter => path.push(letter),
        }
    }
    path
}

/// A name among Stripe's, as `card_declined`; what does not look like one is nobody's code.
fn word(body: &str, key: &str) -> Option<String> {
    let is_name = |text: &String| {
        (1..=60).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    said(body, key).filter(is_name)
}

/// The text that `key` has in the error, in a body that may be cut.
fn said(body: &str, key: &str) -> Option<String> {
    let bytes = body.as_bytes();
    let (mut at, mut depth, mut last_key) = (0, 0_usize, "");
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = end_of_text(bytes, at + 1)?;
                let quoted = body.get(at..=end)?;
                if depth == 2 {
                    if body[end + 1..].trim_start().starts_with(':') {
                        last_key = &quoted[1..quoted.len() - 1];
                    } else if last_key == key {
                        return wharfage_sdk::json::parse(quoted.as_bytes());
                    }
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the text ends that begins here.
fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, kind: ErrorKind, body: &str) -> Error {
        told(Error::new(kind, "x").with_status(status).with_body(body))
    }

    #[test]
    fn a_refused_card_says_why() {
        let body = r#"{"error": {"charge": "ch_1", "code": "card_declined", "decline_code": "insufficient_funds",
            "message": "Your card has insufficient funds.", "payment_intent": {"code": "other", "id": "pi_1", "last_pay"#;
        let error = refused(402, ErrorKind::ProviderReported, body);
        assert_eq!(error.provider_code.as_deref(), Some("insufficient_funds"));
        assert_eq!(error.message, "the payment was refused: card_declined, insufficient_funds");
        let bare = refused(402, ErrorKind::ProviderReported, "<html>");
        assert_eq!((bare.message.as_str(), bare.provider_code.as_deref()), ("the payment was refused", None));
    }

    #[test]
    fn a_refused_field_is_named() {
        let body = r#"{"error":{"code":"resource_missing","message":"No such price: 'price_\"x'","param":"items[0][price]",
            "type":"invalid_request_error"}}"#;
        let error = refused(400, ErrorKind::InvalidRequest(Vec::new()), body);
        let ErrorKind::InvalidRequest(fields) = &error.kind else { panic!("{error:?}") };
        assert_eq!(fields[0].path, "/items/0/price");
        assert_eq!(fields[0].message, "No such price: 'price_\"x'");
        assert_eq!(error.message, "Stripe did not accept /items/0/price");
    }

    #[test]
    fn a_lost_place_and_a_used_key_are_no_wrong_inputs() {
        let lost = r#"{"error":{"code":"resource_missing","param":"starting_after","type":"invalid_request_error"}}"#;
        assert_eq!(refused(400, ErrorKind::InvalidRequest(Vec::new()), lost).kind, ErrorKind::CursorInvalid);
        let used = r#"{"error":{"message":"Keys for idempotent requests…","type":"idempotency_error"}}"#;
        let error = refused(400, ErrorKind::InvalidRequest(Vec::new()), used);
        assert_eq!((error.kind.name(), error.provider_code.as_deref()), ("conflict", Some("idempotency_error")));
    }

    #[test]
    fn what_is_no_name_is_no_code() {
        let body = r#"{"error":{"code":"Bearer sk_live_x","type":"api_error"}}"#;
        assert_eq!(refused(500, ErrorKind::Transient, body).provider_code.as_deref(), Some("api_error"));
    }

    #[test]
    fn a_body_may_end_anywhere() {
        let body = r#"{"error":{"a":[{"code":"x"}],"code":"c\"\\d","message":"é"},"code":"no"}"#;
        assert_eq!(said(body, "code").as_deref(), Some("c\"\\d"));
        for end in (0..body.len()).filter(|end| body.is_char_boundary(*end)) {
            _ = said(&body[..end], "message");
        }
        for odd in ["}}}\"", "\"\\", "{{\"code\":", "{\"error\":[\"code\":\"x\"]}"] {
            _ = said(odd, "code");
        }
    }
}
