# Skylane's image: the agent, the operator's command line and what the CNI executable needs on a host.
#
#   docker build -t skylane .                          on the official images of Node and Debian
#   buildah bud --build-arg BASE=… --build-arg RUNTIME=… .    on any Debian with Node 26 and npm, and any Debian
#
# amd64 and arm64: nothing below names an architecture.
ARG BASE=docker.io/library/node:26-bookworm-slim
# what the final image stands on: it brings its own Node, so that one is enough
ARG RUNTIME=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libatomic1 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts scripts
COPY cmd cmd
COPY src src
RUN node_modules/.bin/node scripts/build.mjs && node_modules/.bin/node scripts/stage.mjs /image

FROM ${RUNTIME}
# nft and iptables program what netlink alone cannot
RUN apt-get update \
 && apt-get install -y --no-install-recommends nftables iptables ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/cache/apt/* /var/log/*
COPY --from=build --chown=0:0 /image/ /
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="skylane" \
      org.opencontainers.image.description="Kubernetes CNI plugin with a VXLAN overlay" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/skylane/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 0:0
ENTRYPOINT ["/opt/skylane/bin/skylane-agent"]
