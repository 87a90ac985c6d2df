#!/usr/bin/python
"""An Ansible module around `migrate evacuate` and `migrate host cordon`; runs on the controller."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: migrate_evacuate
short_description: Empty a host of its running containers, or fill it again
description:
  - Calls the command C(migrate) with C(--json) where the module runs. That is to be the machine
    from which the hosts are administered, always the same one (C(delegate_to)), as root - its
    journals say what is to come back.
attributes:
  check_mode:
    description: As C(--dry-run); the hosts are asked, nothing is touched.
    support: full
options:
  host:
    description: A name of the inventory, or USER@HOST[:PORT]; not C(.).
    type: str
    required: true
  state:
    description:
      - C(evacuated) - cordoned, and every container is on another host.
      - C(returned) - takes containers again, and those that an evacuation has moved are back.
      - C(cordoned), C(uncordoned) - takes no containers, or takes them; nothing moves.
    type: str
    choices: [evacuated, returned, cordoned, uncordoned]
    default: evacuated
  to:
    description: Where containers may go; without it all other hosts of the inventory.
    type: list
    elements: str
    default: []
  parallel:
    description: Moves at once.
    type: int
    default: 2
  max_downtime:
    description: How long each pause may be, in milliseconds.
    type: int
  deadline:
    description: Seconds; nothing is begun that would not be done by then.
    type: float
  on_failure:
    description: As of C(migrate evacuate). With C(skip) the others move, and the task fails.
    type: str
    choices: [stop, skip, cold]
    default: stop
  why:
    description: What it is cordoned for.
    type: str
    default: ansible
  inventory:
    description: migrate's own TOML file, or an INI or YAML file of Ansible's.
    type: path
  store:
    description: The fleet's store, as of C(migrate evacuate --store).
    type: str
  executable:
    description: The command.
    type: path
    default: migrate
"""

EXAMPLES = r"""
- name: Empty it
  migrate_evacuate:
    host: "{{ inventory_hostname }}"
    inventory: "{{ inventory_file }}"
    max_downtime: 200
  delegate_to: localhost
"""

RETURN = r"""
report:
  description: What C(migrate evacuate --report FILE.json) has; empty where nothing moved.
  type: dict
  returned: always
plan:
  description: The plan, of state C(evacuated).
  type: dict
  returned: check mode
error:
  description: code, name, what, cause and mend.
  type: dict
  returned: on failure
"""

NOTHING_TO_RETURN = "nothing-to-return"


class Failed(Exception):
    """The command has failed. `error` is migrate's own, `told` what it had said before."""

    def __init__(self, error: dict[str, Any], told: dict[str, Any]) -> None:
        super().__init__(": ".join(filter(None, (error.get("what"), error.get("cause")))))
        self.error, self.told = error, told


class Migrate:
    """The command with the module's parameters. Each state is a method; it gives the result."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module, self._given = module, module.params

    def evacuated(self) -> dict[str, Any]:
        was = self._is_cordoned()
        words = [f"--to={host}" for host in self._given["to"]]
        words += self._options("parallel", "max_downtime", "deadline", "on_failure", "store")
        if self._module.check_mode:
            plan = self._tell("evacuate", *words, "--dry-run").get("plan", {})
            return {"changed": bool(plan.get("steps")) or not was, "plan": plan}
        report = self._tell("evacuate", *words).get("report", {})
        return {"changed": bool(report.get("moved")) or not was, "report": report}

    def returned(self) -> dict[str, Any]:
        words = ["--return", *self._options("parallel", "max_downtime", "store")]
        if self._module.check_mode:
            words += ["--dry-run"]
        try:
            told = self._tell("evacuate", *words)
        except Failed as failed:
            if failed.error.get("name") != NOTHING_TO_RETURN:
                raise
            return self.uncordoned() | {"msg": str(failed)}  # nothing is to be brought back
        return {"changed": True, "report": told.get("report", {})}

    def cordoned(self) -> dict[str, Any]:
        if self._is_cordoned():
            return {"changed": False}  # whoever has done it keeps the reason
        if not self._module.check_mode:
            self._tell("host cordon", f"--why={self._given['why']}")
        return {"changed": True}

    def uncordoned(self) -> dict[str, Any]:
        if self._module.check_mode:
            return {"changed": self._is_cordoned() is not False}
        return {"changed": self._tell("host uncordon")["was_cordoned"]}

    def _is_cordoned(self) -> bool | None:
        """None for a host that is in no inventory, or does not answer."""
        for entry in self._run("host ls", [])[0]:
            if self._given["host"] in (entry["name"], entry["address"]):
                return (entry["state"] or {}).get("cordoned")
        return None

    def _options(self, *names: str) -> list[str]:
        return [
            f"--{name.replace('_', '-')}={self._given[name]}"
            for name in names
            if self._given[name] is not None
        ]

    def _tell(self, verb: str, *words: str) -> dict[str, Any]:
        """What it says of the host: its JSON objects in one, a later key over an earlier."""
        return merged(self._run(verb, [*words, "--", self._given["host"]]))

    def _run(self, verb: str, words: list[str]) -> list[Any]:
        options = [*self._options("inventory"), "--json"]
        code, out, complaint = self._module.run_command(
            [self._given["executable"], *verb.split(), *options, *words]
        )
        values = json_values(out)
        if code != 0:
            told = merged(values)
            words_of_it = complaint.strip()[-2000:] or f"it ended with {code}"
            raise Failed(told.get("error", {"code": code, "what": words_of_it}), told)
        return values


def json_values(text: str) -> list[Any]:
    """All of them, one after another: a line each, or over several lines."""
    decoder, values, text = json.JSONDecoder(), [], text.lstrip()
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except ValueError as error:
            raise Failed(
                {"what": "migrate does not answer in JSON", "cause": str(error)}, {}
            ) from None
        values.append(value)
        text = text[end:].lstrip()
    return values


def merged(values: list[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for value in values:
        told |= value if isinstance(value, dict) else {}
    return told


def main() -> None:
    module = AnsibleModule(
        {
            "host": {"type": "str", "required": True},
            "state": {
                "type": "str", "default": "evacuated",
                "choices": ["evacuated", "returned", "cordoned", "uncordoned"],
            },
            "to": {"type": "list", "elements": "str", "default": []},
            "parallel": {"type": "int", "default": 2},
            "max_downtime": {"type": "int"},
            "deadline": {"type": "float"},
            "on_failure": {
                "type": "str", "default": "stop", "choices": ["stop", "skip", "cold"],
            },
            "why": {"type": "str", "default": "ansible"},
            "inventory": {"type": "path"},
            "store": {"type": "str"},
            "executable": {"type": "path", "default": "migrate"},
        },
        supports_check_mode=True,
    )  # fmt: skip
    if module.params["host"] == ".":
        module.fail_json(msg="name the host as others do: '.' can't be filled again", report={})
    try:
        result = getattr(Migrate(module), module.params["state"])()
    except Failed as failed:
        report = failed.told.get("report", {})
        module.fail_json(
            msg=str(failed), error=failed.error, report=report, changed=bool(report.get("moved"))
        )
    module.exit_json(**{"report": {}} | result)


if __name__ == "__main__":
    main()
