# The image that runs workers and migrations. Only what requirements.lock names gets in, checked by
# hash; of that, only what Standpipe needs to run, not what it needs to be tested.
FROM python:3.11.16-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

WORKDIR /build
COPY requirements.lock ./
RUN pip download --require-hashes --no-deps --only-binary=:all: --dest /wheels -r requirements.lock

RUN python -m venv /opt/standpipe
COPY . ./
RUN /opt/standpipe/bin/pip install --no-index --find-links /wheels .

FROM python:3.11.16-slim-trixie

ENV PATH=/opt/standpipe/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

COPY --from=build /opt/standpipe /opt/standpipe
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin standpipe \
    && install --directory --owner=standpipe /checkpoints
USER standpipe
WORKDIR /tmp
CMD ["standpipe", "worker"]
