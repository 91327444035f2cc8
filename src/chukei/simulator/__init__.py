"""A simulator of Azure OpenAI: streams like it, answers pleasantly, and fails on demand.

    simulator   start, stop, and who answers a request     chat, responses, completions, media: what a model does
    operations  the paths and what answers each            answers, prose, schemas: what the model says
    server      connections, parsing                       faults, striking, injection: failures on demand
    sending     the steps of a reply on a connection
    exchanges   a request, its reply, the record of it     azure: what Azure puts around a model's words
    sockets     WebSockets; socket_turns, spoken there:    lanes, realtime: Responses, and the realtime API
    stored      what the resource keeps                    kept_responses, kept_chat, files, vectors, batches, tuning:
    objects     what its kinds have in common                the operations on what is kept
    jobs        statuses and events that take time         offered: the models that a relay lists

It imports nothing else of chukei, so that it checks the relay independently.
"""

from chukei.simulator.exchanges import Exchange
from chukei.simulator.offered import offered
from chukei.simulator.settings import SimulatorSettings
from chukei.simulator.simulator import Simulator, serve

__all__ = ["Exchange", "Simulator", "SimulatorSettings", "offered", "serve"]
