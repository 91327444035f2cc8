"""A Grafana dashboard and Prometheus alert rules, made from the definitions of the metrics.

queries.py    writes queries, and refuses families and labels that do not exist
causes.py     whose affair a failure is
panels.py     the table of the dashboard's panels
dashboard.py  writes grafana-dashboard.json from it
alerts.py     the table of alerts
rules.py      writes prometheus-rules.yaml from it

``python -m monitoring`` writes both files. A test fails if they differ from what the tables say.
"""
