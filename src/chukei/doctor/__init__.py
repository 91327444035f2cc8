"""Diagnosis: what is wrong with a relay's configuration and surroundings, or on the way to a running relay.

examination  all checks of a configuration, in order; read it first
inspection   all checks of a running relay by its URL
finding      the result of one check; report prints results as text or JSON
machine      versions, open files, folders, the clock
network      name, connection and certificate of one address; certificates judges the certificate
deployments  the credential, and each operation of a deployment; refusals explains what Azure answers
stores       Redis, PostgreSQL, SQLite
teststream   the relay's test stream, and what happens to it on the way
exchange     one HTTP exchange, with the time of each read
judgement    what the arrival of events says about the way; products names who does that, and the remedy
status_table the status of a relay's deployments
"""
