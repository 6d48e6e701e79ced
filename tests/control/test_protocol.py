"""The control protocol as bytes: what is refused, and that nothing worse comes of hostile ones."""

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.control.error_report import ErrorReport, report_from_json, report_of
from sigil_actors.control.protocol import (
    AboutRequest,
    ApproveRequest,
    CallRequest,
    ControlProtocolError,
    DescribeRequest,
    EventsRequest,
    ExplainRequest,
    HeldRequest,
    ListRequest,
    OrderRequest,
    Request,
    RescanRequest,
    TreeRequest,
    Verb,
    decode,
    decode_request,
    encode,
    encode_request,
)
from sigil_actors.errors import ManifestError, PluginCrashedError, Problem, SigilError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip
patterns = st.lists(st.text(), max_size=3).map(tuple)
requests = st.one_of(
    st.builds(
        CallRequest,
        plugin=st.text(),
        tool=st.text(),
        arguments=st.dictionaries(st.text(), json_values, max_size=3),
        workspace_allow=patterns,
        user_permissions=patterns,
    ),
    st.builds(ListRequest, plugin=st.text()),
    st.builds(OrderRequest, verb=st.sampled_from(Verb), plugin=st.text()),
    st.builds(ApproveRequest, plugin=st.text(), snapshot_sha256=st.text()),
    st.builds(HeldRequest, plugin=st.text()),
    st.builds(EventsRequest, plugin=st.text()),
    st.sampled_from([AboutRequest(), TreeRequest(), RescanRequest()]),
    st.builds(DescribeRequest, plugin=st.text()),
    st.builds(
        ExplainRequest,
        plugin=st.text(),
        capability=st.text(),
        workspace_allow=patterns,
        user_permissions=patterns,
    ),
)


@given(requests)
def test_a_request_comes_out_as_it_went_in_on_one_line(request: Request) -> None:
    line = encode_request(request)
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert decode_request(line) == request


@given(st.binary())
def test_arbitrary_bytes_raise_nothing_but_the_protocols_own_error(line: bytes) -> None:
    with pytest.raises(ControlProtocolError):
        decode_request(line)


@given(st.dictionaries(st.sampled_from(["version", "operation", "plugin", "x"]), json_values))
def test_arbitrary_objects_are_a_request_or_the_protocols_own_error(
    fields: dict[str, object],
) -> None:
    try:
        request = decode_request(json.dumps(fields).encode())
    except ControlProtocolError:
        return
    assert fields["operation"] == request.operation


CALL = {
    "version": 1, "operation": "call", "plugin": "p", "tool": "t", "arguments": {},
    "workspace_allow": [], "user_permissions": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version 1"),
        ({"version": None}, "version 1"),
        ({"operation": "shutdown"}, "has to name one of these operations"),
        ({"operation": ["call"]}, "has to name one of these operations"),
        ({"plugin": 5}, "plugin of the wrong kind"),
        ({"arguments": []}, "arguments of the wrong kind"),
        ({"workspace_allow": "tool.*"}, "workspace_allow of the wrong kind"),
        ({"workspace_allow": ["tool.*", 5]}, "workspace_allow of the wrong kind"),
        ({"uid": 0}, "1 fields that call doesn't know"),
    ],
)
def test_what_isnt_a_request_is_refused_by_name(change: dict[str, object], told: str) -> None:
    assert decode_request(json.dumps(CALL).encode()) is not None
    with pytest.raises(ControlProtocolError, match=told):
        decode_request(json.dumps({**CALL, **change}).encode())


@pytest.mark.parametrize("verb", ["shutdown", "", "START", 5, ["start"], None])
def test_a_verb_that_isnt_one_is_refused(verb: object) -> None:
    fields = {"version": 1, "operation": "order", "plugin": "p", "verb": verb}
    with pytest.raises(ControlProtocolError, match="verb of the wrong kind"):
        decode_request(json.dumps(fields).encode())


def test_a_field_that_lacks_is_named() -> None:
    fields = {name: value for name, value in CALL.items() if name != "tool"}
    with pytest.raises(ControlProtocolError, match="lacks tool"):
        decode_request(json.dumps(fields).encode())


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a": NaN}', b'{"a": ' + b"9" * 5000 + b"}"])
def test_json_that_python_alone_takes_or_chokes_on_is_refused(text: bytes) -> None:
    with pytest.raises(ControlProtocolError):
        decode(text)


def test_half_a_surrogate_pair_passes() -> None:
    assert decode(encode({"chunk": "a\ud800b"})) == {"chunk": "a\ud800b"}


ERRORS = [
    SigilError("what", remedy="remedy"),
    PluginCrashedError("p", "crashed", exit_status=11, last_words=("a", "b")),
    ManifestError([Problem(path="a", line=3, what="is wrong", remedy="Mend it")], file="f"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_report_comes_out_as_it_went_in(error: SigilError) -> None:
    report = report_of(error, explanation=["one", "two"])
    assert report.kinds[0] == type(error).__name__
    assert report.kinds[-1] == "SigilError"
    assert (report.fault, report.what, report.remedy) == (error.fault, error.what, error.remedy)
    assert report_from_json(decode(encode({"error": report.to_json()}))["error"]) == report


@given(json_values)
def test_arbitrary_values_are_no_report(value: None | bool | float | str) -> None:  # noqa: FBT001
    assert report_from_json(value) is None


@pytest.mark.parametrize("name", ["kinds", "explanation", "fault", "what", "remedy", "facts"])
def test_a_report_of_the_wrong_kind_is_none(name: str) -> None:
    good = report_of(SigilError("x")).to_json()
    assert isinstance(report_from_json(good), ErrorReport)
    assert report_from_json({**good, name: 5}) is None


def test_the_facts_of_an_error_are_json_whatever_it_carries() -> None:
    @attrs.frozen
    class Odd:
        pass

    error = SigilError("x")
    error.odd = Odd()  # type: ignore[attr-defined]
    error.long = "x" * 200_000  # type: ignore[attr-defined]
    report = report_of(error)
    assert len(encode(report.to_json())) < 110_000
