//! Brings tokens that nobody signed, or that say how they want to be checked.

use wharfage_guests::secrets::verify_jwt;
use wharfage_guests::tally;

wharfage_guests::attack!(_input => {
    // {"alg":"none"}, {"alg":"HS256"}, {"alg":"RS256"}, {"alg":"HS512"}, and one with kid ../../etc/passwd and jku http://127.0.0.1/
    let heads = [
        "eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJIUzUxMiJ9",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2V0Yy9wYXNzd2QiLCJqa3UiOiJodHRwOi8vMTI3LjAuMC4xLyJ9",
    ];
    // {"exp":9999999999}
    let body = "eyJleHAiOjk5OTk5OTk5OTl9";
    let mut tokens: Vec<String> =
        heads.iter().flat_map(|head| ["", "AAAA", "47DEQpj8HBSa"].map(|mac| format!("{head}.{body}.{mac}"))).collect();
    tokens.extend(["", ".", "..", "...", "a.b.c", "e30.e30.", "\0.\0.\0"].map(str::to_owned));
    tokens.push(format!("{}.{body}.x", "A".repeat(1 << 20)));
    tally(tokens.iter().map(|token| verify_jwt("verifying", token)))
});
