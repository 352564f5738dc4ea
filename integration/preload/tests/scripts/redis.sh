# A server that is filled, measured, and saves in the background meanwhile.    redis.sh FOLDER REQUESTS
set -e
rm -rf "$1"
mkdir -p "$1"
cd "$1"
redis-server --port 0 --unixsocket ./s --save '' --appendonly no --logfile log --daemonize no &
server=$!
trap 'kill -9 $server 2>/dev/null || true' EXIT
cli() { redis-cli -s ./s "$@"; }
measure() { redis-benchmark -s ./s -q -n "$1" -c 20 -P 8 -d 200 -t set,get,incr,lpush,rpop,sadd,hset,zadd >>rates; }

for try in $(seq 200); do
    [ "$(cli ping 2>/dev/null)" = PONG ] && break
    sleep 0.05
done
cli eval "for i = 1, $2 do redis.call('set', 'k' .. i, string.rep('x', i % 500)) end return redis.call('dbsize')" 0
measure "$2"
cli bgsave
measure "$2"
for try in $(seq 400); do
    cli info persistence | grep -q 'rdb_bgsave_in_progress:0' && break
    sleep 0.05
done
cli info persistence | tr -d '\r' | grep -E 'rdb_bgsave_in_progress|rdb_last_bgsave_status|rdb_saves'
cli dbsize
cli strlen k777
cli del k1 k2 k3
cli shutdown nosave
wait $server
echo "server: $?"
trap - EXIT
redis-check-rdb dump.rdb | grep -o 'RDB looks OK.*'
