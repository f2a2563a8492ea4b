#!/bin/sh
# instant-acme 0.8.5 (Rust): a CA's refusal of a renewal-info request is hidden behind "missing Retry-After header".
#
# RFC 9773 section 4 has the CA send Retry-After with an answer that it gives. A refusal (an unknown certificate, another CA's) is
# a problem document as anywhere in ACME (RFC 8555 section 6.7), which needs no Retry-After. instant-acme looks for Retry-After first and
# for the status afterwards, so the caller never sees the problem, and can't tell "malformed" from a CA that is out of order.
#
# Seen: a 404 with a problem document and Retry-After: the CA's own words; the same without Retry-After: "missing Retry-After header".
set -eu
. "$(dirname "$0")/lib/room.sh"

cat > "$room/crate/src/main.rs" <<'RUST'
use std::{future::Future, pin::Pin};

use http::{Request, Response};
use http_body_util::Full;
use instant_acme::{Account, BodyWrapper, BytesResponse, CertificateIdentifier, Error, HttpClient, NewAccount};

/// A CA that knows no certificate, without a network.
struct Ca {
    retry_after: bool,
}

impl HttpClient for Ca {
    fn request(
        &self,
        request: Request<BodyWrapper<bytes::Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = Response::builder().header("Replay-Nonce", "bm9uY2U");
        let answer = match request.uri().path() {
            "/directory" => answer.body(
                r#"{"newNonce":"https://ca.example/nonce","newAccount":"https://ca.example/account",
                    "newOrder":"https://ca.example/order","renewalInfo":"https://ca.example/renewal"}"#,
            ),
            "/nonce" => answer.body(""),
            "/account" => answer.status(201).header("Location", "https://ca.example/account/1").body("{}"),
            _ => {
                let mut answer = answer.status(404).header("Content-Type", "application/problem+json");
                if self.retry_after {
                    answer = answer.header("Retry-After", "3600");
                }
                answer.body(r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"no such certificate","status":404}"#)
            }
        };
        let answer = answer.unwrap().map(|body| Full::new(bytes::Bytes::from_static(body.as_bytes())));
        Box::pin(async move { Ok(BytesResponse::from(answer)) })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for retry_after in [true, false] {
        let new = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
        let builder = Account::builder_with_http(Box::new(Ca { retry_after }));
        let (account, _) = builder.create(&new, "https://ca.example/directory".to_owned(), None).await.unwrap();
        let certificate = CertificateIdentifier::new(vec![1; 20].into(), vec![2; 8].into());
        println!("{}", account.renewal_info(&certificate).await.map(|_| ()).unwrap_err());
    }
}
RUST
crate <<'TOML'
instant-acme = { version = "=0.8.5", default-features = false, features = ["ring", "time"] }
bytes = "=1.12.2"
http = "=1.5.0"
http-body-util = "=0.1.5"
tokio = { version = "=1.54.1", features = ["rt", "macros"] }
TOML
"$room/program" > "$room/out"
as_described "404 with Retry-After" "$(sed -n 1p "$room/out")" "API error: no such certificate (urn:ietf:params:acme:error:malformed)"
as_described "404 without" "$(sed -n 2p "$room/out")" "missing data: missing Retry-After header"
