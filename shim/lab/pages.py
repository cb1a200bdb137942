"""What the sandbox shows: one small page for any name, and for the canary a page that tempts a browser to leak.

Serves nothing itself; every name on the page belongs to this run alone.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from shim.lab.canary import PAGE, Canaries
from shim.value import value

PLAIN: Final = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>shim sandbox</title>"
    b"<p>This page comes from the shim's sandbox: no network was used."
)
_HEAD: Final = "<!doctype html><html lang=en><meta charset=utf-8><title>shim check</title>"
_TOLD: Final = "<h1>A page that tempts to leak</h1><p>It comes from the shim's sandbox: no network was used."
_HINTS: Final = """
<link rel=dns-prefetch href="//{dns_prefetch}/"><link rel=preconnect href="http://{preconnect}/">
<link rel=prefetch href="http://{prefetch}/next.html">"""
_NAMES: Final = """
<script src="http://{script}/a.js"></script>
<p><img src="http://{image}/a.png" alt="a picture by another name"> <a href="http://{link}/">a link</a>
<iframe src="http://{frame}/" title="a frame"></iframe>
<script>
try {{ fetch("http://{fetch}/data.json", {{mode: "no-cors"}}).catch(() => 0) }} catch (error) {{ console.log(error) }}
try {{ new WebSocket("ws://{socket}/") }} catch (error) {{ console.log(error) }}
</script>"""
_WEBRTC: Final = """
<script>
try {{
  const peer = new RTCPeerConnection({{iceServers: [{{urls: "stun:{stun}:3478"}}]}})
  peer.createDataChannel("a")
  peer.createOffer().then(offer => peer.setLocalDescription(offer))
}} catch (error) {{ console.log(error) }}
</script>"""
_AGAIN: Final = """
<script>setInterval(() => fetch("/data.json?" + Math.random()).catch(() => 0), 500)</script>"""
_TOPICS: Final = {
    b"/": _HINTS + _TOLD + _NAMES + _WEBRTC,
    b"/hints": _HINTS + _TOLD,
    b"/names": _TOLD + _NAMES,
    b"/webrtc": _TOLD + _WEBRTC,
    b"/quic": _TOLD + _AGAIN,
}
"""What tempts, by path: all of it but QUIC, or one thing alone. Over QUIC nothing would be left to ask by TCP."""

_QUIC_HINT: Final = b'Alt-Svc: h3=":443"; ma=86400\r\n'
_PICTURE: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HOST = re.compile(rb"\r\n[Hh]ost:[ \t]*([^\r\n]*)")
_TYPES: Final = {b".png": (b"image/gif", _PICTURE), b".js": (b"text/javascript", b"0;"), b".json": (b"text/plain", b"")}
_HTML: Final = b"text/html; charset=utf-8"


@value
class Answer:
    """One document and its media type; `headers` are more lines of the head."""

    kind: bytes
    body: bytes
    headers: bytes = b""


class Pages:
    """By host and path of a request."""

    def __init__(self, canaries: Canaries) -> None:
        """`canaries` have all ROLES."""
        self._tempting = canaries.host(PAGE).encode()
        hosts = {canary.role: canary.host for canary in canaries}
        self._pages = {path: (_HEAD + page).format(**hosts).encode() for path, page in _TOPICS.items()}

    def answer(self, head: bytes) -> Answer:
        """What there is for a request, of which `head` is all up to the empty line."""
        line, _, _ = head.partition(b"\r\n")
        path = (*line.split(b" "), b"")[1].partition(b"?")[0]
        for ending, (kind, body) in _TYPES.items():
            if path.endswith(ending):
                return Answer(kind, body)
        host = _HOST.search(head)
        if host and host[1].lower().split(b":")[0] == self._tempting:
            return Answer(_HTML, self._pages.get(path, PLAIN), _QUIC_HINT if path == b"/quic" else b"")
        return Answer(_HTML, PLAIN)
