"""Benchmarks of the relay, compared with other gateways and with no relay.

upstream.py   stands in for Azure OpenAI: streams numbered events with time stamps
pacer.py      the clock of the upstream
load.py       the clients: count events and their delays
relays.py     starts the relay
process.py    CPU time and memory of a process and its children, from the operating system
workloads.py  the workloads
measure.py    measures one workload through one relay
report.py     tables of many rounds

Upstream, clients and relays are separate processes. `scripts/bench` runs them all. These are separate commands:

choosing.py   the cost of choosing a deployment, by the number of deployments
replicas.py   fifty replicas at Azure's limits, in virtual time; fleet.py is the simulation
plot.py       draws lines as an SVG
guard.py      compares the relay with the smallest possible one (reference.py), by bursts.py; costly.py makes it fail
cold_start.py the time of a start, on a server and on Azure Functions
"""
