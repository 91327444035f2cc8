"""Whatever is pasted as a resource's address is understood, or refused with advice and without repeating a key."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.config.endpoints import clean_endpoint
from chukei.configuring.address import NotAnAddress, Pasted, looks_like_key, understand

CONTOSO = "https://contoso.openai.azure.com"
HEX_KEY = "0123456789abcdef0123456789abcdef"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
LONG_KEY = "9Yb3kD7Lq2" * 8 + "ABCD"


@rows(
    ("text", "endpoint", "deployment"),
    [
        (CONTOSO, CONTOSO, None),
        (f"{CONTOSO}/", CONTOSO, None),
        (f"  '{CONTOSO}/' ", CONTOSO, None),
        (f"<{CONTOSO}>", CONTOSO, None),
        (f"\u201c{CONTOSO}\u201d", CONTOSO, None),
        ("contoso.openai.azure.com", CONTOSO, None),
        ("HTTPS://Contoso.OpenAI.Azure.com:443", CONTOSO, None),
        (f"{CONTOSO}/openai", CONTOSO, None),
        (f"{CONTOSO}/openai/v1/", CONTOSO, None),
        (f"{CONTOSO}/openai/v1/chat/completions", CONTOSO, None),
        (f"{CONTOSO}/openai/v1/responses?api-version=preview", CONTOSO, None),
        (f"{CONTOSO}/openai/responses?api-version=2025-04-01-preview", CONTOSO, None),
        (f"{CONTOSO}/openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01-preview", CONTOSO, "gpt-4o"),
        (f"{CONTOSO}/openai/deployments/gpt%2D4o", CONTOSO, "gpt-4o"),
        (f"{CONTOSO}//openai/deployments/gpt-4o", CONTOSO, "gpt-4o"),
        ("https://c.services.ai.azure.com/api/projects/p", "https://c.services.ai.azure.com", None),
        ("https://c.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview",
         "https://c.services.ai.azure.com", None),
        ("https://c.cognitiveservices.azure.com/", "https://c.cognitiveservices.azure.com", None),
        ("https://apim.azure-api.net/team/openai/deployments/gpt-4o/chat/completions",
         "https://apim.azure-api.net/team", "gpt-4o"),
        ("https://my-company.openai.azure.com", "https://my-company.openai.azure.com", None),
        ("http://localhost:8080/openai/v1", "http://localhost:8080", None),
        ("http://127.0.0.1:7222", "http://127.0.0.1:7222", None),
    ],
)  # fmt: skip
def test_an_address_is_understood_however_it_was_copied(text: str, endpoint: str, deployment: str | None) -> None:
    found = understand(text)
    assert (found.endpoint, found.deployment) == (endpoint, deployment)


def test_it_says_whether_more_was_pasted_than_the_address() -> None:
    assert understand(f"{CONTOSO}/") == Pasted(CONTOSO)
    assert understand(f"{CONTOSO}/openai/v1").dropped
    assert understand(f"{CONTOSO}?api-version=v1").dropped


@rows(
    ("text", "advice"),
    [
        ("", "is not an address"),
        ("contoso", "https://NAME.openai.azure.com"),
        ("two words.example", "is not an address"),
        (HEX_KEY, "looks like a key"),
        (LONG_KEY, "looks like a key"),
        (f'"{LONG_KEY}"', "looks like a key"),
        (f"{CONTOSO}?api-key={HEX_KEY}", "has a key in it"),
        (f"https://user:{HEX_KEY}@contoso.openai.azure.com", "must not hold a user name or password"),
        ("https://portal.azure.com/#@contoso/resource/subscriptions", "is a page for people"),
        ("https://ai.azure.com/nextgen", "is a page for people"),
        ("https://api.openai.com/v1", "OpenAI's own service"),
        ("https://YOUR-RESOURCE.openai.azure.com", "placeholder"),
        ("https://NAME.openai.azure.com", "placeholder"),
        ("https://{resource}.openai.azure.com", "placeholder"),
        ("http://contoso.openai.azure.com", "is plain http"),
        ("ftp://contoso.openai.azure.com", "is not an https:// address"),
        ("https://my-resource.openai.azure.com", "placeholder"),
        ("https://contoso.openai.azure.com:port", "is not an address"),
        ("https://contoso.openai.azure.com/somewhere", "must be the resource's address alone"),
        ("D:\\files\\chukei.toml", "is not an address"),
    ],
)
def test_what_is_no_address_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(NotAnAddress) as raised:
        understand(text)
    assert advice in str(raised.value)
    assert HEX_KEY not in str(raised.value)
    assert LONG_KEY not in str(raised.value)


@rows("text", [HEX_KEY, LONG_KEY, "sk-proj-0123456789abcdefghijklmnop", "QUJD" * 10 + "1==", UUID])
def test_a_key_is_recognised(text: str) -> None:
    assert looks_like_key(text)


@rows(
    "text",
    [
        "gpt-4o",
        "AZURE_OPENAI_API_KEY",
        CONTOSO,
        "text-embedding-3-large",
        "https://a.b/" + "c" * 60 + "1",
        "gpt-4o-mini-2024-07-18-globalstandard",
        "gpt-4o-mini-eastus2-production-01",
        "CONTOSO_PRODUCTION_EASTUS2_AOAI_KEY",
    ],
)
def test_what_is_no_key_is_not_taken_for_one(text: str) -> None:
    assert not looks_like_key(text)


PIECES = st.sampled_from(
    ["https://", "http://", "contoso", ".openai.azure.com", "/openai", "/deployments/", "gpt-4o", "?", "#", "/", ":",
     "@", "[", "]", "%", "%zz", "..", " ", "\x00", "\n", "é", "/api/projects/", ":99999", "localhost", "::1", "'"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=40))
@example("https://[")
@example("https://[::1")
@example("//")
def test_any_text_is_an_address_that_the_relay_accepts_or_is_refused(text: str) -> None:
    try:
        found = understand(text)
    except NotAnAddress:
        return
    assert clean_endpoint(found.endpoint, plain_http=False) == (found.endpoint, None)
