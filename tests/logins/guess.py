# Guesses passwords of one account from so many addresses, so often in a second in all, on 993 and 465; prints how
# many were offered, and what was answered.
import base64, json, socket, ssl, sys, threading, time

host, imap, submission, sources, rate, seconds, user = sys.argv[1], *map(int, sys.argv[2:7]), sys.argv[7]
context = ssl._create_unverified_context()
lock, count = threading.Lock(), {"offered": 0, "wrong": 0, "later": 0, "broken": 0}
until = time.monotonic() + seconds


def note(what, number=1):
    with lock:
        count[what] += number


def guess(address, number):
    pause = sources / rate
    due = time.monotonic()
    while time.monotonic() < until:
        port = imap if number % 2 else submission
        try:
            raw = socket.create_connection((host, port), 20, (address, 0))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(raw) as client:
                lines = client.makefile("rb")
                lines.readline()
                if port == submission:
                    client.sendall(b"EHLO x\r\n")
                    while lines.readline()[3:4] == b"-":
                        pass
                for tries in range(3 if port == imap else 18):
                    time.sleep(max(0, due - time.monotonic()))
                    due += pause
                    note("offered")
                    if port == imap:
                        client.sendall(b"t LOGIN %s guess%d\r\n" % (user.encode(), count["offered"]))
                        said = lines.readline()
                        later, wrong = b"[UNAVAILABLE]" in said, b"[AUTHENTICATIONFAILED]" in said
                    else:
                        plain = base64.b64encode(b"\0%s\0guess%d" % (user.encode(), count["offered"]))
                        client.sendall(b"AUTH PLAIN %s\r\n" % plain)
                        said = lines.readline()
                        later, wrong = said.startswith(b"454"), said.startswith(b"535")
                    note("later" if later else "wrong" if wrong else "broken")
                    if not (later or wrong) or time.monotonic() > until:
                        break
        except OSError:
            note("broken")
            time.sleep(0.05)
        number += 1


threads = []
for source in range(sources):
    for number in range(6):
        threads.append(threading.Thread(target=guess, args=("10.66.%d.1" % source, number), daemon=True))
print("ready", flush=True)
sources *= 6
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(seconds + 60)
print("guessed " + json.dumps(count), flush=True)
