"""WebSockets (RFC 6455) on a transport: to clients and to upstreams, by the sans-I/O layer of ``websockets``.

``handshake`` has both sides' handshakes, ``connection`` is the open socket. Both import the library, so they are
imported at the first handshake.
"""
