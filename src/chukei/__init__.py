"""chukei (中継, "relay"): a streaming relay between clients and Azure OpenAI.

Where things are, in the order in which a request meets them:

    hosts/       a platform's request becomes an Incoming and a Reply: ASGI server, Azure Functions
    gateway      the path of one request; read this first
    intake       may this head be acted on at all?
    routes       what do method and path mean?
    auth, cors   who calls, and from which site?
    bodies       is there room for the body? codings reads a compressed one
    call         what is asked: fields (JSON) or multipart, with fill adding what the client left out
    admission    may the caller? estimate says what a request may use, cost what that costs
    failover     whom to ask, and whom next; affinity, hedge and budget say where, when and how often
    pool/        which deployment answers? how all of them are doing
    attempt      one deployment asked; capabilities says what its API knows
    connect      until the first event: every failure is still a plain error, by the one table in verdicts; refusals and
                 explanation say it to the client
    heartbeat    comments while nothing has come yet
    deliver      from the first event to the last: the clock that watches both sides
    relay        the state of one stream, over sse (framing), shape (events that look alike), events and usage (tokens);
                 plaintext for the simple form, whole_answer for what is no stream
    pages        what the relay answers itself: the chat page in web/, models, health

Around them:

    model, errors, ports, stores, telemetry, wire    the words that all of them share
    adapters/    the outside world: HTTP client, credentials, request log, page files
    config/      settings: read once, checked as a whole
    app          the one place that wires
    cli, doctor  the command line
    simulator/   an Azure OpenAI resource on a laptop; imports nothing of the rest
"""

__version__ = "0.1.0"
