"""Log lines: one for each request, one for each change of a deployment, written together where they are many."""
