"""Selection of the proxy for an address, as in curl and Azure's tools."""

from urllib.parse import urlsplit

from tests.rows import rows

from chukei.adapters.http.proxies import proxy_for

PROXY = "http://proxy.corp:3128"


def chosen(url: str, no: str = "", **proxies: str) -> str | None:
    found = proxy_for(urlsplit(url), (proxies or {"https": PROXY, "http": PROXY}) | ({"no": no} if no else {}))
    return found.geturl() if found else None


@rows("url", ["https://r.openai.azure.com", "http://r.internal:8080", "https://10.0.0.1"])
def test_a_proxy_is_used_where_one_is_set(url: str) -> None:
    assert chosen(url) == PROXY


def test_each_scheme_has_its_own() -> None:
    assert chosen("https://r.example", http=PROXY) is None
    assert chosen("http://r.example", https=PROXY) is None
    assert chosen("https://r.example", https="proxy.corp:3128") == PROXY


@rows("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "127.0.0.2", "127.255.255.254"])
def test_loopback_never_goes_through_a_proxy(host: str) -> None:
    assert chosen(f"http://{host}:8080") is None


BYPASSED = [
    ("*", "https://r.example", True),
    ("r.example", "https://r.example", True),
    ("R.Example", "https://r.example", True),
    (".example", "https://r.example", True),
    ("example", "https://r.example", True),
    ("*.example", "https://a.r.example", True),
    ("r.example", "https://a.r.example", True),
    (".r.example", "https://r.example", True),
    ("other,  r.example ,", "https://r.example", True),
    ("r.example:443", "https://r.example", True),
    ("r.example:8443", "https://r.example:8443", True),
    ("10.0.0.0/8", "https://10.1.2.3", True),
    ("10.1.2.3", "https://10.1.2.3", True),
    ("2001:db8::/32", "https://[2001:db8::1]", True),
    ("2001:db8::1", "https://[2001:db8::1]", True),
    ("[2001:db8::1]", "https://[2001:db8::1]", True),
    ("r.example:8443", "https://r.example", False),
    ("ample", "https://r.example", False),
    ("r.example.evil", "https://r.example", False),
    ("evilr.example", "https://r.example", False),
    ("r.example", "https://evilr.example", False),
    ("10.0.0.0/8", "https://11.1.2.3", False),
    ("10.0.0.0/8", "https://r.example", False),
    ("10.0.0.0/nonsense", "https://10.0.0.1", False),
    (" , ", "https://r.example", False),
]


@rows(("no", "url", "bypassed"), BYPASSED)
def test_no_proxy(no: str, url: str, bypassed: bool) -> None:
    assert (chosen(url, no) is None) is bypassed
