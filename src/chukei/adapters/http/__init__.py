"""An HTTP/1.1 client made for relaying: pooled connections, reads handed on as they come, nothing buffered beyond.

client.py      the pool: which connection a request gets, and when one is given up
dial.py        opening a connection: TCP, TLS, proxies
tls.py         what is between them then
connection.py  one connection
answer.py      the answer that arrives on it
proxies.py     which proxy an address needs
"""
