"""Quotas and usage: what a caller may use, and what it used.

limits      types: limits, amounts, grants, refusals
policy      the rules that apply to a caller
estimate    tokens that a request may use; cost computes their price
admission   reservation before a request, settlement after it
quota       the arithmetic of minutes, days and months
ledger      types of the ledger; entries makes an entry of a record; reports and own_usage present sums
stores      protocols of the quota store and the database
"""
