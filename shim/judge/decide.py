"""What is done about a request: the table of modes, in one place.

Looks at nothing but its arguments and tells nobody.
"""

from __future__ import annotations

from typing import assert_never

from shim.judge.endpoints import CLIENT_FIRST_PORTS
from shim.judge.hosts import canonical
from shim.model import Action, Command, Decision, Exposure, Knowledge, Mode, Reply, Request, Standing
from shim.policy import Policy

# Constants, so that a decision costs no allocation. Reasons are codes of the log.
FORWARD = Decision(Action.FORWARD)
REFUSE_ADDRESS = Decision(Action.BLOCK, "address_only", Reply.NOT_ALLOWED)
REFUSE_TEXT = Decision(Action.BLOCK, "address_as_text", Reply.NOT_ALLOWED)
REFUSE_LOCAL = Decision(Action.BLOCK, "local_destination", Reply.NOT_ALLOWED)
REFUSE_ISSUED = Decision(Action.BLOCK, "issued", Reply.NOT_ALLOWED)
REFUSE_STALE = Decision(Action.BLOCK, "stale", Reply.NOT_ALLOWED)
REFUSE_PLAINTEXT = Decision(Action.BLOCK, "plaintext_port", Reply.NOT_ALLOWED)
REFUSE_LATE = Decision(Action.BLOCK, "program_unknown", Reply.GENERAL_FAILURE)
FORWARD_BY_RULE = Decision(Action.FORWARD, "allowed_by_rule")
REFUSE_BY_RULE = Decision(Action.BLOCK, "refused_by_rule", Reply.NOT_ALLOWED)
REFUSE_COMMAND = Decision(Action.BLOCK, "command_not_supported", Reply.COMMAND_NOT_SUPPORTED)


def decide(request: Request, exposure: Exposure, knowledge: Knowledge, policy: Policy) -> Decision:
    """What is done about `request`. Total: every exposure has a decision in every mode."""
    match exposure:
        case Exposure.NAME | Exposure.RESOLVED_BY_TOR:
            return FORWARD
        case Exposure.ADDRESS | Exposure.ADDRESS_AS_TEXT:
            return _address(request, exposure, knowledge, policy)
        case Exposure.LOCAL:
            return _local(request, policy)
        case Exposure.ISSUED:
            return _issued(knowledge, policy)
        case Exposure.NOT_APPLICABLE:
            return _not_applicable(request, knowledge)
        case _:  # pragma: no cover - the type checker proves that nothing comes here
            assert_never(exposure)


def worth_hearing(request: Request, decision: Decision, policy: Policy) -> Mode | None:
    """The mode that refuses this address, if the user wants it to wait for the name in the client's first bytes."""
    refused = decision is REFUSE_ADDRESS or decision is REFUSE_TEXT
    waits = refused and policy.wait_for_name and request.command is Command.CONNECT
    return policy.mode if waits and request.port in CLIENT_FIRST_PORTS else None


def would_connect(request: Request, decision: Decision) -> bool:
    """Whether this decision opens a connection, and so carries whatever the client then says."""
    return request.command is Command.CONNECT and decision.action is not Action.BLOCK


def plaintext(request: Request, decision: Decision, policy: Policy) -> Decision:
    """What becomes of a decision that would connect to a port of unencrypted protocols."""
    return REFUSE_PLAINTEXT if request.port in policy.reject_plaintext_ports else decision


def _address(request: Request, exposure: Exposure, knowledge: Knowledge, policy: Policy) -> Decision:
    if policy.mode is Mode.WARN:
        return FORWARD
    if policy.mode is Mode.REPAIR and len(knowledge.names) == 1:
        return Decision(Action.REPAIR, host=knowledge.names[0])
    if exposure is Exposure.ADDRESS:
        return REFUSE_ADDRESS
    # RESOLVE of text passes SafeSocks and connects to nothing: only a connection is refused for its text.
    if policy.address_as_text == "block" and request.command is Command.CONNECT:
        return REFUSE_TEXT
    return FORWARD


def _local(request: Request, policy: Policy) -> Decision:
    """Only a connection can reach something local; RESOLVE of a local name is left to Tor's own answer."""
    if request.command is not Command.CONNECT:
        return FORWARD
    return FORWARD if policy.allows(canonical(request.host), request.port) else REFUSE_LOCAL


def _issued(knowledge: Knowledge, policy: Policy) -> Decision:
    """An issued address never goes upstream as an address; without its one name it is as good as stale."""
    if knowledge.standing is not Standing.ISSUED or len(knowledge.names) != 1:
        return REFUSE_STALE
    if policy.mode is Mode.BLOCK:
        return REFUSE_ISSUED
    return Decision(Action.REPAIR, host=knowledge.names[0])


def _not_applicable(request: Request, knowledge: Knowledge) -> Decision:
    """RESOLVE_PTR passes, but for an issued address, which no name could replace; Tor has no BIND and no UDP."""
    if request.command is not Command.RESOLVE_PTR:
        return REFUSE_COMMAND
    if knowledge.standing is Standing.ISSUED:
        return REFUSE_ISSUED
    return REFUSE_STALE if knowledge.standing is Standing.STALE else FORWARD
