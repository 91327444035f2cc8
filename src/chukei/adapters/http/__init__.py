"""An HTTP/1.1 client for relaying: it pools connections, and passes every read on at once with bounded buffers.

client.py      the connection pool
dial.py        opens connections: TCP, TLS, proxies
tls.py         TLS between the socket's transport and a connection
connection.py  one connection
answer.py      the response on a connection
proxies.py     selects the proxy for an address
"""
