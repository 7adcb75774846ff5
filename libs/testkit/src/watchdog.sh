# Stops the test servers in $1 once no test process has held $1/users for $2 seconds; then,
# if $3 is "remove", deletes $1. A test process holds the lock shared for as long as it lives,
# so this also works after a kill -9. While stopping, the lock is held exclusively: a new
# test process waits for the end and then starts afresh.
dir=$1 patience=$2 afterwards=$3
exec 8>"$dir/watchdog"
flock -n 8 || exit 0 # another watchdog is on duty

stop() { # pid file, signal, last resort
    pid=$(head -n 1 "$1" 2>/dev/null) || return 0
    [ -n "$pid" ] || return 0
    # The number may have been given out again: servers work below their own directory.
    case $(readlink "/proc/$pid/cwd") in "$dir"/*) ;; *) return 0 ;; esac
    kill -s "$2" "$pid" 2>/dev/null
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -s "$3" "$pid" 2>/dev/null
}

idle=0
while [ -d "$dir" ]; do
    sleep 2
    [ -f "$dir/users" ] || exit 0
    exec 9<"$dir/users" # never for writing: that would re-create it under a `remove`
    if flock -n 9; then
        idle=$((idle + 2))
        if [ "$idle" -ge "$patience" ]; then
            stop "$dir/postgres/data/postmaster.pid" INT QUIT
            stop "$dir/redis/redis.pid" TERM KILL
            if [ "$afterwards" = remove ]; then
                for record in "$dir"/*/socket_directory; do
                    [ -f "$record" ] || continue
                    sockets=$(cat "$record")
                    case $sockets in /tmp/rapport-*) rm -rf "$sockets" ;; esac
                done
                rm -rf "$dir"
            fi
            exit 0
        fi
    else
        idle=0
    fi
    exec 9>&-
done
