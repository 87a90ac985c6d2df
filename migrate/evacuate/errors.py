"""What can go wrong with an evacuation."""

from __future__ import annotations

from migrate.errors import MigrateError


class PlanBad(MigrateError):
    """A plan file is not what `migrate evacuate` wrote, or was edited into something else."""

    code = 124
    mend = "mend the place that is named, or make the plan anew"
