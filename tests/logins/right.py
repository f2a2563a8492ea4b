# Logs in as it should be, on 993 and 465 in turn, a connection each; prints how long each login took, in seconds.
import imaplib, json, smtplib, ssl, sys, time

host, imap, submission, user, password, times, pause = *sys.argv[1:6], int(sys.argv[6]), float(sys.argv[7])
context = ssl._create_unverified_context()
took, failed = {"IMAP": [], "submission": []}, []
for number in range(times):
    began = time.monotonic()
    try:
        if number % 2 == 0:
            client = imaplib.IMAP4_SSL(host, int(imap), ssl_context=context, timeout=60)
            client.login(user, password)
            took["IMAP"].append(time.monotonic() - began)
            client.logout()
        else:
            client = smtplib.SMTP_SSL(host, int(submission), "mua.test", context=context, timeout=60)
            client.login(user, password)
            took["submission"].append(time.monotonic() - began)
            client.quit()
    except Exception as error:
        failed.append(repr(error))
    time.sleep(pause)
slowest = max([0.0] + took["IMAP"] + took["submission"])
print(json.dumps({"first": took["IMAP"][:1] + took["submission"][:1], "slowest": slowest, "failed": failed}))
