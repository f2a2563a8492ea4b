"""Hands in the message on standard input as it is: submit.py HOST PORT USER PASSWORD TO"""
import smtplib
import ssl
import sys

host, port, user, password, to = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
message = sys.stdin.buffer.read()
options = [] if message.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
with smtplib.SMTP_SSL(host, int(port), local_hostname="laptop.home.lan", context=context) as session:
    session.login(user, password)
    session.sendmail(user, [to], message, mail_options=options)
