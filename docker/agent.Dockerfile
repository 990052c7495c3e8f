# The shipping agent: what reads a host and sends it on, and nothing that analyses.
#   docker build -f docker/agent.Dockerfile -t pinchpoint-agent .
# Pin the base to a digest for a build that can be repeated; this prints it, and --build-arg takes it:
#   docker buildx imagetools inspect docker.io/library/python:3.12-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker build --build-arg BASE=docker.io/library/python:3.12-slim-bookworm@sha256:… …
ARG BASE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/pinchpoint && python3 -m venv /opt/sbom && /opt/sbom/bin/pip install --quiet 'cyclonedx-bom >= 5, < 8'
COPY requirements.lock setup.cfg pyproject.toml README.md LICENSE ./
COPY pinchpoint pinchpoint
COPY shippers shippers
COPY models models
COPY pipelines pipelines
RUN /opt/pinchpoint/bin/pip install --quiet --constraint requirements.lock '.[ship,kubernetes]' \
    && /opt/pinchpoint/bin/pip uninstall --quiet --yes setuptools pip
# what is inside, as CycloneDX: docker run --rm --entrypoint cat IMAGE /opt/pinchpoint/sbom.json
RUN /opt/sbom/bin/cyclonedx-py environment --output-format JSON --output-file /opt/pinchpoint/sbom.json /opt/pinchpoint/bin/python3

FROM ${BASE}
# the number, not the name: Kubernetes checks runAsNonRoot by it
RUN groupadd --gid 10001 pinchpoint && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/pinchpoint pinchpoint \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/pinchpoint
COPY --from=build /opt/pinchpoint /opt/pinchpoint
COPY docker/agent.toml /etc/pinchpoint/pinchpoint.toml
# one arena: the agent has threads, and each arena costs megabytes
ENV PATH=/opt/pinchpoint/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=1 \
    PINCHPOINT_CONFIG=/etc/pinchpoint/pinchpoint.toml PINCHPOINT_STATE_DIR=/var/lib/pinchpoint
USER 10001:10001
VOLUME /var/lib/pinchpoint
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/healthz', timeout=5)"]
ENTRYPOINT ["pinchpoint"]
CMD ["ship"]
