#!/bin/sh
# IMAPClient 4.1.0 (PyPI): a section that is fetched with BINARY comes out as "~{3}", and its octets are lost.
#
# RFC 9051 section 7.5.2 (BINARY is part of IMAP4rev2; RFC 3516 section 4.3 for IMAP4rev1): what may hold NUL is sent as a literal8,
# `~{3}` and three octets. imaplib, beneath, takes the octets off the line as for any literal; IMAPClient knows only `{3}` as the
# mark of one, so fetch() gives the mark itself as the value, without an error.
#
# Seen: BODY[1] as {3} b'abc'; BINARY[1] as {3} b'abc'; BINARY[1] as ~{3} b'~{3}'.
set -eu
. "$(dirname "$0")/lib/room.sh"

python_packages imapclient==4.1.0
cat > "$room/check.py" <<'PYTHON'
import socket, sys, threading

from imapclient import IMAPClient

def serve(listener, literal):
    connection, _ = listener.accept()
    stream = connection.makefile("rwb")
    say = lambda text: (stream.write(text), stream.flush())
    say(b"* PREAUTH [CAPABILITY IMAP4rev1 BINARY] ready\r\n")
    for line in stream:
        tag, command, *_ = line.split()
        if command.upper() == b"SELECT":
            say(b"* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n")
        elif command.upper() in (b"FETCH", b"UID"):
            say(b"* 1 FETCH (UID 1 " + literal + b"\r\nabc)\r\n")
        elif command.upper() == b"LOGOUT":
            say(b"* BYE bye\r\n")
        else:
            say(b"* CAPABILITY IMAP4rev1 BINARY\r\n")
        say(tag + b" OK done\r\n")

listener = socket.create_server(("127.0.0.1", 0))
literal = sys.argv[1].encode()
threading.Thread(target=serve, args=(listener, literal), daemon=True).start()
client = IMAPClient("127.0.0.1", listener.getsockname()[1], ssl=False, timeout=20)
client.select_folder("INBOX")
section = literal.split()[0]
print(client.fetch(1, [section])[1][section])
PYTHON
as_described "BODY[1] {3}" "$(python3 "$room/check.py" "BODY[1] {3}")" "b'abc'"
as_described "BINARY[1] {3}" "$(python3 "$room/check.py" "BINARY[1] {3}")" "b'abc'"
as_described "BINARY[1] ~{3}" "$(python3 "$room/check.py" "BINARY[1] ~{3}")" "b'~{3}'"
