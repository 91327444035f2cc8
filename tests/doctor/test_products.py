"""Who stands between a client and the relay, by the header fields of answers as these products send them."""

from tests import markdown
from tests.rows import rows

from chukei.doctor.products import ANYBODY, PRODUCTS, Symptom, recognised, remedy

ANSWERS: list[tuple[dict[str, str], str, Symptom, str]] = [
    ({"server": "nginx/1.25.3"}, "nginx", Symptom.BUFFERING, "proxy_buffering off"),
    ({"server": "openresty"}, "nginx", Symptom.IDLE, "proxy_read_timeout"),
    ({"server": "cloudflare", "cf-ray": "8f1-FRA"}, "Cloudflare", Symptom.IDLE, "100 s"),
    ({"x-azure-ref": "0abc", "x-cache": "CONFIG_NOCACHE"}, "Azure Front Door", Symptom.COMPRESSION, "compression"),
    (
        {"server": "Microsoft-Azure-Application-Gateway/v2"},
        "Azure Application Gateway",
        Symptom.MERGING,
        "enableResponseBuffering=false",
    ),
    ({"x-powered-by": "ARR/3.0"}, "IIS", Symptom.BUFFERING, "responseBufferLimit"),
    ({"server": "envoy", "x-envoy-upstream-service-time": "3"}, "Envoy", Symptom.CUT, "timeout: 0s"),
    ({"server": "istio-envoy"}, "Envoy", Symptom.IDLE, "stream_idle_timeout"),
    ({"via": "1.1 google"}, "Google", Symptom.CUT, "timeoutSec"),
    ({"via": "1.1 abc.cloudfront.net (CloudFront)"}, "CloudFront", Symptom.COMPRESSION, "Compress"),
    ({"set-cookie": "AWSALB=planted; Path=/"}, "AWS Application Load Balancer", Symptom.IDLE, "idle_timeout"),
    (
        {"set-cookie": "session=planted; Path=/, AWSALBCORS=planted; Path=/"},
        "AWS Application Load Balancer",
        Symptom.IDLE,
        "idle_timeout",
    ),
    ({"server": "Apache/2.4.58"}, "Apache", Symptom.BUFFERING, "flushpackets=on"),
    ({"via": "1.1 Caddy"}, "Caddy", Symptom.BUFFERING, "flush_interval -1"),
    ({"x-varnish": "12 34"}, "Varnish", Symptom.IDLE, "between_bytes_timeout"),
]


@rows(("headers", "name", "symptom", "advice"), ANSWERS)
def test_a_product_names_itself(headers: dict[str, str], name: str, symptom: Symptom, advice: str) -> None:
    found = recognised("relay.example.com", headers)
    assert len(found) == 1
    assert name in found[0][0].name
    said = remedy(symptom, found)
    assert said.startswith(f"probably {found[0][0].name} (")
    assert advice in said
    assert "planted" not in said


@rows(
    ("host", "name"),
    [
        ("contoso.azure-api.net", "Azure API Management"),
        ("blue-fox.trycloudflare.com", "a Cloudflare quick tunnel"),
        ("contoso.azurefd.net", "Azure Front Door"),
        ("contoso.azurewebsites.net", "Azure App Service or Functions"),
    ],
)
def test_the_name_of_a_host_tells_too(host: str, name: str) -> None:
    assert [product.name for product, _ in recognised(host, {})] == [name]


def test_several_products_are_all_named() -> None:
    found = recognised("x", {"cf-ray": "1", "server": "nginx"})
    assert [product.name for product, _ in found] == ["Cloudflare", "nginx"]
    said = remedy(Symptom.COMPRESSION, found)
    assert "Cloudflare" in said
    assert "gzip off" in said


def test_without_a_name_or_a_remedy_of_its_own_the_advice_is_general() -> None:
    assert recognised("relay.example.com", {"server": "uvicorn", "date": "x"}) == []
    for symptom in Symptom:
        assert remedy(symptom, []) == ANYBODY[symptom]
    assert remedy(Symptom.LATENCY, recognised("x", {"server": "nginx"})) == ANYBODY[Symptom.LATENCY]


def test_each_product_has_signs_and_remedies_and_is_documented() -> None:
    page = " ".join(markdown.read("docs/doctor.md").split())
    for product in PRODUCTS:
        assert product.signs or product.hosts
        assert product.remedies
        assert product.name in page
