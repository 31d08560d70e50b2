# The service as an image, with the demo weights inside:  docker build -t yolo-backend .
#
# Build arguments, all optional:
#   PYTHON_IMAGE     the base: Python 3.10 to 3.13 on Debian or the like
#   TORCH_INDEX_URL  the package index that PyTorch comes from; "Get Started" on PyTorch's own site shows the addresses.
#                    Not set: the build of pip's own index, which on x86-64 runs on NVIDIA GPUs and CPUs; the image has about 6.5 GB.
#                    The CPU index: no GPU, and an image without the 5 GB of GPU libraries. A CUDA index: the build for
#                    your driver. The version is that of requirements.lock; the hashes there are of the other build, so
#                    here you trust that index.
#   PIP_INDEX_URL    the package index that everything else comes from, where it is not pip's own
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE} AS sdk
ARG PIP_INDEX_URL
WORKDIR /build
COPY requirements-build.lock .
RUN python -m venv tools && tools/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements-build.lock
COPY sdk sdk
RUN tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels ./sdk

FROM ${PYTHON_IMAGE}
ARG TORCH_INDEX_URL
ARG PIP_INDEX_URL
LABEL org.opencontainers.image.title="yolo-backend" \
      org.opencontainers.image.description="Label Studio ML backend that pre-annotates with YOLO" \
      org.opencontainers.image.licenses="AGPL-3.0-only"
# A number, so that Kubernetes can see that it isn't root; the directories for volumes are its own.
RUN groupadd --gid 10001 yolo \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp yolo \
    && install -d -o 10001 -g 10001 /data /app/models
# LOGNAME: a library asks for the user's name, and a user of your own choice (`docker run --user`) has none.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    LOGNAME=yolo \
    MODEL_ROOT=/app/models \
    MODEL_DIR=/data/models
# Wheels alone: no compiler to leave behind, and no code of a package runs here. Without this repository's SDK: a change of
# its code would make the largest layer anew. PyTorch from an index of its own brings its own CUDA libraries.
COPY requirements.lock /opt/
ARG INSTALL="pip install --no-cache-dir --only-binary :all:"
RUN python -m venv /opt/venv \
    && if [ -z "$TORCH_INDEX_URL" ]; then $INSTALL --require-hashes --no-deps -r /opt/requirements.lock; else \
        awk '/^[a-z]/ { skip = /^(torch|triton|cuda-|nvidia-[^m])/ } !skip' /opt/requirements.lock > /opt/without-torch.lock \
        && $INSTALL --require-hashes --no-deps -r /opt/without-torch.lock \
        && $INSTALL --index-url "$TORCH_INDEX_URL" $(grep -oE '^torch(vision)?==[^ ]+' /opt/requirements.lock); \
    fi
COPY --from=sdk /build/wheels /opt/sdk
RUN pip install --no-cache-dir --no-index --no-deps /opt/sdk/*.whl && pip check
# Not under /app or /data: a volume mounted there would hide the code and the demo weights.
WORKDIR /opt/yolo-backend
COPY LICENSE _wsgi.py gunicorn.conf.py model.py ./
COPY models models
COPY yolo_backend yolo_backend
# Readable to that user, whatever the permissions in the directory it is built from.
RUN chmod -R a+rX . && python -m compileall -q .
USER 10001:10001
EXPOSE 9090
STOPSIGNAL SIGTERM
# Not urllib, which would go through a proxy that the environment names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 9090), timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["gunicorn", "-c", "gunicorn.conf.py", "_wsgi:app"]
