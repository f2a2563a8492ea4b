# A message under an alias, of which the second half is sent when the file is there; prints what is said to it.
import os, smtplib, ssl, sys, time

host, _, port, user, password, sender, go = sys.argv[1:8]
client = smtplib.SMTP_SSL(host, int(port), "mua.test", context=ssl._create_unverified_context(), timeout=120)
client.login(user, password)
client.mail(sender)
client.rcpt("alice@example.org")
assert client.docmd("DATA")[0] == 354
client.send(("From: %s\r\nTo: alice@example.org\r\nSubject: alias\r\n\r\n" % user).encode())
print("open", flush=True)
while not os.path.exists(go):
    time.sleep(0.05)
client.send(b"text\r\n.\r\n")
print("end", client.getreply()[0], flush=True)
