#!/bin/sh
# SpamAssassin 4.0.1 (Debian 12): a Date in UTC written `+0000` costs points that the same Date written `-0000` or `+0100` does not.
#
# RFC 5322 section 3.3: `+0000` is universal time, the zone of Iceland and Ghana, of London in winter and of every host that is set to
# it; `-0000` is the same moment and says nothing of the zone. The rule RATWARE_ZERO_TZ takes `+0000` in an HTML message
# for the mark of a bulk mailer when the address is made of the name in From and two letters more, as many houses make them
# ("Alice Miller" <amilleruk@…>): up to 2.5 of the 5 points that make spam.
#
# Seen (local tests): +0100 none, -0000 none, +0000 RATWARE_ZERO_TZ.
set -eu
. "$(dirname "$0")/lib/room.sh"

debian bookworm spamassassin=4.0.1-1~deb12u1
alone
message() {
    printf 'Received: from mail.example.net (mail.example.net [192.0.2.9]) by mx.example.org with ESMTPS; Mon, 30 Nov 2026 10:00:02 +0100\n'
    printf 'From: "Alice Miller" <amilleruk@example.net>\nTo: Bob <bob@example.org>\nSubject: Tuesday\nDate: Mon, 30 Nov 2026 %s\n' "$1"
    printf 'Message-ID: <1@example.net>\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n<html><body><p>Shall we meet on Tuesday?</p></body></html>\n'
}
verdict() {
    message "$1" | inside spamassassin --local --test-mode 2> "$room/err" > "$room/out" || could_not_be_tried "$(tail -n 3 "$room/err")"
    grep -q 'X-Spam-Status' "$room/out" || could_not_be_tried "no verdict"
    if grep -q 'RATWARE_ZERO_TZ' "$room/out"; then echo RATWARE_ZERO_TZ; else echo none; fi
}
as_described "10:00:00 +0100" "$(verdict '10:00:00 +0100')" none
as_described "09:00:00 -0000" "$(verdict '09:00:00 -0000')" none
as_described "09:00:00 +0000" "$(verdict '09:00:00 +0000')" RATWARE_ZERO_TZ
grep -h '^score RATWARE_ZERO_TZ' "$root"/usr/share/spamassassin/*.cf
