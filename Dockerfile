# syntax=docker/dockerfile:1
# Build: docker build -t pkigate .
# Run:   docker run -p 8443:8443 -p 8080:8080 -v pkigate:/var/lib/pkigate \
#          -e PKIGATE_PUBLIC_URLS=http://pki.example.com:8080,https://pki.example.com:8443 pkigate
# The public URLs are those by which clients reach the container: certificates name them, and nobody can guess
# them from inside. They stand in every certificate, so choose names that last.
# pip's own settings (index, certificates) come from the builder's environment or a mounted pip.conf.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/runtime.lock requirements/build.lock requirements/
RUN python -m venv /opt/pkigate \
 && /opt/pkigate/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.lock
# The build tools stay in this stage.
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY ca_backend ca_backend
COPY policies policies
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/pkigate/bin/pip install --no-cache-dir --no-deps --no-index /dist/*.whl \
 && /opt/pkigate/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
RUN groupadd --gid 65532 pkigate \
 && useradd --uid 65532 --gid 65532 --home-dir /var/lib/pkigate --no-create-home --shell /usr/sbin/nologin pkigate \
 && install -d -o 65532 -g 65532 -m 0700 /var/lib/pkigate
COPY --from=build /opt/pkigate /opt/pkigate
ENV PATH=/opt/pkigate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PKIGATE_DATA_DIR=/var/lib/pkigate \
    PKIGATE_HOST=0.0.0.0 \
    PKIGATE_DEMO_CREDENTIALS=off
USER 65532:65532
VOLUME /var/lib/pkigate
EXPOSE 8443 8080
# /healthz says that the process lives; readiness is /readyz, for an orchestrator to ask. The answer's
# certificate is the gateway's own, so only the answer counts here.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", \
 "import ssl, urllib.request as u; u.urlopen('https://localhost:8443/healthz', timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["pkigate"]
CMD ["serve"]
