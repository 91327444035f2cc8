"""What a client sent. Pure: bytes in, one ``Call`` out.

head     whether the method, target and header fields may be acted on at all
routes   what method and path mean
cors     which other sites' pages may call
bodies   room for the bodies in flight; codings reads a compressed one
call     what is asked, read from the body: fields is a JSON object, form is multipart
"""
