#!/bin/sh
# lettre 0.11.23 (Rust): a server's reply that is a code and nothing else is an error, and the mail is not sent.
#
# RFC 5321 section 4.2: `Reply-line = … Reply-code [ SP textstring ] CRLF`. The space belongs to the text and goes with it, and the section
# says that a client has to accept any text, none at all included (and that a server should send some). lettre wants the
# space: a server that answers RCPT with `250` alone gets no mail from it.
#
# Seen: "250 ok" sent; "250 " sent; "250": "response error: error Tag at: ".
set -eu
. "$(dirname "$0")/lib/room.sh"

cat > "$room/crate/src/main.rs" <<'RUST'
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use lettre::address::{Address, Envelope};
use lettre::{SmtpTransport, Transport};

/// Takes one message, and answers RCPT with these octets.
fn serve(listener: TcpListener, to_rcpt: &'static str) {
    let (mut connection, _) = listener.accept().unwrap();
    let lines = BufReader::new(connection.try_clone().unwrap()).lines();
    connection.write_all(b"220 mx.example.net ESMTP\r\n").unwrap();
    let mut data = false;
    for line in lines.map_while(Result::ok) {
        if data && line != "." {
            continue;
        }
        let reply = match line.get(..4).unwrap_or_default() {
            "RCPT" => to_rcpt,
            "DATA" => "354 go on\r\n",
            _ => "250 ok\r\n",
        };
        data = line == "DATA";
        if connection.write_all(reply.as_bytes()).is_err() {
            break;
        }
    }
}

fn main() {
    for to_rcpt in ["250 ok\r\n", "250 \r\n", "250\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || serve(listener, to_rcpt));
        let address = |text: &str| text.parse::<Address>().unwrap();
        let envelope = Envelope::new(Some(address("alice@example.org")), vec![address("bob@example.net")]).unwrap();
        match SmtpTransport::builder_dangerous("127.0.0.1").port(port).build().send_raw(&envelope, b"Subject: a test\r\n\r\nHello.\r\n") {
            Ok(_) => println!("sent"),
            Err(error) => println!("{error}"),
        }
    }
}
RUST
crate <<'TOML'
lettre = { version = "=0.11.23", default-features = false, features = ["smtp-transport"] }
TOML
"$room/program" > "$room/out"
as_described "250, a space and a text" "$(sed -n 1p "$room/out")" "sent"
as_described "250 and a space" "$(sed -n 2p "$room/out")" "sent"
echo "250: $(sed -n 3p "$room/out")"
as_described "250, in short" "$(sed -n 3p "$room/out" | grep -o '^response error')" "response error"
