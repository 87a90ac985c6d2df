"""The options of `migrate_evacuate` as `ansible-doc` tells them: those that the module takes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.hosts.host import CHECKOUT

LIBRARY = CHECKOUT / "examples/ansible/library"


def options_of_the_code() -> set[str]:
    """The keys of the dictionary that AnsibleModule is given."""
    tree = ast.parse((LIBRARY / "migrate_evacuate.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "AnsibleModule":
            return set(ast.literal_eval(node.args[0]))
    raise AssertionError("no AnsibleModule is made")


def test_the_documentation_has_every_option(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "--json", "-t", "module", "-M", LIBRARY,
         "migrate_evacuate"], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["migrate_evacuate"]["doc"]["options"]
    assert set(told) == options_of_the_code()
