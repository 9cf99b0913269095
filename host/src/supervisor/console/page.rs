//! The page: one document with its own style and script, and a policy under which nothing else loads or runs.

use aws_lc_rs::digest;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Where style and script stand in the document.
const STYLE_PLACE: &str = "/*style*/";
const SCRIPT_PLACE: &str = "/*script*/";

/// The page as it is sent.
pub(super) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new() -> Result<Self> {
        let html = HTML.replacen(STYLE_PLACE, STYLE, 1).replacen(SCRIPT_PLACE, SCRIPT, 1);
        // Only these very bytes run (CSP 3, 6.7.3.3), they speak to nobody but this listener, and no text becomes markup.
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        let policy = HeaderValue::from_str(&policy).map_err(|_| Error::internal("the page's policy is no header"))?;
        Ok(Self { html: html.into(), policy })
    }

    pub(super) fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.html.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_names_nobody_else() {
        let page = Page::new().unwrap();
        let html = std::str::from_utf8(&page.html).unwrap();
        assert!(html.contains(STYLE) && html.contains(SCRIPT));
        assert_eq!((html.matches("<script").count(), html.matches("<style").count()), (1, 1));
        // Names of XML vocabularies are no places to load from.
        let elsewhere = html.replace("http://www.w3.org/2000/svg", "");
        for word in ["http://", "https://", "//cdn", " src=", "@import", "url("] {
            assert!(!elsewhere.contains(word), "{word}");
        }
    }

    /// What plugins and providers say becomes text and nothing else.
    #[test]
    fn nothing_in_the_script_makes_markup_of_text() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "srcdoc",
            "setAttribute(\"style\"",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        assert!(!HTML.contains(" style=") && !HTML.contains(" onclick="));
    }
}
