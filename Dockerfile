# The server as an image: hash-locked dependencies, all bytecode compiled, no shell, no package manager, no compiler,
# no root, no secret. docs/deploy-container.md explains it.
#
#   docker build -t chukei .
#   docker run --rm -p 7221:7221 -e CHUKEI_API_KEY=… chukei
#
# Both bases have Python 3.13 on Debian 13. The first is used to build and does not get into the image.
ARG BUILD_BASE=docker.io/library/python:3.13-slim-trixie
ARG RUN_BASE=gcr.io/distroless/python3-debian13:nonroot

FROM ${BUILD_BASE} AS environment
# Where the interpreter is in the second base, so that the environment made here is valid there.
RUN ln -sf /usr/local/bin/python3 /usr/bin/python3 && /usr/bin/python3 -m venv --without-pip /opt/chukei
WORKDIR /source

FROM environment AS libraries
# The secret "pip" is a pip.conf, for an index or a proxy of your own. It may name the secret "ca", a file of certificate
# authorities, as /run/secrets/ca. Neither stays in a layer.
COPY requirements/image.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    python3 -m pip --python /opt/chukei/bin/python3 install --no-cache-dir --no-compile --only-binary=:all: \
    --require-hashes --no-deps -r requirements/image.txt \
    && python3 -m pip --python /opt/chukei/bin/python3 check \
    && python3 -m compileall -q -f --invalidation-mode unchecked-hash /opt/chukei/lib

FROM environment AS application
COPY requirements/build.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    python3 -m pip --python /opt/chukei/bin/python3 install --no-cache-dir --only-binary=:all: --require-hashes \
    --no-deps -r requirements/build.txt
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY src src
RUN python3 -m pip --python /opt/chukei/bin/python3 install --no-cache-dir --no-compile --no-index --no-deps \
    --no-build-isolation --prefix /opt/application . \
    && python3 -m compileall -q -f --invalidation-mode unchecked-hash -s /opt/application -p /opt/chukei /opt/application \
    && mkdir /state

# Neither this base nor python:slim has bytecode of the standard library. A read-only root could not keep any, and every
# start would compile it anew.
FROM ${RUN_BASE} AS interpreter
USER 0
RUN ["/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", \
    "/usr/lib/python3.13"]
USER 65532:65532

FROM interpreter
COPY --from=libraries /opt/chukei /opt/chukei
COPY --from=application /opt/application /opt/chukei
COPY --from=application --chown=65532:65532 /state /var/lib/chukei
WORKDIR /
ENV PATH=/opt/chukei/bin:/usr/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 STATE_DIRECTORY=/var/lib/chukei \
    CHUKEI_SERVER__HOST=0.0.0.0 CHUKEI_SERVER__PORT=7221 CHUKEI_LOG__FORMAT=json
EXPOSE 7221
# With server.allowed_hosts set, 127.0.0.1 must be among them for this probe.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/python3", "-ISc", \
    "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['CHUKEI_SERVER__PORT']), timeout=2); c.request('GET', '/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["chukei"]
CMD ["serve"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="chukei" \
    org.opencontainers.image.description="A streaming relay between clients and Azure OpenAI." \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.source="${SOURCE}"
