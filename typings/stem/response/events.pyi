from stem.response import ControlMessage

class Event(ControlMessage):
    keyword_args: dict[str, str]
    positional_args: list[str]
