"""The upstream side: which deployment to ask, and how.

failover      tries one deployment after another; hedge asks a second in parallel; budget bounds retries
affinity      routing by cached prompts; kept by what a resource keeps under an id
attempt       one request to one deployment, up to its first output
capabilities  the parameters that each api-version of a deployment supports
writing       the upstream request, with parameters that the client left out
connect       the wait for the first output, while every failure can become an HTTP error
refusals      the client's error for an upstream failure; explanation extracts the upstream's own message
"""
