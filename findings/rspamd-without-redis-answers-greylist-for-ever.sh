#!/bin/sh
# rspamd 3.12.1 (Debian 13) without Redis answers "greylist" for the same message every time.
#
# A score from 4 to 6 is answered with the action "greylist". By its name the sender is to come again later and then to pass, as
# greylisting goes (RFC 6647 section 2). But the action follows from the score alone. Who came before is remembered by the module
# of that name, which turns itself off without a Redis, as Debian installs it, with one line in the log. A client that makes 451 of
# "greylist" refuses such a message until the sender gives up.
#
# Seen: the same message, at once again, and after the module's time is over: "greylist", "greylist", "greylist".
set -eu
. "$(dirname "$0")/lib/room.sh"

debian trixie rspamd=3.12.1-1
user _rspamd 64901
alone
mkdir -p "$root/run/rspamd" "$root/var/lib/rspamd" "$root/var/log/rspamd" "$root/etc/rspamd/local.d"
# A name server that is not there is given up soon; whoever comes again after a second would pass.
echo 'dns { nameserver = ["127.0.0.1"]; timeout = 0.1s; retransmits = 1; }' > "$root/etc/rspamd/local.d/options.inc"
echo 'timeout = 1s;' > "$root/etc/rspamd/local.d/greylist.conf"
# One rule that always matches: with what the others find, no name server being there, the score is 5.
cat > "$root/etc/rspamd/rspamd.local.lua" <<'LUA'
rspamd_config:register_symbol({ name = 'ONE_POINT', score = 1.0, callback = function() return true end })
LUA
inside rspamd --no-fork --insecure > "$room/log" 2>&1 &
wait_for_port 11333

cat > "$room/ask.py" <<'PYTHON'
import email.utils, json, time, urllib.request

message = (f"From: Alice <alice@example.net>\r\nTo: Bob <bob@example.org>\r\nSubject: Tuesday\r\n"
           f"Date: {email.utils.formatdate()}\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n"
           f"Content-Type: text/plain; charset=us-ascii\r\n\r\nShall we meet on Tuesday?\r\n").encode()
envelope = {"From": "alice@example.net", "Rcpt": "bob@example.org"}

def action():
    request = urllib.request.Request("http://127.0.0.1:11333/checkv2", message, envelope)
    answer = json.load(urllib.request.urlopen(request, timeout=60))
    assert 4 <= answer["score"] < 6, answer
    return answer["action"]

first, second = action(), action()
time.sleep(3)
print(first, second, action(), sep=", ")
PYTHON
as_described "at once, at once again, after the time is over" "$(python3 "$room/ask.py")" "greylist, greylist, greylist"
line=$(cat "$room/log" "$root"/var/log/rspamd/* 2> /dev/null | grep -o 'greylist.lua.*no servers are specified, disabling module')
as_described "the log" "$(echo "$line" | sed 's/:[0-9]*//' | head -n 1)" "greylist.lua: no servers are specified, disabling module"
