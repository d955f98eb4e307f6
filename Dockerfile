# attuned in a container: `docker build -t attuned .`; compose.yaml puts a broker, Prometheus and Grafana beside it.
# Nobody has built it where attuned is developed, for there is no Docker there: tests/daemon/test_packaging.py checks what
# can be checked without.
FROM python:3.11-slim-bookworm AS build
WORKDIR /opt/attuned
RUN python -m venv .venv
# What changes seldom comes first: the libraries are installed once.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline ./pipeline
COPY models ./models
COPY config ./config
COPY daemon ./daemon
RUN .venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[lsl]'

FROM python:3.11-slim-bookworm
# What MediaPipe's OpenCV links; the same as in the Makefile, which also needs python3-venv. Their versions are Debian's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 8765 --no-create-home attuned \
    && install --directory --owner=attuned --mode=0700 /var/lib/attuned
COPY --from=build /opt/attuned/.venv /opt/attuned/.venv
ENV PATH=/opt/attuned/.venv/bin:$PATH \
    XDG_STATE_HOME=/var/lib \
    MPLCONFIGDIR=/tmp/matplotlib \
    OMP_NUM_THREADS=1 \
    PYTHONUNBUFFERED=1
USER 8765
WORKDIR /var/lib/attuned
VOLUME /var/lib/attuned
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/livez', timeout=4)"]
ENTRYPOINT ["attuned"]
CMD ["run", "-c", "/etc/attuned/attuned.yaml"]
