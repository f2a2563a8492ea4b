"""Sends numbered messages, one after another, and says of each what became of it: taken, refused, or in doubt, when the
connection was lost before the last reply. Such a one is sent again until its sender hears, as every MTA does, if that is wanted.

Arguments: host, port, tls or none, user, password, from, to, subject's first word, first number, how many (0: until
standard input ends), pause in seconds, a line that every body has, after how many messages comes a large one (0: none),
how often it has another line, and how often a message in doubt is sent again.
"""
import select, smtplib, ssl, sys, time

host, port, security, user, password, sender, to, word, first, count, pause, line, every, more, again = sys.argv[1:]
FILLER = "x" * 70 + "\r\n"
context = ssl._create_unverified_context()
client = None


def connect():
    if security == "tls":
        made = smtplib.SMTP_SSL(host, int(port), context=context, timeout=20)
    else:
        made = smtplib.SMTP(host, int(port), timeout=20)
    if user:
        made.login(user, password)
    else:
        made.ehlo()
    return made


def say(*words):
    print(*words, flush=True)


def send(number):
    """One transaction. What is refused before the body, or never began, is not in doubt."""
    global client
    text = (
        f"From: {sender}\r\nTo: {to}\r\nSubject: {word}-{number}\r\nMessage-ID: <{word}{number}.{sender}>\r\n"
        f"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n\r\nThis is {number}.\r\n{line}\r\n"
    )
    if int(every) and number % int(every) == 0:
        text += FILLER * int(more)
    asked = False
    try:
        if client is None:
            client = connect()
        for verb, argument in (("MAIL", f"FROM:<{sender}>"), ("RCPT", f"TO:<{to}>"), ("DATA", "")):
            code, reply = client.docmd(verb, argument)
            if code not in (250, 251, 354):
                client.docmd("RSET")
                return say("refused", number, code, reply.decode("latin-1"))
        asked = True
        client.sock.sendall((text + ".\r\n").encode())
        code, reply = client.getreply()
        say("taken" if code == 250 else "refused", number, code, reply.decode("latin-1"))
    except (OSError, smtplib.SMTPException) as error:
        client = None
        say("doubt" if asked else "refused", number, "none", repr(error))
        return asked
    return False


def told_to_stop():
    return select.select([sys.stdin], [], [], 0)[0] != []


number = int(first)
last = number + int(count)
while number != last if int(count) else not told_to_stop():
    tries = 0
    while send(number) and tries < int(again):
        tries += 1
        time.sleep(1)
    number += 1
    time.sleep(float(pause))
say("done")
