# Many sessions that idle in the mailboxes they are told of, and say what each has heard when told to. Standard input: a line
# for each time; the sessions end with the last.
import imaplib, selectors, ssl, sys

host, port, user, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl._create_unverified_context()
sessions = []
for group in sys.argv[5:]:
    mailbox, count = group.split("=")
    for _ in range(int(count)):
        imap = imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=120)
        imap.login(user, password)
        imap.select(mailbox)
        imap.send(b"t IDLE\r\n")
        assert imap.readline().startswith(b"+")
        sessions.append((mailbox, imap, []))
print("idling %d" % len(sessions), flush=True)
for line in sys.stdin:
    mailbox, wanted = line.split()
    # Those that have to hear are waited for; a line that the others got came before.
    for name, imap, heard in sessions:
        while name == mailbox and sum(b"EXISTS" in line for line in heard) < int(wanted):
            heard.append(imap.readline())
            assert heard[-1], "the session has ended"
    waiting = selectors.DefaultSelector()
    for name, imap, heard in sessions:
        waiting.register(imap.sock, selectors.EVENT_READ)
    unread = len(waiting.select(0.5))
    of = lambda name: sorted({len(heard) for known, _, heard in sessions if known == name})
    print("heard %s %s unread %d" % (mailbox, of(mailbox), unread), flush=True)
for _, imap, _ in sessions:
    imap.send(b"DONE\r\n")
    while not imap.readline().startswith(b"t OK"):
        pass
print("done", flush=True)
