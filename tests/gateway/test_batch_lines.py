"""The lines of a batch's file: what the resource gets, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.accounts.estimate import USUAL_OUTPUT, Estimator
from chukei.accounts.limits import Rules
from chukei.accounts.policy import Policies, Policy
from chukei.errors import CallerError
from chukei.gateway.batch_lines import LONGEST_LINE, MOST_LINES, LineReader, targets_at, targets_for
from chukei.model import Caller, CallerKind, Deployment, Model, Prices, per_million
from chukei.objects.references import Reference

WEST = "https://west.example"
CHAT = Model(
    "chat",
    (Deployment("a", "https://east.example", "gpt-east"), Deployment("b", WEST, "gpt-west")),
    prices=Prices(input=per_million("2"), output=per_million("8")),
)
CAPPED = Model("capped", (Deployment("b", WEST, "gpt-west"),), caps={"max_completion_tokens": 10}, system="Be brief.")
SECRET = Model("secret", (Deployment("c", WEST, "gpt-secret"),))
AWAY = Model("away", (Deployment("a", "https://east.example", "gpt-east"),))
NAMED = Model("named", (Deployment("a", "https://east.example", "gpt-east"),), batch_deployment="gpt-batch")
MODELS = {model.name: model for model in (CHAT, CAPPED, SECRET, AWAY, NAMED)}
RULES = Rules(models=("chat", "capped", "away", "named"), default_model="chat")


def policy(rules: Rules = RULES) -> Policy:
    return Policies({"ann": rules}, {}).of(Caller("ann", CallerKind.KEY))


def model_of(name: str | None) -> Model:
    if name not in MODELS:
        raise CallerError(404, "model_not_found", f"There is no model {name!r} here.", param="model")
    return MODELS[name]


def reader(rules: Rules = RULES) -> LineReader:
    return LineReader(targets_for(policy(rules), model_of, WEST), policy(rules), Estimator(), "ann", "file")


def exact(rules: Rules = RULES) -> LineReader:
    targets = targets_at(policy(rules), lambda _: [*MODELS.values()], WEST)
    return LineReader(targets, policy(rules), Estimator(), "ann", "input_file_id", exact=True)


CHATS = "/v1/chat/completions"


def line(model: str | None = "chat", *, id: str = "1", url: str = CHATS, **body: Any) -> dict[str, Any]:
    named = {} if model is None else {"model": model}
    content = {"messages": [{"role": "user", "content": "hi"}]} if url.endswith("chat/completions") else {"input": "hi"}
    return {"custom_id": id, "method": "POST", "url": url, "body": named | content | body}


def text(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def read(lines: LineReader, data: bytes, size: int = 10_000) -> tuple[bytes, list[Reference]]:
    written, named = [], []
    for begin in range(0, len(data), size):
        found, references = lines.feed(data[begin : begin + size])
        written.append(found)
        named += references
    last, references = lines.end()
    return b"".join([*written, last]), [*named, *references]


def bodies(written: bytes) -> list[dict[str, Any]]:
    return [json.loads(each)["body"] for each in written.splitlines() if each.strip()]


def refused(data: bytes, lines: LineReader | None = None) -> CallerError:
    with pytest.raises(CallerError) as caught:
        read(lines or reader(), data)
    return caught.value


def test_each_line_names_the_deployment_and_is_the_same_otherwise() -> None:
    head = b'{ "custom_id":"a" , "method":"POST","url":"/chat/completions",'
    sent = head + b'"body": {"mod\\u0065l" : "chat", "messages":[{}]}}'
    written, _ = read(reader(), sent)
    assert written == sent.replace(b'"chat"', b'"gpt-west"')


@given(st.integers(1, 400), st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]), st.booleans(), st.booleans())
def test_however_a_file_is_split_and_its_lines_are_ended_the_resource_gets_the_same(
    size: int, ending: bytes, bom: bool, ended: bool
) -> None:
    rows = [json.dumps(line(id=str(number), user="中ö"), ensure_ascii=bool(number % 2)).encode() for number in range(3)]
    data = ending.join(rows) + ending * ended
    lines = reader()
    written, _ = read(lines, b"\xef\xbb\xbf" * bom + data, size)
    assert written == data.replace(b'"chat"', b'"gpt-west"')
    assert lines.contents.lines == 3


def test_a_deployment_for_batches_is_the_one_that_the_model_names() -> None:
    assert bodies(read(reader(), text(line("named")))[0])[0]["model"] == "gpt-batch"


def test_a_line_without_a_model_gets_the_caller_s() -> None:
    assert bodies(read(reader(), text(line(None)))[0])[0]["model"] == "gpt-west"


def test_the_rules_of_the_model_and_of_the_caller_hold_for_each_line() -> None:
    rules = Rules(parameters={"temperature": 0.5}, caps={"max_completion_tokens": 8})
    written, _ = read(reader(rules), text(line("capped"), line("capped", max_tokens=100, temperature=1)))
    first, other = bodies(written)
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (first["temperature"], first["max_completion_tokens"]) == (0.5, 8)
    assert (other["temperature"], other["max_tokens"]) == (1, 8)


@rows(
    ("url", "limit"),
    [("/v1/responses", "max_output_tokens"), ("/completions", "max_tokens"), ("/v1/embeddings", None)],
)
def test_every_operation_of_batches(url: str, limit: str | None) -> None:
    [body] = bodies(read(reader(), text(line("capped", url=url)))[0])
    assert body["model"] == "gpt-west"
    assert [name for name in body if name.startswith("max_")] == ([limit] if limit else [])


def test_what_the_lines_may_use_together_is_estimated() -> None:
    lines = reader()
    read(lines, text(line(max_tokens=70), line()))
    contents = lines.contents
    assert (contents.lines, contents.output) == (2, 70 + USUAL_OUTPUT)
    assert contents.input > 2
    assert contents.amounts.tokens == contents.input + contents.output
    assert contents.amounts.money == contents.input * 2 + contents.output * 8


def test_objects_that_lines_name_are_told() -> None:
    data = text(line(url="/responses", previous_response_id="resp_1"), line(url="/responses"))
    assert [(each.kind, each.id) for each in read(reader(), data)[1]] == [("response", "resp_1")]
    parts = [{"type": "file", "file": {"file_id": "file-1"}}]
    data = text(line(messages=[{"role": "user", "content": parts}]))
    assert [(each.kind, each.id) for each in read(reader(), data)[1]] == [("file", "file-1")]


GOOD = text(line())


@rows(
    ("data", "code", "says"),
    [
        (GOOD + text(line("secret")), "model_not_allowed", "Line 2: You may not use the model 'secret'"),
        (GOOD + b"\n" + text(line("nothing")), "model_not_found", "Line 3: There is no model"),
        (text(line("away")), "model_not_in_batches", "Line 1"),
        (GOOD + text(line("named")), "invalid_batch_line", "not that of the lines before"),
        (GOOD + text(line(url="/chat/completions")), "invalid_batch_line", "url"),
        (text(line(url="/v1/images/generations")), "invalid_batch_line", "'url'"),
        (text(line(url="/deployments/gpt-secret/chat/completions")), "invalid_batch_line", "'url'"),
        (text(line(url="/v1/chat/completions?x=1")), "invalid_batch_line", "'url'"),
        (GOOD.replace(b'"POST"', b'"GET"'), "invalid_batch_line", "'method'"),
        (GOOD.replace(b'"custom_id": "1"', b'"custom_id": ""'), "invalid_batch_line", "'custom_id'"),
        (GOOD.replace(b'"body"', b'"bodies"'), "invalid_batch_line", "'body'"),
        (GOOD.replace(b'"url"', b'"Body": {"model": "secret"}, "url"'), "invalid_batch_line", "spelt 'body'"),
        (GOOD.replace(b'"url"', b'"body": {"model": "secret"}, "url"'), "duplicate_field", "body"),
        (GOOD.replace(b'"url"', b'"b\\u006fdy": {"model": "secret"}, "url"'), "duplicate_field", "body"),
        (GOOD.replace(b'"model"', b'"model": "secret", "model"'), "duplicate_field", "model"),
        (GOOD.replace(b'"model"', b'"mod\\u0065l": "secret", "model"'), "duplicate_field", "model"),
        (GOOD.replace(b'"model"', b'"Model": "secret", "model"'), "ambiguous_field", "model"),
        (GOOD.replace(b'"chat"', b'["chat"]'), "invalid_type", "model"),
        (GOOD.replace(b'"chat"', b'"ch\xff"'), "invalid_json", "Line 1"),
        (GOOD.replace(b'"body": {', b'"body": {"metadata": \r{}, '), "invalid_batch_line", "carriage return"),
        (b"[]\n", "invalid_json", "Line 1"),
        (b"{\n", "invalid_json", "Line 1"),
        (text(line(url="/responses", background=True)), "invalid_batch_line", "background"),
        (text(line(messages=[])), "missing_messages", "Line 1"),
        (b"", "invalid_batch_line", "no lines"),
        (b" \n\r\n", "invalid_batch_line", "no lines"),
    ],
)
def test_what_is_no_request_for_this_caller_is_refused(data: bytes, code: str, says: str) -> None:
    error = refused(data)
    assert (error.code, error.status, error.param) == (code, 403 if code == "model_not_allowed" else 400, "file")
    assert says in error.message


def test_a_refusal_names_the_rule() -> None:
    assert refused(text(line("secret"))).rule == "callers.ann.models"


def test_a_line_asks_for_no_tier_that_is_not_for_its_caller() -> None:
    rules = Rules(models=("chat",), service_tiers=("flex",))
    read(reader(rules), text(line(service_tier="flex"), line()))
    error = refused(text(line(), line(service_tier="priority")), reader(rules))
    assert (error.status, error.code, error.message[:7]) == (403, "service_tier_not_allowed", "Line 2:")


def test_claude_has_no_batches_here() -> None:
    claude = Model("chat", (Deployment("d", WEST, "claude", api="anthropic"),))
    lines = LineReader(targets_for(policy(), lambda _: claude, WEST), policy(), Estimator(), "ann", "file")
    assert refused(text(line()), lines).code == "model_not_in_batches"


def test_a_line_of_200_megabytes_is_refused_long_before_its_end() -> None:
    lines, fed = reader(), 0
    part = b"x" * 65_536
    while fed + len(part) <= LONGEST_LINE:
        lines.feed(part)
        fed += len(part)
    with pytest.raises(CallerError) as error:
        lines.feed(part)
    assert error.value.code == "invalid_batch_line"


def test_a_file_has_a_bounded_number_of_lines() -> None:
    lines = reader()
    read(lines, GOOD)
    lines.contents.lines = MOST_LINES
    assert "at most 100,000 requests" in refused(GOOD, lines).message


# Files that are at the resource.


@rows("model", ["chat", "capped", "named"])
def test_a_file_that_the_relay_has_written_is_as_it_must_be(model: str) -> None:
    written, _ = read(reader(), text(line(model), line(model, max_tokens=5)))
    lines = exact()
    assert read(lines, written)[0] == written
    assert lines.contents.target is not None
    assert lines.contents.target.model.name in (("chat",) if model == "chat" else (model, "chat"))


@rows(
    ("rules", "model", "code"),
    [
        (RULES, "gpt-secret", "model_not_allowed"),
        (RULES, "gpt-other", "model_not_in_batches"),
        (RULES, "chat", "model_not_in_batches"),
        (
            Rules(models=("capped",)),
            "gpt-west",
            "invalid_batch_line",
        ),  # without the cap of the only one that it may use
        (Rules(caps={"max_tokens": 5}), "gpt-west", "invalid_batch_line"),
    ],
)
def test_a_file_that_was_not_checked_must_be_as_the_relay_would_write_it(rules: Rules, model: str, code: str) -> None:
    error = refused(text(line(model)), exact(rules))
    assert (error.code, error.param) == (code, "input_file_id")


def test_a_deployment_of_several_models_stands_for_the_one_that_fits_all_lines() -> None:
    free = text(line("gpt-west"))
    brief = text(
        line(
            "gpt-west",
            messages=[{"role": "system", "content": "x"}, {"role": "user", "content": "hi"}],
            max_completion_tokens=10,
        )
    )
    for rules, fits in ((RULES, True), (Rules(models=("capped",)), False)):
        for data in (free + brief, brief + free):
            if fits:
                read(exact(rules), data)
            else:
                refused(data, exact(rules))
    read(exact(Rules(models=("capped",))), brief)


def test_a_file_at_the_resource_names_a_model() -> None:
    assert refused(text(line(None)), exact()).code == "missing_model"
