"""Log lines: one for each request, one for each change of a deployment, written in batches under load."""
