"""Objects that resources keep under an id: which resource keeps each, and to whom it belongs.

registry    the ids that are known, in memory and in the stores that replicas share
references  the ids that a request's body refers to
kinds       the kinds of objects: the prefixes of their ids, and how long the ids are remembered
"""
