"""Who calls. Pure, but for the stores that are passed in.

gatekeeper  from a request's credentials to a Caller, or a refusal
keys        keys of callers: how they are made, written and looked up
tokens      Entra ID tokens; principal reads what App Service says of a caller
throttle    how often one address may show a wrong credential
cabinet     making, listing and ending keys, for the command line and the admin API
"""
