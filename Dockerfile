# The server as an image: hash-locked dependencies, bytecode compiled once, no compiler, no root, no secret.
#
#   docker build -t chukei .
#   docker run --rm -p 7221:7221 -e CHUKEI_API_KEY=… chukei
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/chukei
COPY requirements/serve.txt requirements/identity.txt requirements/entra.txt requirements/redis.txt \
    requirements/postgres.txt requirements/otel.txt requirements/azure-monitor.txt requirements/
RUN /opt/chukei/bin/pip install --no-cache-dir --require-hashes --no-deps \
    -r requirements/serve.txt -r requirements/identity.txt -r requirements/entra.txt -r requirements/redis.txt \
    -r requirements/postgres.txt -r requirements/otel.txt -r requirements/azure-monitor.txt
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY src src
RUN /opt/chukei/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/chukei/bin/pip check \
    && /opt/chukei/bin/pip uninstall --yes --quiet pip \
    && /usr/local/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/chukei/lib

FROM python:3.13-slim
COPY --from=build /opt/chukei /opt/chukei
RUN useradd --system --no-create-home --shell /usr/sbin/nologin chukei
USER chukei
ENV PATH=/opt/chukei/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    CHUKEI_SERVER__HOST=0.0.0.0 CHUKEI_SERVER__PORT=7221 CHUKEI_LOG__FORMAT=json
EXPOSE 7221
# The image has no curl. With server.allowed_hosts set, 127.0.0.1 must be among them for this probe.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", \
    "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"CHUKEI_SERVER__PORT\"]}/health/ready', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["chukei"]
CMD ["serve"]
