# Honest senders that nobody knows: each comes once, from a network of its own, and delivers one message. Prints how many
# were served, and the slowest of them in seconds.
import json, smtplib, sys, threading, time

host, port, count, pause, patience = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
took, failed = [], []


def send(number):
    began = time.monotonic()
    try:
        source = ("100.%d.%d.1" % (65 + number // 250, number % 250), 0)
        client = smtplib.SMTP(host, port, "sender.test", timeout=patience, source_address=source)
        message = "From: a@sender.test\r\nTo: bob@example.org\r\nSubject: honest %d\r\n\r\nhello\r\n" % number
        client.sendmail("a@sender.test", ["bob@example.org"], message)
        took.append(time.monotonic() - began)
        client.quit()
    except Exception as error:
        failed.append("%.1f s: %r" % (time.monotonic() - began, error))


threads = [threading.Thread(target=send, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
    time.sleep(pause)
for thread in threads:
    thread.join()
took.sort()
print(json.dumps({
    "served": len([one for one in took if one <= patience]), "of": count,
    "median": took[len(took) // 2] if took else None, "slowest": took[-1] if took else None, "failed": failed[:5],
}))
