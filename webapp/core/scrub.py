"""Removes credentials that nobody told us about from texts of others, by what they look like.

`secrets.mask` knows our own secrets in all their forms. This knows the places where credentials
stand in errors of databases, client programs, HTTP libraries and mail servers: addresses, headers,
connection strings, JSON, command lines, and tokens with a shape of their own. Words that say what
went wrong stay, also such as "(using password: YES)".
"""

import re
from collections.abc import Iterable
from typing import Final

from webapp.core.secrets import MASK, mask

_FIRST: Final = rf"\1{MASK}"
_SECOND: Final = rf"\1\2{MASK}"

_NAMES: Final = (
    r"passwords?|passwd|passwort|pwd|passphrase|password_?hash|secret|client_?secret|token|api_?token"
    r"|credentials?|jwt|bearer|sessionid|session[_-]?(?:id|key)|sig|signature|webhook_?url"
    r"|(?:api|app(?:lication)?|access|secret|private|account|encryption|license|routing|integration|auth"
    r"|sharedaccess|gotify|subscription)[_-]?key|pass|psk|otp|x-amz-credential"
)
_KEEP: Final = (
    r"(?!(?:yes|no|none|null|nil|true|false|undefined|unset|empty|redacted)(?![\w-]|\.\w)|\*{3}|\[redacted|<"
    r"|\{\{?\w*\}|\$\{?[A-Za-z_]|%s|env:[A-Za-z_]|file:/)"
)
# ordinary words after "password:" and the like say what is wrong
_PROSE: Final = (
    r"(?!(?:an?|and|are|authentication|bad|be|both|but|by|can(?:not|'t)?|check|could|denied|did|does"
    r"|empty|enter|expired|failed|for|format|from|has|in|incorrect|invalid|is|it|length|malformed"
    r"|mismatch|missing|must|needs?|never|not|of|on|or|please|rejected|required|revoked|should|the"
    r"|this|to|too|unable|unauthorized|unexpected|unknown|unsupported|use|was|were|will|with|wrong"
    r"|you|your|on_?success|only)(?![\w-]|\.\w))"
)
_BARE: Final = (
    r"""(?:[^\s&"'<>;,)\]}\\]|[&,)\]}](?![\s"'&<>]|[\w.%-]{1,60}=|$)"""
    r"""|;(?![\s"'&<>]|[\w.% -]{1,60}=|$)|\\(?!["'n])){1,4096}"""
)
_ODD: Final = r"(?=\S*\d|\S*[a-z]\S*[A-Z]|\S*[!#$%*+/=@^_~|?{}]|\S{24})"  # no ordinary word


_RULE = tuple[tuple[str, ...], str, str]
"""Words of which one must be there (lower case), the pattern, and what takes its place."""

_ADDRESSES: Final[tuple[_RULE, ...]] = (
    # what stands before the @ of an address; neither a port nor an @ in a path is a password
    (
        ("://", "%3a%2f%2f"),
        (
            r"((?:://|%3A%2F%2F)[^\s:/@\"'<>?#%]{0,200}(?::|%3A))(?!\d{1,5}(?:[/?#\s,\"')]|$))"
            r"(?:[^\s\"'<>?=,]{1,2000}|[^\s\"'<>]{1,2000}?)(@|%40)(?=[\w\[/:?]|$)"
        ),
        rf"\1{MASK}\2",
    ),
    (
        ("://",),
        r"(?i)(://[^\s\"'<>]{1,500},[^\s:/@,\"'<>]{1,100}:)[^\s@,/\"'<>]{1,500}(?=@)",
        _FIRST,
    ),
    (("http",), r"(?i)(https?://)[^\s:/@\"'<>?#,]{1,1000}(?=@)", _FIRST),
    # webhooks and bots: their address is the key
    (
        ("hooks.slack",),
        r"(?i)(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)[\w/%-]+",
        _FIRST,
    ),
    (("webhooks",), r"(?i)(/api/(?:v\d+/)?webhooks/\d+/)[\w.-]+", _FIRST),
    (("bot",), r"(?i)((?:/|%2F)bot)\d{5,}(?::|%3A)[\w-]+", _FIRST),
    (("/webhookb2/",), r"(?i)(/webhookb2/)[^\s\"'<>]+", _FIRST),
    (("/hooks/",), r"(?i)(/hooks/(?:catch/)?)[\w-]{8,}(?:/[\w-]+)*", _FIRST),
    (
        ("/api/push/", "hc-ping.com", "/heartbeat/"),
        r"(?i)(/api/push/|hc-ping\.com/(?:ping/)?|/heartbeat/)[\w-]{6,}",
        _FIRST,
    ),
    (
        ("ifttt", "/incomingwebhook/"),
        r"(?i)(maker\.ifttt\.com/trigger/[\w-]+/with/key/|/incomingwebhook/)[\w-]+",
        _FIRST,
    ),
)
_SHAPES: Final[tuple[_RULE, ...]] = (
    # whole blocks, also when the end was cut off
    (
        ("private key",),
        (
            r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?:(?:(?!-----END)[\s\S]){0,20000}"
            r"(-----END [A-Z ]*PRIVATE KEY-----)|(?:(?:\\[rn]|\s)*[A-Za-z0-9+/=]{16,})*)"
        ),
        rf"\1{MASK}\2",
    ),
    (("age-secret-key",), r"(?i)(AGE-SECRET-KEY-(?:PQ-)?1)[0-9A-Z]+", _FIRST),
    ((":",), r"(?<![\w-])\d{6,12}:[A-Za-z0-9_-]{30,200}", MASK),
    (("xox", "xapp-"), r"\bxox[a-z]-[\w-]{8,}|\bxapp-[\w-]{8,}", MASK),
    (
        ("gh", "glpat-", "npm_", "_live_", "dop_v1_", "hvs."),
        r"\b(?:gh[pousr]_|github_pat_|glpat-|npm_|sk_live_|rk_live_|dop_v1_|hvs\.)[\w-]{12,}",
        MASK,
    ),
    (
        ("sg.", "sk-", "aiza", "tk_"),
        r"\bSG\.[\w-]{8,}\.[\w-]{8,}|\bsk-[\w-]{20,}|\bAIza[\w-]{30,}|\btk_[a-z0-9]{20,}",
        MASK,
    ),
    (("eyj",), r"\beyJ[\w-]{8,4096}\.[\w-]{4,8192}\.[\w-]{0,4096}", MASK),
    (
        ("$argon2", "$2", "md5", "scram-sha-256$"),
        (
            r"\$argon2i?d?\$[^\s\"']+|\$2[aby]\$\d\d\$[./\w]{20,}|\bmd5[0-9a-f]{32}\b"
            r"|SCRAM-SHA-256\$[^\s\"']+"
        ),
        MASK,
    ),
)
_HEADERS: Final[tuple[_RULE, ...]] = (
    (
        ("authorization",),
        (
            r"(?i)((?:proxy-)?authorization[\\\"']{0,3}\s{0,3}[:=,]\s{0,3}b?[\\\"']{0,2})"
            rf"([A-Za-z][\w-]{{0,30}}[ \t]+)?+{_KEEP}"
            r"(?:Credential=[^\r\n\"']{1,4096}|[^\s\"',;)}\]\\]{1,4096}(?:,[ \t]*\w+=[^\s,]+)*)"
        ),
        rf"\1\2{MASK}",
    ),
    (
        ("basic", "bearer", "token", "geniekey", "apikey", "digest", "ntlm", "negotiate"),
        (
            r"(?i)\b((?:Basic|Bearer|Token|GenieKey|ApiKey|Digest|NTLM|Negotiate)[ \t]+"
            r"(?:token[ \t]+)?[\"']?)(?=[\w+/.~=-]{8,})"
            r"(?!\w{1,40}=[^\s=])(?=[A-Za-z_+/.~=-]*\d|\S{28}|\S+=(?:[\s\"']|$))[\w+/.~=-]{8,4096}"
        ),
        _FIRST,
    ),
    (
        ("cookie",),
        r"(?i)((?:set-)?cookie2?[\\\"']{0,3}\s{0,3}[:=,]\s{0,3}[\\\"']{0,2})[^\r\n\"'\\]{1,4096}",
        _FIRST,
    ),
    (("auth ",), r"(?i)(AUTH (?:PLAIN|LOGIN|XOAUTH2|CRAM-MD5)[ \t]+)[A-Za-z0-9+/=]{6,}", _FIRST),
    (
        ("x-amz-",),
        r"(?i)(\bx-amz-(?:security-token|signature)[\"']?\s{0,3}[:=]\s{0,3})[^\s&\"'<>]+",
        _FIRST,
    ),
)
_COMMANDS: Final[tuple[_RULE, ...]] = (
    (
        ("identified", "password"),
        (
            r"(?is)(\b(?:identified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?"
            r"|password\s*\(\s*|(?:encrypted\s+)?password"
            r"(?:\s+(?:for|to|is|was)\s+[^\s'\"]{1,100})?(?:\s*=\s*|\s+)))"
            r"(['\"])(?:\\.|''|(?!\2)[^\\]){1,4096}"
        ),
        _SECOND,
    ),
    (
        ("--",),
        (
            r"(?im)(--(?:[\w-]{0,30}-)?(?:pass(?:word|wd|phrase)?|token|secret|api-key|secret-key)"
            rf"[ \t]+){_KEEP}(?!-)(?:\"[^\"\r\n]*|'[^'\r\n]*|[^\s\"']+)"
        ),
        _FIRST,
    ),
    (
        ("sshpass", "redis-cli"),
        (
            r"(?i)(\bsshpass[ \t]+-p[ \t]*|\bredis-cli\b[^\r\n]{0,500}?[ \t]-a[ \t]+)"
            r"(?:'[^']*'|\"[^\"]*\"|\S+)"
        ),
        _FIRST,
    ),
    (
        ("mysql", "mariadb"),
        (
            r"(?i)(\b(?:mysql(?:dump|admin|pump)?|mariadb(?:-dump|-admin)?)\b"
            r"[^\r\n|]{0,500}?[ \t]-p)"
            r"(?:'[^'\r\n]+'|\"[^\"\r\n]+\"|[^\s'\"]+)"
        ),
        _FIRST,
    ),
    (
        ("curl", "-user"),
        (
            r"((?:\bcurl\b[^\r\n]{0,1000}?[ \t](?:-[a-zA-Z]{0,4}u|-U)|--(?:proxy-)?user)"
            r"(?:[ \t]+|=)['\"]?[^\s:'\"]{1,200}:)[^\s'\"]+"
        ),
        _FIRST,
    ),
    (("@tcp", "@unix"), r"(\b[\w.-]{1,100}:)[^\s@/'\"]{1,200}(?=@(?:tcp6?|unix)\()", _FIRST),
    (("pass:",), r"(?i)(\bpass(?:in|out)?[ \t=]+['\"]?pass:)[^\s'\"]+", _FIRST),
    (
        ("auth",),
        (
            r"(?i)(\b(?:(?:http|proxy|basic)?_?auth\s{0,2}=\s{0,2}[\(\[]"
            r"|HTTP(?:Basic|Digest|Proxy)Auth\()\s{0,2}b?(['\"])(?:(?!\2).){0,200}\2\s{0,2},\s{0,2}b?)"
            r"(['\"])(?:\\.|(?!\3)[^\\]){1,4096}"
        ),
        rf"\1\3{MASK}",
    ),
    (
        ("</",),
        (
            rf"(?is)(<(?:\w+:)?\w{{0,30}}(?:{_NAMES})(?:\s[^<>]{{0,200}})?>){_KEEP}"
            r"[^<]{1,4096}(?=</|$)"
        ),
        _FIRST,
    ),
)
_HINTS: Final = (
    *("pass", "pwd", "psk", "otp", "secret", "token", "key", "sig", "credential", "jwt", "bearer"),
    *("session", "webhook"),
)
# a name of a secret, a sign, and the value: the quotation marks stay, and so does what follows
_PAIRS: Final[tuple[_RULE, ...]] = (
    (
        _HINTS,
        (
            rf"(?i)([(\[]\s{{0,3}}b?[\"'][\w.-]{{0,40}}(?:{_NAMES})[\"']\s{{0,3}},\s{{0,3}}b?)([\"'])"
            rf"{_KEEP}(?:\\.|(?!\2)[^\\]){{1,4096}}"
        ),
        _SECOND,
    ),
    (
        _HINTS,
        (
            rf"(?is)((?:{_NAMES})[\"'\\\]]{{0,5}}[ \t]{{0,3}}(?:=>|:=|[:=])"
            r"[ \t\r\n]{0,4}[bruf]?)"
            rf"(\\{{0,3}}[\"']){_KEEP}"
            r"(?:(?<=\\\")(?:(?!\\{1,3}\").){1,4096}|(?<!\\)(?<=\")(?:\\.|[^\"\\]){1,4096}"
            r"|(?<=')(?:\\.|''(?=[^\s,)}\]])|[^'\\]){1,4096})"
        ),
        _SECOND,
    ),
    (
        _HINTS,
        (
            rf"(?i)((?:{_NAMES})(?:%22)?%3[ad](?:%20|\+)?(?:%22)?)"
            r"(?:(?!%22|%26|%2c|%7d)[^\s&\"'<>]){1,4096}"
        ),
        _FIRST,
    ),
    (
        _HINTS,
        (
            rf"(?im)((?:{_NAMES})[\"'\]]{{0,3}}[ \t]{{0,2}}(?:=>|:=|=(?!=))[ \t]{{0,2}})"
            rf"{_KEEP}(?![\"'\\]){_BARE}"
        ),
        _FIRST,
    ),
    (
        _HINTS,
        (
            rf"(?im)(^[\s>*<|-]{{0,40}}[\w.-]{{0,40}}(?:{_NAMES})[ \t]{{0,2}}:[ \t]{{0,3}})"
            rf"{_KEEP}{_PROSE}(?![\"'\\])[^\s\"'<>]{{1,4096}}(?=[ \t\r]*$)"
        ),
        _FIRST,
    ),
    (
        _HINTS,
        (
            rf"((?i:{_NAMES})[ \t]{{0,2}}:[ \t]{{0,3}})(?i:{_KEEP}{_PROSE})(?![\"'\\])"
            rf"{_ODD}{_BARE}"
        ),
        _FIRST,
    ),
)
_RULES: Final = tuple(
    (frozenset(hints), re.compile(pattern), replacement)
    for hints, pattern, replacement in (*_ADDRESSES, *_SHAPES, *_HEADERS, *_COMMANDS, *_PAIRS)
)


_ALL_HINTS: Final = frozenset(hint for hints, _, _ in _RULES for hint in hints)


def scrub(text: str) -> str:
    """Return the text without what looks like a credential."""
    if not text:
        return text
    lowered = text.lower()
    present = {hint for hint in _ALL_HINTS if hint in lowered}
    for hints, pattern, replacement in _RULES:
        if not hints.isdisjoint(present):  # most texts need none of the patterns
            text = pattern.sub(replacement, text)
    return text


def conceal(text: str, secrets: Iterable[str]) -> str:
    """Return the text of somebody else without these secrets and without what looks like one."""
    return scrub(mask(text, secrets))
