FROM rust:1.95-slim-trixie AS build
WORKDIR /build

# The engine first, under an empty starter: this layer is built anew only when the engine or the dependencies change.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN mkdir -p src/handlers \
    && touch src/handlers/mod.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --profile dist --locked

# A copied file keeps its time, which may lie before the build above; touched, it is newer, and cargo sees the change.
COPY src src
RUN touch src/handlers/mod.rs src/main.rs && cargo build --profile dist --locked

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /build/target/dist/webhook-receiver /usr/local/bin/

# No settings file and no key is in the image: mount them, or give variables.
ENV RECEIVER_LISTEN=0.0.0.0:8080 RECEIVER_INBOX=sqlite:/data/inbox.db
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s CMD ["webhook-receiver", "healthcheck"]
ENTRYPOINT ["webhook-receiver"]
CMD ["serve"]
