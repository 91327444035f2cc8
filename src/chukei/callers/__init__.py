"""Authentication of callers. Pure, except for the stores that are passed in.

gatekeeper  from a request's credentials to a Caller, or a refusal
keys        callers' keys: their format, creation and verification
tokens      Entra ID access tokens; principal reads App Service's header
throttle    rate limit of failed authentications by address
operator_key  the key of administrators' routes and of metrics
registry    creating, listing, rotating and revoking keys, for the command line and the admin API
"""
