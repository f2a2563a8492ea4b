#!/bin/sh
# Dovecot 2.4.1 with Pigeonhole (Debian 13): Sieve's `reject` answers LMTP with 250 and sends a mail; `ereject` is unknown.
#
# In LMTP there is an answer for each recipient after the data (RFC 2033 section 4.2), so a script's refusal could be that answer.
# RFC 5429 was written for it: section 2 lets `reject` refuse within SMTP or LMTP, and has `ereject` demand that wherever it can be
# done, so that whose address was forged gets no mail. Pigeonhole takes the message with 250 and hands a notice to the envelope's
# sender to sendmail; `ereject` can't be required, also not when `sieve_extensions` names it: such a script does not compile.
#
# Seen: "250", and a mail to alice@example.net that says "Not wanted here"; `require "ereject"`: "unknown Sieve capability".
set -eu
. "$(dirname "$0")/lib/room.sh"

version=1:2.4.1+dfsg1-6+deb13u7
debian trixie dovecot-core=$version dovecot-lmtpd=$version dovecot-sieve=$version dash coreutils
user dovecot 64901
user dovenull 64902
user vmail 64903
alone
mkdir -p "$root/mail/bob" "$root/sent"
cat > "$root/mail/bob/rules.sieve" <<'SIEVE'
require "reject";
reject "Not wanted here.";
SIEVE
# In place of sendmail: keeps what it is given.
printf '#!/bin/sh\necho "$@" > /sent/arguments\ncat > /sent/message\n' > "$root/sent/sendmail"
chmod 755 "$root/sent/sendmail"
chown -R 64903:64903 "$root/mail" "$root/sent"
cat > "$root/etc/dovecot.conf" <<'CONF'
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
base_dir = /run/dovecot
protocols = lmtp
log_path = /var/log/dovecot
ssl = no
mail_driver = maildir
mail_path = ~/mail
sendmail_path = /sent/sendmail
postmaster_address = postmaster@example.org
passdb static {
  password = x
}
userdb static {
  fields {
    uid = vmail
    gid = vmail
    home = /mail/bob
  }
}
service lmtp {
  inet_listener lmtp {
    listen = 127.0.0.1
    port = 2424
  }
}
sieve_script personal {
  path = /mail/bob/rules.sieve
}
sieve_extensions {
  ereject = yes
}
protocol lmtp {
  mail_plugins {
    sieve = yes
  }
}
CONF
inside dovecot -F -c /etc/dovecot.conf > "$room/log" 2>&1 &
wait_for_port 2424

cat > "$room/deliver.py" <<'PYTHON'
import smtplib

server = smtplib.LMTP("127.0.0.1", 2424, "mx.example.org")
server.ehlo()
server.mail("alice@example.net")
server.rcpt("bob@example.org")
header = "From: alice@example.net\r\nTo: bob@example.org\r\nMessage-ID: <1@example.net>\r\nSubject: a test\r\n"
print(server.data(header + "\r\nHello.\r\n")[0])
PYTHON
as_described "the answer to the data" "$(python3 "$room/deliver.py")" "250"
for _ in $(seq 100); do [ -s "$root/sent/message" ] && break; sleep 0.1; done
as_described "who is sent a mail" "$(grep -o 'alice@example.net' "$root/sent/arguments" | head -n 1)" "alice@example.net"
as_described "what it says" "$(grep -o 'Not wanted here' "$root/sent/message" | head -n 1)" "Not wanted here"
printf 'require "ereject";\nereject "Not wanted here.";\n' > "$root/tmp/other.sieve"
inside sievec -c /etc/dovecot.conf /tmp/other.sieve > "$room/sievec" 2>&1 || true
as_described "ereject" "$(grep -o "unknown Sieve capability .ereject." "$room/sievec" | head -n 1)" "unknown Sieve capability 'ereject'"
