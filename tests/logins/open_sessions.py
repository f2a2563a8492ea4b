# Two sessions of one account, IMAP that idles and submission in the middle of a message; says when they are open, and what
# each hears at its end. Then it logs in anew, as it did before.
import imaplib, smtplib, ssl, sys, threading

host, imap_port, submission_port, user, password = sys.argv[1:6]
context = ssl._create_unverified_context()
imap = imaplib.IMAP4_SSL(host, int(imap_port), ssl_context=context, timeout=120)
imap.login(user, password)
imap.select("INBOX")
imap.send(b"t IDLE\r\n")
assert imap.readline().startswith(b"+")
idle = smtplib.SMTP_SSL(host, int(submission_port), "mua.test", context=context, timeout=120)
idle.login(user, password)
middle = smtplib.SMTP_SSL(host, int(submission_port), "mua.test", context=context, timeout=120)
middle.login(user, password)
middle.mail(user)
middle.rcpt("alice@example.org")
assert middle.docmd("DATA")[0] == 354
middle.send(("From: %s\r\nTo: alice@example.org\r\nSubject: half\r\n\r\n" % user).encode())
print("open", flush=True)
said = imap.readline()
while said.startswith(b"* ") and b"BYE" not in said:
    said = imap.readline()
print("imap", said, imap.readline(), flush=True)
print("idle", idle.getreply()[0], flush=True)
print("middle", middle.getreply()[0], flush=True)
try:
    middle.send(b"the other half\r\n.\r\n")
    print("middle", middle.getreply(), flush=True)
except (OSError, smtplib.SMTPException) as error:
    print("middle is closed", flush=True)
try:
    imaplib.IMAP4_SSL(host, int(imap_port), ssl_context=context, timeout=120).login(user, password)
    print("still in", flush=True)
except imaplib.IMAP4.error as error:
    print("out", error, flush=True)
