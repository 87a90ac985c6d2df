"""What works on this host, what is missing, what that costs, and the mend."""

from migrate.move.doctor.finding import Finding, fit_for_move
from migrate.move.doctor.mending import mend
from migrate.move.doctor.report import examine, from_json, table, to_json

__all__ = ["Finding", "examine", "fit_for_move", "mend", "table", "to_json", "from_json"]
