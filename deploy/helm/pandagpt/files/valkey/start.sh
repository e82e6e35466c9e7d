#!/bin/sh
# Puts the hashes of the two passwords into the ACL file, then becomes the server. An empty password refuses to start.
# CONF, RUN and DATA are the folders of the configuration, of the finished ACL file and of what is kept; arguments go to
# the server.
set -eu
: "${STORE_GATEWAY_PASSWORD:?the gateway needs a password}" "${STORE_WORKER_PASSWORD:?the worker needs a password}"
conf=${CONF:-/etc/valkey} run=${RUN:-/run/valkey}
hash() { printf %s "$1" | sha256sum | cut -d ' ' -f 1; }
umask 077
sed -e "s/@GATEWAY_SHA256@/$(hash "$STORE_GATEWAY_PASSWORD")/" -e "s/@WORKER_SHA256@/$(hash "$STORE_WORKER_PASSWORD")/" \
    "$conf/users.acl" >"$run/users.acl"
exec valkey-server "$conf/valkey.conf" --aclfile "$run/users.acl" --dir "${DATA:-/data}" "$@"
