"""SQL that both databases share: administrators' rules, and the record of their changes."""

RULES = "SELECT subject, rules FROM chukei_rules"
RULES_MARK = "SELECT max(number) FROM chukei_changes"  # each change has a record, and they are made one after another
CHANGES = "SELECT number, time, actor, subject, before, after FROM chukei_changes ORDER BY number DESC"
