"""WebSocket sessions. They are imported for the first handshake.

gate       what sessions need of the gateway
handshake  the credential and the subprotocol of a handshake
sessions   all sessions of a process: who may open one, and how they end; the requests that prepare realtime sessions
session    what sessions have in common: their messages, and how one ends
responses  the Responses API in WebSocket mode: each ``response.create`` is a request like any other
turns      such a request as the path of HTTP requests sees it
links      the sockets of a session to its upstreams, by which its requests are sent
socket_answer  the answer to one request, made of messages
realtime_start  the beginning of a realtime session
realtime   a realtime session: frames in both directions
events     the client's events of a realtime session: which pass, and what the policy changes in them
meter      what the responses of a realtime session use: reserved, settled and recorded one by one
opening    the first deployment that opens a session or prepares one
secrets    ephemeral keys and calls: to whom they belong
preparing  the requests that prepare a realtime session by HTTP
calls      WebRTC calls, which are watched from beside
preparation  such a request: its configuration by the policy, and what is sent to a deployment
places     what a model is called at a resource
"""
