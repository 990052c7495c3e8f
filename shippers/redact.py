"""Take secrets out of log lines before anything leaves the host or touches its disk."""

import re
from collections.abc import Sequence

from pinchpoint.errors import ConfigError

REDACTED = b"[redacted]"
#: A private key that is spread over lines ends after this many at the latest.
MOST_KEY_LINES = 200

_NAME = (rb"(?:pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|(?:access|private|secret|auth|session|account)[_-]?key|credentials?"
         rb"|authorization)")
# Every repetition is bounded or possessive, or runs over characters that cannot begin what follows it: linear time for any line.
_ASSIGNS = rb"""(?:\\?["'])?\s{0,4}[=:]"""
_NAMED = re.compile(
    rb"(?i)(" + _NAME + _ASSIGNS + rb"""\s{0,4}(?:(?:bearer|basic|token)\s{1,4})?)"""
    rb"""(?:(\\")(?:[^"\\]|\\[^"])++|(")(?:[^"\\]|\\.)++|(')[^']++|(-?[0-9][0-9.eE+-]*+)(?=[\s,}\]]|$)|([^\s"'\\,;&)}\]{\[]++))""")
_BEARER = re.compile(rb"(?i)\b((?:bearer|basic) {1,4})[a-z0-9._~+/=-]{8,}+")
_USERINFO = re.compile(rb"(://)[^\s/@\"'<>]{1,200}@")
_KNOWN = re.compile(
    rb"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}+|hf_[A-Za-z0-9]{30,}+|sk[-_][A-Za-z0-9_-]{20,}+"
    rb"|xox[abprs]-[A-Za-z0-9-]{10,}+|AIza[\w-]{35}|(?<![_-])eyJ[\w-]{10,}+\.eyJ[\w-]{10,}+\.[\w-]{5,}+)")
_KEY = re.compile(rb"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)(?:(?!-----END )[^\"])*+(?:-----END [A-Z0-9 ]{0,40}-----)?")
KEY_BEGIN = b"-----BEGIN "
KEY_END = b"-----END "

# What could be a secret is looked for in a seventh of the bytes: only these letters are kept, some alike, and a marker is what is
# left of a name or a prefix. Of lines that are alike then, as most of a program's are, one is looked through. What a marker finds
# is looked at again with an expression that begins with letters, which is fast too.
_KEPT = {**{byte: byte for byte in b"pswdctkhbxjzAI_\n"},
         **dict(zip(b"PSWDCTKHBXJZyY-", b"pswdctkhbxjzkk_", strict=True))}
_ALIKE = bytes(_KEPT.get(byte, 0) for byte in range(256))
_DELETED = bytes(byte for byte in range(256) if byte not in _KEPT)
_NAME_CHECKS = [(marker, re.compile(name + _ASSIGNS)) for marker, name in (
    (b"sswd", b"passw(?:or)?d"), (b"ssph", b"passphrase"), (b"pwd", b"pwd"), (b"sct", b"secret"), (b"cdt", b"credentials?"),
    (b"tk", b"token"), (b"kk", rb"key(?<=[_i-]key)"), (b"thz", b"authorization"), (b"hIz", b"authorization"))]
_KIND_CHECKS = [(marker, re.compile(kind)) for marker, kind in (
    (b"h_", rb"gh[ou]_[A-Za-z0-9]{30}"), (b"h_", rb"hf_[A-Za-z0-9]{30}"), (b"hp_", rb"ghp_[A-Za-z0-9]{30}"),
    (b"hs_", rb"ghs_[A-Za-z0-9]{30}"), (b"sk_", rb"sk[-_][A-Za-z0-9_-]{20}"), (b"xx", rb"xox[abprs]-"), (b"kj", rb"eyJ[A-Za-z0-9]{10}"),
    (b"kIA", b"AKIA[A-Z0-9]{16}"), (b"sIA", b"ASIA[A-Z0-9]{16}"), (b"AIz", b"AIza"), (b"_____b", b"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY"))]


class Redactor:
    """Replaces secrets by `[redacted]`: passwords, tokens and keys by their names, user data in URLs, known kinds of keys.

    A line that was valid JSON stays valid JSON.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Patterns: regular expressions beside the built-in ones; what they match is replaced. Raises: ConfigError."""
        try:
            self._patterns = [re.compile(pattern.encode()) for pattern in patterns]
        except re.error as error:
            raise ConfigError(f"ship.redact.patterns: no regular expression: {error}, got {error.pattern!r}") from error

    def suspects(self, data: bytes) -> bool:
        """Whether there may be a secret in these bytes; says no to most blocks of lines at little cost."""
        left = b"\n".join(set(data.translate(_ALIKE, _DELETED).split(b"\n")))
        for marker, kind in _KIND_CHECKS:
            if marker in left and kind.search(data):
                return True
        if b"=" in data or b":" in data:
            lower = b""
            for marker, name in _NAME_CHECKS:
                if marker in left:
                    lower = lower or data.lower()
                    if name.search(lower):
                        return True
        if b"earer " in data or (b"@" in data and b"://" in data and _USERINFO.search(data)):
            return True
        return self.matches_own(data)

    def matches_own(self, data: bytes) -> bool:
        """Whether a pattern of the user matches."""
        return any(pattern.search(data) for pattern in self._patterns)

    def __call__(self, data: bytes) -> bytes:
        """The same bytes without secrets."""
        if not self.suspects(data):
            return data
        data = _NAMED.sub(_hide_value, data)
        if b" " in data:
            data = _BEARER.sub(rb"\1" + REDACTED, data)
        if b"://" in data:
            data = _USERINFO.sub(rb"\1" + REDACTED + b"@", data)
        if KEY_BEGIN in data:
            data = _KEY.sub(rb"\1" + REDACTED, data)
        data = _KNOWN.sub(REDACTED, data)
        for pattern in self._patterns:
            data = pattern.sub(REDACTED, data)
        return data

    def lines(self, lines: list[bytes], key_lines: int = 0) -> tuple[list[bytes], int]:
        """Lines of one text; of a private key that is spread over several only the first line stays.

        Args:
            lines: of a text.
            key_lines: how many lines of a private key came just before.
        Returns: the lines, and how many lines of a private key came last.
        """
        found: list[bytes] = []
        for line in lines:
            if key_lines:
                key_lines = 0 if KEY_END in line or key_lines >= MOST_KEY_LINES else key_lines + 1
                found.append(REDACTED)
                continue
            if KEY_BEGIN in line and b"PRIVATE KEY" in line and KEY_END not in line:
                key_lines = 1
            found.append(self(line))
        return found, key_lines


def _hide_value(found: re.Match[bytes]) -> bytes:
    name, escaped, double, single, number, bare = found.groups()
    if bare is not None and bare.lower() in (b"null", b"none", b"true", b"false"):
        return found[0]
    if number is not None and name.rstrip().endswith(b'":'):  # a bare word would break the JSON
        return name + b'"' + REDACTED + b'"'
    return name + (escaped or double or single or b"") + REDACTED


redact = Redactor()
