"""Whom to ask, and how.

failover      one request's way through the deployments; hedge and budget are its bounds
affinity      what a request has in common with earlier ones
attempt       one deployment asked, from its credential to its first output
capabilities  what each api-version of a deployment knows
writing       the request as it goes up, with what the client left out
connect       the wait for the first output; everything that can still become an HTTP error
refusals      what the client hears of a failure; explanation is the upstream's own words
"""
