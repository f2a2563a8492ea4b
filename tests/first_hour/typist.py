"""Runs a command at a terminal of its own and answers its questions.

Standard input has a line per question: words of it, a tab, the answer. Each answer is typed when the words are there.
"""
import os
import pty
import select
import sys
import time

answers = [line.rstrip("\n").split("\t", 1) for line in sys.stdin if line.strip()]
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execvp(sys.argv[1], sys.argv[1:])
unread, until = "", time.monotonic() + 50
while time.monotonic() < until:
    ready, _, _ = select.select([terminal], [], [], 1)
    if not ready:
        continue
    try:
        piece = os.read(terminal, 65536).decode(errors="replace")
    except OSError:
        break
    if not piece:
        break
    sys.stdout.write(piece)
    sys.stdout.flush()
    unread += piece
    if answers and answers[0][0] in unread:
        time.sleep(0.2)
        os.write(terminal, (answers.pop(0)[1] + "\r").encode())
        unread = ""
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
