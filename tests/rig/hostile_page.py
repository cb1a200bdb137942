"""A program of its own, `python -m rig.hostile_page FOLDER PORT…`: a page in Chromium tries all that a page can do to
these ports of this machine, and prints as JSON how each attempt ended for it.

Asserts nothing. Run it in a namespace: Chromium has no proxy here.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rig.asking import framed, wire
from rig.clients import CHROMIUM
from rig.wire import GREETING, http_connect, socks4, socks5

PATIENCE_S = 60.0
SMUGGLED = {
    "socks5": GREETING + socks5(b"smuggled.test", 80),
    "socks4a": socks4(b"smuggled.test", 80),
    "connect": http_connect("smuggled.test:443"),
    "dns": framed(wire("smuggled.test")),
}
_PAGE = """<!doctype html><meta charset=utf-8><title>page</title><body><script>
const ports = PORTS, bodies = BODIES, outcomes = {};
const soon = ms => new Promise(done => setTimeout(() => done("silence"), ms));
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const event = (thing, good, bad) => new Promise(done => {
  thing[good] = () => done("yes"); thing[bad] = () => done("no");
});
async function attempt(name, make) {
  let outcome;
  try { outcome = await Promise.race([make(), soon(4000)]); } catch (error) { outcome = error.name; }
  outcomes[name] = String(outcome);
}
const told = response => response.type + response.status;
function attempts(port) {
  const at = `127.0.0.1:${port}`, all = [];
  const add = (name, make) => all.push(attempt(`${name} ${port}`, make));
  add("get", () => fetch(`http://${at}/smuggled.test`, {mode: "no-cors"}).then(told));
  add("cors", () => fetch(`http://${at}/`, {headers: {"X-Smuggled": "1"}}).then(told));
  add("put", () => fetch(`http://${at}/`, {method: "PUT", body: "x"}).then(told));
  add("tls", () => fetch(`https://${at}/`, {mode: "no-cors"}).then(told));
  for (const [name, body] of Object.entries(bodies)) {
    add(`post ${name}`, () => fetch(`http://${at}/`, {method: "POST", mode: "no-cors", body: bytes(body)}).then(told));
    add(`beacon ${name}`, async () => navigator.sendBeacon(`http://${at}/`, bytes(body)) && "sent");
  }
  add("websocket", () => event(new WebSocket(`ws://${at}/`), "onopen", "onerror"));
  add("websocket tls", () => event(new WebSocket(`wss://${at}/`), "onopen", "onerror"));
  add("events", () => event(new EventSource(`http://${at}/`), "onopen", "onerror"));
  for (const tag of ["img", "script", "video", "link"]) add(tag, () => {
    const element = document.createElement(tag);
    const loaded = event(element, tag == "video" ? "onloadeddata" : "onload", "onerror");
    if (tag == "link") { element.rel = "stylesheet"; element.href = `http://${at}/x.css`; }
    else element.src = `http://${at}/x`;
    document.body.append(element);
    return loaded;
  });
  add("form", async () => {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = `frame${port}`;
    form.action = `http://${at}/`; form.method = "post"; form.enctype = "text/plain"; form.target = frame.name;
    const field = document.createElement("textarea");
    field.name = atob(bodies.socks5); field.value = "x";
    form.append(field); document.body.append(frame, form); form.submit();
    return "sent";
  });
  add("turn", async () => {
    const urls = [`turn:${at}?transport=tcp`, `turn:${at}?transport=udp`];
    const peer = new RTCPeerConnection({iceServers: [{urls, username: "smuggled.test", credential: "x"}]});
    const candidates = [];
    peer.createDataChannel("x");
    peer.onicecandidate = event => event.candidate?.type == "relay" && candidates.push(event.candidate);
    await peer.setLocalDescription(await peer.createOffer());
    await soon(2000);
    return candidates.length;
  });
  return all;
}
(async () => {
  await Promise.all(ports.flatMap(attempts));
  await soon(500);
  fetch("/outcomes", {method: "POST", body: JSON.stringify(outcomes)});
})();
</script>"""


def page(ports: list[int]) -> bytes:
    """The page that tries these ports, all at once."""
    encoded = {name: b64encode(body).decode() for name, body in SMUGGLED.items()}
    return _PAGE.replace("PORTS", json.dumps(ports)).replace("BODIES", json.dumps(encoded)).encode()


def main() -> None:
    """Serve, browse, print, and end the browser."""
    folder, *ports = sys.argv[1:]
    outcomes: queue.SimpleQueue[str] = queue.SimpleQueue()
    content = page(list(map(int, ports)))

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(content if self.path == "/" else b"")

        def do_POST(self) -> None:
            outcomes.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = [*CHROMIUM, "--remote-debugging-port=0", f"--user-data-dir={folder}/chromium", "--no-proxy-server"]
        argv = ["chromium", *flags, f"http://127.0.0.1:{server.server_address[1]}/"]
        silent = subprocess.DEVNULL
        with subprocess.Popen(argv, stdout=silent, stderr=silent, start_new_session=True) as browser:
            try:
                print(outcomes.get(timeout=PATIENCE_S), flush=True)
            finally:
                browser.kill()
        server.shutdown()


if __name__ == "__main__":
    main()
