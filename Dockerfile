# The image holds Python, the shim and nothing to build with.
#
#   docker build -t leakshim .
#
# The shim listens on loopback unless it is told otherwise, so as it stands it serves programs in the same network
# namespace (`--network host`, or a pod). To be reached by other containers it needs a file that says so:
#
#   [listen]
#   socks = ["0.0.0.0:9250"]
#   allow_remote = true
#   [upstream]
#   address = "172.17.0.1:9050"      # the image brings no tor; names are never resolved
#
#   docker run --read-only -v ./shim.toml:/etc/shim.toml:ro leakshim run --config /etc/shim.toml

# Pin it by its digest where that matters: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/build && python3 -m venv /opt/shim
WORKDIR /src
# Nothing is taken from a registry but files whose hashes stand in the locks.
COPY requirements ./requirements
RUN /opt/build/bin/pip install --require-hashes -r requirements/build.lock && \
    /opt/shim/bin/pip install --require-hashes -r requirements/base.lock
COPY pyproject.toml README.md LICENSE ./
COPY shim ./shim
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . && \
    /opt/shim/bin/pip install --no-deps --no-index dist/*.whl && \
    /opt/shim/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON_IMAGE}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/shim /opt/shim
# A number, so that an orchestrator can see that it is not root. It has no name, no home and no shell.
USER 10001:10001
STOPSIGNAL SIGTERM
# Asks the listener for a greeting; with another address in the file, override it: --health-cmd.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/opt/shim/bin/shim", "health"]
ENTRYPOINT ["/opt/shim/bin/shim"]
CMD ["run"]
