# SPDX-License-Identifier: PostgreSQL
"""What the benches share."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
sys.dont_write_bytecode = True

from pgvtest import process  # noqa: E402
from pgvtest.checks import Checks, main  # noqa: E402, F401


def client_program(name):
    """A client that meson builds beside the daemon."""
    return os.path.join(os.path.dirname(os.path.dirname(process.binary())), "tests", "bench", name)
