from stem.response import ControlMessage

class ProtocolInfoResponse(ControlMessage):
    auth_methods: tuple[str, ...]
    cookie_path: str | None
