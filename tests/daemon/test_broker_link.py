"""How the broker is reached, where no broker is needed."""

from pathlib import Path

import aiomqtt
import pytest
from aiomqtt import ProtocolVersion

from daemon.errors import UnusableInputError
from daemon.sinks.broker_link import Dialler, tls_context

V5, V311 = ProtocolVersion.V5, ProtocolVersion.V311


def dialler(protocol: ProtocolVersion = V5, host: str = "127.0.0.1", password: str | None = None) -> Dialler:
    """For a broker that is not there."""
    return Dialler(
        host=host,
        port=1883,
        username=None,
        password=password,
        tls=None,
        keepalive_s=30,
        identifier="x",
        will="attuned/lab/availability",
        protocol=protocol,
    )


def refusal(code: int) -> aiomqtt.MqttError:
    """What a broker answers."""
    return aiomqtt.MqttCodeError(code)


SILENCE = aiomqtt.MqttError("Operation timed out")
UNREACHABLE = aiomqtt.MqttError("[Errno 111] Connection refused")


@pytest.mark.parametrize(
    ("protocol", "error", "ever", "at_once", "then"),
    [
        (V5, refusal(132), False, True, V311),
        (V5, refusal(1), True, True, V311),
        (V5, SILENCE, False, True, V311),
        (V5, SILENCE, True, False, V5),
        (V5, UNREACHABLE, False, False, V5),
        (V5, aiomqtt.MqttError("timed out"), False, False, V5),
        (V5, refusal(135), False, False, V5),
        (V311, SILENCE, False, False, V5),
        (V311, refusal(1), False, False, V5),
    ],
)
def test_the_other_protocol_is_tried_where_this_one_is_not_spoken(
    *, protocol: ProtocolVersion, error: aiomqtt.MqttError, ever: bool, at_once: bool, then: ProtocolVersion
) -> None:
    """Only from 5 to 3.1.1 at once; a broker that is away, or that was there before and is silent, changes nothing."""
    tried = dialler(protocol)
    assert tried.adapt(error, ever=ever) == at_once
    assert tried.protocol is then


@pytest.mark.parametrize("code", [4, 5, 134, 135, 138, 140])
def test_a_refusal_says_what_to_check(code: int) -> None:
    """Credentials do not become right by waiting."""
    said = dialler().incurable(refusal(code))
    assert said is not None
    assert said.startswith("broker 127.0.0.1:1883 refuses: ")


def test_what_may_pass_is_waited_for() -> None:
    """A broker that is away, too busy, or silent."""
    assert [dialler().incurable(error) for error in (UNREACHABLE, SILENCE, refusal(3), refusal(136))] == [None] * 4


@pytest.mark.parametrize(
    ("setting", "text"),
    [("ca_file", None), ("ca_file", "no certificate"), ("cert_file", None), ("cert_file", "no certificate")],
)
def test_a_certificate_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, setting: str, text: str | None) -> None:
    """Which setting, which file, and what it should be."""
    path = tmp_path / "file.pem"
    if text is not None:
        path.write_text(text)
    files = {"ca_file": None, "cert_file": None, "key_file": None} | {setting: path}
    with pytest.raises(UnusableInputError, match=rf"mqtt\.{setting} .*file\.pem.*cannot be used .*PEM"):
        tls_context(**files, verify_host=True)


def test_the_host_is_checked_unless_told_otherwise() -> None:
    """The certificate is checked in any case."""
    for verify_host in (True, False):
        context = tls_context(ca_file=None, cert_file=None, key_file=None, verify_host=verify_host)
        assert context.check_hostname is verify_host
        assert context.verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize(("host", "warned"), [("broker.example", True), ("127.0.0.1", False)])
def test_a_password_in_the_clear_is_warned_of(*, host: str, warned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Beyond this machine; the password is not in the warning."""
    dialler(host=host, password="hunter2")  # noqa: S106 (a well-known one)
    told = "".join(capsys.readouterr())  # logs go to either, as an earlier test has set them up
    assert ("in the clear" in told) == warned
    assert "hunter2" not in told
