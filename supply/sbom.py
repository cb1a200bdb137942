"""The bill of materials: CycloneDX 1.6 in JSON, to standard output; the same for the same locks and the same sources.

    python -m supply.sbom

It lists what is installed with the shim, extras as optional, each with its licence, what it wants, and the hashes of
the files that may be it. It has no date and names no registry.
"""

from __future__ import annotations

import json
import sys
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from shim import __version__
from supply.licences import EXTRAS, licence, shipped
from supply.locks import PROJECT, Pin, canonical


def main() -> None:
    """Write it."""
    sys.stdout.write(text())


def text() -> str:
    """The bill."""
    pins = shipped()
    itself = _component(PROJECT, __version__, "MIT", ComponentType.APPLICATION)
    parts = {canonical(pin.name): _of(pin) for pin in pins}
    bom = Bom(components=parts.values())
    bom.metadata.component = itself
    wants: dict[str, list[Component]] = {name: [] for name in (PROJECT, *parts)}
    for pin in pins:
        for name in pin.wanted_by:
            if name in wants:
                wants[name].append(parts[canonical(pin.name)])
    bom.register_dependency(itself, wants.pop(PROJECT))
    for name, wanted in wants.items():
        bom.register_dependency(parts[name], wanted)
    bom.serial_number = uuid5(NAMESPACE_URL, " ".join([__version__, *(_identity(pin) for pin in pins)]))
    return _without_date(JsonV1Dot6(bom).output_as_string())


def _of(pin: Pin) -> Component:
    part = _component(pin.name, pin.version, licence(pin.name), ComponentType.LIBRARY)
    part.scope = ComponentScope.OPTIONAL if pin.name in EXTRAS else ComponentScope.REQUIRED
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in pin.hashes]
    # Its address is the package's own: where it is fetched from is everybody's own choice.
    part.external_references.add(
        ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(pin.purl), hashes=hashes)
    )
    return part


def _component(name: str, version: str, terms: str, kind: ComponentType) -> Component:
    purl = PackageURL("pypi", name=canonical(name), version=version)
    licences = [LicenseExpression(terms)]
    return Component(type=kind, name=name, version=version, purl=purl, bom_ref=purl.to_string(), licenses=licences)


def _identity(pin: Pin) -> str:
    return " ".join((pin.purl, *pin.hashes))


def _without_date(text: str) -> str:
    bill = json.loads(text)
    del bill["metadata"]["timestamp"]
    return json.dumps(bill, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
