"""A shared service of busybox that sends a span for each request, below the span that the request names."""

from __future__ import annotations

__all__ = ["ASK", "QUERY", "TRACED"]

QUERY = r"""#!/bin/sh
set -- $(echo "$QUERY_STRING" | tr : ' ')
id=$(od -An -N8 -tx1 /dev/urandom | tr -d ' ')
case $1 in
  00-*) trace=$(echo "$1" | cut -d- -f2); parent=$(echo "$1" | cut -d- -f3);;
  *) trace=$id$id; parent=;;
esac
body='{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"db"}}]},'
body=$body'"scopeSpans":[{"spans":[{"traceId":"'$trace'","spanId":"'$id'","parentSpanId":"'$parent'",'
body=$body'"name":"query","startTimeUnixNano":"1","endTimeUnixNano":"2","status":{"code":'${2:-0}'}}]}]}]}'
to=$OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces
wget -q -O /dev/null --header "Content-Type: application/json" --post-data "$body" $to
printf 'Content-Type: text/plain\r\n\r\nasked\n'
"""
"""Answers a request and sends a span: ``q?TRACEPARENT:STATUS``, or ``q?root`` for a trace of its own."""

TRACED = f"""
[service.db]
image = "db"
scope = "run"
command = ["httpd", "-f", "-p", "80", "-h", "/w"]
ready = {{ port = 80 }}
files = [{{ target = "/w/cgi-bin/q", mode = "0755", content = '''{QUERY}''' }}]

[service.app]
image = "app"

[[step]]
name = "ask"
service = "app"
run = '''ASK'''

[expect]
wait = "500ms"
"""
"""A scenario that uses it, with ``ASK`` in the place of its one command."""

ASK = "wget -q -O - http://db/cgi-bin/q?"
