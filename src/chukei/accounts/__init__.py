"""What a caller may use, and what it used.

limits      the words: limits, amounts, refusals
policy      which rules hold for a caller
estimate    what a request may use; cost says what that costs
admission   reserve before a request, settle after it
quota       the arithmetic of minutes, days and months
ledger      the words of the ledger; entries makes one of a record, reports and own_usage answer questions
stores      the contracts with what keeps accounts and ledger
"""
