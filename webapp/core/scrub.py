"""Removes credentials that nobody told us about from texts of others, by what they look like.

`secrets.mask` knows our own secrets in all their forms. This knows the places where credentials
stand in errors of databases, client programs, HTTP libraries and mail servers: addresses, headers,
connection strings, JSON, command lines, and tokens with a shape of their own. Words that say what
went wrong stay, also such as "(using password: YES)".
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from webapp.core.secrets import MASK, mask

_FIRST: Final = rf"\1{MASK}"
_SECOND: Final = rf"\1\2{MASK}"

_NAMES: Final = (
    # also as they are misspelt: it is the misspelt option that an error is about
    r"pass?w(?:or)?[dt]{1,2}(?:s|eval|_?hash)?|pwd|passphrase|secret|client_?secret|token|api_?token"
    r"|credentials?|jwt|bearer|sessionid|session[_-]?(?:id|key)|sig|signature|webhook_?url"
    r"|(?:api|app(?:lication)?|access|secret|private|account|encryption|license|routing|integration|auth"
    r"|sharedaccess|gotify|subscription|customer|file)[_-]?key|pass|psk|otp|x-amz-credential"
    r"|(?:device|user|recovery|one_?time)_?code|code_?verifier|client_?assertion|(?<![a-z])pw"
    r"|(?:api|secret|license|routing) key"
    r"|kennwort|wachtwoord|contrase[ñn]a|mot[ _]de[ _]passe|senha"
)
_SECRET: Final = (  # with what is put behind such a name
    rf"(?:{_NAMES})(?:[_-]?(?:hint|provided|value|code|confirm(?:ation)?|again|(?:sha)?256"
    r"|b(?:ase)?64|enc(?:oded|rypted)?))?"
)
# of a word: some passwords only begin like one
_END: Final = r"(?=[\s,;:!?&)\]}\"'`<>]|\\|\.(?!\w)|$)"
_KEEP: Final = (
    r"(?!(?:yes|no|none|null|nil|true|false|undefined|unset|empty|redacted|<[\w -]{0,40}>"
    r"|\{\{?\w*\}\}?|\$(?:\{\w+\}|(?-i:[A-Z_][A-Z\d_]*)|\d+)|%s|%\(\w+\)s)"
    rf"{_END}|\*{{3}}(?!\w)|\[redacted|env:[A-Za-z_]|file:/"
    r"|A[KS]IA[A-Z0-9]{12,}(?![\w/%]))"  # the name of a key, not the key
)
_NO_PORT: Final = r"(?!(?:\d+|\d[^\"'@]{0,6})[\"'])"  # nor one with a slip of the finger
_QUOTE: Final = r"(?:%22|\\u0022|&quot;|&#34;)"  # a quotation mark in an address, in JSON, in HTML
_SLASH: Final = r"(?:\\?/|%2F)"
# ordinary words after "password:" and the like say what is wrong
_PROSE: Final = (
    r"(?!(?:an?|and|are|authentication|bad|be|both|but|by|can(?:not|'t)?|check|could|denied|did|does"
    r"|empty|enter|expired|failed|for|format|from|has|in|incorrect|invalid|is|it|length|malformed"
    r"|flag|mismatch|missing|must|needs?|never|not|of|on|or|please|rejected|required|revoked|should|the"
    r"|option|this|to|too|unable|unauthorized|unexpected|unknown|unsupported|use|via|was|were|will|with"
    r"|wrong|you|your|on_?success|only|[1-5]\d\d)"
    rf"(?!&){_END})"
)
_BARE: Final = (
    r"""(?:[^\s&"'<>;,)\]}\\]|[&,)\]}](?![\s"'&<>]|[\w.%-]{1,60}=|$)"""
    r"""|;(?![\s"'&<>]|[\w.% -]{1,60}=|$)|\\(?!["'n])){1,4096}"""
)
# no ordinary word, and no name in a program either
_ODD: Final = (
    r"(?!(?:[a-z]+(?:_[a-z]+)+|(?:[A-Z][a-z]+){2,})(?![^\s,;:.)\]\"']))"
    r"(?=[^\s\"'<>]*\d|[^\s\"'<>]*[a-z][^\s\"'<>]*[A-Z]|[^\s\"'<>]*[!#$%*+/=@^_~|?{}]|[^\s\"'<>]{24})"
)


_QUOTED: Final = re.compile(r"(['\"])(?:\\.|''|(?!\1)[^\\]){0,4096}(\1|$)", re.DOTALL)


def _without_quoted(found: re.Match[str]) -> str:
    """Empty all quoted values of the last group: which of them is the secret, its place says."""
    return found[1] + _QUOTED.sub(rf"\1{MASK}\2", found[found.re.groups])


def _without_same_place(found: re.Match[str]) -> str:
    """Empty the values that stand where the names of secrets stand."""
    names, values = found[2].split(","), found[4].split(", ")
    if len(names) != len(values):
        return f"{found[1]}{found[2]}{found[3]}{MASK}"
    kept = (
        MASK if re.search(_NAMES, name, re.IGNORECASE) else value
        for name, value in zip(names, values, strict=True)
    )
    return f"{found[1]}{found[2]}{found[3]}{', '.join(kept)}"


def _of_path(pattern: str) -> str:
    """Return the pattern for slashes as they stand in addresses, in JSON, and in parameters."""
    return pattern.replace("/", _SLASH)


_RULE = tuple[tuple[str, ...], str, str | Callable[[re.Match[str]], str]]
"""Words of which one must be there (lower case), the pattern, and what takes its place."""

_ADDRESSES: Final[tuple[_RULE, ...]] = (
    # what stands before the @ of an address; neither a port nor an @ in a path is a password
    (
        ("://", ":\\/"),
        (
            r"(:(?:\\?/){2}[^\s:/@\"'<>?#\\]{0,200}(?:\\[^\s:/@\"'<>?#\\]{1,200})?:)"
            r"(?!\d{1,5}(?:[/?#\s,\"')\\]|$))"
            r"(?:[^\s\"'<>?=,]{1,2000}|[^\s\"'<>]{1,500}?"
            r"|[^\s\"'<>/@]{1,200}(?: [^\s\"'<>/@]{1,200}){1,3})"
            r"@(?!sha256:)(?=[\w\[/:?]|$)"
        ),
        rf"\1{MASK}@",
    ),
    (
        ("%3a%2f%2f",),
        r"(?i)(%3A%2F%2F[^\s:/@\"'<>?#%]{0,200}(?::|%3A))[^\s\"'<>&]{1,2000}?(?=%40|@)",
        _FIRST,
    ),
    (
        ("://",),
        r"(?i)(://[^\s\"'<>]{1,500},[^\s:/@,\"'<>]{1,100}:)[^\s@,/\"'<>]{1,500}(?=@)",
        _FIRST,
    ),
    (
        ("@",),
        (
            r"(?i)((?:^|[\s\"'`(=])(?://)?"
            r"(?!(?:mailto|acct|sips?|xmpp|to|from|b?cc|users?|e-?mail|by|for):)[\w.+-]{1,100}:)"
            r"(?=[^\s@]*(?:\d|[!#$%^&*+=~?]))[^\s:/@\"'<>]{4,500}(?=@(?!sha256:)[\w\[.])"
        ),
        _FIRST,
    ),
    # an address that was taken apart at a wrong place: its host or its port is half a password
    (
        ("host", "port"),
        (
            r"(?i)((?:host(?:[ ]name)?|nonnumeric port:)[ ][\"'](?=[^\s\"'@]+@)"
            rf"|nonnumeric port:[ ][\"']{_NO_PORT}"
            rf"|port could not be cast to integer value as [\"']{_NO_PORT}|invalid integer value"
            rf" [\"']{_NO_PORT}(?=[^\"']*[\"'] for connection option \"port\")"
            rf"|failed to parse: [\"'][^\s:\"']{{1,200}}:{_NO_PORT})[^\"'@]{{1,500}}"
        ),
        _FIRST,
    ),
    (("http",), r"(?i)(https?://)[^\s:/@\"'<>?#,]{1,1000}(?=@)", _FIRST),
    # webhooks and bots: their address is the key
    (
        (
            *("services", "slack", "webhookb2", "hooks", "discord:", "gotify", "ntfy", "msteams:"),
            "mmost",
        ),
        _of_path(
            r"(?i)(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/"
            r"|/services/(?=T\w{5,}/B\w{5,}/)|/webhookb2/|/hooks/(?:catch/)?(?=[\w-]{8})"
            r"|\b(?:discord|gotifys?|slack|ntfys?|msteams|mmosts?)://[\w.@:-]{1,200}/)"
            r"(?:[\w.@:~-]|%(?!2F)|/(?=[\w%]))*[\w=-]"
        ),
        _FIRST,
    ),
    (
        (
            *("webhooks", "bot", "push", "hc-ping.com", "heartbeat", "ping", "url: /", "ifttt"),
            "incomingwebhook",
        ),
        _of_path(
            r"(?i)(/api/(?:v\d+/)?webhooks/\d+/|/bot(?=\d{5,}(?::|%3A))|/api/push/"
            r"|hc-ping\.com/(?:ping/)?|/heartbeat/"
            r"|(?:/ping/|with url: /)(?=[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-|[\w-]{20,24}/)"
            r"|maker\.ifttt\.com/trigger/[\w-]+/with/key/|/incomingwebhook/)"
            r"(?:[\w.:-]|%(?!2F)){5,}[\w-]"
        ),
        _FIRST,
    ),
    (
        ("?", "&"),
        rf"([?&](?:key|code|state|session_state)=)(?=[^&\s]{{8}}){_ODD}[^\s&\"'<>#]+",
        _FIRST,
    ),
)
_SHAPES: Final[tuple[_RULE, ...]] = (
    # whole blocks, also when the end was cut off
    (
        ("private key",),
        (
            r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)(?!\*{3})(?:(?:[^-]|-(?!----)){0,20000}+"
            r"(-----END [A-Z ]{0,40}PRIVATE KEY-----)|(?:(?:\\[rn]|\s)*[A-Za-z0-9+/=]{16,})*)"
        ),
        rf"\1{MASK}\2",
    ),
    (  # and when the beginning was
        ("private key",),
        (
            r"(?m)(?:(?:^|\\n)[A-Za-z0-9+/=]{16,76}(?=[\r\n]|\\n)[\r\n]*(?:\\r|\\n(?=-))*){1,200}+"
            r"(?=-----END [A-Z ]{0,40}PRIVATE KEY)"
        ),
        rf"{MASK}\n",
    ),
    (("private-lines",), r"(Private-Lines: \d+)(?:\s+(?!Private-MAC)[\w+/=]+)+", rf"\1\n{MASK}"),
    (("age-secret-key",), r"(?i)(AGE-SECRET-KEY-(?:PQ-)?1)[0-9A-Z]+", _FIRST),
    ((":",), r"(?<![\w-])\d{6,12}:[A-Za-z0-9_-]{30,200}", MASK),
    (("xox", "xapp-"), r"\bxox[a-z]-[\w-]{8,}|\bxapp-[\w-]{8,}", MASK),
    (
        (
            *("gh", "glpat-", "npm_", "_live_", "dop_v1_", "hvs.", "sg.", "sk-", "aiza", "tk_"),
            *("glsa_", "key-", "dckr_", "whsec_"),
        ),
        (
            r"\b(?:(?:gh[pousr]_|github_pat_|glpat-|npm_|(?:sk|rk|key)_live_|dop_v1_|hvs\.|glsa_"
            r"|dckr_pat_|whsec_)[\w-]{12,}|SG\.[\w-]{8,}\.[\w-]{8,}|sk-[\w-]{20,}|AIza[\w-]{30,}|tk_[a-z0-9]{20,}|key-[\da-z]{32})"
        ),
        MASK,
    ),
    (
        ("ac", "sk", "akia", "asia"),
        r"\b((?:AC|SK)[\da-f]{32}:|A[KS]IA[A-Z\d]{12,}:)[\w/+-]{20,}",
        _FIRST,
    ),
    (("response=",), r"(\bresponse=\")[\da-f]{32,128}(?=\")", _FIRST),  # of Digest
    (("ls0tls1crudjti",), r"\bLS0tLS1CRUdJTi[\w+/=]+", MASK),  # -----BEGIN in base64
    # a line of .pgpass
    (
        (":",),
        (
            r"((?<![\w:.-])(?=[\w.-]{0,200}[a-z.]|\*)[\w.*-]{3,200}:(?:\d{2,5}|\*):"
            r"[^\s:/]{1,63}:[^\s:/]{1,63}:)[^\s:]+(?!\S*:)"
        ),
        _FIRST,
    ),
    # signed by itsdangerous, as sessions of Flask are: content, time, and signature
    ((".",), r"(?<![\w-])[\w-]{10,4096}\.[\w-]{6}\.[\w-]{27}(?![\w-])", MASK),
    (("signature b'",), r"(Signature b')[\w-]{20,}", _FIRST),
    # 32 bytes in base64
    (("key",), r"(?i)(\bkeys?\b[^\w\n]{1,6})[\w+/-]{43}=", _FIRST),
    (("eyj",), r"\beyJ[\w-]{8,4096}\.[\w-]{4,8192}\.[\w-]{0,4096}", MASK),
    (
        ("$argon2", "$2", "md5", "scram-sha-256$", "'*"),
        (
            r"\$argon2i?d?\$[^\s\"']+|\$2[aby]\$\d\d\$[./\w]{20,}|\bmd5[0-9a-f]{32}\b"
            r"|SCRAM-SHA-256\$[^\s\"']+|(?<=')\*[\dA-F]{40}\b"
        ),
        MASK,
    ),
)
_HEADERS: Final[tuple[_RULE, ...]] = (
    (
        ("authorization",),
        (
            r"(?i)((?:proxy-)?authorization[\\\"']{0,3}\s{0,3}[:=,]\s{0,3}\[?+"
            r"(?:b(?=['\"]))?+[\\\"']{0,2})"
            rf"([A-Za-z][\w-]{{0,30}}[ \t]+)?+{_KEEP}"
            r"(?:Credential=[^\r\n\"']{1,4096}|[^\s\"',;)}\]\\]{1,4096}(?:,[ \t]*\w+=[^\s,]+)*)"
        ),
        rf"\1\2{MASK}",
    ),
    (
        ("basic", "bearer", "token", "geniekey", "apikey", "digest", "ntlm", "negotiate"),
        (
            r"(?i)(?<![\w/.-])((?:Basic|Bearer|Token|GenieKey|ApiKey|Digest|NTLM|Negotiate)[ \t]+"
            r"(?:token[ \t]+)?[\"']?)(?=[\w+/.~=-]{8,})"
            r"(?!\w{1,40}=[^\s=])(?=[A-Za-z_+/.~=-]*\d|\S{28}|\S+=(?:[\s\"']|$)"
            r"|(?-i:[A-Za-z]*[a-z][A-Z]+[a-z]+[A-Z]+[a-z]+[A-Z]))[\w+/.~=-]{8,4096}"
        ),
        _FIRST,
    ),
    (
        ("cookie",),
        (
            r"(?i)((?:set-)?cookie2?[\\\"']{0,3}\s{0,3}[:=,]\s{0,3}[\\\"']{0,2})"
            r"(?=[^\s=;\"']{1,200}=)[^\r\n\"'\\]{1,4096}"
        ),
        _FIRST,
    ),
    (
        ("auth ",),
        (
            r"(?i)(AUTH (?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER|CRAM-MD5)[ \t]+)"
            r"(?!(?:LOGIN|X?OAUTH\w*|CRAM-MD5|NTLM|GSSAPI|DIGEST-MD5|SCRAM)\b)[A-Za-z0-9+/=]{6,}"
        ),
        _FIRST,
    ),
    (
        ("auth",),
        (
            r"((?:\b|_)auth[\"']?\s{0,3}[:=]\s{0,3}[\"']?)"
            r"(?=[\w+/-]*\d)(?=[\w+/-]*[A-Z])(?=[\w+/-]*[a-z])[\w+/-]{12,}={0,2}"
        ),
        _FIRST,
    ),
    (
        ("x-amz-",),
        (
            r"(?i)(\bx-amz-(?:security-token|signature|[\w-]{0,60}-customer-key)"
            r"[\"']?\s{0,3}[:=]\s{0,3}(?:b?[\"'])?)[^\s&\"'<>]+"
        ),
        _FIRST,
    ),
    # a header that cannot be sent
    (
        ("header", "unicodeencodeerror"),
        (
            r"(?i)(in header value: b?[\"']|UnicodeEncodeError\('[\w-]+', '|Header part \(b?['\"]?)"
            r"((?:Basic|Bearer|Token)[ ]+)?(?:\\\\?[^rn\"']|[^\\\"')]){1,4096}"
        ),
        rf"\1\2{MASK}",
    ),
    # what a client of mail and of FTP says
    (
        ("pass ", " login "),
        r"(?m)((?:(?:^|[>'\"]) ?PASS|\b[A-Za-z]{0,4}\d{1,6} LOGIN \S{1,200}) \"?)[^\s'\"]+",
        _FIRST,
    ),
    (
        ("334",),
        (
            r"(?m)((?:^|[\s'\"])334(?: [\w+/=]{0,500})?(?:\\r\\n['\"]|\r)?\n"
            r"(?:reply: [^\n]{0,500}\n)?+[^\n]{0,40}?(?:[>:] b?['\"]?))"
            r"[\w+/=]{4,4096}(?=(?:\\r\\n)?['\"]?\s*?$)"
        ),
        _FIRST,
    ),
)
_COMMANDS: Final[tuple[_RULE, ...]] = (
    (
        ("identif", "pas", "key"),
        (
            r"(?is)(\b(?:(?<!revision )identif\w{0,4}\s+(?:(?:with|via)\s+\S+\s+)?"
            r"(?:by|as|using)\s+(?:pass?word\s+)?"
            r"|pass?word\s*\(\s*|(?:encrypted\s+)?pass?word"
            r"(?:\s+(?:for|to|is|was)\s+(?!user|role|account)[^\s'\"]{1,100})?(?:\s*=\s*|\s+)"
            r"|(?:pragma\s+(?:re)?key\s*=|attach\b[^\r\n]{1,500}?\skey)\s*))"
            r"(['\"])(?:\\.|''(?=[^\s,;)}\]])|(?!\2)[^\\]){1,4096}"
        ),
        _SECOND,
    ),
    (
        ("replace",),
        (
            r"(?is)(\bidentif\w{0,4}\s+by\s+'[^'\r\n]{0,1000}'\s+replace\s+)"
            r"(['\"])(?:\\.|(?!\2)[^\\]){1,4096}"
        ),
        _SECOND,
    ),
    (
        ("role", "user"),
        (
            r"(?i)(\b(?:role|user)\s[^\r\n]{0,200}\spass?word[ \t]+)"
            r"(?!null\b|\$)(?=\S*\d)[^\s'\"=(]{1,500}"
        ),
        _FIRST,
    ),
    (
        ("crypt",),
        r"(?is)(\b(?:pgp_\w+|\w{0,20}crypt(?:_\w+)?)\()([^()]{1,4096})",
        _without_quoted,
    ),
    (
        ("values",),
        (
            rf"(?is)(\binto\s+[^\s(]{{1,200}}\s*\([^()]{{0,2000}}(?:{_NAMES})[^()]{{0,2000}}\)"
            r"\s*values\s*(?:\([^()']{0,2000}\)[^\[]{0,200}\[parameters:\s*)?)"
            r"((?:[\s,\[(]{1,10}(?:'(?:''|\\.|[^'\\])*+'?+|[^'()])*+\)?+)+)"
        ),
        _without_quoted,
    ),
    # what there is already
    (
        ("key (",),
        (
            rf"(?i)(\bKey \()(?=[^()\n]*(?:{_NAMES}))([^()\n]{{1,1000}})"
            r"(\)=\()([^\n]{1,1000}?)(?=\)[ .])"
        ),
        _without_same_place,
    ),
    (
        ("duplicate entry",),
        rf"(?i)(Duplicate entry ')[^\n]{{1,1000}}?(?=' for key '[^'\n]*(?:{_NAMES}))",
        _FIRST,
    ),
    (
        ("missing",),
        r"(missing \"=\" after \")[^\"\n]{1,1000}",  # the second half of a password with a space
        _FIRST,
    ),
    (
        ("--",),
        (
            rf"(?im)(--(?:[\w.-]{{0,40}}{_SECRET}|oauth2-bearer)(?:[ \t]+|['\"],\s?b?['\"]))"
            rf"{_KEEP}{_PROSE}(?!-|\(\w+\)\s)"
            r"(?:\"[^\"\r\n]*|'[^'\r\n]*|[^\s\"']+)"
        ),
        _FIRST,
    ),
    # options of one letter, each with its program
    (
        (
            *("sshpass", "redis-cli", "docker", "curl", "plink", "pscp", "psftp", "zip", "openssl"),
            *("login", "keygen", "ldap"),
        ),
        (
            r"(\b(?:sshpass[ \t]+-p|login[ \t]+\S{1,200}[ \t]+password"
            r"|(?:redis-cli\b[^\r\n]{0,500}?[ \t]-a"
            r"|docker login\b[^\r\n]{0,500}?[ \t]-p|curl\b[^\r\n]{0,500}?[ \t](?:-b|--cookie)"
            r"|(?:plink|pscp|psftp)\b[^\r\n]{0,500}?[ \t]-pw|zip\b[^\r\n]{0,500}?[ \t]-P"
            r"|ldap\w{1,20}\b[^\r\n]{0,500}?[ \t]-w|ssh-keygen\b[^\r\n]{0,500}?[ \t]-[NP]"
            r"|openssl\b[^\r\n]{0,500}?[ \t]-[kK]))"
            rf"[ \t]+){_PROSE}(?:'[^'\r\n]*'|\"[^\"\r\n]*\"|\S+)"
        ),
        _FIRST,
    ),
    (
        ("mysql", "mariadb", "7z"),
        (
            r"(?i)(\b(?:mysql(?:dump|admin|pump)?|mariadb(?:-dump|-admin)?|7z[ar]?)\b"
            r"[^\r\n|]{0,500}?[ \t'\"]-p)"
            r"(?:'[^'\r\n]+'|\"[^\"\r\n]+\"|[^\s'\"]+)"
        ),
        _FIRST,
    ),
    (
        ("curl", "-user", "lftp"),
        (
            r"((?:\bcurl\b[^\r\n]{0,500}?[ \t](?:-[a-zA-Z]{0,4}u|-U|-E|--cert)|--(?:proxy-)?user)"
            r"[ \t=]*['\"]?[^\s:'\"]{1,200}:"
            r"|\blftp\b[^\r\n]{0,500}?[ \t]-u[ \t]+[^\s,]{1,200},)[^\s'\"]+"
        ),
        _FIRST,
    ),
    (("@tcp", "@unix"), r"(\b[\w.-]{1,100}:)[^\s@/'\"]{1,200}(?=@(?:tcp6?|unix)\()", _FIRST),
    (("pass:",), r"(?i)(\bpass(?:in|out)?[ \t=]+['\"]?pass:)[^\s'\"]+", _FIRST),
    (
        ("auth", "mysqli", "pdo"),
        (
            r"(?i)(\b(?:(?:http|proxy|basic)?_?auth\s{0,2}=\s{0,2}[\(\[]"
            r"|HTTP(?:Basic|Digest|Proxy)Auth\(|(?:mysqli|PDO)(?:->__construct)?\('[^'\r\n]{0,500}',)"
            r"\s{0,2}b?(['\"])(?:(?!\2).){0,200}\2\s{0,2},\s{0,2}b?)"
            r"(['\"])(?:\\.|(?!\3)[^\\]){1,4096}"
        ),
        rf"\1\3{MASK}",
    ),
    (
        ("</",),
        (
            rf"(?is)(<(?:\w+:)?[\w.-]{{0,30}}{_SECRET}(?:\s[^<>]{{0,200}})?>(?:<!\[CDATA\[)?){_KEEP}"
            r"[^<]{1,4096}(?=</|$)"
        ),
        _FIRST,
    ),
    (
        ("</",),
        (
            rf"(?i)(>[\w .-]{{0,40}}{_SECRET}:?</\w{{1,20}}>\s{{0,20}}<\w{{1,20}}[^<>]{{0,200}}>)"
            rf"{_KEEP}[^<]{{1,4096}}"
        ),
        _FIRST,
    ),
    (
        ('="',),
        (
            r"(?is)(<[\w:]{1,60}\s[^<>]{0,300}\b(?:name|key|id)=\""
            rf"[^\"<>]{{0,100}}{_SECRET}\"(?:[^<>]{{0,300}}?\svalue=\""
            r"|[^<>]{0,300}>(?:<!\[CDATA\[)?(?=[^<>]{1,4096}(?:</|\]\]>))))"
            rf"{_KEEP}[^<>\"\]]{{1,4096}}"
        ),
        _FIRST,
    ),
)
_HINTS: Final = (
    *("pas", "pwd", "psk", "otp", "secret", "token", "key", "sig", "credential", "jwt", "bearer"),
    *("session", "webhook", "verifier", "assertion", "code", "pw", "kennwort", "wachtwoord"),
    *("contrase", "passe", "senha"),
)
# a name of a secret, a sign, and the value: the quotation marks stay, and so does what follows
_PAIRS: Final[tuple[_RULE, ...]] = (
    (
        (": |", ": >"),
        (
            rf"(?im)({_SECRET}[\"']?[ \t]{{0,2}}:[ \t]{{0,3}}[|>][+-]?[ \t]*\r?\n[ \t]+)"
            r"[^\r\n]{1,4096}"
        ),
        _FIRST,
    ),
    (
        _HINTS,
        (
            rf"(?i)([(\[]\s{{0,3}}b?[\"'][\w.-]{{0,40}}{_SECRET}[\"']\s{{0,3}},\s{{0,3}}b?)([\"'])"
            rf"{_KEEP}(?:\\.|(?!\2)[^\\]){{1,4096}}"
        ),
        _SECOND,
    ),
    (
        _HINTS,
        (
            rf"(?is)({_SECRET}[\"'\\\]]{{0,5}}[ \t]{{0,3}}(?:=>|:=|[:=])"
            r"[ \t\r\n]{0,4}[bruf]?)"
            rf"(\\{{0,3}}[\"']){_KEEP}"
            r"(?:(?<=\\\")(?:(?!\\{1,3}\").){1,4096}|(?<!\\)(?<=\")(?:\\.|[^\"\\]){1,4096}"
            r"|(?<=')(?:\\.|''(?=[^\s,)}\]])|[^'\\]){1,4096})"
        ),
        _SECOND,
    ),
    (
        ("%3", "%22", "\\u0022", "&quot;", "&#34;"),
        (
            rf"(?i)({_SECRET}(?:{_QUOTE}?%3[ad](?:%20|\+)?{_QUOTE}?|{_QUOTE}? ?[:=] ?{_QUOTE}))"
            rf"(?:(?!{_QUOTE}|%26|%2c|%7d)[^\s\"'<>]){{1,4096}}?(?={_QUOTE}|%26|%2c|%7d|[\s&\"'<>]|$)"
        ),
        _FIRST,
    ),
    (
        _HINTS,
        (
            rf"(?im)({_SECRET}[\"'\]]{{0,3}}[ \t]{{0,2}}(?:=>|:=|=(?!=))[ \t]{{0,2}})"
            rf"{_KEEP}(?![A-Za-z_]\w*(?:\.\w+)+\(|[brufBRUF]?\\{{0,3}}[\"']|{_QUOTE}|\{{\w+:|\[[\"'{{]){_BARE}"
        ),
        _FIRST,
    ),
    (
        _HINTS,
        (
            rf"(?im)(^[\s>*<|-]{{0,40}}[\w.-]{{0,40}}{_SECRET}[ \t]{{0,2}}:[ \t]{{0,3}})"
            rf"{_KEEP}{_PROSE}(?!\\{{0,3}}[\"'])[^\s\"'<>]{{1,4096}}(?=[ \t\r]*$)"
        ),
        _FIRST,
    ),
    (
        _HINTS,
        (
            rf"((?i:{_SECRET})(?: for (?:key )?'[^'\r\n]{{1,200}}')?[ \t]{{0,2}}:[ \t]{{0,3}})"
            rf"(?i:{_KEEP}{_PROSE})(?!\\{{0,3}}[\"']|\{{\w+:|\[[\"'{{])"
            rf"(?![a-z]{{1,20}}(?:_[a-z]{{1,20}})+=\S){_ODD}{_BARE}"
        ),
        _FIRST,
    ),
    # the name is a value itself
    (
        ("value",),
        (
            rf"(?i)(\b(?:name|key|type)[\"']?:[ ]?[\"']?[\w.-]{{0,60}}{_SECRET}[\"']?,?\s{{1,40}}"
            r"[\"']?value[\"']?:[ ]?[\"']?"
            rf"|\b(?:name|key|type)\":\"[\w.-]{{0,60}}{_SECRET}\",\"value\":\")"
            rf"{_KEEP}[^\s\"',}}]{{1,4096}}"
        ),
        _FIRST,
    ),
    # in a sentence: only what a quotation or its own look sets apart from words
    (
        (
            *(" query", " parameter", " with", " value", " set", " given", " was", " is", " to"),
            *(" received", " expected", " got"),
        ),
        (
            rf"(?i)({_SECRET}[\"'`)]{{0,2}}"
            r"(?:[:,]?[ ]+(?:query|parameter|with|value|set|given|was|is|to|format|mismatch"
            r"|received|expected|got)){1,6}:?[ ]+[\"'`]?)"
            rf"{_KEEP}(?-i:{_ODD})[^\s\"'`<>]{{4,4096}}(?=[\"'`\s]|$)"
        ),
        _FIRST,
    ),
    (
        _HINTS,
        (
            rf"(?i)\b({_SECRET}[\"'`]?[ ]+[\"'`]?)(?!age1|\d{{4}}-\d\d){_KEEP}"
            r"(?=[\w+~-]*\d)(?=[\w+~-]*[a-z])[\w+~-]{12,4096}={0,2}(?![\w./:=])"
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
