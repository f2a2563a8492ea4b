import smtplib, ssl, sys
host, port, security, user, password, sender, to, mail_options, rcpt_options = sys.argv[1:]
context = ssl._create_unverified_context()
if security == 'tls':
    client = smtplib.SMTP_SSL(host, int(port), context=context)
else:
    client = smtplib.SMTP(host, int(port))
if security == 'starttls':
    client.starttls(context=context)
if user:
    client.login(user, password)
client.sendmail(sender, to.split(','), sys.stdin.buffer.read(), mail_options.split(), rcpt_options.split())
client.quit()
