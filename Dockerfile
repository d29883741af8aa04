# Skylane's image: the agent, the operator's command line and what the CNI executable needs on a host.
#
#   npm run image -- registry.example/skylane:0.1.0            with docker or buildah; writes what is in it to dist/sbom.cdx.json
#   docker build -t skylane .                                  on the official images of Node and Debian
#   buildah bud --build-arg BASE=… --build-arg RUNTIME=… .     on any Debian with Node 20 or later and npm, and any Debian
#
# amd64 and arm64: nothing below names an architecture, and the digests are those of images for both. To renew one:
#   docker buildx imagetools inspect docker.io/library/debian:bookworm-slim
# The Node.js that runs on nodes is not this base's: it is a package of package-lock.json.
ARG BASE=docker.io/library/node:26.8.1-bookworm-slim@sha256:367679cf9792759492a486e4aa4b421764d71a9546a6dae8aab81a99eb797b3e
# what the final image stands on: it brings its own Node, so that one is enough
ARG RUNTIME=docker.io/library/debian:bookworm-slim@sha256:96e378d7e6531ac9a15ad505478fcc2e69f371b10f5cdf87857c4b8188404716

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
ARG REVISION=unknown
ENV SKYLANE_COMMIT=${REVISION}
RUN node_modules/.bin/node scripts/build.mjs && node_modules/.bin/node scripts/stage.mjs /image /libraries.json

FROM ${RUNTIME} AS runtime
# nft and iptables program what netlink alone cannot
RUN apt-get update \
 && apt-get install -y --no-install-recommends nftables iptables ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/cache/apt/* /var/log/*

# what is in the image, as a list for scanners (CycloneDX)
FROM build AS sbom
COPY --from=runtime /var/lib/dpkg/status /runtime-packages
RUN node_modules/.bin/node scripts/sbom.ts /libraries.json /runtime-packages >/sbom.cdx.json

FROM runtime
COPY --from=build --chown=0:0 /image/ /
COPY --from=sbom --chown=0:0 /sbom.cdx.json /opt/skylane/share/sbom.cdx.json
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
