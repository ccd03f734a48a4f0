# SPDX-License-Identifier: PostgreSQL
"""Where the modules of tests/support are."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
