"""The live view: what happens now, and whether Azure, the network, the relay or the callers are slow.

histogram  durations in buckets, with percentiles
rings      a bounded number of steps of time
shares     what is counted of a deployment, of a caller, of a reason
window     the last minute and quarter of an hour of one process, from the records of its requests
part       what one process knows, and the sum of several
verdict    the rules that say where the slowness is
view       what is shown, computed from a part
worker     one process: answers with its part, and measures its event loop while somebody looks

Requests cost a few microseconds each, events of streams nothing. Memory is bounded whatever callers send.
"""
