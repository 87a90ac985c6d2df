"""Runs one line of Python after another from its standard input, and says "done" after each."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ctypes  # noqa: F401 -- for the lines
import random
import signal  # noqa: F401
import threading  # noqa: F401
import time  # noqa: F401

import memory as m

rng = random.Random(1)
names = globals()
m.say("ready")
for line in sys.stdin:
    exec(line, names)
    m.say("done")
