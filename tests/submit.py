"""Submits numbered messages over TLS until it is told to stop, and prints what became of each.

submit.py HOST PORT USER PASSWORD FROM TO COUNT THREADS: prints `taken N` for what was answered 250, `doubt N` for what
was sent and got no answer. It ends when COUNT are taken.
"""
import smtplib
import ssl
import sys
import threading
import time

host, port, user, password, sender, to, count, threads = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
lock = threading.Lock()
state = {"next": 0, "taken": 0}


def number():
    with lock:
        if state["taken"] >= int(count):
            return None
        state["next"] += 1
        return state["next"]


def told(what, n):
    with lock:
        state["taken"] += what == "taken"
        print(what, n, flush=True)


def session():
    """One connection's messages; True when there are no more."""
    with smtplib.SMTP_SSL(host, int(port), context=context, timeout=20) as smtp:
        smtp.login(user, password)
        while (n := number()) is not None:
            text = f"From: {sender}\r\nTo: {to}\r\nSubject: out-{n}\r\n\r\n" + "some text\r\n" * (n % 400)
            try:
                smtp.sendmail(sender, [to], text.encode())
            except smtplib.SMTPResponseException:
                return False
            except (OSError, smtplib.SMTPException):
                told("doubt", n)
                return False
            told("taken", n)
    return True


def work():
    done = False
    while not done:
        try:
            done = session()
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)
            done = state["taken"] >= int(count)


workers = [threading.Thread(target=work) for _ in range(int(threads))]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
