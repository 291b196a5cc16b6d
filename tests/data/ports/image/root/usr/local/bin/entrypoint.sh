#!/bin/sh
# Serves the folder, or runs what it is told to run.
if [ "$1" = serve ]; then
    echo "app $APP_VERSION starting in $APP_ENV" >&2
    echo "listening on ${2#--port=}"
    exec httpd -f -v -p "${2#--port=}" -h /srv/app
fi
exec "$@"
