# The analysis. Two images of one file:
#   docker build -f docker/worker.Dockerfile --target analysis -t pinchpoint-analysis .    pinchpoint analyze, setup, doctor, …
#   docker build -f docker/worker.Dockerfile -t pinchpoint-worker .                         workers of Flink and Dataflow
# Pin the bases to digests as in agent.Dockerfile. Versions of Python and Beam must be those of BEAM_SDK.
ARG BASE=docker.io/library/python:3.12-slim-bookworm
ARG BEAM_SDK=docker.io/apache/beam_python3.12_sdk:2.77.0

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# beyond the extra: Beam's own parts for the runner, such as BEAM_EXTRA=apache-beam[gcp]
ARG BEAM_EXTRA=
RUN python3 -m venv /opt/pinchpoint && python3 -m venv /opt/sbom && /opt/sbom/bin/pip install --quiet 'cyclonedx-bom >= 5, < 8'
COPY requirements.lock setup.cfg pyproject.toml README.md LICENSE ./
COPY pinchpoint pinchpoint
COPY shippers shippers
COPY models models
COPY pipelines pipelines
RUN /opt/pinchpoint/bin/pip install --quiet --constraint requirements.lock '.[analyze]' ${BEAM_EXTRA}
RUN /opt/sbom/bin/cyclonedx-py environment --output-format JSON --output-file /opt/pinchpoint/sbom.json /opt/pinchpoint/bin/python3

FROM ${BASE} AS analysis
RUN groupadd --gid 10001 pinchpoint && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/pinchpoint pinchpoint \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/pinchpoint
COPY --from=build /opt/pinchpoint /opt/pinchpoint
ENV PATH=/opt/pinchpoint/bin:$PATH HOME=/var/lib/pinchpoint PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
# it can start: what it reaches is told by `pinchpoint doctor`
HEALTHCHECK --interval=60s --timeout=20s CMD ["pinchpoint", "--version"]
ENTRYPOINT ["pinchpoint"]
CMD ["analyze", "--every", "1m"]

FROM ${BEAM_SDK} AS harness

FROM analysis AS worker
COPY --from=harness /opt/apache/beam /opt/apache/beam
# the environment is complete: without this the harness makes one of its own, which a read-only root refuses
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
HEALTHCHECK NONE
ENTRYPOINT ["/opt/apache/beam/boot"]
CMD []
