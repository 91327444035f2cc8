"""A client's request, parsed. Pure: bytes in, one ``Call`` out.

head     checks of the method, target and header fields
routes   the route of a method and a path
cors     which other sites' pages may call
bodies   the memory budget for request bodies; codings decompresses one
call     the call, read from the body: fields is a JSON object, form is multipart
"""
