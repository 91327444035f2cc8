"""Write the dashboard and the rules, also those of the chart: ``python -m monitoring``."""

from pathlib import Path

from monitoring import dashboard, rules

HERE = Path(__file__).parent
CHART = HERE.parent / "charts" / "chukei" / "files"

(HERE / dashboard.FILE).write_text(dashboard.written(), "utf-8")
for folder in (HERE, CHART):
    (folder / rules.FILE).write_text(rules.written(), "utf-8")
