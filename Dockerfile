# A receiver in a container: the program, the certificate authorities, and a user without rights.
#
#   docker build --tag bugfender-hooks .
#   docker run --read-only --publish 4000:4000 --volume hooks:/var/lib/bugfender-hooks bugfender-hooks
#
# A release takes programs that are built already, dist/amd64/bugfender-hooks and dist/arm64/bugfender-hooks:
#
#   docker build --target prebuilt --platform linux/amd64,linux/arm64 .
#
# Everything is on one volume; the root may be read-only. With the store in PostgreSQL nothing has to be kept.

FROM debian:bookworm-slim AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -m 700 -o 10001 -g 10001 /var/lib/bugfender-hooks
ENV BUGFENDER_HOOKS_HOME=/var/lib/bugfender-hooks
VOLUME /var/lib/bugfender-hooks
WORKDIR /var/lib/bugfender-hooks
# A number, so that an orchestrator sees that it is not root. Nobody has to know it by a name.
USER 10001:10001
EXPOSE 4000
STOPSIGNAL SIGTERM
# The port is that of the CMD below. Who gives --admin-listen asks there: healthcheck --admin ADDR.
# A receiver waits up to 5 s for its store before it says that it is not ready.
HEALTHCHECK --interval=10s --timeout=15s --start-period=30s --retries=3 CMD ["bugfender-hooks", "healthcheck"]
ENTRYPOINT ["bugfender-hooks"]
CMD ["listen", "--listen=0.0.0.0:4000"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bugfender-hooks" \
    org.opencontainers.image.description="Receives webhooks of Bugfender and Luciq, losing none" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"

FROM runtime AS prebuilt
ARG TARGETARCH
COPY --chmod=755 dist/$TARGETARCH/bugfender-hooks /usr/local/bin/bugfender-hooks

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM runtime
COPY --from=build /src/target/release/bugfender-hooks /usr/local/bin/bugfender-hooks
