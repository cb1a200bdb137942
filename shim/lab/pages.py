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
_TEMPTING: Final = """<!doctype html><html lang=en><meta charset=utf-8><title>shim check</title>
<link rel=dns-prefetch href="//{dns_prefetch}/"><link rel=preconnect href="http://{preconnect}/">
<link rel=prefetch href="http://{prefetch}/next.html"><script src="http://{script}/a.js"></script>
<h1>A page that tempts to leak</h1><p>It comes from the shim's sandbox: no network was used.
<p><img src="http://{image}/a.png" alt="a picture by another name"> <a href="http://{link}/">a link</a>
<iframe src="http://{frame}/" title="a frame"></iframe>
<script>
function attempt(what) {{ try {{ what() }} catch (error) {{ console.log(error) }} }}
attempt(() => fetch("http://{fetch}/data.json", {{mode: "no-cors"}}).catch(() => 0))
attempt(() => new WebSocket("ws://{socket}/"))
attempt(() => {{
  const peer = new RTCPeerConnection({{iceServers: [{{urls: "stun:{stun}:3478"}}]}})
  peer.createDataChannel("a")
  peer.createOffer().then(offer => peer.setLocalDescription(offer))
}})
</script>
"""
_PICTURE: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HOST = re.compile(rb"\r\n[Hh]ost:[ \t]*([^\r\n]*)")
_TYPES: Final = {b".png": (b"image/gif", _PICTURE), b".js": (b"text/javascript", b"0;"), b".json": (b"text/plain", b"")}
_HTML: Final = b"text/html; charset=utf-8"


@value
class Answer:
    """One document and its media type."""

    kind: bytes
    body: bytes


class Pages:
    """By host and path of a request."""

    def __init__(self, canaries: Canaries) -> None:
        """`canaries` have all ROLES."""
        self._tempting = canaries.host(PAGE).encode()
        self._page = _TEMPTING.format(**{canary.role: canary.host for canary in canaries}).encode()

    def answer(self, head: bytes) -> Answer:
        """What there is for a request, of which `head` is all up to the empty line."""
        line, _, _ = head.partition(b"\r\n")
        path = line.split(b" ")[1:2]
        for ending, (kind, body) in _TYPES.items():
            if path and path[0].endswith(ending):
                return Answer(kind, body)
        host = _HOST.search(head)
        if host and host[1].lower().split(b":")[0] == self._tempting:
            return Answer(_HTML, self._page)
        return Answer(_HTML, PLAIN)
