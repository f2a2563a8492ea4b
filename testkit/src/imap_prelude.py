import imaplib, json, ssl, sys, time

imaplib._MAXLINE = 100_000_000
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
imap = imaplib.IMAP4_SSL(sys.argv[1], int(sys.argv[2]), ssl_context=context, timeout=120)
imap.login(sys.argv[3], sys.argv[4])


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def count(mailbox):
    return int(ok(imap.select(mailbox, readonly=True))[0])


def fetch_to_file(mailbox, what, path):
    total = count(mailbox)
    with open(path, "wb") as out:
        for first in range(1, total + 1, 500):
            last = min(first + 499, total)
            for part in ok(imap.fetch("%d:%d" % (first, last), "(%s)" % what)):
                if isinstance(part, tuple):
                    out.write(b"%d\n" % len(part[1]) + part[1])
