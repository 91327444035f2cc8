"""A simulator of Azure OpenAI: streams like it, answers pleasantly, and fails on demand.

    settings   what can be set                     routes       paths, operations, deployments
    simulator  start, stop, the record of requests  operations   the operations by name
    server     connections and HTTP parsing         chat, …      what each endpoint answers
    sender     steps onto the wire, paced           prose        what the model says
    steps      replies as rows of steps             faults       the language of faults; ``table()`` lists them
    pace       how fast it speaks                   injection    faults as rearranged steps

It imports nothing else of chukei, so that it checks the relay independently.
"""

from chukei.simulator.exchanges import Exchange
from chukei.simulator.settings import SimulatorSettings
from chukei.simulator.simulator import Simulator, serve

__all__ = ["Exchange", "Simulator", "SimulatorSettings", "serve"]
