//! Who may ask the private listener: under which name, from which page, with which token.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::policy::serve::ConsolePolicy;

/// The token; whoever has it sees and replays everything.
pub(super) struct Token(Zeroizing<String>);

impl Token {
    pub(super) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Whether a request carries it; how much of it is right does not show in the time that this takes.
    pub(super) fn is_on(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, given)) = only(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' '))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer")
            && verify_slices_are_equal(given.trim().as_bytes(), self.0.as_bytes()).is_ok()
    }
}

/// The name that a request asks for, where it is one of this listener's. A page elsewhere whose name was made to lead here
/// (DNS rebinding) asks under that name, and never under an address.
pub(super) fn names_this(head: &Parts, policy: &ConsolePolicy) -> Option<Authority> {
    // What a proxy is asked (RFC 9112, 3.2.2) is not asked here.
    if head.uri.authority().is_some() {
        return None;
    }
    let authority: Authority = only(&head.headers, &header::HOST)?
        .parse()
        .ok()
        .filter(|authority: &Authority| !authority.as_str().contains('@'))?;
    let host = authority.host().trim_end_matches('.');
    let is_here = match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || policy.danger_beyond_loopback,
        Err(_) => {
            host.eq_ignore_ascii_case("localhost") || policy.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
        }
    };
    is_here.then_some(authority)
}

/// Whether a page of another origin asks. To be led here by a link is no asking.
pub(super) fn other_page(head: &Parts, host: &Authority, is_page: bool) -> bool {
    if let Some(origin) = head.headers.get(header::ORIGIN) {
        let own = ["http", "https"].map(|scheme| format!("{scheme}://{host}"));
        if !own.iter().any(|own| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())) {
            return true;
        }
    }
    let site = head.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    !is_page && site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// The value of a field that stands there once, as text.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    first.to_str().ok().filter(|_| all.next().is_none())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn head(fields: &[(&str, &str)]) -> Parts {
        let request = Request::get("/api/state");
        fields
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value))
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    fn policy(text: &str) -> ConsolePolicy {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn r20_it_is_asked_under_a_name_of_this_machine_or_one_that_is_stated() {
        let (plain, open) = (policy("hosts=['Ops.example.org']"), policy("danger_beyond_loopback=true"));
        let is_named = |host: &str, policy: &ConsolePolicy| names_this(&head(&[("host", host)]), policy).is_some();
        for host in [
            "127.0.0.1:7422",
            "127.0.0.1",
            "[::1]:7422",
            "localhost:9000",
            "LOCALHOST",
            "ops.example.org",
            "ops.example.org.:80",
        ] {
            assert!(is_named(host, &plain), "{host}");
        }
        for host in [
            "evil.test:7422",
            "127.0.0.1.evil.test",
            "localhost.evil.test",
            "192.168.1.7:7422",
            "a@localhost",
            "",
            "ops.example.org.evil.test",
            "0.0.0.0:7422",
        ] {
            assert!(!is_named(host, &plain), "{host}");
        }
        assert!(is_named("192.168.1.7:7422", &open) && !is_named("evil.test", &open));
        assert!(names_this(&head(&[]), &plain).is_none());
        assert!(names_this(&head(&[("host", "localhost"), ("host", "localhost")]), &plain).is_none());
        let whole = Request::get("http://localhost/").header("host", "localhost").body(()).unwrap().into_parts().0;
        assert!(names_this(&whole, &plain).is_none());
    }

    #[test]
    fn r20_no_other_page_asks() {
        let host: Authority = "localhost:7422".parse().unwrap();
        let asks = |fields: &[(&str, &str)], is_page| other_page(&head(fields), &host, is_page);
        assert!(
            !asks(&[], false)
                && !asks(&[("origin", "http://localhost:7422"), ("sec-fetch-site", "same-origin")], false)
        );
        assert!(!asks(&[("sec-fetch-site", "none")], false) && !asks(&[("sec-fetch-site", "cross-site")], true));
        for origin in
            ["http://localhost:7423", "http://localhost", "null", "http://evil.test", "ftp://localhost:7422", ""]
        {
            assert!(asks(&[("origin", origin)], false) && asks(&[("origin", origin)], true), "{origin}");
        }
        assert!(asks(&[("sec-fetch-site", "cross-site")], false) && asks(&[("sec-fetch-site", "same-site")], false));
    }

    #[test]
    fn only_the_whole_token_once_and_as_a_bearers_lets_in() {
        let token = Token::new("ab12".repeat(16));
        let right = format!("Bearer {}", token.text());
        let lets_in = |fields: &[(&str, &str)]| token.is_on(&head(fields).headers);
        assert!(
            lets_in(&[("authorization", &right)]) && lets_in(&[("authorization", &right.replace("Bearer", "bearer"))])
        );
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer ab12",
            &right[..right.len() - 1],
            &format!("{right}0"),
            &right.replace("Bearer", "Basic"),
            token.text(),
        ] {
            assert!(!lets_in(&[("authorization", wrong)]), "{wrong}");
        }
        assert!(!lets_in(&[]) && !lets_in(&[("authorization", &right), ("authorization", &right)]));
        assert!(!lets_in(&[("cookie", &format!("token={}", token.text()))]));
    }
}
