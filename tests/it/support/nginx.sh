# Runs nginx until standard input ends, as it does too when the tests are killed. Then nothing of it is left.
# Its argument: the directory with its settings.
trap 'kill $! 2>/dev/null; wait; rm -rf "$1"' EXIT
nginx -p "$1" -c "$1/nginx.conf" -g 'daemon off;' >>"$1/log" 2>&1 &
while read -r _; do :; done
