"""Holds so many MiB that don't compress, checks them, and says so again and again."""

import hashlib
import os
import sys
import time

block = os.urandom(int(sys.argv[1]) << 20)
digest = hashlib.blake2b(block).digest()
print("ready")
while True:
    time.sleep(0.05)
    print("intact" if hashlib.blake2b(block).digest() == digest else "DAMAGED")
