"""Write the dashboard and the rules: ``python -m monitoring``."""

from pathlib import Path

from monitoring import dashboard, rules

HERE = Path(__file__).parent

(HERE / dashboard.FILE).write_text(dashboard.written(), "utf-8")
(HERE / rules.FILE).write_text(rules.written(), "utf-8")
