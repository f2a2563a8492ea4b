# One sender delivers; then strangers of three networks take all that strangers may have. Prints what the next stranger
# hears, and what somebody of the sender's network does.
import smtplib, socket, sys, time

host, port = sys.argv[1], int(sys.argv[2])


def deliver(source):
    client = smtplib.SMTP(host, port, "sender.test", timeout=60, source_address=(source, 0))
    message = "From: a@sender.test\r\nTo: bob@example.org\r\nSubject: from %s\r\n\r\nhello\r\n" % source
    client.sendmail("a@sender.test", ["bob@example.org"], message)
    client.quit()


if sys.argv[3] == "new":
    deliver("127.5.0.1")
held = []
while len(held) < 3:
    client = socket.create_connection((host, port), 60, ("127.6.%d.1" % len(held), 0))
    said = client.recv(512)
    if said.startswith(b"220"):
        held.append(client)
    else:
        client.close()
        time.sleep(0.2)
stranger = socket.create_connection((host, port), 60, ("127.7.0.1", 0))
print("stranger", stranger.recv(512).decode().strip())
deliver("127.5.0.2")
print("known is served")
