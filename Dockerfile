# Images of seqserve: docs/images.md says how each is built and run.
#
#   gateway        the embedded engine behind the native front
#   gateway-slim   no torch: stands before a TorchServe of others
#   torchserve     a TorchServe of its own, and the gateway that looks after it
#   build          trains models into a volume

# bookworm-slim of September 2026. Python 3.11 and gRPC's C++ library are Debian 12's.
ARG BASE=docker.io/library/debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251

FROM ${BASE} AS python
ARG DEBIAN_FRONTEND=noninteractive
ENV LC_ALL=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3=3.11.* tini=0.19.* \
    && echo 'seqserve:x:10001:10001::/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'seqserve:x:10001:' >> /etc/group \
    && mkdir -p /etc/seqserve /models \
    && find /usr/lib/python3* -depth -name __pycache__ -type d -exec rm -r {} + \
    && PYTHONHASHSEED=0 python3 -m compileall -q -j 1 --invalidation-mode unchecked-hash /usr/lib/python3* \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/cache/ldconfig/* /var/log/* \
       /var/lib/dpkg/*-old /etc/*-

# What installs packages, and is in no image. A pip.conf of yours may come as the secret `pip`.
FROM python AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils=2.40* python3-pip=23.* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml requirements.lock ./
COPY supply/__init__.py supply/pins.py supply/sbom.py supply/subset.py supply/
RUN python3 -m venv --without-pip /opt/seqserve

FROM tools AS wheel
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/tools \
    && python3 -m supply.subset --without-base --packages hatchling pybind11 > /opt/tools/pins.txt \
    && python3 -m pip --python /opt/tools/bin/python install --no-compile --no-deps --require-hashes --requirement /opt/tools/pins.txt
COPY README.md LICENSE ./
COPY models models
COPY service/seqserve service/seqserve
RUN /opt/tools/bin/python -m hatchling build --target wheel --directory /opt/wheel

FROM tools AS torch
# torch's build and where it comes from; deploy/images/torch-cuda.txt has the one for CUDA.
ARG TORCH_PINS=deploy/images/torch-cpu.txt
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY deploy/images/*.txt deploy/images/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m supply.subset --without-base --packages torch > /tmp/pins.txt \
    && cat "${TORCH_PINS}" >> /tmp/pins.txt \
    && python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --require-hashes \
       ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} --requirement /tmp/pins.txt \
    && rm /tmp/pins.txt

FROM torch AS native
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
       cmake=3.25.* g++=4:12.* libgrpc++-dev=1.51.* make=4.* pkg-config=1.* python3-dev=3.11.* \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /opt/tools /opt/tools
COPY service/native service/native
RUN mkdir -p service/seqserve/native_front \
    && export PYTHONPATH=/opt/tools/lib/python3.11/site-packages \
    && cmake -S service/native -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_COMPILE_WARNING_AS_ERROR=ON \
       -DSEQSERVE_PYTHON=ON -DBUILD_TESTING=OFF -DPython_EXECUTABLE=/opt/seqserve/bin/python \
    && cmake --build build --parallel "$(nproc)" \
    && strip --strip-unneeded service/seqserve/native_front/*.so

FROM torch AS gateway-packages
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m supply.subset --extras embedded otel > /tmp/pins.txt \
    && python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --require-hashes --requirement /tmp/pins.txt
COPY --from=wheel /opt/wheel /opt/wheel
COPY deploy/images/finish /usr/local/sbin/
RUN python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --no-index /opt/wheel/*.whl
COPY --from=native /src/service/seqserve/native_front/*.so /opt/seqserve/lib/python3.11/site-packages/seqserve/native_front/
RUN finish /opt/seqserve

FROM tools AS slim-packages
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m supply.subset --extras otel --packages httpx > /tmp/pins.txt \
    && python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --require-hashes --requirement /tmp/pins.txt
COPY --from=wheel /opt/wheel /opt/wheel
COPY deploy/images/finish /usr/local/sbin/
RUN python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --no-index /opt/wheel/*.whl \
    && finish /opt/seqserve

FROM torch AS torchserve-packages
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m supply.subset --extras torchserve otel > /tmp/pins.txt \
    && python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --require-hashes --requirement /tmp/pins.txt
COPY --from=wheel /opt/wheel /opt/wheel
COPY deploy/images/finish /usr/local/sbin/
RUN python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --no-index /opt/wheel/*.whl \
    && finish /opt/seqserve

FROM torch AS build-packages
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m supply.subset --extras build > /tmp/pins.txt \
    && python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --require-hashes --requirement /tmp/pins.txt
COPY --from=wheel /opt/wheel /opt/wheel
COPY deploy/images/finish /usr/local/sbin/
RUN python3 -m pip --python /opt/seqserve/bin/python install --no-compile --no-deps --no-index /opt/wheel/*.whl \
    && finish /opt/seqserve

# What every image has.
FROM python AS image
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="seqserve" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# An empty volume takes owner and mode from the image whose container is created first, whichever that is.
RUN install -d -o 10001 -g 10001 /models \
    && install -d -m 1777 /run/seqserve
WORKDIR /
ENV HOME=/tmp \
    PATH=/opt/seqserve/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["/usr/bin/tini", "--", "/opt/seqserve/bin/seqserve"]

# What every image that serves has.
FROM image AS serving
ENV SEQSERVE_HOST=0.0.0.0 \
    SEQSERVE_HEALTH_PORT=8002 \
    SEQSERVE_MODEL_STORE=/models \
    SEQSERVE_LOG_FORMAT=json
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["sh", "-c", "exec seqserve health --no-tls --address 127.0.0.1:${SEQSERVE_HEALTH_PORT}"]
CMD ["serve"]

FROM image AS build
LABEL org.opencontainers.image.description="Trains nn.Sequential models and packs them as TorchServe archives"
COPY --from=build-packages /opt/seqserve /opt/seqserve
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates=20* \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/cache/ldconfig/* /var/log/* \
       /var/lib/dpkg/*-old /etc/*-
USER 10001:10001
CMD ["build", "--all", "--output", "/models"]

FROM serving AS torchserve
LABEL org.opencontainers.image.description="TorchServe, and the gateway that looks after it"
COPY --from=torchserve-packages /opt/seqserve /opt/seqserve
# What gateways in other containers may have of it lies in /run/seqserve: the inference token, and no key but that.
# hadolint ignore=DL3064  # a path
ENV SEQSERVE_ENGINE=torchserve \
    SEQSERVE_TORCHSERVE_HOST=0.0.0.0 \
    SEQSERVE_TORCHSERVE_FOLDER=/tmp/torchserve \
    SEQSERVE_TORCHSERVE_SHARE_TOKEN=/run/seqserve/inference_token \
    SEQSERVE_EXIT_WITH_TORCHSERVE=true
EXPOSE 7070 8080
USER 10001:10001

FROM serving AS gateway-slim
LABEL org.opencontainers.image.description="A gateway of the Open Inference Protocol before TorchServe"
COPY --from=slim-packages /opt/seqserve /opt/seqserve
ENV SEQSERVE_ENGINE=torchserve \
    SEQSERVE_FRONT=python
USER 10001:10001

FROM serving AS gateway
LABEL org.opencontainers.image.description="A gateway of the Open Inference Protocol that runs nn.Sequential models"
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgrpc++1.51=1.51.* \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/cache/ldconfig/* /var/log/* \
       /var/lib/dpkg/*-old /etc/*-
COPY --from=gateway-packages /opt/seqserve /opt/seqserve
ENV SEQSERVE_FRONT=native
USER 10001:10001
