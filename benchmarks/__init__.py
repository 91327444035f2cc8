"""What the relay costs, beside nginx and beside no relay at all.

upstream.py   stands for Azure OpenAI: streams numbered, time-stamped events
pacer.py      its clock
load.py       the clients: counts what arrives, and how late
relays.py     starts what stands between them
process.py    CPU time and memory of a process and its children, from the operating system
workloads.py  what is measured
measure.py    one workload through one relay
report.py     many rounds into one table

Each of upstream, clients and relays is a process of its own. `scripts/bench` runs it all. By themselves run:

choosing.py   what choosing a deployment costs, by their number
replicas.py   fifty replicas before Azure's limits, in invented time; fleet.py is what it simulates
plot.py       lines into an SVG
guard.py      the relay beside the least that a relay can be (reference.py), in bursts.py; costly.py makes it fail
cold_start.py what starting takes, on a server and on Azure Functions
"""
