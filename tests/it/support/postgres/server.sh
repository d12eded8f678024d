# Runs a PostgreSQL server until standard input ends, as it does too when the tests are killed. Then nothing of it is left.
# Its arguments: the directory of PostgreSQL's programs, and that of the server.
bin=$1 dir=$2 data=$2/data

end() {
    pid=$(sed -n 1p "$data/postmaster.pid" 2>/dev/null)
    if [ -n "$pid" ]; then
        # A process that a test has paused would not hear of it.
        kill -CONT "$pid" $(pgrep -P "$pid") 2>/dev/null
        "$bin/pg_ctl" -D "$data" -m immediate stop >/dev/null 2>&1
        # One that a test has killed left its file, which names its shared memory.
        memory=$(sed -n 7p "$data/postmaster.pid" 2>/dev/null | awk '{print $2}')
        [ -z "$memory" ] || ipcrm -m "$memory" 2>/dev/null
    fi
    # Processes whose server was killed may write until they notice.
    tries=0
    until rm -rf "$dir" 2>/dev/null || [ $tries -ge 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}
trap end EXIT

"$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 &&
    cat "$dir/settings" >>"$data/postgresql.conf" &&
    cp "$dir/hba" "$data/pg_hba.conf" &&
    "$bin/pg_ctl" -D "$data" -l "$dir/log" -w start >/dev/null 2>&1 &&
    echo ready || tail -n 5 "$dir/log"
exec >/dev/null
while read -r _; do :; done
