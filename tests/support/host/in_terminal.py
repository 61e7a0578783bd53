"""Runs a command in a terminal of its own and presses Ctrl-C once it has printed what it is ready with.

Usage: in_terminal.py PATTERN COMMAND...
Prints what the command printed, and ends with its exit code (128 and the signal's number when one ended it).
"""
import os
import pty
import re
import signal
import sys

pattern = re.compile(sys.argv[1].encode(), re.MULTILINE)
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])

seen = b""
pressed = False
while True:
    try:
        chunk = os.read(terminal, 65536)
    except OSError:  # EIO: nobody has the terminal any more.
        break
    if not chunk:
        break
    seen += chunk
    os.write(1, chunk)
    if not pressed and pattern.search(seen):
        pressed = True
        os.write(terminal, b"\x03")

_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 0x7F if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
