"""Secrets never leave the host in a log line."""

import json
import time

import pytest

from pinchpoint.errors import ConfigError
from shippers.redact import Redactor, redact

SECRETS = [
    (b"password=hunter2 next", b"password=[redacted] next"),
    (b"DB_PASSWORD='x y' next", b"DB_PASSWORD='[redacted]' next"),
    (b"export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", b"export AWS_SECRET_ACCESS_KEY=[redacted]"),
    (b"Authorization: Bearer abcdef123456", b"Authorization: Bearer [redacted]"),
    (b"curl -H 'bearer abcdef123456'", b"curl -H 'bearer [redacted]'"),
    (b"clone https://user:pass@host/x", b"clone https://[redacted]@host/x"),
    (b"id AKIAABCDEFGHIJKLMNOP.", b"id [redacted]."),
    (b"hf_" + b"a" * 34, b"[redacted]"),
    (b"ghp_" + b"a" * 36, b"[redacted]"),
    (b"sk-" + b"a" * 40, b"[redacted]"),
    (b"xoxb-123456789012-abc", b"[redacted]"),
    (b"eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abcdef", b"[redacted]"),
    (b'{"password":"a b\\"c","x":1}', b'{"password":"[redacted]","x":1}'),
    (b'{"password": 1234, "token":"abc"}', b'{"password": "[redacted]", "token":"[redacted]"}'),
    (b'{"m":"{\\"api_key\\":\\"abc\\"}"}', b'{"m":"{\\"api_key\\":\\"[redacted]\\"}"}'),
    (b"-----BEGIN RSA PRIVATE KEY-----\\nabc\\n-----END RSA PRIVATE KEY-----", b"-----BEGIN RSA PRIVATE KEY-----[redacted]"),
]

HARMLESS = [b"tokens/s 120", b'{"tokens": 5, "max_tokens": 7}', b"rank: 3 key: value", b"GET https://host/path?x=1 by a@b",
            b'{"api_key":null}', b"disk_usage task_id attention_mask", b'{"@timestamp":"2026-01-01T00:00:00Z","url":"https://host"}',
            b"password: ", b""]


@pytest.mark.parametrize(("line", "expected"), SECRETS)
def test_secrets_are_replaced(line, expected):
    """Passwords, tokens and keys are replaced; what surrounds them stays, and JSON stays JSON."""
    assert expected == redact(line)
    if line.startswith(b"{"):
        json.loads(redact(line))


@pytest.mark.parametrize("line", HARMLESS)
def test_other_lines_stay(line):
    """A line without a secret comes out as it went in."""
    assert line == redact(line)


@pytest.mark.parametrize(("line", "_"), SECRETS)
def test_blocks_with_secrets_are_suspect(line, _):
    """The cheap look at a block never overlooks what the thorough one would replace."""
    assert redact.suspects(b"x" * 1000 + b" " + line + b"\n" + b"y" * 1000)


def test_private_key_over_several_lines():
    """Of a private key that is spread over lines only the first line stays readable."""
    lines = [b"before", b"-----BEGIN PRIVATE KEY-----", b"MIIE", b"abcd", b"-----END PRIVATE KEY-----", b"after"]

    expected = [b"before", b"-----BEGIN PRIVATE KEY-----[redacted]", b"[redacted]", b"[redacted]", b"[redacted]", b"after"]

    assert (expected, 0) == redact.lines(lines)


@pytest.mark.parametrize("piece", [b"a", b'"', b"password", b'password="', b"password=\\", b"password  ", b"token:", b"://", b"://a",
                                   b"eyJ", b"eyJ-", b"eyJaaaaaaaaaa.eyJ", b"sk-", b"bearer ", b"-----BEGIN PRIVATE KEY-----",
                                   b"ghp_", b"key=\\\""])
def test_hostile_lines_cost_linear_time(piece):
    """The longest line, full of beginnings of secrets, takes less than a second."""
    begun = time.process_time()
    redact(piece * ((1 << 18) // len(piece)))

    assert time.process_time() - begun < 1.0


def test_own_patterns():
    """Patterns of the user come on top; a pattern that is none is refused with the reason."""
    assert Redactor([r"\bB-\d{4}\b"])(b"badge B-1234, password=x") == b"badge [redacted], password=[redacted]"
    with pytest.raises(ConfigError, match="no regular expression"):
        Redactor(["("])
