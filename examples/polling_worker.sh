#!/bin/sh
# A worker that polls for the jobs of one queue type and runs a command for each, one after another.
#
#     polling_worker.sh [URL [QUEUE_TYPE [COMMAND …]]]
#
# The command gets the payload on its standard input, QUEUE_ID and JOB_ID in its environment. If it ends with 0
# the job is finished, else it has failed and comes again later. It has to end within the lease, by default a
# minute. This needs curl. Where the server asks for a token, SHARQ_TOKEN has it.

set -u
url=${1:-http://127.0.0.1:8080}
url=${url%/}
type=${2:-sms}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- cat

WAIT=5 # seconds that a dequeue waits for a job, and so a stop, at most
LONGEST_DELAY=30

# A signal is heeded between two commands: what runs may end.
stopping=
trap 'stopping=yes' TERM INT

say() {
    printf '%s\n' "$*" >&2
}

# Makes a request: the body of the answer is in $answer, its status in $status, 000 if none came.
call() {
    # The token goes through the standard input: arguments are seen by others.
    answer=$(
        printf 'header = "Authorization: Bearer %s"\n' "${SHARQ_TOKEN-}" |
            curl --silent --max-time $((WAIT + 30)) --write-out '\n%{http_code}' \
                --request POST --header 'Content-Type: application/json' --config - \
                --data "$2" "$1" | tr '\n' ' '
    )
    answer=${answer% }
    status=${answer##* }
    answer=${answer% *}
}

# The value of the last field of this name in $answer; what comes after the payload is the server's.
last() {
    printf %s "$answer" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"
}

# The value of the first one; what comes before the payload is the server's, too.
first() {
    printf %s "$answer" | sed "s/^[^}]*\"$1\":\"\([^\"]*\)\",\"$2\":.*/\1/"
}

# Sleeps a random time below a bound that doubles with each failure in a row.
back_off() {
    say "Something went wrong: ${answer:-no answer from $url}"
    delay=$((delay * 2 > LONGEST_DELAY ? LONGEST_DELAY : delay * 2))
    sleep "$(awk "BEGIN { srand(); print 1 + int(rand() * ($delay - 1)) }")"
}

# Ends the lease of a job; repeated until the server has an answer, which does no harm.
finish_or_fail() {
    delay=1
    for _ in 1 2 3 4 5 6; do
        call "$url/$1/$type/$QUEUE_ID/$JOB_ID/" "$2"
        case $status in
            2??) return ;;
            4??) # the lease was over: the job is another worker's by now
                say "$JOB_ID: $answer"
                return
                ;;
        esac
        back_off
    done
}

delay=1
count=0
request=
while [ -z "$stopping" ]; do
    # With its name a request can be repeated when its answer was lost: no other job is leased.
    if [ -z "$request" ]; then
        count=$((count + 1))
        request=$(date +%s)-$$-$count
    fi
    call "$url/dequeue/$type/?wait=$WAIT&request_id=$request" '{}'
    case "$status $answer" in
        200\ *) ;;
        404*'"code":"nothing_ready"'*) # no job was ready in this time
            request= delay=1
            continue
            ;;
        *)
            [ -n "$stopping" ] || back_off
            continue
            ;;
    esac
    request= delay=1
    QUEUE_ID=$(first queue_id job_id) JOB_ID=$(first job_id payload) lease=$(last lease)
    export QUEUE_ID JOB_ID
    payload=${answer#*\"payload\":}
    payload=${payload%,\"requeues_remaining\":*}
    # Ctrl-C goes to all that a terminal runs: not to this one.
    if printf %s "$payload" | (trap '' INT && exec "$@"); then
        finish_or_fail finish "{\"lease\":\"$lease\"}"
    else
        code=$?
        say "$JOB_ID has failed: exit code $code"
        told="{\"type\":\"ExitCode\",\"message\":\"$code\"}"
        finish_or_fail fail "{\"lease\":\"$lease\",\"error\":$told}"
    fi
done
