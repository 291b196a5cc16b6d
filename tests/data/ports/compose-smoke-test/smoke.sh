#!/usr/bin/env bash
# Starts everything, and looks whether it does what it must.
set -euo pipefail
cd "$(dirname "$0")"

fail() {
  echo "FAIL: $*" >&2
  docker compose logs
  exit 1
}

trap 'docker compose down --volumes --remove-orphans' EXIT
docker compose up --detach --build --wait --wait-timeout 60

[ "$(docker inspect -f '{{.State.Health.Status}}' "$(docker compose ps -q orders)")" = healthy ] || fail "orders"
curl -fsS --retry 10 --retry-connrefused http://localhost:8081/ | grep -q 'It works' || fail "app does not answer"
curl -fsS http://localhost:8080/health | jq -e '.status == "UP"' || fail "orders is not up"

code=$(curl -s -o /dev/null -w '%{http_code}' http://localhost:8080/orders/99)
[ "$code" = 404 ] || fail "expected 404, got $code"
curl -sI http://localhost:8081/ | grep -qi '^content-type: text/html' || fail "no page"

docker compose exec -T app app --version | grep -qx 'app 1.4.2' || fail "another version"
docker compose exec -T app test -f /etc/app/app.conf || fail "no configuration"
docker compose exec -T app grep -q '^host = db.internal$' /etc/app/app.conf || fail "another database"
[ "$(docker compose exec -T app id -u)" = 1000 ] || fail "runs as root"
docker compose exec -T app wget -qO- http://orders:8080/health | grep -q UP || fail "app does not reach orders"

docker compose logs orders | grep -q 'listening on 8080' || fail "orders does not listen"
[ "$(docker compose logs --no-log-prefix orders | grep -c 'GET /orders/99 404')" -eq 1 ] || fail "asked more often"
if docker compose logs orders | grep -qiE 'traceback|exception'; then fail "errors in the log"; fi

docker compose restart orders
for i in $(seq 30); do
  curl -fs http://localhost:8080/health && break
  [ "$i" -lt 30 ] || fail "orders does not come back"
  sleep 1
done

docker compose stop orders
! curl -fs --max-time 2 http://localhost:8080/health || fail "orders still answers"
[ "$(docker inspect -f '{{.State.ExitCode}}' "$(docker compose ps -aq orders)")" != 137 ] || fail "had to be killed"
